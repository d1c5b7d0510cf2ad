"""The wire `ui-message-stream` (AI SDK 5 and later): exact bytes of its frames and its JSON answer."""

import json
from typing import Any

import pytest

from router.events import Event, Failure, Finish, Start, Text, Thought, ToolCall, ToolInput, ToolProgress, ToolResult, Usage
from router.value import replace
from router.wire import answered, ui_message_stream
from tests.wire.readers import HEADING

WEATHER = ToolCall("call_a", "get_weather", {"location": "Beijing"})
START = ['{"type":"start","messageId":"msg-1"}', '{"type":"start-step"}']
END = ['{"type":"finish-step"}', '{"type":"finish","messageMetadata":{"finishReason":"stop","model":"chat-model"}}', "[DONE]"]
GOLDEN: dict[str, tuple[list[Event], list[str]]] = {
    "text": (
        [Start("a", "m"), Text("Hello"), Text("\n\n"), Finish("stop", Usage(11, 3))],
        [
            *START,
            '{"type":"text-start","id":"t1"}',
            '{"type":"text-delta","id":"t1","delta":"Hello"}',
            '{"type":"text-delta","id":"t1","delta":"\\n\\n"}',
            '{"type":"text-end","id":"t1"}',
            '{"type":"finish-step"}',
            (
                '{"type":"finish","messageMetadata":{"finishReason":"stop",'
                '"usage":{"inputTokens":11,"outputTokens":3,"totalTokens":14},"model":"chat-model"}}'
            ),
            "[DONE]",
        ],
    ),
    "thoughts and text in turns: ids are unique in the message": (
        [Start("a", "m"), Thought("Hm. "), Text("A"), Thought("Oh. "), Text("B"), Finish("stop")],
        [
            *START,
            '{"type":"reasoning-start","id":"r1"}',
            '{"type":"reasoning-delta","id":"r1","delta":"Hm. "}',
            '{"type":"reasoning-end","id":"r1"}',
            '{"type":"text-start","id":"t1"}',
            '{"type":"text-delta","id":"t1","delta":"A"}',
            '{"type":"text-end","id":"t1"}',
            '{"type":"reasoning-start","id":"r2"}',
            '{"type":"reasoning-delta","id":"r2","delta":"Oh. "}',
            '{"type":"reasoning-end","id":"r2"}',
            '{"type":"text-start","id":"t2"}',
            '{"type":"text-delta","id":"t2","delta":"B"}',
            '{"type":"text-end","id":"t2"}',
            *END,
        ],
    ),
    "a tool round: two calls side by side, the arguments of one as they stream": (
        [
            Start("a", "m"),
            Text("Let me check."),
            ToolInput("call_a", "get_weather", '{"location"'),
            ToolInput("call_a", "get_weather", ':"Beijing"}'),
            WEATHER,
            ToolCall("call_b", "get_time", {}),
            ToolResult("call_b", "get_time", {"hour": 9}),
            ToolResult("call_a", "get_weather", "25°C"),
            Start("a", "m", (), Usage(50, 17)),
            Text("It is 25°C."),
            Finish("stop"),
        ],
        [
            *START,
            '{"type":"text-start","id":"t1"}',
            '{"type":"text-delta","id":"t1","delta":"Let me check."}',
            '{"type":"text-end","id":"t1"}',
            '{"type":"tool-input-start","toolCallId":"call_a","toolName":"get_weather"}',
            '{"type":"tool-input-delta","toolCallId":"call_a","inputTextDelta":"{\\"location\\""}',
            '{"type":"tool-input-delta","toolCallId":"call_a","inputTextDelta":":\\"Beijing\\"}"}',
            '{"type":"tool-input-available","toolCallId":"call_a","toolName":"get_weather","input":{"location":"Beijing"}}',
            '{"type":"tool-input-available","toolCallId":"call_b","toolName":"get_time","input":{}}',
            '{"type":"tool-output-available","toolCallId":"call_b","output":{"hour":9}}',
            '{"type":"tool-output-available","toolCallId":"call_a","output":"25°C"}',
            '{"type":"finish-step"}',
            '{"type":"start-step"}',
            '{"type":"text-start","id":"t2"}',
            '{"type":"text-delta","id":"t2","delta":"It is 25°C."}',
            '{"type":"text-end","id":"t2"}',
            *END,
        ],
    ),
    "arguments that are no JSON, and an error that is no text: the portable form of both": (
        [
            Start("a", "m"),
            ToolCall("c", "t", {}, malformed='{"a'),
            ToolCall("e", "t", {"q": 1}),
            ToolResult("c", "t", "Invalid arguments.", is_error=True),
            ToolResult("e", "t", {"status": 404}, is_error=True),
            Start("a", "m"),
            Finish("stop"),
        ],
        [
            *START,
            '{"type":"tool-input-available","toolCallId":"c","toolName":"t","input":"{\\"a"}',
            '{"type":"tool-input-available","toolCallId":"e","toolName":"t","input":{"q":1}}',
            '{"type":"tool-output-error","toolCallId":"c","errorText":"Invalid arguments."}',
            '{"type":"tool-output-error","toolCallId":"e","errorText":"{\\"status\\":404}"}',
            '{"type":"finish-step"}',
            '{"type":"start-step"}',
            *END,
        ],
    ),
    "a failure: the open part is closed, then the error, which ends it": (
        [Start("a", "m"), Text("Half"), Failure("no_answer", "Broken off.")],
        [
            *START,
            '{"type":"text-start","id":"t1"}',
            '{"type":"text-delta","id":"t1","delta":"Half"}',
            '{"type":"text-end","id":"t1"}',
            '{"type":"error","errorText":"Broken off. (request req_1)"}',
            '{"type":"finish-step"}',
            '{"type":"finish","messageMetadata":{"finishReason":"error","model":"chat-model"}}',
            "[DONE]",
        ],
    ),
    "a failure before the first step": (
        [Failure("internal", "Sorry.")],
        ['{"type":"error","errorText":"Sorry. (request req_1)"}', "[DONE]"],
    ),
}


