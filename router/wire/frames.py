"""Helpers of the wires whose frames are server-sent events of one JSON value each, and of those that leave events out."""

from itertools import count

from router.chat import Json, ReasoningState, repaired
from router.events import Approval, Event, LateResult, Text, Thought, ToolInput, ToolProgress, Words
from router.jsontext import quoted
from router.wire.shape import Answered, Encode, Heading, compact, joined, utf8

FRAME, END = "data: ", "\n\n"
DONE = "data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment: bytes without a meaning between two frames."""


def frame(value: Json) -> str:
    """Return a server-sent event whose data is the value as JSON."""
    return f"{FRAME}{compact(value)}{END}"


def data_of(encode: Encode, answer: Answered) -> list[str]:
    """Return the data of all frames of an answer, with adjacent pieces of text or reasoning joined."""
    frames = b"".join(encode(event) for event in joined(answer.events)).decode().split(END)[:-1]
    return [one.removeprefix(FRAME) for one in frames]


Unwritten = ToolInput | ToolProgress | Approval | LateResult | ReasoningState
"""Events that a wire may leave out. The type checker refuses any other: a wire has to write that."""


def unwritten(_: Unwritten) -> bytes:
    """Return b"" for an event that a wire does not write."""
    return b""


class PartEncoder:
    """The base of an encoder whose text and reasoning stand in parts, one open at a time, with a frame for each piece."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._begun = False
        self._open = ""
        """The type of the open part, as `text` or `reasoning`; empty without one."""
        self._id = ""
        """The id of the open part."""
        self._delta = b""
        """The frame of a piece of the open part, up to its text."""
        self._after = f"}}{END}".encode()
        """The rest of that frame, after the text."""

    def encode(self, event: Event) -> bytes:
        """Return the frames of an event; b"" for an event that is not written."""
        match event:
            case Text(text):
                part = "text"
            case Thought(text):
                part = "reasoning"
            case _:
                return utf8(self._written(event))
        opening = b"" if self._open == part else utf8(self._opened(part))
        try:
            return opening + self._delta + quoted(text) + self._after
        except UnicodeEncodeError:
            return opening + self._delta + quoted(repaired(text)) + self._after

    def _written(self, event: Event) -> str:
        """Return the frames of an event that is neither text nor reasoning."""
        raise NotImplementedError

    @staticmethod
    def _unwritten(_: Unwritten | Words) -> str:
        return ""

    def _opened(self, part: str) -> str:
        """Begin a part, and return the frames for that, and for the end of the part before."""
        raise NotImplementedError


class SdkPartEncoder(PartEncoder):
    """The base of an encoder for the AI SDK: the frames of a part are `<type>-start`, `<type>-delta` and `<type>-end`, with its id."""

    def __init__(self, heading: Heading) -> None:
        super().__init__(heading)
        self._numbers: dict[str, count[int]] = dict.fromkeys(("text", "reasoning"), count(1))
        """Type of a part → the numbers in the ids of such parts. Here all parts share one counter; a wire may give each type its own."""
        self._sources = count(1)
        """The numbers in the ids of sources."""

    def _opened(self, part: str) -> str:
        closed = self._closed()
        self._open, self._id = part, f"{part[0]}{next(self._numbers[part])}"
        self._delta = f'{FRAME}{{"type":"{part}-delta","id":"{self._id}","delta":'.encode()
        return closed + frame({"type": f"{part}-start", "id": self._id})

    def _closed(self) -> str:
        """End the open part, and return the frame for that; an empty text without one."""
        part, self._open = self._open, ""
        return frame({"type": f"{part}-end", "id": self._id}) if part else ""
