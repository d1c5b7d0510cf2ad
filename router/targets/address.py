"""Request URLs of targets: an operator's `api_base` plus the path of an endpoint, before any query string (RFC 3986)."""

from urllib.parse import parse_qsl, urlsplit, urlunsplit

from router.errors import Misfit

RESPONSES = "/responses"
"""Path of the Responses API, whose address stands beside that of chat completions."""


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
