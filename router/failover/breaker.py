"""A circuit breaker: a target that keeps failing gets no requests for a while, then one probe at a time.

    closed ──failures within a time──▶ open ──its time is over──▶ half open: one probe ──first word──▶ on trial ──a success──▶ closed
                                        ▲────────────────────────────────────┘ probe fails                │
                                        ▲─────────────────────────────────────────────────────────────────┘ one failure

A result counts for the period in which its request was admitted: results of requests from before the breaker opened are ignored afterwards,
successes and failures alike. The breaker knows no clock but the one it is given, and no target but by what is reported to it.
"""

import math
import time
from collections.abc import Callable
from typing import Literal, Protocol

from router.config.declaration import BreakerConfig as Declared
from router.value import Mutable

Clock = Callable[[], float]
State = Literal["closed", "half_open", "open"]

PATIENT = 4
"""Every 4th probe of a silent target waits as long as any request: the target may have become slow to start."""
MAX_RETRY_AFTER_S = 60.0
"""Seconds of a `Retry-After` at most: a target that asks for a longer pause (a provider once asked for three days) is asked again then."""


class Permit(Mutable):
    """Permission to ask a target. While the breaker is closed all requests share one; while it is half-open each probe has its own.
    patience: seconds to wait for the first word at most; the route's own limit holds, too
    probes: true for a probe until its first word, which is reported to the breaker (`Breaker.began`): from then on all requests share it
    """

    patience: float = math.inf
    probes: bool = False


class Hint(Protocol):
    """The hint of one target, shared between replicas: whether its breaker is open at one. Each replica's own breaker decides."""

    @property
    def warned(self) -> bool:
        """True while the breaker of any replica is open for this target, as last read; this replica's own counts, too."""
        ...

    def publish(self, seconds: float) -> None:
        """Publish that the breaker is open here for so many seconds; 0 withdraws the hint."""
        ...


class _NoHint:
    """The hint of a process without other replicas."""

    warned = False

    def publish(self, seconds: float) -> None:
        """Do nothing."""


NO_HINT = _NoHint()


