"""The wire `line` (the router's line protocol): exact bytes of its lines, its JSON answer and its errors."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.events import Event, Failure, Finish, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.wire import Refusal, answered, line
from router.wire.shape import body
from tests.wire.readers import HEADING

WEATHER = ToolCall("call_a", "get_weather", {"location": "Beijing"})
GOLDEN: dict[str, tuple[list[Event], str]] = {
    "the guide's example": (
        [Text("你"), Text("好"), Text("！"), Finish("stop")],
        (
            '0:{"type":"text-delta","textDelta":"你"}\n0:{"type":"text-delta","textDelta":"好"}\n0:{"type":"text-delta","textDelta":"！"}\n'
            'd:{"type":"finish","finishReason":"stop"}\n'
        ),
    ),
    "usage": (
        [Text("Hi"), Finish("stop", Usage(11, 3))],
        (
            '0:{"type":"text-delta","textDelta":"Hi"}\n'
            'd:{"type":"finish","finishReason":"stop","usage":{"promptTokens":11,"completionTokens":3}}\n'
        ),
    ),
    "escapes": (
        [Text('😀 "q" \\ \n\t\x00\u2028 </script>')],
        '0:{"type":"text-delta","textDelta":"😀 \\"q\\" \\\\ \\n\\t\\u0000\u2028 </script>"}\n',
    ),
    "a tool": (
        [WEATHER, ToolResult("call_a", "get_weather", "北京: 25°C"), Finish("stop")],
        (
            '9:{"type":"tool-call","toolCallId":"call_a","toolName":"get_weather","args":{"location":"Beijing"}}\n'
            'a:{"type":"tool-result","toolCallId":"call_a","toolName":"get_weather","result":"北京: 25°C"}\n'
            'd:{"type":"finish","finishReason":"stop"}\n'
        ),
    ),
    "two rounds, the first of two calls side by side": (
        [
            Start("a", "m"),
            Text("Let me look."),
            WEATHER,
            ToolCall("call_b", "get_time", {}),
            ToolResult("call_b", "get_time", {"hour": 9}),
            ToolResult("call_a", "get_weather", "25°C"),
            Start("a", "m"),
            ToolCall("call_c", "calculate", {"expression": "25*9/5+32"}),
            ToolResult("call_c", "calculate", 77),
            Start("a", "m"),
            Text("77°F."),
            Finish("stop", Usage(130, 23)),
        ],
        (
            '0:{"type":"text-delta","textDelta":"Let me look."}\n'
            '9:{"type":"tool-call","toolCallId":"call_a","toolName":"get_weather","args":{"location":"Beijing"}}\n'
            '9:{"type":"tool-call","toolCallId":"call_b","toolName":"get_time","args":{}}\n'
            'a:{"type":"tool-result","toolCallId":"call_b","toolName":"get_time","result":{"hour":9}}\n'
            'a:{"type":"tool-result","toolCallId":"call_a","toolName":"get_weather","result":"25°C"}\n'
            '9:{"type":"tool-call","toolCallId":"call_c","toolName":"calculate","args":{"expression":"25*9/5+32"}}\n'
            'a:{"type":"tool-result","toolCallId":"call_c","toolName":"calculate","result":77}\n'
            '0:{"type":"text-delta","textDelta":"77°F."}\n'
            'd:{"type":"finish","finishReason":"stop","usage":{"promptTokens":130,"completionTokens":23}}\n'
        ),
    ),
    "a failure before any text": (
        [Start("a", "m"), Failure("timeout", "Too slow.")],
        '3:{"type":"error","error":"Too slow. (request req_1)"}\nd:{"type":"finish","finishReason":"error"}\n',
    ),
    "a result that is an object": (
        [ToolResult("call_a", "t", {"c": 25, "l": [1, None, True]})],
        'a:{"type":"tool-result","toolCallId":"call_a","toolName":"t","result":{"c":25,"l":[1,null,true]}}\n',
    ),
    "a tool that failed": (
        [ToolResult("call_e", "t", "The tool failed.", is_error=True)],
        'a:{"type":"tool-result","toolCallId":"call_e","toolName":"t","result":"The tool failed.","isError":true}\n',
    ),
    "arguments that are no JSON": (
        [ToolCall("call_m", "t", {}, malformed='{"a')],
        '9:{"type":"tool-call","toolCallId":"call_m","toolName":"t","args":{}}\n',
    ),
    "a thought": ([Thought("Think. ")], 'g:{"type":"reasoning","textDelta":"Think. "}\n'),
    "a length": ([Finish("length")], 'd:{"type":"finish","finishReason":"length"}\n'),
    "the step cap": ([Finish("tool-calls")], 'd:{"type":"finish","finishReason":"tool-calls"}\n'),
    "a failure": (
        [Text("Partial "), Failure("no_answer", "Upstream connection lost")],
        (
            '0:{"type":"text-delta","textDelta":"Partial "}\n3:{"type":"error","error":"Upstream connection lost (request req_1)"}\n'
            'd:{"type":"finish","finishReason":"error"}\n'
        ),
    ),
    "what the dialect does not say": ([Start("a", "m"), ToolInput("c", "t", "{")], ""),
    "half an emoji": ([ToolResult("c", "t", "a\ud83d")], 'a:{"type":"tool-result","toolCallId":"c","toolName":"t","result":"a\ufffd"}\n'),
}


@pytest.mark.parametrize("what", GOLDEN)
def test_events_become_protocol_lines_byte_for_byte(what: str) -> None:
    """Each sequence of events is encoded as exactly the expected lines."""
    events, expected = GOLDEN[what]
    encode = line.WIRE.encoder(HEADING)
    assert b"".join(encode(event) for event in events) == expected.encode()


TEXT = st.text(st.characters(codec="utf-8")).filter(bool)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(st.one_of(TEXT.map(Text), TEXT.map(Thought)))
def test_any_text_parses_back_from_its_line(event: Text | Thought) -> None:
    """A generated text is one line of valid UTF-8 with a single LF at its end, and parses back unchanged."""
    encoded = line.WIRE.encoder(HEADING)(event)
    assert encoded.count(b"\n") == 1
    assert encoded.endswith(b"\n")
    assert json.loads(encoded.decode("utf-8", "strict")[2:])["textDelta"] == event.text


@given(st.text(), TEXT, st.dictionaries(TEXT, JSON, max_size=4), JSON)
def test_any_tool_call_and_result_parse_back_from_their_lines(call_id: str, name: str, arguments: dict[str, Any], result: Any) -> None:
    """Generated tool arguments and results parse back unchanged from their lines."""
    call_id = call_id.encode("utf-8", "ignore").decode()
    encode = line.WIRE.encoder(HEADING)
    called = json.loads(encode(ToolCall(call_id, name, arguments))[2:])
    assert (called["toolCallId"], called["toolName"], called["args"]) == (call_id, name, arguments)
    given_back = json.loads(encode(ToolResult(call_id, name, result))[2:])
    assert given_back["result"] == result


@given(st.text(st.characters()))
def test_text_with_lone_surrogates_is_a_line_of_valid_utf8(text: str) -> None:
    """A generated text that may have lone surrogates is one line of valid UTF-8."""
    encoded = line.WIRE.encoder(HEADING)(Text(text))
    assert encoded.count(b"\n") == 1
    json.loads(encoded.decode("utf-8", "strict")[2:])


@given(st.text(st.characters()))
def test_whole_text_of_a_line_answer_has_the_bytes_of_its_json(text: str) -> None:
    """A complete answer that is text alone has the bytes that its fields have as JSON; lone surrogates of its text are replaced."""
    made = {"id": "msg-1", "model": "chat-model", "role": "assistant", "content": text, "finishReason": "stop"}
    usage = {"usage": {"promptTokens": 1, "completionTokens": 2}}
    assert line.WIRE.complete(answered(HEADING, [Start("a", "m"), Text(text), Finish("stop", Usage(1, 2))])) == body({**made, **usage})


def test_line_answer_without_streaming_has_the_objects_of_the_lines() -> None:
    """With `stream: false`, an answer is one object with text, tool calls, results and usage; empty ones are left out."""
    short = json.loads(line.WIRE.complete(answered(HEADING, [Start("a", "m"), Text("H"), Text("i"), Finish("stop")])))
    assert short == {"id": "msg-1", "model": "chat-model", "role": "assistant", "content": "Hi", "finishReason": "stop"}
    events = [Start("a", "m"), Thought("Hm"), WEATHER, ToolResult("call_a", "get_weather", 5), Finish("length", Usage(1, 2))]
    whole = json.loads(line.WIRE.complete(answered(HEADING, events)))
    assert whole == {
        "id": "msg-1",
        "model": "chat-model",
        "role": "assistant",
        "content": "",
        "reasoning": "Hm",
        "toolCalls": [{"type": "tool-call", "toolCallId": "call_a", "toolName": "get_weather", "args": {"location": "Beijing"}}],
        "toolResults": [{"type": "tool-result", "toolCallId": "call_a", "toolName": "get_weather", "result": 5}],
        "finishReason": "length",
        "usage": {"promptTokens": 1, "completionTokens": 2},
    }


def test_line_error_before_the_first_event_is_one_json_object() -> None:
    """An error before the first event is one JSON object with error, code and request id."""
    assert (
        line.WIRE.refusal(Refusal(400, "bad_request", "No.", "r1"))
        == b'{"type":"error","error":"No.","code":"bad_request","requestId":"r1"}'
    )
