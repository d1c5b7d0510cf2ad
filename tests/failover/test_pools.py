"""Pools: targets that share the questions."""

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
from router.failover import Candidate, FailureRules, Pool, failover, new_health
from router.failover.load import Load, Pace
from tests.conftest import Workspace, routes
from tests.failover.test_breaker import Clock

ASK = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))
POLICY = FailureRules(Timeout(first_token=1, idle=1), Retry(attempts=1, backoff=Span(0.001, 0.002)))


def named(name: str, *, down: bool = False) -> Candidate:
    """A target that says its name, or is down."""

    async def answer(_: Ask) -> Events:
        if down:
            raise TargetDown(name, "status_503")
        yield Start(name, "m")
        yield Text(name)
        yield Finish("stop")

    return Candidate(name, answer, health=new_health())


async def said(*targets: Candidate | Pool, chance: random.Random | None = None, times: int = 1) -> list[str]:
    """What each of so many questions was answered."""
    answer = failover(targets, POLICY, chance or random.Random(1))
    told: list[str] = []
    for _ in range(times):
        async with aclosing(answer(ASK)) as events:
            seen: list[Event] = [event async for event in events]
        told.append("".join(event.text for event in seen if isinstance(event, Text)))
    return told


async def test_weights_share_the_questions() -> None:
    """Three of four go to the target of weight three; the chances are checked to five standard deviations."""
    count = Counter(await said(Pool((named("a"), named("b")), (3, 1)), times=2000))
    assert 1400 < count["a"] < 1600
    assert count["a"] + count["b"] == 2000


async def test_target_of_a_pool_that_is_down_is_skipped() -> None:
    """Whoever is drawn first: the others of the pool answer, then who stands after it."""
    assert set(await said(Pool((named("a", down=True), named("b"))), named("c"), times=20)) == {"b"}
    down = Pool((named("a", down=True), named("b", down=True)))
    assert set(await said(down, named("c"), times=20)) == {"c"}


async def test_the_least_busy_is_asked_first() -> None:
    """Twenty questions at once over four targets are five for each."""
    pool = Pool(tuple(named(name) for name in "abcd"))
    answer = failover([pool], POLICY, random.Random(1))
    open_streams = [answer(ASK) for _ in range(20)]
    for events in open_streams:
        assert isinstance(await anext(events), Start)
    assert {member.health.load.busy for member in pool.members} == {5}
    for events in open_streams:
        await events.aclose()
    assert {member.health.load.busy for member in pool.members} == {0}


async def test_latency_keeps_away_from_the_slow_one() -> None:
    """Of two, the one that starts sooner is asked first, while what is known of the other is fresh."""
    clock = Clock()
    slow, quick = named("slow"), named("quick")
    for candidate, seconds in ((slow, 2.0), (quick, 0.2)):
        candidate.health.load = Load(clock)
        candidate.health.load.started(seconds)
    pool = Pool((slow, quick), balance="latency")
    assert {pool.order(random.Random(seed))[0].name for seed in range(20)} == {"quick"}
    # As many questions in flight as it is quicker, and the slow one is no worse.
    quick.health.load.busy = 12
    assert {pool.order(random.Random(seed))[0].name for seed in range(20)} == {"slow"}


def test_a_peak_counts_at_once_and_fades() -> None:
    """One stall is believed; without another it is forgotten within some tens of seconds."""
    clock = Clock()
    load = Load(clock)
    load.started(0.1)
    load.started(5.0)
    assert load.cost == 5.0
    clock.now += 10
    assert load.cost == pytest.approx(5 / 2.718, rel=0.01)
    load.started(0.1)
    assert 1.0 < load.cost < 2.0
    clock.now += 60
    assert load.cost < 0.01


def test_usual_latency_is_learned_as_a_quantile() -> None:
    """Not from a handful; and then as a quantile."""
    load = Load()
    for _ in range(19):
        load.started(0.5)
    assert load.usual(0.9) is None
    load.started(9.0)
    assert load.usual(0.9) == 0.5
    assert load.usual(0.95) == 9.0


async def test_target_with_an_open_breaker_comes_last_in_its_pool() -> None:
    """An open breaker is not the first thing that each request runs into."""
    pool = Pool((named("a"), named("b")), (1000, 1))
    pool.members[0].health.breaker.open()
    assert [member.name for member in pool.order(random.Random(1))] == ["b", "a"]


def test_a_slow_target_is_put_behind_for_a_while() -> None:
    """After so many slow starts in a row; one more after that time, and it is behind again; a quick one ends it."""
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


def test_slowness_counts_only_where_it_is_declared() -> None:
    """A model that thinks is not put behind another."""
    pace = Pace(Declared())
    for _ in range(100):
        pace.started(60)
    assert not pace.slow


async def test_a_slow_target_is_still_asked_where_nobody_else_answers() -> None:
    """It is behind the others, not out."""
    slow, spare = named("slow"), named("spare")
    slow.health.pace = Pace(Declared(failures=1, slow=1))
    slow.health.pace.started(2)
    assert await said(slow, spare) == ["spare"]
    assert await said(slow, named("down", down=True)) == ["slow"]


def test_a_pool_is_declared_as_a_list_in_the_list(workspace: Workspace) -> None:
    """Names and weights; those that are skipped are left out of it; `show` tells the rest."""
    text = routes(
        "a: {script: demo}\nb: {script: demo}\nc: {model: openai/m, api_key: '${UNSET}', optional: true}\nd: {script: demo}",
        "targets: [[{use: a, weight: 3}, b, c], d]",
    )
    generation = workspace.write("routes.yaml", text).build()
    assert [target.name for target in generation.routes["chat-model"].targets] == ["a", "b", "d"]
    assert generation.routes["chat-model"].declared.names == ("a", "b", "c", "d")
