"""Fuzzers of what providers send: streams, bodies, errors and raw HTTP."""

import asyncio
import contextlib
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from router.codec import decode, encode
from router.config.declaration import TargetConfig
from router.config.values import Name
from router.errors import TargetError
from router.events import Event, Finish, Order, Start, Text, Thought, ToolCall, ToolResult
from router.targets import anthropic_reader, gemini_reader, http, openai, sse
from router.targets.connection import MAX_UNPACKED_BYTES, MAX_UNREAD_BYTES, Connection, Cut
from router.targets.delays import MAX_WAIT_S
from router.targets.speech import Speech
from router.targets.verdict import verdict
from router.wire import WIRES
from tests.support.fuzzers.strategies import WORDS, Made, Pipe, chopped, deep, dumped, json_of
from tests.wire.readers import HEADING, READERS

SSE = st.lists(
    st.sampled_from(
        [b"data:", b"data: ", b"\n", b"\n\n", b"\r\n", b"\r", b"\xef\xbb\xbf", b": hello", b"event: x", b"[DONE]", b"\0", b"\xff"]
    )
    | st.binary(max_size=6),
    max_size=30,
).map(b"".join)


@given(chopped(SSE))
def server_sent_events(pieces: list[bytes]) -> None:
    """Check that the SSE parser finds the same events in bytes fed in pieces, at once, and one by one."""
    chunked, at_once, one_by_one = sse.Events(), sse.Events(), sse.Events()
    data = b"".join(pieces)
    expected = (at_once.feed(data) if data else []) + at_once.end()
    assert [event for piece in pieces for event in chunked.feed(piece)] + chunked.end() == expected
    assert [event for byte in data for event in one_by_one.feed(bytes([byte]))] + one_by_one.end() == expected


OPENAI = json_of(
    [
        *("choices", "delta", "message", "content", "reasoning_content", "tool_calls", "index", "id", "function", "name", "arguments"),
        *("finish_reason", "usage", "prompt_tokens", "completion_tokens", "total_tokens", "x_groq", "error", "code", "type", "text"),
    ],
    "stop",
    "tool_calls",
    "content_filter",
    "<think>",
    "</think>",
    '{"a":',
    '"\\ud83d"}',
    "{}",
)


def piece_of_openai(delta: Any, finish: Any, usage: Any) -> Any:
    """Return a chat completion chunk with this delta, finish reason and usage."""
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": usage}


TOKENS: Made = st.none() | st.integers() | st.floats() | st.sampled_from([10**400, "9"])
ARGUMENTS: Made = st.sampled_from(["", "{", "}", '{"a": 1}', '"\\ud83d', "null", "[]", '{"a":"\\ud800"}', "NaN"]) | st.dictionaries(
    st.text(max_size=2), st.text(max_size=2)
)
CALL: Made = st.fixed_dictionaries(
    {},
    optional={
        "index": st.none() | st.integers(-1, 3),
        "id": st.sampled_from(["c1", "c2", "", "\ud800", None]),
        "function": st.fixed_dictionaries(
            {}, optional={"name": st.sampled_from(["get", "set", "", "\udc00", None]), "arguments": ARGUMENTS}
        ),
    },
)
DELTA: Made = st.fixed_dictionaries(
    {}, optional={"content": WORDS, "reasoning_content": WORDS, "tool_calls": st.lists(CALL, max_size=3), "refusal": WORDS}
)
CHUNK: Made = st.builds(
    piece_of_openai,
    DELTA,
    st.sampled_from([None, None, None, "stop", "tool_calls", "length", "content_filter", "made up"]),
    st.none() | st.fixed_dictionaries({}, optional=dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), TOKENS)),
)
RAW = deep('{"choices":', "}") | deep("[", "]") | st.sampled_from(["[DONE]", "", "{", '{"error": {"code": 429}}', "null", "[]", "1e400"])
FRAMES = st.lists(CHUNK.map(dumped) | OPENAI.map(dumped) | RAW.map(str.encode) | st.binary(max_size=12), max_size=8)


@given(FRAMES)
def answers_of_the_openai_wire(frames: list[bytes]) -> None:
    """Check that an OpenAI stream becomes ordered events that every wire can write, or a TargetError."""
    speech = Speech("a")
    _check_frames(speech, openai.ChatReader("a", speech), frames)


