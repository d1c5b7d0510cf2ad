"""Rescue: another target continues an answer that breaks off, without a missing or repeated word."""

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
from router.events import Answer, Event, Events, Failure, Finish, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.failover import Candidate, FailureRules, failover
from router.failover.rescue import WISH, Diverged, Splice
from router.steps.tools import tools
from router.toolbox import Toolbox, load
from tests.support.attempts import with_attempts
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
    """Return a target that writes these pieces of text and then fails: silent, ended without a finish, or with this outcome."""

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
    """Return a second target, which knows the complete answer. `kind`: how it treats the text so far; `asked` receives its questions.

    prefill continues the assistant's last message, refuses answers 400 to one, ignores begins the answer again; wish continues when it is
    asked to, repeats begins with the last five words of the text so far.
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
    """Return a target that first thinks, or calls a tool, or both, and then writes these pieces and fails."""

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
    """Return all events of one answer from these targets."""
    return await all_of(failover(candidates, policy), ask)


async def all_of(answer: Answer, ask: Ask = ASK) -> list[Event]:
    """Return all events of one answer with its attempts, and assert that their order is valid."""
    async with asyncio.timeout(240):
        return await with_attempts(answer, ask)


def text(events: list[Event]) -> str:
    """Return the text that the client receives."""
    return "".join(event.text for event in events if isinstance(event, Text))


HELPERS = {"prefill": True, "refuses": True, "ignores": True, "wish": False, "repeats": True, "ignores the wish": False}


HOWS = ["cut", "malformed", "status_500", "ended", "silent"]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", HELPERS)
def test_rescue_completes_an_answer_broken_off_after_any_word(kind: str, how: str) -> None:
    """After a break at any word and of any kind, the client gets the complete text once, with one Start and one Finish."""
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
    """After a break behind a thought or a tool round, the client gets the complete text, and no thought, call or result a second time."""
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
def test_rescue_completes_an_answer_cut_at_any_character(cuts: list[int], kind: str) -> None:
    """A text that is cut at any character is completed by each kind of second target but the one that repeats the last words."""
    edges = [0, *sorted(cuts)]
    pieces = [CANONICAL[a:b] for a, b in itertools.pairwise(edges) if a < b]
    second = Candidate("second", helper(kind.removesuffix(" the wish"), []), prefill=HELPERS[kind])
    seen = asyncio.run(heard(Candidate("first", broken(pieces, "cut")), second))
    assert text(seen) == CANONICAL
    assert isinstance(seen[-1], Finish)


async def test_usage_of_a_rescued_answer_is_the_sum_over_its_targets() -> None:
    """The Finish has the sum of the usage that the broken target's provider reported and that of the second target."""

    async def told(_: Ask) -> Events:
        yield Start("first", "m")
        yield Text(WORDS[0])
        error = TargetDown("first", "cut")
        error.used = Usage(30, 4)
        raise error

    seen = await heard(Candidate("first", told), Candidate("second", helper("ignores", [])))
    assert isinstance(seen[-1], Finish)
    assert seen[-1].usage == Usage(35, 11)


async def test_rescue_joins_one_answer_from_three_targets() -> None:
    """Three targets, of which two break off after twenty words, give one complete text and three attempts."""

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


async def test_rescue_asks_the_only_target_again() -> None:
    """A target that broke off and is the only one is asked a second time, and completes the answer."""
    count = 0

    async def answer(ask: Ask) -> Events:
        nonlocal count
        count += 1
        async with aclosing((broken(WORDS[:9], "cut") if count == 1 else helper("ignores", []))(ask)) as events:
            async for event in events:
                yield event

    assert text(await heard(Candidate("first", answer))) == CANONICAL


async def test_rescue_asks_the_unchanged_question_after_a_thought_alone() -> None:
    """After a break before any text, the next target gets the original question, without a prefill."""

    async def answer(_: Ask) -> Events:
        yield Start("first", "m")
        yield Thought("Hm. ")
        raise TargetDown("first", "cut")

    asked: list[Ask] = []
    seen = await heard(Candidate("first", answer), Candidate("second", helper("ignores", asked), prefill=True))
    assert text(seen) == CANONICAL
    assert asked == [ASK]


