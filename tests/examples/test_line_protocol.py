"""The stream reader of examples/line-protocol, on streams of the router that are split at various sizes."""

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
    """Return the bytes of an answer in the line protocol."""
    encode = WIRE.encoder(Heading(request_id="req_1", message_id="m1", model="chat-model", created=0))
    return b"".join(encode(event) for event in events)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Case → the lines that the example's reader returned and the message that the AI SDK built, all from one Node process."""
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
def test_line_reader_reads_every_line_at_any_chunk_size(read: dict[str, dict[str, Any]], cut: int) -> None:
    """The example's line reader returns every line of an answer in chunks of 1, 2, 7 or 4,096 bytes, even within a character."""
    seen = read[f"cut at {cut}"]
    assert seen["lines"] == [value for _, value in parsed_lines(stream(*ANSWER))]
    assert seen["error"] == ""


def test_ai_sdk_builds_one_message_from_the_line_protocol(read: dict[str, dict[str, Any]]) -> None:
    """The AI SDK builds one message with reasoning, text, both tool results, two steps, and the finish reason and usage as metadata."""
    message = read["cut at 7"]["message"]
    kinds = [part["type"] for part in message["parts"]]
    assert kinds == ["step-start", "reasoning", "text", "tool-get_weather", "tool-get_weather", "step-start", "text"]
    assert [part.get("state") for part in message["parts"][3:5]] == ["output-available", "output-error"]
    assert message["parts"][4]["errorText"] == "Which city?"
    assert message["parts"][-1]["text"] == "It is 25°C."
    assert message["metadata"] == {"finishReason": "stop", "usage": {"promptTokens": 11, "completionTokens": 3}}


def test_line_reader_returns_an_error_line_after_the_partial_text(read: dict[str, dict[str, Any]]) -> None:
    """The example's line reader returns the partial text, the error line and the finish of an answer that failed."""
    assert [line["type"] for line in read["broken"]["lines"]] == ["text-delta", "error", "finish"]
    assert read["broken"]["error"] == ""
    assert read["broken"]["message"]["parts"][-1]["text"] == "Half "


@pytest.mark.parametrize("case", ["cut off", "without a finish", "empty"])
def test_line_reader_throws_if_the_finish_line_is_missing(read: dict[str, dict[str, Any]], case: str) -> None:
    """The example's line reader throws `The answer was cut off.` for a truncated, unfinished or empty stream."""
    assert read[case]["error"] == "The answer was cut off."


def test_line_reader_skips_lines_with_an_unknown_code(read: dict[str, dict[str, Any]]) -> None:
    """The example's line reader skips a line with an unknown code, as a newer router may send."""
    assert [line["type"] for line in read["younger"]["lines"]] == ["text-delta", "finish"]
    assert read["younger"]["error"] == ""


def test_line_reader_throws_for_a_stream_of_another_protocol(read: dict[str, dict[str, Any]]) -> None:
    """The example's line reader throws an error that shows the first line if the stream is server-sent events."""
    assert read["another protocol"]["error"] == 'Not a line of the router: data: {"type":"start"}'
