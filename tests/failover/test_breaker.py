"""The breaker: a target that keeps failing is left alone, then tried by one request at a time."""

import asyncio
import itertools
import math
from contextlib import aclosing

import pytest

from router.chat import Ask, Message
from router.config.declaration import BreakerConfig as Declared
from router.config.declaration import Retry, Timeout
from router.config.values import Span
from router.errors import Busy, TargetDenied, TargetDown, TargetRefused, TargetSilent, Unanswered
from router.events import Event, Events, Finish, Start, Text
from router.failover import Breaker, Candidate, FailureRules, TargetHealth, failover, new_health
from router.failover.breaker import Permit
from tests.support.virtual import jumping, now

ASK = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))
ONCE = FailureRules(Timeout(first_token=1, idle=1), Retry(attempts=1, backoff=Span(0.001, 0.002)), "fail")


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


def admitted(breaker: Breaker) -> Permit:
    """Leave to ask it, which there must be."""
    permit = breaker.admit()
    assert permit is not None
    return permit


def opened(clock: Clock) -> Breaker:
    """One that has just opened."""
    breaker = made(clock, failures=1)
    breaker.failed(admitted(breaker))
    return breaker


def test_breaker_counts_a_doubtful_refusal_once_for_each_caller(clock: Clock) -> None:
    """A firewall may refuse one caller's message: however often that caller asks, nobody else loses the target."""
    breaker = made(clock, failures=3)
    for _ in range(50):
        breaker.doubted(admitted(breaker), "mallory")
    breaker.doubted(admitted(breaker), "alice")
    assert breaker.state == "closed"
    breaker.doubted(admitted(breaker), "bob")
    assert breaker.state == "open"


def test_breaker_forgets_doubtful_refusals_with_an_answer_and_with_time(clock: Clock) -> None:
    """Without names each question counts, and in a row means in a row."""
    breaker = made(clock, failures=2)
    for _ in range(5):
        breaker.doubted(admitted(breaker), "")
        breaker.succeeded(admitted(breaker))
    breaker.doubted(admitted(breaker), "")
    clock.now += 31
    breaker.doubted(admitted(breaker), "")
    assert breaker.state == "closed"
    breaker.doubted(admitted(breaker), "")
    assert breaker.state == "open"


def test_doubtful_refusal_of_a_probe_makes_room_for_the_next(clock: Clock) -> None:
    """It says nothing of the target: neither does it stay away for longer, nor is it back."""
    breaker = opened(clock)
    clock.now += 15
    breaker.doubted(admitted(breaker), "mallory")
    assert breaker.state == "half_open"
    breaker.succeeded(admitted(breaker))
    assert breaker.state == "closed"


def test_breaker_opens_after_its_number_of_failures(clock: Clock) -> None:
    """And says how long it will stay so."""
    breaker = made(clock)
    for _ in range(2):
        breaker.failed(admitted(breaker))
        assert breaker.admit()
    breaker.failed(admitted(breaker))
    assert not breaker.admit()
    assert breaker.wait() == 15


def test_failures_far_apart_do_not_count(clock: Clock) -> None:
    """Three in an hour are no reason."""
    breaker = made(clock)
    for _ in range(5):
        breaker.failed(admitted(breaker))
        clock.now += 20
    assert breaker.admit()


def test_a_success_between_starts_the_count_anew(clock: Clock) -> None:
    """Failures in a row are meant."""
    breaker = made(clock)
    for _ in range(4):
        breaker.failed(admitted(breaker))
        breaker.failed(admitted(breaker))
        breaker.succeeded(admitted(breaker))
    assert breaker.admit()


def test_breaker_lets_one_probe_through_at_a_time(clock: Clock) -> None:
    """When its time is over one request may try; the others go elsewhere until it is back."""
    breaker = opened(clock)
    clock.now += 15
    probe = admitted(breaker)
    assert not breaker.admit()
    breaker.failed(probe)
    assert not breaker.admit()
    clock.now += 15
    probe = admitted(breaker)
    breaker.succeeded(probe)
    assert breaker.admit()
    assert breaker.admit()


def test_a_probe_that_came_to_nothing_makes_room(clock: Clock) -> None:
    """Its client left: the next one may try."""
    breaker = made(clock, failures=1)
    before = admitted(breaker)
    breaker.failed(before)
    clock.now += 15
    probe = admitted(breaker)
    breaker.rest(before)  # one that was let in before it opened has gone: that is no word about the probe
    assert not breaker.admit()
    breaker.rest(probe)
    assert breaker.admit()


@pytest.mark.parametrize("what", ["failed", "fell_silent", "denied", "succeeded", "began"])
def test_result_of_a_call_from_before_the_opening_is_ignored(clock: Clock, what: str) -> None:
    """It may have been asked when all was well, or when nothing was: it neither opens, holds open nor closes, and ends no probe."""
    breaker = made(clock, failures=2)
    before = admitted(breaker)
    for _ in range(2):
        breaker.failed(before)
    told = getattr(breaker, what)
    clock.now += 10
    told(before)
    assert (breaker.state, breaker.wait()) == ("open", 5)
    clock.now += 5
    probe = admitted(breaker)
    told(before)
    assert breaker.state == "half_open"
    assert not breaker.admit()
    breaker.succeeded(probe)
    for _ in range(3):
        told(before)
    assert breaker.state == "closed"


