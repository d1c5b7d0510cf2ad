"""Where counts live: what a quota needs of a store, whichever it is.

`take` and `enter` decide, so they are awaited and are atomic; `give_back`, `spend` and `leave` only tell, and never fail: a store that
is away hears of it later or not at all.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

ADDRESS = "ip:"
"""How the key of a client's address begins. Strangers choose their addresses, so a store may have to let some go."""
USER = "user:"
"""How the key of an end user begins. A front end may let anybody sign up, so a store may have to let some go."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of asking for one. `left`: how many more there are now; `reset`: seconds until there is another one; `token`: what it is
    given back by, where the store needs to be told which.
    """

    allowed: bool
    left: int
    reset: float
    token: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """What was spent in this window of so many seconds, which turns in so many, and in the one before (a sliding counter)."""

    seconds: float
    turns: float
    now: float
    before: float

    def after(self, wait: float) -> float:
        """What counts of it so many seconds later. The share of the window before fades evenly; this one's is whole until it turns."""
        if wait < self.turns:
            return self.now + self.before * (self.turns - wait) / self.seconds
        return self.now * max(0.0, self.turns + self.seconds - wait) / self.seconds


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent, wherever that was counted."""

    windows: tuple[Window, ...] = ()

    def after(self, wait: float = 0.0) -> float:
        """What counts of it so many seconds later, if no more is spent."""
        return sum(window.after(wait) for window in self.windows)

    def until(self, most: float) -> float:
        """Seconds for which as much as this counts of it."""
        if self.after() < most:
            return 0.0
        # Between two turns of any window it falls evenly; after the last of them nothing is left.
        turns = sorted({0.0, *(turn for one in self.windows for turn in (one.turns, one.turns + one.seconds))})
        first, last = next((one, other) for one, other in pairwise(turns) if self.after(other) < most)
        return first + (last - first) * (self.after(first) - most) / (self.after(first) - self.after(last))


class Store(Protocol):
    """Counts by key. A key holds no word of a user."""

    async def take(self, key: str, most: int, seconds: float) -> Taken:
        """One of so many in any so many seconds (a moving window)."""
        ...

    def give_back(self, key: str, taken: Taken) -> None:
        """One that was taken was not used."""
        ...

    async def spent(self, key: str, seconds: float) -> Spent:
        """What was spent in the last so many seconds."""
        ...

    def spend(self, key: str, amount: float, seconds: float) -> None:
        """So much was spent now."""
        ...

    async def enter(self, key: str, most: int) -> bool:
        """Whether one more may be at it. A yes is taken for entered."""
        ...

    def leave(self, key: str) -> None:
        """Whoever entered has left."""
        ...
