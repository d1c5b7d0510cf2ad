"""Scripted targets: the demo that answers offline, and lists of lines."""

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
    """A question with every tool granted."""
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
def test_script_demo_asks_for_a_granted_tool(text: str) -> None:
    """A real tool where the question wants one, with what it names."""
    wanted = [(line.call, next(iter((line.arguments or {}).values()))) for line in demo.lines(ask(text)) if line.call]
    assert wanted == CALLS[text]


def test_the_demo_asks_for_no_tool_that_is_not_granted() -> None:
    """Without tools it only talks."""
    bare = Ask(model="chat-model", messages=(Message("user", ("weather in Rome",)),))
    assert not [line for line in demo.lines(bare) if line.call]


def test_the_demo_tells_what_its_tools_found() -> None:
    """After results it names each; it does not ask again."""
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
def test_the_demo_makes_titles(text: str) -> None:
    """Short, without quotes or colons."""
    (line,) = demo.lines(ask(text, "title-model"))
    assert line.text == TITLES[text]


HOSTILE = 'A "quoted", {braced} \\ topic\nwith lines'


def test_the_demo_makes_artifacts() -> None:
    """Each kind is what it says it is, whatever the topic."""
    text, code, sheet = (demo.lines(ask(HOSTILE, "artifact-model", kind=kind))[0].text or "" for kind in ("text", "code", "sheet"))
    assert text.startswith("# ")
    ast.parse(code)
    rows = list(csv.reader(io.StringIO(sheet)))
    assert {len(row) for row in rows} == {3}
    assert rows[1][1] == 'A "quoted", {braced} \\ topic with lines'
    assert demo.lines(ask("x", "artifact-model", kind="no such"))[0].text == demo.lines(ask("x", "artifact-model"))[0].text


async def heard(*lines: ScriptLine) -> list[Event]:
    """What a list of lines says."""
    order = Order()
    async with aclosing(script.answer("a", lines)(ask("Hi"))) as events:
        return [order.see(event) async for event in events]


async def test_scripted_answer_gives_its_lines_in_their_order() -> None:
    """Thoughts, words, calls, and the end they name."""
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
async def test_a_script_can_fail_in_every_way(how: str) -> None:
    """So that a configuration can be tried out against each."""
    with pytest.raises(TargetError) as caught:
        await heard(ScriptLine(fail=how))  # pyright: ignore[reportArgumentType]
    assert type(caught.value) is FAILS[how]


@pytest.mark.parametrize("line", [{}, {"text": "a", "thought": "b"}, {"text": "a", "arguments": {}}, {"text": ""}])
def test_a_line_does_one_thing(line: dict[str, object]) -> None:
    """Not none, not two."""
    with pytest.raises(Misfit):
        ScriptLine(**line)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("model", ["openai/fake", "anthropic/fake"])
async def test_a_tool_that_a_script_asked_for_is_told_to_a_provider(model: str, workspace: Workspace) -> None:
    """A provider that was down comes back between two rounds: it is sent what the script began."""
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
