"""The circuit breaker: a target that keeps failing gets no requests for a while, then one probe at a time."""

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
from router.failover import Breaker, Candidate, FailureRules, TargetHealth, failover
from router.failover.breaker import Permit
from router.value import replace
from tests.support.attempts import with_attempts
from tests.support.virtual import jumping, now

ASK = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))
ONCE = FailureRules(Timeout(first_token=1, idle=1), Retry(attempts=1, backoff=Span(0.001, 0.002)), "fail")


class Clock:
    """A clock that only the test advances, from 100 s on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that only the test advances."""
    return Clock()


def made(clock: Clock, failures: int = 3) -> Breaker:
    """Return a breaker that opens after `failures` failures within 30 s, and stays open for 15 s."""
    return Breaker(Declared(failures=failures, within=30, open=15), clock)


def admitted(breaker: Breaker) -> Permit:
    """Return a permit to ask the target, and assert that the breaker gives one."""
    permit = breaker.admit()
    assert permit is not None
    return permit


def opened(clock: Clock) -> Breaker:
    """Return a breaker that has just opened, after one failure."""
    breaker = made(clock, failures=1)
    breaker.failed(admitted(breaker))
    return breaker


def test_breaker_counts_unexplained_refusals_once_for_each_caller(clock: Clock) -> None:
    """Fifty refusals that may concern one caller's messages count once: with `failures: 3`, the third caller refused opens the breaker."""
    breaker = made(clock, failures=3)
    for _ in range(50):
        breaker.doubted(admitted(breaker), "mallory")
    breaker.doubted(admitted(breaker), "alice")
    assert breaker.state == "closed"
    breaker.doubted(admitted(breaker), "bob")
    assert breaker.state == "open"


def test_breaker_drops_unexplained_refusals_after_an_answer_or_its_window(clock: Clock) -> None:
    """An answer, or 31 s with `within: 30`, resets the count of unexplained refusals; without a caller's name each refusal counts."""
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


def test_breaker_stays_half_open_after_an_unexplained_refusal_of_its_probe(clock: Clock) -> None:
    """A probe refused without a reason leaves the breaker half-open; the next is admitted at once, and its success closes the breaker."""
    breaker = opened(clock)
    clock.now += 15
    breaker.doubted(admitted(breaker), "mallory")
    assert breaker.state == "half_open"
    breaker.succeeded(admitted(breaker))
    assert breaker.state == "closed"


def test_breaker_opens_after_its_configured_number_of_failures(clock: Clock) -> None:
    """A breaker opens at its third failure with `failures: 3`, and then reports 15 s until its next probe."""
    breaker = made(clock)
    for _ in range(2):
        breaker.failed(admitted(breaker))
        assert breaker.admit()
    breaker.failed(admitted(breaker))
    assert not breaker.admit()
    assert breaker.wait() == 15


def test_breaker_stays_closed_when_failures_are_further_apart_than_its_window(clock: Clock) -> None:
    """Five failures, one every 20 s, do not open a breaker with `failures: 3` and `within: 30`."""
    breaker = made(clock)
    for _ in range(5):
        breaker.failed(admitted(breaker))
        clock.now += 20
    assert breaker.admit()


def test_breaker_resets_its_failure_count_at_a_success(clock: Clock) -> None:
    """Four times two failures, each pair followed by a success, do not open a breaker with `failures: 3`."""
    breaker = made(clock)
    for _ in range(4):
        breaker.failed(admitted(breaker))
        breaker.failed(admitted(breaker))
        breaker.succeeded(admitted(breaker))
    assert breaker.admit()


def test_breaker_admits_one_probe_at_a_time_after_its_open_time(clock: Clock) -> None:
    """After the open time one probe is admitted; its failure opens the breaker again, its success admits every request."""
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


def test_breaker_admits_another_probe_when_a_client_leaves_during_one(clock: Clock) -> None:
    """A probe given back without a result lets the next one in; a request from before the opening that is given back does not."""
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
def test_breaker_ignores_results_of_requests_admitted_before_it_opened(clock: Clock, what: str) -> None:
    """A result of a request from before the opening, good or bad, does not change the breaker and does not end its probe."""
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


