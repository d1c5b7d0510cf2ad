"""The interface of a store of counts, as a quota uses it.

`take` and `enter` decide, so they are awaited and atomic. `give_back`, `spend` and `leave` only report, and never fail: while the store is
unavailable, the report is delayed or lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

ADDRESS = "ip:"
"""The prefix of a client address's key. Clients can use any number of addresses, so a store bounds these keys."""
USER = "user:"
"""The prefix of an end user's key. A front end may have any number of users, so a store bounds these keys."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The outcome of taking one request from a rate limit.
    left: how many more there are now
    reset: seconds until there is another one
    token: identifies the request when it is given back, where the store needs that
    """

    allowed: bool
    left: int
    reset: float
    token: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """Amounts in a sliding window of `seconds`: spent in the current window, which ends in `turns` seconds, and in the one before."""

    seconds: float
    turns: float
    now: float
    before: float

    def after(self, wait: float) -> float:
        """Return the amount that still counts after `wait` seconds.
        The amount of the window before decays evenly; that of the current one counts in full until its end, and decays then.
        """
        if wait < self.turns:
            return self.now + self.before * (self.turns - wait) / self.seconds
        return self.now * max(0.0, self.turns + self.seconds - wait) / self.seconds


@dataclass(frozen=True, slots=True)
class Spent:
    """The amounts spent, in the windows of this process and of Redis."""

    windows: tuple[Window, ...] = ()

    def after(self, wait: float = 0.0) -> float:
        """Return the amount that still counts after `wait` seconds, if no more is spent."""
        return sum([window.after(wait) for window in self.windows])

    def until(self, most: float) -> float:
        """Return the seconds until less than `most` counts."""
        if self.after() < most:
            return 0.0
        # Between two turns of any window it falls evenly; after the last of them nothing is left.
        turns = sorted({0.0, *(turn for one in self.windows for turn in (one.turns, one.turns + one.seconds))})
        first, last = next((one, other) for one, other in pairwise(turns) if self.after(other) < most)
        return first + (last - first) * (self.after(first) - most) / (self.after(first) - self.after(last))


@dataclass(frozen=True, slots=True)
class Crowd:
    """The users or addresses that have used some of one limit on tokens or money.

    count: their number
    fullest: keys of the at most FULLEST ones that used the most, the largest use first
    """

    count: int = 0
    fullest: tuple[str, ...] = ()


FULLEST = 5
"""Users or addresses of a limit whose share is computed: with a shared Redis each takes one command."""


def crowd_of(key: str) -> str:
    """Return the name of the limit that counts users or addresses, from the key of one of them; empty for any other key.

    A key is `user:LIMIT-SUBJECT:tokens`, where LIMIT and SUBJECT are hashes. The name is that without the subject.
    """
    if not key.startswith((USER, ADDRESS)):
        return ""
    head, _, amount = key.rpartition(":")
    return f"{head.partition('-')[0]}:{amount}"


class CountStore(Protocol):
    """The interface of a store of counts by key. A key holds no text of a user."""

    async def take(self, key: str, most: int, seconds: float) -> Taken:
        """Take one of `most` requests in any `seconds` seconds, a sliding window. Return whether it is allowed and how many are left."""
        ...

    def give_back(self, key: str, taken: Taken) -> None:
        """Give back a request that was taken but not used."""
        ...

    async def spent(self, key: str, seconds: float) -> Spent:
        """Return the amount spent in the last `seconds` seconds."""
        ...

    def spend(self, key: str, amount: float, seconds: float) -> None:
        """Add tokens or dollars that were spent now."""
        ...

    async def enter(self, key: str, most: int) -> bool:
        """Take one of `most` concurrent places, and return whether there was one."""
        ...

    def leave(self, key: str) -> None:
        """Free a concurrent place."""
        ...

    async def crowds(self) -> Mapping[str, Crowd]:
        """Return the users and addresses that have spent something, grouped by the limit that counts them (`crowd_of`)."""
        ...
