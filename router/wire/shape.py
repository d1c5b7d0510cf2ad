"""The interface of a wire, and the helpers that all wires share to write events as bytes."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any, Literal

from router.chat import Json, JsonObject, repaired
from router.events import Event, Failure, Finish, Produced, Reason, Source, Start, Text, Thought, ToolCall, ToolResult, Usage
from router.jsontext import writer, written
from router.value import Mutable, PartlyCompared, Value, field

Encode = Callable[[Event], bytes]
TEXT = attrgetter("text")
TEXT_ALONE: frozenset[type[Event]] = frozenset({Text})
"""Types of the events between the ends of most answers."""


class Ending(Mutable):
    """Facts about an answer's end that no event has: its time, and whether the client stopped it. All encoders of the answer share one."""

    at: int | None = None
    """Unix time of the end, in whole seconds; None if it is not set."""
    stopped: bool = False
    """True if the client stopped the answer."""

    @property
    def note(self) -> bytes:
        """Return time of the end and `stopped` as JSON, for encoders in other processes. Sets the time to now if it is not set."""
        return json.dumps([self.noted(), self.stopped]).encode()

    def take(self, note: bytes) -> None:
        """Set `at` and `stopped` from the `note` of another process. An unreadable note is ignored."""
        with suppress(ValueError, RecursionError, TypeError):
            at, stopped = json.loads(note)
            if isinstance(at, int) and isinstance(stopped, bool):
                self.at, self.stopped = at, stopped

    def noted(self) -> int:
        """Return the Unix time of the end in whole seconds; sets it to now if it is not set."""
        if self.at is None:
            self.at = int(time.time())
        return self.at


class Heading(PartlyCompared, frozen=True, kw_only=True):
    """The facts about an answer that an encoder has before its first event: ids, model, and the request's options that change its form."""

    BESIDE = frozenset({"ending"})
    request_id: str
    message_id: str
    """A UUID, because front ends store messages in tables with such keys."""
    model: str
    """The model id that the client asked for, as the client wrote it."""
    created: int
    """Time of creation, in whole seconds since 1970."""
    wants_usage: bool = False
    """True if the client asked for usage at the end of its stream. Only the wires `openai` and `text-completion` read it."""
    min_client: str = "5.0"
    """The oldest AI SDK that must be able to read the answer. Used only by the wire `ui-message-stream`."""
    asked: JsonObject = field(default_factory=dict[str, Json])
    """Fields of the request that the answer repeats or depends on; which ones depends on the wire, and most wires need none."""
    after: int = -1
    """The number of the last event that the client already has; -1 if it has none. Only the wire `responses` reads it."""
    ending: Ending = field(default_factory=Ending)


class Answered(Value, frozen=True):
    """A complete answer, to be sent as one body: its events, and what is taken from them."""

    heading: Heading
    events: Sequence[Event]
    text: str
    reason: Reason
    usage: Usage | None
    model: str
    """The configured model of the target that answered first, else the model id of the request."""
    thoughts: str = ""
    calls: Sequence[ToolCall] = ()
    results: Sequence[ToolResult] = ()
    sources: Sequence[Source] = ()
    files: Sequence[Produced] = ()

    @property
    def client_calls(self) -> Sequence[ToolCall]:
        """Return the tool calls without a result, which the client has to run."""
        done = {result.call_id for result in self.results}
        return [call for call in self.calls if call.call_id not in done]


def answered(heading: Heading, events: Sequence[Event]) -> Answered:
    """Return a complete answer with these events. The last one must be a Finish (an assertion fails otherwise)."""
    start, between, end = events[0], events[1:-1], events[-1]
    assert type(end) is Finish
    if type(start) is Start and TEXT_ALONE.issuperset(map(type, between)):
        return Answered(heading, events, "".join(map(TEXT, between)), end.reason, end.usage, start.model or heading.model)
    of: dict[type[Event], list[Any]] = defaultdict(list)
    for event in events:
        of[event.__class__].append(event)
    text, thoughts = "".join(map(TEXT, of[Text])), "".join(map(TEXT, of[Thought]))
    model = next((start.model for start in of[Start] if start.model), heading.model)
    seen = of[ToolCall], of[ToolResult], of[Source], of[Produced]
    return Answered(heading, events, text, end.reason, end.usage, model, thoughts, *seen)


def joined(events: Iterable[Event]) -> Iterator[Event]:
    """Yield the events, with adjacent Text events joined into one, and adjacent Thought events too. The last event must be neither."""
    pieces: list[str] = []
    kind: type[Text | Thought] = Text
    for event in events:
        if pieces and not isinstance(event, kind):
            yield kind("".join(pieces))
            pieces.clear()
        if isinstance(event, Text | Thought):
            kind = type(event)
            pieces.append(event.text)
        else:
            yield event


class Refusal(Value, frozen=True):
    """An error that is sent instead of an answer: HTTP status, the router's stable code, and a sentence that the client may see."""

    status: int
    code: str
    sentence: str
    request_id: str


def broken_off(heading: Heading, failure: Failure) -> Refusal:
    """Return the error to write where an answer breaks off. Its sentence names the request."""
    return Refusal(500, failure.code, f"{failure.public} (request {heading.request_id})", heading.request_id)


class Wire(Value, frozen=True, kw_only=True):
    """A format for clients: the functions that write a stream's events, an answer that is not streamed, and an error.
    content_type, headers: of a stream; headers as lines with their ends
    encoder: returns the encoder of one answer: event → complete lines or frames, b"" for an event that the wire does not write
    complete: encodes an answer that is not streamed, as one body
    refusal: encodes an error that comes before the first event, as one body
    body_type: the content type of these two
    id_header: a header with the request's id for its clients, besides X-Request-Id; empty for none
    failure: `told`: the encoder writes a Failure; `reset`: it cannot, so the connection is closed without an end
    keep_alive: bytes without a meaning that may stand between two frames; b"" if the wire has none
    approvals: true if it can ask the user to approve a call, for clients that support it
    """

    name: str
    content_type: str = "text/event-stream"
    headers: str = ""
    encoder: Callable[[Heading], Encode]
    complete: Callable[[Answered], bytes]
    refusal: Callable[[Refusal], bytes]
    body_type: str = "application/json"
    id_header: str = ""
    failure: Literal["told", "reset"] = "told"
    keep_alive: bytes = b""
    approvals: bool = False


compact: Callable[[Json], str] = writer(dict, ascii_only=False, separators=(",", ":"))
"""Returns JSON without spaces, line breaks and needless escapes."""


def body(value: Json) -> bytes:
    """Return a value as JSON in UTF-8."""
    return utf8(compact(value))


def encoded(value: Json) -> bytes:
    """Return a value without floats as JSON in UTF-8: as `body` does, in a third of the time."""
    try:
        return written(value)
    except UnicodeEncodeError:
        return body(value)


def arguments_of(call: ToolCall) -> str:
    """Return a call's arguments as JSON text. If they were malformed, return the text that the model wrote."""
    return compact(call.arguments) if call.malformed is None else call.malformed


def utf8(text: str) -> bytes:
    """Return the text encoded as UTF-8. A lone surrogate (a tool may return one) becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return repaired(text).encode()
