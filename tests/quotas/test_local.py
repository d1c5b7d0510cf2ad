"""Limits counted in this process: requests, amounts and concurrency."""

import asyncio
import math
from dataclasses import dataclass

import pytest

from router.config.limits import Limit, Rate
from router.errors import TooMany
from router.events import Usage
from router.quotas import BudgetUse, Local, Quota, Spent, Taken, Window
from router.quotas.local import SLICE, CountBounds
from router.value import replace


@dataclass
class Clock:
    """A clock that only the test advances, from 1,000 s on."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that only the test advances."""
    return Clock()


async def test_local_limit_lets_exactly_its_number_of_a_thousand_pass(clock: Clock) -> None:
    """With a limit of 100 in 60 s, 100 of a thousand concurrent requests are allowed, and the next one after 60 s."""
    store = Local(clock)
    taken = await asyncio.gather(*(store.take("k", 100, 60) for _ in range(1000)))
    assert sum(one.allowed for one in taken) == 100
    assert (taken[0].left, taken[99].left, taken[-1].left) == (99, 0, 0)
    assert taken[-1].reset == 60
    clock.now += 59.9
    assert not (await store.take("k", 100, 60)).allowed
    clock.now += 0.2
    assert (await store.take("k", 100, 60)).allowed


async def test_rate_limit_window_slides(clock: Clock) -> None:
    """With a limit of 100 in 60 s, the requests of the last 60 s count at any moment, without a reset at a full minute."""
    store = Local(clock)
    for _ in range(50):
        await store.take("k", 100, 60)
    clock.now += 40
    assert sum([(await store.take("k", 100, 60)).allowed for _ in range(100)]) == 50
    clock.now += 21
    assert sum([(await store.take("k", 100, 60)).allowed for _ in range(100)]) == 50


async def test_spent_amount_decays_over_the_next_window(clock: Clock) -> None:
    """An amount counts in full in its window; in the next one it falls evenly to 0, and it counts no more after that."""
    clock.now = 960.0  # a window of 60 s begins
    store = Local(clock)
    store.spend("k", 100, 60)
    assert (await store.spent("k", 60)).after() == 100
    clock.now += 60 + 15
    assert (await store.spent("k", 60)).after() == pytest.approx(75)
    store.spend("k", 10, 60)
    assert (await store.spent("k", 60)).after() == pytest.approx(85)
    clock.now += 121
    assert (await store.spent("k", 60)).after() == 0


@pytest.mark.parametrize(
    ("spent", "at", "wait"),
    [
        ([(0, 10)], 0, 60),  # all of it counts until the window turns
        ([(0, 10)], 50, 10),
        ([(30, 20)], 30, 30 + 30),  # and then half of it fades
        ([(0, 10), (90, 5)], 90, 0),
        ([(0, 16), (90, 6)], 90, 15),  # 16 of the window before count for half: 14; in 15 s for a quarter
        ([(0, 16), (60, 11)], 60, 60 + 60 * (1 - 10 / 11)),
    ],
)
async def test_limit_has_room_at_the_time_it_announced(clock: Clock, spent: list[tuple[float, float]], at: float, wait: float) -> None:
    """A refused request's `retry_after` and RateLimit header are right: it is refused until just before then, and admitted after it."""
    quota = Quota("route:a", Limit(tokens=Rate(10, 60)), Local(clock))
    admissions = [await quota.admit("x") for _ in spent]
    for admission, (when, amount) in zip(admissions, spent, strict=True):
        clock.now = 960.0 + when  # a window begins at 960
        admission.settle(Usage(0, int(amount)), None)
    clock.now = 960.0 + at
    if wait:
        with pytest.raises(TooMany) as caught:
            await quota.admit("x")
        assert caught.value.retry_after == math.floor(wait) + 1
        assert (b"ratelimit", b'"tokens";r=0;t=%d' % (math.floor(wait) + 1)) in caught.value.headers
        clock.now = 960.0 + at + wait - 0.01
        with pytest.raises(TooMany):
            await quota.admit("x")
    clock.now = 960.0 + at + wait + 0.01
    await quota.admit("x")


def test_wait_covers_the_windows_of_this_process_and_of_redis_together() -> None:
    """With two windows that end at different times, the wait for an amount ends when their decayed sum leaves room for it."""
    spent = Spent((Window(60, 10, 6, 0), Window(60, 40, 6, 6)))
    assert spent.after() == pytest.approx(6 + 6 + 6 * 40 / 60)
    for most in (15.9, 12, 10, 6, 1, 0.1):
        wait = spent.until(most)
        assert spent.after(wait) == pytest.approx(most)
        assert spent.after(wait - 0.1) > most
    assert spent.until(16) == spent.until(20) == Spent().until(1) == 0


async def test_counts_of_100000_keys_are_freed_after_their_window(clock: Clock) -> None:
    """Of 100,000 keys counted 1 ms apart in windows of 1 s, fewer than 10,000 are kept; slots taken and given back add none."""
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


async def test_concurrency_slot_is_released_once_although_settled_twice(clock: Clock) -> None:
    """With two slots for each caller, a request that is settled twice frees one slot; another caller has slots of its own."""
    quota = Quota("route:a", Limit(concurrent=2), Local(clock))
    first, second = [await quota.admit("x") for _ in range(2)]
    with pytest.raises(TooMany, match="Rate limit exceeded"):
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
async def test_request_over_a_token_or_spend_limit_is_refused_with_a_retry_after(
    clock: Clock, limit: Limit, usage: Usage | None, cost: float | None
) -> None:
    """The requests that spend the limit are answered; the next one raises TooMany until the reported time, and is then admitted."""
    clock.now = 960.0
    quota = Quota("route:a", limit, Local(clock))
    one, other = await quota.admit("x"), await quota.admit("x")
    one.settle(usage, cost)
    with pytest.raises(TooMany) as caught:
        await quota.admit("x")
    assert caught.value.retry_after == 61
    other.settle(usage, cost)
    with pytest.raises(TooMany) as again:
        await quota.admit("x")
    assert again.value.retry_after == 60 + 30 + 1  # the window's end, half of the next, and a moment
    clock.now += 89.9
    with pytest.raises(TooMany):
        await quota.admit("x")
    clock.now += 1.1
    await quota.admit("x")


