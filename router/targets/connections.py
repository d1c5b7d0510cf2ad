"""The connections of the direct lanes: one pool, each connection opened when it is first needed, all closed with their generation.

This HTTP client does only what the APIs of models need: one request at a time on a connection, HTTP/1.1 with or without TLS,
directly or through a declared proxy. It has no redirects, no cookies, nothing from the environment, and no limit: the router has
limits. A general client costs more for each request and for each piece of an answer than all the rest of the router does.
"""

import asyncio
import base64
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack, suppress
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

import aiohappyeyeballs
import httptools

from router.config.network import DIRECT, Egress, Proxy, tls_context
from router.errors import Misfit
from router.targets.proxy import ProxyFailed, refused
from router.targets.unpacking import Unpacker, UnreadableBody, unpacker

log = logging.getLogger("router.targets")

KEPT = 30.0
"""Seconds that an idle connection is kept for the next request: less than servers keep it."""
EYEBALLS = 0.25
"""Seconds after which the next of a host's addresses is tried too: one that swallows packets must not hide one that answers."""
FETCH = 3.0
"""Seconds that connecting may take for a plain fetch."""
MAX_HEAD_BYTES = 64 * 1024
"""Bytes of a response's status line and headers, with those of every 1xx before it; also of trailers, of a chunk's extension, and of
all else that gives no body. Counted on arrival: the parser keeps unfinished input, and copies all of it at each read."""
MAX_UNREAD_BYTES = 256 * 1024
"""Unread bytes of a body from which on the provider has to wait (backpressure)."""
SETTLE = 0.5
"""Seconds to wait in the background for the end of a body, once the answer is complete: ASGI servers (vLLM, SGLang) send it a moment after
the last event, and a connection whose end was read serves again.
"""
CLAIM = 0.02
"""Seconds that a request waits for a connection whose last answer is just ending: less than a new one takes."""
MAX_UNPACKED_BYTES = 16 * 1024 * 1024
"""Bytes that one read of a compressed body may become."""
LENGTH = b"content-length: "
SENT = {"accept": "text/event-stream", "accept-encoding": "identity", "content-type": "application/json", "user-agent": "pointsman"}


Place = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
Addresses = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, Place]]
"""The result of a DNS lookup."""


class Cut(Exception):
    """A response that broke off, or is no HTTP."""


class Garbled(Cut):
    """A body that cannot be unpacked."""


