"""Counts in this process, by a monotonic clock. Expired counts are removed now and then; keys of addresses and users are bounded.

The library `limits` could count here too. Its memory store searches every key at every hit, each in a thread, and uses the wall clock: a
flood of addresses would stop the process (decision 70).
"""

import asyncio
import heapq
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import TypeVar

from router.quotas.store import ADDRESS, FULLEST, USER, Crowd, Spent, Taken, Window, crowd_of
from router.value import Mutable, Value, field

SWEEP = 1024
"""The least number of new keys between two removals of expired counts; half of all keys if that is more."""
SWEPT = 16
"""Keys that are looked at with each new one, whether their counts have expired: all of them together would hold up the event loop."""
SLICE = 1000
"""Keys that are read before other tasks of the event loop get a turn: about a millisecond's work."""


class CountBounds(Value, frozen=True):
    """The highest numbers of keys that are kept of client addresses and of end users; each key takes about 1 KiB.

    Beyond a bound, the key of its kind that was used longest ago is dropped: its count begins anew. A flood from so many addresses has that
    many times the limit in any case. Users and addresses do not displace each other. Keys of routes and callers, and counts of concurrent
    places, are not bounded.
    """

    addresses: int = 65_536
    users: int = 65_536


class _Count(Mutable):
    """The count of one key. `group`: the bounded group of keys (addresses or users) that the key belongs to; None for another key."""

    seconds: float
    group: OrderedDict[str, None] | None


C = TypeVar("C", bound=_Count)


class _Window(_Count):
    """The times of the requests that count in a sliding window of `seconds`, the oldest first. `drop` removes expired ones."""

    times: deque[float] = field(default_factory=deque[float])

    def drop(self, now: float) -> None:
        while self.times and self.times[0] <= now - self.seconds:
            self.times.popleft()


class _Counter(_Count):
    """The amounts spent in the current window and in the one before. Windows have the length `seconds`, and are numbered."""

    number: int = 0
    now: float = 0.0
    before: float = 0.0

    def turn(self, now: float) -> float:
        """Begin a new window if `now` is beyond the current one; return the seconds until the window of `now` ends."""
        number, gone = divmod(now, self.seconds)
        if number != self.number:
            self.before = self.now if number == self.number + 1 else 0.0
            self.number, self.now = int(number), 0.0
        return self.seconds - gone

    def window(self, now: float) -> Window:
        """Return the amounts as they count now."""
        return Window(self.seconds, self.turn(now), self.now, self.before)


