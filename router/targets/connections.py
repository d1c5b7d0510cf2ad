"""The connections of the direct lanes: one pool, each connection opened when it is first needed, all closed with their generation.

An HTTP client of our own, for what the APIs of models need and nothing else: one question at a time on a connection, HTTP/1.1 with
or without TLS. No redirects, no cookies, no proxies, nothing from the environment, no limit: the router has limits. A general
client costs more for each question and for each piece of an answer than all the rest of the router does.
"""

import asyncio
import base64
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import quote, unquote, urlsplit

import aiohappyeyeballs
import httptools

from router.errors import Misfit
from router.targets.unpacking import Unreadable, unpacker

log = logging.getLogger("router.targets")

KEPT = 30.0
"""Seconds that a connection is kept for the next question: less than servers keep it."""
EYEBALLS = 0.25
"""Seconds after which the next of a host's addresses is tried too: one that swallows packets must not hide one that answers."""
FETCH = 3.0
"""Seconds that a connection may take to what is only fetched."""
MOST_HEAD = 64 * 1024
"""Bytes of a response's status line and headers, with those of every 1xx before it; also of trailers, of a chunk's extension, and of
whatever else gives no body. Counted as they come: the parser keeps what has no end, and copies all of it at each read."""
MOST_WAITING = 256 * 1024
"""Bytes of a body that wait to be read before the provider has to wait too."""
SETTLE = 0.5
"""Seconds that the end of a body is waited for behind its reader's back, once the answer is whole: servers of the ASGI kind (vLLM, SGLang)
send it a moment after the last event, and a connection whose end was read serves again.
"""
CLAIM = 0.02
"""Seconds that a question waits for a connection whose last answer is just ending: less than a new one takes."""
MOST_UNPACKED = 16 * 1024 * 1024
"""Bytes that one read of a compressed body may become."""
LENGTH = b"content-length: "
SENT = {"accept": "text/event-stream", "accept-encoding": "identity", "content-type": "application/json", "user-agent": "pointsman"}


Place = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
Addresses = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, Place]]
"""What a lookup finds."""


class Cut(Exception):
    """A response that broke off, or is no HTTP."""


