"""The tool loop and the toolbox: rounds, results, and everything that goes wrong in a tool."""

import asyncio
import sys
import textwrap
import threading
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest

from router.cache import Approvals
from router.chat import Ask, Choice, Json, Message, ReasoningState, Result, ToolSpec
from router.errors import Misfit
from router.events import Event, Events, Failure, Finish, Order, Start, Text, ToolCall, ToolInput, ToolProgress, ToolResult, Usage
from router.steps.tools import MAX_HELD, tools
from router.toolbox import Tool, Toolbox, load
from router.value import replace

ASK = Ask(model="m", messages=(Message("user", ("?",)),))


def box(code: str, limit: float = 5) -> Toolbox:
    """A toolbox of one file."""
    made = load("mine", textwrap.dedent(code), Path("tools/mine.py"), "test")
    try:
        return Toolbox(made.tools, limit)
    finally:
        made.close()


class Model:
    """Answers its model calls in order; remembers what it was asked."""

    def __init__(self, *turns: Sequence[Event]) -> None:
        self.turns = list(turns)
        self.asked: list[Ask] = []

    async def answer(self, ask: Ask) -> Events:
        """One model call."""
        self.asked.append(ask)
        yield Start("a", "m")
        for event in self.turns[min(len(self.asked), len(self.turns)) - 1]:
            yield event


async def heard(model: Model, toolbox: Toolbox, max_steps: int = 5) -> list[Event]:
    """The whole answer, its order checked."""
    order = Order()
    seen = [order.see(event) async for event in tools(toolbox=toolbox, max_steps=max_steps, approvals=Approvals())(model.answer)(ASK)]
    order.end()
    return seen


def wish(tool: str, /, **arguments: Json) -> list[Event]:
    """A model call that asks for one tool."""
    return [ToolCall("c1", tool, arguments), Finish("tool-calls", Usage(10, 1))]


DONE: list[Event] = [Text("Done."), Finish("stop", Usage(20, 2))]
GREET = '''
    async def greet(name: str) -> str:
        """Greets."""
        return f"Hello {name}"
'''


async def test_model_is_asked_again_with_call_and_result_of_a_tool() -> None:
    """The usage is summed, and reported for each model call; there is one finish."""
    model = Model([Text("Let me. "), *wish("greet", name="Ann")], DONE)
    seen = await heard(model, box(GREET))
    assert [type(event) for event in seen] == [Start, Text, ToolCall, ToolResult, Start, Text, Finish]
    assert seen[3] == ToolResult("c1", "greet", "Hello Ann")
    assert [event.used for event in seen if isinstance(event, Start)] == [None, Usage(10, 1)]
    assert seen[-1] == Finish("stop", Usage(30, 3))
    first, second = model.asked
    assert [spec.name for spec in first.tools] == ["greet"]
    assert [message.role for message in second.messages] == ["user", "assistant", "tool"]
    assert second.messages[1].text == "Let me. "
    assert second.messages[1].calls[0].call_id == second.messages[2].results[0].call_id == "c1"


async def test_tools_run_side_by_side() -> None:
    """Two calls that wait for each other both end; each result comes when it is done."""
    toolbox = box('''
        import asyncio
        _both = asyncio.Barrier(2)

        async def meet(who: str) -> str:
            """Waits for the other."""
            await _both.wait()
            return who
    ''')
    model = Model([ToolCall("c1", "meet", {"who": "a"}), ToolCall("c2", "meet", {"who": "b"}), Finish("tool-calls")], DONE)
    seen = await heard(model, toolbox)
    results = {event.call_id: event.result for event in seen if isinstance(event, ToolResult)}
    assert results == {"c1": "a", "c2": "b"}
    told = model.asked[1].messages[2].results
    assert [result.call_id for result in told] == ["c1", "c2"]


async def test_a_quick_result_does_not_wait_for_a_slow_one() -> None:
    """Results come in the order in which they are done."""
    toolbox = box('''
        import asyncio
        _quick = asyncio.Event()

        async def slow() -> str:
            """Waits for the quick one."""
            await _quick.wait()
            return "slow"

        async def quick() -> str:
            """Does not."""
            _quick.set()
            return "quick"
    ''')
    model = Model([ToolCall("c1", "slow", {}), ToolCall("c2", "quick", {}), Finish("tool-calls")], DONE)
    assert [event.result for event in await heard(model, toolbox) if isinstance(event, ToolResult)] == ["quick", "slow"]