class Local:
    """A store of counts in the memory of this process. `clock`: seconds of a monotonic clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, bounds: CountBounds = CountBounds()) -> None:
        self._clock, self._bounds = clock, bounds
        self._windows: dict[str, _Window] = {}
        self._counters: dict[str, _Counter] = {}
        self._inside: dict[str, int] = {}
        self._bounded: dict[str, OrderedDict[str, None]] = {ADDRESS: OrderedDict(), USER: OrderedDict()}
        """Prefix of a bounded group of keys → its keys, the one used last at the end."""
        self._new = 0
        self._unswept: list[str] = []
        """Keys whose counts are still to be looked at, whether they have expired."""

    def __len__(self) -> int:
        return len(self._windows) + len(self._counters) + len(self._inside)

    async def take(self, key: str, most: int, seconds: float) -> Taken:
        """Take one of `most` requests in any `seconds` seconds, a sliding window. Return whether it is allowed and how many are left."""
        now = self._clock()
        window = self._of(self._windows, key, _Window, seconds, now)
        window.drop(now)
        times = window.times
        allowed = len(times) < most
        if allowed:
            times.append(now)
        return Taken(allowed, most - len(times), times[0] + seconds - now)

    def give_back(self, key: str, taken: Taken) -> None:  # noqa: ARG002 - one is as good as another
        """Give back a request that was taken but not used: the newest one that still counts is removed, whichever `taken` is."""
        if (window := self._windows.get(key)) is not None and window.times:
            window.times.pop()

    async def spent(self, key: str, seconds: float) -> Spent:  # noqa: ARG002 - the counter knows them
        """Return the amounts spent under this key in the current window of `seconds` seconds and in the one before; empty without any."""
        counter = self._counters.get(key)
        return Spent() if counter is None else Spent((counter.window(self._clock()),))

    def spend(self, key: str, amount: float, seconds: float) -> None:
        """Add an amount (tokens or dollars) that was spent now. `seconds`: length of the limit's window."""
        now = self._clock()
        counter = self._of(self._counters, key, _Counter, seconds, now)
        counter.turn(now)
        counter.now += amount

    def collect(self, key: str) -> float:
        """Forget the amount spent under this key, and return how much of it still counted; 0 if nothing was spent."""
        counter = self._counters.pop(key, None)
        return 0.0 if counter is None else counter.window(self._clock()).after(0.0)

    async def enter(self, key: str, most: int) -> bool:
        """Take one of `most` concurrent places, and return whether one was free. It does not wait for one."""
        inside = self._inside.get(key, 0)
        if inside >= most:
            return False
        self._inside[key] = inside + 1
        return True

    def leave(self, key: str) -> None:
        """Free one concurrent place of this key; does nothing if none is taken."""
        if (inside := self._inside.get(key, 0)) > 1:
            self._inside[key] = inside - 1
        else:
            self._inside.pop(key, None)

    async def crowds(self) -> dict[str, Crowd]:
        """Return limit (`crowd_of`) → Crowd: how many of its users or addresses have an amount that still counts, and the largest of them."""
        now = self._clock()
        found: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        for place, (key, counter) in enumerate(list(self._counters.items())):
            if place % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            if (limit := crowd_of(key)) and (amount := counter.window(now).after(0.0)):
                found[limit].append((amount, key))
        return {
            limit: Crowd(len(spenders), tuple(key for _, key in heapq.nlargest(FULLEST, spenders))) for limit, spenders in found.items()
        }

    def _of(self, counts: dict[str, C], key: str, kind: type[C], seconds: float, now: float) -> C:
        """Return the count of a key, which is now the one used last. For a new key, drop the one used longest ago beyond a bound.

        After enough new keys (SWEEP) expired counts are removed, a few with each further new key.
        """
        if (found := counts.get(key)) is not None:
            if found.group is not None:
                found.group.move_to_end(key)
            return found
        self._new += 1
        self._sweep(now)
        group = self._group(key)
        made = counts[key] = kind(seconds, group)
        if group is not None:
            group[key] = None
            if len(group) > (self._bounds.addresses if group is self._bounded[ADDRESS] else self._bounds.users):
                self._forget(next(iter(group)))
        return made

    def _sweep(self, now: float) -> None:
        """Look at SWEPT keys, and remove those whose counts have expired. After enough new keys, all keys are to be looked at."""
        if not self._unswept and self._new >= max(SWEEP, (len(self._windows) + len(self._counters)) // 2):
            self._new = 0
            self._unswept = [*self._windows, *self._counters]
        for key in self._unswept[-SWEPT:]:
            if (window := self._windows.get(key)) is not None:
                window.drop(now)
                if not window.times:
                    self._forget(key)
            elif (counter := self._counters.get(key)) is not None:
                counter.turn(now)
                if not counter.now and not counter.before:
                    self._forget(key)
        del self._unswept[-SWEPT:]

    def _forget(self, key: str) -> None:
        self._windows.pop(key, None)
        self._counters.pop(key, None)
        if (group := self._group(key)) is not None:
            group.pop(key, None)

    def _group(self, key: str) -> OrderedDict[str, None] | None:
        """Return the bounded group of keys (addresses or users) that this key belongs to; None if it belongs to none."""
        return self._bounded.get(key[: key.find(":") + 1])
