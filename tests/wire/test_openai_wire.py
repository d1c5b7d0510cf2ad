"""The wire `openai` (chat completions): exact bytes of its chunks, its JSON answer and its errors."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.events import Event, Failure, Finish, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.value import replace
from router.wire import Refusal, answered, openai
from router.wire.shape import body
from tests.wire.readers import HEADING

CALL = ToolCall("call_a", "get_weather", {"location": "Beijing"})
RESULT = ToolResult("call_a", "get_weather", "25°C")
COMMON = '{"id":"chatcmpl-msg-1","object":"chat.completion.chunk","created":1700000000,"model":"openai/gpt-4o","choices":['


def chunk(delta: str, reason: str = "null") -> str:
    """Return the JSON of one chunk with one choice."""
    return f'{COMMON}{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{reason}}}]}}'


ROLE = chunk('{"role":"assistant","content":""}')
ASKS = chunk('{"role":"assistant","content":null}')
GOLDEN: dict[str, tuple[list[Event], list[str]]] = {
    "text": (
        [Start("a", "openai/gpt-4o"), Text("Hel"), Text('l"o'), Finish("stop", Usage(11, 3))],
        [ROLE, chunk('{"content":"Hel"}'), chunk('{"content":"l\\"o"}'), chunk("{}", '"stop"'), "[DONE]"],
    ),
    "thoughts": (
        [Start("a", "openai/gpt-4o"), Thought("H"), Thought("m"), Text("Hi"), Finish("stop")],
        [
            chunk('{"role":"assistant","content":null,"reasoning_content":"H"}'),
            chunk('{"reasoning_content":"m"}'),
            chunk('{"content":"Hi"}'),
            chunk("{}", '"stop"'),
            "[DONE]",
        ],
    ),
    "nothing said": ([Start("a", "openai/gpt-4o"), Finish("content-filter")], [ROLE, chunk("{}", '"content_filter"'), "[DONE]"]),
    "a tool that ran here is not shown": (
        [
            Start("a", "openai/gpt-4o"),
            ToolInput("call_a", "get_weather", "{"),
            CALL,
            RESULT,
            Start("a", "openai/gpt-4o"),
            Text("25°C"),
            Finish("stop"),
        ],
        [ASKS, chunk('{"content":"25°C"}'), chunk("{}", '"stop"'), "[DONE]"],
    ),
    "stopped at max_steps: cut off by a limit, and nothing is left to the client": (
        [Start("a", "openai/gpt-4o"), CALL, RESULT, Finish("tool-calls")],
        [ASKS, chunk("{}", '"length"'), "[DONE]"],
    ),
    "calls that nobody ran are the client's, whatever the reason says": (
        [
            Start("a", "openai/gpt-4o"),
            CALL,
            ToolCall("b", "t", {}),
            ToolCall("c", "t", {}, malformed='{"a'),
            ToolResult("b", "t", 1),
            Finish("stop"),
        ],
        [
            ASKS,
            chunk('{"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"get_weather","arguments":""}}]}'),
            chunk('{"tool_calls":[{"index":0,"function":{"arguments":"{\\"location\\":\\"Beijing\\"}"}}]}'),
            chunk('{"tool_calls":[{"index":1,"id":"c","type":"function","function":{"name":"t","arguments":""}}]}'),
            chunk('{"tool_calls":[{"index":1,"function":{"arguments":"{\\"a"}}]}'),
            chunk("{}", '"tool_calls"'),
            "[DONE]",
        ],
    ),
    "a failure": (
        [Start("a", "openai/gpt-4o"), Text("Half"), Failure("no_answer", "Broken off.")],
        [
            ROLE,
            chunk('{"content":"Half"}'),
            '{"error":{"message":"Broken off. (request req_1)","type":"server_error","param":null,"code":"no_answer"}}',
            "[DONE]",
        ],
    ),
}


@pytest.mark.parametrize("what", GOLDEN)
def test_events_become_openai_chunks_byte_for_byte(what: str) -> None:
    """Each sequence of events is encoded as exactly the expected frames."""
    events, expected = GOLDEN[what]
    encode = openai.WIRE.encoder(HEADING)
    assert b"".join(encode(event) for event in events).decode() == "".join(f"data: {data}\n\n" for data in expected)


def test_openai_stream_ends_with_usage_if_the_client_asked_for_it() -> None:
    """With `include_usage`, each chunk has `usage: null`, and a last one without choices has the usage (zeros if unknown)."""
    head = replace(HEADING, wants_usage=True)
    for usage, last in (
        (Usage(11, 3), '{"prompt_tokens":11,"completion_tokens":3,"total_tokens":14}'),
        (None, '{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}'),
    ):
        encode = openai.WIRE.encoder(head)
        body = b"".join(encode(event) for event in (Start("a", "openai/gpt-4o"), Text("Hi"), Finish("stop", usage))).decode()
        chunks = [f'{one[:-1]},"usage":null}}' for one in (ROLE, chunk('{"content":"Hi"}'), chunk("{}", '"stop"'))]
        frames = [*chunks, f'{COMMON}],"usage":{last}}}', "[DONE]"]
        assert body == "".join(f"data: {frame}\n\n" for frame in frames)


def test_openai_answer_without_streaming_is_one_completion() -> None:
    """With `stream: false`, an answer is one completion with usage; `content` is null if it has tool calls for the client."""
    none = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    common = {"id": "chatcmpl-msg-1", "object": "chat.completion", "created": 1700000000, "model": "openai/gpt-4o", "usage": none}

    def made(*events: Event) -> object:
        return json.loads(openai.WIRE.complete(answered(HEADING, [Start("a", "openai/gpt-4o"), *events])))

    message: dict[str, object] = {"role": "assistant", "content": "", "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    assert made(Finish("unknown")) == {**common, "choices": [choice]}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    spoken = {**message, "content": "25°C", "reasoning_content": "Hm"}
    answer = made(Thought("Hm"), CALL, RESULT, Start("a", "openai/gpt-4o"), Text("25°C"), Finish("length", Usage(1, 2)))
    assert answer == {**common, "choices": [{**choice, "message": spoken, "finish_reason": "length"}], "usage": usage}
    call = {"id": "call_a", "type": "function", "function": {"name": "get_weather", "arguments": '{"location":"Beijing"}'}}
    asked = {**message, "content": None, "tool_calls": [call]}
    assert made(CALL, Finish("stop")) == {**common, "choices": [{**choice, "message": asked, "finish_reason": "tool_calls"}]}


REFUSED = {
    (400, "bad_request"): ("invalid_request_error", None, "bad_request"),
    (400, "context_too_long"): ("invalid_request_error", "messages", "context_length_exceeded"),
    (401, "denied"): ("authentication_error", None, "denied"),
    (404, "unknown_model"): ("invalid_request_error", "model", "model_not_found"),
    (429, "too_many"): ("rate_limit_error", None, "too_many"),
    (502, "no_answer"): ("server_error", None, "no_answer"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_openai_error_type_follows_the_status(why: tuple[int, str]) -> None:
    """An error has the `type` of its HTTP status and OpenAI's own code where OpenAI has one."""
    kind, parameter, code = REFUSED[why]
    made = json.loads(openai.WIRE.refusal(Refusal(*why, "No.", "r1")))
    assert made == {"error": {"message": "No.", "type": kind, "param": parameter, "code": code}}


@given(st.text(st.characters()), st.text(st.characters()), st.booleans())
def test_whole_text_has_the_bytes_of_its_json(text: str, model: str, counted: bool) -> None:
    """A complete answer that is text alone has the bytes that its fields have as JSON; lone surrogates of its text are replaced."""
    usage = Usage(1, 2, 1, reasoning_tokens=2) if counted else None
    message = {"role": "assistant", "content": text, "refusal": None}
    made = {
        "id": "chatcmpl-msg-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": model or HEADING.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "length"}],
        "usage": openai.counted(usage),
    }
    assert openai.WIRE.complete(answered(HEADING, [Start("a", model), Text(text), Finish("length", usage)])) == body(made)
