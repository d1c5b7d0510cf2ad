"""The declared proxy and CA for LiteLLM's requests. LiteLLM's clients serve all targets, so a context variable holds the current ones.

httpx is passed in, because it is imported with LiteLLM and not before.
"""

import re
import ssl
from contextlib import suppress
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from router.config.declaration import TargetConfig
from router.config.network import DIRECT, Egress, Proxy, tls_context
from router.targets.proxy import ProxyFailed, answered_itself, refused
from router.value import Mutable

MAX_CLIENTS = 16
"""Limit of cached transports for LiteLLM's few synchronous requests: one per proxy and TLS context."""
TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")
"""Pattern of the status in the error of Python's `http.client`, which urllib3 uses, for a refused tunnel."""


class Passage(Mutable):
    """The declared proxy and CA for LiteLLM's requests of one question.

    egress: the declared way out, which has the proxy for each host
    tls: the TLS context with the declared CA
    failed: the proxy's failure at the last request; None if there was none
    """

    egress: Egress
    tls: ssl.SSLContext
    failed: ProxyFailed | None = None


SIGN_IN = {
    **dict.fromkeys(("azure", "azure_ai"), "Microsoft's library for Entra ID"),
    "databricks": "Databricks' library",
    **dict.fromkeys(("vertex_ai", "vertex_ai_beta"), "Google's library"),
}
"""LiteLLM's providers for which another library signs in if the target has no key → that library, which has its own HTTP client."""


def sign_in_warning(declared: TargetConfig) -> str:
    """Return a warning if LiteLLM's sign-in for this target bypasses its declared proxy and CA; otherwise an empty text.
    It does so for a provider in SIGN_IN without an `api_key`. The caller makes sure that LiteLLM serves the target.
    """
    library = SIGN_IN.get(str(declared.model).partition("/")[0])
    if library is None or declared.api_key is not None or declared.egress == DIRECT:
        return ""
    advice = "write an `api_key`, or let it reach the provider's token endpoint directly"
    return f"{library} signs in for this target, and takes neither `proxy` nor `ca` from this file: {advice}"


PASSAGE: ContextVar[Passage | None] = ContextVar("passage", default=None)
"""The passage of the current question; None outside of one."""


def passage_to(host: str) -> tuple[Passage | None, Proxy | None]:
    """Return (passage of the current question, its proxy to a host); each is None if there is none."""
    passage = PASSAGE.get()
    return passage, None if passage is None else passage.egress.proxy_to(host)


def failure_behind(error: BaseException, proxy: Proxy) -> ProxyFailed | None:
    """Return the proxy's failure behind an error of httpx or aiohttp, found in its causes; None if the proxy is not at fault."""
    for one in reversed(chain(error)):
        names = kinds_of(one)
        if "ClientHttpProxyError" in names:
            return refused(getattr(one, "status", 0))
        if names & {"ClientConnectorCertificateError", "ClientSSLError"}:
            return ProxyFailed("proxy_tls") if proxy.tls and (one.host, one.port) == (proxy.host, proxy.port) else None  # type: ignore[attr-defined]
        if "ClientProxyConnectionError" in names:
            return ProxyFailed("proxy_connection")
        if names & {"ConnectTimeout", "PoolTimeout", "ConnectionTimeoutError"}:
            return ProxyFailed("proxy_timeout")
        if "ProxyError" in names:  # httpx states the status only in the text
            status = str(one)[:3]
            return refused(int(status)) if status.isdigit() else ProxyFailed("proxy_connection")
    return None


