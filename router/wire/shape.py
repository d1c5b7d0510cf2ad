"""The interface of a dialect, between events and a client's bytes."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from router.chat import Json, JsonObject, repaired
from router.events import Event, Failure, Finish, Start, Text, Thought, ToolCall, ToolResult
from router.value import Mutable, PartlyCompared, Value, field

Encode = Callable[[Event], bytes]


class Ending(Mutable):
    """The end of an answer without an event for it: all encoders of the answer write the same one."""

    at: int | None = None
    """Time of the end, in whole seconds since 1970; None before it."""
    stopped: bool = False
    """True if its client stopped the answer."""

    @property
    def note(self) -> bytes:
        """Return the end for encoders elsewhere, as JSON."""
        return json.dumps([self.noted(), self.stopped]).encode()

    def take(self, note: bytes) -> None:
        """Take over the end that another process noted; nothing where it is not readable."""
        with suppress(ValueError, RecursionError):
            match json.loads(note):
                case [int(at), bool(stopped)]:
                    self.at, self.stopped = at, stopped
                case _:
                    pass

    def noted(self) -> int:
        """Return the time of the end: now, unless it is known already."""
        if self.at is None:
            self.at = int(time.time())
        return self.at


class Heading(PartlyCompared, frozen=True, kw_only=True):
    """The facts about an answer that are known before its first event."""

    BESIDE = frozenset({"ending"})
    request_id: str
    message_id: str
    """A UUID: front ends keep messages in tables with such keys."""
    model: str
    """The model id that the client asked for, as the client wrote it."""
    created: int
    """Time of creation, in whole seconds since 1970."""
    wants_usage: bool = False
    """True if the client asked for the usage at the end of its stream. Only the `openai` and `text-completion` dialects use it."""
    min_client: str = "5.0"
    """The oldest AI SDK that must be able to read it. Only the `ui-message-stream` dialect uses it."""
    asked: JsonObject = field(default_factory=dict[str, Json])
    """The fields of the request that the answer repeats. Only the dialects `responses`, `text-completion` and `ag-ui` use it."""
    after: int = -1
    """The number of the last event that the client has already. Only the `responses` dialect uses it."""
    ending: Ending = field(default_factory=Ending)


class Answered(Value, frozen=True):
    """A complete answer, for clients that do not stream."""

    heading: Heading
    events: tuple[Event, ...]
    text: str
    thoughts: str
    calls: tuple[ToolCall, ...]
    results: tuple[ToolResult, ...]
    end: Finish | Failure
    model: str
    """The configured model of the target that answered first; empty where none began."""


def answered(heading: Heading, events: Iterable[Event]) -> Answered:
    """Return the complete answer that these events make. The last event must end it."""
    seen = tuple(events)
    end = seen[-1]
    assert isinstance(end, Finish | Failure)
    text: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    results: list[ToolResult] = []
    model = ""
    for event in seen:
        match event:
            case Start():
                model = model or event.model
            case Text(piece):
                text.append(piece)
            case Thought(piece):
                thoughts.append(piece)
            case ToolCall():
                calls.append(event)
            case ToolResult():
                results.append(event)
            case _:
                pass
    return Answered(heading, seen, "".join(text), "".join(thoughts), tuple(calls), tuple(results), end, model)


def joined(events: Iterable[Event]) -> Iterator[Event]:
    """Yield the events, with neighbouring pieces of a text or of reasoning joined."""
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


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal to answer: the HTTP status it is sent with, a stable code, a sentence that may be shown."""

    status: int
    code: str
    sentence: str
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A dialect: its encoder, its complete answer and its error body.

    content_type, headers: of a stream
    encoder: makes one answer's encoder: event → whole lines or frames, b"" for an event that the dialect does not write
    whole: encodes an answer that is not streamed, as one body
    refusal: encodes an error before the first event, as one body
    body_type: the content type of these two
    id_header: the header with the request's id for its clients, besides X-Request-Id; empty without one
    failure: told: a Failure has its bytes; reset: it has no form, so the connection is broken off instead of ended
    keep_alive: bytes that may stand between two frames and mean nothing; b"" if the dialect has no such thing
    approvals: true if it can ask the user to allow a call, for clients that know how
    """

    name: str
    content_type: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    encoder: Callable[[Heading], Encode]
    complete: Callable[[Answered], bytes]
    refusal: Callable[[Refusal], bytes]
    body_type: str = "application/json"
    id_header: bytes = b""
    failure: Literal["told", "reset"] = "told"
    keep_alive: bytes = b""
    approvals: bool = False


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=dict).encode  # json.dumps would make one for each line


def compact(value: Json) -> str:
    """Return JSON without spaces or line breaks, and without escapes it does not need."""
    return _encode(value)


def utf8(text: str) -> bytes:
    """Encode a text. Half a surrogate pair (a tool may return one) becomes U+FFFD: a wire always writes valid UTF-8."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return repaired(text).encode()
