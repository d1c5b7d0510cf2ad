"""How busy a target is, and how soon it starts to speak. Told by those who ask it; seconds throughout."""

import math
import time
from collections import deque

from router.config.declaration import Breaker
from router.failover.breaker import Clock

DECAY = 10.0
"""Seconds in which an old time to the first token loses two thirds of its weight."""
KNOWN = 20
"""Starts that must have been seen before anything is learned from them."""


class Load:
    """The load of one target, over every route that asks it."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self.busy = 0
        """Questions it is answering now."""
        self._starts: deque[float] = deque(maxlen=256)
        self._latency = 0.0
        self._seen = clock()

    def started(self, seconds: float) -> None:
        """It started to speak after this time."""
        self._starts.append(seconds)
        faded, now = self._faded(), self._clock()
        weight = math.exp((self._seen - now) / DECAY)
        # A peak counts at once and fades: whoever averages learns of a stall when it is over.
        self._latency = seconds if seconds > faded else self._latency * weight + seconds * (1 - weight)
        self._seen = now

    @property
    def cost(self) -> float:
        """What one more question would wait, roughly: the time to the first token (peak-EWMA), for each that is there already."""
        return self._faded() * (self.busy + 1)

    def usual(self, share: float) -> float | None:
        """The time by which this share of the answers had started; None while too few are known."""
        if len(self._starts) < KNOWN:
            return None
        return sorted(self._starts)[min(len(self._starts) - 1, int(share * len(self._starts)))]

    def _faded(self) -> float:
        return self._latency * math.exp((self._seen - self._clock()) / DECAY)


class Pace:
    """Whether a target has been slow to start, again and again. Such a one is not left alone: others are asked before it."""

    def __init__(self, declared: Breaker, clock: Clock = time.monotonic) -> None:
        self._declared = declared
        self._clock = clock
        self._slow: deque[float] = deque(maxlen=declared.failures)
        self._until = -math.inf

    @property
    def slow(self) -> bool:
        """Whether others should be asked first now."""
        return self._clock() < self._until

    def abandoned(self, seconds: float) -> None:
        """Nobody waited for it any longer. That says something only where it was slow already."""
        if self._is_slow(seconds):
            self.started(seconds)

    def started(self, seconds: float) -> None:
        """It started to speak after this time."""
        if not self._is_slow(seconds):
            self._slow.clear()
            return
        now = self._clock()
        self._slow.append(now)
        # They are not forgotten when its time is over: one more slow start, and others go first again.
        if len(self._slow) == self._declared.failures and now - self._slow[0] <= self._declared.within:
            self._until = now + self._declared.open

    def _is_slow(self, seconds: float) -> bool:
        return self._declared.slow is not None and seconds > self._declared.slow
