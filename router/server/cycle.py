"""A request and its response on a client's connection, which the router also writes without uvicorn's `send`."""

from collections.abc import Sequence
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

OK = b"HTTP/1.1 200 OK\r\n"
CLOSE = b"connection: close\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"


class Cycle(RequestResponseCycle):
    """uvicorn's request and response, with an `answering.reply.Writer` beside `send`: the same bytes, without a coroutine for each piece.

    `send` lower-cases each header and searches it with two regular expressions. The router's own need neither, and are written as bytes.
    The Writer is for a response with a body and status 200 (see `ClientFlow.writer`), while the flow is not paused: `send` waits then. Both
    may write to the same response in turn.
    """

    _usual: ClassVar[tuple[Sequence[tuple[bytes, bytes]], bytes]] = ((), b"")
    """The server's own headers, such as Date, and their lines. uvicorn makes a new list of them each second."""

    def respond(self, head: bytes, body: bytes) -> None:
        """Write a complete response. `head`: the header lines with their ends, Content-Length among them."""
        if not self.disconnected:
            self._begin(head, b"\r\n")
            self.transport.write(body)  # not joined: that would copy it
            self._complete()

    def begin(self, head: bytes) -> None:
        """Write the head of a response whose body follows in pieces. `head`: the header lines with their ends, no Content-Length."""
        if not self.disconnected:
            self.chunked_encoding = True
            self._begin(head, CHUNKED)

    def write(self, data: bytes) -> None:
        """Write a piece of the body after `begin`. Nothing is written for empty data: an empty chunk would end the body."""
        if data and not self.disconnected:
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """Write the end of a body in pieces."""
        if not self.disconnected:
            self.transport.write(b"0\r\n\r\n")
            self._complete()

    def _begin(self, head: bytes, last: bytes) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        headers, usual = self._usual
        if headers is not self.default_headers:
            usual = b"".join([b"%b: %b\r\n" % header for header in self.default_headers])
            Cycle._usual = self.default_headers, usual
        self.transport.write(b"".join((OK, usual, head, b"" if self.keep_alive else CLOSE, last)))

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