def test_breaker_opened_by_a_denied_key_ignores_a_success_from_before(clock: Clock) -> None:
    """The success of a request that was admitted before the key was denied leaves the breaker open."""
    breaker = made(clock)
    before = admitted(breaker)
    breaker.denied(admitted(breaker))
    breaker.succeeded(before)
    assert breaker.state == "open"


def test_breaker_reopens_on_one_failure_until_an_answer_completes(clock: Clock) -> None:
    """A probe's first word closes the breaker, but one failure then reopens it for 15 s, three times over.
    Once an answer was complete, two failures leave it closed.
    """
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


def test_breaker_counts_its_open_time_from_the_start_of_a_failed_probe(clock: Clock) -> None:
    """After a probe that failed after 10 s, the next one may go 5 s later with `open: 15`; after one that took 20 s, at once."""
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


def test_breaker_limits_the_wait_of_probes_after_a_timeout(clock: Clock) -> None:
    """After timeouts a probe waits at most 15 s for its first word; every fourth has no such limit, and others are admitted beside it."""
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


def test_breaker_admits_no_request_until_the_retry_after_of_its_target(clock: Clock) -> None:
    """A `Retry-After` keeps requests away, for 60 s at most and without a half-open phase; an operator's `half_open` ends it."""
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
    made = TargetHealth()
    made.breaker = breaker
    return made


class Target:
    """A target that raises `fails` before its first event, or after some text if `late`; else it answers. It counts its calls."""

    def __init__(self, name: str, breaker: Breaker) -> None:
        self.name = name
        self.breaker = breaker
        self.fails: Exception | None = None
        self.late = False
        self.asked = 0

    async def answer(self, _: Ask) -> Events:
        """Answer one question, or fail."""
        self.asked += 1
        if self.fails and not self.late:
            raise self.fails
        yield Start(self.name, "m")
        yield Text("Hi")
        if self.fails:
            raise self.fails
        yield Finish("stop")

    def candidate(self) -> Candidate:
        """Return the target as a candidate with this breaker."""
        return Candidate(self.name, self.answer, health=health_of(self.breaker))


async def transcript(*targets: Target) -> list[Event]:
    """Return all events of one answer from these targets, each asked once at most, with its attempts."""
    return await with_attempts(failover([target.candidate() for target in targets], ONCE), ASK)


def outcomes(events: list[Event]) -> list[str]:
    """Return the outcomes of the attempts that the final Finish lists."""
    end = events[-1]
    assert isinstance(end, Finish)
    return [attempt.outcome for attempt in end.attempts]


async def test_request_skips_a_failing_target_but_for_one_probe_per_open_time(clock: Clock) -> None:
    """A target that is down gets three requests and then one probe each 15 s, while the spare answers; once recovered, it answers again."""
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
"""Kind of failure → the error, and the seconds after which it is raised."""


class Primary:
    """A target that fails for 60 s from `down` on and is well before and after; it records the start and end of each failed call."""

    def __init__(self, how: str, down: float) -> None:
        self._how = how
        self._down = down
        self.asked = list[tuple[float, float]]()
        """Start and end of each failed call, in seconds since the outage began."""

    async def answer(self, _: Ask) -> Events:
        """Answer after 0.3 s; while the target is down, fail after the time that its kind of failure takes in DOWN.

        A question that arrived before the recovery fails also when the target recovers meanwhile.
        """
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
def test_primary_answers_again_within_five_seconds_of_its_recovery(how: str, before: int) -> None:
    """With the defaults and any kind of failure, a target that is down for a minute answers again within 5 s of its recovery.
    Meanwhile every question is answered by the spare, with one probe per open time.
    """

    async def run() -> tuple[Primary, list[tuple[float, list[str]]]]:
        down = now() + before
        primary, served = Primary(how, down), list[tuple[float, list[str]]]()
        spare = Target("b", Breaker(Declared(), now))
        asked = failover(
            [Candidate("a", primary.answer, health=TargetHealth(clock=now)), spare.candidate()], FailureRules(Timeout(), Retry())
        )

        async def ask() -> None:
            tried = outcomes(await with_attempts(asked, ASK))
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


async def test_retry_budget_bounds_the_retries_of_a_failing_target(clock: Clock) -> None:
    """With `attempts: 3`, a thousand questions to a failing target cost ten retries in all; after twenty answers, two more."""
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


