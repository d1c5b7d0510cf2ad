"""What a dialect is: the seam between events and a client's bytes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from router.events import Event, Failure, Finish, Text, Thought, ToolCall, ToolResult

Encode = Callable[[Event], bytes]


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer, for clients that do not stream."""

    request_id: str
    model: str
    text: str
    thoughts: str
    calls: tuple[ToolCall, ...]
    results: tuple[ToolResult, ...]
    end: Finish | Failure


def answered(request_id: str, model: str, events: Iterable[Event]) -> Answered:
    """The whole that these events make. They are all of one answer: the last one ends it."""
    seen = list(events)
    end = seen[-1]
    assert isinstance(end, Finish | Failure)
    return Answered(
        request_id,
        model,
        "".join(event.text for event in seen if isinstance(event, Text)),
        "".join(event.text for event in seen if isinstance(event, Thought)),
        tuple(event for event in seen if isinstance(event, ToolCall)),
        tuple(event for event in seen if isinstance(event, ToolResult)),
        end,
    )


@dataclass(frozen=True, slots=True)
class Wire:
    """A dialect.

    encoder(request id) makes one answer's encoder: event → whole lines or frames, b"" where the dialect says nothing.
    whole(answered) and refusal(code, sentence, request id) are JSON bodies, for answers and errors that are not streamed.
    """

    name: str
    content_type: str
    headers: tuple[tuple[bytes, bytes], ...]
    encoder: Callable[[str], Encode]
    whole: Callable[[Answered], bytes]
    refusal: Callable[[str, str, str], bytes]
