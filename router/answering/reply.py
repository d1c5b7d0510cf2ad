"""The HTTP response of an answer: events become bytes or one body; the headers wait for the first event.

A refusal until then is an HTTP status; a later error is one Failure event. A stream does not end silently:
in a wire without a form for a failure, the connection is closed early.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from starlette.types import Send

from router.answering.pulse import Pulse
from router.errors import RouterError, Stopping, TooMany
from router.events import Event, Failure, Finish, ToolProgress, Words
from router.journal.attempts import DIGITS, header
from router.journal.entry import Entry
from router.value import Mutable, field
from router.wire import Heading, Refusal, Wire, answered

Headers = list[tuple[bytes, bytes]]

PRIVATE: Headers = [(b"cache-control", b"no-store, no-transform"), (b"x-content-type-options", b"nosniff")]
COMMON = (
    *(f"{name.decode()}: {value.decode()}" for name, value in PRIVATE),
    "x-accel-buffering: no",  # nginx: do not collect a stream
)
"""Header lines of every response."""
MAX_COLLECTED = 64 * 1024
"""Collected bytes beyond which a stream is flushed even if the next event is available."""

STATUS = {
    **dict.fromkeys(("context_too_long", "content_filter", "file_address", "unsupported_parameter"), 400),
    **dict.fromkeys(("unread_file", "no_target", "output_cut_off"), 400),
    **dict.fromkeys(("invalid_output", "no_answer", "replica_lost"), 502),
    **dict.fromkeys(("overloaded", "stopping"), 503),
    "timeout": 504,
}
"""Code of a Failure event → HTTP status, if nothing of the answer was sent yet; 500 for all others."""
NO_RETRY = frozenset({"no_answer", "timeout", "overloaded", "stopped", "invalid_output"})
"""Codes of errors that get `X-Should-Retry: false`: retries and fallbacks are used up, or the client stopped the answer.
An error with Retry-After is excluded: the SDK may wait that long and try again.
"""


class Client(Protocol):
    """The client's connection under the router's own server (`server/door.py`).

    write_paused: true while the client reads too slowly: `send` waits then, and at no other time
    gone: true once the connection is lost
    left: called when it is lost
    """

    write_paused: bool
    gone: bool
    left: Callable[[], object] | None

    def writer(self, send: Send) -> "Writer | None":
        """Return a way past `send` for a response with status 200; None if `send` is not the server's own, or the response has begun."""
        ...


class Writer(Protocol):
    """A response of the router's own server with status 200, written without `send`, while `write_paused` is false.

    Its headers are lines that end with CR LF, in UTF-8. The server does not check them.
    """

    def respond(self, head: bytes, body: bytes) -> None:
        """Write a complete response."""

    def begin(self, head: bytes) -> None:
        """Write the head of a response whose length is not known."""

    def write(self, data: bytes) -> None:
        """Write a piece of its body."""

    def end(self) -> None:
        """Write the end of its body."""


