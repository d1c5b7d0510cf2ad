"""An HTTP request before its body is read: its path, its headers, and what they ask for."""

import re
from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any, cast, get_args

from router.access.address import Address, client_address
from router.chat import InducedFault, Json
from router.config.server import MinClient
from router.errors import BadAsk
from router.intake import protocol
from router.intake.fields import Fields
from router.intake.question import Surface
from router.intake.scope import Receive, Scope, path_below
from router.random_ids import random_hex
from router.value import Mutable, field
from router.wire import WIRES, Wire

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
STEERING = frozenset({b"x-router-fault", b"x-router-min-client"})
"""Headers of the router's own that change the answer."""
OPTIONAL = STEERING | {b"x-request-id", b"traceparent", b"expect", b"cache-control", b"x-forwarded-for", b"x-stream-protocol"}
"""Headers that set fields of a Request; many requests have none of them."""


class Request(Mutable):
    """An HTTP request without its body. `model`: the route that the path names, if any; `surface`: the API of its path."""

    scope: Scope
    receive: Receive
    model: str | None = None
    surface: Surface = "chat"
    stated: Fields = field(default_factory=dict[str, Json])
    """Fields of the question that the headers contain (gateway protocol only); they override the body's."""
    named: str | None = None
    """Name of the wire that the request names; None without one."""
    wire: Wire = WIRES["line"]
    """The wire of the answer, as far as known: errors are sent in it."""
    path: str = ""
    method: str = ""
    query: bytes = b""
    client: Any = None
    """The client's connection: an `answering.reply.Client`, and for `Bodies.arrived`; None under another server than the router's own."""
    id: str = ""
    """The id of the request: the caller's `X-Request-Id` if it is well-formed, else a new one."""
    traceparent: str = ""
    """The `traceparent` header if it is well-formed, else empty."""
    announced: bool = False
    """True if the client waits for `100 Continue` before it sends the body."""
    steers: bool = False
    """True if the request has a header for `fault` or `min_client`."""
    cache_control: bytes = b""
    """The values of `Cache-Control`, joined by commas."""
    forwarded: Sequence[bytes] = ()
    """The values of `X-Forwarded-For`."""
    _protocol: bytes = b""
    """The `X-Stream-Protocol` header."""

    def __post_init__(self) -> None:
        scope = self.scope
        self.path = path_below(scope) if scope.get("root_path") else scope["path"]
        self.method = scope["method"]
        self.query = scope.get("query_string", b"")
        self.client = scope.get("router.client")
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if not OPTIONAL.isdisjoint(headers):
            self._read_optional(headers)
        if not self.id:
            self.id = f"req_{random_hex()[:24]}"

    def _read_optional(self, headers: Mapping[bytes, bytes]) -> None:
        """Set the fields of the headers in OPTIONAL."""
        given = headers.get(b"x-request-id", b"")
        self.id = given.decode() if REQUEST_ID.fullmatch(given) else ""
        given = headers.get(b"traceparent", b"")
        self.traceparent = given.decode() if TRACEPARENT.fullmatch(given) else ""
        self.announced = headers.get(b"expect", b"").lower() == b"100-continue"
        self.steers = not STEERING.isdisjoint(headers)
        self._protocol = headers.get(b"x-stream-protocol", b"")
        self.cache_control = b",".join(self._all(b"cache-control"))
        self.forwarded = self._all(b"x-forwarded-for")

    @property
    def length(self) -> bytes | None:
        """The `Content-Length` header; None without one."""
        return dict(self.scope["headers"]).get(b"content-length")

    def _all(self, wanted: bytes) -> Sequence[bytes]:
        """Return the values of all headers of this name."""
        return [value for name, value in self.scope["headers"] if name == wanted]

    def _peer(self) -> Any:
        return (self.scope.get("client") or ("", 0))[0]

    def address(self, proxies: Sequence[IPv4Network | IPv6Network]) -> Address | None:
        """Return the client's IP address: the peer's, or the one that declared proxies forward; None if the peer has none."""
        return client_address(self._peer(), self.forwarded, proxies)

    def undeclared(self, proxies: Sequence[IPv4Network | IPv6Network]) -> str:
        """Return the peer's address if it sent X-Forwarded-For and is not in `proxies` ("unknown" without an address); else empty."""
        peer = client_address(self._peer(), (), proxies)
        declared = peer is not None and any(peer in network for network in proxies)
        return "" if declared or not self.forwarded else str(peer or "unknown")

    def values(self, names: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Return name → values, in the order sent, of those of these headers (named in lower case) that the request has."""
        found: dict[str, tuple[str, ...]] = {}
        for name, value in self.scope["headers"] if names else ():
            if (known := name.decode("latin-1").lower()) in names:
                found[known] = (*found.get(known, ()), value.decode("latin-1").strip(" \t"))
        return found

    @property
    def fault(self) -> InducedFault | None:
        """Return the fault that the request induces at its provider; None without one. BadAsk if there is no such fault."""
        return cast("InducedFault | None", self._steered("X-Router-Fault", get_args(InducedFault)))

    @property
    def min_client(self) -> MinClient | None:
        """The AI SDK release in `X-Router-Min-Client`; None without one. BadAsk for an unknown release."""
        return cast("MinClient | None", self._steered("X-Router-Min-Client", get_args(MinClient)))

    def _steered(self, header: str, known: Collection[str]) -> str | None:
        given = dict(self.scope["headers"]).get(header.lower().encode(), b"").decode("latin-1").strip()
        if given and given not in known:
            raise BadAsk(f"{header}: one of {', '.join(known)} is needed.")
        return given or None

    def speaks(self, declared: str) -> None:
        """Set the named wire, and the wire of errors before the body is read. `declared`: `server.protocol`. BadAsk for an unknown wire."""
        if self.query or self._protocol:
            self.named = protocol.requested(self.query, self._protocol)
        self.wire = protocol.chosen(self.named, self.path, declared)

    def speaks_as_addressed(self, declared: str = "line") -> Wire:
        """Set and return the wire of the request's path, without regard to `?protocol=`. `declared`: the wire for a path without one."""
        self.wire = protocol.chosen(None, self.path, declared)
        return self.wire
