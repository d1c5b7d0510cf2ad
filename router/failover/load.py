"""The load and the latency of a target, reported by the requests that ask it. All times are in seconds."""

import math
import time
from collections import deque
from itertools import islice

from router.config.declaration import BreakerConfig
from router.failover.breaker import Clock

DECAY = 10.0
"""Seconds in which an old time to first token loses two thirds of its weight."""
LATEST = 256
"""Starts that are kept of each target, the latest ones."""
KNOWN = 20
"""Starts that are needed before a quantile is computed from them."""


class Load:
    """The requests in flight to one target and its times to first token, over all routes that ask it."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self.busy = 0
        """Requests in flight."""
        self._starts: deque[tuple[float, float]] | None = None
        """The time to first token of each of the latest answers, with the time at which it started; None before any: a deque takes 760 bytes."""
        self._unread = 0
        """The newest of them that `_latency` does not include yet."""
        self._latency = 0.0
        self._seen = clock()

    def started(self, seconds: float, now: float) -> None:
        """Record the time to first token (TTFT) of an answer. `now`: the time by the clock of the load."""
        if self._unread == LATEST:
            self._read()  # else a peak would be dropped before it counts
        if self._starts is None:
            self._starts = deque(maxlen=LATEST)
        self._starts.append((seconds, now))
        self._unread += 1

    @property
    def cost(self) -> float:
        """The estimated seconds that one more request waits: time to first token (peak EWMA) × (requests in flight + 1); 0 at first."""
        self._read()
        return self._latency * math.exp((self._seen - self._clock()) / DECAY) * (self.busy + 1)

    def _read(self) -> None:
        """Include the newest starts in `_latency`."""
        starts = self._starts or ()
        for seconds, now in islice(starts, len(starts) - self._unread, None):
            weight = math.exp((self._seen - now) / DECAY)
            faded = self._latency * weight
            # A peak counts at once and fades: a plain average would show a stall only when it is over.
            self._latency = seconds if seconds > faded else faded + seconds * (1 - weight)
            self._seen = now
        self._unread = 0

    def usual(self, share: float) -> float | None:
        """Return the seconds within which this share (0 to 1) of the LATEST answers started (a quantile); None before KNOWN starts."""
        starts = self._starts or ()
        if len(starts) < KNOWN:
            return None
        return sorted(seconds for seconds, _ in starts)[min(len(starts) - 1, int(share * len(starts)))]


class Pace:
    """A record of a target's slow starts. After `failures` in a row within `within` seconds, others are asked first for a while."""

    def __init__(self, declared: BreakerConfig, clock: Clock = time.monotonic) -> None:
        self._declared = declared
        self._clock = clock
        self._slow: list[float] = []
        """Times of the newest slow starts, at most `failures`."""
        self._until = -math.inf

    @property
    def slow(self) -> bool:
        """True for `open` seconds after too many slow starts in a row: other targets are then asked first."""
        return self._clock() < self._until

    def abandoned(self, seconds: float) -> None:
        """Record a wait for the first token that was given up: as a slow start if it was longer than `slow`, and else not at all."""
        if self._declared.slow is not None and seconds > self._declared.slow:
            self.started(seconds)

    def started(self, seconds: float) -> None:
        """Record the time to first token of an answer, in seconds. Slow starts in a row make the target slow; a quick one ends the row."""
        if self._declared.slow is None or seconds <= self._declared.slow:
            self._slow = []
            return
        now = self._clock()
        self._slow = [*self._slow, now][-self._declared.failures :]
        # Slow starts are not forgotten when the time is over: after one more, other targets go first again.
        if len(self._slow) == self._declared.failures and now - self._slow[0] <= self._declared.within:
            self._until = now + self._declared.open
