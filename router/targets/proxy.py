"""Failures of a forward proxy, told apart from the provider's own answers."""

from collections.abc import Mapping

from router.errors import TargetDenied, TargetDown, TargetError, TargetSilent

LOGIN = 407
DENIED = frozenset({"proxy_login", "proxy_denied", "proxy_tls"})
"""Outcomes that last until an operator changes something: they become TargetDenied."""


class ProxyFailed(ConnectionError):
    """A failure of the proxy on the way to a target.

    `outcome` is one of:
    proxy_login        the proxy refuses our credentials, or wants some (407)
    proxy_denied       the proxy refuses this address (any other 4xx, a redirect)
    proxy_gateway      the proxy cannot reach the provider (5xx)
    proxy_connection   the proxy cannot be reached, broke off, or is not an HTTP proxy
    proxy_timeout      no connection through the proxy within `timeout.connect`
    proxy_tls          the proxy's own certificate is not trusted
    """

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome

    def of(self, target: str) -> TargetError:
        """Return the failure as TargetDenied for an outcome in DENIED, TargetSilent for `proxy_timeout`, otherwise TargetDown."""
        kind = TargetDenied if self.outcome in DENIED else TargetSilent if self.outcome == "proxy_timeout" else TargetDown
        return kind(target, self.outcome)


def refused(status: int) -> ProxyFailed:
    """Return the ProxyFailed for a proxy's status: proxy_login for 407, proxy_gateway from 500 on, otherwise proxy_denied."""
    return ProxyFailed("proxy_login" if status == LOGIN else "proxy_gateway" if status >= 500 else "proxy_denied")


def answered_itself(status: int, headers: Mapping[str, str]) -> ProxyFailed | None:
    """Return the failure if a proxy itself answered a request for an http:// URL; None if nothing shows that. `headers`: in lower case.

    A 407 is never a provider's (RFC 9110, 15.5.8). Any other status from 300 on needs a sign in the headers that proxies leave (RFC 9209).
    """
    signed = "x-squid-error" in headers or "error=" in headers.get("proxy-status", "") or headers.get("server", "").startswith("tinyproxy")
    return refused(status) if status == LOGIN or (signed and status >= 300) else None