Key = tuple[str, int, ssl.SSLContext | None, Proxy | None]
"""Requests of one key share connections: host and port, trusted certificates, proxy with its credentials."""
MAX_CONTEXTS = 16
"""TLS contexts that are kept: one for each CA bundle in use, and a few that edits left behind. One takes 10 ms and half a megabyte."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address to which a target's requests are sent.

    connect: seconds a connection may take, the way through a proxy included
    head: the request up to its body's length
    key: the connections that it may share
    tunnel: the request for a tunnel; empty without a proxy, or if the proxy passes on the request itself
    proxy_tls: the context for TLS to the proxy itself
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    connect: float
    head: bytes
    key: Key
    tunnel: bytes = b""
    proxy_tls: ssl.SSLContext | None = None

    @property
    def proxy(self) -> Proxy | None:
        """Return the proxy on the way."""
        return self.key[3]

    def bearing(self, name: str, value: str) -> "Endpoint":
        """Return this endpoint with one more header. `value`: letters, digits and signs of ASCII."""
        return replace(self, head=self.head.removesuffix(LENGTH) + f"{name}: {value}\r\n".encode("ascii") + LENGTH)


class Connections:
    """A client for hosts reached in one way, directly or through a proxy. All ways share a pool."""

    def __init__(self, egress: Egress = DIRECT, pool: "ConnectionPool | None" = None) -> None:
        self._egress = egress
        self._pool = pool or ConnectionPool()

    def over(self, egress: Egress) -> "Connections":
        """Return a client for this way that shares the pool."""
        return Connections(egress, self._pool)

    def tls(self, egress: Egress) -> ssl.SSLContext:
        """Return the TLS context of a way. The first takes 10 ms."""
        return trusting(egress.ca)

    def endpoint(self, url: str, headers: Mapping[str, str], connect: float, method: str = "POST") -> Endpoint:
        """Return the endpoint of a URL. Raises Misfit if the URL is not an address, or a header cannot be sent."""
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
        authority = named if parts.port is None else f"{named}:{port}"
        headers_sent = {"host": authority, **SENT}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers_sent["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        headers_sent |= headers
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (
            f"?{quote(parts.query, safe='/%:@!$&()*+,;=?~-._')}" if parts.query else ""
        )
        proxy = self._egress.proxy_to(host)
        if proxy is not None and not tls:
            # The request itself goes to the proxy, with the whole address: many proxies lead to port 443 alone (RFC 9112, 3.2.2).
            path = f"http://{authority}{path}"
            headers_sent |= _login(proxy)
        if any(not value.isascii() or not value.isprintable() for value in headers_sent.values()):
            raise Misfit("this key cannot be sent: it holds a line break, or a letter that is none in a header", "api_key")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers_sent.items())
        head = f"{method} {path} HTTP/1.1\r\n{lines}".encode() + LENGTH
        context = self.tls(self._egress) if tls else None
        if proxy is None:
            return Endpoint(host, port, context, connect, head, (host, port, context, None))
        tunnel = b""
        if tls:
            lines = "".join(f"{name}: {value}\r\n" for name, value in ({"host": f"{named}:{port}"} | _login(proxy)).items())
            tunnel = f"CONNECT {named}:{port} HTTP/1.1\r\n{lines}\r\n".encode()
        proxy_tls = self.tls(self._egress) if proxy.tls else None
        return Endpoint(host, port, context, connect, head, (host, port, context, proxy), tunnel, proxy_tls)

    async def ask(self, endpoint: Endpoint, body: bytes) -> "Connection":
        """Send a request, and return its connection, which the caller releases.

        Raises OSError, TimeoutError, ssl.SSLError or ProxyFailed if no connection could be made.
        """
        pool = self._pool
        connection = pool.waiting(endpoint.key) or await pool.claimed(endpoint.key) or await pool.opened(endpoint)
        connection.ask(_request(endpoint, body))
        return connection

    async def answered(self, endpoint: Endpoint, body: bytes) -> "Connection":
        """Send a request, and return its connection once status and headers are here. Raises OSError or Cut if none come.

        A server may close a kept connection in the moment in which it is used. If no byte of an answer came, the request is sent once
        more, on a new connection.
        """
        connection = await self.ask(endpoint, body)
        try:
            await _answered(connection)
        except (OSError, Cut):
            if connection.fresh or connection.heard:
                raise
            log.debug("a kept connection had closed: the question is asked again on a new one", extra={"fields": {"host": endpoint.host}})
            connection = await self._pool.opened(endpoint)
            connection.ask(_request(endpoint, body))
            await _answered(connection)
        return connection

    async def fetch(self, url: str, most: int) -> bytes:
        """Return the body at a URL. Raises OSError if it cannot be fetched, is longer than `most` bytes, or its status is not 200."""
        endpoint = self.endpoint(url, {"accept": "application/json"}, FETCH, "GET")
        response = await self.ask(endpoint, b"")
        try:
            await response.answered()
            found = bytearray()
            while response.status == 200 and len(found) <= most and (piece := await response.read()):
                found += piece
            if response.status != 200 or len(found) > most:
                raise OSError("this is not what was to be fetched")
            return bytes(found)
        except Cut as cut:
            raise ConnectionResetError from cut
        finally:
            response.release()

    def behind(self, work: Coroutine[object, object, None], then: Callable[[], None]) -> None:
        """Read the rest of an answer in the background; `then` is called at its end, at the latest when the connections close."""
        self._pool.behind(work, then)

    async def close(self) -> None:
        """Close every connection that nobody uses; those in use are closed when they are released."""
        await self._pool.close()


def _login(proxy: Proxy) -> dict[str, str]:
    return {"proxy-authorization": proxy.authorization} if proxy.authorization else {}


@lru_cache(maxsize=MAX_CONTEXTS)
def trusting(ca: str) -> ssl.SSLContext:
    """Return the process's TLS context that trusts the system's authorities and this CA bundle."""
    return tls_context(ca)


class ConnectionPool:
    """Connections that are kept for the next question, and how new ones are made."""

    def __init__(self) -> None:
        self._idle: dict[Key, list[Connection]] = {}
        self._settling: dict[Key, list[Connection]] = {}
        """Connections whose answers are complete, and whose ends have not come."""
        self._lookups: dict[tuple[str, int], asyncio.Future[Addresses]] = {}
        """Lookups under way."""
        self._sweeper: asyncio.TimerHandle | None = None
        self._behind: set[asyncio.Task[None]] = set()
        """Tasks that read in the background."""
        self._closed = False

    async def opened(self, endpoint: Endpoint) -> "Connection":
        """Open a new connection to an endpoint."""
        if endpoint.proxy is not None:
            connection = await self._through(endpoint, endpoint.proxy)
        else:
            async with asyncio.timeout(endpoint.connect):
                connection = await self._open(endpoint.host, endpoint.port, endpoint.tls)
        connection.pool, connection.key = self, endpoint.key
        return connection

    async def _through(self, endpoint: Endpoint, proxy: Proxy) -> "Connection":
        """Open a connection to a proxy that passes requests on, or a tunnel through it. Raises ProxyFailed if the proxy is to blame."""
        until = asyncio.get_running_loop().time() + endpoint.connect
        try:
            async with asyncio.timeout_at(until):
                connection = await self._open(proxy.host, proxy.port, endpoint.proxy_tls)
                if not endpoint.tunnel:
                    return connection
                transport = await connection.tunnelled(endpoint.tunnel)
        except (OSError, Cut) as error:
            failed = _blamed(error)
            fields = {"proxy": proxy.label, "host": endpoint.host, "outcome": failed.outcome}
            log.warning("the proxy leads nowhere", extra={"fields": fields})
            raise failed from None
        async with asyncio.timeout_at(until):
            return await _secured(transport, endpoint)

    async def claimed(self, key: Key) -> "Connection | None":
        """Return a connection whose last answer ends within CLAIM seconds; each is waited for by one request."""
        settling = self._settling.get(key)
        if not settling:
            return None
        await asyncio.wait([settling.pop().settled], timeout=CLAIM)
        return self.waiting(key)

    def settle(self, connection: "Connection") -> None:
        """Note a connection whose answer has not reached its end yet."""
        if self._closed:
            connection.close()
        else:
            self._settling.setdefault(connection.key, []).append(connection)

    def settled(self, connection: "Connection") -> None:
        """Forget a settling connection: the end of its answer has come, or will not come."""
        settling = self._settling.get(connection.key, [])
        if connection in settling:
            settling.remove(connection)

    def waiting(self, key: Key) -> "Connection | None":
        """Return an idle connection that is still usable."""
        idle = self._idle.get(key)
        while idle:
            connection = idle.pop()
            if connection.usable:
                return connection
        return None

    async def _open(self, host: str, port: int, tls: ssl.SSLContext | None) -> "Connection":
        loop = asyncio.get_running_loop()
        sock = await aiohappyeyeballs.start_connection(  # pyright: ignore[reportUnknownMemberType]
            await self._found(host, port), happy_eyeballs_delay=EYEBALLS, interleave=1
        )
        with ExitStack() as undo:
            undo.callback(sock.close)
            name = host if tls else None
            _, connection = await loop.create_connection(Connection, sock=sock, ssl=tls, server_hostname=name)
            undo.pop_all()
        return connection

    async def _found(self, host: str, port: int) -> Addresses:
        """Look up a host. Concurrent lookups of one host share a thread: threads are few, and a hanging one cannot be cancelled."""
        lookup = self._lookups.get((host, port))
        if lookup is None:
            lookup = asyncio.ensure_future(asyncio.get_running_loop().getaddrinfo(host, port, type=1))
            self._lookups[host, port] = lookup
            lookup.add_done_callback(lambda done: self._looked_up((host, port), done))
        return await asyncio.shield(lookup)

    def _looked_up(self, place: tuple[str, int], lookup: asyncio.Future[Addresses]) -> None:
        del self._lookups[place]
        if not lookup.cancelled():
            lookup.exception()  # all who waited for it may have gone

    def keep(self, connection: "Connection") -> None:
        """Keep a connection for the next request."""
        if self._closed:
            connection.close()
            return
        connection.kept = connection.loop.time()
        self._idle.setdefault(connection.key, []).append(connection)
        if self._sweeper is None:
            self._sweeper = connection.loop.call_later(KEPT, self._sweep, connection.loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close connections that were idle for KEPT seconds."""
        self._sweeper = None
        oldest = loop.time() - KEPT
        for key, idle in list(self._idle.items()):
            for connection in idle:
                if connection.kept <= oldest:
                    connection.close()
            self._idle[key] = [connection for connection in idle if connection.usable]
        if any(self._idle.values()):
            self._sweeper = loop.call_later(KEPT / 2, self._sweep, loop)

    def behind(self, work: Coroutine[object, object, None], then: Callable[[], None]) -> None:
        """Read the rest of an answer in the background (see Connections.behind)."""
        task = asyncio.create_task(work)
        self._behind.add(task)

        def done(_: object) -> None:
            self._behind.discard(task)
            then()

        task.add_done_callback(done)

    async def close(self) -> None:
        """Close every connection that nobody uses; those in use are closed when they are released."""
        self._closed = True
        for task in self._behind:
            task.cancel()
        await asyncio.gather(*self._behind, return_exceptions=True)
        if self._sweeper is not None:
            self._sweeper.cancel()
        idle = [connection for kept in (*self._idle.values(), *self._settling.values()) for connection in kept]
        self._idle.clear()
        self._settling.clear()
        for connection in idle:
            connection.close()
        await asyncio.gather(*(connection.gone() for connection in idle))