class Breaker:
    """The circuit breaker of one target, shared by all routes with equal `breaker` and `retry` settings."""

    def __init__(self, declared: Declared, clock: Clock = time.monotonic, hint: Hint = NO_HINT) -> None:
        self.hint = hint
        self._declared = declared
        self._clock = clock
        self._failed: list[float] = []
        """Times of the newest failures, at most `failures`. A deque would take 600 bytes for each target before any."""
        self._everybody: Permit | None = Permit()
        """The permit of every request while the breaker is closed or on trial; None while it is open or half-open."""
        self._doubts: dict[object, float] = {}
        """Callers whose question the target refused without a reason since its last answer → time of the newest such refusal."""
        self.recovering = False
        """True from a failure, a refusal or an opening until an answer completes: only then `succeeded` has something to do."""
        self._trial = False
        """True from a probe's first word until an answer completes."""
        self._until = -math.inf
        """Time from which the next probe may go."""
        self._probe: Permit | None = None
        self._patient: Permit | None = None
        """The permit of a running probe that may take long; other probes are admitted beside it."""
        self._silences = 0
        """Timeouts of probes in a row."""
        self._free = 0.0
        """Time until which the target asked to be left alone (`Retry-After`); 0 if it has not."""

    def admit(self) -> Permit | None:
        """Return a permit to ask the target now; None if it may not be asked. Its holder reports a result, or calls `rest`."""
        if self._everybody is not None:
            return self._everybody if not self._free or self._clock() >= self._free else None
        now = self._clock()
        if now < self._free or self._probe is not None or now < self._until:
            return None
        # Counted from here: a probe that takes long to fail would keep a target that is well again waiting for as long.
        self._until = now + self._declared.open
        if self._silences and self._silences % PATIENT == 0 and self._patient is None:
            self._patient = Permit(probes=True)
            return self._patient
        self._probe = Permit(self._declared.open if self._silences else math.inf, probes=True)
        return self._probe

    @property
    def state(self) -> State:
        """The state of the breaker; `open` also during the target's `Retry-After`, even if the breaker did not open by itself.
        Otherwise it is half-open as soon as its open time is over, with or without a running probe. On trial it is `closed`.
        """
        now = self._clock()
        if now < self._free:
            return "open"
        if self._everybody is not None:
            return "closed"
        return "half_open" if self._probe is not None or now >= self._until else "open"

    @property
    def waits_for_retry_after(self) -> bool:
        """True if only the target's own `Retry-After` keeps it from being asked."""
        return self._everybody is not None and self._clock() < self._free

    def wait(self) -> float:
        """Return the seconds until the target may be asked; 0 if it may be asked now.
        The time is a lower bound: while a probe runs longer than the open time this is 0, and `admit` still returns None.
        """
        until = self._free if self._everybody is not None else max(self._free, self._until)
        return max(0.0, until - self._clock())

    def began(self, permit: Permit) -> None:
        """Record the first word of an answer. After that of a probe the breaker admits all requests, on trial until an answer completes."""
        if permit is self._probe or permit is self._patient:
            permit.patience, permit.probes = math.inf, False
            self._everybody = permit
            self._trial = True
            self._probe = self._patient = None

    def succeeded(self, permit: Permit) -> None:
        """Record a complete answer, which closes the breaker, unless its request was admitted before the breaker opened."""
        if permit.probes:
            self.began(permit)
        if self.recovering and permit is self._everybody:
            if self._trial:
                self.hint.publish(0)
            self._trial = self.recovering = False
            self._failed.clear()
            self._doubts.clear()

    def failed(self, permit: Permit) -> None:
        """Record a failure. The breaker opens on a failed probe, on too many failures, and on any failure on trial.
        Failures of requests that were admitted before it opened, and of a probe that may take long (PATIENT), are ignored.
        """
        if permit is self._probe:
            self._probe = None
            self._silences = 0
            self.hint.publish(self.wait())
        elif permit is self._everybody:
            now = self._clock()
            self.recovering = True
            self._failed = [*self._failed, now][-self._declared.failures :]
            if self._trial or (len(self._failed) == self._declared.failures and now - self._failed[0] <= self._declared.within):
                self.open()

    def fell_silent(self, permit: Permit) -> None:
        """Record a failure by timeout. The next probes wait at most the open time for their first word, except every 4th (PATIENT)."""
        silences = self._silences + 1 if permit is self._probe else 1
        opens = permit is self._probe or permit is self._everybody
        self.failed(permit)
        if opens and self._everybody is None:
            self._silences = silences

    def denied(self, permit: Permit) -> None:
        """Record a refused key, account or model, which opens the breaker at once."""
        if permit is self._probe:
            self.failed(permit)
        elif permit is self._everybody:
            self.open()

    def doubted(self, permit: Permit, owner: str) -> None:
        """Record a refusal without a reason, which may concern this request alone. It counts once for each owner.
        The breaker opens once as many owners as it takes `failures` were refused, within its time and without an answer between.
        owner: the caller, or one of its end users (`Ask.owner`); empty without a name: each question then counts
        """
        if permit is not self._everybody:
            self.rest(permit)
            return
        now = self._clock()
        self.recovering = True
        self._doubts = {who: when for who, when in self._doubts.items() if now - when <= self._declared.within}
        self._doubts[owner or object()] = now
        if len(self._doubts) >= self._declared.failures:
            self.open()

    def leave(self, seconds: float) -> None:
        """Refuse permits for so many seconds, as the target asked for (`Retry-After`), at most MAX_RETRY_AFTER_S. Returns at once."""
        self._free = max(self._free, self._clock() + min(seconds, MAX_RETRY_AFTER_S))
        self.hint.publish(self.wait())

    def open(self) -> None:
        """Open the breaker now, for its full open time, and publish that in its hint for other replicas."""
        self._shut(self._clock() + self._declared.open)
        self.hint.publish(self.wait())

    def half_open(self) -> None:
        """End the open time and any `Retry-After` now: the next request is a probe, also if the breaker was closed."""
        self._free = 0.0
        self._shut(self._clock())

    def rest(self, permit: Permit) -> None:
        """Give back a permit without a result, because the client left or the question was at fault. After a probe another may go at once.
        It does nothing for a permit that all requests share, or whose result was reported already.
        """
        if permit is self._probe:
            self._probe = None
            self._until = self._clock()
        if permit is self._patient:
            self._patient = None

    def _shut(self, until: float) -> None:
        self._everybody = self._probe = self._patient = None
        self.recovering = True
        self._trial = False
        self._until = until
        self._silences = 0
        self._failed.clear()
        self._doubts.clear()
