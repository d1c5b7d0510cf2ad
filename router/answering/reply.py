"""The HTTP response of an answer: events become bytes or one body; the headers wait for the first event.

A refusal until then is an HTTP status; a later error is one Failure event. A stream does not end silently:
in a wire without a form for a failure, the connection is closed early.
"""

import math
import re
from collections.abc import Callable, Coroutine, Sequence
from functools import lru_cache, partial
from time import monotonic
from typing import Any, Protocol

from starlette.types import Send

from router.answering.pulse import Pulse
from router.errors import RouterError, Stopping, TooMany
from router.events import Event, Failure, Finish, ToolProgress, Words
from router.journal.attempts import DIGITS, header
from router.journal.entry import Entry
from router.value import Mutable
from router.wire import Heading, Refusal, Wire, answered

Headers = list[tuple[bytes, bytes]]

PRIVATE: Headers = [(b"cache-control", b"no-store, no-transform"), (b"x-content-type-options", b"nosniff")]
COMMON = "".join(f"{name.decode()}: {value.decode()}\r\n" for name, value in PRIVATE) + "x-accel-buffering: no\r\n"
"""Header lines of every response, with their ends. The last one is for nginx: it must not collect a stream."""
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""Characters that no header may have."""
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
NOT_AGAIN = "x-should-retry: false\r\n"


class Client(Protocol):
    """The client's connection under the router's own server (`server/door.py`).

    write_paused: true while the client reads too slowly: `send` waits then, and at no other time; true once the connection is lost, too
    gone: true once the connection is lost
    left: called when it is lost
    """

    write_paused: bool
    gone: bool
    left: Callable[[], object] | None

    def writer(self, send: Send) -> "Writer | None":
        """Return a way past `send` for a response with status 200; None if `send` has to wait, is not the server's own, or has begun."""
        ...


