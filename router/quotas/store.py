"""Where counts live: what a quota needs of a store, whichever it is.

`take` and `enter` decide, so they are awaited and are atomic; `give_back`, `spend` and `leave` only tell, and never fail: a store that
is away hears of it later or not at all.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of asking for one. `left`: how many more there are now; `reset`: seconds until there is another one; `token`: what it is
    given back by, where the store needs to be told which.
    """

    allowed: bool
    left: int
    reset: float
    token: str = ""


class Store(Protocol):
    """Counts by key. A key holds no word of a user."""

    async def take(self, key: str, most: int, seconds: float) -> Taken:
        """One of so many in any so many seconds (a moving window)."""
        ...

    def give_back(self, key: str, taken: Taken) -> None:
        """One that was taken was not used."""
        ...

    async def spent(self, key: str, seconds: float) -> float:
        """What was spent in the last so many seconds: what was spent in this window of them, and a share of the one before (a sliding counter)."""
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
