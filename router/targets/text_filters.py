"""Filters of the text that a model writes: halves of surrogate pairs, thoughts written into it, and texts that end it."""

from collections.abc import Sequence
from dataclasses import dataclass

from router.chat import repaired
from router.value import Mutable


class Joined(Mutable):
    """Text whose surrogate pairs are whole: half an emoji waits for its other half, or becomes U+FFFD."""

    half: str = ""
    """Half a pair, which is held back."""

    def feed(self, piece: str) -> str:
        """Return the part of the text whose pairs are complete; hold back a half at its end."""
        if not self.half and piece.isascii():
            return piece
        piece, self.half = self.half + piece, ""
        if piece and "\ud800" <= piece[-1] <= "\udbff":
            piece, self.half = piece[:-1], piece[-1]
        return repaired(piece)

    def end(self) -> str:
        """Return U+FFFD if a half is still held, else nothing."""
        half, self.half = self.half, ""
        return "\ufffd" if half else ""


THINK, THOUGHT = "<think>", "</think>"
MAX_BLANK = 64
"""Characters of white space that may stand before `<think>`."""


class Opening(Mutable):
    """The start of an answer whose model may write its thoughts into it, as `<think>…</think>`.

    It is over after the closing tag, or as soon as there is something else. A closing tag alone is text: which text before it was a
    thought is not known.
    """

    held: str = ""
    """Text that may be the beginning of a tag."""
    within: bool = False
    """True once the opening tag was read."""
    over: bool = False

    def feed(self, piece: str) -> tuple[str, str]:
        """Return the thought and the text after it, as far as both are certain."""
        piece, self.held = self.held + piece, ""
        if not self.within:
            start = piece.lstrip()
            self.within = start.startswith(THINK) and len(piece) - len(start) <= MAX_BLANK
            if not self.within:
                self.over = not THINK.startswith(start) or len(piece) - len(start) > MAX_BLANK
                self.held = "" if self.over else piece
                return "", piece if self.over else ""
            piece = start.removeprefix(THINK)
        thought, tag, text = piece.partition(THOUGHT)
        if tag:
            self.over = True
            return thought, text
        most = len(THOUGHT) - 1
        kept = next((size for size in range(min(most, len(piece)), 0, -1) if THOUGHT.startswith(piece[-size:])), 0)
        self.held = piece[len(piece) - kept :]
        return piece[: len(piece) - kept], ""


class Cutter:
    """A filter that ends an answer where a stop text begins, for a model that takes no `stop`."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held: str = ""
        """Text that may be the beginning of a stop text."""
        self.over = False

    def feed(self, piece: str) -> str:
        """Return the text that is certain to come before every stop text."""
        piece, self._held = self._held + piece, ""
        found = [at for stop in self._stops if (at := piece.find(stop)) >= 0]
        if found:
            self.over = True
            return piece[: min(found)]
        longest = max(map(len, self._stops)) - 1
        kept = next(
            (size for size in range(min(longest, len(piece)), 0, -1) if any(stop.startswith(piece[-size:]) for stop in self._stops)), 0
        )
        self._held = piece[len(piece) - kept :]
        return piece[: len(piece) - kept]

    def end(self) -> str:
        """Return the text still held: the answer is over without a stop text."""
        held, self._held = self._held, ""
        return held


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """Limits at which the router ends an answer, because its model takes no such parameter.

    stops: texts that end it
    tokens: the most that it may have, estimated at four bytes each; None if the request carries the limit
    """

    stops: tuple[str, ...] = ()
    tokens: int | None = None


UNBOUND = AnswerLimits()
"""No limits: the provider ends the answer."""
