"""Filters of streamed text: split surrogate pairs, `<think>` thoughts, and stop texts."""

from collections.abc import Sequence

from router.chat import repaired
from router.value import Mutable, Value


class Joined(Mutable, gc=False):
    """A filter of streamed text that joins surrogate pairs split between pieces; a half without its other half becomes U+FFFD."""

    half: str = ""
    """The first half of a pair, held back."""

    def feed(self, piece: str) -> str:
        """Return this piece after a half held back before; lone halves become U+FFFD. A first half at the piece's end is held back."""
        if not self.half and piece.isascii():
            return piece
        piece, self.half = self.half + piece, ""
        if piece and "\ud800" <= piece[-1] <= "\udbff":
            piece, self.half = piece[:-1], piece[-1]
        return repaired(piece)

    def end(self) -> str:
        """Return U+FFFD if a half is still held back, else an empty text."""
        half, self.half = self.half, ""
        return "\ufffd" if half else ""


THINK, THOUGHT = "<think>", "</think>"
MAX_BLANK = 64
"""Limit of white space before `<think>`, in characters."""


class Opening(Mutable, gc=False):
    """A filter for the start of an answer, where a model may write its thoughts as `<think>…</think>`.
    `over` is true after the closing tag, or once other text came. A closing tag alone is text.
    """

    held: str = ""
    """Text that may be the beginning of a tag, held back."""
    within: bool = False
    """True once the opening tag was read."""
    over: bool = False

    def feed(self, piece: str) -> tuple[str, str]:
        """Return (thought, text), as far as both are certain; either may be empty. What may be the beginning of a tag is held back."""
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
    """A filter that ends the text of an answer before the first of the `stops`. `over` is true once one was found."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held: str = ""
        """Text that may be the beginning of a stop text, held back."""
        self.over = False

    def feed(self, piece: str) -> str:
        """Return the text before the first stop text, and set `over` if there is one; hold back what may be the beginning of one."""
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
        """Return the text still held back, perhaps none: the answer ended, so it was not the beginning of a stop text."""
        held, self._held = self._held, ""
        return held


class AnswerLimits(Value, frozen=True):
    """Limits at which the router ends an answer, because the model does not take them as parameters.
    stops: texts before which it ends
    tokens: maximum of tokens of text and thoughts, estimated at four bytes each; None if the provider enforces the limit
    """

    stops: tuple[str, ...] = ()
    tokens: int | None = None


UNBOUND = AnswerLimits()
"""No limits for the router to enforce."""
