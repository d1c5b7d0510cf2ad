"""The HTTP client of the direct lanes, with one connection pool for each configuration.

This client does only what the APIs of models need: one request at a time on a connection, HTTP/1.1 with or without TLS,
directly or through a declared proxy. It has no redirects, no cookies, no proxy from the environment, and no limit of connections.
A general client costs more for each request and for each piece of an answer than all the rest of the router does.
"""

import asyncio
import base64
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from functools import lru_cache
from typing import ClassVar
from urllib.parse import quote, unquote, urlsplit

import aiohappyeyeballs

from router.config.network import DIRECT, Egress, Proxy, tls_context
from router.errors import Misfit
from router.targets.connection import Connection, Cut, Key
from router.targets.proxy import ProxyFailed
from router.value import PartlyCompared, replace

log = logging.getLogger("router.targets")
KEPT = 30.0
"""Seconds that a connection stays idle in the pool, at most 1.5 times as many: servers keep it longer."""
EYEBALLS = 0.25
"""Seconds after which a host's next address is tried in parallel (happy eyeballs), in case the first one does not answer."""
FETCH = 3.0
"""Seconds that connecting may take in `Connections.fetch`."""
LINGER_S = 1.0
"""Default of `Connections.linger`: seconds in total to wait for token counts after the finish reason of an answer."""
CLAIM = 0.02
"""Seconds that a request waits for a connection whose last body is just ending: less than opening a new one takes."""
LENGTH = b"content-length: "
REQUEST = b"%b%d\r\n\r\n%b"
"""A request: `Endpoint.head`, the length of the body, and the body."""
SENT = {"accept": "text/event-stream", "accept-encoding": "identity", "content-type": "application/json", "user-agent": "pointsman"}
Place = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
Addresses = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, Place]]
"""The result of a DNS lookup."""
trusting = lru_cache(maxsize=16)(tls_context)
"""`tls_context`, cached for each CA bundle in use and a few of earlier configurations: each context takes 10 ms and 0.5 MB."""


class Endpoint(PartlyCompared, frozen=True, eq=False):
    """The server and the request headers of a target's API.

    tls: the context for TLS to the server; None for http://
    connect: seconds a connection may take, the way through a proxy included
    head: the request line and headers, up to `content-length: `, after which the length is written
    key: requests with an equal key share connections
    idle: the pool's idle connections with this key, the latest one last
    tunnel: the CONNECT request; empty without a proxy, or if the proxy passes on the request itself
    proxy_tls: the context for TLS to the proxy itself
    """

    BESIDE: ClassVar = frozenset({"idle"})

    host: str
    port: int
    tls: ssl.SSLContext | None
    connect: float
    head: bytes
    key: Key
    idle: dict[Connection, None]
    tunnel: bytes = b""
    proxy_tls: ssl.SSLContext | None = None

    @property
    def proxy(self) -> Proxy | None:
        """Return the proxy on the way; None if there is none."""
        return self.key[3]

    def bearing(self, name: str, value: str) -> "Endpoint":
        """Return a copy of this endpoint with one more request header. `value`: printable ASCII."""
        return replace(self, head=self.head.removesuffix(LENGTH) + f"{name}: {value}\r\n".encode("ascii") + LENGTH)


