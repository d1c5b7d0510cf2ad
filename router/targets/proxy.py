"""Answers of a proxy in place of the provider: kept apart from the provider's own answers, and never passed on."""

from collections.abc import Mapping

from router.errors import TargetDenied, TargetDown, TargetError, TargetSilent

LOGIN = 407
DENIED = frozenset({"proxy_login", "proxy_denied", "proxy_tls"})
"""Outcomes that stay as they are until an operator does something."""


class ProxyFailed(ConnectionError):
    """A failure of the proxy: it let nothing through.

    `outcome` is categorical:
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
        """Return this failure as an error of a target."""
        if self.outcome in DENIED:
            return TargetDenied(target, self.outcome)
        return (TargetSilent if self.outcome == "proxy_timeout" else TargetDown)(target, self.outcome)


def refused(status: int) -> ProxyFailed:
    """Return the failure that a proxy's status means, which is no success."""
    if status == LOGIN:
        return ProxyFailed("proxy_login")
    return ProxyFailed("proxy_gateway" if status >= 500 else "proxy_denied")


def answered_itself(status: int, headers: Mapping[str, str]) -> ProxyFailed | None:
    """Return the failure if a proxy answered a request for an http:// address itself; None if the provider answered.

    headers: by their names in lower case
    A 407 is never a provider's (RFC 9110, 15.5.8); for every other status there are only the signs that proxies leave (RFC 9209).
    """
    signed = "x-squid-error" in headers or "error=" in headers.get("proxy-status", "") or headers.get("server", "").startswith("tinyproxy")
    return refused(status) if status == LOGIN or (signed and status >= 300) else None