async def test_rescue_question_has_the_tool_results_and_the_text_so_far() -> None:
    """The second target gets the conversation with the tool's result, and the text so far as the assistant's last message."""
    told = ASK.with_messages(*ASK.messages, Message("tool", (Result("c1", "get_time", "12:00"),)))
    asked: list[Ask] = []
    first = Candidate("first", broken(WORDS[:5], "cut"))
    seen = await heard(first, Candidate("second", helper("prefill", asked), prefill=True), ask=told)
    assert text(seen) == CANONICAL
    assert asked[0].messages == (*told.messages, Message("assistant", ("".join(WORDS[:5]).rstrip(),)))


async def test_tool_call_cut_off_by_a_break_is_made_by_the_next_target() -> None:
    """A break within a tool call's arguments yields no ToolCall of the broken target; the next target's own call is the only one."""

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


async def test_complete_tool_calls_before_a_break_end_the_answer() -> None:
    """A break after a complete tool call ends the answer with that call and the finish `tool-calls`; no other target is asked."""

    async def first(_: Ask) -> Events:
        yield Start("first", "m")
        yield ToolCall("c1", "get_time", {})
        raise TargetDown("first", "cut")

    asked: list[Ask] = []
    seen = await heard(Candidate("first", first), Candidate("second", helper("ignores", asked)))
    assert seen[-2:] == [ToolCall("c1", "get_time", {}), Finish("tool-calls", None, seen[-1].attempts)]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType]
    assert asked == []


ANOTHER = "The router takes a question from the page, thinks about it for a while, and then says something else altogether."


async def test_rescue_does_not_join_a_different_answer() -> None:
    """A continuation in other words is recorded as `diverged` and dropped; the next target is asked, or the answer ends with a Failure."""
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
    """With two targets that both break off, the client gets the first one's text and then a single Failure."""
    refusing = Candidate("second", broken([], "cut"))
    seen = await heard(Candidate("first", broken(WORDS[:3], "cut")), refusing)
    assert [type(event) for event in seen] == [Start, Text, Text, Text, Failure]


async def test_rescue_fail_ends_a_broken_answer_with_a_failure() -> None:
    """With `rescue: fail`, an answer that breaks off ends with a Failure, and the second target is not asked."""
    asked: list[Ask] = []
    policy = FailureRules(QUICK.timeout, QUICK.retry, "fail")
    seen = await heard(Candidate("first", broken(WORDS[:3], "cut")), Candidate("second", helper("ignores", asked)), policy=policy)
    assert isinstance(seen[-1], Failure)
    assert asked == []


async def test_rescue_without_new_text_finishes_a_complete_answer() -> None:
    """After a break at the very end of the text, a continuation without text gives the Finish."""

    async def silent(_: Ask) -> Events:
        yield Start("second", "m")
        yield Finish("stop")

    seen = await heard(Candidate("first", broken([CANONICAL], "cut")), Candidate("second", silent, prefill=True))
    assert text(seen) == CANONICAL
    assert isinstance(seen[-1], Finish)


async def test_rescue_skips_a_target_whose_content_filter_refuses() -> None:
    """A target whose content filter refuses the continuation is skipped, and the one after it completes the answer."""

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
def test_splice_joins_two_halves_at_their_overlap(halves: tuple[str, str]) -> None:
    """The continuation is returned without the words and white space that it repeats, in one piece and character by character."""
    said, new = halves
    for pieces in ([new], list(new)):
        splice = Splice(said)
        assert "".join([*(splice.feed(piece) for piece in pieces), splice.end()]) == JOINED[halves]


def test_splice_searches_a_long_restarted_answer_in_linear_time() -> None:
    """An answer begun again in 44,000 pieces is joined where the text so far ends, within 3 s; one without that end raises Diverged."""
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
def test_splice_result_does_not_depend_on_the_pieces(said: str, new: str, data: st.DataObject) -> None:
    """Any two halves are joined to the same text, or are both times Diverged, wherever the second half is cut."""

    def joined(pieces: list[str]) -> str | None:
        splice = Splice(said)
        try:
            return "".join([*(splice.feed(piece) for piece in pieces), splice.end()])
        except Diverged:
            return None

    cut = data.draw(st.integers(0, len(new)))
    assert joined(list(new)) == joined([new[:cut], new[cut:]])
