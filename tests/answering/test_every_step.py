"""What every step must keep, row by row of the tables: order, promptness, closing, cancellation."""

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
    """The event without what a cache says of its origin."""
    return replace(event, cache="") if isinstance(event, Start | Finish) else event


class Source:
    """An answer that knows whether it was closed, and waits where it is told to."""

    def __init__(self) -> None:
        self.closed = 0
        self.waiting = asyncio.Event()

    def answer(self, *, waits: bool) -> Answer:
        """The answer; with `waits` it is silent after its first words."""

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


def test_every_row_is_tried() -> None:
    """A new step needs a row here."""
    assert set(BUILD) == {*STEPS, *FROM_ROUTE}


@pytest.mark.parametrize("name", BUILD)
async def test_order_is_kept_and_nothing_is_lost(name: str) -> None:
    """The answer through the step is one answer, its words in their order, its end once."""
    source, order = Source(), Order()
    seen = [order.see(event) async for event in BUILD[name]()(source.answer(waits=False))(ASK)]
    order.end()
    assert "".join(event.text for event in seen if isinstance(event, Text)) == "One two"
    assert _unmarked(seen[-1]) == Finish("stop", Usage(1, 2))
    assert source.closed == 1


@pytest.mark.parametrize("name", BUILD)
async def test_words_are_not_held_back(name: str) -> None:
    """What was said arrives while the model is still silent about the rest."""
    source = Source()
    async with aclosing(BUILD[name]()(source.answer(waits=True))(ASK)) as events:
        async with asyncio.timeout(240):
            async for event in events:
                if isinstance(event, Text):
                    assert event.text.strip() == "One"
                    break


@pytest.mark.parametrize("name", BUILD)
async def test_the_start_is_not_held_back(name: str) -> None:
    """Who speaks is known before a word is said: the first event needs nothing that follows it."""
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
async def test_every_scripted_answer_keeps_its_order(name: str, script: str) -> None:
    """Whatever a target says, what comes through the step is one whole answer."""
    order = Order()
    question = replace(ASK, model="title-model")  # the demo speaks at a model's pace: a title is its shortest answer
    seen = [order.see(event) async for event in BUILD[name]()(scripted("a", SCRIPTS[script]))(question)]
    order.end()
    assert isinstance(seen[-1], Finish)


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("fail", FAILURES)
async def test_every_failure_passes_through(name: str, fail: str) -> None:
    """What a target raises is raised, after what it said before."""
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
async def test_closing_early_closes_everything(name: str) -> None:
    """Whoever stops reading closes the source, before the closing returns."""
    source = Source()
    async with aclosing(BUILD[name]()(source.answer(waits=True))(ASK)) as events:
        async for event in events:
            if isinstance(event, Text):
                break
    assert source.closed == 1


@pytest.mark.parametrize("name", BUILD)
async def test_cancellation_passes_through(name: str) -> None:
    """A cancelled reader is cancelled, and the source closed."""
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


async def test_a_call_passes_every_step_of_a_pipeline() -> None:
    """Steps that know nothing of tools let calls through."""

    async def answer(_: Ask) -> Events:
        yield Start("a", "m")
        yield ToolCall("c", "t", {})
        yield Finish("tool-calls")

    for name in STEPS:
        seen = [event async for event in BUILD[name]()(answer)(ASK)]
        assert [type(event) for event in seen] == [Start, ToolCall, Finish]