class Writer(Protocol):
    """A response of the router's own server with status 200, written without `send`, while `write_paused` is false.

    Its headers are lines that end with CR LF, in UTF-8. The server does not check them. Each call is one write, of a body up to 64 KiB.
    """

    def respond(self, head: bytes, body: bytes) -> None:
        """Write a complete response."""

    def begin(self, head: bytes, data: bytes, *, over: bool) -> None:
        """Write the head of a response whose length is not known, and the first piece of its body, if there is one. `over`: it is all."""

    def write(self, data: bytes) -> None:
        """Write a piece of its body, which is not empty."""

    def end(self, data: bytes) -> None:
        """Write the last piece of its body, if there is one, and the end."""


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
    limits: Sequence[tuple[bytes, bytes]] = ()
    """RateLimit headers: what the tightest limit leaves."""
    client: "Client | None" = None
    """The client's connection; None under another server than the router's own."""
    resumed: str = ""
    """The id of the request whose answer is resumed; empty for this request's own answer."""
    write_now: Callable[[bytes], None] | None = None
    """Writes a piece of the body that is not empty, while `client.write_paused` is false.
    None before the body and after it, and under another server.
    """
    _end_now: Callable[[bytes], None] | None = None
    """Writes the last piece of that body and its end; None where `send` has to."""

    async def begin(self, status: int, content_type: str, more: str = "", data: bytes = b"", *, over: bool = False) -> None:
        """Send the status and the headers: those that describe the request and its answer, and `more`.

        more: header lines with their ends
        data: the first piece of the body; empty if there is none yet
        over: whether that is the whole body
        """
        head, client = self._head(status, content_type, more), self.client
        if client is not None and status == 200 and (writer := client.writer(self.send)) is not None:
            writer.begin(head.encode(), data, over=over)
            if not over:
                self.write_now, self._end_now = writer.write, writer.end
        else:
            await self._start(status, head)
            if client is not None and not over:
                self.write_now = partial(_send_at_once, self.send)
            if data or over:
                await self.send({"type": "http.response.body", "body": data, "more_body": not over})
        self.over = over
        if over:
            self.sink = None  # the two hold each other

    def _head(self, status: int, content_type: str, more: str) -> str:
        """Return the header lines with their ends, and record that the response has begun. ValueError if a value has a control character."""
        entry = self.entry
        tried = header(tries) if (tries := entry.tries()) else ""
        if not tried.isprintable():
            _check(tried)
        names = _names(entry.target, entry.requested)
        self.begun = True
        entry.status = status
        head = (
            f"content-type: {content_type}\r\nx-request-id: {entry.request_id}\r\nx-router-generation: {entry.generation}\r\n{COMMON}{more}"
        )
        if self.resumed:
            head += f"x-router-resumed: {self.resumed}\r\n"
        if self.wire.id_header:
            head += f"{self.wire.id_header}: {entry.request_id}\r\n"
        head += names
        for name, value in self.limits:
            head += f"{name.decode()}: {value.decode()}\r\n"
        if tried:
            head += f"x-router-attempts: {tried}\r\n"
        if entry.cache:
            head += f"x-router-cache: {entry.cache}\r\n"
        if entry.fault:
            head += f"x-router-fault: {entry.fault}\r\n"
        if entry.age is not None:
            head += f"age: {int(entry.age)}\r\n"
        return head

    async def _start(self, status: int, head: str) -> None:
        parts = [line.encode().partition(b": ") for line in head[:-2].split("\r\n")]
        await self.send({"type": "http.response.start", "status": status, "headers": [(name, value) for name, _, value in parts]})

    async def write(self, data: bytes) -> None:
        """Send a part of the body, and wait for a client that reads too slowly."""
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the last piece of the body, which may be empty, and its end."""
        client, end = self.client, self._end_now
        self.write_now = self._end_now = None
        if end is None or client is None or client.write_paused:
            await self.send({"type": "http.response.body", "body": data, "more_body": False})
        else:
            end(data)
        self.over, self.sink = True, None

    async def complete(self, status: int, body: bytes, more: str = "") -> None:
        """Send a response with this status and body. `more`: header lines with their ends."""
        head, client = self._head(status, self.wire.body_type, f"content-length: {len(body)}\r\n{more}"), self.client
        if client is not None and status == 200 and (writer := client.writer(self.send)) is not None:
            writer.respond(head.encode(), body)
        else:
            await self._start(status, head)
            await self.send({"type": "http.response.body", "body": body, "more_body": False})
        self.over, self.sink = True, None

    async def empty(self, status: int) -> None:
        """Send a response with this status and no body."""
        length = "content-length: 0\r\n" if status != 204 else ""
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
        more = ""
        if isinstance(wait, int | float):
            more = f"retry-after: {max(1, math.ceil(wait))}\r\n"
        elif error.code in NO_RETRY:
            more = NOT_AGAIN
        if error.status == 405:
            more += "allow: POST\r\n"
        if isinstance(error, TooMany):
            self.limits = error.headers
        if error.status == 401:
            more += "www-authenticate: Bearer\r\n"
        if isinstance(error, Stopping):
            more += "connection: close\r\n"  # the next request finds another process
        sentence = f"{error.public} (request {self.entry.request_id})" if error.status >= 500 else error.public
        await self._refuse(error.status, error.code, sentence, more)

    async def fail(self, failure: Failure) -> None:
        """Send a Failure event as an HTTP status: nothing of the answer was sent before. Its status is by STATUS, 500 for other codes."""
        sentence = f"{failure.public} (request {self.entry.request_id})"
        status = STATUS.get(failure.code, 500)
        self.entry.reason = failure.public if status < 500 else ""
        await self._refuse(status, failure.code, sentence, NOT_AGAIN if failure.code in NO_RETRY else "")

    async def _refuse(self, status: int, code: str, sentence: str, more: str) -> None:
        await self.complete(status, self.wire.refusal(Refusal(status, code, sentence, self.entry.request_id)), more)


@lru_cache(maxsize=256)
def _names(target: str, requested: str) -> str:
    """Return the header lines for the target and for the requested id, both configured names; an empty one has no line."""
    _check(target + requested)
    made = f"x-router-target: {target}\r\n" if target else ""
    return f"{made}x-router-model: {requested}\r\n" if requested else made


def _check(names: str) -> None:
    """Raise ValueError if configured names have a control character, such as a line's end, which no header may have."""
    if CONTROL.search(names):
        raise ValueError("a header of the response has a control character")


