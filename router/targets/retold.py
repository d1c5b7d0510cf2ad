"""A stream of events, told again in the one form in which LiteLLM's readers all read it.

A comment, another field than `data`, a byte-order mark, an event that is no object: each is the end of one reader or another, or costs
it words. No I/O: `feed` what came, send on what that makes.
"""

import msgspec

from router.errors import TargetError
from router.targets import http, openai, sse
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
        return b"".join(map(_event, filter(self._hear, self._frames.feed(piece) if piece else self._frames.end())))

    def _hear(self, data: bytes) -> bool:
        """Whether the data of an event is to be told."""
        if data != openai.DONE and http.decoded(data, openai.DECODE) is None:
            return False
        try:
            self._reader.frame(data)
        except TargetError:
            return not self.heard.answered  # after the answer it comes too late to matter
        self.heard.take()
        return True


def _event(data: bytes) -> bytes:
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

    def _hear(self, data: bytes) -> bool:
        chunk = http.decoded(data, GOOGLES)
        if chunk is None:
            return False
        reasons = [candidate.finish_reason for candidate in chunk.candidates or ()]
        if any(reasons) or (chunk.prompt_feedback and chunk.prompt_feedback.block_reason):
            self.cut = False
        return True
