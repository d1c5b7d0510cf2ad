"""Going on where another target broke off: how it is asked, and how its words are joined to those already said.

    said        The quick brown fox jum
    asked       … with these words as the assistant's own (prefill), or with the wish to go on from them exactly
    answered    ped over            → ped over             it went on
                fox jumped over     → ped over             it took up its last words again
                The quick brown fox jumped over → ped over  it began anew

Everything that affects how two halves become one answer lives here. What cannot be joined without a repeated or a
missing word is not joined: Diverged.
"""

import re
from dataclasses import dataclass, field

from router.chat import Ask, Message
from router.events import Event, Text, ToolCall

WISH = (
    "Your answer above was cut off by a technical fault. Go on from exactly where it stopped, in the middle of the sentence or "
    "word if need be: begin with the very next character. Repeat nothing, apologise for nothing, and say nothing about this."
)
REPEATED = 12
"""Characters that must agree before they count as said again: fewer agree by chance (`the `, `, and `)."""
MOST_HELD = 200_000
"""Characters of a new beginning that are held, waiting for it to catch up."""


class Diverged(Exception):
    """The new words are another answer, not the rest of this one."""


def prefilled(ask: Ask, said: str) -> Ask:
    """The question with the answer so far as the assistant's own last words, which the model goes on from. No white space
    at their end: Anthropic refuses that.
    """
    return ask.with_messages(*ask.messages, Message("assistant", (said.rstrip(),)))


def wished(ask: Ask, said: str) -> Ask:
    """The question with the answer so far and the wish that it go on."""
    return ask.with_messages(*ask.messages, Message("assistant", (said.rstrip(),)), Message("user", (WISH,)))


class Splice:
    """Joins a continuation to what was said: holds its first words until it is clear which of the three it is."""

    def __init__(self, said: str) -> None:
        self._said = said
        self._held = ""
        self._joined = not said.strip()
        self._owed = len(said) - len(said.rstrip())
        """White space that was said already, and comes again: a continuation begins after the last word."""
        self._same: int | None = None
        """Characters that both have at their beginning, once they differ: it is looked for once, not with every piece."""
        self._passed: int | None = None
        """Characters of a new beginning in other words, which are looked through as they come and not held."""

    def feed(self, piece: str) -> str:
        """What of the continuation may go out now."""
        if self._joined:
            return self._paid(piece)
        self._held += piece
        return self._caught_up(over=False) if self._passed is not None else self._decide(over=False)

    def end(self) -> str:
        """The continuation is over: the rest of it. Diverged where it began anew and never got as far."""
        if self._joined:
            return ""
        return self._caught_up(over=True) if self._passed is not None else self._decide(over=True)

    def _decide(self, *, over: bool) -> str:
        said, new = self._said, self._held
        bare = new.lstrip()
        if not bare:
            return self._join("") if over else ""
        start = said.lstrip()
        # It began anew: what is already said is passed over.
        if bare.startswith(start.rstrip()):
            return self._join(bare[len(start.rstrip()) :])
        if start.startswith(bare) and not over:
            return ""
        if self._same is None:
            self._same = _common(start, bare)
        if self._same >= max(REPEATED, len(start) // 4):
            self._passed, self._held = 0, bare
            return self._caught_up(over=over)
        # It took up its last words again: as long as all of it could be those, more is waited for.
        if not over and len(bare) < len(said) and _ends_with_start_of(said, bare):
            return ""
        again = _overlap(said, bare)
        return self._join(bare[again:] if again else new)

    def _caught_up(self, *, over: bool) -> str:
        """It began anew, in other words somewhere: it joins where the last words that were said stand in it again."""
        tail = self._said[-self._owed - 4 * REPEATED : len(self._said) - self._owed]
        at = self._held.find(tail)
        if at >= 0:
            return self._join(self._held[at + len(tail) :])
        seen = max(0, len(self._held) - len(tail) + 1)
        self._passed, self._held = (self._passed or 0) + seen, self._held[seen:]
        if over or self._passed > MOST_HELD:
            raise Diverged
        return ""

    def _join(self, text: str) -> str:
        self._joined = True
        self._held = ""
        return self._paid(text)

    def _paid(self, text: str) -> str:
        """The text without the white space that was said already."""
        while self._owed and text and text[0].isspace():
            text, self._owed = text[1:], self._owed - 1
        if text:
            self._owed = 0
        return text


def _common(one: str, other: str) -> int:
    """How many characters agree from the beginning."""
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))


def _ends_with_start_of(said: str, new: str) -> bool:
    """Whether `new` could still turn out to repeat words at the end of `said`: it stands in it, from the start of a word on."""
    tail = said.rstrip()
    at = tail.find(new, max(0, len(tail) - 2_000))
    while at >= 0:
        if at == 0 or not (tail[at - 1].isalnum() and new[0].isalnum()):
            return True
        at = tail.find(new, at + 1)
    return False


def _overlap(said: str, new: str) -> int:
    """How many characters at the beginning of `new` repeat the end of `said`; 0 where they are too few to be sure."""
    tail = said.rstrip()
    for length in range(min(len(tail), len(new), 2_000), REPEATED - 1, -1):
        if tail.endswith(new[:length]) and re.match(r"\W|\b", tail[-length:]):
            before = tail[-length - 1 : -length]
            if not (before.isalnum() and new[0].isalnum()):
                return length
    return 0


@dataclass(slots=True)
class Heard:
    """What one model call has said so far, over all who said it."""

    called: bool = False
    """Whether it asked for a tool: such an answer is whole as it is."""
    _said: list[str] = field(default_factory=list[str])
    _splice: Splice | None = None

    @property
    def text(self) -> str:
        """Its text."""
        return "".join(self._said)

    def continued(self) -> None:
        """From here on another goes on."""
        self._splice = Splice(self.text)

    def forget(self) -> None:
        """What was said is not passed on: another begins anew."""
        self._said.clear()
        self._splice = None

    def see(self, event: Event) -> Event | None:
        """The event as the client gets it; None where it is held, or was said before."""
        if isinstance(event, ToolCall):
            self.called = True
        if not isinstance(event, Text):
            return event
        text = self._splice.feed(event.text) if self._splice else event.text
        return self._spoken(text)

    def rest(self) -> Event | None:
        """What was held, when the answer ends. Diverged where that cannot be joined."""
        return self._spoken(self._splice.end()) if self._splice else None

    def _spoken(self, text: str) -> Text | None:
        if not text:
            return None
        self._said.append(text)
        return Text(text)