async def test_tool_loop_ends_after_max_steps_model_calls() -> None:
    """A model that calls for ever is asked max_steps times; its last calls still run; the reason is tool-calls."""
    model = Model(wish("greet", name="Ann"))
    seen = await heard(model, box(GREET), max_steps=2)
    assert len(model.asked) == 2
    assert len([event for event in seen if isinstance(event, ToolResult)]) == 2
    assert seen[-1] == Finish("tool-calls", Usage(20, 2))


async def test_tool_call_ids_are_made_unique_over_the_rounds() -> None:
    """A provider counts from c1 each time: pieces, call and result of the second round have one new id."""
    second: list[Event] = [ToolInput("c1", "greet", "{}"), *wish("greet", name="Bob")]
    seen = await heard(Model(wish("greet", name="Ann"), second, DONE), box(GREET))
    ids = [event.call_id for event in seen if isinstance(event, ToolInput | ToolCall | ToolResult)]
    assert ids[:2] == ["c1", "c1"]
    assert ids[2] == ids[3] == ids[4] != "c1"


async def test_tool_loop_follows_the_calls_not_the_finish_reason() -> None:
    """Calls under the reason stop are run; the reason tool-calls without a call ends the answer as stop."""
    seen = await heard(Model([ToolCall("c1", "greet", {"name": "Ann"}), Finish("stop")], [Text("x"), Finish("tool-calls")]), box(GREET))
    assert [type(event) for event in seen] == [Start, ToolCall, ToolResult, Start, Text, Finish]
    assert seen[-1] == Finish("stop")


async def test_tool_calls_of_a_failed_model_call_are_not_run() -> None:
    """The failure ends the answer."""
    seen = await heard(Model([ToolCall("c1", "greet", {"name": "Ann"}), Failure("no_answer", "Sorry.")]), box(GREET))
    assert [type(event) for event in seen] == [Start, ToolCall, Failure]


WRONG = '''
    import asyncio, threading
    from router.errors import ToolError

    async def raises() -> str:
        """Raises."""
        raise RuntimeError("secret-canary")

    async def refuses() -> str:
        """Refuses."""
        raise ToolError("No such city.")

    async def hangs() -> str:
        """Hangs."""
        await asyncio.Event().wait()
        return ""

    def hangs_in_a_thread() -> str:
        """Hangs in a thread."""
        threading.Event().wait(30)
        return ""

    def exits() -> str:
        """Exits."""
        raise SystemExit(3)

    def stops() -> str:
        """Raises what a future cannot hold."""
        raise StopIteration

    async def odd() -> object:
        """Returns what is not JSON."""
        return object()

    async def endless() -> list[object]:
        """Returns what contains itself."""
        made: list[object] = []
        made.append(made)
        return made

    async def nan() -> float:
        """Returns what JSON has not."""
        return float("nan")

    async def huge() -> list[str]:
        """Returns too much."""
        return ["x" * 1000] * 1000

    async def greet(name: str, times: int = 1) -> str:
        """Greets."""
        return name * times
'''
TOLD: dict[str, tuple[str, dict[str, Json], str]] = {
    "raises": ("raises", {}, "The tool failed."),
    "refuses": ("refuses", {}, "No such city."),
    "hangs": ("hangs", {}, "The tool took longer than 0.2 seconds and was stopped."),
    "hangs in a thread": ("hangs_in_a_thread", {}, "The tool took longer than 0.2 seconds and was stopped."),
    "exits": ("exits", {}, "The tool failed."),
    "stops": ("stops", {}, "The tool failed."),
    "is not JSON": ("odd", {}, "The tool failed: its result is not JSON."),
    "contains itself": ("endless", {}, "The tool failed: its result is not JSON."),
    "is not a number": ("nan", {}, "The tool failed: its result is not JSON."),
    "is too large": ("huge", {}, "The tool failed: its result is too large."),
    "lacks an argument": ("greet", {}, "Invalid arguments: name: it is needed but missing"),
    "has an unknown argument": ("greet", {"name": "a", "nme": 1}, "Invalid arguments: nme: there is no such parameter"),
    "has an argument of another kind": ("greet", {"name": 5}, "Invalid arguments: name: a text is needed"),
    "has a truth for a number": ("greet", {"name": "a", "times": True}, "Invalid arguments: times: a whole number is needed"),
    "has far too long arguments": ("greet", {"name": "x" * 70_000}, "Invalid arguments: they are too long."),
}


