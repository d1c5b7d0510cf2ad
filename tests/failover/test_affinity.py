"""Session affinity: the questions of one chat go to the same target of a pool, which holds their prompt cache, in every replica."""

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
ASK = Ask(model="chat-model", messages=(HI,), chat="c", session=lambda: "s")
SESSIONS = [f"session {number}" for number in range(3000)]


def pool(*names: str, weights: tuple[float, ...] = (), **more: Any) -> Pool:
    """Return a pool of targets of these names, all of which answer."""
    return Pool(tuple(named(name) for name in names), weights, **more)


def order(of: Pool, session: str) -> list[str]:
    """Return the names of the pool's targets in the order in which a session asks them, and assert that three random seeds agree on it."""
    found = [[one.name for one in of.order(random.Random(seed), session)] for seed in range(3)]
    assert found[0] == found[1] == found[2]
    return found[0]


async def asked(of: Pool, ask: Ask, times: int = 1) -> Counter[str]:
    """Ask the pool the same question `times` times in turn; return how often each target was asked first."""
    answer = failover([of], POLICY, random.Random(1))
    first: Counter[str] = Counter()
    for _ in range(times):
        async with aclosing(answer(ask)) as events:
            async for event in events:
                if isinstance(event, Start):
                    first[event.attempts[0].target if event.attempts else event.target] += 1
    return first


def test_pool_weights_set_each_targets_share_of_the_sessions() -> None:
    """Of 3,000 sessions, each target is first for its weight's share, within five deviations; equal weights give all six orders evenly."""
    count = Counter(order(pool("a", "b", "c", weights=(3, 1, 1)), session)[0] for session in SESSIONS)
    assert abs(count["a"] - 1800) < 135
    assert abs(count["b"] - 600) < 110
    even = Counter(tuple(order(pool("a", "b", "c"), session)) for session in SESSIONS)
    assert len(even) == 6
    assert all(abs(times - 500) < 103 for times in even.values())


def test_order_of_a_session_is_the_same_in_every_process_and_release() -> None:
    """The order of targets for six session names equals a recorded one, and does not depend on the order of the pool's members."""
    of = pool("gpt-4o", "claude", "gemini")
    found = ["".join(name[:2] for name in order(of, session)) for session in ("one", "two", "three", "four", "five", "six")]
    assert found == ["gegpcl", "geclgp", "gpgecl", "gpclge", "clgpge", "clgegp"]
    assert [order(pool("gemini", "claude", "gpt-4o"), session) for session in ("one", "two")] == [order(of, one) for one in ("one", "two")]


def test_target_added_to_a_pool_takes_its_share_and_moves_no_other_session() -> None:
    """A fourth target of equal weight becomes first for about a quarter of the sessions; all other sessions keep their first target."""
    before, after = pool("a", "b", "c"), pool("a", "b", "c", "d")
    moved = [order(after, session)[0] for session in SESSIONS if order(before, session)[0] != order(after, session)[0]]
    assert set(moved) == {"d"}
    assert 630 < len(moved) < 870


async def test_chat_leaves_its_target_while_that_is_unavailable_and_then_returns() -> None:
    """A chat goes to its second target while the first is drained, slow or has an open breaker, and returns once that is half-open."""
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


def test_chat_leaves_a_target_with_too_many_requests_in_flight() -> None:
    """A chat leaves a target that has more than 1.5 times its weighted share of the pool's requests in flight plus four.
    The other targets keep their order; once the second has as many requests, the chat is back at its first.
    """
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


async def test_burst_of_one_chat_spills_over_to_other_targets() -> None:
    """Of sixty concurrent questions of one chat, the first four go to one target; later ones spill over, so that none has more than 35."""
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


async def test_question_without_a_chat_id_an_answer_or_2048_characters_is_load_balanced() -> None:
    """A question with a chat id, an earlier answer, or 2,048 characters of text or tools stays at one target of three in 60 tries.
    A question without any of these is spread over all three, and so is each without a session or with `affinity: off`.
    """
    said = Message("assistant", ("Hello.",))
    tool = ToolSpec("t", "x" * 2048, {"type": "object"})
    lone = replace(ASK, chat="")
    assert len(await asked(pool("a", "b", "c"), lone, 60)) == 3
    for kept in (ASK, lone.with_messages(HI, said, HI), lone.with_messages(Message("user", ("x" * 2048,))), replace(lone, tools=(tool,))):
        assert len(await asked(pool("a", "b", "c"), kept, 60)) == 1
        assert len(await asked(pool("a", "b", "c", affinity="off"), kept, 60)) == 3
        assert len(await asked(pool("a", "b", "c"), replace(kept, session=str), 60)) == 3


POOL = "a: {script: [{text: a}]}\nb: {script: [{text: b}]}\nc: {script: [{text: c}]}"


@pytest.mark.parametrize("chat_id", [True, False])
@pytest.mark.parametrize("more", ["", "\n    affinity: off"])
async def test_chat_stays_with_one_target_across_two_replicas(workspace: Workspace, chat_id: bool, more: str) -> None:
    """Twelve chats keep their target while two replicas answer in turn, with or without a chat id; with `affinity: off` they do not."""
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


def test_order_of_a_session_depends_on_the_names_of_targets_alone() -> None:
    """A target that has the same name but answers differently has the same place in the order of a session."""
    lone = Candidate("a", named("b").answer)
    assert order(Pool((lone, named("b"))), "s") == order(pool("a", "b"), "s")
