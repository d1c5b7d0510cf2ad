"""Headers of a request by their names, which the server, the access check and the request itself look at."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from router.value import Value

BY_NAME = "router.headers"
"""Key of a scope: the result of `by_name` for its headers. It is made once for each request.

`Door` and `Edge.__call__` set it. A layer that changes `headers` stands before the latter, which makes it anew.
"""
BEARING = frozenset({b"authorization", b"anthropic-version"})
"""Headers without which a request bears no credentials (see `gate.borne`)."""
FORWARDING = frozenset(
    {
        *(b"cf-connecting-ip", b"cf-connecting-ipv6", b"cf-pseudo-ipv4", b"client-ip", b"do-connecting-ip", b"fastly-client-ip"),
        *(b"fly-client-ip", b"forwarded", b"true-client-ip", b"via", b"x-appengine-user-ip", b"x-azure-clientip", b"x-azure-socketip"),
        *(b"x-client-ip", b"x-cluster-client-ip", b"x-envoy-external-address", b"x-host", b"x-original-forwarded-for", b"x-original-host"),
        *(b"x-real-ip", b"x-remote-addr", b"x-remote-ip"),
    }
)
"""Headers by which proxies name the client, the host that it asked for, or themselves; beside all that begin with FAMILY."""
FAMILY = b"x-forwarded-"
SHOWING = FORWARDING | {b"origin", b"referer"}
"""Headers that may show another machine, beside the family."""
STEERING = frozenset({b"x-router-fault", b"x-router-min-client"})
"""Headers of the router's own that change the answer."""
OPTIONAL = STEERING | {b"x-request-id", b"traceparent", b"expect", b"cache-control", b"x-forwarded-for", b"x-stream-protocol"}
"""Headers that set fields of a Request; many requests have none of them."""
MAX_NAMES = 64
"""Headers of a request up to which their kinds are cached: an entry of the cache is small."""


class Kinds(Value, frozen=True):
    """The kinds of headers that a request has, which follow from their names."""

    origin: bool
    """True with an `Origin`, which web pages send."""
    expect: bool
    """True with an `Expect`."""
    bearing: bool
    """True if there may be credentials."""
    showing: bool
    """True if there are headers that may show another machine."""
    optional: bool
    """True if there are headers that set fields of a Request."""


Headers = tuple[Mapping[bytes, bytes], Kinds]
"""Headers by name, of a repeated one the last value, and the kinds of headers among them."""


def by_name(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return headers by name, of a repeated one the last value, and the kinds of headers among them."""
    named = dict(headers)
    names = tuple(named)
    return named, _kinds(names) if len(names) <= MAX_NAMES else _kinds.__wrapped__(names)


@lru_cache(maxsize=64)
def _kinds(names: tuple[bytes, ...]) -> Kinds:
    """Return the kinds of headers with these names. All requests of a client have the same ones, as a rule."""
    return Kinds(
        origin=b"origin" in names,
        expect=b"expect" in names,
        bearing=not BEARING.isdisjoint(names),
        showing=not SHOWING.isdisjoint(names) or any(name.startswith(FAMILY) for name in names),
        optional=not OPTIONAL.isdisjoint(names),
    )