@pytest.mark.parametrize("what", TOLD)
async def test_failing_tool_becomes_an_error_result_for_the_model(what: str) -> None:
    """It becomes a result that is an error; the turn goes on; nothing of what was raised is shown."""
    name, arguments, sentence = TOLD[what]
    model = Model(wish(name, **arguments), DONE)
    seen = await heard(model, box(WRONG, limit=0.2))
    assert seen[2] == ToolResult("c1", name, sentence, is_error=True)
    assert seen[-1] == Finish("stop", Usage(30, 3))
    assert model.asked[1].messages[2].results[0].value == sentence


async def test_call_of_an_unknown_tool_returns_the_existing_names_to_the_model() -> None:
    """The model may try again with a name that exists."""
    seen = await heard(Model(wish("weather"), DONE), box(GREET))
    assert seen[2] == ToolResult("c1", "weather", "There is no tool of this name. There is: greet.", is_error=True)


async def test_tool_call_with_invalid_json_is_not_run_and_says_so() -> None:
    """The call has empty arguments, and its result says why it was not run."""
    seen = await heard(Model([ToolCall("c1", "greet", {}, malformed='{"name'), Finish("tool-calls")], DONE), box(GREET))
    assert seen[2] == ToolResult("c1", "greet", "Invalid arguments: they must be one JSON object.", is_error=True)


async def test_long_tool_result_is_cut_with_a_note() -> None:
    """A tool that returns a book gives its beginning."""
    toolbox = box('''
        async def book() -> str:
            """Returns a book."""
            return "x" * 1_000_000
    ''')
    value, is_error = await toolbox.run("book", {})
    assert isinstance(value, str)
    assert (len(value) < 270_000, value.endswith("(cut: the result was longer)"), is_error) == (True, True, False)


async def test_synchronous_tool_runs_in_a_thread() -> None:
    """The event loop turns meanwhile: the tool waits for something that only the loop can do."""
    toolbox = box('''
        import threading
        gate = threading.Event()

        def wait() -> str:
            """Waits in its thread."""
            assert gate.wait(5)
            return threading.current_thread().name
    ''')
    running = asyncio.create_task(toolbox.run("wait", {}))
    while not any(thread.name == "tool wait" for thread in threading.enumerate()):
        await asyncio.sleep(0)
    tool = cast("Tool", toolbox._tools["wait"]).function
    tool.__globals__["gate"].set()
    assert await running == ("tool wait", False)


async def test_closed_answer_cancels_its_running_tools() -> None:
    """Closing the answer while a tool runs cancels it, before the closing returns."""
    toolbox = box('''
        import asyncio
        seen = []

        async def wait() -> str:
            """Waits."""
            seen.append("begun")
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("ended")
            return ""

        async def quick() -> str:
            """Does not."""
            return "quick"
    ''')
    model = Model([ToolCall("c1", "wait", {}), ToolCall("c2", "quick", {}), Finish("tool-calls")])
    async with aclosing(tools(toolbox=toolbox, max_steps=2, approvals=Approvals())(model.answer)(ASK)) as events:
        async for event in events:
            if isinstance(event, ToolResult):
                break
    assert cast("Tool", toolbox._tools["wait"]).function.__globals__["seen"] == ["begun", "ended"]


