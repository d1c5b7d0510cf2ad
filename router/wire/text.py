"""The wire `text`: plain text without frames, tools, reasoning and errors.

If an answer fails in mid-stream, the connection is closed early: a clean end would look like a complete answer.
"""

from typing import assert_never

from router.chat import ReasoningState
from router.events import (
    Approval,
    Event,
    Failure,
    Finish,
    LateResult,
    Produced,
    Source,
    Start,
    Text,
    Thought,
    ToolCall,
    ToolInput,
    ToolProgress,
    ToolResult,
)
from router.wire.shape import Answered, Encode, Heading, Refusal, Wire, utf8


def encoder(_: Heading) -> Encode:
    """Return the encoder of one answer: a Text event → its text in UTF-8; b"" for every other event."""

    def encode(event: Event) -> bytes:
        match event:
            case Text(text):
                return utf8(text)
            case Start() | Thought() | ToolInput() | ToolCall() | ToolProgress() | ToolResult() | Finish() | Failure():
                return b""
            case Approval() | LateResult() | ReasoningState() | Source() | Produced():
                return b""
            case _:
                assert_never(event)

    return encode


def complete(answer: Answered) -> bytes:
    """Return the body of an answer that is not streamed: its text."""
    return utf8(answer.text)


def refusal(why: Refusal) -> bytes:
    """Return the body for an error before the first event: its sentence alone."""
    return utf8(why.sentence)


WIRE = Wire(
    name="text",
    content_type="text/plain; charset=utf-8",
    encoder=encoder,
    complete=complete,
    refusal=refusal,
    body_type="text/plain; charset=utf-8",
    failure="reset",
)
