"""A target that keeps failing is left alone for a while, then tried by one request at a time.

    closed ──failures within a time──▶ open ──its time is over──▶ half open: one probe ──it answers──▶ closed
                                        ▲────────────────────────────────────┘ it fails

It knows no clock but the one it is given, and no target but by what is told to it.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from router.config.declaration import Breaker as Declared

Clock = Callable[[], float]
State = Literal["closed", "half_open", "open"]


class Admission:
    """Leave to ask a target. While its breaker is half open there is one at a time: the probe's."""


CLOSED = Admission()
"""That of everybody, while it is closed."""


class Breaker:
    """The breaker of one target, shared by every route that asks it in the same way."""

    def __init__(self, declared: Declared, clock: Clock = time.monotonic) -> None:
        self._declared = declared
        self._clock = clock
        self._failed: deque[float] = deque(maxlen=declared.failures)
        self._until: float | None = None
        """When it is half open; None while it is closed."""
        self._probe: Admission | None = None

    def admit(self) -> "Admission | None":
        """Leave to ask the target now; None where it may not be asked. Whoever has it says what came of it, or lets it `rest`."""
        if self._until is None:
            return CLOSED
        if self._probe is not None or self._clock() < self._until:
            return None
        self._probe = Admission()
        return self._probe

    @property
    def state(self) -> State:
        """How it stands: half open is one whose time is over, whether its probe runs or not."""
        if self._until is None:
            return "closed"
        return "half_open" if self._probe is not None or self._clock() >= self._until else "open"

    def wait(self) -> float:
        """Seconds until it may be asked, as far as is known."""
        return 0.0 if self._until is None else max(0.0, self._until - self._clock())

    def began(self) -> None:
        """It speaks: others may ask it too. Whether that was a success shows at the end."""
        self._until = None
        self._probe = None

    def succeeded(self) -> None:
        """It answered, to the end."""
        self.began()
        self._failed.clear()

    def failed(self) -> None:
        """It did not. A probe that fails opens it again; so does the last failure of too many."""
        now = self._clock()
        self._failed.append(now)
        many = len(self._failed) == self._declared.failures and now - self._failed[0] <= self._declared.within
        if self._probe is not None or many:
            self.open()

    def open(self) -> None:
        """Leave it alone, however often it failed: its key does not work."""
        self._until = self._clock() + self._declared.open
        self._probe = None
        self._failed.clear()

    def half_open(self) -> None:
        """Its time is over: one request may try it."""
        self._until = self._clock()
        self._probe = None
        self._failed.clear()

    def rest(self, admission: "Admission") -> None:
        """Nothing came of it, good or bad: whoever asked has gone, or what was asked was at fault."""
        if self._probe is admission:
            self._probe = None
