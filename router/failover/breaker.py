"""A target that keeps failing is left alone for a while, then tried by one request at a time.

    closed ──failures within a time──▶ open ──its time is over──▶ half open: one probe ──it speaks──▶ on trial ──a success──▶ closed
                                        ▲────────────────────────────────────┘ it fails                   │
                                        ▲─────────────────────────────────────────────────────────────────┘ one failure

What comes of a question counts for the time in which it was let in: those of before it opened say nothing afterwards, good or bad.
It knows no clock but the one it is given, and no target but by what is told to it.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from router.config.declaration import Breaker as Declared

Clock = Callable[[], float]
State = Literal["closed", "half_open", "open"]

PATIENT = 4
"""Of so many probes of a target that was silent, one is waited for as long as any request: it may be slow to start now."""
MOST_LEFT = 60.0
"""Seconds. Who wants to be left alone for longer (a provider once said three days) is asked again after this."""


@dataclass(frozen=True, slots=True, eq=False)
class Admission:
    """Leave to ask a target: one for everybody while its breaker is closed; while it is half open each probe has its own.

    patience: seconds for which its first word is waited at most
    """

    patience: float = math.inf


class Hint(Protocol):
    """What other replicas say of a target, and are told. Neither opens a breaker: each finds out for itself."""

    @property
    def warned(self) -> bool:
        """Whether one of them leaves it alone now."""
        ...

    def tell(self, seconds: float) -> None:
        """It is left alone here for so long; with 0, no longer."""
        ...


class _Nobody:
    """There are no others."""

    warned = False

    def tell(self, seconds: float) -> None:
        """To nobody."""


NOBODY = _Nobody()


class Breaker:
    """The breaker of one target, shared by every route that asks it in the same way."""

    def __init__(self, declared: Declared, clock: Clock = time.monotonic, hint: Hint = NOBODY) -> None:
        self.hint = hint
        self._declared = declared
        self._clock = clock
        self._failed: deque[float] = deque(maxlen=declared.failures)
        self._everybody: Admission | None = Admission()
        """None while it is open, or half open."""
        self._doubts: dict[object, float] = {}
        """Callers of whom it refused a question without saying why, since it last answered anybody, and when it did."""
        self._trial = False
        """Whether a probe speaks, or spoke, and no answer came to its end since."""
        self._until = -math.inf
        """When the next probe may be asked."""
        self._probe: Admission | None = None
        self._patient: Admission | None = None
        """A probe beside which others are asked, because it may take long."""
        self._silences = 0
        """Since it opened, in a row."""
        self._free = -math.inf
        """When it may be asked again by its own word."""

    def admit(self) -> Admission | None:
        """Leave to ask the target now; None where it may not be asked. Whoever has it says what came of it, or lets it `rest`."""
        now = self._clock()
        if now < self._free:
            return None
        if self._everybody is not None:
            return self._everybody
        if self._probe is not None or now < self._until:
            return None
        # Counted from here: a probe that takes long to fail would keep a target that is well again waiting for as long.
        self._until = now + self._declared.open
        if self._silences and self._silences % PATIENT == 0 and self._patient is None:
            self._patient = Admission()
            return self._patient
        self._probe = Admission(self._declared.open) if self._silences else Admission()
        return self._probe

    @property
    def state(self) -> State:
        """How it stands: half open is one whose time is over, whether its probe runs or not."""
        now = self._clock()
        if now < self._free:
            return "open"
        if self._everybody is not None:
            return "closed"
        return "half_open" if self._probe is not None or now >= self._until else "open"

    @property
    def by_its_word(self) -> bool:
        """Whether nothing but the target's own word keeps it from being asked."""
        return self._everybody is not None and self._clock() < self._free

    def wait(self) -> float:
        """Seconds until it may be asked, as far as is known."""
        until = self._free if self._everybody is not None else max(self._free, self._until)
        return max(0.0, until - self._clock())

    def began(self, admission: Admission) -> None:
        """It speaks: others may ask it too. Whether that was a success shows at the end."""
        if admission is self._probe or admission is self._patient:
            self._everybody = admission
            self._trial = True
            self._probe = self._patient = None

    def succeeded(self, admission: Admission) -> None:
        """It answered, to the end."""
        self.began(admission)
        if admission is self._everybody:
            if self._trial:
                self.hint.tell(0)
            self._trial = False
            self._failed.clear()
            self._doubts.clear()

    def failed(self, admission: Admission) -> None:
        """It did not. A probe that fails opens it again; so does the last failure of too many, and any failure on trial."""
        if admission is self._probe:
            self._probe = None
            self._silences = 0
            self.hint.tell(self.wait())
        elif admission is self._everybody:
            now = self._clock()
            self._failed.append(now)
            if self._trial or (len(self._failed) == self._declared.failures and now - self._failed[0] <= self._declared.within):
                self.open()

    def fell_silent(self, admission: Admission) -> None:
        """It failed, and whoever asked waited for that. The next probe is not waited for as long."""
        silences = self._silences + 1 if admission is self._probe else 1
        opens = admission is self._probe or admission is self._everybody
        self.failed(admission)
        if opens and self._everybody is None:
            self._silences = silences

    def denied(self, admission: Admission) -> None:
        """Its key does not work: it is left alone, however often it failed."""
        if admission is self._probe:
            self.failed(admission)
        elif admission is self._everybody:
            self.open()

    def doubted(self, admission: Admission, owner: str) -> None:
        """It refused a question, and may refuse all: it is left alone once it has refused as many callers in a row as failures open it.
        One caller, or one end user of a caller (`Ask.owner`), is counted once, however often it asks; without names each question counts.
        """
        if admission is not self._everybody:
            self.rest(admission)
            return
        now = self._clock()
        self._doubts = {who: when for who, when in self._doubts.items() if now - when <= self._declared.within}
        self._doubts[owner or object()] = now
        if len(self._doubts) >= self._declared.failures:
            self.open()

    def leave(self, seconds: float) -> None:
        """It said when it may be asked again: not before, whoever asks."""
        self._free = max(self._free, self._clock() + min(seconds, MOST_LEFT))
        self.hint.tell(self.wait())

    def open(self) -> None:
        """Leave it alone from now on."""
        self._shut(self._clock() + self._declared.open)
        self.hint.tell(self.wait())

    def half_open(self) -> None:
        """Its time is over: one request may try it."""
        self._free = -math.inf
        self._shut(self._clock())

    def rest(self, admission: Admission) -> None:
        """Nothing came of it, good or bad: whoever asked has gone, or what was asked was at fault."""
        if admission is self._probe:
            self._probe = None
            self._until = self._clock()
        if admission is self._patient:
            self._patient = None

    def _shut(self, until: float) -> None:
        self._everybody = self._probe = self._patient = None
        self._trial = False
        self._until = until
        self._silences = 0
        self._failed.clear()
        self._doubts.clear()
