"""An HTTP/1.1 connection of the direct lanes and its response: one request at a time, with bounded buffers."""

import asyncio
import ssl
from contextlib import ExitStack, suppress
from copy import copy
from typing import Protocol

import httptools

from router.config.network import Proxy
from router.events import Onward
from router.targets.proxy import refused
from router.targets.unpacking import Unpacker, UnreadableBody, unpacker

MAX_HEAD_BYTES = 64 * 1024
"""Limit in bytes of a status line and headers, with all 1xx responses before them. It also holds for trailers, a chunk's extension,
and other input that gives no body. Counted on arrival: the parser keeps unfinished input, and copies all of it at each read."""
MAX_UNREAD_BYTES = 256 * 1024
"""Unread bytes of a body above which reading from the socket pauses (backpressure)."""
SETTLE = 0.5
"""Seconds to wait in the background for the end of a body after a complete answer: ASGI servers (vLLM, SGLang) send it a moment after
the last event, and a connection whose end was read can be reused."""
MAX_UNPACKED_BYTES = 16 * 1024 * 1024
"""Limit in bytes of the unread part of a compressed body after decompression; beyond it the response fails."""


class Cut(Exception):
    """The error for a response that broke off, is not valid HTTP, or exceeds a limit of this module."""


class Garbled(Cut):
    """The error for a body that cannot be decompressed."""


Key = tuple[str, int, ssl.SSLContext | None, Proxy | None]
"""Requests with an equal key share connections: host, port, TLS context (trusted CAs), and proxy with its credentials."""


class KeepsConnections(Protocol):
    """The part of a connection pool that a connection uses. `closed`: true if no more connections are kept."""

    closed: bool

    def settle(self, connection: "Connection") -> None:
        """Register a connection whose answer is complete but whose body has not ended, so that a request may wait for it."""

    def settled(self, connection: "Connection") -> None:
        """Undo `settle`: the body of the connection has ended, or will not end."""


