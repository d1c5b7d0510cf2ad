"""The client's connection to the server, bounded in bytes and in time.

uvicorn's own protocol limits neither the size of the headers, nor the time in which a request must arrive, nor the time in which a client
must read. This one counts the bytes since the parser last found something in them, and one timer for each connection checks the deadlines.
A request that arrives in one piece costs a few comparisons, a piece of an answer nothing.
"""

import asyncio
import contextlib
import json
import math
import socket
import struct
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, Literal
from urllib.parse import unquote

from httptools import HttpParserError, HttpParserUpgrade, parse_url
from starlette.types import Receive
from uvicorn import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from router.access.headers import BY_NAME, by_name
from router.server.cycle import Cycle, OldCycle
from router.server.plain import BLANKS, Header, feed_without_offer, plain_parser

MAX_UNSENT_BYTES = 128 * 1024
"""Bytes that the kernel buffers for a client before its socket counts as full. By default it would buffer megabytes for a slow client."""

SENTENCES = {
    400: ("bad_request", "This is not HTTP."),
    408: ("timeout", "The request did not come in time."),
    431: ("too_large", "The request's headers are too large."),
}


@lru_cache(maxsize=64)
def _parts(url: bytes) -> tuple[str, bytes, bytes]:
    """Return (path, raw path, query) of a request's URL. HttpParserError if it is malformed. Most requests have one of a few URLs."""
    url_parts = parse_url(url)
    path = url_parts.path.decode("ascii")
    return unquote(path) if "%" in path else path, url_parts.path, url_parts.query or b""


class _Refused(Exception):
    """A request that is refused before the application sees it; httptools treats it as a client's mistake."""


class ClientFlow(FlowControl):
    """uvicorn's flow control of a connection, which also tells the running answer that the connection is lost (`answering.reply.Client`)."""

    gone = False
    left: Callable[[], object] | None = None

    def lost(self) -> None:
        """Have `left` called soon: the connection is lost. Not at once, as a task that is cancelled before its first step does nothing.

        What is still written goes through `send`, which drops it.
        """
        self.gone = self.write_paused = True
        if self.left is not None:
            asyncio.get_running_loop().call_soon(self.left)

    def writer(self, send: Any) -> Cycle | None:
        """Return the response that `send` sends, to be written without it; None if a layer stands between, or while `send` would wait.

        Also None if it has begun, may have no body, is for HTTP/1.0, or is logged by uvicorn.
        """
        try:
            cycle = send.__self__
        except AttributeError:  # a function
            return None
        if type(cycle) is not Cycle or cycle.response_started or self.write_paused or cycle.access_log or cycle.scope["method"] == "HEAD":
            return None
        return cycle

    def received(self, receive: Receive, most: int) -> bytes | None:
        """Take the body that `receive` would return, if it is complete and has at most `most` bytes; None otherwise.

        Also None if a layer stands between, or `receive` has more to do: to send `100 Continue`, to resume reading, to report a disconnect.
        """
        cycle = getattr(receive, "__self__", None)
        if type(cycle) is not Cycle or cycle.more_body or len(cycle.body) > most or self.read_paused:
            return None
        if cycle.waiting_for_100_continue or cycle.disconnected:
            return None
        cycle.news = False
        body, cycle.body = bytes(cycle.body), b""
        return body


