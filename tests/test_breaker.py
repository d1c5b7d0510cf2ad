"""The breaker: a target that keeps failing is left alone, then tried by one request at a time."""

import asyncio
import itertools
from contextlib import aclosing

import pytest

from router.chat import Ask, Message
from router.config.declaration import Breaker as Declared
from router.config.declaration import Retry, Timeout
from router.config.values import Span
from router.errors import Busy, TargetDenied, TargetDown, TargetRefused, Unanswered
from router.events import Event, Events, Finish, Start, Text
from router.failover import Breaker, Candidate, Policy, Standing, failover, standing
from router.failover.breaker import CLOSED

ASK = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))
ONCE = Policy(Timeout(first_token=1, idle=1), Retry(attempts=1, backoff=Span(0.001, 0.002)), "fail")


class Clock:
    """Time, as the test tells it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Now, in seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


def made(clock: Clock, failures: int = 3) -> Breaker:
    """A breaker: so many failures within 30 s, open for 15."""
    return Breaker(Declared(failures=failures, within=30, open=15), clock)


def test_it_opens_after_so_many_failures(clock: Clock) -> None:
    """And says how long it will stay so."""
    breaker = made(clock)
    for _ in range(2):
        breaker.failed()
        assert breaker.admit()
    breaker.failed()
    assert not breaker.admit()
    assert breaker.wait() == 15


def test_failures_far_apart_do_not_count(clock: Clock) -> None:
    """Three in an hour are no reason."""
    breaker = made(clock)
    for _ in range(5):
        breaker.failed()
        clock.now += 20
    assert breaker.admit()


def test_a_success_between_starts_the_count_anew(clock: Clock) -> None:
    """Failures in a row are meant."""
    breaker = made(clock)
    for _ in range(4):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.admit()


def test_one_probe_at_a_time(clock: Clock) -> None:
    """When its time is over one request may try; the others go elsewhere until it is back."""
    breaker = made(clock, failures=1)
    breaker.failed()
    clock.now += 15
    assert breaker.admit()
    assert not breaker.admit()
    breaker.failed()
    assert not breaker.admit()
    clock.now += 15
    assert breaker.admit()
    breaker.succeeded()
    assert breaker.admit()
    assert breaker.admit()


def test_a_probe_that_came_to_nothing_makes_room(clock: Clock) -> None:
    """Its client left: the next one may try."""
    breaker = made(clock, failures=1)
    breaker.failed()
    clock.now += 15
    probe = breaker.admit()
    assert probe is not None
    breaker.rest(CLOSED)  # one that was let in before it opened has gone: that is no word about the probe
    assert not breaker.admit()
    breaker.rest(probe)
    assert breaker.admit()


def standing_of(breaker: Breaker) -> Standing:
    """A target's standing, with this breaker."""
    made = standing()
    made.breaker = breaker
    return made


class Target:
    """Fails as it is told to, or answers; counts."""

    def __init__(self, name: str, breaker: Breaker) -> None:
        self.name = name
        self.breaker = breaker
        self.fails: Exception | None = None
        self.late = False
        self.asked = 0

    async def answer(self, _: Ask) -> Events:
        """One model call."""
        self.asked += 1
        if self.fails and not self.late:
            raise self.fails
        yield Start(self.name, "m")
        yield Text("Hi")
        if self.fails:
            raise self.fails
        yield Finish("stop")

    def candidate(self) -> Candidate:
        """As the chain sees it."""
        return Candidate(self.name, self.answer, standing=standing_of(self.breaker))


async def heard(*targets: Target) -> list[Event]:
    """A whole answer."""
    async with aclosing(failover([target.candidate() for target in targets], ONCE)(ASK)) as events:
        return [event async for event in events]


def outcomes(events: list[Event]) -> list[str]:
    """What was tried."""
    end = events[-1]
    assert isinstance(end, Finish)
    return [attempt.outcome for attempt in end.attempts]


async def test_a_target_that_is_down_is_not_asked_each_time(clock: Clock) -> None:
    """Twenty requests over a primary that is down and then well: all are served, one probe per window, and it is back after."""
    primary, spare = Target("a", made(clock)), Target("b", made(clock))
    primary.fails = TargetDown("a", "status_503")
    for _ in range(10):
        assert outcomes(await heard(primary, spare))[-1] == "ok"
    assert primary.asked == 3
    for _ in range(3):
        clock.now += 15
        for _ in range(5):
            assert outcomes(await heard(primary, spare))[-1] == "ok"
    assert primary.asked == 6
    primary.fails = None
    clock.now += 15
    assert outcomes(await heard(primary, spare)) == ["ok"]
    assert outcomes(await heard(primary, spare)) == ["ok"]
    assert primary.asked == 8