class Garbled(Cut):
    """A body that cannot be unpacked."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a target's questions go. `connect`: seconds a connection may take. `head`: the request up to its body's length."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    connect: float
    head: bytes

    def bearing(self, name: str, value: str) -> "Endpoint":
        """The same with one more header. `value`: letters, digits and signs of ASCII."""
        return replace(self, head=self.head.removesuffix(LENGTH) + f"{name}: {value}\r\n".encode("ascii") + LENGTH)


class Connections:
    """A pool that all targets of a generation share."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int, bool], list[Connection]] = {}
        self._settling: dict[tuple[str, int, bool], list[Connection]] = {}
        """Those whose answers are whole, and whose ends have not come."""
        self._lookups: dict[tuple[str, int], asyncio.Future[Addresses]] = {}
        """Those under way."""
        self._sweeper: asyncio.TimerHandle | None = None
        self._behind: set[asyncio.Task[None]] = set()
        """What reads behind everybody's back."""
        self._closed = False

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def endpoint(self, url: str, headers: Mapping[str, str], connect: float, method: str = "POST") -> Endpoint:
        """An address. Misfit where it is none, or where a header cannot be sent."""
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
        told = {"host": named if parts.port is None else f"{named}:{port}", **SENT}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            told["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        told |= headers
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (
            f"?{quote(parts.query, safe='/%:@!$&()*+,;=?~-._')}" if parts.query else ""
        )
        if any(not value.isascii() or not value.isprintable() for value in told.values()):
            raise Misfit("this key cannot be sent: it holds a line break, or a letter that is none in a header", "api_key")
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        head = f"{method} {path} HTTP/1.1\r\n{lines}".encode() + LENGTH
        return Endpoint(host, port, self._tls if tls else None, connect, head)

    async def ask(self, endpoint: Endpoint, body: bytes) -> "Connection":
        """A connection on which this was asked. OSError, TimeoutError, ssl.SSLError where none could be made. It is released in the end."""
        key = (endpoint.host, endpoint.port, endpoint.tls is not None)
        connection = self._waiting(key) or await self._claimed(key) or await self._opened(endpoint, key)
        connection.ask(_request(endpoint, body))
        return connection

    async def answered(self, endpoint: Endpoint, body: bytes) -> "Connection":
        """A connection on which this was asked and whose status and headers are here. OSError, Cut where none come.

        A server may close a kept connection in the moment in which it is used: where not one byte of an answer came, the same is asked
        once more, on a new one.
        """
        connection = await self.ask(endpoint, body)
        try:
            await _answered(connection)
        except (OSError, Cut):
            if connection.fresh or connection.heard:
                raise
            log.debug("a kept connection had closed: the question is asked again on a new one", extra={"fields": {"host": endpoint.host}})
            connection = await self._opened(endpoint, connection.key)
            connection.ask(_request(endpoint, body))
            await _answered(connection)
        return connection

    async def fetch(self, url: str, most: int) -> bytes:
        """What stands at an address. OSError where it cannot be had, is longer, or is said with another status than 200."""
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

    async def _opened(self, endpoint: Endpoint, key: tuple[str, int, bool]) -> "Connection":
        """A new one."""
        async with asyncio.timeout(endpoint.connect):
            connection = await self._open(endpoint)
        connection.pool, connection.key = self, key
        return connection

    async def _claimed(self, key: tuple[str, int, bool]) -> "Connection | None":
        """One whose last answer ends within a moment; each is waited for by one question."""
        settling = self._settling.get(key)
        if not settling:
            return None
        await asyncio.wait([settling.pop().settled], timeout=CLAIM)
        return self._waiting(key)

    def settle(self, connection: "Connection") -> None:
        """The end of its answer is still to come."""
        if self._closed:
            connection.close()
        else:
            self._settling.setdefault(connection.key, []).append(connection)

    def settled(self, connection: "Connection") -> None:
        """The end has come, or will not come."""
        settling = self._settling.get(connection.key, [])
        if connection in settling:
            settling.remove(connection)

    def _waiting(self, key: tuple[str, int, bool]) -> "Connection | None":
        idle = self._idle.get(key)
        while idle:
            connection = idle.pop()
            if connection.usable:
                return connection
        return None

    async def _open(self, endpoint: Endpoint) -> "Connection":
        loop = asyncio.get_running_loop()
        sock = await aiohappyeyeballs.start_connection(  # pyright: ignore[reportUnknownMemberType]
            await self._found(endpoint.host, endpoint.port), happy_eyeballs_delay=EYEBALLS, interleave=1
        )
        with ExitStack() as undo:
            undo.callback(sock.close)
            name = endpoint.host if endpoint.tls else None
            _, connection = await loop.create_connection(Connection, sock=sock, ssl=endpoint.tls, server_hostname=name)
            undo.pop_all()
        return connection

    async def _found(self, host: str, port: int) -> Addresses:
        """Where a host is. Whoever wants to know meanwhile waits for the same answer: each lookup takes a thread, of which there are few,
        and one that hangs cannot be called back.
        """
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
        """Keep it for the next question."""
        if self._closed:
            connection.close()
            return
        connection.kept = connection.loop.time()
        self._idle.setdefault(connection.key, []).append(connection)
        if self._sweeper is None:
            self._sweeper = connection.loop.call_later(KEPT, self._sweep, connection.loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close those that nobody wanted for so long."""
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
        """Read the rest of an answer that nobody waits for, and let go of it `then`, however that ends: with these connections at the
        latest.
        """
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
    """Wait for its answer to begin. It is released on every other way out."""
    with ExitStack() as undo:
        undo.callback(connection.release)
        await connection.answered()
        undo.pop_all()


def _request(endpoint: Endpoint, body: bytes) -> bytes:
    return b"%b%d\r\n\r\n%b" % (endpoint.head, len(body), body)


class Connection(asyncio.Protocol):
    """A connection, and the response that comes on it."""

    pool: Connections
    key: tuple[str, int, bool]
    kept = 0.0
    """When it was last put aside."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.status = 0
        self.headers: dict[str, str] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._lost = self.loop.create_future()
        self._over = True
        self._again = False
        """Whether the server takes another question on this connection."""
        self._error: Exception | None = None
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._paused = False
        self.fresh = True
        """Whether this is the first question on it."""
        self.heard = False
        """Whether a byte came since it was asked."""
        self.settled = self.loop.create_future()
        """Done when the end of an answer came, or nobody waits for it any more."""
        self._settling: asyncio.TimerHandle | None = None
        """Until when that is waited for, behind the reader's back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def ask(self, request: bytes) -> None:
        """Send a question."""
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

    @property
    def content_type(self) -> str:
        """The type of the body, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def answered(self) -> None:
        """Wait for the status and the headers. OSError or Cut where none come."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def read(self) -> bytes:
        """What of the body has come, as soon as something has; nothing at its end. OSError or Cut where it broke off."""
        while not self._pieces:
            if self._over:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._waiting = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def _wait(self) -> None:
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def release(self) -> None:
        """Nobody reads it any more: it is kept for the next question, or closed where this answer is not over."""
        if self._over and self._again and not self._pieces and self._error is None:
            self.pool.keep(self)
        else:
            self._transport.abort()

    def settle(self) -> None:
        """The answer is whole: the little that comes yet is read behind the reader's back, and then the connection is kept."""
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
        """The end has come, or will not come."""
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
        """Whether a question may be asked on it."""
        return self._error is None and not self._transport.is_closing()

    def close(self) -> None:
        """Close it."""
        self._transport.close()

    async def gone(self) -> None:
        """Wait until it is closed; a server that does not say farewell is not waited for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._lost

    # What comes from the socket.

    def data_received(self, data: bytes) -> None:
        """A read."""
        if self._over:
            self._fail(Cut())  # nobody asked for this
            return
        self.heard = True
        self._loose += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, Cut) as error:
            # What is raised while it parses arrives as the parser's own error.
            self._fail(Garbled() if isinstance(error.__context__, Unreadable) else Cut())
        if self._loose > MOST_HEAD and not self._over:
            self._fail(Cut())
        if self._settling is not None:
            if self._over or self._error is not None:
                self._settle_down()
            elif self._waiting > MOST_WAITING:
                self._transport.abort()  # this is more than an end
        if self._waiting > MOST_WAITING and not self._paused and not self._over:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of it. A body whose length nobody said ends so too."""
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

    # What the parser finds in it.

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer: of those nothing is used."""
        self._head += len(name) + len(value)
        if self._head > MOST_HEAD:
            raise Cut
        if not self.status:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """All headers; those of a 1xx do not count."""
        status = self._parser.get_status_code()
        if status >= 200:
            self.status = status
            self._loose = self._head = 0
            self._unpacker = unpacker(self.headers.get("content-encoding", ""), MOST_UNPACKED)
        else:
            self.headers = {}

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._loose = 0
        if self._unpacker is not None:
            body = self._unpacker.feed(body)
            if self._waiting + len(body) > MOST_UNPACKED:
                raise Cut
        if body:
            self._pieces.append(body)
            self._waiting += len(body)

    def on_message_complete(self) -> None:
        """The end of the response."""
        self._over = self.status != 0
        self._again = self._parser.should_keep_alive()
