"""Rescue: an answer that breaks off is gone on with by another target, word for word."""

import asyncio
import itertools
import re
import time
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.cache import Approvals
from router.chat import Ask, Message, Result
from router.config.declaration import Retry, Timeout
from router.config.values import Span
from router.errors import ContentFiltered, TargetDown, TargetRefused
from router.events import Answer, Event, Events, Failure, Finish, Order, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.failover import Candidate, FailureRules, failover
from router.failover.rescue import WISH, Diverged, Splice
from router.steps.tools import tools
from router.toolbox import Toolbox, load
from tests.support.virtual import jumping

CANONICAL = (
    "The router takes a question from the page, looks up which model should answer it, and asks that model. The model begins to "
    "speak; its words are passed on as they come. If it falls silent, or the line breaks, the next model is told what was said and "
    "goes on from there, so that the person reading sees one answer, and the answer is whole."
)
WORDS = re.findall(r"\S+\s*", CANONICAL)
QUICK = FailureRules(Timeout(first_token=0.5, idle=0.05), Retry(attempts=1, backoff=Span(0.001, 0.002)))
ASK = Ask(model="chat-model", messages=(Message("user", ("How does it work?",)),))


def broken(pieces: list[str], how: str) -> Answer:
    """A target that says these and then breaks off."""

    async def answer(_: Ask) -> Events:
        yield Start("first", "m")
        for piece in pieces:
            yield Text(piece)
        if how == "silent":
            await asyncio.Event().wait()
        if how != "ended":
            raise TargetDown("first", how)

    return answer


def helper(kind: str, asked: list[Ask], canonical: str = CANONICAL) -> Answer:
    """A second target, which knows the whole answer, and what it makes of words of its own.

    prefill goes on from them, refuses takes none, ignores begins anew; wish goes on when it is asked to, repeats takes up
    its last five words again.
    """

    async def answer(ask: Ask) -> Events:
        asked.append(ask)
        last = ask.messages[-1]
        said = next((message.text for message in reversed(ask.messages) if message.role == "assistant"), "")
        if kind == "refuses" and last.role == "assistant":
            raise TargetRefused("second", "status_400")
        goes_on = {"prefill": last.role == "assistant", "wish": last.text == WISH, "repeats": True}.get(kind, False)
        assert canonical.startswith(said)
        rest = canonical[len(said) :] if goes_on else canonical
        if kind == "repeats" and said:
            rest = " ".join(said.split()[-5:]) + rest
        yield Start("second", "m")
        for piece in re.findall(r"\s*\S{1,4}", rest):
            yield Text(piece)
        yield Finish("stop", Usage(5, 7))

    return answer


def roundabout(before: str, pieces: list[str], how: str) -> Answer:
    """A target that thinks, or asks for a tool, before it says these and then breaks off."""

    async def answer(ask: Ask) -> Events:
        yield Start("first", "m")
        if "thought" in before:
            yield Thought("Hm. ")
        if "tool" in before and ask.messages[-1].role != "tool":
            yield ToolCall("c1", "greet", {"name": "Ann"})
            yield Finish("tool-calls", Usage(3, 1))
            return
        async with aclosing(broken(pieces, how)(ask)) as events:
            async for event in events:
                if not isinstance(event, Start):
                    yield event

    return answer


async def heard(*candidates: Candidate, ask: Ask = ASK, policy: FailureRules = QUICK) -> list[Event]:
    """What comes of a question to these."""
    return await all_of(failover(candidates, policy), ask)


async def all_of(answer: Answer, ask: Ask = ASK) -> list[Event]:
    """The whole answer, its order checked."""
    order = Order()
    async with asyncio.timeout(240), aclosing(answer(ask)) as events:
        seen = [order.see(event) async for event in events]
    order.end()
    return seen


def text(events: list[Event]) -> str:
    """What the client reads."""
    return "".join(event.text for event in events if isinstance(event, Text))


HELPERS = {"prefill": True, "refuses": True, "ignores": True, "wish": False, "repeats": True, "ignores the wish": False}


