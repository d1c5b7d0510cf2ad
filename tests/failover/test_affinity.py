"""Session affinity: a chat stays with the target of a pool that holds its prompt cache, and replicas agree on which."""

import random
from collections import Counter
from contextlib import aclosing
from typing import Any

import pytest

from router.chat import Ask, Message, ToolSpec
from router.config.declaration import BreakerConfig as Declared
from router.events import Start
from router.failover import Candidate, Pool, failover
from router.failover.load import Pace
from router.value import replace
from tests.conftest import Workspace, routes, serving
from tests.failover.test_pools import POLICY, named

HI = Message("user", ("Hi",))
ASK = Ask(model="chat-model", messages=(HI,), chat="c", session="s")
SESSIONS = [f"session {number}" for number in range(3000)]


def pool(*names: str, weights: tuple[float, ...] = (), **more: Any) -> Pool:
    """A pool of targets that answer."""
    return Pool(tuple(named(name) for name in names), weights, **more)


def order(of: Pool, session: str) -> list[str]:
    """Who is asked, one after the other; chance has no say in it."""
    found = [[one.name for one in of.order(random.Random(seed), session)] for seed in range(3)]
    assert found[0] == found[1] == found[2]
    return found[0]


async def asked(of: Pool, ask: Ask, times: int = 1) -> Counter[str]:
    """Who was asked first, of so many questions one after the other."""
    answer = failover([of], POLICY, random.Random(1))
    first: Counter[str] = Counter()
    for _ in range(times):
        async with aclosing(answer(ask)) as events:
            async for event in events:
                if isinstance(event, Start):
                    first[event.attempts[0].target if event.attempts else event.target] += 1
    return first


def test_weights_are_shares_of_the_chats() -> None:
    """Within five standard deviations; of the rest, each is second by its weight too."""
    count = Counter(order(pool("a", "b", "c", weights=(3, 1, 1)), session)[0] for session in SESSIONS)
    assert abs(count["a"] - 1800) < 135
    assert abs(count["b"] - 600) < 110
    even = Counter(tuple(order(pool("a", "b", "c"), session)) for session in SESSIONS)
    assert len(even) == 6
    assert all(abs(times - 500) < 103 for times in even.values())


def test_every_process_of_every_release_makes_the_same_order() -> None:
    """Written down: another hash would move every chat."""
    of = pool("gpt-4o", "claude", "gemini")
    found = ["".join(name[:2] for name in order(of, session)) for session in ("one", "two", "three", "four", "five", "six")]
    assert found == ["gegpcl", "geclgp", "gpgecl", "gpclge", "clgpge", "clgegp"]
    assert [order(pool("gemini", "claude", "gpt-4o"), session) for session in ("one", "two")] == [order(of, one) for one in ("one", "two")]


def test_a_target_that_comes_or_goes_moves_only_its_own_chats() -> None:
    """All others stay where their cache is; it takes its share."""
    before, after = pool("a", "b", "c"), pool("a", "b", "c", "d")
    moved = [order(after, session)[0] for session in SESSIONS if order(before, session)[0] != order(after, session)[0]]
    assert set(moved) == {"d"}
    assert 630 < len(moved) < 870


async def test_a_chat_leaves_a_target_that_is_away_and_returns() -> None:
    """To the next one of its own order, which is the same in all replicas."""
    of = pool("a", "b", "c")
    first, second, _ = order(of, "s")
    member = next(one for one in of.members if one.name == first)
    member.health.breaker.open()
    assert order(of, "s")[0] == second
    assert await asked(of, ASK, 3) == {second: 3}
    member.health.breaker.half_open()
    assert await asked(of, ASK, 3) == {first: 3}
    member.switches.put(first, "drain")
    assert await asked(of, ASK, 3) == {second: 3}
    member.switches.put(first, "auto")
    member.health.pace = Pace(Declared(failures=1, slow=1))
    member.health.pace.started(2)
    assert await asked(of, ASK, 3) == {second: 3}


