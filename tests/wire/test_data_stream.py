"""The wire `data-stream` (AI SDK 4): exact bytes of its lines, its JSON answer and its errors."""

import json

import pytest

from router.events import Event, Failure, Finish, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.wire import Refusal, answered, data_stream
from tests.wire.readers import HEADING

WEATHER = ToolCall("call_a", "get_weather", {"location": "Beijing"})
GOLDEN: dict[str, tuple[list[Event], str]] = {
    "text": (
        [Start("a", "m"), Text("Hello"), Text("\n"), Finish("stop", Usage(11, 3))],
        (
            'f:{"messageId":"msg-1"}\n0:"Hello"\n0:"\\n"\n'
            'e:{"finishReason":"stop","usage":{"promptTokens":11,"completionTokens":3},"isContinued":false}\n'
            'd:{"finishReason":"stop","usage":{"promptTokens":11,"completionTokens":3}}\n'
        ),
    ),
    "nobody counted": (
        [Start("a", "m"), Thought("Hm."), Finish("unknown")],
        'f:{"messageId":"msg-1"}\ng:"Hm."\ne:{"finishReason":"unknown","isContinued":false}\nd:{"finishReason":"unknown"}\n',
    ),
    "a tool round: text, arguments as they stream, usage per step and in all": (
        [
            Start("a", "m"),
            Text("Let me check."),
            ToolInput("call_a", "get_weather", '{"location"'),
            ToolInput("call_a", "get_weather", ':"Beijing"}'),
            WEATHER,
            ToolResult("call_a", "get_weather", "25°C"),
            Start("a", "m", (), Usage(50, 17)),
            Text("It is 25°C."),
            Finish("stop", Usage(130, 23)),
        ],
        (
            'f:{"messageId":"msg-1"}\n0:"Let me check."\n'
            'b:{"toolCallId":"call_a","toolName":"get_weather"}\n'
            'c:{"toolCallId":"call_a","argsTextDelta":"{\\"location\\""}\n'
            'c:{"toolCallId":"call_a","argsTextDelta":":\\"Beijing\\"}"}\n'
            '9:{"toolCallId":"call_a","toolName":"get_weather","args":{"location":"Beijing"}}\n'
            'a:{"toolCallId":"call_a","result":"25°C"}\n'
            'e:{"finishReason":"tool-calls","usage":{"promptTokens":50,"completionTokens":17},"isContinued":false}\n'
            'f:{"messageId":"msg-1"}\n0:"It is 25°C."\n'
            'e:{"finishReason":"stop","usage":{"promptTokens":80,"completionTokens":6},"isContinued":false}\n'
            'd:{"finishReason":"stop","usage":{"promptTokens":130,"completionTokens":23}}\n'
        ),
    ),
    "a tool that failed, and arguments that are no JSON: neither ends the answer": (
        [Start("a", "m"), ToolCall("c", "t", {}, malformed='{"a'), ToolResult("c", "t", "Invalid.", is_error=True), Finish("tool-calls")],
        (
            'f:{"messageId":"msg-1"}\n9:{"toolCallId":"c","toolName":"t","args":{}}\n'
            'a:{"toolCallId":"c","result":"Invalid.","isError":true}\n'
            'e:{"finishReason":"tool-calls","isContinued":false}\nd:{"finishReason":"tool-calls"}\n'
        ),
    ),
    "a failure": (
        [Start("a", "m"), Text("Half"), Failure("no_answer", "Broken off.")],
        (
            'f:{"messageId":"msg-1"}\n0:"Half"\n3:"Broken off. (request req_1)"\n'
            'e:{"finishReason":"error","usage":{"promptTokens":0,"completionTokens":0},"isContinued":false}\n'
            'd:{"finishReason":"error","usage":{"promptTokens":0,"completionTokens":0}}\n'
        ),
    ),
}


@pytest.mark.parametrize("what", GOLDEN)
def test_events_become_data_stream_lines_byte_for_byte(what: str) -> None:
    """Each sequence of events is encoded as exactly the expected lines."""
    events, expected = GOLDEN[what]
    encode = data_stream.WIRE.encoder(HEADING)
    assert b"".join(encode(event) for event in events).decode() == expected


def test_data_stream_answer_without_streaming_is_one_message() -> None:
    """The wire writes an answer's events as one AI SDK 4 message; a tool call without a result has the state `call`."""
    events = [
        Start("a", "m"),
        Thought("Hm"),
        Text("Hi"),
        WEATHER,
        ToolCall("b", "t", {}),
        ToolResult("call_a", "get_weather", 5),
        ToolCall("c", "t", {}),
        ToolResult("c", "t", "boom", is_error=True),
        Finish("stop"),
    ]
    assert json.loads(data_stream.WIRE.complete(answered(HEADING, events))) == {
        "id": "msg-1",
        "role": "assistant",
        "content": "Hi",
        "reasoning": "Hm",
        "toolInvocations": [
            {"state": "result", "toolCallId": "call_a", "toolName": "get_weather", "args": {"location": "Beijing"}, "result": 5},
            {"state": "call", "toolCallId": "b", "toolName": "t", "args": {}},
            {"state": "result", "toolCallId": "c", "toolName": "t", "args": {}, "result": "boom", "isError": True},
        ],
        "finishReason": "stop",
    }


REFUSED = {
    400: "bad_request:api",
    401: "unauthorized:chat",
    403: "forbidden:chat",
    404: "bad_request:api",
    413: "bad_request:api",
    429: "rate_limit:chat",
    500: "offline:chat",
    503: "offline:chat",
}


@pytest.mark.parametrize("status", REFUSED)
def test_data_stream_error_has_a_code_that_chat_front_ends_know(status: int) -> None:
    """The error body for each HTTP status has a code of the AI SDK's chat front ends and the router's own code as `cause`."""
    made = json.loads(data_stream.WIRE.refusal(Refusal(status, "our_code", "No.", "r1")))
    assert made == {"code": REFUSED[status], "message": "No.", "cause": "our_code"}
