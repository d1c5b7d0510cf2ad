"""Hedging: a second target is asked while the first is late, and the first answer to start is used."""

import asyncio
import random
import statistics
from contextlib import aclosing

import pytest

from router.attempt import Trail
from router.chat import Ask, Message
from router.config.declaration import HedgeConfig as Declared
from router.config.declaration import Retry, Timeout
from router.config.values import Span
from router.drill import VirtualLoop
from router.errors import Busy, TargetDown, Unanswered
from router.events import Event, Events, Finish, Start, Text
from router.failover import Candidate, FailureRules, TargetHealth, failover
from router.failover.hedge import Hedge, race
from router.failover.load import Load
from router.value import replace
from tests.conftest import LANES, Workspace, routes, serving
from tests.support.attempts import with_attempts
from tests.support.provider import Reply, provider, text

ASK = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))


def policy(after: float | None = 0.02, at_most: float = 1.0) -> FailureRules:
    """Return rules with a hedge after so many seconds, one attempt for each target, and no rescue."""
    return FailureRules(
        Timeout(first_token=2, idle=2), Retry(attempts=1, backoff=Span(0.001, 0.002)), "fail", Declared(after=after, at_most=at_most)
    )


class Slow:
    """A target whose answer starts at once, or if `held` once `starts` is set; with `fails` it then fails instead. It counts its calls."""

    def __init__(self, name: str, *, fails: bool = False, held: bool = False) -> None:
        self.name = name
        self.fails = fails
        self.starts = asyncio.Event()
        if not held:
            self.starts.set()
        self.asked = 0
        self.closed = 0

    async def answer(self, _: Ask) -> Events:
        """Wait until `starts` is set, then answer or fail."""
        self.asked += 1
        try:
            await self.starts.wait()
            if self.fails:
                raise TargetDown(self.name, "status_503")
            yield Start(self.name, "m")
            yield Text(self.name)
            yield Finish("stop")
        finally:
            self.closed += 1

    def candidate(self) -> Candidate:
        """Return the target as a candidate with a health of its own."""
        return Candidate(self.name, self.answer, health=TargetHealth())


async def heard(*targets: Slow, policy: FailureRules) -> list[Event]:
    """Return all events of one answer, and assert that their order is valid and that no call, task or request in flight is left."""
    before = len(asyncio.all_tasks())
    candidates = [target.candidate() for target in targets]
    async with asyncio.timeout(240):
        seen = await with_attempts(failover(candidates, policy), ASK)
    assert all(candidate.health.load.busy == 0 for candidate in candidates)
    assert all(target.asked == target.closed for target in targets)
    assert len(asyncio.all_tasks()) == before
    return seen


def summary(events: list[Event]) -> tuple[str, list[tuple[str, str]]]:
    """Return the text of an answer, and target and outcome of each attempt."""
    end = events[-1]
    assert isinstance(end, Finish)
    said = "".join(event.text for event in events if isinstance(event, Text))
    return said, [(attempt.target, attempt.outcome) for attempt in end.attempts]


async def test_hedge_answers_while_the_first_target_is_late() -> None:
    """A second target that starts while the first is late gives the answer; the first attempt is closed as `abandoned`."""
    assert summary(await heard(Slow("a", held=True), Slow("b"), policy=policy())) == ("b", [("a", "abandoned"), ("b", "ok")])


async def test_first_target_that_starts_in_time_is_not_hedged() -> None:
    """A first target that starts before the delay is over answers, and no second call is made."""
    spare = Slow("b")
    assert summary(await heard(Slow("a"), spare, policy=policy(after=5))) == ("a", [("a", "ok")])
    assert spare.asked == 0


async def test_first_target_answers_if_it_starts_before_its_hedge() -> None:
    """A late first target that starts before the second one gives the answer; the second attempt is closed as `abandoned`."""
    first, second = Slow("a", held=True), Slow("b", held=True)
    asked = asyncio.create_task(heard(first, second, policy=policy()))
    async with asyncio.timeout(240):
        while not second.asked:
            await asyncio.sleep(0)
    first.starts.set()
    assert summary(await asked) == ("a", [("b", "abandoned"), ("a", "ok")])