class Reply(Mutable):
    """The HTTP response of one request, in the wire of its client: its status, headers and body, or its error."""

    send: Send
    entry: Entry
    wire: Wire
    begun: bool = False
    over: bool = False
    """True once its end has been sent."""
    sink: "Sink | None" = None
    """The sink of the answer, once there is one."""
    limits: Headers = field(default_factory=list[tuple[bytes, bytes]])
    """RateLimit headers: what the tightest limit leaves."""
    client: "Client | None" = None
    """The client's connection; None under another server than the router's own."""
    resumed: str = ""
    """The id of the request whose answer is resumed; empty for this request's own answer."""
    write_now: Callable[[bytes], None] | None = None
    """Writes a piece of the body, while `client.write_paused` is false; None before the body and after it, and under another server."""
    _end_now: Callable[[], None] | None = None
    """Writes the end of that body; None where `send` has to."""

    async def begin(self, status: int, content_type: str, more: Iterable[str] = ()) -> None:
        """Send the status and the headers: those that describe the request and its answer, and `more`. Record the status in the entry."""
        lines = self._head(status, content_type, more)
        if (writer := self._writer(status, lines)) is not None:
            writer.begin("\r\n".join(lines).encode())
            self.write_now, self._end_now = writer.write, writer.end
        else:
            await self._start(status, lines)
            if self.client is not None:
                self.write_now = partial(_send_at_once, self.send)

    def _head(self, status: int, content_type: str, more: Iterable[str]) -> list[str]:
        """Return the header lines, and record that the response has begun. The last one is empty."""
        entry = self.entry
        self.begun = True
        entry.status = status
        lines = [
            f"content-type: {content_type}",
            f"x-request-id: {entry.request_id}",
            f"x-router-generation: {entry.generation}",
            *COMMON,
            *more,
        ]
        if self.resumed:
            lines += [f"x-router-resumed: {self.resumed}"]
        if self.wire.id_header:
            lines += [f"{self.wire.id_header.decode()}: {entry.request_id}"]
        if entry.target:
            lines += [f"x-router-target: {entry.target}"]
        if entry.requested:
            lines += [f"x-router-model: {entry.requested}"]
        if self.limits:
            lines += [f"{name.decode()}: {value.decode()}" for name, value in self.limits]
        if tries := entry.tries:
            lines += [f"x-router-attempts: {header(tries)}"]
        if entry.cache:
            lines += [f"x-router-cache: {entry.cache}"]
        if entry.fault:
            lines += [f"x-router-fault: {entry.fault}"]
        if entry.age is not None:
            lines += [f"age: {int(entry.age)}"]
        lines += [""]
        return lines

    def _writer(self, status: int, lines: list[str]) -> "Writer | None":
        """Return a way to write the response without `send`; None if `send` has to wait for the client, or to check these headers."""
        client = self.client
        if client is None or client.write_paused or status != 200 or not "".join(lines).isprintable():
            return None
        return client.writer(self.send)

    async def _start(self, status: int, lines: list[str]) -> None:
        parts = [line.encode().partition(b": ") for line in lines if line]
        await self.send({"type": "http.response.start", "status": status, "headers": [(name, value) for name, _, value in parts]})

    async def write(self, data: bytes) -> None:
        """Send a part of the body, and wait for a client that reads too slowly."""
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """Send the end of the body."""
        client, end = self.client, self._end_now
        self.write_now = self._end_now = None
        if end is None or client is None or client.write_paused:
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            end()
        self.over = True

    async def complete(self, status: int, body: bytes, more: Iterable[str] = ()) -> None:
        """Send a response with this status and body."""
        lines = self._head(status, self.wire.body_type, (f"content-length: {len(body)}", *more))
        if (writer := self._writer(status, lines)) is not None:
            writer.respond("\r\n".join(lines).encode(), body)
        else:
            await self._start(status, lines)
            await self.send({"type": "http.response.body", "body": body, "more_body": False})
        self.over = True

    async def empty(self, status: int) -> None:
        """Send a response with this status and no body."""
        length = ("content-length: 0",) if status != 204 else ()
        await self._start(status, self._head(status, "text/plain; charset=utf-8", length))
        await self.end()

    async def refuse(self, error: RouterError) -> None:
        """Send an error that came before the first event, as an HTTP status in the form of the wire; record it in the entry, for the log.

        An error with a wait gets Retry-After, in whole seconds from 1 on. Without a wait, codes in NO_RETRY get X-Should-Retry: false.
        """
        self.entry.outcome = error.code
        self.entry.reason = error.logged if error.status < 500 else ""
        self.entry.tally()
        wait = getattr(error, "retry_after", None)
        more: list[str] = []
        if isinstance(wait, int | float):
            more.append(f"retry-after: {max(1, math.ceil(wait))}")
        elif error.code in NO_RETRY:
            more.append("x-should-retry: false")
        if error.status == 405:
            more.append("allow: POST")
        if isinstance(error, TooMany):
            self.limits = [*error.headers]
        if error.status == 401:
            more.append("www-authenticate: Bearer")
        if isinstance(error, Stopping):
            more.append("connection: close")  # the next request finds another process
        sentence = f"{error.public} (request {self.entry.request_id})" if error.status >= 500 else error.public
        await self._refuse(error.status, error.code, sentence, more)

    async def fail(self, failure: Failure) -> None:
        """Send a Failure event as an HTTP status: nothing of the answer was sent before. Its status is by STATUS, 500 for other codes."""
        sentence = f"{failure.public} (request {self.entry.request_id})"
        status = STATUS.get(failure.code, 500)
        self.entry.reason = failure.public if status < 500 else ""
        await self._refuse(status, failure.code, sentence, ["x-should-retry: false"] if failure.code in NO_RETRY else ())

    async def _refuse(self, status: int, code: str, sentence: str, more: Iterable[str]) -> None:
        await self.complete(status, self.wire.refusal(Refusal(status, code, sentence, self.entry.request_id)), more)


