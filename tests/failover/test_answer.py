"""The answer of a chain of targets: the events that reach the client, and the streams that are closed when the client stops reading."""

import asyncio
from contextlib import aclosing
from typing import Literal

import pytest

from router.chat import Ask
from router.config.declaration import Timeout
from router.errors import TargetDown
from router.events import Event, Events, Failure, Finish, Start, Text, ToolCall
from router.failover import Candidate, FailureRules, failover
from router.usage import Meter, Usage
from router.value import asdict
from tests.failover.test_chain import ASK, QUICK, RETRY, STOP, Scripted, chain, heard, outcomes

WHOLE, HALF = ToolCall("c1", "look", {"q": 1}), ToolCall("c2", "look", {}, '{"q": "ab')


async def test_every_field_of_the_targets_start_reaches_the_client_but_its_meter() -> None:
    """The Start of an answer has the value of each field of the target's own Start, the attempts of this model call, and no meter."""
    given = Start("a", "m", (), Usage(3, 4), "hit", 2.5, ("top_k",), "json_schema", Meter())
    bare = asdict(Start("", ""))
    assert [name for name, value in asdict(given).items() if value == bare[name]] == ["attempts"], "a field has its default here"

    async def answer(_: Ask) -> Events:
        yield given
        yield Text("Hi")
        yield STOP

    down = Scripted("down", TargetDown("down", "unreachable"))
    candidates = [Candidate("down", down.answer()), Candidate("a", answer)]
    async with aclosing(failover(candidates, FailureRules(QUICK, RETRY, "fail"))(ASK)) as events:
        start = await anext(events)
    assert isinstance(start, Start)
    assert [attempt.target for attempt in start.attempts] == ["down"] * RETRY.attempts
    assert asdict(start) == asdict(given) | {"attempts": start.attempts, "meter": None}


@pytest.mark.parametrize("reason", ["length", "content-filter"])
async def test_tool_calls_are_dropped_if_the_last_was_cut_off_at_a_limit(reason: Literal["length", "content-filter"]) -> None:
    """An answer that ends by `length` or `content-filter` within a tool call keeps its text and finish reason and loses all its calls."""
    seen = await heard(chain(Scripted("a", [Text("Hm."), WHOLE, HALF, Finish(reason)])))
    assert [type(event) for event in seen] == [Start, Text, Finish]
    assert isinstance(seen[-1], Finish)
    assert seen[-1].reason == reason


async def test_tool_calls_are_passed_on_before_the_finish() -> None:
    """Tool calls, even a malformed one, come before the Finish, with which a stream that breaks off after a call also ends."""
    for end, calls in ((Finish("length"), [WHOLE]), (Finish("tool-calls"), [WHOLE, HALF]), (TargetDown("a", "cut"), [WHOLE])):
        seen = await heard(chain(Scripted("a", [Text("Hm."), *calls, end])))
        assert seen[2:-1] == calls
        assert isinstance(seen[-1], Finish)


async def test_stream_of_a_target_that_diverged_is_closed_before_the_finish() -> None:
    """A continuation that called a tool and proves to be another answer ends with a Finish, by which its stream is closed."""
    first = Scripted("a", [Text("The quick brown fox jumps over"), TargetDown("a", "cut")])
    other = Scripted("b", [Text("The quick brown fox lies in the sun."), WHOLE, STOP, None])
    async with aclosing(chain(first, other, rescue="continue")(ASK)) as events:
        seen = [(event, other.closed) async for event in events]
    assert [closed for _, closed in seen] == [0] * (len(seen) - 1) + [1]
    assert seen[-1][0] == Finish("tool-calls")


BROKEN: dict[str, tuple[list[Event | Exception | None], str]] = {
    "a cut": ([Text("Half"), TargetDown("a", "cut")], "cut"),
    "an end without a finish": ([Text("Half")], "cut"),
    "a silence": ([Text("Half"), None], "timeout_idle"),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_answer_that_breaks_off_ends_with_one_failure_under_rescue_fail(how: str) -> None:
    """With `rescue: fail`, an answer that breaks off after some text ends with one Failure without the cause; no other target is asked."""
    turn, outcome = BROKEN[how]
    first, spare = Scripted("a", turn), Scripted("b", [Text("Hi"), STOP])
    seen = await heard(chain(first, spare))
    assert [type(event) for event in seen] == [Start, Text, Failure]
    assert outcomes(seen[-1]) == [("a", outcome)]
    assert (first.asked, spare.asked, first.closed) == (1, 0, 1)
    assert isinstance(seen[-1], Failure)
    assert outcome not in seen[-1].public


async def test_idle_timeout_excludes_the_time_of_a_slow_reader() -> None:
    """A reader that takes 30 ms for each event causes no timeout of a target with an idle limit of 20 ms."""
    answer = chain(Scripted("a", [Text("one"), Text("two"), STOP]), timeout=Timeout(first_token=0.05, idle=0.02))
    seen: list[Event] = []
    async with aclosing(answer(ASK)) as events:
        async for event in events:
            seen.append(event)
            await asyncio.sleep(0.03)
    assert isinstance(seen[-1], Finish)


async def test_cancelled_reader_closes_the_targets_stream() -> None:
    """A reader cancelled during an answer receives CancelledError, not a timeout, and the target's stream is closed once."""
    target = Scripted("a", [Text("Hi"), None])
    began = asyncio.Event()

    async def read() -> None:
        async with aclosing(chain(target, timeout=Timeout(idle=60))(ASK)) as events:
            async for event in events:
                if isinstance(event, Text):
                    began.set()

    reading = asyncio.create_task(read())
    await began.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert target.closed == 1


@pytest.mark.parametrize("kind", [Start, Text])
async def test_reader_that_stops_early_closes_the_targets_stream(kind: type[Event]) -> None:
    """A reader that stops at the Start, or at the first text, closes the target's stream."""
    target = Scripted("a", [Text("Hi"), None])
    async with aclosing(chain(target, timeout=Timeout(idle=60))(ASK)) as events:
        async for event in events:
            if isinstance(event, kind):
                break
    assert target.closed == 1