async def _answered(connection: "Connection") -> None:
    """Wait for a connection's answer to begin; release the connection on every other way out."""
    begun = False
    try:
        await connection.answered()
        begun = True
    finally:
        if not begun:
            connection.release()


def _blamed(error: OSError | Cut) -> ProxyFailed:
    """Return the failure of a proxy from the error of connecting through it."""
    match error:
        case ProxyFailed():
            return error
        case TimeoutError():
            return ProxyFailed("proxy_timeout")
        case ssl.SSLError():
            return ProxyFailed("proxy_tls")
        case _:
            return ProxyFailed("proxy_connection")


async def _secured(tunnel: asyncio.Transport, endpoint: Endpoint) -> "Connection":
    """Return a connection to the endpoint itself, over TLS in a tunnel."""
    loop = asyncio.get_running_loop()
    with ExitStack() as undo:
        undo.callback(tunnel.abort)
        assert endpoint.tls is not None
        connection = Connection()
        transport = await loop.start_tls(tunnel, connection, endpoint.tls, server_hostname=endpoint.host)
        if transport is None:
            raise ConnectionResetError
        connection.connection_made(transport)
        undo.pop_all()
    return connection


def _request(endpoint: Endpoint, body: bytes) -> bytes:
    return b"%b%d\r\n\r\n%b" % (endpoint.head, len(body), body)