class Door(HttpToolsProtocol):
    """A client's HTTP connection, bounded in bytes and in time.

    FIRST: seconds until the headers are complete, from the start of the connection or the first byte of a later request
    BODY: seconds until the body is complete, from the end of the headers; longer than router/intake/body.py waits, which sends an answer
    SENT: seconds in which a client must read data that waits for it
    HEARD: seconds in which a client's machine must acknowledge what was sent to it; one that vanished does not
    LINGER: seconds in which a client that is still sending may read its refusal, before the connection is closed
    MAX_HEAD_BYTES: bytes of the request line and the headers; also of trailers, and of other input in which the parser finds nothing
    MAX_PIPELINED: requests that wait on one connection while another is answered
    MAX_DISCARDED_BYTES: bytes that are read and discarded after an answer
    """

    FIRST = 10.0
    BODY = 35.0
    SENT = 30.0
    HEARD = 60.0
    LINGER = 30.0
    MAX_HEAD_BYTES = 16 * 1024
    MAX_PIPELINED = 16
    MAX_DISCARDED_BYTES = 32 * 1024 * 1024

    app: Any
    cycle: Any
    """The `Cycle` of the latest request; None before the first."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.app = getattr(self.app, "serve_request", self.app)  # not through the coroutine that tells requests from other scopes
        self.parser = plain_parser(self)
        self._at: Literal["idle", "head", "body"] = "idle"
        """Part that is being read: nothing of a request yet, its headers, or its body."""
        self._loose = 0
        """Bytes received since the parser last found something in them."""
        self._after = 0
        self._lingers = False
        """True once nothing more is answered on this connection, and received bytes are discarded."""
        self._read_by = math.inf
        """Time at which the part that is being read must be complete, or at which an idle connection is closed."""
        self._sent_by = math.inf
        """Time by which the client must have read enough for more to be written."""
        self._left = False
        """True if bytes of a finished answer were still unsent at the last check."""
        self._status = 400
        self._usual_tasks = self.loop.get_task_factory() is None and not getattr(config, "reset_contextvars", False)
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = math.inf
        """Time of that timer; infinity without one."""

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Set the socket's options, and start the deadline for the first request."""
        super().connection_made(transport)
        self.flow = self._client = ClientFlow(transport)
        self._scope: dict[str, object] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "router.client": self._client,
        }
        self._scope |= dict.fromkeys(("http_version", "method", "state", "path", "raw_path", "query_string", "headers", BY_NAME))
        """The scope of a request of this connection, without what is the request's own: those keys are there, so that a copy has room."""
        # The transport of an answer: its `close` lets a client that is still sending read the answer.
        self.unhurried: Any = SimpleNamespace(write=transport.write, is_closing=transport.is_closing, close=self._end)
        with contextlib.suppress(OSError, AttributeError):  # not TCP, or a system that has no such options
            line = transport.get_extra_info("socket")
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(self.HEARD * 1000))
        self._read_by = self.loop.time() + self.FIRST
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer of a connection that is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().connection_lost(exc)
        self._client.lost()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, and refuse the request or close the connection if a bound is exceeded. While lingering, discard them."""
        size, at, cycle = len(data), self._at, self.cycle
        if self._lingers or (at == "body" and cycle.response_complete):
            self._after += size
            if self._after > self.MAX_DISCARDED_BYTES:
                self.transport.abort()
                return
            if self._lingers:
                return
        self._loose += size
        try:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as offer:
                feed_without_offer(self, offer, data)
        except HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("")
            return
        if self._loose > self.MAX_HEAD_BYTES:
            self._refuse(431)
        elif self._at != "idle":
            if self._at != at or self.cycle is not cycle:
                self._read_within(self.FIRST if self._at == "head" else self.BODY)
        elif self._loose and self._said:  # line breaks before a request, which keep no connection open
            self._read_by = min(self._read_by, self.loop.time() + self.FIRST)
            self._wait()
        elif self.cycle.response_complete:  # the answer came before the end of the body
            self._read_within(self.timeout_keep_alive)
        else:  # line breaks after a request whose answer is under way change nothing
            self._read_by = math.inf

    def pause_writing(self) -> None:
        """Stop writing, and set the deadline by which the client must have read some of the data."""
        super().pause_writing()
        self._sent_by = self.loop.time() + self.SENT
        self._wait()

    def resume_writing(self) -> None:
        """Continue writing: the client has read enough."""
        super().resume_writing()
        self._sent_by = math.inf

    # What the parser finds in it.

    def on_message_begin(self) -> None:
        """Record that the headers of a request begin to arrive: they now have a deadline.

        uvicorn's own method is not called: it would make the scope, which `on_headers_complete` does.
        """
        self.url, self.headers, self._at = b"", [], "head"

    def on_url(self, url: bytes) -> None:
        """Take a piece of the URL; it comes in one, as a rule."""
        self.url = self.url + url if self.url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header as it came; uvicorn's own method would look at each by itself."""
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Pass the request on to the application once its headers are complete; raise _Refused if they are too large or not served.

        uvicorn's own method is not called: it would ask again for an upgrade, and whether too much runs, which `server.max_streams` bounds.
        """
        if self._loose > self.MAX_HEAD_BYTES:
            head = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if head > self.MAX_HEAD_BYTES:  # else it came with what is not the head
                self._status = 431
                raise _Refused
        parser = self.parser
        method = parser.get_method().decode("ascii")
        if parser.should_upgrade():
            if method == "CONNECT":  # no offer: it asks for a tunnel
                raise _Refused
            return  # see `plain`: the head comes again, without the offer
        before = self.cycle
        waits = before is not None and not before.response_complete
        if waits and len(self.pipeline) >= self.MAX_PIPELINED:
            raise _Refused
        version = parser.get_http_version()
        scope = self._scope.copy()
        scope["http_version"], scope["method"], scope["state"] = version, method, self.app_state.copy()
        scope["path"], scope["raw_path"], scope["query_string"] = _parts(self.url)
        headers: list[Header] = []
        for name, value in self.headers:
            headers.append((name.lower(), value.rstrip(BLANKS)))
        scope["headers"] = headers
        scope[BY_NAME] = named, kinds = by_name(headers)
        self.expect_100_continue = kinds.expect and named[b"expect"].lower() == b"100-continue"
        if version == "1.0":
            self.cycle = cycle = OldCycle(self, scope, False)  # noqa: FBT003
        else:
            self.cycle = cycle = Cycle(self, scope, parser.should_keep_alive())
        if waits:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))
        else:
            self._start_asgi_task(cycle, self.app)
        self._loose = self._after = 0
        self._at = "body"

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Serve a request in a task, which uvicorn waits for at shutdown: it is in `tasks` until it ends.

        uvicorn's own does the same. It would have a name generated and, at the end, a turn of the event loop for the callback, which
        `Cycle.run_asgi` takes back.
        """
        if not self._usual_tasks:
            super()._start_asgi_task(cycle, app)
            return
        cycle.task = task = asyncio.Task(cycle.run_asgi(app), loop=self.loop, name="request")
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the request's body. uvicorn's own method would ask again for an upgrade."""
        cycle = self.cycle
        if not cycle.response_complete:
            if cycle.body:
                cycle.add(body)
            else:
                cycle.body = body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            if cycle.waiting is not None:
                cycle.set()
        self._loose = 0

    def on_message_complete(self) -> None:
        """Record that the request is complete, body included. The head with an Upgrade offer, which comes again, is none."""
        if self._at == "head":
            return
        cycle = self.cycle
        cycle.more_body, cycle.news = False, True
        if cycle.waiting is not None:
            cycle.set()
        self._loose, self._at = 0, "idle"

    def on_response_complete(self) -> None:
        """Begin the next request of the connection if it is there; otherwise set the time at which the idle connection is closed.

        uvicorn's own method is not called: it would make a timer for each answer.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._at == "idle":
            self._loose = 0  # line breaks that came meanwhile
            self._read_by = self.loop.time() + self.timeout_keep_alive
            if self._looks_at > self._read_by:
                self._wait()

    # What is late.

    def _read_within(self, seconds: float) -> None:
        self._read_by = self.loop.time() + seconds
        self._wait()

    def _wait(self) -> None:
        """Set the timer to the earliest deadline of the connection; returns at once."""
        until = min(self._read_by, self._sent_by, self.loop.time() + self.SENT)
        if self._looks_at > until:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._looks_at = self.loop.call_at(until, self._look), until

    def _look(self) -> None:
        self._timer, self._looks_at = None, math.inf
        now = self.loop.time()
        left = (self._said or self.transport.is_closing()) and self.transport.get_write_buffer_size() > 0
        if now >= self._sent_by or (left and self._left):
            # Reset the connection at once; a close would wait until the client has read the remaining data.
            with contextlib.suppress(OSError, AttributeError):  # it is gone, or no socket
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
            return
        self._left = left
        if now >= self._read_by and self._lingers:
            self.transport.close()
            return
        if now >= self._read_by:
            # Where we do not read just now, the client is not to blame.
            self._read_by = now + self.BODY if self.flow.read_paused else math.inf
            if not self.flow.read_paused:
                self._refuse(408)
        self._wait()

    # The end.

    def _end(self) -> None:
        """Close the connection after an answer: at once, or, if the request's body is still arriving, after LINGER seconds at most."""
        if self._at == "body" and self._said:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Shut down the sending side, and read on for LINGER seconds before the connection is closed.

        Closing while the client sends would reset the connection: the bytes sent last, such as the reason, would be lost (RFC 9112, 9.6).
        """
        self._lingers = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._read_within(self.LINGER)

    # Refusals.

    @property
    def _said(self) -> bool:
        """Return whether every request so far has its complete answer; True before the first request."""
        return self.cycle is None or self.cycle.response_complete

    def _refuse(self, status: int) -> None:
        """Refuse the current request with this status, and close the connection; without a request, or after its answer, only close it."""
        self._status = status
        if (self._at == "idle" and self._loose == 0) or (self._at == "body" and self._said):
            self.transport.close()  # nothing was asked, or it has been answered
        else:
            self.send_400_response(SENTENCES[status][1])

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own words
        """Send an error of status `_status` and close the connection: uvicorn calls this for invalid HTTP, `_refuse` for its own refusals.

        Nothing is sent on a closing connection; one on which another answer is under way or due is aborted. `msg` is not used.
        """
        if self.transport.is_closing():
            return
        if self.pipeline or (not self._said and (self.cycle.response_started or self._at != "body")):
            self.transport.abort()
            return
        code, sentence = SENTENCES[self._status]
        body = json.dumps({"type": "error", "error": sentence, "code": code}, separators=(",", ":")).encode()
        lines = [
            f"HTTP/1.1 {self._status} {HTTPStatus(self._status).phrase}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "connection: close",
        ]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        if self._status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:  # whoever sends so many is still at it
            self._linger()
        else:
            self.transport.close()