def test_a_chat_leaves_a_crowded_target() -> None:
    """One with more than 1.5 times its share of the questions in flight, and four besides; by weight."""
    of = pool("a", "b", "c")
    first, second, _ = order(of, "s")
    load = {one.name: one.health.load for one in of.members}
    load[first].busy = 8
    assert order(of, "s")[0] == first
    load[first].busy = 9
    assert order(of, "s")[:2] == [second, next(name for name in "abc" if name not in (first, second))]
    load[second].busy = 9
    assert order(of, "s")[0] == first
    of = pool("a", "b", weights=(9, 1))
    session = next(one for one in SESSIONS if order(of, one)[0] == "a")
    of.members[0].health.load.busy = 100
    assert order(of, session)[0] == "a"


async def test_a_burst_of_one_chat_spills_over_and_a_few_at_once_do_not() -> None:
    """A chat that is asked sixty times at once is not for one target alone."""
    of = pool("a", "b", "c")
    answer = failover([of], POLICY, random.Random(1))
    open_streams = [answer(ASK) for _ in range(60)]
    counts: list[int] = []
    for events in open_streams:
        await anext(events)
        counts.append(max(one.health.load.busy for one in of.members))
    assert counts[3] == 4
    assert counts[-1] <= 1.5 * 60 / 3 + 5
    for events in open_streams:
        await events.aclose()


async def test_a_short_question_of_no_chat_goes_by_balance() -> None:
    """A chat's id, an answer before it, or a long prompt make it one that a provider may keep."""
    said = Message("assistant", ("Hello.",))
    tool = ToolSpec("t", "x" * 2048, {"type": "object"})
    lone = replace(ASK, chat="")
    assert len(await asked(pool("a", "b", "c"), lone, 60)) == 3
    for kept in (ASK, lone.with_messages(HI, said, HI), lone.with_messages(Message("user", ("x" * 2048,))), replace(lone, tools=(tool,))):
        assert len(await asked(pool("a", "b", "c"), kept, 60)) == 1
        assert len(await asked(pool("a", "b", "c", affinity="off"), kept, 60)) == 3
        assert len(await asked(pool("a", "b", "c"), replace(kept, session=""), 60)) == 3


POOL = "a: {script: [{text: a}]}\nb: {script: [{text: b}]}\nc: {script: [{text: c}]}"


@pytest.mark.parametrize("chat_id", [True, False])
@pytest.mark.parametrize("more", ["", "\n    affinity: off"])
async def test_a_chat_stays_with_one_target_of_two_replicas(workspace: Workspace, chat_id: bool, more: str) -> None:
    """Twelve chats of six turns, at either replica by turns; where it is off they wander."""
    workspace.write("routes.yaml", routes(POOL, f"targets: [[a, b, c]]{more}"))
    who: dict[int, list[str]] = {}
    async with serving(workspace.build()) as one, serving(workspace.build()) as other:
        for chat in range(12):
            messages: list[dict[str, str]] = []
            for turn in range(6):
                messages.append({"role": "user", "content": f"Chat {chat}, turn {turn}. " + "Tell me more. " * 200})
                named = {"id": f"chat-{chat}"} if chat_id else {}
                answer = await (one, other)[turn % 2].post(messages=messages, model="chat-model", **named)
                who.setdefault(chat, []).append(answer.text)
                messages.append({"role": "assistant", "content": answer.text})
    stayed = [len(set(targets)) == 1 for targets in who.values()]
    assert all(stayed) if not more else not all(stayed)
    assert more or len({targets[0] for targets in who.values()}) > 1


def test_candidates_are_told_apart_by_name_alone() -> None:
    """Whatever else is known of them."""
    lone = Candidate("a", named("b").answer)
    assert order(Pool((lone, named("b"))), "s") == order(pool("a", "b"), "s")