def cost_header(entry: Entry) -> Sequence[str]:
    """Return the cost of the answer in dollars as a list with one header line; an empty one if no price is known."""
    cost = entry.charges.cost
    return () if cost is None else [f"x-router-cost: {cost:.{DIGITS}f}".rstrip("0").rstrip(".")]


def _send_at_once(send: Send, data: bytes) -> None:
    """Send a piece of the body through layers of `send` that do not wait, while the server does not wait either."""
    try:
        send({"type": "http.response.body", "body": data, "more_body": True}).__await__().send(None)
    except StopIteration:
        return
    raise AssertionError("a write waited although writing was not paused")


class Sink(Protocol):
    """A consumer of an answer's events."""

    @property
    def begun(self) -> bool:
        """Return whether it has got an event."""
        ...

    @property
    def finished(self) -> bool:
        """Return whether it has got a Finish or Failure."""
        ...

    @property
    def full(self) -> bool:
        """Return whether the sink holds so much that it should be flushed now."""
        ...

    def put(self, event: Event) -> None:
        """Take an event. Nothing is passed on until the next `flush` or `close`."""

    async def flush(self) -> None:
        """Pass on the events taken so far, and wait for that. It is called before a wait for the next event, and if `full`."""

    def pass_on(self, words: Sequence[Words]) -> bool:
        """Take words and pass them on, if that needs no wait. Otherwise return False: they were taken, and a `flush` has to follow."""
        ...

    async def close(self) -> None:
        """Pass on the rest and end: no event follows. An answer that has failed may end without a proper end."""

    def hush(self) -> None:
        """Stop keep-alives: only the end is written from now on."""


def conclude(sink: Sink, end: Finish | Failure) -> bool:
    """Put this event as the last of an answer, unless it has ended by itself, and return whether it was put. The sink is not closed."""
    if sink.finished:
        return False
    sink.put(end)
    return True