HOWS = ["cut", "malformed", "status_500", "ended", "silent"]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", HELPERS)
def test_an_answer_that_breaks_off_is_finished(kind: str, how: str) -> None:
    """After each of its words: the client reads it whole, with one finish."""
    for count in range(1, len(WORDS)):
        asked: list[Ask] = []
        second = Candidate("second", helper(kind.removesuffix(" the wish"), asked), prefill=HELPERS[kind])
        seen = jumping(heard(Candidate("first", broken(WORDS[:count], how)), second))
        assert text(seen) == CANONICAL, (count, how)
        assert [type(event) for event in seen if not isinstance(event, Text)] == [Start, Finish]
        end = seen[-1]
        assert isinstance(end, Finish)
        assert [attempt.target for attempt in end.attempts] == ["first", "second"] if kind != "refuses" else True
        assert end.attempts[-1].outcome == "ok"


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", HELPERS)
@pytest.mark.parametrize("before", ["a thought", "a tool round", "a thought and a tool round"])
def test_rescue_after_a_thought_or_a_tool_repeats_neither(before: str, kind: str, how: str) -> None:
    """After a thought and after a tool has run, wherever it is cut: neither comes twice, nor does a word."""
    loaded = load("mine", 'def greet(name: str) -> str:\n    """Greets."""\n    return "Hello"\n', Path("tools/mine.py"), "test")
    greeter = Toolbox(loaded.tools, 5)
    loaded.close()
    for count in (1, 2, 3, 10, 23, 37, 50, len(WORDS) - 1):
        second = Candidate("second", helper(kind.removesuffix(" the wish"), []), prefill=HELPERS[kind])
        answer = failover([Candidate("first", roundabout(before, WORDS[:count], how)), second], QUICK)
        if "tool" in before:
            answer = tools(toolbox=greeter, max_steps=5, approvals=Approvals())(answer)
        seen = jumping(all_of(answer))
        assert text(seen) == CANONICAL, count
        kinds = [type(event) for event in seen if not isinstance(event, Text)]
        thought = [Thought] if "thought" in before else []
        rounds = [Start, *thought, ToolCall, ToolResult] if "tool" in before else []
        assert kinds == [*rounds, Start, *thought, Finish]
        end = seen[-1]
        assert isinstance(end, Finish)
        assert end.reason == "stop"
        assert end.usage == (Usage(8, 8) if rounds else Usage(5, 7))


@given(st.lists(st.integers(0, len(CANONICAL)), max_size=4), st.sampled_from([kind for kind in HELPERS if kind != "repeats"]))
def test_rescue_continues_a_cut_at_any_place_and_again(cuts: list[int], kind: str) -> None:
    """At any character, in any pieces; the one who goes on may break off too."""
    edges = [0, *sorted(cuts)]
    pieces = [CANONICAL[a:b] for a, b in itertools.pairwise(edges) if a < b]
    second = Candidate("second", helper(kind.removesuffix(" the wish"), []), prefill=HELPERS[kind])
    seen = asyncio.run(heard(Candidate("first", broken(pieces, "cut")), second))
    assert text(seen) == CANONICAL
    assert isinstance(seen[-1], Finish)


async def test_usage_is_summed() -> None:
    """What the one who broke off had cost, as far as its provider had said, is counted with the rest."""

    async def told(_: Ask) -> Events:
        yield Start("first", "m")
        yield Text(WORDS[0])
        error = TargetDown("first", "cut")
        error.used = Usage(30, 4)
        raise error

    seen = await heard(Candidate("first", told), Candidate("second", helper("ignores", [])))
    assert isinstance(seen[-1], Finish)
    assert seen[-1].usage == Usage(35, 11)


async def test_three_targets_one_answer() -> None:
    """Each says a third and breaks off; the last one ends it."""

    def third(name: str, words: int) -> Answer:
        async def answer(ask: Ask) -> Events:
            said = ask.messages[-1].text if ask.messages[-1].role == "assistant" else ""
            yield Start(name, "m")
            for piece in re.findall(r"\s*\S+", CANONICAL[len(said) :])[:words]:
                yield Text(piece)
            if words < 50:
                raise TargetDown(name, "cut")
            yield Finish("stop")

        return answer

    seen = await heard(*(Candidate(name, third(name, words), prefill=True) for name, words in (("a", 20), ("b", 20), ("c", 90))))
    assert text(seen) == CANONICAL
    assert isinstance(seen[-1], Finish)
    assert [(attempt.target, attempt.outcome) for attempt in seen[-1].attempts] == [("a", "cut"), ("b", "cut"), ("c", "ok")]


