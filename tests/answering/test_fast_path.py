"""The fast path: text taken from the source past the generators of the steps equals the text that the generators give."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

import pytest

from router.attempt import Trail
from router.cache import Memory
from router.cache.approvals import Approvals
from router.chat import Ask, Message, ToolSpec
from router.config.declaration import Retry, Timeout
from router.errors import TargetDown
from router.events import (
    Answer,
    Event,
    Events,
    EventStream,
    Failure,
    FastPath,
    Finish,
    Onward,
    Start,
    Step,
    Text,
    Thought,
    ToolCall,
    Usage,
    Words,
    fast_path,
)
from router.failover import Candidate, FailureRules, failover
from router.steps import FROM_ROUTE
from router.toolbox import Toolbox
from router.usage import tokens_in
from router.value import replace

ASK = Ask(model="m", messages=(Message("user", ("?",)),))
READS: Sequence[Sequence[Words]] = ([Thought("Hm. ")], [Text("One ")], [], [Text("two "), Thought("So. "), Text("three")])
"""The texts of each read after the first one."""


class Source(FastPath):
    """A scripted answer with a fast path: text can be taken from it read by read; `end` are the events after the text."""

    def __init__(self, *end: Event, error: Exception | None = None) -> None:
        self._end = end
        self._error = error
        self._reads: list[Sequence[Words]] = []
        self.taken = 0
        self.asked: list[Ask] = []

    async def _given(self) -> Events:
        self._reads = list(READS)
        yield Start("a", "m")
        yield Text("Zero ")
        while self._reads:
            for event in self._reads.pop(0):
                yield event
        for event in self._end:
            yield event
        if self._error is not None:
            raise self._error

    def answer(self, ask: Ask) -> Events:
        """Record the question and return the events."""
        self.asked.append(ask)
        return EventStream(self._given(), lambda: self)

    def wait(self, onward: Onward) -> asyncio.Future[None] | None:
        """Return None: the next read is always available at once."""
        return None

    def take(self, piece: bytes = b"") -> Sequence[Words] | None:
        """Return the next read of texts, or None after the last."""
        self.taken += bool(self._reads)
        return self._reads.pop(0) if self._reads else None


async def _slowly(events: Events) -> list[Event]:
    async with aclosing(events):
        return [event async for event in events]


async def _fast(events: Events) -> list[Event]:
    """Return all events, with text taken by the fast path wherever one is offered."""
    seen: list[Event] = []
    async with aclosing(events):
        async for event in events:
            seen.append(event)
            if isinstance(event, Text | Thought) and (path := fast_path(events)) is not None:
                while (words := path.take()) is not None:
                    seen += words
    return seen


END = Finish("stop", Usage(1, 2))
STEPS: dict[str, Callable[[], Step]] = {
    "reasoning": FROM_ROUTE["reasoning"],
    "recall": lambda: FROM_ROUTE["recall"](memory=Memory()),
    "tools": lambda: FROM_ROUTE["tools"](toolbox=Toolbox((), 1), max_steps=2, approvals=Approvals()),
    "session": FROM_ROUTE["session"],
}


@pytest.mark.parametrize("name", STEPS)
async def test_fast_path_through_a_step_gives_the_same_events(name: str) -> None:
    """An answer through a step has the same events with and without the fast path, and the fast path took every read."""
    ask = Ask(model="m", messages=ASK.messages, tools=(ToolSpec("theirs", "", {}),))
    slow, source = Source(END), Source(END)
    seen = await _fast(STEPS[name]()(source.answer)(ask))
    assert seen == await _slowly(STEPS[name]()(slow.answer)(ask))
    assert source.taken == len(READS)
    assert slow.taken == 0


async def test_tool_step_sends_fast_path_text_back_to_the_model() -> None:
    """The next question after a tool call contains the text that went past the tool step by the fast path."""
    source = Source(ToolCall("c", "no_such_tool", {}), Finish("tool-calls"))
    await _fast(FROM_ROUTE["tools"](toolbox=Toolbox((), 1), max_steps=2, approvals=Approvals())(source.answer)(ASK))
    assert source.asked[1].messages[1].text == "Zero One two three"


def _failing_over(answer: Answer, other: Answer) -> Answer:
    return failover([Candidate("a", answer), Candidate("b", other)], FailureRules(Timeout(), Retry()))


async def test_fallback_after_a_cut_answer_is_sent_the_fast_path_text() -> None:
    """The fallback target is sent the text of the cut answer that had passed failover by the fast path."""
    broken, spare = Source(error=TargetDown("a", "cut")), Source(END)
    seen = await _fast(_failing_over(broken.answer, spare.answer)(ASK))
    (asked,) = spare.asked
    assert any("Zero One two three" in message.text for message in asked.messages)
    assert isinstance(seen[-1], Finish | Failure)


async def test_hidden_thoughts_are_left_out_of_the_reads_that_have_them() -> None:
    """Over failover, the step that hides reasoning passes on the same events with and without the fast path."""
    slow, source = Source(END), Source(END)
    hidden = FROM_ROUTE["reasoning"]()
    seen = await _fast(hidden(_failing_over(source.answer, source.answer))(ASK))
    assert seen == await _slowly(hidden(_failing_over(slow.answer, slow.answer))(ASK))
    assert [event.text for event in seen if isinstance(event, Text)] == ["Zero ", "One ", "two ", "three"]
    assert source.taken == len(READS)


async def test_cost_of_hidden_thoughts_is_estimated_from_their_text() -> None:
    """Thoughts that went past failover by the fast path count for the estimate of an answer without a report of tokens."""
    estimates: list[Usage | None] = []
    for takes in (_slowly, _fast):
        answer = _failing_over(Source(Finish("stop")).answer, Source().answer)
        ask = replace(ASK, trail=Trail())
        await takes(FROM_ROUTE["reasoning"]()(answer)(ask))
        (attempt,) = ask.trail.attempts
        estimates.append(attempt.estimate)
    assert estimates[0] == estimates[1]
    assert estimates[0] is not None


async def test_estimate_of_each_target_is_of_all_that_it_wrote_itself() -> None:
    """Targets that report no tokens are estimated from their own text and thoughts, also one that continues the other's answer."""
    for takes in (_slowly, _fast):
        ask = replace(ASK, trail=Trail())
        await takes(_failing_over(Source(error=TargetDown("a", "cut")).answer, Source(Finish("stop")).answer)(ask))
        written = tokens_in("Zero Hm. One two So. three")
        assert [one.estimate and one.estimate.output_tokens for one in ask.trail.attempts] == [written, written]


class Silent(Source):
    """A source of which nothing more comes after its first text."""

    def wait(self, onward: Onward) -> asyncio.Future[None] | None:
        """Return a future that nobody completes."""
        return asyncio.get_running_loop().create_future()


async def test_silence_on_the_fast_path_leads_to_the_next_target() -> None:
    """A target that is silent for the idle limit while its text takes the fast path has timed out, and the next one goes on."""
    ask = replace(ASK, trail=Trail())
    rules = FailureRules(Timeout(idle=0.05), Retry())
    events = failover([Candidate("a", Silent().answer), Candidate("b", Source(END).answer)], rules)(ask)
    async with aclosing(events):
        assert [type(await anext(events)) for _ in range(2)] == [Start, Text]
        path = fast_path(events)
        assert path is not None
        arrival = path.wait(lambda _: True)
        assert arrival is not None
        await asyncio.wait_for(arrival, 5)
        assert path.take() is None
        rest = [event async for event in events]
    assert isinstance(rest[-1], Finish)
    assert [one.outcome for one in ask.trail.attempts] == ["timeout_idle", "ok"]
