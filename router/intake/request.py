"""An HTTP request before its body is read: its path, its headers, and what they ask for."""

import re
from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any, cast, get_args

from router.access.address import Address, client_address
from router.access.headers import BY_NAME, STEERING, by_name
from router.chat import InducedFault
from router.config.server import MinClient
from router.errors import BadAsk
from router.intake import protocol
from router.intake.fields import Fields
from router.intake.question import Surface
from router.intake.scope import Receive, Scope, path_below
from router.random_ids import random_hex
from router.wire import WIRES, Wire

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
LINE = WIRES["line"]


class Request:
    """An HTTP request without its body. `model`: the route that the path names, if any; `surface`: the API of its path.

    A plain class: its fields are set one by one, which a msgspec struct takes far longer for.
    """

    def __init__(self, scope: Scope, receive: Receive, surface: Surface = "chat") -> None:
        self.scope, self.receive = scope, receive
        self.surface: Surface = surface
        self.model: str | None = None
        self.stated: Fields = {}
        """Fields of the question that the headers contain (gateway protocol only); they override the body's."""
        self.named: str | None = None
        """Name of the wire that the request names; None without one."""
        self.wire: Wire = LINE
        """The wire of the answer, as far as known: errors are sent in it."""
        self.path: str = path_below(scope) if scope.get("root_path") else scope["path"]
        self.method: str = scope["method"]
        self.query: bytes = scope.get("query_string", b"")
        self.client: Any = scope.get("router.client")
        """The client's connection: an `answering.reply.Client`, and for `Bodies.arrived`; None under another server than the router's own."""
        self.id = ""
        """The id of the request: the caller's `X-Request-Id` if it is well-formed, else a new one."""
        self.traceparent = ""
        """The `traceparent` header if it is well-formed, else empty."""
        self.announced = False
        """True if the client waits for `100 Continue` before it sends the body."""
        self.steers = False
        """True if the request has a header for `fault` or `min_client`."""
        self.cache_control = b""
        """The values of `Cache-Control`, joined by commas."""
        self.forwarded: Sequence[bytes] = ()
        """The values of `X-Forwarded-For`."""
        self._protocol = b""
        """The `X-Stream-Protocol` header."""
        self._headers, kinds = scope.get(BY_NAME) or by_name(scope["headers"])
        if kinds.optional:
            self._read_optional(self._headers)
        if not self.id:
            self.id = f"req_{random_hex()[:24]}"

    def _read_optional(self, headers: Mapping[bytes, bytes]) -> None:
        """Set the fields of the optional headers (`access.headers.OPTIONAL`)."""
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
        return self._headers.get(b"content-length")

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
        given = self._headers.get(header.lower().encode(), b"").decode("latin-1").strip()
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