class Connections:
    """An HTTP client for one egress (a proxy or none, and the trusted CAs). The clients of all egresses share a pool.

    linger: seconds to wait for token counts after the finish reason of an answer
    behind, close: those of the pool
    """

    def __init__(self, egress: Egress = DIRECT, pool: "ConnectionPool | None" = None, *, linger: float = LINGER_S) -> None:
        self._egress = egress
        self.linger = linger
        self._pool = pool or ConnectionPool()
        self.behind, self.close = self._pool.behind, self._pool.close

    def over(self, egress: Egress) -> "Connections":
        """Return a client for this egress that shares the pool: this one, if it is its own."""
        return self if egress == self._egress else Connections(egress, self._pool, linger=self.linger)

    def endpoint(self, url: str, headers: Mapping[str, str], connect: float, method: str = "POST") -> Endpoint:
        """Return the endpoint of a URL; `connect`: seconds it may take. Raises Misfit unless it is http(s) and each header can be sent."""
        host, port, tls, authority, path, login = _located(url)
        proxy = self._egress.proxy_to(host) if self._egress.proxy else None
        if proxy is not None and not tls:
            # The request itself goes to the proxy, with the whole address: many proxies lead to port 443 alone (RFC 9112, 3.2.2).
            path = f"http://{authority}{path}"
            headers = {**headers, **_login(proxy)}
        head = head_of(method, path, authority, login, tuple(headers.items()))
        context = trusting(self._egress.ca) if tls else None
        tunnel = b""
        if proxy is not None and tls:
            server = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            lines = "".join(f"{name}: {value}\r\n" for name, value in ({"host": server} | _login(proxy)).items())
            tunnel = f"CONNECT {server} HTTP/1.1\r\n{lines}\r\n".encode()
        proxy_tls = trusting(self._egress.ca) if proxy is not None and proxy.tls else None
        key = (host, port, context, proxy)
        return Endpoint(host, port, context, connect, head, key, self._pool.idle_at(key), tunnel, proxy_tls)

    async def answered(self, endpoint: Endpoint, body: bytes) -> Connection:
        """Send a request, and return its connection once status and headers are here. Raises OSError or Cut if none come.
        The caller releases the connection. Only connecting has a timeout. If a kept connection fails before a byte of the answer came, the
        request is sent once more, on a new one: the server may have closed it.
        """
        idle, request = endpoint.idle, REQUEST % (endpoint.head, len(body), body)
        connection = idle.popitem()[0] if idle else await self._pool.claimed(endpoint) or await self._pool.opened(endpoint)
        while True:
            try:
                await connection.ask(request)
            except asyncio.CancelledError:
                connection.release()
                raise
            if connection.status:
                return connection
            if not connection.kept or connection.heard:
                raise connection.failure()
            log.debug("a kept connection had closed: the question is asked again on a new one", extra={"fields": {"host": endpoint.host}})
            connection = await self._pool.opened(endpoint)

    async def fetch(self, url: str, most: int) -> bytes:
        """Return the body at a URL, by GET. Only connecting has a timeout. Raises Misfit if the URL is not an address.
        Raises OSError if it cannot be fetched, is longer than `most` bytes, or its status is not 200.
        """
        endpoint = self.endpoint(url, {"accept": "application/json"}, FETCH, "GET")
        try:
            response = await self.answered(endpoint, b"")
            with ExitStack() as undo:
                undo.callback(response.release)
                found = bytearray()
                while response.status == 200 and len(found) <= most and (piece := await response.read()):
                    found += piece
                if response.status != 200 or len(found) > most:
                    raise OSError("this is not what was to be fetched")
                return bytes(found)
        except Cut as cut:
            raise ConnectionResetError from cut


