"""Counts in this process, by a clock that is given."""

import asyncio
from dataclasses import dataclass

import pytest

from router.config.limits import Limit
from router.config.rates import Rate
from router.errors import TooMany
from router.events import Usage
from router.quotas import Local, Quota


@dataclass
class Clock:
    """A clock that stands."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


async def test_of_a_thousand_at_once_exactly_as_many_pass_as_may(clock: Clock) -> None:
    """And the next when the window lets the first go."""
    store = Local(clock)
    taken = await asyncio.gather(*(store.take("k", 100, 60) for _ in range(1000)))
    assert sum(one.allowed for one in taken) == 100
    assert (taken[0].left, taken[99].left, taken[-1].left) == (99, 0, 0)
    assert taken[-1].reset == 60
    clock.now += 59.9
    assert not (await store.take("k", 100, 60)).allowed
    clock.now += 0.2
    assert (await store.take("k", 100, 60)).allowed


async def test_a_window_moves(clock: Clock) -> None:
    """Nobody gets twice as many around a full minute."""
    store = Local(clock)
    for _ in range(50):
        await store.take("k", 100, 60)
    clock.now += 40
    assert sum([(await store.take("k", 100, 60)).allowed for _ in range(100)]) == 50
    clock.now += 21
    assert sum([(await store.take("k", 100, 60)).allowed for _ in range(100)]) == 50


async def test_what_was_spent_fades(clock: Clock) -> None:
    """This window's, and of the one before the share that still lies within the time."""
    clock.now = 960.0  # a window of 60 s begins
    store = Local(clock)
    store.spend("k", 100, 60)
    assert await store.spent("k", 60) == 100
    clock.now += 60 + 15
    assert await store.spent("k", 60) == pytest.approx(75)
    store.spend("k", 10, 60)
    assert await store.spent("k", 60) == pytest.approx(85)
    clock.now += 121
    assert await store.spent("k", 60) == 0


async def test_a_hundred_thousand_addresses_are_forgotten(clock: Clock) -> None:
    """A flood of subjects leaves nothing once its time is over."""
    store = Local(clock)
    for number in range(100_000):
        await store.take(f"w{number}", 10, 1)
        store.spend(f"c{number}", 1, 1)
        clock.now += 0.001
    assert len(store) < 10_000
    for number in range(100_000):
        assert await store.enter(f"e{number}", 1)
        store.leave(f"e{number}")
    assert len(store) < 10_000


async def test_answers_at_one_time_are_let_go_once_each(clock: Clock) -> None:
    """However often one is settled."""
    quota = Quota("route:a", Limit(concurrent=2), Local(clock))
    first, second = [await quota.admit("x") for _ in range(2)]
    with pytest.raises(TooMany, match="more than may be asked"):
        await quota.admit("x")
    assert (await quota.admit("y")).entered
    first.settle(None, None)
    first.settle(None, None)
    third = await quota.admit("x")
    with pytest.raises(TooMany):
        await quota.admit("x")
    for one in (second, third):
        one.settle(None, None)
    assert len([await quota.admit("x") for _ in range(2)]) == 2


@pytest.mark.parametrize(
    ("limit", "usage", "cost"),
    [(Limit(tokens=Rate(100, 60)), Usage(80, 20), None), (Limit(spend=Rate(0.5, 60)), None, 0.5)],
    ids=["tokens", "spend"],
)
async def test_what_is_spent_stops_the_next(clock: Clock, limit: Limit, usage: Usage | None, cost: float | None) -> None:
    """Not the one that spends it; and says when there will be room."""
    clock.now = 960.0
    quota = Quota("route:a", limit, Local(clock))
    one, other = await quota.admit("x"), await quota.admit("x")
    one.settle(usage, cost)
    with pytest.raises(TooMany) as caught:
        await quota.admit("x")
    assert caught.value.retry_after >= 1
    other.settle(usage, cost)
    with pytest.raises(TooMany) as again:
        await quota.admit("x")
    assert again.value.retry_after == 30
    clock.now += 120
    await quota.admit("x")


async def test_a_refused_request_holds_no_place(clock: Clock) -> None:
    """Where the rate refuses it, it is not among those at one time."""
    quota = Quota("route:a", Limit(requests=Rate(1, 60), concurrent=1), Local(clock))
    (await quota.admit("x")).settle(None, None)
    for _ in range(3):
        with pytest.raises(TooMany) as caught:
            await quota.admit("x")
        assert caught.value.limit == "requests"
