"""Pools: targets that share the questions of a route, by weight, by load or by latency."""

import random
from collections import Counter
from contextlib import aclosing

import pytest

from router.chat import Ask, Message
from router.config.declaration import BreakerConfig as Declared
from router.config.declaration import Retry, Timeout
from router.config.values import Span
from router.errors import TargetDown
from router.events import Event, Events, Finish, Start, Text
from router.failover import Candidate, FailureRules, Pool, TargetHealth, failover
from router.failover.load import Load, Pace
from tests.conftest import Workspace, routes
from tests.failover.test_breaker import Clock

ASK = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))
POLICY = FailureRules(Timeout(first_token=1, idle=1), Retry(attempts=1, backoff=Span(0.001, 0.002)))


def named(name: str, *, down: bool = False) -> Candidate:
    """Return a target that answers with its own name, or fails with status 503 if `down`."""

    async def answer(_: Ask) -> Events:
        if down:
            raise TargetDown(name, "status_503")
        yield Start(name, "m")
        yield Text(name)
        yield Finish("stop")

    return Candidate(name, answer, health=TargetHealth())


async def said(*targets: Candidate | Pool, chance: random.Random | None = None, times: int = 1) -> list[str]:
    """Return the texts of the answers to so many questions, asked one after the other."""
    answer = failover(targets, POLICY, chance or random.Random(1))
    told: list[str] = []
    for _ in range(times):
        async with aclosing(answer(ASK)) as events:
            seen: list[Event] = [event async for event in events]
        told.append("".join(event.text for event in seen if isinstance(event, Text)))
    return told


async def test_pool_weights_share_the_questions() -> None:
    """Of 2,000 questions, three quarters go to the target of weight three beside one of weight one, within five standard deviations."""
    count = Counter(await said(Pool((named("a"), named("b")), (3, 1)), times=2000))
    assert 1400 < count["a"] < 1600
    assert count["a"] + count["b"] == 2000


async def test_question_falls_back_within_its_pool_and_then_to_the_next_target() -> None:
    """While one target of a pool is down, the other answers; while both are, the target after the pool does."""
    assert set(await said(Pool((named("a", down=True), named("b"))), named("c"), times=20)) == {"b"}
    down = Pool((named("a", down=True), named("b", down=True)))
    assert set(await said(down, named("c"), times=20)) == {"c"}


async def test_pool_asks_the_target_with_the_fewest_requests_in_flight() -> None:
    """Of twenty concurrent questions, each of four targets has five in flight, and none after the streams are closed."""
    pool = Pool(tuple(named(name) for name in "abcd"))
    answer = failover([pool], POLICY, random.Random(1))
    open_streams = [answer(ASK) for _ in range(20)]
    for events in open_streams:
        assert isinstance(await anext(events), Start)
    assert {member.health.load.busy for member in pool.members} == {5}
    for events in open_streams:
        await events.aclose()
    assert {member.health.load.busy for member in pool.members} == {0}


async def test_pool_balanced_by_latency_asks_the_target_with_the_lower_wait() -> None:
    """With `balance: latency`, a target that starts ten times sooner is asked first, but not while twelve of its requests are in flight."""
    clock = Clock()
    slow, quick = named("slow"), named("quick")
    for candidate, seconds in ((slow, 2.0), (quick, 0.2)):
        candidate.health.load = Load(clock)
        candidate.health.load.started(seconds, clock.now)
    pool = Pool((slow, quick), balance="latency")
    assert {pool.order(random.Random(seed))[0].name for seed in range(20)} == {"quick"}
    # As many questions in flight as it is quicker, and the slow one is no worse.
    quick.health.load.busy = 12
    assert {pool.order(random.Random(seed))[0].name for seed in range(20)} == {"slow"}


def test_latency_cost_follows_a_peak_at_once_and_decays() -> None:
    """One slow start sets the latency cost to its seconds, which then fall to 1/e in 10 s."""
    clock = Clock()
    load = Load(clock)
    load.started(0.1, clock.now)
    load.started(5.0, clock.now)
    assert load.cost == 5.0
    clock.now += 10
    assert load.cost == pytest.approx(5 / 2.718, rel=0.01)
    load.started(0.1, clock.now)
    assert 1.0 < load.cost < 2.0
    clock.now += 60
    assert load.cost < 0.01