@lru_cache(maxsize=1024)  # many targets have one address
def _located(url: str) -> tuple[str, int, bool, str, str, str]:
    """Return (host, port, True for TLS, authority, path with query, `Authorization` of a user in it or empty) of a URL. Raises Misfit."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode() if ":" not in (parts.hostname or "") else str(parts.hostname)
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
    except ValueError:
        host, tls, port, parts = "", False, 0, urlsplit("")
    if not host or parts.scheme not in ("http", "https"):
        raise Misfit(f"`{url}` is no address: write http://host:port/v1, or https", "api_base")
    named = f"[{host}]" if ":" in host else host
    login = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = f"Basic {base64.b64encode(pair.encode()).decode()}"
    query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=?~-._')}" if parts.query else ""
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + query
    return host, port, tls, named if parts.port is None else f"{named}:{port}", path, login


@lru_cache(maxsize=1024)  # many targets have one address and key
def head_of(method: str, path: str, authority: str, login: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """Return the head of a request, as in Endpoint. Raises Misfit for a header that cannot be sent. `login`: `Authorization`, or empty."""
    sent = {"host": authority, **SENT, **({"authorization": login} if login else {}), **dict(headers)}
    if not (values := "".join(sent.values())).isascii() or not values.isprintable():
        raise Misfit("this key cannot be sent: it holds a line break, or a letter that is none in a header", "api_key")
    lines = "".join([f"{name}: {value}\r\n" for name, value in sent.items()])
    return f"{method} {path} HTTP/1.1\r\n{lines}".encode() + LENGTH


def _login(proxy: Proxy) -> dict[str, str]:
    return {"proxy-authorization": proxy.authorization} if proxy.authorization else {}


class ConnectionPool:
    """A pool of idle HTTP connections, grouped by their key, that also opens new ones. Their number has no limit."""

    def __init__(self) -> None:
        self._idle: dict[Key, dict[Connection, None]] = {}
        """Connections in the order of their use. A dict is shared by the endpoints of its key. A lost connection leaves it at once: a server
        may close a thousand of them together.
        """
        self._settling: dict[Key, dict[Connection, None]] = {}
        """Connections whose answer is complete but whose body has not ended."""
        self._lookups: dict[tuple[str, int], asyncio.Future[Addresses]] = {}
        """DNS lookups under way."""
        self._sweeper: asyncio.TimerHandle | None = None
        self._behind: set[asyncio.Task[None]] = set()
        """Tasks that read in the background."""
        self.closed = False

    def idle_at(self, key: Key) -> dict[Connection, None]:
        """Return the idle connections with this key. The pool goes on using this dict."""
        return self._idle.setdefault(key, {})

    async def opened(self, endpoint: Endpoint) -> Connection:
        """Open a new connection to an endpoint, through its proxy if it has one. Raises OSError, such as TimeoutError or ProxyFailed."""
        if endpoint.proxy is not None:
            connection = await self._through(endpoint, endpoint.proxy)
        else:
            async with asyncio.timeout(endpoint.connect):
                connection = await self._open(endpoint.host, endpoint.port, endpoint.tls)
        connection.pool, connection.key, connection.idle = self, endpoint.key, endpoint.idle
        if self._sweeper is None and not self.closed:
            self._sweeper = connection.loop.call_later(KEPT, self._sweep, connection.loop)
        return connection

    async def _through(self, endpoint: Endpoint, proxy: Proxy) -> Connection:
        """Connect to a proxy; open a tunnel unless it passes requests on. Raises ProxyFailed, and logs it, if the proxy is at fault."""
        until = asyncio.get_running_loop().time() + endpoint.connect
        try:
            async with asyncio.timeout_at(until):
                connection = await self._open(proxy.host, proxy.port, endpoint.proxy_tls)
                if not endpoint.tunnel:
                    return connection
                transport = await connection.tunnelled(endpoint.tunnel)
        except (OSError, Cut) as error:
            slow, tls = isinstance(error, TimeoutError), isinstance(error, ssl.SSLError)
            outcome = "proxy_timeout" if slow else "proxy_tls" if tls else "proxy_connection"
            failed = error if isinstance(error, ProxyFailed) else ProxyFailed(outcome)
            fields = {"proxy": proxy.label, "host": endpoint.host, "outcome": failed.outcome}
            log.warning("the proxy leads nowhere", extra={"fields": fields})
            raise failed from None
        async with asyncio.timeout_at(until):
            return await _secured(transport, endpoint)

    async def claimed(self, endpoint: Endpoint) -> Connection | None:
        """Wait at most CLAIM seconds for a connection whose last body is ending, if any; then take an idle one if there is one now."""
        if not (settling := self._settling.get(endpoint.key)):
            return None
        await asyncio.wait([settling.popitem()[0].settled], timeout=CLAIM)
        return endpoint.idle.popitem()[0] if endpoint.idle else None

    def settle(self, connection: Connection) -> None:
        """Register a connection whose body has not ended, so that `claimed` can wait for it. Closes it if the pool is closed."""
        if self.closed:
            connection.close()
        else:
            self._settling.setdefault(connection.key, {})[connection] = None

    def settled(self, connection: Connection) -> None:
        """Remove a connection that `settle` registered, so that `claimed` no longer waits for it: its body has ended, or will not end."""
        if (settling := self._settling.get(connection.key)) is not None:
            settling.pop(connection, None)

    async def _open(self, host: str, port: int, tls: ssl.SSLContext | None) -> Connection:
        loop = asyncio.get_running_loop()
        sock = await aiohappyeyeballs.start_connection(  # pyright: ignore[reportUnknownMemberType]
            await self._found(host, port), happy_eyeballs_delay=EYEBALLS, interleave=1
        )
        with ExitStack() as undo:
            # The transport alone closes `sock`: until it does, no other socket may get the number of its file descriptor.
            connection = Connection()
            undo.callback(connection.abandon)
            await loop.create_connection(lambda: connection, sock=sock, ssl=tls, server_hostname=host if tls else None)
            undo.pop_all()
        return connection

    async def _found(self, host: str, port: int) -> Addresses:
        """Return the addresses of a host, found by DNS. Concurrent calls for one host and port share a lookup; none can be cancelled."""
        if (lookup := self._lookups.get((host, port))) is None:
            lookup = self._lookups[host, port] = asyncio.ensure_future(asyncio.get_running_loop().getaddrinfo(host, port, type=1))
            lookup.add_done_callback(lambda done: self._looked_up((host, port), done))
        return await asyncio.shield(lookup)

    def _looked_up(self, place: tuple[str, int], lookup: asyncio.Future[Addresses]) -> None:
        del self._lookups[place]
        if not lookup.cancelled():
            lookup.exception()  # retrieved, since all its waiters may be cancelled

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close connections that were idle for KEPT seconds. It runs again after KEPT / 2."""
        oldest = loop.time() - KEPT
        for idle in self._idle.values():
            for connection in list(idle):
                if connection.kept <= oldest:
                    connection.close()
                if not connection.usable:
                    idle.pop(connection, None)
        self._sweeper = loop.call_later(KEPT / 2, self._sweep, loop)

    def behind(self, work: Coroutine[object, object, None], then: Callable[[], None]) -> None:
        """Start `work` as a background task, and call `then` when it has ended, failed or been cancelled by `close`. Returns at once."""
        task = asyncio.create_task(work)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)
        task.add_done_callback(lambda _: then())

    async def close(self) -> None:
        """Close idle connections and stop background reads; a connection in use closes when it is released."""
        self.closed = True
        for task in self._behind:
            task.cancel()
        await asyncio.gather(*self._behind, return_exceptions=True)
        if self._sweeper is not None:
            self._sweeper.cancel()
        waiting = [connection for kept in (*self._idle.values(), *self._settling.values()) for connection in kept]
        for idle in self._idle.values():
            idle.clear()
        self._settling.clear()
        for connection in waiting:
            connection.close()
        await asyncio.gather(*(connection.gone() for connection in waiting))


async def _secured(tunnel: asyncio.Transport, endpoint: Endpoint) -> Connection:
    """Start TLS to the endpoint inside a tunnel, and return the connection. Closes the tunnel after an error."""
    with ExitStack() as undo:
        undo.callback(tunnel.abort)
        assert endpoint.tls is not None
        connection = Connection()
        transport = await connection.loop.start_tls(tunnel, connection, endpoint.tls, server_hostname=endpoint.host)
        if transport is None:
            raise ConnectionResetError
        connection.connection_made(transport)
        undo.pop_all()
    return connection
