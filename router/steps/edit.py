"""The pipeline step `edit`: trim the answer's text while it streams.

    - edit: {strip: quotes, max_chars: 80}

strip: quotes (a pair around the whole text, and white space), whitespace, or fences (``` around the whole text)
max_chars: the length at which the text is cut off
"""

import re
from contextlib import aclosing
from functools import cache
from typing import Literal

from router.chat import Ask
from router.errors import Misfit
from router.events import Answer, Events, Failure, Finish, Start, Step, Text
from router.value import Value


class Strip(Value, frozen=True):
    """The patterns of one kind of `strip`.

    head: text removed at the beginning; its group is not empty if the beginning opened a quote or fence that the tail closes
    undecided: a beginning that may still become a head
    tail: text removed at the end
    loose: an ending that may still become a tail
    """

    head: re.Pattern[str]
    undecided: re.Pattern[str]
    tail: re.Pattern[str]
    loose: re.Pattern[str]


QUOTES = "\"'`“”„‘’«»「」『』"
STRIPS = {
    "whitespace": (r"\s*()", r"\s*", r"\s*\Z", r"\s*\Z"),
    "quotes": (rf"\s*([{QUOTES}]?)\s*", rf"\s*[{QUOTES}]?\s*", rf"\s*[{QUOTES}]?\s*\Z", rf"[\s{QUOTES}]*\Z"),
    "fences": (
        r"\s*(```[^\n`]*\n|)",
        r"\s*(`{0,3}|```[^\n`]*)",
        r"\s*```\s*\Z",
        r"\s*(?:`{1,3}\s*)?\Z",  # not \s*`{0,3}\s*: 2,000 blank lines took 6 s
    ),
}
"""Kind of `strip` → its patterns."""


@cache
def ends_of(strip: str) -> Strip:
    """Return the patterns of one kind of `strip`, compiled when a step first uses them: that takes 1 ms of a start."""
    return Strip(*map(re.compile, STRIPS[strip]))


BLANKS = re.compile(r"\s*\Z")


def edit(strip: Literal["quotes", "whitespace", "fences"] | None = None, max_chars: int | None = None) -> Step:
    """Trim the answer's text while it streams, by one option or both. JSON that was requested as structured output is left unchanged.

    strip: what to remove from both ends: quotes, whitespace or fences
    max_chars: the length at which the text is cut off, at least 1
    """
    if strip is None and max_chars is None:
        raise Misfit("edit needs `strip` or `max_chars`, or both")
    if max_chars is not None and max_chars < 1:
        raise Misfit("max_chars must be at least 1", "max_chars")
    ends = ends_of(strip) if strip else None

    def step(answer: Answer) -> Answer:
        async def edited(ask: Ask) -> Events:
            trim = Trim(ends, max_chars)
            async with aclosing(answer(ask)) as events:
                async for event in events:
                    match event:
                        case Text(text):
                            if text := trim.feed(text):
                                yield Text(text)
                            continue
                        case Start() | Finish() | Failure():
                            # The held text is the end of one model's words: it goes out before the next model's.
                            if rest := trim.end():
                                yield Text(rest)
                        case _:
                            pass
                    yield event

        return lambda ask: answer(ask) if ask.output is not None else edited(ask)  # JSON stays as it was checked

    return step


class Trim:
    """A trimmer of a text that arrives in pieces: it removes `ends` (None: nothing), and cuts the text off after `limit` characters."""

    def __init__(self, ends: Strip | None, limit: int | None) -> None:
        self._ends = ends
        self._left = limit
        self._held = ""
        self._begun = ends is None
        self._opened = False

    def feed(self, text: str) -> str:
        """Add a piece, and return the text that may be sent now: without one that may belong to a removed end, or blanks before a cut."""
        text, self._held = self._held + text, ""
        if self._ends is None:
            kept = len(text.rstrip())  # blanks before the cut go, in whatever piece they came
            self._held = text[kept:]
            return self._cut(text[:kept])
        if not self._begun:
            if self._ends.undecided.fullmatch(text):
                self._held = text
                return ""
            text = self._begin(text)
        if loose := self._ends.loose.search(text):
            text, self._held = text[: loose.start()], text[loose.start() :]
        return self._cut(text)

    def end(self) -> str:
        """Return the held text, trimmed, at the end of the answer or of one model's words; it may be empty."""
        text, self._held = self._held, ""
        if self._ends is None or not text:
            return self._cut(text)
        if not self._begun:
            text = self._begin(text)
        return self._cut((self._ends.tail if self._opened else BLANKS).sub("", text, count=1))

    def _begin(self, text: str) -> str:
        assert self._ends is not None
        self._begun = True
        head = self._ends.head.match(text)
        self._opened = bool(head and head[1])
        return text[head.end() :] if head else text

    def _cut(self, text: str) -> str:
        if self._left is None:
            return text
        text = text[: self._left]
        self._left -= len(text)
        return text if self._left else text.rstrip()