@pytest.mark.parametrize("what", GOLDEN)
def test_events_become_ui_message_frames_byte_for_byte(what: str) -> None:
    """Each sequence of events is encoded as exactly the expected frames."""
    events, expected = GOLDEN[what]
    encode = ui_message_stream.WIRE.encoder(HEADING)
    assert b"".join(encode(event) for event in events).decode() == "".join(f"data: {data}\n\n" for data in expected)


@pytest.mark.parametrize(("ours", "theirs"), [("stop", "stop"), ("unknown", "other"), ("other", "other"), ("tool-calls", "tool-calls")])
def test_ui_message_finish_reason_is_placed_for_each_sdk_version(ours: Any, theirs: str) -> None:
    """The finish reason is in the metadata for all clients, and also a key of `finish` from 6.0 on; `unknown` becomes `other`."""
    for level, top in (("5.0", ""), ("6.0", f'"finishReason":"{theirs}",')):
        encode = ui_message_stream.WIRE.encoder(replace(HEADING, min_client=level))
        encode(Start("a", "m"))
        frame = encode(Finish(ours)).decode().split("\n\n")[1]
        assert frame == f'data: {{"type":"finish",{top}"messageMetadata":{{"finishReason":"{theirs}","model":"chat-model"}}}}'


@pytest.mark.parametrize(
    ("level", "frame"),
    [
        ("5.0", '{"type":"data-tool-progress","data":{"toolCallId":"call_a","output":{"done":10}},"transient":true}'),
        ("6.0", '{"type":"tool-output-available","toolCallId":"call_a","output":{"done":10},"preliminary":true}'),
    ],
)
def test_tool_progress_is_a_preliminary_output_only_from_ai_sdk_6_on(level: str, frame: str) -> None:
    """A tool's progress is a transient data part for 5.0 and a preliminary output from 6.0 on; the JSON answer omits it."""
    encode = ui_message_stream.WIRE.encoder(replace(HEADING, min_client=level))
    progress = ToolProgress("call_a", "get_weather", {"done": 10})
    result = ToolResult("call_a", "get_weather", "25°C")
    for event in (Start("a", "m"), WEATHER):
        encode(event)
    assert encode(progress).decode() == f"data: {frame}\n\n"
    ends: list[Event] = [Start("a", "m"), WEATHER, progress, result, Finish("stop")]
    parts = json.loads(ui_message_stream.WIRE.complete(answered(HEADING, ends)))["parts"]
    assert [(part.get("state"), part.get("output")) for part in parts[1:]] == [("output-available", "25°C")]


@pytest.mark.parametrize("level", ["5.0", "6.0"])
def test_data_part_of_a_tool_is_transient_and_has_the_call_id(level: str) -> None:
    """A tool's data part is a transient `data-<name>` chunk with the tool call's id; the JSON answer omits it."""
    encode = ui_message_stream.WIRE.encoder(replace(HEADING, min_client=level))
    for event in (Start("a", "m"), WEATHER):
        encode(event)
    part = ToolProgress("call_a", "get_weather", None, "clear")
    assert encode(part).decode() == 'data: {"type":"data-clear","id":"call_a","data":null,"transient":true}\n\n'
    ends: list[Event] = [Start("a", "m"), WEATHER, part, ToolResult("call_a", "get_weather", "25°C"), Finish("stop")]
    assert b"clear" not in ui_message_stream.WIRE.complete(answered(HEADING, ends))


def test_ui_message_answer_without_streaming_is_one_uimessage() -> None:
    """With `stream: false`, an answer is one UIMessage of thoughts, texts and calls in order, each result in its call's part."""
    events = [
        Start("a", "m"),
        *(
            Thought("H"),
            Thought("m"),
            Text("Let me "),
            Text("look."),
            WEATHER,
            ToolCall("b", "t", {}),
            ToolCall("c", "t", {}, malformed="{"),
        ),
        *(ToolResult("b", "t", "No.", is_error=True), ToolResult("call_a", "get_weather", {"c": 25})),
        *(Start("a", "m"), Text("25°C"), Finish("length", Usage(1, 2))),
    ]
    assert json.loads(ui_message_stream.WIRE.complete(answered(HEADING, events))) == {
        "id": "msg-1",
        "role": "assistant",
        "metadata": {"finishReason": "length", "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}, "model": "chat-model"},
        "parts": [
            {"type": "step-start"},
            {"type": "reasoning", "text": "Hm", "state": "done"},
            {"type": "text", "text": "Let me look.", "state": "done"},
            {
                "type": "tool-get_weather",
                "toolCallId": "call_a",
                "state": "output-available",
                "input": {"location": "Beijing"},
                "output": {"c": 25},
            },
            {"type": "tool-t", "toolCallId": "b", "state": "output-error", "input": {}, "errorText": "No."},
            {"type": "tool-t", "toolCallId": "c", "state": "input-available", "input": "{"},
            {"type": "step-start"},
            {"type": "text", "text": "25°C", "state": "done"},
        ],
    }
