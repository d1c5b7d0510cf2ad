"""The answer of a chain of targets: the events that reach the client, and the streams that are closed when the client stops reading."""

import asyncio
from contextlib import aclosing
from typing import Literal

import pytest

from router.config.declaration import Timeout
from router.errors import TargetDown
from router.events import Event, Failure, Finish, Start, Text, ToolCall
from tests.failover.test_chain import ASK, STOP, Scripted, chain, heard, outcomes

WHOLE, HALF = ToolCall("c1", "look", {"q": 1}), ToolCall("c2", "look", {}, '{"q": "ab')


@pytest.mark.parametrize("reason", ["length", "content-filter"])
async def test_call_cut_at_the_limit_is_not_passed_on(reason: Literal["length", "content-filter"]) -> None:
    """Neither are those beside it: the answer ends with the limit, and no tool runs."""
    seen = await heard(chain(Scripted("a", [Text("Hm."), WHOLE, HALF, Finish(reason)])))
    assert [type(event) for event in seen] == [Start, Text, Finish]
    assert isinstance(seen[-1], Finish)
    assert seen[-1].reason == reason


async def test_calls_that_are_whole_are_passed_on_before_the_end() -> None:
    """Also at the limit, where a break follows, and those that are no JSON of a model that came to its end."""
    for end, calls in ((Finish("length"), [WHOLE]), (Finish("tool-calls"), [WHOLE, HALF]), (TargetDown("a", "cut"), [WHOLE])):
        seen = await heard(chain(Scripted("a", [Text("Hm."), *calls, end])))
        assert seen[2:-1] == calls
        assert isinstance(seen[-1], Finish)


BROKEN: dict[str, tuple[list[Event | Exception | None], str]] = {
    "a cut": ([Text("Half"), TargetDown("a", "cut")], "cut"),
    "an end without a finish": ([Text("Half")], "cut"),
    "a silence": ([Text("Half"), None], "timeout_idle"),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_after_the_first_event_nobody_else_is_asked(how: str) -> None:
    """What was said stands; the answer ends in one Failure that names what happened to the log only."""
    turn, outcome = BROKEN[how]
    first, spare = Scripted("a", turn), Scripted("b", [Text("Hi"), STOP])
    seen = await heard(chain(first, spare))
    assert [type(event) for event in seen] == [Start, Text, Failure]
    assert outcomes(seen[-1]) == [("a", outcome)]
    assert (first.asked, spare.asked, first.closed) == (1, 0, 1)
    assert isinstance(seen[-1], Failure)
    assert outcome not in seen[-1].public


async def test_a_slow_reader_is_no_silence() -> None:
    """Time the consumer takes between two events does not count as the target's."""
    answer = chain(Scripted("a", [Text("one"), Text("two"), STOP]), timeout=Timeout(first_token=0.05, idle=0.02))
    seen: list[Event] = []
    async with aclosing(answer(ASK)) as events:
        async for event in events:
            seen.append(event)
            await asyncio.sleep(0.03)
    assert isinstance(seen[-1], Finish)


async def test_a_cancelled_reader_closes_the_target() -> None:
    """Cancellation is nobody's timeout: it passes through, and the target's stream is closed."""
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
async def test_closing_early_closes_the_target(kind: type[Event]) -> None:
    """Whoever stops reading, at the very first event too, closes what was opened."""
    target = Scripted("a", [Text("Hi"), None])
    async with aclosing(chain(target, timeout=Timeout(idle=60))(ASK)) as events:
        async for event in events:
            if isinstance(event, kind):
                break
    assert target.closed == 1