REFUSED = {
    "no annotation": ('def f(a) -> str:\n    """D."""\n', 1, "a tool's parameters must have types that JSON has"),
    "no docstring": ("\ndef f(a: str) -> str:\n    return a\n", 2, "`f` needs a docstring"),
    "a type that JSON has not": ('def f(a: bytes) -> str:\n    """D."""\n', 1, "a tool's parameters must have types that JSON has"),
    "any number of them": ('def f(*a: str) -> str:\n    """D."""\n', 1, "a tool's parameters must have types that JSON has"),
    "nothing public": ("def _f() -> None: ...\n", 1, "this file has no public function"),
    "not Python": ("def f(:\n", 1, "this is not Python"),
    "an import that fails": ("\n\nimport no_such_module\n", 3, "this file fails when it is loaded: ModuleNotFoundError"),
    "an exit": ("import sys\nsys.exit(1)\n", 2, "this file fails when it is loaded: SystemExit"),
    "what is no Exception": ("\nraise GeneratorExit\n", 2, "this file fails when it is loaded: GeneratorExit"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_that_is_no_tool_set_is_refused_at_its_line(what: str) -> None:
    """When it is loaded, not when the model calls it; and nothing of it is left."""
    code, line, said = REFUSED[what]
    with pytest.raises(Misfit) as caught:
        load("mine", code, Path("tools/mine.py"), "test")
    assert caught.value.message.startswith(said)
    assert caught.value.place is not None
    assert (caught.value.place.file, caught.value.place.line) == ("tools/mine.py", line)
    assert "router_tools_test.mine" not in sys.modules


async def test_keyboard_interrupt_raised_by_a_tool_file_is_a_mistake_off_the_main_thread() -> None:
    """Ctrl-C reaches the main thread only, and ends it; elsewhere the file has raised it."""
    text = "raise KeyboardInterrupt\n"
    with pytest.raises(Misfit, match="KeyboardInterrupt"):
        await asyncio.to_thread(load, "mine", text, Path("tools/mine.py"), "test")
    with pytest.raises(KeyboardInterrupt):
        load("mine", text, Path("tools/mine.py"), "test")


def test_tool_schema_is_made_from_its_signature_and_docstring() -> None:
    """It has names, types, defaults and the docstring's lines."""
    (spec,) = box('''
        from typing import Literal

        def find(text: str, most: int = 5, order: Literal["new", "old"] = "new", tags: list[str] | None = None) -> str:
            """Finds notes.

            text: what to look for
            most: how many at the most
            """
            return text
    ''').specs
    assert (spec.name, spec.description) == ("find", "Finds notes.")
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "what to look for"},
            "most": {"type": "integer", "description": "how many at the most", "default": 5},
            "order": {"type": "string", "enum": ["new", "old"], "default": "new"},
            "tags": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}], "default": None},
        },
        "additionalProperties": False,
        "required": ["text"],
    }


async def test_tool_loop_stops_a_model_that_repeats_the_same_call() -> None:
    """The call and its result are the same three times in a row. The reason is tool-calls."""
    turns = [[ToolCall(f"c{count}", "greet", {"name": "Ada"}), Finish("tool-calls")] for count in range(9)]
    model = Model(*turns)
    seen = await heard(model, box(GREET), max_steps=9)
    assert len(model.asked) == 3
    assert len([event for event in seen if isinstance(event, ToolResult)]) == 3
    assert seen[-1] == Finish("tool-calls")


async def test_tool_loop_continues_while_calls_or_results_differ() -> None:
    """A model may wait for something to change."""
    names = ["Ada", "Ada", "Bob", "Ada", "Ada"]
    turns = [[ToolCall(f"c{count}", "greet", {"name": name}), Finish("tool-calls")] for count, name in enumerate(names)]
    model = Model(*turns, [Text("Done"), Finish("stop")])
    assert (await heard(model, box(GREET), max_steps=9))[-1] == Finish("stop")
    counting = box("""
        count = iter(range(100))

        def ticks() -> int:
            '''How often it was asked.'''
            return next(count)
        """)
    model = Model(*([ToolCall(f"c{count}", "ticks", {}), Finish("tool-calls")] for count in range(5)), [Text("Done"), Finish("stop")])
    assert (await heard(model, counting, max_steps=9))[-1] == Finish("stop")


async def test_preliminary_output_of_a_tool_is_sent_while_it_runs() -> None:
    """Each output is passed on before the tool goes on; the last one yielded is the result."""
    toolbox = box('''
        import asyncio
        _seen = asyncio.Event()

        async def count():
            """Reports, and goes on when that was seen."""
            yield {"done": 1}
            await _seen.wait()
            yield "counted"

        async def notice() -> str:
            """Lets the other go on."""
            _seen.set()
            return "noticed"
    ''')
    model = Model([ToolCall("c1", "count", {}), Finish("tool-calls")], DONE)
    order = Order()
    seen: list[Event] = []
    async with aclosing(tools(toolbox=toolbox, max_steps=5, approvals=Approvals())(model.answer)(ASK)) as events:
        async for event in events:
            seen.append(order.see(event))
            if event == ToolProgress("c1", "count", {"done": 1}):
                await toolbox.run("notice", {})
    order.end()
    outputs = [event for event in seen if isinstance(event, ToolProgress | ToolResult) and event != ToolProgress("c1", "count", "counted")]
    assert outputs == [ToolProgress("c1", "count", {"done": 1}), ToolResult("c1", "count", "counted")]
    assert model.asked[1].messages[2].results == (Result("c1", "count", "counted"),)