ANTHROPIC_DELTA = st.fixed_dictionaries(
    {"type": st.sampled_from(["text_delta", "thinking_delta", "input_json_delta", "signature_delta", ""])},
    optional={
        "text": WORDS,
        "thinking": WORDS,
        "partial_json": ARGUMENTS.filter(lambda one: isinstance(one, str)),
        "stop_reason": st.sampled_from([None, "end_turn", "tool_use", "refusal", "pause_turn", ""]),
    },
)
BLOCK: Made = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "thinking", "tool_use", "server_tool_use", ""])},
    optional={
        "id": st.sampled_from(["c1", "c2", "", "\ud800"]),
        "name": st.sampled_from(["get", "", "\ud800"]),
        "text": WORDS,
        "thinking": WORDS,
        "input": OPENAI,
    },
)
COUNTED: Made = st.fixed_dictionaries({}, optional={"input_tokens": TOKENS, "output_tokens": TOKENS, "cache_read_input_tokens": TOKENS})
ANTHROPIC: Made = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [
                "message_start",
                "content_block_start",
                "content_block_delta",
                "content_block_stop",
                "message_delta",
                "message_stop",
                "error",
                "ping",
            ]
        )
    },
    optional={
        "index": st.integers(0, 3),
        "content_block": BLOCK,
        "delta": ANTHROPIC_DELTA,
        "usage": COUNTED,
        "message": st.fixed_dictionaries({}, optional={"content": st.lists(BLOCK, max_size=2), "usage": COUNTED}),
        "error": OPENAI,
    },
)


@given(st.lists(ANTHROPIC.map(dumped) | OPENAI.map(dumped) | RAW.map(str.encode) | st.binary(max_size=12), max_size=8))
def answers_of_anthropic(frames: list[bytes]) -> None:
    """Check that an Anthropic stream becomes ordered events that every wire can write, or a TargetError."""
    speech = Speech("a")
    _check_frames(speech, anthropic_reader.MessageReader("a", speech), frames)


PIECE: Made = st.fixed_dictionaries(
    {"jsonPath": st.sampled_from(["$.a", "$.a.b", "$.a[0]", "$.a[1]['b']", "$", "$[0]", "a", "$.a[999999]", ""])},
    optional={
        "stringValue": WORDS,
        "numberValue": TOKENS,
        "boolValue": st.booleans(),
        "nullValue": st.none(),
        "willContinue": st.booleans(),
    },
)
GOOGLES_CALL: Made = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["c1", "", "\ud800", None]),
        "name": st.sampled_from(["get", "set", "", "\udc00", None]),
        "args": ARGUMENTS | OPENAI,
        "partialArgs": st.lists(PIECE | OPENAI, max_size=3),
        "willContinue": st.booleans(),
    },
)
PART: Made = st.fixed_dictionaries(
    {},
    optional={
        "text": WORDS,
        "thought": st.booleans(),
        "thoughtSignature": st.sampled_from(["s", "t", "", "\ud800"]),
        "functionCall": GOOGLES_CALL,
        "executableCode": OPENAI,
    },
)
CANDIDATE: Made = st.fixed_dictionaries(
    {},
    optional={
        "content": st.fixed_dictionaries({}, optional={"parts": st.lists(PART, max_size=3)}),
        "finishReason": st.sampled_from([None, "STOP", "MAX_TOKENS", "SAFETY", "MALFORMED_FUNCTION_CALL", "FINISH_REASON_UNSPECIFIED", ""]),
        "index": st.sampled_from([0, 1, None]),
    },
)
TOKENS_OF_GOOGLE = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount", "toolUsePromptTokenCount")
GOOGLE: Made = st.fixed_dictionaries(
    {},
    optional={
        "candidates": st.lists(CANDIDATE, max_size=2),
        "promptFeedback": st.fixed_dictionaries({}, optional={"blockReason": st.sampled_from([None, "SAFETY", "OTHER", ""])}),
        "usageMetadata": st.fixed_dictionaries({}, optional=dict.fromkeys(TOKENS_OF_GOOGLE, TOKENS)),
        "modelVersion": WORDS,
        "error": OPENAI,
    },
)


@given(st.lists(GOOGLE.map(dumped) | OPENAI.map(dumped) | RAW.map(str.encode) | st.binary(max_size=12), max_size=8))
def answers_of_gemini(frames: list[bytes]) -> None:
    """Check that a Gemini stream becomes ordered events that every wire can write, or a TargetError."""
    speech = Speech("a")
    _check_frames(speech, gemini_reader.GeminiReader("a", speech), frames)


MESSAGE: Made = st.fixed_dictionaries(
    {}, optional={"content": st.lists(BLOCK, max_size=3), "stop_reason": WORDS, "usage": COUNTED, "error": OPENAI}
)


