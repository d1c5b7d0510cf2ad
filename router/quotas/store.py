"""The interface of a store of counts, as a quota uses it.

`take` and `enter` decide, so they are awaited and atomic. `give_back`, `spend` and `leave` only report: they return at once and never fail.
While Redis is away, such a report is delayed or lost. `spent` and `crowds` only read.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Protocol

from router.value import Value

ADDRESS = "ip:"
"""The prefix of a client address's key. Clients can use any number of addresses, so a store bounds these keys."""
USER = "user:"
"""The prefix of an end user's key. A front end may have any number of users, so a store bounds these keys."""


class Taken(Value, frozen=True):
    """The outcome of taking one request from a rate limit.

    allowed: false if the limit is reached; the request is then not counted
    left: how many more there are now
    reset: seconds until the oldest counted request expires, so that there is one more
    token: identifies the request in Redis when it is given back; empty in a store of one process
    """

    allowed: bool
    left: int
    reset: float
    token: str = ""


class Window(Value, frozen=True):
    """Amounts spent in two windows of a fixed length, from which the amount of a sliding window is estimated.

    seconds: length of a window
    turns: seconds until the current window ends
    now: amount spent in the current window
    before: amount spent in the window before
    """

    seconds: float
    turns: float
    now: float
    before: float

    def after(self, wait: float) -> float:
        """Return the amount that still counts after `wait` seconds, if no more is spent.

        The amount of the window before decays evenly. That of the current one counts in full until its end, and decays then.
        """
        if wait < self.turns:
            return self.now + self.before * (self.turns - wait) / self.seconds
        return self.now * max(0.0, self.turns + self.seconds - wait) / self.seconds


class Spent(Value, frozen=True):
    """The amounts spent under one key, in one window for each place that counts it: this process, Redis. Empty if nothing was spent."""

    windows: tuple[Window, ...] = ()

    def after(self, wait: float = 0.0) -> float:
        """Return the amount that still counts after `wait` seconds, if no more is spent."""
        return sum([window.after(wait) for window in self.windows])

    def until(self, most: float) -> float:
        """Return the seconds until less than `most` counts, if no more is spent; 0 if less counts already."""
        if self.after() < most:
            return 0.0
        # Between two turns of any window it falls evenly; after the last of them nothing is left.
        turns = sorted({0.0, *(turn for one in self.windows for turn in (one.turns, one.turns + one.seconds))})
        first, last = next((one, other) for one, other in pairwise(turns) if self.after(other) < most)
        return first + (last - first) * (self.after(first) - most) / (self.after(first) - self.after(last))


class Crowd(Value, frozen=True):
    """The users or addresses that have used some of one limit: their number, and the keys of the FULLEST largest, the largest use first."""

    count: int = 0
    fullest: tuple[str, ...] = ()


FULLEST = 5
"""Users or addresses of a limit, those with the largest use, whose share is computed: with a shared Redis each takes one command."""


def crowd_of(key: str) -> str:
    """Return the name of the limit that a user's or an address's key belongs to, as `user:LIMIT:tokens`; empty for any other key.

    The key is `user:LIMIT-SUBJECT:tokens`, where LIMIT and SUBJECT are hashes. An address's key begins with `ip:`.
    """
    if not key.startswith((USER, ADDRESS)):
        return ""
    head, _, amount = key.rpartition(":")
    return f"{head.partition('-')[0]}:{amount}"


class CountStore(Protocol):
    """The interface of a store for limits, by key: requests in a sliding window, amounts spent (tokens or dollars), and concurrent places.

    A key holds no text of a user: it is made of hashes.
    """

    async def take(self, key: str, most: int, seconds: float) -> Taken:
        """Take one of `most` requests in any `seconds` seconds, a sliding window. Return whether it is allowed and how many are left."""
        ...

    def give_back(self, key: str, taken: Taken) -> None:
        """Give back a request that was taken but not used. `taken`: what `take` returned for it."""
        ...

    async def spent(self, key: str, seconds: float) -> Spent:
        """Return the amounts spent under this key in the current window of `seconds` seconds and in the one before."""
        ...

    def spend(self, key: str, amount: float, seconds: float) -> None:
        """Add an amount (tokens or dollars) that was spent now, and return at once. `seconds`: length of the limit's window."""
        ...

    async def enter(self, key: str, most: int) -> bool:
        """Take one of `most` concurrent places, and return whether one was free. It does not wait for one."""
        ...

    def leave(self, key: str) -> None:
        """Free one concurrent place of this key, and return at once; does nothing if none is taken."""
        ...

    async def crowds(self) -> Mapping[str, Crowd]:
        """Return name of a limit (`crowd_of`) → the users or addresses that have spent some of it: their number and the largest."""
        ...