def test_latency_cost_does_not_depend_on_how_often_it_is_read() -> None:
    """The latency cost of 600 starts after a peak is the same whether it is read after each of them or only at the end."""
    clock = Clock()
    often, once = Load(clock), Load(clock)
    for number in range(600):
        clock.now += number % 3 / 100
        for load in (often, once):
            load.started(number % 7 / 10 if number else 30.0, clock.now)
        assert often.cost >= 0
    clock.now += 1
    assert often.cost == once.cost > 0


def test_usual_latency_is_a_quantile_from_twenty_starts_on() -> None:
    """The usual latency is None after 19 starts; after 20 it is the quantile asked for."""
    load = Load(lambda: 0.0)
    for _ in range(19):
        load.started(0.5, 0.0)
    assert load.usual(0.9) is None
    load.started(9.0, 0.0)
    assert load.usual(0.9) == 0.5
    assert load.usual(0.95) == 9.0


async def test_target_with_an_open_breaker_comes_last_in_its_pool() -> None:
    """A target with an open breaker comes after the others of its pool, even with a thousand times their weight."""
    pool = Pool((named("a"), named("b")), (1000, 1))
    pool.members[0].health.breaker.open()
    assert [member.name for member in pool.order(random.Random(1))] == ["b", "a"]


def test_target_is_slow_for_a_while_after_slow_starts_in_a_row() -> None:
    """Three slow starts in a row make a target slow for 4 s; then one more slow wait does so again, unless a quick start came between."""
    clock = Clock()
    pace = Pace(Declared(failures=3, within=30, open=4, slow=2), clock)
    for seconds in (3, 3, 1, 3, 3):
        pace.started(seconds)
        assert not pace.slow
    pace.started(3)
    assert pace.slow
    clock.now += 4
    assert not pace.slow
    pace.abandoned(1)  # says nothing: it may have been about to start
    assert not pace.slow
    pace.abandoned(2.5)
    assert pace.slow
    clock.now += 4
    pace.started(0.5)
    pace.started(3)
    assert not pace.slow


def test_target_is_never_slow_without_a_declared_limit() -> None:
    """A hundred starts of 60 s do not make a target slow if its breaker declares no `slow`."""
    pace = Pace(Declared())
    for _ in range(100):
        pace.started(60)
    assert not pace.slow


@pytest.mark.parametrize(("slow", "late"), [(1, True), (3, False), (None, False)])
def test_first_word_counts_as_slow_only_after_a_declared_limit(slow: float | None, *, late: bool) -> None:
    """A first word after 2 s makes a target slow with `slow: 1s`, and not with `slow: 3s` or without it; its latency is recorded each time."""
    clock = Clock()
    health = TargetHealth(Declared(failures=1, slow=slow), clock=clock)
    permit = health.breaker.admit()
    assert permit is not None
    clock.now += 2
    assert health.started(permit, clock.now - 2) == 2
    assert (health.pace.slow, health.load.cost) == (late, 2)


async def test_slow_target_is_asked_after_all_others() -> None:
    """A slow first target is passed over while the second answers, and is asked if the second is down."""
    slow, spare = named("slow"), named("spare")
    slow.health.pace = Pace(Declared(failures=1, slow=1))
    slow.health.pace.started(2)
    assert await said(slow, spare) == ["spare"]
    assert await said(slow, named("down", down=True)) == ["slow"]


def test_pool_declared_as_a_nested_list_leaves_out_skipped_targets(workspace: Workspace) -> None:
    """A list within `targets` declares a pool, of names or of `use` with a weight; an optional target without its key is left out of it."""
    text = routes(
        "a: {script: demo}\nb: {script: demo}\nc: {model: openai/m, api_key: '${UNSET}', optional: true}\nd: {script: demo}",
        "targets: [[{use: a, weight: 3}, b, c], d]",
    )
    generation = workspace.write("routes.yaml", text).build()
    assert [target.name for target in generation.routes["chat-model"].targets] == ["a", "b", "d"]
    assert generation.routes["chat-model"].declared.names == ("a", "b", "c", "d")
