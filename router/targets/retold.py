"""A stream of events, told again in the one form in which LiteLLM's readers all read it.

A comment, another field than `data`, a byte-order mark, an event that is no object: each is the end of one reader or another, or costs
it words. No I/O: `feed` what came, send on what that makes.
"""

import json

import msgspec

from router.errors import TargetError
from router.targets import http, openai, sse
from router.targets.inband import fault
from router.targets.speech import Speech

APART = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))
"""Characters at which its client ends a line, in the middle of somebody's words."""


class Retold:
    """The teller of one body: OpenAI's wire, where each event is an object, until the mark of the end."""

    cut = False
    """Whether the body ended too soon, and LiteLLM would not know."""

    def __init__(self) -> None:
        self._frames = sse.Events()
        self.heard = Speech("")
        """What it says."""
        self._reader = openai.Reader("", self.heard)

    def feed(self, piece: bytes) -> bytes:
        """What there is to be told of a piece; nothing as the piece is the end of the body."""
        events = self._frames.feed(piece) if piece else self._frames.end()
        return b"".join(_event(told) for data in events if (told := self._hear(data)) is not None)

    def _hear(self, data: bytes) -> bytes | None:
        """The data of an event as it is to be told; None where it is not."""
        chunk = None if data == openai.DONE else http.decoded(data, openai.DECODE)
        try:
            self._reader.frame(data)
        except TargetError:
            if self.heard.answered:
                return None  # after the answer it comes too late to matter
            return data if chunk is not None and chunk.error is not None else _error(data)
        self.heard.take()
        return data if chunk is not None or data == openai.DONE else None


def _error(data: bytes) -> bytes:
    """An error in the one shape that LiteLLM knows."""
    said = fault(data)
    return json.dumps({"error": said if isinstance(said, dict) else {"message": said}}).encode()


def _event(data: bytes) -> bytes:
    if not data.isascii():
        data = data.decode("utf-8", "replace").encode()
    for character, escaped in APART:
        data = data.replace(character, escaped)
    return b"data: " + data.replace(b"\n", b" ") + b"\n\n"


class Candidate(msgspec.Struct, rename="camel"):
    """One candidate of Google's."""

    finish_reason: str | None = None


class Blocked(msgspec.Struct, rename="camel"):
    """What became of the question."""

    block_reason: str | None = None


class Chunk(msgspec.Struct, rename="camel"):
    """One event of Google's."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Blocked | None = None


GOOGLES = msgspec.json.Decoder(Chunk)


class Google(Retold):
    """The same of Google's wire, which marks no end: LiteLLM makes up a `stop` for every event. Some models give a reason with each,
    so that nothing can be said of what comes after one.
    """

    cut = True

    def _hear(self, data: bytes) -> bytes | None:
        chunk = http.decoded(data, GOOGLES)
        if chunk is None:
            return None
        reasons = [candidate.finish_reason for candidate in chunk.candidates or ()]
        if any(reasons) or (chunk.prompt_feedback and chunk.prompt_feedback.block_reason):
            self.cut = False
        return data