async def test_the_only_target_is_asked_again() -> None:
    """A line that broke may hold the second time."""
    count = 0

    async def answer(ask: Ask) -> Events:
        nonlocal count
        count += 1
        async with aclosing((broken(WORDS[:9], "cut") if count == 1 else helper("ignores", []))(ask)) as events:
            async for event in events:
                yield event

    assert text(await heard(Candidate("first", answer))) == CANONICAL


async def test_after_a_thought_the_question_is_asked_anew() -> None:
    """Nothing was said yet, so nothing is gone on from."""

    async def answer(_: Ask) -> Events:
        yield Start("first", "m")
        yield Thought("Hm. ")
        raise TargetDown("first", "cut")

    asked: list[Ask] = []
    seen = await heard(Candidate("first", answer), Candidate("second", helper("ignores", asked), prefill=True))
    assert text(seen) == CANONICAL
    assert asked == [ASK]


async def test_after_a_tool_round_its_results_are_kept() -> None:
    """The one who goes on is told them; no tool runs again."""
    told = ASK.with_messages(*ASK.messages, Message("tool", (Result("c1", "get_time", "12:00"),)))
    asked: list[Ask] = []
    first = Candidate("first", broken(WORDS[:5], "cut"))
    seen = await heard(first, Candidate("second", helper("prefill", asked), prefill=True), ask=told)
    assert text(seen) == CANONICAL
    assert asked[0].messages == (*told.messages, Message("assistant", ("".join(WORDS[:5]).rstrip(),)))


async def test_a_call_that_was_cut_is_asked_for_again() -> None:
    """Half of a call's arguments are no call: the next target makes its own."""

    async def first(_: Ask) -> Events:
        yield Start("first", "m")
        yield Text("Let me see. ")
        yield ToolInput("c1", "get_time", '{"pla')
        raise TargetDown("first", "cut")

    async def second(_: Ask) -> Events:
        yield Start("second", "m")
        yield ToolCall("c2", "get_time", {"place": "UTC"})
        yield Finish("tool-calls")

    seen = await heard(Candidate("first", first), Candidate("second", second, prefill=True))
    assert [type(event) for event in seen] == [Start, Text, ToolInput, ToolCall, Finish]


async def test_calls_that_are_whole_are_run() -> None:
    """Only the end was lost: nobody is asked again."""

    async def first(_: Ask) -> Events:
        yield Start("first", "m")
        yield ToolCall("c1", "get_time", {})
        raise TargetDown("first", "cut")

    asked: list[Ask] = []
    seen = await heard(Candidate("first", first), Candidate("second", helper("ignores", asked)))
    assert seen[-2:] == [ToolCall("c1", "get_time", {}), Finish("tool-calls", None, seen[-1].attempts)]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType]
    assert asked == []


ANOTHER = "The router takes a question from the page, thinks about it for a while, and then says something else altogether."


async def test_another_answer_is_not_joined() -> None:
    """A target that begins anew in other words cannot go on: the next one is asked; where there is none, it is an error."""
    first = Candidate("first", broken(WORDS[:20], "cut"))

    async def says_another(_: Ask) -> Events:
        yield Start("other", "m")
        yield Text(ANOTHER)
        yield Finish("stop")

    diverging = Candidate("other", says_another)
    seen = await heard(first, diverging, Candidate("second", helper("ignores", [])))
    assert text(seen) == CANONICAL
    assert isinstance(seen[-1], Finish)
    assert [attempt.outcome for attempt in seen[-1].attempts] == ["cut", "diverged", "ok"]
    seen = await heard(first, diverging)
    assert isinstance(seen[-1], Failure)
    assert text(seen) == "".join(WORDS[:20])


