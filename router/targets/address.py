"""Request URLs of targets: an operator's `api_base` plus the path of an endpoint, before any query string (RFC 3986)."""

from functools import lru_cache
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from router.config.declaration import TargetConfig
from router.errors import Misfit
from router.targets.providers import PROVIDERS, variable

RESPONSES = "/responses"
"""Path of the Responses API, whose address stands beside that of chat completions."""
AT_RESPONSES = "responses/"
"""Beginning of a model's name by which LiteLLM spells the wish for the Responses API."""


@lru_cache(maxsize=1024)  # many targets have one address
def host_of(url: str) -> str:
    """Return the host of a URL in lower case; empty if it has none. Raises ValueError if the URL cannot be parsed."""
    return urlsplit(url).hostname or ""


@lru_cache(maxsize=1024)  # many targets have one address
def endpoint_of(base: str, path: str, *, within: str = "", query: str = "") -> str:
    """Return the URL of an endpoint. Raises Misfit if `base` cannot be parsed, or has a fragment, which HTTP does not send.
    base: URL of the API, of the endpoint itself, or of OpenAI's Responses API; its scheme and host are not checked here
    path: path of the endpoint, added unless the base ends with it
    within: path between the base and `path`, added with it unless the base ends with it
    query: parameters to add (`a=1&b=2`), except for those that the base sets
    """
    try:
        parts = urlsplit(base)
    except ValueError:
        raise Misfit(f"`{base}` is no address: write http://host:port/v1, or https", "api_base") from None
    if "#" in base:
        raise Misfit(f"`{base}` has a fragment (`#…`), which is never sent: leave it out", "api_base")
    found = parts.path.rstrip("/").removesuffix(RESPONSES)
    if not found.endswith(path):
        found += path if found.endswith(within) else within + path
    said = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    wanted = [one for one in query.split("&") if one and one.partition("=")[0] not in said]
    return urlunsplit((parts.scheme, parts.netloc, found, "&".join([*filter(None, [parts.query]), *wanted]), ""))


def reached(declared: TargetConfig, path: str) -> tuple[str, dict[str, str]]:
    """Return the URL of a provider's endpoint with this path (such as /chat/completions), and a dict of the header with the key.
    The dict is empty without a key. Raises Misfit if the address is missing, or the key where it is required: at Azure, and without an
    `api_base` at any provider that is not keyless.
    """
    prefix, _, model = str(declared.model).partition("/")
    provider = PROVIDERS[prefix]
    if prefix == "azure":
        url = _azure(declared, model.removeprefix(AT_RESPONSES), path)
    elif base := str(declared.api_base or provider.base):
        url = endpoint_of(base, path, within=provider.path)
    else:
        raise Misfit(f"{prefix}/ needs an address: write `api_base: http://host:port/v1`", "model")
    if declared.api_key is None and (declared.api_base is None or prefix == "azure") and not provider.keyless:
        raise Misfit(f"{prefix}/ needs a key: write `api_key: ${{{variable(prefix)}}}`", "model")
    bearer = "Bearer " if provider.header == "authorization" else ""
    return url, {provider.header: f"{bearer}{declared.api_key.value}"} if declared.api_key else {}


def responding_at(url: str, declared: TargetConfig) -> str:
    """Return the URL of the Responses API for a URL of chat completions; at Azure below /openai/v1, without the deployment."""
    path, _, query = url.partition("?")
    if "/openai/deployments/" in path:
        base = path.partition("/openai/deployments/")[0]
        return f"{base}/openai/v1/responses" + ("?api-version=preview" if declared.api_version == "preview" else "")
    return path.removesuffix("/chat/completions") + RESPONSES + (f"?{query}" if query else "")


AZURE_VERSION = "2024-10-21"
"""Azure's newest dated API version that is not a preview. Its API below /openai/v1 needs no version."""


def _azure(declared: TargetConfig, model: str, endpoint: str) -> str:
    """Return the URL of an `endpoint` (such as /chat/completions) at Azure: below the deployment's path, or below /openai/v1.
    Below /openai/v1 the body names the deployment, and `api-version` is added only if it is declared. Raises Misfit without an `api_base`.
    """
    base = str(declared.api_base or "")
    if not base:
        raise Misfit("azure/ needs an address: write `api_base: https://<resource>.openai.azure.com`", "model")
    version = declared.api_version
    path = urlsplit(base).path.rstrip("/").removesuffix(RESPONSES)
    if path.endswith(("/openai/v1", f"/openai/v1{endpoint}")):
        return endpoint_of(base, endpoint, query=f"api-version={version}" if version else "")
    deployment = "" if "/openai/deployments/" in path else f"/openai/deployments/{quote(model, safe='')}"
    within = deployment.removeprefix("/openai") if path.endswith("/openai") else deployment
    return endpoint_of(base, endpoint, within=within, query=f"api-version={version or AZURE_VERSION}")