async def test_a_primary_that_was_down_for_a_minute_is_soon_back(clock: Clock) -> None:
    """With the defaults: a question every second, twenty at once in the middle of it. All are served, one probe goes to it in each
    window, and within 5 s of its recovery it answers again.
    """
    declared = Declared()
    primary, spare = Target("a", Breaker(declared, clock)), Target("b", Breaker(declared, clock))
    primary.fails = TargetDown("a", "status_503")
    began, probes = clock.now, list[float]()
    back: int | None = None
    for second in range(70):
        if second == 60:
            primary.fails = None
        asked, last = primary.asked, list[str]()
        for _ in range(20 if second == 30 else 1):
            last = outcomes(await heard(primary, spare))
            assert last[-1] == "ok"
        if second > 10 and primary.fails and primary.asked > asked:
            probes.append(clock.now - began)
        if second >= 60 and back is None and last == ["ok"]:
            back = second - 60
        clock.now += 1
    assert all(later - earlier >= declared.open for earlier, later in itertools.pairwise(probes))
    assert len(probes) >= 10
    assert back is not None
    assert back <= 5


async def test_where_nobody_is_answered_nobody_is_asked_twice(clock: Clock) -> None:
    """A thousand questions to a target that is down, and no breaker that would close: one call each, and ten more."""
    patient = Declared(failures=1000, within=0.001)
    target = Target("a", Breaker(patient, clock))
    target.fails = TargetDown("a", "status_503")
    candidate = target.candidate()
    policy = Policy(Timeout(first_token=1, idle=1), Retry(attempts=3, backoff=Span(0.0, 0.0)), "fail")
    ask = failover([candidate], policy)
    for _ in range(1000):
        clock.now += 1
        with pytest.raises(Unanswered):
            async with aclosing(ask(ASK)) as events:
                await anext(events)
    assert target.asked == 1010
    # Answers earn: one second try for ten of them.
    target.fails = None
    for _ in range(20):
        async with aclosing(ask(ASK)) as events:
            assert [type(event) async for event in events] == [Start, Text, Finish]
    target.fails = TargetDown("a", "status_503")
    asked = target.asked
    for _ in range(5):
        with pytest.raises(Unanswered):
            async with aclosing(ask(ASK)) as events:
                await anext(events)
    assert target.asked - asked == 7


async def test_failures_in_mid_answer_count_too(clock: Clock) -> None:
    """It starts to speak and breaks off, again and again."""
    primary = Target("a", made(clock))
    primary.fails, primary.late = TargetDown("a", "cut"), True
    spare = Target("b", made(clock))
    for _ in range(3):
        await heard(primary, spare)
    assert (primary.asked, spare.asked) == (3, 0)
    assert outcomes(await heard(primary, spare)) == ["breaker_open", "ok"]


async def test_a_wrong_key_opens_it_at_once(clock: Clock) -> None:
    """It will not work the next time either."""
    primary, spare = Target("a", made(clock)), Target("b", made(clock))
    primary.fails = TargetDenied("a", "status_401")
    assert outcomes(await heard(primary, spare)) == ["status_401", "ok"]
    assert outcomes(await heard(primary, spare)) == ["breaker_open", "ok"]


async def test_a_question_at_fault_says_nothing_of_the_target(clock: Clock) -> None:
    """Bad requests of one caller must not close a target to all."""
    primary, spare = Target("a", made(clock, failures=1)), Target("b", made(clock))
    primary.fails = TargetRefused("a", "status_400")
    for _ in range(5):
        assert outcomes(await heard(primary, spare)) == ["status_400", "ok"]


async def test_when_all_are_left_alone_it_says_when_to_come_back(clock: Clock) -> None:
    """At once, without asking anybody."""
    only = Target("a", made(clock, failures=1))
    only.fails = TargetDown("a", "status_500")
    only.breaker.failed()
    clock.now += 5
    with pytest.raises(Busy) as caught:
        await heard(only)
    assert caught.value.retry_after == 10
    assert only.asked == 0


async def test_a_client_that_leaves_during_the_probe_makes_room(clock: Clock) -> None:
    """The slot of a cancelled probe is free again."""
    breaker = made(clock, failures=1)
    breaker.failed()
    clock.now += 15
    begun = asyncio.Event()

    async def silent(_: Ask) -> Events:
        yield Start("a", "m")
        begun.set()
        await asyncio.Event().wait()

    async def read() -> None:
        async with aclosing(failover([Candidate("a", silent, standing=standing_of(breaker))], ONCE)(ASK)) as events:
            async for _ in events:
                pass

    reading = asyncio.create_task(read())
    await begun.wait()
    assert not breaker.admit()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert breaker.admit()


async def test_a_target_that_fails_before_it_is_asked_leaves_no_probe(clock: Clock) -> None:
    """Whatever goes wrong while the question is put together: the next request may try again."""
    breaker = made(clock, failures=1)
    breaker.failed()
    clock.now += 15

    def eager(_: Ask) -> Events:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        async with aclosing(failover([Candidate("a", eager, standing=standing_of(breaker))], ONCE)(ASK)) as events:
            await anext(events)
    assert breaker.admit()
