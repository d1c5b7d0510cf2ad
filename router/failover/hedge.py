"""Hedging: when a second target is asked beside a late first one, how often that is allowed, and which answer is used."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TypeVar

from router.config.declaration import HedgeConfig as Declared
from router.failover.allowance import Allowance
from router.failover.load import Load

T = TypeVar("T")

LATE = 1.5
"""Factor by which the hedge delay exceeds the quantile of the time to first token.
With little variance no answer is late then; with an exponential distribution about as many are late as the default `at_most` allows.
"""
MAX_SAVED_HEDGES = 20
"""Tokens that the bucket of hedges holds, for a time when many answers are late at once."""


class Hedge(Allowance):
    """The hedges of one route. The bucket starts empty: hedges never cost more than was declared. `earn` is called for each question."""

    def __init__(self, declared: Declared) -> None:
        super().__init__(declared.at_most, reserve=0, most=MAX_SAVED_HEDGES)
        self._after = declared.after
        # Up to twice the share may be slow before the quantile measures the slow answers themselves.
        self._quantile = 1 - min(0.5, 2 * declared.at_most)

    def delay(self, load: Load) -> float | None:
        """Return the seconds after which the first target is late: `after`, else LATE × a quantile of its times to first token.
        None, without `after`, while too few starts of the target are known. `load`: that of the first target
        """
        if self._after is not None:
            return self._after
        usual = load.usual(self._quantile)
        return None if usual is None else LATE * usual


async def race(
    first: Coroutine[object, object, T | None],
    second: Callable[[], Coroutine[object, object, T | None]],
    delay: float,
    let_go: Callable[[T], Awaitable[object]],
) -> T | None:
    """Return the first result that is not None, of `first` or of `second`; None if both have ended without one.
    `second` starts after `delay` seconds, unless `first` has ended by then, with or without a result.
    An exception that comes before such a result is raised at once, although the other may still run.
    The loser is cancelled, and a result that it has all the same is passed to `let_go`. If the race is cancelled, both results are.
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
            await _all_of(racers, let_go)  # the client has left
            raise


async def _all_of(racers: Sequence[asyncio.Task[T | None]], let_go: Callable[[T], Awaitable[object]]) -> None:
    """Pass the results of these tasks to `let_go`, except None; tasks that failed or were cancelled have none."""
    for task in racers:
        if task.done() and not task.cancelled() and task.exception() is None and (made := task.result()) is not None:
            await let_go(made)