def cost_header(entry: Entry) -> str:
    """Return the header line, with its end, for the cost of the answer in dollars; an empty text if no price is known."""
    cost = entry.charges.cost
    return "" if cost is None else f"x-router-cost: {cost:.{DIGITS}f}".rstrip("0").rstrip(".") + "\r\n"


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

    def put(self, event: Event, /) -> None:
        """Take an event. Nothing is passed on until the next `flush` or `close`."""

    async def flush(self) -> None:
        """Pass on the events taken so far, and wait for that. It is called before a wait for the next event, and if `full`."""

    def pass_on(self, words: Sequence[Words]) -> bool:
        """Take words and pass them on, if that needs no wait. Otherwise return False: they were taken, and a `flush` has to follow."""
        ...

    def close(self) -> Coroutine[object, object, None]:
        """Pass on the rest and end: no event follows. An answer that has failed may end without a proper end."""
        ...

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
        self._client: Any = reply.client
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
        collected, reply, client, pulse = self._collected, self._reply, self._client, self._pulse
        count, data = len(collected), b"".join(collected)
        if not reply.begun:
            if not data and (pulse is None or not self.begun):
                return
            await reply.begin(200, reply.wire.content_type, reply.wire.headers, data)
        elif not data:
            return
        elif client is None or client.write_paused or (write := reply.write_now) is None:
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
        write = self._reply.write_now
        if write is None or self._collected or self._client.write_paused:
            for word in words:
                self.put(word)
            return False
        first, *more = words
        data = self._encode(first)
        if more:
            data += b"".join(map(self._encode, more))
        if data:
            write(data)
            if self._pulse:
                self._pulse.written = monotonic()
        return True

    async def close(self) -> None:
        """Send the rest and end the body.

        After a Failure that the wire cannot express, leave the body without its end. If nothing was sent, send the Failure as a status.
        """
        self.hush()
        reply, wire, data = self._reply, self._reply.wire, b"".join(self._collected)
        if wire.failure == "reset" and isinstance(self._last, Failure):
            await self.flush()
            if not reply.begun:
                await reply.fail(self._last)
            return  # a body without its end: the server breaks the connection off, and the client sees that it is not whole
        if reply.begun:
            await reply.end(data)
        else:
            await reply.begin(200, wire.content_type, wire.headers, data, over=True)
        self._collected.clear()

    def hush(self) -> None:
        """Stop the keep-alives for good. After this call its caller writes only the rest of the answer and its end; this is not checked."""
        if self._pulse:
            self._pulse.close()
            self._pulse = None


class Collected:
    """A sink that collects all events and sends one body at the end (`stream: false`)."""

    full = False

    def __init__(self, reply: Reply, heading: Heading) -> None:
        self._reply = reply
        self._heading = heading
        self._events: list[Event] = []
        if not reply.entry.granted:
            self.put = self._events.append  # no tool, no progress
        reply.sink = self

    def put(self, event: Event, /) -> None:
        """Collect an event; a tool's progress is left out."""
        if event.__class__ is not ToolProgress:  # the result is there by then
            self._events.append(event)

    @property
    def begun(self) -> bool:
        """Return whether it has got an event."""
        return bool(self._events)

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

    def close(self) -> Coroutine[object, object, None]:
        """Send the whole answer as one body with status 200 and its cost, or its Failure as an HTTP status."""
        reply, events = self._reply, self._events
        if type(end := events[-1]) is Failure:
            return reply.fail(end)
        return reply.complete(200, reply.wire.complete(answered(self._heading, events)), cost_header(reply.entry))

    def hush(self) -> None:
        """Do nothing: there are no keep-alives before a single body."""