async def test_rescue_without_a_target_left_ends_with_one_failure() -> None:
    """What was said stands; one error ends it."""
    refusing = Candidate("second", broken([], "cut"))
    seen = await heard(Candidate("first", broken(WORDS[:3], "cut")), refusing)
    assert [type(event) for event in seen] == [Start, Text, Text, Text, Failure]


async def test_rescue_fail_ends_with_an_error() -> None:
    """Where the operator wants no rescue, nobody else is asked."""
    asked: list[Ask] = []
    policy = FailureRules(QUICK.timeout, QUICK.retry, "fail")
    seen = await heard(Candidate("first", broken(WORDS[:3], "cut")), Candidate("second", helper("ignores", asked)), policy=policy)
    assert isinstance(seen[-1], Failure)
    assert asked == []


async def test_rescue_may_add_nothing_to_a_finished_text() -> None:
    """Everything was said, only the end was lost."""

    async def silent(_: Ask) -> Events:
        yield Start("second", "m")
        yield Finish("stop")

    seen = await heard(Candidate("first", broken([CANONICAL], "cut")), Candidate("second", silent, prefill=True))
    assert text(seen) == CANONICAL
    assert isinstance(seen[-1], Finish)


async def test_a_filter_in_the_rescue_is_passed_over() -> None:
    """The next target may be less afraid."""

    async def filtered(_: Ask) -> Events:
        if _.messages:
            raise ContentFiltered("other", "content_filter")
        yield Start("other", "m")

    seen = await heard(
        Candidate("first", broken(WORDS[:7], "cut")), Candidate("other", filtered), Candidate("second", helper("ignores", []))
    )
    assert text(seen) == CANONICAL


JOINED = {
    ("It is ", "fine."): "fine.",
    ("It is", " fine."): " fine.",
    ("It is ", " fine."): "fine.",
    ("It is a qui", "ck brown fox"): "ck brown fox",
    ("one\n", "one\n\nTwo"): "\nTwo",
    ("- one\n- two\n", "\n- three\n"): "- three\n",
    ("the quick brown fox", "quick brown fox jumped"): " jumped",
    ("the quick brown fox", "the quick brown fox jumped"): " jumped",
    ("the quick brown fox ", "the quick brown fox jumped"): "jumped",
    ("- one\n- two\n", "- three\n"): "- three\n",
    ("", "Hello"): "Hello",
    ("   ", "Hello"): "Hello",
    ("Hello", ""): "",
}


@pytest.mark.parametrize("halves", JOINED)
def test_two_halves(halves: tuple[str, str]) -> None:
    """Joined, in one piece and a character at a time."""
    said, new = halves
    for pieces in ([new], list(new)):
        splice = Splice(said)
        assert "".join([*(splice.feed(piece) for piece in pieces), splice.end()]) == JOINED[halves]


def test_a_long_answer_that_is_begun_anew_is_looked_through_once() -> None:
    """However many pieces it comes in: 190,000 characters in other words, and then the end of what was said."""
    start, end = "So it begins. " * 1_000, " And here it broke off, in the middle of a sentence that"
    splice = Splice(start * 3 + end)
    began = time.process_time()
    assert splice.feed(start) == ""
    assert "".join(map(splice.feed, itertools.repeat("But ", 44_000))) == ""
    assert splice.feed(end[:20]) == ""
    assert splice.feed(end[20:] + " goes on.") == " goes on."
    assert time.process_time() - began < 3
    splice = Splice(start * 3 + end)
    splice.feed(start)
    with pytest.raises(Diverged):
        list(map(splice.feed, itertools.repeat("But ", 50_000)))


@given(st.text("ab c,.\n", min_size=1, max_size=40), st.text("ab c,.\n", max_size=40), st.data())
def test_pieces_do_not_matter(said: str, new: str, data: st.DataObject) -> None:
    """Any two halves are joined the same way, however the second one is cut."""

    def joined(pieces: list[str]) -> str | None:
        splice = Splice(said)
        try:
            return "".join([*(splice.feed(piece) for piece in pieces), splice.end()])
        except Diverged:
            return None

    cut = data.draw(st.integers(0, len(new)))
    assert joined(list(new)) == joined([new[:cut], new[cut:]])