async def test_breaker_counts_answers_that_break_off(clock: Clock) -> None:
    """Three answers that break off after their first text open the breaker, and the fourth question goes to the spare.
    No target continues them, since the rules say `rescue: fail`.
    """
    primary = Target("a", made(clock))
    primary.fails, primary.late = TargetDown("a", "cut"), True
    spare = Target("b", made(clock))
    for _ in range(3):
        await transcript(primary, spare)
    assert (primary.asked, spare.asked) == (3, 0)
    assert outcomes(await transcript(primary, spare)) == ["breaker_open", "ok"]


async def test_breaker_opens_at_the_first_denied_key(clock: Clock) -> None:
    """One status 401 opens the breaker: the next question goes to the spare without a call."""
    primary, spare = Target("a", made(clock)), Target("b", made(clock))
    primary.fails = TargetDenied("a", "status_401")
    assert outcomes(await transcript(primary, spare)) == ["status_401", "ok"]
    assert outcomes(await transcript(primary, spare)) == ["breaker_open", "ok"]


async def test_breaker_does_not_count_refused_questions(clock: Clock) -> None:
    """Five questions refused with status 400 leave a breaker with `failures: 1` closed: each still reaches the target."""
    primary, spare = Target("a", made(clock, failures=1)), Target("b", made(clock))
    primary.fails = TargetRefused("a", "status_400")
    for _ in range(5):
        assert outcomes(await transcript(primary, spare)) == ["status_400", "ok"]


async def test_error_has_a_retry_after_if_the_only_breaker_is_open(clock: Clock) -> None:
    """While the only target's breaker is open for 10 s more, a question raises Busy with `retry_after` 10 and does not ask the target."""
    only = Target("a", opened(clock))
    only.fails = TargetDown("a", "status_500")
    clock.now += 5
    with pytest.raises(Busy) as caught:
        await transcript(only)
    assert caught.value.retry_after == 10
    assert only.asked == 0


def test_requests_after_a_probe_of_a_silent_target_have_the_full_time_to_first_token(clock: Clock) -> None:
    """Once a probe that might wait 15 s has its first word, all requests share its permit: they wait as long as the route's limit says."""
    breaker = made(clock, failures=1)
    breaker.fell_silent(admitted(breaker))
    clock.now += 15
    probe = admitted(breaker)
    assert (probe.patience, probe.probes) == (15, True)
    breaker.began(probe)
    assert admitted(breaker) is probe
    assert (probe.patience, probe.probes) == (math.inf, False)
    breaker.succeeded(probe)
    assert breaker.state == "closed"
    breaker.failed(admitted(breaker))
    assert breaker.state == "open"


def test_slow_target_answers_after_a_probe_of_it(clock: Clock) -> None:
    """A target that was silent and answered a probe then takes 20 s to its first word, longer than a probe may: it is no failure."""
    breaker = made(clock, failures=1)
    breaker.fell_silent(admitted(breaker))
    clock.now += 15
    waits = [1.0, 20.0]

    async def slow(_: Ask) -> Events:
        yield Start("a", "m")
        await asyncio.sleep(waits.pop(0))
        yield Text("Hello")
        yield Finish("stop")

    answer = failover([Candidate("a", slow, health=health_of(breaker))], replace(ONCE, timeout=Timeout(first_token=60, idle=60)))

    async def asked() -> list[Event]:
        async with aclosing(answer(ASK)) as events:
            return [event async for event in events]

    while waits:
        assert isinstance(jumping(asked())[-1], Finish)


async def test_cancelled_request_frees_its_probe_of_the_breaker(clock: Clock) -> None:
    """A client that disconnects while its request is the probe frees it: the breaker admits another probe at once."""
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


async def test_unexpected_exception_frees_the_probe_of_the_breaker(clock: Clock) -> None:
    """A probe whose call raises KeyError before any stream exists is freed: the breaker admits another probe at once."""
    breaker = opened(clock)
    clock.now += 15

    def eager(_: Ask) -> Events:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        async with aclosing(failover([Candidate("a", eager, health=health_of(breaker))], ONCE)(ASK)) as events:
            await anext(events)
    assert breaker.admit()