class Connection(asyncio.Protocol):
    """A connection, and the response that comes on it."""

    pool: ConnectionPool
    key: Key
    kept = 0.0
    """Loop time at which the connection last became idle."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.status = 0
        self.headers: dict[str, str] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._lost = self.loop.create_future()
        self._over = True
        self._again = False
        """True if the server takes another request on this connection."""
        self._error: Exception | None = None
        self._pieces: list[bytes] = []
        self._found: list[bytes] = []
        """The pieces of the body that the parser finds in one read."""
        self.on_body = self._found.append  # the parser's callback: a method of ours would be a call for each piece
        self._waiting = 0
        self._paused = False
        self.fresh = True
        """True during the first request on this connection."""
        self.heard = False
        """True once a byte came since the request was sent."""
        self.settled = self.loop.create_future()
        """Done when the end of an answer came, or nobody waits for it any more."""
        self._settling: asyncio.TimerHandle | None = None
        """Timer that aborts the background wait for the end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport of the new connection."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def ask(self, request: bytes) -> None:
        """Send a request."""
        self._parser = httptools.HttpResponseParser(self)
        self.fresh = self.status == 0
        self.heard = False
        self.status = 0
        self.headers = {}
        self._loose = 0
        """Bytes that came since the last of them gave a head or a piece of the body."""
        self._head = 0
        self._over = self._again = False
        self._unpacker = None
        self._transport.write(request)

    async def tunnelled(self, request: bytes) -> asyncio.Transport:
        """Ask a proxy for a tunnel, and return the transport through it.

        Raises ProxyFailed if the proxy refuses, OSError or Cut if it does not answer, or sends more than a head;
        the connection is then closed.
        """
        with ExitStack() as undo:
            undo.callback(self._transport.abort)
            self.ask(request)
            await self.answered()
            if self.status // 100 != 2:
                raise refused(self.status)
            if self._pieces or self._error is not None:
                raise Cut  # whoever speaks TLS is spoken to first
            undo.pop_all()
        return self._transport

    @property
    def content_type(self) -> str:
        """Return the content type of the body, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def answered(self) -> None:
        """Wait for the status and the headers. Raises OSError or Cut if none come."""
        while not self.status:
            if self._error is not None:
                raise copy(self._error)  # a traceback of the kept one would hold the question, and be held
            await self._wait()

    async def read(self) -> bytes:
        """Return the next bytes of the body, once some are here; empty at its end. Raises OSError or Cut if it broke off."""
        while not self._pieces:
            if self._over:
                return b""
            if self._error is not None:
                raise copy(self._error)  # a traceback of the kept one would hold the question, and be held
            await self._wait()
        return self.taken()

    def taken(self) -> bytes:
        """Return the bytes of the body that are here, perhaps none."""
        data = b"".join(self._pieces)
        del self._pieces[:]
        self._waiting = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    def arrival(self) -> asyncio.Future[None] | None:
        """Return a future that is done once `read` returns at once; None if it does so now. One is waited for at a time."""
        if self._pieces or self._over or self._error is not None:
            return None
        self._waiter = self.loop.create_future()
        return self._waiter

    async def _wait(self) -> None:
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def release(self) -> None:
        """Keep the connection for the next request, or close it if this answer is not over."""
        if self._over and self._again and not self._pieces and self._error is None:
            self.pool.keep(self)
        else:
            self._transport.abort()

    def settle(self) -> None:
        """Read the little that follows a complete answer in the background, then keep the connection."""
        self._pieces.clear()
        self._waiting = 0
        if self._over or self._error is not None:
            self.release()
            return
        self.settled = self.loop.create_future()
        self._settling = self.loop.call_later(SETTLE, self._transport.abort)
        self.pool.settle(self)
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _settle_down(self) -> None:
        """End the background wait: the end of the answer has come, or will not come."""
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
            self.pool.settled(self)
            self._pieces.clear()
            self.release()
        if not self.settled.done():
            self.settled.set_result(None)

    @property
    def usable(self) -> bool:
        """Return whether a request may be sent on this connection."""
        return self._error is None and not self._transport.is_closing()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    async def gone(self) -> None:
        """Wait until the connection is closed, for at most 1 s: a server may never confirm it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._lost

    # Callbacks of the socket.

    def data_received(self, data: bytes) -> None:
        """Parse the bytes of one read, and apply the bounds and backpressure."""
        if self._over:
            self._fail(Cut())  # nobody asked for this
            return
        self.heard = True
        size = len(data)
        self._loose += size
        failed: Exception | None = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, Cut) as error:
            # What is raised while it parses arrives as the parser's own error.
            failed = Garbled() if isinstance(error.__context__, UnreadableBody) else Cut()
        if self._found:
            self._loose = 0
            if self._unpacker is None:
                self._pieces += self._found
                self._waiting += size
            else:
                self._unpack(self._unpacker)
            del self._found[:]
        if failed is not None:
            self._fail(failed)
        if self._loose > MAX_HEAD_BYTES and not self._over:
            self._fail(Cut())
        if self._settling is not None:
            if self._over or self._error is not None:
                self._settle_down()
            elif self._waiting > MAX_UNREAD_BYTES:
                self._transport.abort()  # this is more than an end
        if self._waiting > MAX_UNREAD_BYTES and not self._paused and not self._over:
            self._paused = True
            self._transport.pause_reading()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _unpack(self, unpacker: Unpacker) -> None:
        """Add what was found of a packed body, as far as it can be unpacked. What cannot is no end of an answer."""
        for packed in self._found:
            try:
                piece = unpacker.feed(packed)
            except UnreadableBody:
                piece, error = b"", Garbled()
            else:
                error = Cut() if self._waiting + len(piece) > MAX_UNPACKED_BYTES else None
            if error is not None:
                self._over = False
                self._fail(error)
                return
            if piece:
                self._pieces.append(piece)
                self._waiting += len(piece)

    def connection_lost(self, exc: Exception | None) -> None:
        """Record the end of the connection, which also ends a body of undeclared length."""
        if self._error is None:
            if self.status and not self._over and not {"content-length", "transfer-encoding"} & self.headers.keys():
                self._over = True
            self._error = exc or (Cut() if self.status else ConnectionResetError())
        if not self._lost.done():
            self._lost.set_result(None)
        self._settle_down()
        self._wake()

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Callbacks of the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Record a header; trailers are not used."""
        self._head += len(name) + len(value)
        if self._head > MAX_HEAD_BYTES:
            raise Cut
        if not self.status:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Record the status once all headers are here; those of a 1xx are dropped."""
        status = self._parser.get_status_code()
        if status >= 200:
            self.status = status
            self._loose = self._head = 0
            self._unpacker = unpacker(self.headers.get("content-encoding", ""), MAX_UNPACKED_BYTES)
        else:
            self.headers = {}

    def on_message_complete(self) -> None:
        """Record the end of the response."""
        self._over = self.status != 0
        self._again = self._parser.should_keep_alive()
