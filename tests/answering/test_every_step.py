"""Rules that every pipeline step must keep: event order, no buffering of text, closing its source, cancellation."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest

from router.cache import Approvals, LocalStore, Memory
from router.chat import Ask, Message
from router.config.conditions import When
from router.config.declaration import Cache, ScriptLine
from router.config.values import Name
from router.errors import TargetError
from router.events import Answer, Event, Events, Finish, Order, Start, Step, Text, Thought, ToolCall, Usage
from router.params import Params
from router.steps import FROM_ROUTE, STEPS
from router.targets.script import FAILURES
from router.targets.script import answer as scripted
from router.toolbox import Toolbox
from router.value import replace

ASK = Ask(model="m", messages=(Message("user", ("?",)),))
BUILD: dict[str, Callable[[], Step]] = {
    "prompt": lambda: STEPS["prompt"](Name("t.j2"), templates={"t.j2": "Hi"}),
    "history": lambda: STEPS["history"](keep=3),
    "params": lambda: STEPS["params"](Params(temperature=0)),
    "edit": lambda: STEPS["edit"](strip="quotes", max_chars=100),
    "output": lambda: STEPS["output"](Name("t.json"), templates={"t.json": "{}"}),
    "ceiling": lambda: FROM_ROUTE["ceiling"](tokens=1000),
    "tools": lambda: FROM_ROUTE["tools"](toolbox=Toolbox((), 1), max_steps=2, approvals=Approvals()),
    "reasoning": FROM_ROUTE["reasoning"],
    "when": lambda: FROM_ROUTE["when"](conditions=(When(has_image=True), None)),
    "session": FROM_ROUTE["session"],
    "recall": lambda: FROM_ROUTE["recall"](memory=Memory()),
    "cache": lambda: FROM_ROUTE["cache"](
        declared=Cache(ttl=60), store=LocalStore(65536), shared=None, made_by="m", last_resort=frozenset[str]()
    ),
}


def _unmarked(event: Event) -> Event:
    """Return the event with its `cache` field emptied."""
    return replace(event, cache="") if isinstance(event, Start | Finish) else event


class Source:
    """A scripted answer that counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0
        self.waiting = asyncio.Event()

    def answer(self, *, waits: bool) -> Answer:
        """Return the scripted answer. `waits`: it stops after its first text, sets `waiting` and sends nothing more."""

        async def answer(_: Ask) -> Events:
            try:
                yield Start("a", "m")
                yield Thought("Hm.")
                yield Text("One ")
                if waits:
                    self.waiting.set()
                    await asyncio.Event().wait()
                yield Text("two")
                yield Finish("stop", Usage(1, 2))
            finally:
                self.closed += 1

        return answer


def test_table_of_this_file_has_every_step() -> None:
    """Every step of STEPS and FROM_ROUTE has a row in BUILD, so that the tests below cover it."""
    assert set(BUILD) == {*STEPS, *FROM_ROUTE}


@pytest.mark.parametrize("name", BUILD)
async def test_step_keeps_order_and_content_of_an_answer(name: str) -> None:
    """Events that pass a step stay in a valid order with the same text and one Finish, and the source is closed once."""
    source, order = Source(), Order()
    seen = [order.see(event) async for event in BUILD[name]()(source.answer(waits=False))(ASK)]
    order.end()
    assert "".join(event.text for event in seen if isinstance(event, Text)) == "One two"
    assert _unmarked(seen[-1]) == Finish("stop", Usage(1, 2))
    assert source.closed == 1


@pytest.mark.parametrize("name", BUILD)
async def test_step_passes_text_on_before_more_arrives(name: str) -> None:
    """A step passes on the first text while its source has not yet sent the next event."""
    source = Source()
    async with aclosing(BUILD[name]()(source.answer(waits=True))(ASK)) as events:
        async with asyncio.timeout(240):
            async for event in events:
                if isinstance(event, Text):
                    assert event.text.strip() == "One"
                    break


@pytest.mark.parametrize("name", BUILD)
async def test_step_passes_start_on_before_the_first_text(name: str) -> None:
    """A step passes on the Start event while its source has not yet sent any text."""
    silent = asyncio.Event()

    async def answer(_: Ask) -> Events:
        yield Start("a", "m")
        await silent.wait()
        yield Finish("stop")

    async with aclosing(BUILD[name]()(answer)(ASK)) as events, asyncio.timeout(240):
        assert _unmarked(await anext(events)) == Start("a", "m")


SCRIPTS: dict[str, str | tuple[ScriptLine, ...]] = {
    "the demo": "demo",
    "words": (ScriptLine(text="One two"), ScriptLine(thought="Hm."), ScriptLine(text=" three")),
    "nothing": (),
    "a pause": (ScriptLine(text="One"), ScriptLine(pause=0.001), ScriptLine(text="two")),
    "an end of its own": (ScriptLine(text="One"), ScriptLine(finish="length"), ScriptLine(text="two")),
    "a call": (ScriptLine(text="One"), ScriptLine(call=Name("no_such_tool"), arguments={"a": 1})),
}


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("script", SCRIPTS)
async def test_step_keeps_valid_event_order_for_every_scripted_answer(name: str, script: str) -> None:
    """Each scripted answer, an empty one included, passes each step in a valid event order and ends with Finish."""
    order = Order()
    question = replace(ASK, model="title-model")  # the demo speaks at a model's pace: a title is its shortest answer
    seen = [order.see(event) async for event in BUILD[name]()(scripted("a", SCRIPTS[script]))(question)]
    order.end()
    assert isinstance(seen[-1], Finish)


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("fail", FAILURES)
async def test_step_passes_every_target_failure_through(name: str, fail: str) -> None:
    """A step passes the Start event on, and raises the same kind of TargetError that its source raises after a text."""
    line = ScriptLine(fail=fail)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seen: list[Event] = []

    async def read() -> None:
        async with aclosing(BUILD[name]()(scripted("a", (ScriptLine(text="One "), line)))(ASK)) as events:
            async for event in events:
                seen.append(event)  # noqa: PERF401 - what came before the failure is looked at

    with pytest.raises(TargetError) as caught:
        await read()
    assert type(caught.value) is type(FAILURES[fail]("a"))
    assert _unmarked(seen[0]) == Start("a", "script/lines")


@pytest.mark.parametrize("name", BUILD)
async def test_step_closes_its_source_when_closed_early(name: str) -> None:
    """A step that is closed in the middle of an answer closes its source before the close returns."""
    source = Source()
    async with aclosing(BUILD[name]()(source.answer(waits=True))(ASK)) as events:
        async for event in events:
            if isinstance(event, Text):
                break
    assert source.closed == 1


@pytest.mark.parametrize("name", BUILD)
async def test_step_closes_its_source_when_its_reader_is_cancelled(name: str) -> None:
    """The cancellation of the task that reads from a step raises CancelledError in it and closes the step's source."""
    source = Source()
    answer = BUILD[name]()(source.answer(waits=True))

    async def read() -> None:
        async with aclosing(answer(ASK)) as events:
            async for _ in events:
                pass

    reading = asyncio.create_task(read())
    await source.waiting.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert source.closed == 1


async def test_pipeline_step_passes_tool_calls_through() -> None:
    """Each step of a pipeline passes a tool call on as the same event between Start and Finish."""

    async def answer(_: Ask) -> Events:
        yield Start("a", "m")
        yield ToolCall("c", "t", {})
        yield Finish("tool-calls")

    for name in STEPS:
        seen = [event async for event in BUILD[name]()(answer)(ASK)]
        assert [type(event) for event in seen] == [Start, ToolCall, Finish]