async def test_first_target_answers_if_both_start_at_once() -> None:
    """Of two hedged targets that start at the same moment, the first gives the answer; the second attempt is recorded as `abandoned`."""
    first, second = Slow("a", held=True), Slow("b", held=True)
    asked = asyncio.create_task(heard(first, second, policy=policy()))
    async with asyncio.timeout(240):
        while not second.asked:
            await asyncio.sleep(0)
    first.starts.set()
    second.starts.set()
    assert summary(await asked) == ("a", [("b", "abandoned"), ("a", "ok")])


async def test_failure_of_one_hedged_call_does_not_end_the_other() -> None:
    """A target that fails at once leaves the answer to the second; a second that fails while the first is late leaves it to the first."""
    assert summary(await heard(Slow("a", fails=True), Slow("b"), policy=policy())) == ("b", [("a", "status_503"), ("b", "ok")])
    first, second = Slow("a", held=True), Slow("b", fails=True)
    asked = asyncio.create_task(heard(first, second, policy=policy()))
    async with asyncio.timeout(240):
        while not second.closed:
            await asyncio.sleep(0)
    first.starts.set()
    assert summary(await asked) == ("a", [("b", "status_503"), ("a", "ok")])


async def test_third_target_answers_if_both_hedged_calls_fail() -> None:
    """After both hedged calls have failed, the third target gives the answer, and each target was asked once."""
    first, second, third = Slow("a", held=True, fails=True), Slow("b", held=True, fails=True), Slow("c")
    asked = asyncio.create_task(heard(first, second, third, policy=policy()))
    async with asyncio.timeout(240):
        while not second.asked:
            await asyncio.sleep(0)
    second.starts.set()
    first.starts.set()
    said, tried = summary(await asked)
    assert said == "c"
    assert sorted(tried) == [("a", "status_503"), ("b", "status_503"), ("c", "ok")]
    assert (first.asked, second.asked, third.asked) == (1, 1, 1)


async def test_second_hedged_call_is_not_retried() -> None:
    """While the first target is late, a second one that fails is asked once, even on a route with two tries for each target."""
    first, second, third = Slow("a", held=True), Slow("b", fails=True), Slow("c")
    asked = asyncio.create_task(heard(first, second, third, policy=replace(policy(), retry=Retry(attempts=2))))
    async with asyncio.timeout(240):
        while not second.closed:
            await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    first.starts.set()
    assert summary(await asked) == ("a", [("b", "status_503"), ("a", "ok")])
    assert (first.asked, second.asked, third.asked) == (1, 1, 0)


async def test_failure_of_both_hedged_calls_raises_one_error_with_both_attempts() -> None:
    """With both targets down, one Unanswered is raised, not Busy, and lists both attempts."""
    ask = replace(ASK, trail=Trail())
    targets = [Slow("a", fails=True), Slow("b", fails=True)]
    async with aclosing(failover([target.candidate() for target in targets], policy())(ask)) as events:
        with pytest.raises(Unanswered) as caught:
            await anext(events)
    assert not isinstance(caught.value, Busy)
    assert [attempt.target for attempt in ask.trail.attempts] == ["a", "b"]


async def test_client_that_disconnects_during_a_hedge_closes_both_calls() -> None:
    """A request cancelled while two targets are asked closes both calls."""
    first, second = Slow("a", held=True), Slow("b", held=True)
    asked = asyncio.create_task(heard(first, second, policy=policy()))
    async with asyncio.timeout(240):
        while not second.asked:
            await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert (first.closed, second.closed) == (1, 1)


@pytest.mark.parametrize("turn", range(12))
async def test_race_releases_every_result_it_does_not_return_at_any_cancellation(turn: int) -> None:
    """A race cancelled any number of event-loop turns after both results are ready returns one of them or none, and releases all others."""
    ready, made, gone = asyncio.Event(), list[str](), set[str]()

    async def racer(name: str) -> str:
        await ready.wait()
        made.append(name)
        return name

    async def let_go(name: str) -> None:
        await asyncio.sleep(0)
        gone.add(name)

    racing = asyncio.create_task(race(racer("a"), lambda: racer("b"), 0, let_go))
    for _ in range(5):
        await asyncio.sleep(0)  # both run
    ready.set()
    for _ in range(turn):
        await asyncio.sleep(0)
    racing.cancel()
    try:
        kept = {await racing}
    except asyncio.CancelledError:
        kept = set[str | None]()
    assert gone | kept == set(made)
    assert not gone & kept


