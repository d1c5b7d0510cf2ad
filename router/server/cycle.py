"""A request and its response on a client's connection, which the router also writes without uvicorn's `send`."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

OK = b"HTTP/1.1 200 OK\r\n"
CLOSE = b"connection: close\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
MAX_JOINED_BYTES = 64 * 1024
"""Bytes of a body up to which it is copied, to be written together with its head: each write is a system call."""


class Cycle(RequestResponseCycle):
    """uvicorn's request and response, with an `answering.reply.Writer` beside `send`: the same bytes, without a coroutine for each piece.

    `send` lower-cases each header and searches it with two regular expressions. The router's own need neither, and are written as bytes.
    The Writer is for a response with a body and status 200 (see `ClientFlow.writer`), while the flow is not paused: `send` waits then. Both
    may write to the same response in turn.
    """

    logger = logging.getLogger("uvicorn.error")
    access_logger = logging.getLogger("uvicorn.access")
    more_body = True
    chunked_encoding: bool | None = None
    expected_content_length = 0
    message_event: Any = property(lambda self: self)
    """The object whose `set` is called when there is something to receive: the request itself, since few requests ever wait."""
    _usual: ClassVar[tuple[Sequence[tuple[bytes, bytes]], bytes]] = ((), b"")
    """The server's own headers, such as Date, and their lines after OK. uvicorn makes a new list of them each second."""

    def __init__(self, door: Any, scope: Any, keep_alive: bool) -> None:  # noqa: FBT001 - a keyword would cost a dict
        # uvicorn's own is not called: most of what it sets is the same for all requests. `door`: the `Door` of the connection.
        self.scope, self.keep_alive = scope, keep_alive
        self.body: bytes | bytearray = b""
        """The part of the body that has arrived and was not received yet. Most bodies arrive in one piece, which is not copied."""
        self.transport, self.flow, self.on_response = door.unhurried, door.flow, door.on_response_complete
        self.default_headers, self.access_log, self.tasks = door.server_state.default_headers, door.access_log, door.tasks
        self.waiting_for_100_continue = door.expect_100_continue
        # What is read several times is no class attribute: the interpreter finds those ten times as slowly.
        self.disconnected = self.response_started = self.response_complete = False
        self.news = False
        """True if there is something to receive beside `body`: the end of the body, or of the connection."""
        self.waiting: asyncio.Event | None = None
        """The event that `receive` waits for; None while nothing waits."""
        self.task: asyncio.Task[None] | None = None
        """The task of `run_asgi` until its first step, if `Door` made it itself."""

    async def run_asgi(self, app: Any) -> None:
        """Have the application answer the request, as the whole of the current task (see `Door._start_asgi_task`).

        uvicorn's own judges an application that raises, returns something, or leaves the response incomplete.
        """
        task: Any = self.task or asyncio.current_task()
        self.task = None  # else a connection without a request would keep the last one's task, and with it the values of its context
        task.remove_done_callback(self.tasks.discard)  # which was for a task that is cancelled before this first step
        try:
            result = await app(self.scope, self.receive, self.send)
        except BaseException as error:  # noqa: BLE001 - it logs all
            await super().run_asgi(_ended(error=error))
        else:
            if result is not None or not self.response_complete:
                await super().run_asgi(_ended(result))
        finally:
            self.on_response = _nothing
            self.tasks.discard(task)

    # The request.

    def add(self, piece: bytes) -> None:
        """Add a further piece to `body`."""
        if type(self.body) is bytes:
            self.body = bytearray(self.body)  # else each piece would copy those before it
        self.body += piece

    def set(self) -> None:
        """Wake `receive`, if it waits: there is something to receive."""
        self.news = True
        if self.waiting is not None:
            self.waiting.set()
            self.waiting = None

    async def receive(self) -> Any:
        """Return the next part of the body, or the client's disconnect; wait for it if need be."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        if self.flow.read_paused:
            self.flow.resume_reading()
        if not (self.body or self.news):
            self.waiting = waiting = self.waiting or asyncio.Event()
            await waiting.wait()
            if self.disconnected or self.response_complete:
                return {"type": "http.disconnect"}
        self.news = False
        body, self.body = bytes(self.body), b""
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    # The response. `send` takes over where the connection is lost (see `ClientFlow.lost`), so that is not checked here.

    def respond(self, head: bytes, body: bytes, last: bytes = b"\r\n", *, over: bool = True) -> None:
        """Write the head and the body of a response.

        head: the header lines with their ends, Content-Length among them
        last: the end of the head
        over: False if a part of the body follows
        """
        self.response_started = True
        self.waiting_for_100_continue = False
        headers, usual = self._usual
        if headers is not self.default_headers:
            usual = b"".join([OK, *(b"%b: %b\r\n" % header for header in self.default_headers)])
            Cycle._usual = self.default_headers, usual
        close = b"" if self.keep_alive else CLOSE
        if len(body) <= MAX_JOINED_BYTES:
            self.transport.write(b"".join((usual, head, close, last, body)))
        else:
            self.transport.write(b"".join((usual, head, close, last)))
            self.transport.write(body)
        if over:
            self._complete()

    def begin(self, head: bytes, data: bytes, *, over: bool) -> None:
        """Write the head of a response whose body follows in pieces, and the first of them, which may be empty.

        head: the header lines with their ends, no Content-Length
        over: whether that piece is the last, too
        """
        self.chunked_encoding = True
        self.respond(head, _framed(data) + END if over else _framed(data), CHUNKED, over=over)

    def write(self, data: bytes) -> None:
        """Write a piece of the body after `begin`. It is not empty: an empty chunk would end the body."""
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self, data: bytes) -> None:
        """Write the last piece of a body in pieces, which may be empty, and its end."""
        self.transport.write(_framed(data) + END)
        self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        if self.waiting is not None:
            self.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class OldCycle(Cycle):
    """A request of HTTP/1.0 and its response, which is always written by `send`: its connection's end is the end of its body."""

    chunked_encoding = False

    async def send(self, message: Any) -> None:
        """Send a message of the application. A body of any length passes: HTTP/1.0 has no chunks (RFC 9112, 6.1)."""
        self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


def _ended(result: object = None, error: BaseException | None = None) -> Any:
    """Return an application that only ends as another one did. It raises `error` once, and keeps no reference to it."""

    async def app(*_: object) -> object:
        nonlocal error
        if error is None:
            return result
        try:
            raise error
        finally:
            error = None  # else its traceback would lead back to it, and all that the request held would wait for the garbage collector

    return app


def _nothing() -> None:
    """Do nothing: a response that comes after the end of its task is no response of the connection any more."""


def _framed(data: bytes) -> bytes:
    """Return a piece of a body as a chunk (RFC 9112, 7.1); b"" for an empty one, which would be the end."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
