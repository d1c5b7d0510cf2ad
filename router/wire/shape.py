"""What a dialect is: the seam between events and a client's bytes."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from router.chat import Json, JsonObject
from router.chat import whole as repaired
from router.events import Event, Failure, Finish, Text, Thought, ToolCall, ToolResult

Encode = Callable[[Event], bytes]


@dataclass(slots=True)
class Ending:
    """How an answer ended, where its events do not say it: every encoder of the answer is to say the same."""

    at: int | None = None
    """When, in whole seconds since 1970; None before its end."""
    stopped: bool = False
    """Whether its client stopped it."""

    def noted(self) -> int:
        """Return when the answer ended: now, unless it is known already."""
        if self.at is None:
            self.at = int(time.time())
        return self.at


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What is known of an answer before its first event."""

    request_id: str
    message_id: str
    """A UUID: front ends keep messages in tables whose keys are such."""
    model: str
    """The id the client asked for, as it wrote it."""
    created: int
    """When, in whole seconds since 1970."""
    wants_usage: bool = False
    """Whether the client asked for the usage at the end of its stream. Only the `openai` dialect looks at it."""
    min_client: str = "5.0"
    """The oldest AI SDK that must be able to read it. Only the `ui-message-stream` dialect looks at it."""
    asked: JsonObject = field(default_factory=dict[str, Json])
    """What the answer repeats of its request, by field. Only the `responses` dialect looks at it."""
    after: int = -1
    """The number of the last event that the client has already. Only the `responses` dialect looks at it."""
    ending: Ending = field(default_factory=Ending, compare=False)


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer, for clients that do not stream."""

    heading: Heading
    events: tuple[Event, ...]
    text: str
    thoughts: str
    calls: tuple[ToolCall, ...]
    results: tuple[ToolResult, ...]
    end: Finish | Failure


def answered(heading: Heading, events: Iterable[Event]) -> Answered:
    """The whole that these events make. They are all of one answer: the last one ends it."""
    seen = tuple(events)
    end = seen[-1]
    assert isinstance(end, Finish | Failure)
    return Answered(
        heading,
        seen,
        "".join(event.text for event in seen if isinstance(event, Text)),
        "".join(event.text for event in seen if isinstance(event, Thought)),
        tuple(event for event in seen if isinstance(event, ToolCall)),
        tuple(event for event in seen if isinstance(event, ToolResult)),
        end,
    )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no answer: the HTTP status it is sent with, a stable code, a sentence that may be shown."""

    status: int
    code: str
    sentence: str
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A dialect.

    content_type, headers: of a stream
    encoder: makes one answer's encoder: event → whole lines or frames, b"" where the dialect says nothing
    whole: an answer that is not streamed, as one body
    refusal: an error before the first event, as one body
    body_type: the content type of these two
    id_header: where its clients look for the request's id, besides X-Request-Id; empty where nowhere else
    failure: told: a Failure has its bytes; reset: it cannot be said, so the connection is broken off instead of ended
    keep_alive: what may stand between two frames and means nothing; b"" where the dialect has no such thing
    """

    name: str
    content_type: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    encoder: Callable[[Heading], Encode]
    whole: Callable[[Answered], bytes]
    refusal: Callable[[Refusal], bytes]
    body_type: str = "application/json"
    id_header: bytes = b""
    failure: Literal["told", "reset"] = "told"
    keep_alive: bytes = b""


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=dict).encode  # json.dumps would make one for each line


def compact(value: Json) -> str:
    """JSON without spaces or line breaks, and without escapes it does not need."""
    return _encode(value)


def utf8(text: str) -> bytes:
    """The bytes. Half a surrogate pair (a tool may return one) becomes U+FFFD: what a wire writes is always valid UTF-8."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return repaired(text).encode()
