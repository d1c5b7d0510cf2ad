"""A second target while the first is late: when, how often, and who wins."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TypeVar

from router.config.declaration import Hedge as Declared
from router.failover.allowance import Allowance
from router.failover.load import Load

T = TypeVar("T")

LATE = 1.5
"""Times what most answers took to start. Where all take about the same, none of those is late; where they differ widely (as an
exponential distribution does), about as many are as may be hedged at the default."""
MOST = 20
"""Second calls that may be put by for a time when many are late at once."""


class Hedge:
    """The hedges of one route. They start with nothing put by: what they cost is never more than was declared."""

    def __init__(self, declared: Declared) -> None:
        self._after = declared.after
        # Twice the share may be slow before what is learned is how long the slow ones take.
        self._most = 1 - min(0.5, 2 * declared.at_most)
        self._allowance = Allowance(declared.at_most, reserve=0, most=MOST)
        self.spend = self._allowance.spend
        self.earn = self._allowance.earn

    def delay(self, load: Load) -> float | None:
        """Seconds after which the first target is late; None while that is not known."""
        if self._after is not None:
            return self._after
        usual = load.usual(self._most)
        return None if usual is None else LATE * usual


async def race(
    first: Coroutine[object, object, T | None],
    second: Callable[[], Coroutine[object, object, T | None]],
    delay: float,
    let_go: Callable[[T], Awaitable[None]],
) -> T | None:
    """What the first comes by; or, where that takes longer than the delay (seconds), what either of the two comes by sooner.

    Whoever loses is stopped, and what it came by all the same is let go; twice, where somebody is stopped in the middle of that.
    """
    racers = [asyncio.create_task(first)]
    won: asyncio.Task[T | None] | None = None
    try:
        await asyncio.wait(racers, timeout=delay)
        if not racers[0].done():
            racers.append(asyncio.create_task(second()))
        running = set(racers)
        while running and won is None:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            won = next((task for task in racers if task in done and task.result() is not None), None)
        return won.result() if won else None
    finally:
        for task in racers:
            task.cancel()
        try:
            await asyncio.gather(*racers, return_exceptions=True)
            await _all_of([task for task in racers if task is not won], let_go)
        except asyncio.CancelledError:
            await _all_of(racers, let_go)  # whoever waited for it has gone
            raise


async def _all_of(racers: Sequence[asyncio.Task[T | None]], let_go: Callable[[T], Awaitable[None]]) -> None:
    """Let go of what these came by."""
    for task in racers:
        if task.done() and not task.cancelled() and task.exception() is None and (made := task.result()) is not None:
            await let_go(made)