async def test_request_refused_by_the_rate_takes_no_concurrency_slot(clock: Clock) -> None:
    """With one request a minute and one concurrent place, the three requests after the first are each refused by the rate.
    None is refused by the concurrency limit, so that none before it took the place.
    """
    quota = Quota("route:a", Limit(requests=Rate(1, 60), concurrent=1), Local(clock))
    (await quota.admit("x")).settle(None, None)
    for _ in range(3):
        with pytest.raises(TooMany) as caught:
            await quota.admit("x")
        assert caught.value.limit == "requests"


async def test_request_cancelled_during_its_rate_check_frees_its_concurrency_slot(clock: Clock) -> None:
    """A request that has a slot and is cancelled while the rate limit is checked gives the slot back."""

    class Slow(Local):
        async def take(self, key: str, most: int, seconds: float) -> Taken:
            await asyncio.Event().wait()
            return await super().take(key, most, seconds)

    store = Slow(clock)
    quota = Quota("q", Limit(requests=Rate(9, 60), concurrent=1), store)
    asked = asyncio.create_task(quota.admit("x"))
    await asyncio.sleep(0)
    assert len(store) == 1
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert len(store) == 0


async def test_collect_returns_the_local_amount_that_still_counts_once(clock: Clock) -> None:
    """`collect` returns 75 of 100 after a quarter of the next window, removes the amount, and then returns 0."""
    clock.now = 960.0  # a window of 60 s begins
    store = Local(clock)
    store.spend("k", 100, 60)
    clock.now += 60 + 15
    assert store.collect("k") == pytest.approx(75)
    assert (store.collect("k"), (await store.spent("k", 60)).after(), len(store)) == (0, 0, 0)


async def test_oldest_address_is_evicted_beyond_the_bound(clock: Clock) -> None:
    """With a bound of 100 addresses, a thousand evict the oldest ones, whose limits begin anew; counts of callers stay."""
    store = Local(clock, CountBounds(addresses=100))
    limit = Limit(requests=Rate(1, 3600), tokens=Rate(1, 3600), per="ip")
    addresses, callers = Quota("route:a", limit, store), Quota("route:b", replace(limit, per="key"), store)
    (await callers.admit("alice")).settle(Usage(1, 1), None)
    for number in range(1000):
        (await addresses.admit(f"flood {number}")).settle(Usage(1, 1), None)
        with pytest.raises(TooMany):
            await addresses.admit(f"flood {number}")
    assert len(store) <= 2 * (100 + 1) + 2
    with pytest.raises(TooMany):
        await callers.admit("alice")
    await addresses.admit("flood 0")


async def test_oldest_user_is_evicted_beyond_the_bound_of_users(clock: Clock) -> None:
    """With a bound of 100 users, a thousand evict the oldest, whose limits begin anew; counts of their caller and of addresses stay."""
    store = Local(clock, CountBounds(users=100))
    limit = Limit(requests=Rate(1, 3600), tokens=Rate(1, 3600), per="user")
    users, addresses = Quota("route:a", limit, store), Quota("route:a", replace(limit, per="ip"), store)
    (await users.per_caller().admit("key:webui")).settle(Usage(1, 1), None)
    (await addresses.admit("192.0.2.1")).settle(Usage(1, 1), None)
    for number in range(1000):
        (await users.admit(f"key:webui user-{number}")).settle(Usage(1, 1), None)
        with pytest.raises(TooMany):
            await users.admit(f"key:webui user-{number}")
    assert len(store) <= 100 + 2 + 2
    for counted, subject in ((users.per_caller(), "key:webui"), (addresses, "192.0.2.1")):
        with pytest.raises(TooMany):
            await counted.admit(subject)
    await users.admit("key:webui user-0")


async def test_uses_of_each_has_the_number_of_users_and_the_largest_used_share(clock: Clock) -> None:
    """A limit per user reports how many users spent anything within its window, and the largest share; after two windows there is none."""
    clock.now = 960.0  # a window of 60 s begins
    store = Local(clock)
    each, all_together = Limit(tokens=Rate(100, 60), per="user"), Limit(tokens=Rate(100, 60), per="route")
    one, other, together = Quota("a", each, store), Quota("b", each, store), Quota("c", all_together, store)
    for number in range(SLICE + 10):
        (await one.admit(f"user-{number}")).settle(Usage(number, 0), None)
    (await other.admit("user-1")).settle(Usage(50, 0), None)
    (await together.admit("")).settle(Usage(10, 0), None)
    crowds = await store.crowds()
    assert len(crowds) == 2
    (use,) = await one.uses_of_each(crowds)
    assert use == BudgetUse("tokens", "100/minute", None, SLICE + 9, (SLICE + 9) / 100)
    assert (await other.uses_of_each(crowds))[0].subjects == 1
    assert await Quota("c", each, store).uses_of_each(crowds) == [BudgetUse("tokens", "100/minute", None, 0, 0.0)]
    clock.now += 120
    assert await store.crowds() == {}
