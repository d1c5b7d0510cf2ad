"""The continuation of an answer by another target: how it is asked, and how its text is joined to that already sent.

    sent        The quick brown fox jum
    asked       … with this text as the assistant's last message (prefill), or with a request to continue from it exactly
    answered    ped over            → ped over             it continued
                fox jumped over     → ped over             it repeated the last words
                The quick brown fox jumped over → ped over  it began again

Halves that cannot be joined without a repeated or a missing word are not joined: Diverged.
"""

from router.chat import Ask, Message
from router.events import Text
from router.value import Mutable, field

WISH = (
    "Your answer above was cut off by a technical fault. Go on from exactly where it stopped, in the middle of the sentence or "
    "word if need be: begin with the very next character. Repeat nothing, apologise for nothing, and say nothing about this."
)
REPEATED = 12
"""Characters that must agree before they count as a repetition: fewer agree by chance (`the `, `, and `)."""
MAX_HELD_CHARACTERS = 200_000
"""Characters of a restarted answer that are read at most, until it reaches the end of the text before."""


class Diverged(Exception):
    """The continuation is another answer, not the rest of this one."""


def prefilled(ask: Ask, said: str) -> Ask:
    """Return the question with the text so far as the assistant's last message, which the model continues.
    White space at its end is left out: Anthropic refuses it.
    """
    return ask.with_messages(*ask.messages, Message("assistant", (said.rstrip(),)))


def wished(ask: Ask, said: str) -> Ask:
    """Return the question with the text so far and a user message that asks the model to continue it."""
    return ask.with_messages(*ask.messages, Message("assistant", (said.rstrip(),)), Message("user", (WISH,)))


class Splice:
    """The joint between the text so far and its continuation, whose first words are held until it is clear how it begins.
    It may go on from the end of that text, repeat the last words, or begin again.
    """

    def __init__(self, said: str) -> None:
        self._said = said
        self._held = ""
        self._joined = not said.strip()
        self._owed = len(said) - len(said.rstrip())
        """Characters of white space at the end of the text before, which a continuation may repeat."""
        self._same: int | None = None
        """Length of the common beginning of both texts, computed once they differ; None before."""
        self._passed: int | None = None
        """Characters of a restarted answer in other words that were searched and dropped; None if it did not restart so."""

    def feed(self, piece: str) -> str:
        """Add a piece of the continuation, and return the text that can be sent now; "" while it is held or repeats text.
        Diverged if a continuation that began again does not reach the end of the text before within MAX_HELD_CHARACTERS.
        """
        if self._joined:
            return self._paid(piece)
        self._held += piece
        return self._decide(over=False)

    def end(self) -> str:
        """End the continuation, and return its held rest; "" without any.
        Diverged if it began again and did not reach the end of the text before.
        """
        return "" if self._joined else self._decide(over=True)

    def _decide(self, *, over: bool) -> str:
        if self._passed is not None:
            return self._caught_up(over=over)
        said, new = self._said, self._held
        bare = new.lstrip()
        if not bare:
            return self._join("") if over else ""
        start = said.lstrip()
        # It began anew: text that was already sent is passed over.
        if bare.startswith(start.rstrip()):
            return self._join(bare[len(start.rstrip()) :])
        if start.startswith(bare) and not over:
            return ""
        if self._same is None:
            pairs = enumerate(zip(start, bare, strict=False))
            self._same = next((at for at, (one, other) in pairs if one != other), min(len(start), len(bare)))
        if self._same >= max(REPEATED, len(start) // 4):
            self._passed, self._held = 0, bare
            return self._caught_up(over=over)
        # It repeats the last words: as long as all of it could be those, wait for more.
        if not over and len(bare) < len(said) and _ends_with_start_of(said, bare):
            return ""
        again = _overlap(said, bare)
        return self._join(bare[again:] if again else new)

    def _caught_up(self, *, over: bool) -> str:
        """Search for the last words of the text before in a continuation that began again in other words; return the text after them.
        "" while they are not found; Diverged at its end (`over`), or after MAX_HELD_CHARACTERS, without them.
        """
        tail = self._said[-self._owed - 4 * REPEATED : len(self._said) - self._owed]
        at = self._held.find(tail)
        if at >= 0:
            return self._join(self._held[at + len(tail) :])
        seen = max(0, len(self._held) - len(tail) + 1)
        self._passed, self._held = (self._passed or 0) + seen, self._held[seen:]
        if over or self._passed > MAX_HELD_CHARACTERS:
            raise Diverged
        return ""

    def _join(self, text: str) -> str:
        self._joined = True
        self._held = ""
        return self._paid(text)

    def _paid(self, text: str) -> str:
        """Return the text without the leading white space that was sent already."""
        while self._owed and text and text[0].isspace():
            text, self._owed = text[1:], self._owed - 1
        self._owed = 0 if text else self._owed
        return text


def _ends_with_start_of(said: str, new: str) -> bool:
    """Return whether `new` occurs near the end of `said`, at the start of a word: with more text it may prove to repeat that end."""
    tail = said.rstrip()
    at = tail.find(new, max(0, len(tail) - 2_000))
    while at >= 0:
        if at == 0 or not (tail[at - 1].isalnum() and new[0].isalnum()):
            return True
        at = tail.find(new, at + 1)
    return False


def _overlap(said: str, new: str) -> int:
    """Return how many characters at the beginning of `new` repeat the end of `said`; 0 if too few to be sure."""
    tail = said.rstrip()
    found = (at for at in range(min(len(tail), len(new), 2_000), REPEATED - 1, -1) if tail.endswith(new[:at]))
    return next((at for at in found if not (tail[-at - 1 : -at].isalnum() and new[0].isalnum())), 0)


class Transcript(Mutable):
    """The text of one model call so far, over all targets that wrote it."""

    called: bool = False
    """True if the model called a tool: the answer can end after that."""
    said: list[str] = field(default_factory=list[str])
    """The text so far, in pieces."""
    joined: bool = True
    """True while no other target has taken over: text is then passed on as it comes."""
    _splice: Splice | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.said)

    def continued(self) -> None:
        """Note that another target continues: the text of all later events is joined to the text so far (see `Splice`)."""
        self._splice, self.joined = Splice(self.text), False

    def forget(self) -> None:
        """Drop the text, which was not passed on: another target begins again."""
        self.said.clear()
        self._splice, self.joined = None, True

    def joint(self, text: str) -> Text | None:
        """Record a piece of a continuation, and return what the client gets of it; None if it is held back or repeats text.
        Diverged if it cannot be joined to the text before.
        """
        assert self._splice is not None
        return self._spoken(self._splice.feed(text))

    def rest(self) -> Text | None:
        """Return the held text at the end of the answer; None without any. Diverged if it cannot be joined."""
        return self._spoken(self._splice.end()) if self._splice else None

    def _spoken(self, text: str) -> Text | None:
        if not text:
            return None
        self.said.append(text)
        return Text(text)
