"""Helpers of the wires whose frames are server-sent events of one JSON value each, and of those that leave events out."""

from router.chat import Json, ReasoningState
from router.events import Approval, LateResult, ToolInput, ToolProgress
from router.wire.shape import Answered, Encode, compact, joined

FRAME, END = "data: ", "\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment: bytes without a meaning between two frames."""


def frame(value: Json) -> str:
    """Return a server-sent event whose data is the value as JSON."""
    return f"{FRAME}{compact(value)}{END}"


def data_of(encode: Encode, answer: Answered) -> list[str]:
    """Return the data of all frames of an answer, with adjacent pieces of text or reasoning joined."""
    frames = b"".join(encode(event) for event in joined(answer.events)).decode().split(END)[:-1]
    return [one.removeprefix(FRAME) for one in frames]


def unwritten(_: ToolInput | ToolProgress | Approval | LateResult | ReasoningState) -> bytes:
    """Return b"" for an event that a wire does not write. The type checker refuses any other event: a wire has to write that."""
    return b""
