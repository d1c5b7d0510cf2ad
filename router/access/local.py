"""Requests from this machine: how they are distinguished from those that a proxy, a tunnel or a web page passes on.

Behind a proxy on this machine all requests come from loopback; headers that the proxy adds or rewrites reveal it, with one exception. A
proxy that speaks HTTP/1.1, rewrites Host to a loopback name and adds no header looks like a local client.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache

from starlette.types import Scope

from router.access.address import address_of
from router.access.headers import FAMILY, FORWARDING, Headers

AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s\[\]:@/\\]+))(?::[0-9]{1,5})?")
"""`host[:port]`, as Host and addresses have it: an IPv6 address in brackets, or a name or an IPv4 address."""
WELL_FORMED = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*").fullmatch
"""Matches a Host header: the characters of RFC 3986, 3.2.2 and 3.2.3."""
MAX_HOST = 255
"""Characters of a host that is looked at."""
OLD = ("0.9", "1.0")
"""Versions of HTTP that some proxies use by default, and clients do not any more."""
LOCAL = "localhost"
"""Address of a server that does not tell its own."""
NO_HOSTS = frozenset(FAMILY + word for word in (b"port", b"prefix", b"proto", b"protocol", b"scheme", b"ssl"))
"""Headers of the family that name no host."""


def stranger(scope: Scope, headers: Headers, origins: Collection[str]) -> str:
    """Return what shows that a request does not come from this machine; empty if nothing does.

    headers: those of the scope
    origins: declared origins of web pages

    The result is the name of a header, `peer`, `server`, `host`, or the HTTP version. A forwarding header that names loopback alone, as of
    a development server on this machine, shows nothing.
    """
    (named, kinds), peer, server = headers, scope.get("client"), scope.get("server")
    if why := _elsewhere(scope["http_version"], peer[0] if peer else "", server[0] if server else LOCAL, named.get(b"host", b"")):
        return why
    if not kinds.showing:
        return ""  # most programs send none of them
    for name, value in scope["headers"]:
        if (name in FORWARDING or name.startswith(FAMILY)) and forwarding(name):
            if not all(_is_here(host) for host in _named(name, value.decode("latin-1"))):
                return name.decode("latin-1")
        elif (name == b"origin" and not _is_own(value, origins)) or (name == b"referer" and not _is_own(_origin(value), origins)):
            return name.decode()
    return ""


def direct(scope: Scope) -> bool:
    """Return whether a program of this machine sent a request itself, by its connection, HTTP version and headers.
    An Origin (of a web page) or a header of a proxy makes it False, even if it names this machine.
    """
    peer, server, headers = scope.get("client"), scope.get("server"), dict(scope["headers"])
    if _elsewhere(scope["http_version"], peer[0] if peer else "", server[0] if server else LOCAL, headers.get(b"host", b"")):
        return False
    return not any(name == b"origin" or forwarding(name) for name in headers)


def forwarding(name: bytes) -> bool:
    """Return whether this header is one in which proxies name a client, a host or themselves."""
    return name in FORWARDING or (name.startswith(FAMILY) and name not in NO_HOSTS)


def bad_host(scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
    """Return whether the Host header is missing, repeated or malformed (RFC 9112, 3.2). HTTP/1.0 needs none.

    headers: those of the scope; of a repeated one, the last value
    """
    host = headers.get(b"host")
    if host is None:
        return scope["http_version"] not in OLD
    if len(headers) != len(scope["headers"]) and sum(name == b"host" for name, _ in scope["headers"]) > 1:
        return True
    return not _is_well_formed(host)


@lru_cache(maxsize=64)
def _is_well_formed(host: bytes) -> bool:
    """Return whether a Host header has only characters that it may have. Most requests have one of a few."""
    return WELL_FORMED(host) is not None


@lru_cache(maxsize=256)
def _elsewhere(version: str, peer: object, server: object, host: bytes) -> str:
    """Return what in the connection, the HTTP version or the Host header shows another machine; empty if nothing does.

    peer, server: the addresses of the connection; empty for an unknown peer, LOCAL for an unknown server
    host: the Host header; a repeated one was refused before (`bad_host`)
    """
    if version in OLD:
        return f"HTTP/{version}"
    if not _is_here(str(peer)):
        return "peer"
    # Servers can be told to take the peer from X-Forwarded-For, which anybody writes. Where a connection arrived stays true.
    if not _is_here(str(server)):
        return "server"
    return "" if _names_here(host.decode("latin-1")) else "host"


@lru_cache(maxsize=256)
def _is_here(host: str) -> bool:
    """Return whether an address, with or without a port, or a host's name is loopback."""
    if len(host) > MAX_HOST:
        return False
    address = address_of(host)
    return address.is_loopback if address is not None else _names_here(host)


@lru_cache(maxsize=256)
def _names_here(authority: str) -> bool:
    """Return whether `host[:port]` is a loopback name or address. Any other name may point to this machine by DNS rebinding."""
    hit = AUTHORITY.fullmatch(authority) if len(authority) <= MAX_HOST else None
    if hit is None:
        return False
    address = address_of(hit[1] or hit[2])
    return address.is_loopback if address is not None else hit[2] is not None and hit[2].lower() == "localhost"


def _named(header: bytes, value: str) -> Iterator[str]:
    """Yield the hosts that a forwarding header names; an empty text, which is not loopback, for a part that cannot be read."""
    for item in value.split(","):
        if header == b"forwarded":  # RFC 7239
            for pair in item.split(";"):
                word, _, host = pair.strip().partition("=")
                if word.lower() != "proto":
                    yield host.strip('"') if word.lower() in ("for", "by", "host") else ""
        elif header == b"via":  # RFC 9110, 7.6.3: the protocol, then by whom it was received
            words = item.split()
            yield words[1] if len(words) > 1 else ""
        else:
            yield item.strip()


def _is_own(origin: bytes, declared: Collection[str]) -> bool:
    """Return whether an origin is loopback or declared."""
    text = origin.decode("latin-1")
    scheme, _, authority = text.partition("://")
    return text in declared or (scheme in ("http", "https") and _names_here(authority))


def _origin(address: bytes) -> bytes:
    """Return the origin (scheme, host and port) of a web address."""
    scheme, _, rest = address.partition(b"://")
    return scheme + b"://" + re.split(rb"[/?#]", rest, maxsplit=1)[0]