def chain(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, up to 8 deep, the outermost first."""
    causes = [error]
    while len(causes) < 9 and (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    return causes


def kinds_of(error: BaseException) -> set[str]:
    """Return the names of an error's class and base classes. Names, because LiteLLM's classes exist only once it is imported."""
    return {kind.__name__ for kind in type(error).__mro__}


def record_failure(passage: Passage, failed: ProxyFailed | None, httpx: Any) -> None:
    """Set `passage.failed` to a proxy's failure, or None for success. Raises httpx.ProxyError for a failure: LiteLLM does not retry it."""
    passage.failed = failed
    if failed is not None:
        raise httpx.ProxyError(failed.outcome)


def proxy_failure(request: Any, response: Any, proxy: Proxy | None) -> ProxyFailed | None:
    """Return the failure if the proxy itself answered a request for an http:// URL; None otherwise, or without a proxy."""
    return answered_itself(response.status_code, response.headers) if proxy is not None and request.url.scheme == "http" else None


def synchronous(httpx: Any) -> Any:
    """Return a transport for httpx's synchronous client with the proxy and TLS context of the current Passage; without one, it has none."""
    made: dict[tuple[Proxy | None, ssl.SSLContext | None], Any] = {}

    def transport(proxy: Proxy | None, tls: ssl.SSLContext | None) -> Any:
        if (proxy, tls) not in made:
            if len(made) >= MAX_CLIENTS:
                made.pop(next(iter(made))).close()
            way = httpx.Proxy(proxy.url, ssl_context=tls if proxy.tls else None) if proxy is not None else None
            made[proxy, tls] = httpx.HTTPTransport(verify=True if tls is None else tls, proxy=way, trust_env=False)
        return made[proxy, tls]

    class Through(httpx.BaseTransport):
        """A transport that picks the current passage's proxy and TLS context for each request, and records the proxy's failures."""

        def handle_request(self, request: Any) -> Any:
            passage, proxy = passage_to(request.url.host)
            chosen = transport(proxy, passage.tls if passage is not None else None)
            if passage is None or proxy is None:
                return chosen.handle_request(request)
            try:
                response = chosen.handle_request(request)
            except httpx.HTTPError as error:
                record_failure(passage, failure_behind(error, proxy), httpx)
                raise
            if failed := proxy_failure(request, response, proxy):
                response.close()
                record_failure(passage, failed, httpx)
            return response

    return Through()


def patch_environment_proxies(module: Any) -> None:
    """Patch a module of AWS's library to use the current passage's proxy, if there is a passage, in place of the environment's.
    Link-local addresses, from which the library fetches a role's credentials, are reached directly.
    """
    of_environment = module.get_environ_proxies

    def proxies(url: str) -> dict[str, str]:
        host = urlsplit(url).hostname or ""
        passage, proxy = passage_to(host)
        if passage is None:
            return of_environment(url)
        return {} if proxy is None or _is_link_local(host) else {"http": proxy.url, "https": proxy.url}

    module.get_environ_proxies = proxies


def patch_aws_session(module: Any) -> None:
    """Patch the HTTP session of AWS's library (`module`) to trust the declared CA, and to record the proxy's failures in the passage.
    For these requests no environment variable (AWS_CA_BUNDLE, SSL_VERIFY, …) changes what is trusted, or turns the check off.
    Outside of a passage, the library keeps its own settings.
    """
    session = module.URLLib3Session
    own_context, own_proxy_context, own_certificates = session._get_ssl_context, session._setup_proxy_ssl_context, session._setup_ssl_cert  # noqa: SLF001
    own_send = session.send

    def context(self: Any) -> Any:
        # A new context each time: urllib3 changes the contexts that it gets.
        passage = PASSAGE.get()
        return own_context(self) if passage is None else tls_context(passage.egress.ca)

    def proxy_context(self: Any, proxy_url: str) -> Any:
        return own_proxy_context(self, proxy_url) if PASSAGE.get() is None else context(self)

    def certificates(self: Any, pool: Any, url: str, verify: object) -> None:
        if PASSAGE.get() is None:
            own_certificates(self, pool, url, verify)
        else:
            pool.cert_reqs, pool.ca_certs = "CERT_REQUIRED", None  # the context has the CAs

    def send(self: Any, request: Any) -> Any:
        passage = PASSAGE.get()
        try:
            response = own_send(self, request)
        except module.ProxyConnectionError as error:
            if passage is not None:
                statuses = (TUNNEL.search(str(one)) for one in reversed(chain(error)))
                status = next((int(hit[1]) for hit in statuses if hit), None)
                passage.failed = ProxyFailed("proxy_connection") if status is None else refused(status)
            raise
        if passage is not None:
            passage.failed = None  # a sign-in may succeed although its first request failed
        return response

    session._get_ssl_context = context  # noqa: SLF001
    session._setup_proxy_ssl_context = proxy_context  # noqa: SLF001
    session._setup_ssl_cert = certificates  # noqa: SLF001
    session.send = send


def _is_link_local(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_link_local
    return False