def test_a_stream_from_before_does_not_make_a_wrong_key_a_good_one(clock: Clock) -> None:
    """It was let in with the key of then."""
    breaker = made(clock)
    before = admitted(breaker)
    breaker.denied(admitted(breaker))
    breaker.succeeded(before)
    assert breaker.state == "open"


def test_after_a_probe_one_failure_opens_it_again(clock: Clock) -> None:
    """A first word is half a promise: until an answer has come to its end, nothing is forgiven."""
    breaker = made(clock)
    breaker.open()
    for _ in range(3):
        clock.now += 15
        probe = admitted(breaker)
        breaker.began(probe)
        assert breaker.state == "closed"
        another = admitted(breaker)
        breaker.failed(probe)
        assert not breaker.admit()
        breaker.failed(another)
        assert breaker.wait() == 15
    clock.now += 15
    breaker.succeeded(admitted(breaker))
    for _ in range(2):
        breaker.failed(admitted(breaker))
    assert breaker.admit()


def test_open_time_counts_from_the_start_of_a_probe(clock: Clock) -> None:
    """Not from when it failed: a probe that nobody answers would keep a target that is well again waiting for as long."""
    breaker = opened(clock)
    clock.now += 15
    probe = admitted(breaker)
    clock.now += 10
    breaker.failed(probe)
    assert breaker.wait() == 5
    clock.now += 5
    probe = admitted(breaker)
    clock.now += 20
    assert not breaker.admit()  # it still runs
    breaker.failed(probe)
    assert breaker.admit()


def test_probe_of_a_silent_target_has_less_time(clock: Clock) -> None:
    """But for one probe in four, beside which others are asked: the target may be slow to start now, and would never be back."""
    breaker = made(clock, failures=1)
    assert admitted(breaker).patience == math.inf
    breaker.fell_silent(admitted(breaker))
    for _ in range(3):
        clock.now += 15
        probe = admitted(breaker)
        assert probe.patience == 15
        breaker.fell_silent(probe)
    clock.now += 15
    slow = admitted(breaker)
    assert slow.patience == math.inf
    clock.now += 15
    beside = admitted(breaker)
    assert beside.patience == 15
    breaker.began(slow)
    breaker.fell_silent(beside)
    assert breaker.state == "closed"
    breaker.failed(slow)
    clock.now += 15
    probe = admitted(breaker)
    assert probe.patience == math.inf  # it was no silence


def test_target_with_retry_after_is_left_alone_until_then(clock: Clock) -> None:
    """By everybody, as if it were open; then it is as it was. Nobody is left alone for days."""
    breaker = made(clock)
    breaker.leave(20)
    breaker.leave(7)
    assert (breaker.state, breaker.wait(), breaker.waits_for_retry_after) == ("open", 20, True)
    assert not breaker.admit()
    clock.now += 20
    assert (breaker.state, breaker.wait(), breaker.waits_for_retry_after) == ("closed", 0, False)
    assert breaker.admit()
    breaker.leave(3.2 * 86_400)
    assert breaker.wait() == 60
    breaker.open()
    assert (breaker.wait(), breaker.waits_for_retry_after) == (60, False)
    breaker.half_open()  # an operator knows better
    assert breaker.state == "half_open"
    assert breaker.admit()


def health_of(breaker: Breaker) -> TargetHealth:
    """Return the health of a target that has this breaker."""
    made = new_health()
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
        return Candidate(self.name, self.answer, health=health_of(self.breaker))


async def transcript(*targets: Target) -> list[Event]:
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
        assert outcomes(await transcript(primary, spare))[-1] == "ok"
    assert primary.asked == 3
    for _ in range(3):
        clock.now += 15
        for _ in range(5):
            assert outcomes(await transcript(primary, spare))[-1] == "ok"
    assert primary.asked == 6
    primary.fails = None
    clock.now += 15
    assert outcomes(await transcript(primary, spare)) == ["ok"]
    assert outcomes(await transcript(primary, spare)) == ["ok"]
    assert primary.asked == 8


DOWN = {
    "refused": (TargetDown("a", "connection"), 0.0),
    "broken": (TargetDown("a", "status_503"), 0.01),
    "a black hole": (TargetSilent("a", "timeout_connect"), Timeout().connect),
    "silent": (TargetDown("a", "cut"), 3600.0),
}
"""How a primary fails, and after how many seconds."""