class Connection(asyncio.Protocol):
    """An HTTP/1.1 connection (an asyncio protocol) with the state and the unread body of its current response."""

    pool: KeepsConnections
    key: Key
    kept = 0.0
    """Loop time at which the connection last became idle; 0 during its first request."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.status = 0
        self._headers: dict[bytes, bytes] = {}
        """The headers of the response, as they were sent."""
        self._named: dict[bytes, bytes] = {}
        """The headers that the parser finds, until all of them are here; trailers are left in it."""
        self.on_header = self._named.__setitem__  # the parser's callback: a method of ours would be a call for each header
        self._waiter: asyncio.Future[None] = self.loop.create_future()
        """The future of the latest wait of the response's reader; done while none waits."""
        self._waiter.set_result(None)
        self._onward: Onward | None = None
        """Passes on what a read brings, so that the waiter need not be woken; None unless it waits for that (see `arrival`)."""
        self._lost = self.loop.create_future()
        self._abandoned = False
        self._over = True
        self._again = False
        """True while the response is complete, without an error, and the server takes another request on this connection (keep-alive)."""
        self._error: Exception | None = None
        self._pieces: list[bytes] = []
        self._found: list[bytes] = []
        """The pieces of the body that the parser finds in one read."""
        self.on_body = self._found.append  # the parser's callback: a method of ours would be a call for each piece
        self._rested: list[httptools.HttpResponseParser] = []
        """The parser, from the end of a response to the next byte that it reads: there it can begin the response to another request."""
        self.on_message_begin = self._rested.clear  # the parser's callback, before the first byte of any response, a 1xx included
        self._waiting = 0
        self._paused = False
        self.idle: dict[Connection, None] = {}
        """The pool's idle connections with the same key, the one used last at the end; this one is among them while it is idle."""
        self.settled = self.loop.create_future()
        """Future that is done once the end of the body arrived, or is no longer waited for."""
        self._settling: asyncio.TimerHandle | None = None
        """Timer that aborts the background wait for the end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport of the new connection. Abort it if the connection was abandoned before."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        if self._abandoned:
            self._transport.abort()

    def abandon(self) -> None:
        """Abort the connection at once, or as soon as it is made. Its transport closes the socket, not the caller."""
        self._abandoned = True
        if hasattr(self, "_transport"):
            self._transport.abort()

    def ask(self, request: bytes) -> asyncio.Future[None]:
        """Write a request to the socket, and return a future that is done once status and headers, or an error, are here.
        The future has no timeout. After an error, `status` is 0, and the error is `failure()`.
        """
        if not self._rested:
            self._parser = httptools.HttpResponseParser(self)
        self.status = 0
        self._loose = self._head = 0
        """`_loose`: bytes received since the last headers or piece of the body were complete. `_head`: bytes of the headers so far."""
        self._named.clear()
        self._over = self._again = False
        self._unpacker = None
        self._waiter = waiter = self.loop.create_future()
        self._transport.write(request)
        if self._error is not None:
            waiter.set_result(None)  # the connection failed before the request: nothing else may come that would wake the caller
        return waiter

    async def tunnelled(self, request: bytes) -> asyncio.Transport:
        """Send a CONNECT request to a proxy, and return the transport of the tunnel. The connection is closed after an error.
        Raises ProxyFailed if the proxy refuses; OSError or Cut if it does not answer, or sends data after its headers.
        """
        with ExitStack() as undo:
            undo.callback(self._transport.abort)
            await self.ask(request)
            if not self.status:
                raise self.failure()
            if self.status // 100 != 2:
                raise refused(self.status)
            if self._pieces or self._error is not None:
                raise Cut  # in TLS the client sends first
            undo.pop_all()
        return self._transport

    @property
    def heard(self) -> bool:
        """Return whether a byte of the current response arrived."""
        return self.status != 0 or self._loose > 0

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of the response, their names in lower case. They are decoded at each call: few answers need them."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self._headers.items()}

    @property
    def content_type(self) -> str:
        """Return the content type of the response in lower case, without its parameters; empty if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def failure(self) -> Exception:
        """Return the error of the connection, to raise it. It is a copy: the kept error must not get a traceback, which holds the question."""
        return copy(self._error or Cut())

    async def read(self) -> bytes:
        """Wait for bytes of the body, and return all that are unread; empty at its end. Raises OSError or Cut if the body broke off."""
        while not self._pieces:
            if self._over:
                return b""
            if self._error is not None:
                raise self.failure()
            self._onward = None
            self._waiter = self.loop.create_future()
            await self._waiter
        return self.taken()

    def taken(self) -> bytes:
        """Remove and return the unread bytes of the body, perhaps none, without waiting. Resumes a paused reading from the socket."""
        data = b"".join(self._pieces)
        del self._pieces[:]
        self._waiting = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    def arrival(self, onward: Onward) -> asyncio.Future[None] | None:
        """Return a future that is done when bytes, the end or an error arrive; None if one is there. It replaces an earlier future.

        onward: called with the bytes of each read; the future is done only if it returns False, or with the end. It does not raise
        """
        if self._pieces or self._over or self._error is not None:
            return None
        self._onward = onward if self._unpacker is None else None  # compressed bytes wake their reader
        self._waiter = self.loop.create_future()
        return self._waiter

    def release(self, *, complete: bool = False) -> None:
        """Give the connection back to the pool if its response was read to the end and it is keep-alive; otherwise close it.
        complete: true after a complete answer: the rest of the body is not needed, and is read in the background (`_settle`)
        """
        self._onward = None  # it holds the answer
        if self._pieces and complete:
            self.taken()
        if self._again and not self._pieces and not self.pool.closed:
            self.kept = self.loop.time()
            self.idle[self] = None
        elif complete and not self._over and self._error is None:
            self._settle()
        else:
            self._transport.abort()

    def _settle(self) -> None:
        """Start to read the rest of the body in the background, after which the connection returns to the pool. Returns at once.
        Bytes of the rest are dropped. The connection is closed if the end does not come within SETTLE seconds and MAX_UNREAD_BYTES.
        """
        self.settled = self.loop.create_future()
        self._settling = self.loop.call_later(SETTLE, self._transport.abort)
        self.pool.settle(self)

    def _end_settling(self) -> None:
        """End the background read of `_settle`, if there is one: the connection goes back to the pool or closes. Completes `settled`."""
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
            self.pool.settled(self)
            self.release(complete=True)
        if not self.settled.done():
            self.settled.set_result(None)

    @property
    def usable(self) -> bool:
        """Return whether the connection is still open and has had no error."""
        return self._error is None and not self._transport.is_closing()

    def close(self) -> None:
        """Start to close the connection, without waiting (see `gone`)."""
        self._transport.close()

    async def gone(self) -> None:
        """Wait until the connection is closed, for at most 1 s: a server may never confirm it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._lost

    # Callbacks of the socket.

    def data_received(self, data: bytes) -> None:
        """Parse the bytes of one read, and pass on or keep what they have of the body. Bytes outside a response close the connection."""
        onward, found = self._onward, self._found
        if onward is None:
            if self._over:
                self._fail(Cut())  # bytes outside a response
                return
            self._loose += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, Cut) as error:
            if self._unpacker is not None:
                self._unpack(self._unpacker)
            # What is raised while it parses arrives as the parser's own error.
            self._fail(Garbled() if isinstance(error.__context__, UnreadableBody) else Cut())
            onward = None
        if onward is not None and found and not self._waiter.done():
            # The usual read of a stream: its reader waits for it.
            self._loose = 0
            piece = b"".join(found)
            del found[:]
            if onward(piece) and not self._over:
                return
        else:
            if found:
                self._loose = 0
                if self._unpacker is None:
                    self._pieces += found
                    self._waiting += len(data)
                    del found[:]
                else:
                    self._unpack(self._unpacker)
            elif onward is not None:
                self._loose += len(data)
            if not self._over:
                self._bound()
            if self._settling is not None and (self._over or self._error is not None):
                self._end_settling()
        self._onward = None
        if (self.status or self._error is not None) and not self._waiter.done():
            self._waiter.set_result(None)

    def _bound(self) -> None:
        """Apply the bounds and backpressure after a read that did not end the response."""
        if self._loose > MAX_HEAD_BYTES:
            self._fail(Cut())
        if self._waiting > MAX_UNREAD_BYTES:
            if self._settling is not None:
                self._transport.abort()  # more than the end of a body
            elif not self._paused:
                self._paused = True
                self._transport.pause_reading()

    def _unpack(self, unpacker: Unpacker) -> None:
        """Move the pieces of the body in `_found` to `_pieces`, decompressed; fail the response if they are invalid or too large."""
        found = self._found.copy()
        self._found.clear()
        for packed in found:
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

    def eof_received(self) -> None:
        """Record that the server sends no more; the transport closes itself."""
        self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        """Record that the connection closed. That completes a body of undeclared length, and breaks off any other unfinished response."""
        if self._error is None:
            if self.status and not self._over and not {"content-length", "transfer-encoding"} & self.headers.keys():
                self._over = True
            self._error = exc or (Cut() if self.status else ConnectionResetError())
        self._leave()
        if not self._lost.done():
            self._lost.set_result(None)
        self._end_settling()
        self._onward = None
        if not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._leave()
        self._transport.abort()

    def _leave(self) -> None:
        """Make sure that no further request uses this connection."""
        self._again = False
        self.idle.pop(self, None)

    # Callbacks of the parser.

    def on_headers_complete(self) -> None:
        """Record status and headers once all of them are here; those of a 1xx are dropped.
        Raises Cut if they exceed MAX_HEAD_BYTES, or if the response is complete: these are those of a response without a request.
        """
        if self._over:
            raise Cut
        status, named = self._parser.get_status_code(), self._named
        if status < 200 or self._loose > MAX_HEAD_BYTES:  # else the bytes of all headers so far are within the limit, too
            self._head += sum(map(len, (*named.keys(), *named.values())))
            if self._head > MAX_HEAD_BYTES:
                raise Cut
            if status < 200:
                named.clear()
                return
        self.status = status
        self._headers = named.copy()
        self._loose = 0
        if b" ".join(named).lower().find(b"content-encoding") >= 0 and (encoding := self.headers.get("content-encoding")):
            self._unpacker = unpacker(encoding, MAX_UNPACKED_BYTES)

    def on_message_complete(self) -> None:
        """Record that the response is complete, unless it was a 1xx, and whether the server takes another request on this connection."""
        if self.status:
            self._over = True
            self._again = self._parser.should_keep_alive()
            self._rested.append(self._parser)