@given(
    CHUNK.map(dumped)
    | MESSAGE.map(dumped)
    | GOOGLE.map(dumped)
    | st.lists(GOOGLE, max_size=3).map(dumped)
    | OPENAI.map(dumped)
    | RAW.map(str.encode)
    | st.binary(max_size=20)
)
def answers_without_a_stream(data: bytes) -> None:
    """Check that a complete JSON body in place of a stream becomes ordered events, or a TargetError, for each provider."""
    for lane in (openai.ChatReader, anthropic_reader.MessageReader, gemini_reader.GeminiReader):
        speech = Speech("a")
        reader = lane("a", speech)
        try:
            reader.complete(data)
            events = list(speech.end())
        except TargetError:
            continue
        _check_events(events)


def _check_frames(speech: Speech, reader: http.AnswerReader, frames: list[bytes]) -> None:
    events: list[Event] = []
    feed = http.Feed(speech)
    feed.reader = reader
    for data in frames:
        events += feed.read(b"data: " + data.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n\n")
        if feed.failure is not None or not feed.more:
            break
    with contextlib.suppress(TargetError):
        events += speech.end()
    _check_events(events)


PROVIDERS = (TargetConfig(model=Name("openai/x")), TargetConfig(model=Name("anthropic/x")), TargetConfig(model=Name("gemini/x")))


def _check_events(events: list[Event]) -> None:
    """Check that events keep their order, can be written on every wire, and can be encoded and decoded."""
    order = Order()
    said: list[Event] = [order.see(Start("a", "m")), *(order.see(event) for event in events)]
    calls = [event for event in said if isinstance(event, ToolCall)]
    said = [event for event in said if not isinstance(event, Finish)]
    said += [ToolResult(call.call_id, call.name, call.malformed or call.arguments) for call in calls]
    for event in said:
        if isinstance(event, Text | Thought):
            event.text.encode()
    finish = next((event for event in events if isinstance(event, Finish)), Finish("stop"))
    if finish.usage is not None:
        assert 0 <= finish.usage.input_tokens < 10**12
        assert 0 <= finish.usage.output_tokens < 10**12
    said.append(finish)
    for name, wire in WIRES.items():
        encoder = wire.encoder(HEADING)
        READERS[name](b"".join(encoder(event) for event in said))
    decode(encode(said))


HTTP = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.0 503 x\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    b"content-length: 5\r\n",
    b"content-length: 99999999999999999999\r\n",
    b"transfer-encoding: chunked\r\n",
    b"content-encoding: gzip\r\n",
    b"connection: close\r\n",
    b"x: " + b"y" * 9_000 + b"\r\n",
    b"\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"FFFFFFFFFFFFFFFFF\r\n",
    b"hello",
    b"\x1f\x8b\x08\0\0\0\0\0\0\xff",
    b"0\r\nx: y\r\n",
]
RESPONSES = chopped(st.lists(st.sampled_from(HTTP) | st.binary(max_size=8), max_size=14).map(b"".join))


@given(RESPONSES)
def responses_of_providers(pieces: list[bytes]) -> None:
    """Check that a raw HTTP response is read to its end within its size limits, or ends in Cut or OSError."""

    async def read() -> None:
        connection, pipe = Connection(), Pipe()
        connection.connection_made(pipe)
        answered = connection.ask(b"GET / HTTP/1.1\r\n\r\n")
        for piece in pieces:
            if pipe.closed:
                break
            connection.data_received(piece)
        connection.connection_lost(None)
        total = 0
        await answered
        with contextlib.suppress(Cut, OSError):
            if not connection.status:
                raise connection.failure()
            assert 200 <= connection.status < 1000
            while piece := await connection.read():
                total += len(piece)
                assert len(piece) <= MAX_UNPACKED_BYTES + MAX_UNREAD_BYTES
        assert total <= MAX_UNPACKED_BYTES * len(pieces)
        assert not connection.usable

    asyncio.run(read())


HEADER_NAMES = [
    "retry-after",
    "Retry-After-Ms",
    "x-ratelimit-reset-requests",
    "x-ratelimit-remaining-requests",
    "anthropic-ratelimit-tokens-reset",
]
TOLD = st.sampled_from(
    ["0", "9" * 40, "1e9", "-1", "inf", "6m0s", "20ms", "2026-11-23T00:00:00Z", "Mon, 23 Nov 2026 00:00:00 GMT"]
) | st.text(max_size=30)


@given(st.integers(300, 999), st.text(max_size=40) | OPENAI.map(json.dumps), st.dictionaries(st.sampled_from(HEADER_NAMES), TOLD))
@example(429, "", {"retry-after": "Mon, 32 Nov 99999 00:00:00 +9999"})
@example(429, '"retryDelay": "999999999999999999d"', {})
def refusals_of_providers(status: int, told: str, headers: dict[str, str]) -> None:
    """Check that an error response becomes an error whose `retry_after` is None or between 0 and the maximum."""
    error = verdict("a", status, told, headers)
    wait = getattr(error, "retry_after", None)
    assert wait is None or 0 <= wait <= MAX_WAIT_S
