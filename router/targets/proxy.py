"""What a proxy on the way to a provider says in place of the provider: told apart from the provider's own answers, and never handed on."""

from collections.abc import Mapping

from router.errors import TargetDenied, TargetDown, TargetError, TargetSilent

LOGIN = 407
DENIED = frozenset({"proxy_login", "proxy_denied", "proxy_tls"})
"""Outcomes that stay as they are until an operator does something."""


class ProxyFailed(ConnectionError):
    """The proxy let nothing through. `outcome` is categorical:

    proxy_login        it refuses our credentials, or wants some (407)
    proxy_denied       it refuses this address (any other 4xx, a redirect)
    proxy_gateway      it cannot reach the provider (5xx)
    proxy_connection   it cannot be reached, broke off, or speaks no HTTP
    proxy_timeout      no way through it within `timeout.connect`
    proxy_tls          its own certificate is not trusted
    """

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome

    def of(self, target: str) -> TargetError:
        """The same as an error of a target."""
        if self.outcome in DENIED:
            return TargetDenied(target, self.outcome)
        return (TargetSilent if self.outcome == "proxy_timeout" else TargetDown)(target, self.outcome)


def refused(status: int) -> ProxyFailed:
    """What it means that a proxy answers with this status, which is no success."""
    if status == LOGIN:
        return ProxyFailed("proxy_login")
    return ProxyFailed("proxy_gateway" if status >= 500 else "proxy_denied")


def answered_itself(status: int, headers: Mapping[str, str]) -> ProxyFailed | None:
    """What a proxy says where an http:// address was asked through it, by the names of its headers in lower case; None where the provider
    speaks. A 407 is never a provider's (RFC 9110, 15.5.8); for every other status there are only the signs that proxies leave (RFC 9209).
    """
    told = "x-squid-error" in headers or "error=" in headers.get("proxy-status", "") or headers.get("server", "").startswith("tinyproxy")
    return refused(status) if status == LOGIN or (told and status >= 300) else None