async def test_unread_preliminary_output_is_replaced_by_newer_output() -> None:
    """A tool that reports faster than the client reads fills no memory: the newest report of each call counts."""
    toolbox = box('''
        async def count():
            """Reports without a pause."""
            for one in range(100_000):
                yield one
    ''')
    seen = await heard(Model([ToolCall("c1", "count", {}), Finish("tool-calls")], DONE), toolbox)
    assert [event.output for event in seen if isinstance(event, ToolProgress)] in ([], [99_999])
    assert [event.result for event in seen if isinstance(event, ToolResult)] == [99_999]


async def test_data_parts_come_in_order_and_wait_for_the_client() -> None:
    """None is replaced or lost; a tool that yields faster than the client reads is held back, and the parts come before its result."""
    toolbox = box('''
        from router.toolbox import DataPart
        made = []

        async def draw():
            """Draws."""
            for one in range(200):
                made.append(one)
                yield DataPart("line", str(one).rjust(1024))
            yield "drawn"

        async def ahead() -> int:
            """Says how many were made."""
            return len(made)
    ''')
    model = Model([ToolCall("c1", "draw", {}), Finish("tool-calls")], DONE)
    seen: list[int] = []
    async with aclosing(tools(toolbox=toolbox, max_steps=5, approvals=Approvals())(model.answer)(ASK)) as events:
        async for event in events:
            match event:
                case ToolProgress(_, _, str(line), "line"):
                    seen.append(int(line))
                    made, _ = await toolbox.run("ahead", {})
                    assert isinstance(made, int)
                    assert made - len(seen) <= 2 * MAX_HELD // 1024 + 1
                case ToolResult(_, _, result):
                    assert (result, seen) == ("drawn", list(range(200)))
                case _:
                    pass
    assert model.asked[1].messages[2].results == (Result("c1", "draw", "drawn"),)


@pytest.mark.parametrize("part", ['DataPart("a b", 1)', 'DataPart("", 1)', 'DataPart("x", object())', 'DataPart("x", "x" * 300_000)'])
async def test_unfit_data_part_fails_its_tool(part: str) -> None:
    """A name that no part can have, and data that is not JSON or is too large."""
    toolbox = box(f'''
        from router.toolbox import DataPart

        async def draw():
            """Draws."""
            yield {part}
    ''')
    _, is_error = await toolbox.run("draw", {})
    assert is_error


def brought(*names: str) -> Ask:
    """A question whose caller has tools of its own."""
    return replace(ASK, tools=tuple(ToolSpec(name, "", {"type": "object"}) for name in names), choice=Choice("required"))


async def test_call_of_a_client_tool_ends_the_answer() -> None:
    """The calls of the route's own tools beside it are run first."""
    state = ReasoningState("a=m", {"reasoning_content": "Hm."})
    model = Model([state, ToolCall("c1", "ask_user", {}), ToolCall("c2", "greet", {"name": "Ada"}), Finish("tool-calls")])
    order = Order()
    seen = [
        order.see(event) async for event in tools(toolbox=box(GREET), max_steps=5, approvals=Approvals())(model.answer)(brought("ask_user"))
    ]
    assert [type(event) for event in seen] == [Start, ToolCall, ToolCall, ReasoningState, ToolResult, Finish]
    assert seen[-2] == ToolResult("c2", "greet", "Hello Ada")
    assert seen[-1] == Finish("tool-calls")
    assert [spec.name for spec in model.asked[0].tools] == ["greet", "ask_user"]
    assert len(model.asked) == 1


async def test_tool_choice_applies_to_the_first_model_call_only() -> None:
    """A model that had to call a tool again after each result would never answer."""
    model = Model(wish("greet", name="Ada"), DONE)
    seen = [event async for event in tools(toolbox=box(GREET), max_steps=5, approvals=Approvals())(model.answer)(brought("ask_user"))]
    assert isinstance(seen[-1], Finish)
    assert [ask.choice.kind for ask in model.asked] == ["required", "auto"]


async def test_route_tool_overrides_a_client_tool_of_the_same_name() -> None:
    """The route grants the tool, and it runs here."""
    model = Model(wish("greet", name="Ada"), DONE)
    seen = [event async for event in tools(toolbox=box(GREET), max_steps=5, approvals=Approvals())(model.answer)(brought("greet"))]
    assert [event.is_error for event in seen if isinstance(event, ToolResult)] == [False]
    assert model.asked[0].tools == box(GREET).specs
