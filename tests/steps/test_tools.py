"""The tool loop and the toolbox: model calls, tool results, and failures of a tool."""

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
    """Return a toolbox with the tools of this source code. `limit`: seconds that a call may take."""
    made = load("mine", textwrap.dedent(code), Path("tools/mine.py"), "test")
    try:
        return Toolbox(made.tools, limit)
    finally:
        made.close()


class Model:
    """A fake model that answers its calls with these turns in order and records the questions."""

    def __init__(self, *turns: Sequence[Event]) -> None:
        self.turns = list(turns)
        self.asked: list[Ask] = []

    async def answer(self, ask: Ask) -> Events:
        """Record the question, and yield Start and the events of the next turn (of the last one again after that)."""
        self.asked.append(ask)
        yield Start("a", "m")
        for event in self.turns[min(len(self.asked), len(self.turns)) - 1]:
            yield event


async def heard(model: Model, toolbox: Toolbox, max_steps: int = 5) -> list[Event]:
    """Return the events of an answer through the tool step, after checking their order."""
    order = Order()
    seen = [order.see(event) async for event in tools(toolbox=toolbox, max_steps=max_steps, approvals=Approvals())(model.answer)(ASK)]
    order.end()
    return seen


def wish(tool: str, /, **arguments: Json) -> list[Event]:
    """Return a model turn that calls one tool."""
    return [ToolCall("c1", tool, arguments), Finish("tool-calls", Usage(10, 1))]


DONE: list[Event] = [Text("Done."), Finish("stop", Usage(20, 2))]
GREET = '''
    async def greet(name: str) -> str:
        """Greets."""
        return f"Hello {name}"
'''


async def test_model_is_asked_again_with_call_and_result_of_a_tool() -> None:
    """The second model call has the first one's text, tool call and result; the answer has one Finish with the summed usage."""
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


async def test_tool_calls_of_one_turn_run_concurrently() -> None:
    """Two tools that wait for each other both return, and the model gets the results in the order of the calls."""
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


async def test_tool_result_is_sent_as_soon_as_its_tool_returns() -> None:
    """Results of concurrent tools are sent in the order in which the tools return."""
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
    """A model that calls tools in every turn is asked `max_steps` times; its last calls run, and the reason is `tool-calls`."""
    model = Model(wish("greet", name="Ann"))
    seen = await heard(model, box(GREET), max_steps=2)
    assert len(model.asked) == 2
    assert len([event for event in seen if isinstance(event, ToolResult)]) == 2
    assert seen[-1] == Finish("tool-calls", Usage(20, 2))


async def test_tool_call_ids_are_made_unique_over_the_rounds() -> None:
    """A tool call id that a model uses again in its second turn is replaced by a new one in input, call and result."""
    second: list[Event] = [ToolInput("c1", "greet", "{}"), *wish("greet", name="Bob")]
    seen = await heard(Model(wish("greet", name="Ann"), second, DONE), box(GREET))
    ids = [event.call_id for event in seen if isinstance(event, ToolInput | ToolCall | ToolResult)]
    assert ids[:2] == ["c1", "c1"]
    assert ids[2] == ids[3] == ids[4] != "c1"


async def test_tool_loop_follows_the_calls_not_the_finish_reason() -> None:
    """Tool calls with finish reason `stop` are run; the reason `tool-calls` without a call ends the answer as `stop`."""
    seen = await heard(Model([ToolCall("c1", "greet", {"name": "Ann"}), Finish("stop")], [Text("x"), Finish("tool-calls")]), box(GREET))
    assert [type(event) for event in seen] == [Start, ToolCall, ToolResult, Start, Text, Finish]
    assert seen[-1] == Finish("stop")


async def test_tool_calls_of_a_failed_model_call_are_not_run() -> None:
    """A Failure after a tool call ends the answer without running the tool."""
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
    """A tool that fails, hangs or gets invalid arguments gives an error result, with no exception's text but a ToolError's."""
    name, arguments, sentence = TOLD[what]
    model = Model(wish(name, **arguments), DONE)
    seen = await heard(model, box(WRONG, limit=0.2))
    assert seen[2] == ToolResult("c1", name, sentence, is_error=True)
    assert seen[-1] == Finish("stop", Usage(30, 3))
    assert model.asked[1].messages[2].results[0].value == sentence


async def test_call_of_an_unknown_tool_gives_an_error_result_with_the_existing_names() -> None:
    """A call of an unknown tool gives a ToolResult event with an error that names the tools that exist."""
    seen = await heard(Model(wish("weather"), DONE), box(GREET))
    assert seen[2] == ToolResult("c1", "weather", "There is no tool of this name. There is: greet.", is_error=True)


async def test_tool_call_with_invalid_json_arguments_is_not_run() -> None:
    """A tool call whose arguments are not valid JSON is not run, and its error result says so."""
    seen = await heard(Model([ToolCall("c1", "greet", {}, malformed='{"name'), Finish("tool-calls")], DONE), box(GREET))
    assert seen[2] == ToolResult("c1", "greet", "Invalid arguments: they must be one JSON object.", is_error=True)


async def test_long_tool_result_is_cut_with_a_note() -> None:
    """A result of a million characters is cut to less than 270,000 and ends with a note."""
    toolbox = box('''
        async def book() -> str:
            """Returns a book."""
            return "x" * 1_000_000
    ''')
    value, is_error = await toolbox.run("book", {})
    assert isinstance(value, str)
    assert (len(value) < 270_000, value.endswith("(cut: the result was longer)"), is_error) == (True, True, False)