class Primary:
    """Down for a minute, well before and after; remembers when it was asked, and until when."""

    def __init__(self, how: str, down: float) -> None:
        self._how = how
        self._down = down
        self.asked = list[tuple[float, float]]()
        """Of those that failed."""

    async def answer(self, _: Ask) -> Events:
        """One model call. A question that came while it was down is lost."""
        began = now()
        if 0 <= began - self._down < 60:
            error, seconds = DOWN[self._how]
            try:
                await asyncio.sleep(seconds)
            finally:
                self.asked.append((began - self._down, now() - self._down))
            raise error
        await asyncio.sleep(0.3)
        yield Start("a", "m")
        yield Text("Hi")
        yield Finish("stop")


@pytest.mark.parametrize("before", [0, 30], ids=["from the beginning", "after a while"])
@pytest.mark.parametrize("how", DOWN)
def test_a_primary_that_was_down_for_a_minute_is_soon_back(how: str, before: int) -> None:
    """With the defaults, however it is down: a question every second, twenty at once in the middle of it. All are served, one probe
    goes to it in each window, and within 5 s of its recovery it answers again, and goes on to.
    """

    async def run() -> tuple[Primary, list[tuple[float, list[str]]]]:
        down = now() + before
        primary, served = Primary(how, down), list[tuple[float, list[str]]]()
        spare = Target("b", Breaker(Declared(), now))
        asked = failover(
            [Candidate("a", primary.answer, health=new_health(clock=now)), spare.candidate()], FailureRules(Timeout(), Retry())
        )

        async def ask() -> None:
            async with aclosing(asked(ASK)) as events:
                tried = outcomes([event async for event in events])
            served.append((now() - down, tried))

        async with asyncio.TaskGroup() as asking:
            for second in range(-before, 80):
                for _ in range(20 if second == 30 else 1):
                    asking.create_task(ask())
                await asyncio.sleep(1)
        return primary, served

    primary, served = jumping(run())
    assert len(served) == before + 80 + 19
    assert all(tried[-1] == "ok" for _, tried in served)
    back = min(at for at, tried in served if at >= 60 and tried == ["ok"])
    assert back <= 65
    assert all(tried == ["ok"] for at, tried in served if at > back + Timeout().first_token)
    # The first five fail side by side; from then on it is open.
    opened = sorted(ended for _, ended in primary.asked)[4]
    probes = [one for one in primary.asked if one[0] >= opened]
    assert len(probes) >= 9
    assert all(later - earlier >= Declared().open for (earlier, _), (later, _) in itertools.pairwise(sorted(probes)))


async def test_target_that_is_down_is_not_retried_per_question(clock: Clock) -> None:
    """A thousand questions to a target that is down, and no breaker that would close: one call each, and ten more."""
    patient = Declared(failures=1000, within=0.001)
    target = Target("a", Breaker(patient, clock))
    target.fails = TargetDown("a", "status_503")
    candidate = target.candidate()
    policy = FailureRules(Timeout(first_token=1, idle=1), Retry(attempts=3, backoff=Span(0.0, 0.0)), "fail")
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
        await transcript(primary, spare)
    assert (primary.asked, spare.asked) == (3, 0)
    assert outcomes(await transcript(primary, spare)) == ["breaker_open", "ok"]


async def test_a_wrong_key_opens_it_at_once(clock: Clock) -> None:
    """It will not work the next time either."""
    primary, spare = Target("a", made(clock)), Target("b", made(clock))
    primary.fails = TargetDenied("a", "status_401")
    assert outcomes(await transcript(primary, spare)) == ["status_401", "ok"]
    assert outcomes(await transcript(primary, spare)) == ["breaker_open", "ok"]


async def test_a_question_at_fault_says_nothing_of_the_target(clock: Clock) -> None:
    """Bad requests of one caller must not close a target to all."""
    primary, spare = Target("a", made(clock, failures=1)), Target("b", made(clock))
    primary.fails = TargetRefused("a", "status_400")
    for _ in range(5):
        assert outcomes(await transcript(primary, spare)) == ["status_400", "ok"]


async def test_error_says_when_to_retry_if_all_targets_are_left_alone(clock: Clock) -> None:
    """At once, without asking anybody."""
    only = Target("a", opened(clock))
    only.fails = TargetDown("a", "status_500")
    clock.now += 5
    with pytest.raises(Busy) as caught:
        await transcript(only)
    assert caught.value.retry_after == 10
    assert only.asked == 0


async def test_a_client_that_leaves_during_the_probe_makes_room(clock: Clock) -> None:
    """The slot of a cancelled probe is free again."""
    breaker = opened(clock)
    clock.now += 15
    begun = asyncio.Event()

    async def silent(_: Ask) -> Events:
        yield Start("a", "m")
        begun.set()
        await asyncio.Event().wait()

    async def read() -> None:
        async with aclosing(failover([Candidate("a", silent, health=health_of(breaker))], ONCE)(ASK)) as events:
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
    breaker = opened(clock)
    clock.now += 15

    def eager(_: Ask) -> Events:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        async with aclosing(failover([Candidate("a", eager, health=health_of(breaker))], ONCE)(ASK)) as events:
            await anext(events)
    assert breaker.admit()
