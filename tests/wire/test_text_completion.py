"""The wire `text-completion` (OpenAI's legacy completions): exact bytes of its chunks, its JSON answer and its errors."""

import json

import pytest

from router.events import Event, Failure, Finish, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.value import replace
from router.wire import Refusal, Wire, answered, responses, text_completion
from tests.wire.readers import HEADING

START = Start("a", "openai/gpt-4o")
CALL = ToolCall("call_a", "get_weather", {"location": "Beijing"})
ROUND: list[Event] = [START, ToolInput("call_a", "get_weather", "{"), CALL, ToolResult("call_a", "get_weather", "25°C")]
COMMON = '{"id":"cmpl-msg-1","object":"text_completion","created":1700000000,"model":"openai/gpt-4o","choices":['


def chunk(text: str, reason: str = "null") -> str:
    """Return the JSON of one chunk with one choice."""
    return f'{COMMON}{{"text":{text},"index":0,"logprobs":null,"finish_reason":{reason}}}]}}'


GOLDEN: dict[str, tuple[list[Event], list[str]]] = {
    "text": (
        [START, Text("Hel"), Text('l"o'), Finish("stop", Usage(11, 3))],
        [chunk('"Hel"'), chunk('"l\\"o"'), chunk('""', '"stop"'), "[DONE]"],
    ),
    "thoughts have no form": ([START, Thought("Hm"), Text("Hi"), Finish("stop")], [chunk('"Hi"'), chunk('""', '"stop"'), "[DONE]"]),
    "nothing said": ([START, Finish("content-filter")], [chunk('""', '"content_filter"'), "[DONE]"]),
    "a tool that ran here": ([*ROUND, START, Text("25°C"), Finish("stop")], [chunk('"25°C"'), chunk('""', '"stop"'), "[DONE]"]),
    "stopped at max_steps": ([*ROUND, Finish("tool-calls")], [chunk('""', '"length"'), "[DONE]"]),
    "a failure": (
        [START, Text("Half"), Failure("context_too_long", "Too long.")],
        [
            chunk('"Half"'),
            '{"error":{"message":"Too long. (request req_1)","type":"server_error","param":"prompt","code":"context_length_exceeded"}}',
            "[DONE]",
        ],
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_events_become_text_completion_chunks_byte_for_byte(case: str) -> None:
    """Each sequence of events is encoded as exactly the expected frames."""
    events, expected = GOLDEN[case]
    encode = text_completion.WIRE.encoder(HEADING)
    assert b"".join(encode(event) for event in events).decode() == "".join(f"data: {data}\n\n" for data in expected)


def test_text_completion_stream_ends_with_usage_if_the_client_asked_for_it() -> None:
    """With `include_usage`, each chunk has `usage: null`, and a chunk without choices has the usage, before `[DONE]`."""
    encode = text_completion.WIRE.encoder(replace(HEADING, wants_usage=True))
    body = b"".join(encode(event) for event in (START, Text("Hi"), Finish("stop", Usage(11, 3)))).decode()
    chunks = [f'{one[:-1]},"usage":null}}' for one in (chunk('"Hi"'), chunk('""', '"stop"'))]
    usage = '{"prompt_tokens":11,"completion_tokens":3,"total_tokens":14}'
    assert body == "".join(f"data: {one}\n\n" for one in (*chunks, f'{COMMON}],"usage":{usage}}}', "[DONE]"))


@pytest.mark.parametrize("said", [["Hi"], []])
def test_text_completion_with_echo_has_the_prompt_once_before_the_text(said: list[str]) -> None:
    """With `echo` the prompt precedes the text once, streamed or not, also if the model sends no text."""
    heading = replace(HEADING, asked={"prompts": 1, "echo": ["Say it: "]})
    events: list[Event] = [START, *map(Text, said), Finish("stop")]
    encode = text_completion.WIRE.encoder(heading)
    frames = b"".join(map(encode, events)).decode().split("\n\n")[:-2]
    streamed = "".join(json.loads(frame.removeprefix("data: "))["choices"][0]["text"] for frame in frames)
    whole = json.loads(text_completion.WIRE.complete(answered(heading, events)))["choices"][0]["text"]
    assert (streamed, whole) == ("Say it: " + "".join(said),) * 2


def test_text_completion_without_streaming_is_one_object() -> None:
    """With `stream: false`, an answer is one `text_completion` object with its usage, without reasoning and tool calls."""
    made = json.loads(
        text_completion.WIRE.complete(answered(HEADING, [*ROUND, START, Thought("Hm"), Text("25°C"), Finish("length", Usage(1, 2))]))
    )
    assert made == {
        "id": "cmpl-msg-1",
        "object": "text_completion",
        "created": 1700000000,
        "model": "openai/gpt-4o",
        "choices": [{"text": "25°C", "index": 0, "logprobs": None, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }


@pytest.mark.parametrize(("wire", "parameter"), [(text_completion.WIRE, "prompt"), (responses.WIRE, "input")])
def test_context_too_long_error_names_the_input_field_of_the_api(wire: Wire, parameter: str) -> None:
    """The error of a question that is too long has `prompt` as its `param` in legacy completions, and `input` in the Responses API."""
    refusal = json.loads(wire.refusal(Refusal(400, "context_too_long", "Too long.", "r1")))
    assert (refusal["error"]["param"], refusal["error"]["code"]) == (parameter, "context_length_exceeded")