async def test_synchronous_tool_runs_in_a_thread() -> None:
    """A tool that is not async runs in a thread of its own, and the event loop goes on meanwhile."""
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
    """An answer that is closed while a tool runs cancels the tool before the close returns."""
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
def test_invalid_tool_file_is_refused_at_load_with_its_line(what: str) -> None:
    """A tool file with an invalid signature, no docstring or an error at import raises Misfit with its line and is unloaded."""
    code, line, said = REFUSED[what]
    with pytest.raises(Misfit) as caught:
        load("mine", code, Path("tools/mine.py"), "test")
    assert caught.value.message.startswith(said)
    assert caught.value.place is not None
    assert (caught.value.place.file, caught.value.place.line) == ("tools/mine.py", line)
    assert "router_tools_test.mine" not in sys.modules


async def test_keyboard_interrupt_raised_by_a_tool_file_is_misfit_off_the_main_thread() -> None:
    """A KeyboardInterrupt that a tool file raises at import becomes Misfit in another thread and propagates in the main one."""
    text = "raise KeyboardInterrupt\n"
    with pytest.raises(Misfit, match="KeyboardInterrupt"):
        await asyncio.to_thread(load, "mine", text, Path("tools/mine.py"), "test")
    with pytest.raises(KeyboardInterrupt):
        load("mine", text, Path("tools/mine.py"), "test")


def test_tool_schema_is_made_from_its_signature_and_docstring() -> None:
    """The schema of a tool has the names, types and defaults of its signature and the descriptions of its docstring."""
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
    """A model that makes the same call with the same result three times in a row is not asked again; the reason is `tool-calls`."""
    turns = [[ToolCall(f"c{count}", "greet", {"name": "Ada"}), Finish("tool-calls")] for count in range(9)]
    model = Model(*turns)
    seen = await heard(model, box(GREET), max_steps=9)
    assert len(model.asked) == 3
    assert len([event for event in seen if isinstance(event, ToolResult)]) == 3
    assert seen[-1] == Finish("tool-calls")


async def test_tool_loop_continues_while_calls_or_results_differ() -> None:
    """A model whose repeated calls differ in arguments or results is asked until it answers."""
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
    """A value that a tool yields is sent as ToolProgress before the tool continues; the last value is its result."""
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
    """Of 100,000 values that a tool yields without a pause, at most the newest is sent as ToolProgress."""
    toolbox = box('''
        async def count():
            """Reports without a pause."""
            for one in range(100_000):
                yield one
    ''')
    seen = await heard(Model([ToolCall("c1", "count", {}), Finish("tool-calls")], DONE), toolbox)
    assert [event.output for event in seen if isinstance(event, ToolProgress)] in ([], [99_999])
    assert [event.result for event in seen if isinstance(event, ToolResult)] == [99_999]


async def test_data_parts_of_a_tool_are_sent_in_order_with_backpressure() -> None:
    """All data parts of a tool are sent in order before its result, and the tool waits when the client reads too slowly."""
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
    """A data part with an invalid name, data that is not JSON, or data that is too large fails its tool call."""
    toolbox = box(f'''
        from router.toolbox import DataPart

        async def draw():
            """Draws."""
            yield {part}
    ''')
    _, is_error = await toolbox.run("draw", {})
    assert is_error


async def test_data_part_is_a_dataclass_that_tools_may_copy_extend_and_return() -> None:
    """A tool may return a DataPart inside its result, copy it with `dataclasses.replace`, and yield one of a class with its own constructor."""
    toolbox = box('''
        from dataclasses import replace

        from router.toolbox import DataPart

        class Chart(DataPart):
            def __init__(self, data: object) -> None:
                super().__init__("chart", data)

        async def draw():
            """Draws."""
            yield Chart([1])
            yield {"drawn": replace(DataPart("line", 1), data=2)}
    ''')
    reported: list[tuple[object, str]] = []

    async def report(value: object, part: str) -> None:
        reported.append((value, part))

    drawn = {"drawn": {"name": "line", "data": 2}}
    assert await toolbox.run("draw", {}, report=report) == (drawn, False)
    assert reported == [([1], "chart"), (drawn, "")]


def brought(*names: str) -> Ask:
    """Return a question with client tools of these names and the tool choice `required`."""
    return replace(ASK, tools=tuple(ToolSpec(name, "", {"type": "object"}) for name in names), choice=Choice("required"))


async def test_call_of_a_client_tool_ends_the_answer() -> None:
    """A turn that calls a client tool and a route's tool runs the latter and ends the answer as `tool-calls` after one model call."""
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
    """The tool choice `required` is sent with the first model call; later calls have `auto`."""
    model = Model(wish("greet", name="Ada"), DONE)
    seen = [event async for event in tools(toolbox=box(GREET), max_steps=5, approvals=Approvals())(model.answer)(brought("ask_user"))]
    assert isinstance(seen[-1], Finish)
    assert [ask.choice.kind for ask in model.asked] == ["required", "auto"]


async def test_route_tool_overrides_a_client_tool_of_the_same_name() -> None:
    """A client tool with the name of a route's tool is dropped, and a call of that name runs the route's tool."""
    model = Model(wish("greet", name="Ada"), DONE)
    seen = [event async for event in tools(toolbox=box(GREET), max_steps=5, approvals=Approvals())(model.answer)(brought("greet"))]
    assert [event.is_error for event in seen if isinstance(event, ToolResult)] == [False]
    assert model.asked[0].tools == box(GREET).specs