class Streamed:
    """A sink that streams events to the client. `keep_alive`: seconds of silence before a keep-alive frame of the wire is sent."""

    full = False
    """True if more than MAX_COLLECTED bytes are collected."""
    _size = 0
    _last: Event | None = None

    def __init__(self, reply: Reply, heading: Heading, keep_alive: float) -> None:
        self._reply = reply
        self._client = reply.client
        self._encode = reply.wire.encoder(heading)
        frame = reply.wire.keep_alive
        self._pulse = Pulse(partial(reply.write, frame), keep_alive) if frame else None
        self._collected: list[bytes] = []
        reply.sink = self

    def put(self, event: Event) -> None:
        """Encode an event and collect its bytes; `flush` sends them."""
        self._last = event
        if data := self._encode(event):
            self._collected.append(data)
            self._size += len(data)
            if self._size > MAX_COLLECTED:
                self.full = True

    @property
    def begun(self) -> bool:
        """Return whether it has got an event."""
        return self._last is not None

    @property
    def finished(self) -> bool:
        """Return whether the last event was a Finish or Failure."""
        return isinstance(self._last, Finish | Failure)

    async def flush(self) -> None:
        """Send the collected bytes, which end with a complete line or frame; the first time, the headers before them.

        If events came but gave no bytes yet (the text is held back), send the headers alone, so that keep-alives can begin.
        """
        collected, reply, client = self._collected, self._reply, self._client
        if not collected:
            if self._pulse and self.begun and not reply.begun:
                # The answer is being made, and its text is held back: signs of life need the headers before them.
                await self._begin()
                self._pulse.wait()
            return
        if not reply.begun:
            await self._begin()
        pulse, count, data = self._pulse, len(collected), b"".join(collected)
        if client is None or client.write_paused or (write := reply.write_now) is None:
            if pulse:
                pulse.resting = True
            await reply.write(data)
        else:
            write(data)
        # Only now: who is cancelled while the client does not read has written nothing, and may yet write it.
        del collected[:count]
        self._size, self.full = 0, False
        if pulse:
            pulse.wait()

    def pass_on(self, words: Sequence[Words]) -> bool:
        """Send the words at once if the client reads as fast as they come. Otherwise collect them and return False."""
        client = self._client
        if client is None or client.write_paused or self._collected or (write := self._reply.write_now) is None:
            for word in words:
                self.put(word)
            return False
        if data := self._encode(words[0]) if len(words) == 1 else b"".join(map(self._encode, words)):
            write(data)
            if self._pulse:
                self._pulse.written = time.monotonic()
        return True

    async def close(self) -> None:
        """Send the rest and end the body.

        After a Failure that the wire cannot express, leave the body without its end. If nothing was sent, send the Failure as a status.
        """
        await self.flush()
        self.hush()
        if isinstance(self._last, Failure) and self._reply.wire.failure == "reset":
            if not self._reply.begun:
                await self._reply.fail(self._last)
            return  # a body without its end: the server breaks the connection off, and the client sees that it is not whole
        if not self._reply.begun:
            await self._begin()
        await self._reply.end()

    def hush(self) -> None:
        """Stop the keep-alives for good. After this call its caller writes only the rest of the answer and its end; this is not checked."""
        if self._pulse:
            self._pulse.close()
            self._pulse = None

    async def _begin(self) -> None:
        wire = self._reply.wire
        await self._reply.begin(200, wire.content_type, wire.headers)


class Collected:
    """A sink that collects all events and sends one body at the end (`stream: false`)."""

    begun = full = False

    def __init__(self, reply: Reply, heading: Heading) -> None:
        self._reply = reply
        self._heading = heading
        self._events: list[Event] = []
        reply.sink = self

    def put(self, event: Event) -> None:
        """Collect an event; a tool's progress is left out."""
        self.begun = True
        if event.__class__ is not ToolProgress:  # the result is there by then
            self._events.append(event)

    @property
    def finished(self) -> bool:
        """Return whether the last event was a Finish or Failure."""
        return bool(self._events) and isinstance(self._events[-1], Finish | Failure)

    async def flush(self) -> None:
        """Do nothing: the body is sent at the end."""

    def pass_on(self, words: Sequence[Words]) -> bool:
        """Collect the words, and return True: the body is sent at the end."""
        self._events += words
        return True

    async def close(self) -> None:
        """Send the whole answer as one body with status 200 and its cost, or its Failure as an HTTP status."""
        if isinstance(end := self._events[-1], Failure):
            await self._reply.fail(end)
        else:
            body = self._reply.wire.complete(answered(self._heading, self._events))
            await self._reply.complete(200, body, cost_header(self._reply.entry))

    def hush(self) -> None:
        """Do nothing: there are no keep-alives before a single body."""
