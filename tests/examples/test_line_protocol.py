"""The reader of examples/line-protocol: what it makes of a router's stream, wherever the network cuts it."""

import base64
import json
from typing import Any

import pytest

from router.events import Event, Failure, Finish, Start, Text, Thought, ToolCall, ToolResult, Usage
from router.wire import Heading
from router.wire.line import WIRE
from tests.conftest import parsed_lines
from tests.examples.build import HERE, copy, run

ANSWER: tuple[Event, ...] = (
    Start("a", "fake"),
    Thought("Two cities. "),
    Text("Let me check: 好 🎉"),
    ToolCall("c1", "get_weather", {"location": "Ōsaka"}),
    ToolCall("c2", "get_weather", {"location": ""}),
    ToolResult("c1", "get_weather", "25°C"),
    ToolResult("c2", "get_weather", "Which city?", is_error=True),
    Start("a", "fake"),
    Text("It is "),
    Text("25°C."),
    Finish("stop", Usage(11, 3)),
)
BROKEN: tuple[Event, ...] = (Start("a", "fake"), Text("Half "), Failure("no_answer", "The answer broke off."))


def stream(*events: Event) -> bytes:
    """The bytes of an answer."""
    encode = WIRE.encoder(Heading(request_id="req_1", message_id="m1", model="chat-model", created=0))
    return b"".join(encode(event) for event in events)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Case → what the reader, and the AI SDK behind it, made of it. One process of Node reads all of them."""
    good, broken = stream(*ANSWER), stream(*BROKEN)
    younger = b'y:{"type":"later","value":1}\n' + stream(Text("Hi"), Finish("stop"))
    cases = {
        **{f"cut at {cut}": (good, cut) for cut in (1, 2, 7, 4096)},
        "broken": (broken, 4096),
        "cut off": (good[:-20], 4096),
        "without a finish": (stream(*ANSWER[:-1]), 4096),
        "empty": (b"", 1),
        "younger": (younger, 3),
        "another protocol": (b'data: {"type":"start"}\n\n', 4096),
    }
    folder = copy("line-protocol", tmp_path_factory.mktemp("lines"))
    client = 'export { readLines } from "./lines";\nexport { toChunks } from "./ai-sdk";\nexport { readUIMessageStream } from "ai";\n'
    (folder / "client.ts").write_text(client, encoding="utf-8")
    run(folder, "esbuild client.ts --bundle --platform=node --format=esm --outdir=.")
    given = json.dumps([{"bytes": base64.b64encode(data).decode(), "cut": cut} for data, cut in cases.values()])
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    return dict(zip(cases, json.loads(run(folder, f"node {HERE / 'lines.mjs'} .", given)), strict=True))


@pytest.mark.parametrize("cut", [1, 2, 7, 4096])
def test_reader_has_every_line_wherever_the_network_cuts(read: dict[str, dict[str, Any]], cut: int) -> None:
    """Also in the middle of a character."""
    seen = read[f"cut at {cut}"]
    assert seen["lines"] == [value for _, value in parsed_lines(stream(*ANSWER))]
    assert seen["error"] == ""


def test_ai_sdk_makes_one_message_of_the_lines(read: dict[str, dict[str, Any]]) -> None:
    """Thoughts, text, both calls with their outcome, and the second model call as a step of its own. Its end and its usage are the message's."""
    message = read["cut at 7"]["message"]
    kinds = [part["type"] for part in message["parts"]]
    assert kinds == ["step-start", "reasoning", "text", "tool-get_weather", "tool-get_weather", "step-start", "text"]
    assert [part.get("state") for part in message["parts"][3:5]] == ["output-available", "output-error"]
    assert message["parts"][4]["errorText"] == "Which city?"
    assert message["parts"][-1]["text"] == "It is 25°C."
    assert message["metadata"] == {"finishReason": "stop", "usage": {"promptTokens": 11, "completionTokens": 3}}


def test_reader_passes_on_an_error_line_and_the_finish(read: dict[str, dict[str, Any]]) -> None:
    """The words before it stay."""
    assert [line["type"] for line in read["broken"]["lines"]] == ["text-delta", "error", "finish"]
    assert read["broken"]["error"] == ""
    assert read["broken"]["message"]["parts"][-1]["text"] == "Half "


@pytest.mark.parametrize("case", ["cut off", "without a finish", "empty"])
def test_reader_throws_without_a_finish(read: dict[str, dict[str, Any]], case: str) -> None:
    """Half an answer does not pass for a complete one."""
    assert read[case]["error"] == "The answer was cut off."


def test_reader_leaves_out_lines_that_it_does_not_know(read: dict[str, dict[str, Any]]) -> None:
    """A router may be younger than its client."""
    assert [line["type"] for line in read["younger"]["lines"]] == ["text-delta", "finish"]
    assert read["younger"]["error"] == ""


def test_reader_refuses_another_protocol(read: dict[str, dict[str, Any]]) -> None:
    """The error names the first line that is none of the router's."""
    assert read["another protocol"]["error"] == 'Not a line of the router: data: {"type":"start"}'