async def test_hedge_budget_allows_its_share_of_the_questions() -> None:
    """With `at_most: 5%`, the budget allows 45 to 50 hedges for 1,000 questions, and none before the first question."""
    hedge = Hedge(Declared(after=1, at_most=0.05))
    spent = 0
    for _ in range(1000):
        hedge.earn()
        spent += hedge.spend()
    assert 45 <= spent <= 50
    assert not Hedge(Declared(after=1, at_most=0.5)).spend()


def test_hedge_delay_without_after_is_one_and_a_half_times_the_p90() -> None:
    """The delay is 0.6 s with a p90 time to first token of 0.4 s, 1.5 s with `after: 1.5`, and None before any start."""
    load = Load(lambda: 0.0)
    for seconds in [0.2] * 89 + [0.4] * 6 + [3.0] * 5:
        load.started(seconds, 0.0)
    assert Hedge(Declared()).delay(load) == pytest.approx(0.6)
    assert Hedge(Declared()).delay(Load()) is None
    assert Hedge(Declared(after=1.5)).delay(load) == 1.5


QUESTIONS = 10_000


def starts(hedged: Declared | None) -> tuple[list[float], int]:
    """Return the times to first token of 10,000 questions and the number of calls. 5 % of calls start after 5 s, all others after 0.2 s."""
    chance = random.Random(7)
    calls = 0

    async def answer(_: Ask) -> Events:
        nonlocal calls
        calls += 1
        await asyncio.sleep(5.0 if chance.random() < 0.05 else 0.2)
        yield Start("a", "m")
        yield Text("one ")
        yield Text("answer")
        yield Finish("stop")

    async def run() -> list[float]:
        loop = asyncio.get_running_loop()
        candidates = [Candidate(name, answer, health=TargetHealth(clock=loop.time)) for name in "ab"]
        asked = failover(candidates, FailureRules(Timeout(), Retry(), "fail", hedged))
        times: list[float] = []
        for _ in range(QUESTIONS):
            began, said = loop.time(), ""
            async with aclosing(asked(ASK)) as events:
                async for event in events:
                    if isinstance(event, Text):
                        if not said:
                            times.append(loop.time() - began)
                        said += event.text
            assert said == "one answer"
        return times

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run()), calls


@pytest.mark.parametrize("after", [None, 0.5], ids=["learned", "declared"])
def test_hedging_cuts_the_p99_of_the_time_to_first_token_to_a_fifth(after: float | None) -> None:
    """With 5 % slow starts, hedging cuts the p99 from 5 s to 1 s at most for at most 5 % more calls, and no text is repeated."""
    alone, _ = starts(None)
    hedged, calls = starts(Declared(after=after))
    before, now = (statistics.quantiles(times, n=100)[98] for times in (alone, hedged))
    assert before == pytest.approx(5.0)
    assert now <= before / 5
    assert calls <= QUESTIONS * 1.05


@pytest.mark.parametrize("lane", LANES)
async def test_hedge_streams_its_answer_and_closes_the_losers_connection_in_each_lane(workspace: Workspace, lane: str) -> None:
    """In each provider lane, the second target's answer reaches the client complete, and every connection to the first is closed."""
    async with provider(Reply(hold=True)) as late, provider(Reply(text("Hello", " there"))) as quick:
        targets = LANES[lane](late.base, "a") + LANES[lane](quick.base, "b")
        workspace.write("routes.yaml", routes(targets, "targets: [a, b]\n    hedge: {after: 50ms, at_most: 100%}"))
        async with serving(workspace.build()) as client:
            for _ in range(3):
                answer = await client.ask()
                assert answer.text == "Hello there"
                assert answer.headers["x-router-target"] == "b"
            await late.until(lambda: late.requests and late.closed == len(late.requests))
