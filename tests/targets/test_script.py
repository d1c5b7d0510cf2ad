"""Scripted targets: the offline demo, and lists of lines."""

import ast
import csv
import io
from contextlib import aclosing

import pytest

from router.chat import Ask, Json, Message, Result, ToolSpec
from router.config.declaration import ScriptLine
from router.config.values import Name
from router.errors import ContentFiltered, ContextTooLong, Misfit, TargetDenied, TargetDown, TargetError, TargetRefused, TargetSilent
from router.events import Event, Finish, Order, Start, Text, Thought, ToolCall
from router.targets import demo, script
from tests.conftest import Workspace, routes, serving
from tests.support.provider import Reply, error, provider
from tests.support.provider import text as said

TOOLS = tuple(ToolSpec(name, "", {}) for name in ("get_weather", "get_time", "calculate"))


def ask(text: str, model: str = "chat-model", **fields: Json) -> Ask:
    """Return a question with three tools."""
    return Ask(model=model, messages=(Message("user", (text,)),), tools=TOOLS, fields=fields)


CALLS: dict[str, list[tuple[str, str]]] = {
    "What is the weather in Beijing and the time in Tokyo?": [("get_weather", "Beijing"), ("get_time", "Tokyo")],
    "weather in New York": [("get_weather", "New York")],
    "What's the weather like in San Francisco today?": [("get_weather", "San Francisco")],
    "北京天气怎么样？": [("get_weather", "北京")],
    "东京现在几点？": [("get_time", "东京")],
    "How much is 12 * (3+4)?": [("calculate", "12 * (3+4)")],
    "2^10": [("calculate", "2^10")],
    "What time is it in Paris, and what is 1.5+2?": [("get_time", "Paris"), ("calculate", "1.5+2")],
    "Tell me a joke": [],
    "I was born on 1999-12": [("calculate", "1999-12")],
}


@pytest.mark.parametrize("text", CALLS)
def test_script_demo_calls_the_tool_with_the_named_argument(text: str) -> None:
    """The demo calls the tools that a question needs, with the place or expression that it names."""
    wanted = [(line.call, next(iter((line.arguments or {}).values()))) for line in demo.lines(ask(text)) if line.call]
    assert wanted == CALLS[text]


def test_script_demo_calls_no_tool_without_tools() -> None:
    """The demo makes no tool call for a request without tools."""
    bare = Ask(model="chat-model", messages=(Message("user", ("weather in Rome",)),))
    assert not [line for line in demo.lines(bare) if line.call]


def test_script_demo_lists_tool_results() -> None:
    """For a question with tool results, the script `demo` has one line, which lists each of them."""
    results = Message("tool", (Result("c1", "get_weather", "Beijing: 25°C"), Result("c2", "get_time", {"hour": 9})))
    told = demo.lines(ask("weather?").with_messages(*ask("weather?").messages, results))
    assert [line.text for line in told] == ['Here is what I found:\n\n- Beijing: 25°C\n- {"hour":9}\n']


TITLES = {
    "how do I cook rice?": "How do I cook rice",
    '"Quoted": a thing': "Quoted a thing",
    "": "New chat",
    "x" * 200: "X" + "x" * 79,
}


@pytest.mark.parametrize("text", TITLES)
def test_script_demo_makes_short_titles(text: str) -> None:
    """For `title-model` the demo returns a short title without quotes or colons, or `New chat`."""
    (line,) = demo.lines(ask(text, "title-model"))
    assert line.text == TITLES[text]


HOSTILE = 'A "quoted", {braced} \\ topic\nwith lines'


def test_script_demo_makes_valid_documents() -> None:
    """Text has a heading, code parses as Python and a sheet is CSV of three columns for a hostile topic; an unknown kind gives text."""
    text, code, sheet = (demo.lines(ask(HOSTILE, "artifact-model", kind=kind))[0].text or "" for kind in ("text", "code", "sheet"))
    assert text.startswith("# ")
    ast.parse(code)
    rows = list(csv.reader(io.StringIO(sheet)))
    assert {len(row) for row in rows} == {3}
    assert rows[1][1] == 'A "quoted", {braced} \\ topic with lines'
    assert demo.lines(ask("x", "artifact-model", kind="no such"))[0].text == demo.lines(ask("x", "artifact-model"))[0].text


async def heard(*lines: ScriptLine) -> list[Event]:
    """Return the events of a script with these lines."""
    order = Order()
    async with aclosing(script.answer("a", lines)(ask("Hi"))) as events:
        return [order.see(event) async for event in events]


async def test_scripted_answer_gives_its_lines_in_order() -> None:
    """A script's lines become thoughts, one event per word of text, and calls in order; then Finish with the reason of its last line."""
    seen = await heard(
        ScriptLine(thought="Hm. "),
        ScriptLine(text="One two"),
        ScriptLine(call=Name("get_time"), arguments={"place": "UTC"}),
        ScriptLine(pause=0.001),
        ScriptLine(finish="length"),
    )
    assert [type(event) for event in seen] == [Start, Thought, Text, Text, ToolCall, Finish]
    assert isinstance(seen[-1], Finish)
    assert seen[-1].reason == "length"


FAILS: dict[str, type[TargetError]] = {
    "down": TargetDown,
    "silent": TargetSilent,
    "refused": TargetRefused,
    "denied": TargetDenied,
    "too_long": ContextTooLong,
    "filtered": ContentFiltered,
}


@pytest.mark.parametrize("how", FAILS)
async def test_script_line_fails_with_its_target_error(how: str) -> None:
    """A line with `fail` raises the TargetError of its name."""
    with pytest.raises(TargetError) as caught:
        await heard(ScriptLine(fail=how))  # pyright: ignore[reportArgumentType]
    assert type(caught.value) is FAILS[how]


@pytest.mark.parametrize("line", [{}, {"text": "a", "thought": "b"}, {"text": "a", "arguments": {}}, {"text": ""}])
def test_script_line_with_no_or_two_actions_is_refused(line: dict[str, object]) -> None:
    """A line with no action, an empty text, two actions, or arguments without a call raises Misfit."""
    with pytest.raises(Misfit):
        ScriptLine(**line)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("model", ["openai/fake", "anthropic/fake"])
async def test_tool_call_of_a_script_is_sent_to_the_provider_after_it(model: str, workspace: Workspace) -> None:
    """A provider that recovers after a script began a tool round is sent the script's call, and completes the answer."""
    async with provider(error(503), Reply(said("Sunny."))) as one:
        base = one.base if model.startswith("openai/") else one.base.removesuffix("/v1")
        targets = f"a: {{model: {model}, api_base: '{base}', api_key: sk-test}}\nb: {{script: demo}}"
        workspace.write("routes.yaml", routes(targets, "targets: [a, b]\n    tools: [weather]\n    retry: {attempts: 1}"))
        async with serving(workspace.build()) as client:
            answer = await client.ask("What is the weather in Beijing?")
    assert len(one.requests) == 2
    assert "get_weather" in str(one.requests[1]["messages"])
    assert answer.codes.startswith("9a0")
    assert answer.codes.endswith("0d")
