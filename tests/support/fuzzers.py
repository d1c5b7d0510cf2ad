"""Whatever reads bytes that others wrote, with what may come of them: one function for each reader, over whatever hypothesis makes up.

tests/system/test_fuzz.py runs each for a few hundred examples, `make fuzz` for minutes.
"""

import asyncio
import contextlib
import json
import math
import os
import string
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from uvicorn import Config
from uvicorn.server import ServerState

from router.access.address import counted
from router.admin.operations import Operations
from router.admin.siblings import Siblings
from router.answering import replica
from router.callers import Known
from router.callers.keys import Keys, hashed, new
from router.callers.tokens import usable
from router.chat import Params
from router.codec import UnreadableEvents, decode, encode
from router.config import declare
from router.config.declaration import RequestBounds, Resume, TargetConfig
from router.config.keys import ApiKey, KeyLines, Moment
from router.config.limits import Count, Money
from router.config.snapshot import Snapshot
from router.config.values import (
    Backoff,
    ByteSize,
    Deed,
    Key,
    KeySetSource,
    ModelName,
    Name,
    Network,
    Origin,
    RedisAddress,
    Reference,
    Seconds,
    Share,
    Title,
    WebAddress,
    key_set,
)
from router.errors import Complaint, ConfigError, Misfit, Refused, TargetError
from router.events import Event, Finish, Order, Start, Text, Thought, ToolCall, ToolResult
from router.generation import build
from router.intake import body, question
from router.intake.cache_control import cache_control
from router.intake.protocol import requested, spoken
from router.intake.request import Request
from router.server import application
from router.server.door import Door
from router.shared import Found
from router.signature import Spelled, check, shape_of
from router.steps.cache import _read as kept_answer
from router.targets import anthropic, completions, gemini, gemini_reader, http, openai, sse
from router.targets.connections import MAX_UNPACKED_BYTES, MAX_UNREAD_BYTES, Connection, Cut
from router.targets.facts import facts_of
from router.targets.fit import fit
from router.targets.providers import PROVIDERS as KNOWN
from router.targets.speech import Speech
from router.targets.verdict import MAX_WAIT_S, verdict
from router.wire import WIRES
from tests.conftest import ROOT
from tests.wire.readers import HEADING, READERS

Fuzzer = Callable[[], None]
Made = st.SearchStrategy[Any]


def json_of(keys: list[str], *words: str, leaves: int = 12) -> st.SearchStrategy[Any]:
    """JSON in which these keys stand where they may mean something, and numbers that are none."""
    told = st.sampled_from([*words, "", "a", "\ud800", "😀", "1", "\0"]) | st.text(max_size=6)
    odd = st.sampled_from([math.inf, -math.inf, math.nan, 1e300, -1, 2**63, 2**64, 10**400, 1.5, 0])
    scalars = st.none() | st.booleans() | st.integers(-5, 5) | odd | told
    return st.recursive(
        scalars, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.sampled_from(keys) | told, one, max_size=5), max_leaves=leaves
    )


def deep(opens: str, closes: str, core: str = "1") -> st.SearchStrategy[str]:
    """Something nested far too deeply."""
    return st.sampled_from([3, 60, 70, 120, 900, 1_100, 30_000]).map(lambda depth: opens * depth + core + closes * depth)


@st.composite
def chopped(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> list[bytes]:
    """Bytes in pieces, none of them empty."""
    data = draw(whole)
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=8)))
    return [piece for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if (piece := data[start:end])]


def dumped(value: Any) -> bytes:
    """JSON as a careless server writes it."""
    return json.dumps(value).encode()


# What providers send.

SSE = st.lists(
    st.sampled_from(
        [b"data:", b"data: ", b"\n", b"\n\n", b"\r\n", b"\r", b"\xef\xbb\xbf", b": hello", b"event: x", b"[DONE]", b"\0", b"\xff"]
    )
    | st.binary(max_size=6),
    max_size=30,
).map(b"".join)


@given(chopped(SSE))
def server_sent_events(pieces: list[bytes]) -> None:
    """However the bytes are cut, the same events come of them."""
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
    """A chunk that is as it should be, but for what it holds."""
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
WORDS = st.sampled_from(["Hi", "<think>", "</thi", "nk>", "\ud83d", "\ude00", " ", "😀", "\u2028"]) | st.text(st.characters(), max_size=5)
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
    """They are events in their order, which every client can read and every provider can be told, or one of our errors."""
    speech = Speech("a")
    _heard(speech, openai.ChatReader("a", speech), frames)


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
    """The same of Anthropic's wire."""
    speech = Speech("a")
    _heard(speech, anthropic.MessageReader("a", speech), frames)


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
    """The same of Google's wire."""
    speech = Speech("a")
    _heard(speech, gemini_reader.GeminiReader("a", speech), frames)


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
    """A whole body where a stream was asked for: the same."""
    for lane in (openai.ChatReader, anthropic.MessageReader, gemini_reader.GeminiReader):
        speech = Speech("a")
        reader = lane("a", speech)
        try:
            reader.complete(data)
            events = list(speech.end())
        except TargetError:
            continue
        _told(events)


def _heard(speech: Speech, reader: http.AnswerReader, frames: list[bytes]) -> None:
    events: list[Event] = []
    for data in frames:
        framed = b"data: " + data.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n\n"
        more, failure = http._fed(reader, sse.Events(), framed, speech)
        events += speech.take()
        if failure is not None or not more:
            break
    with contextlib.suppress(TargetError):
        events += speech.end()
    _told(events)


PROVIDERS = (TargetConfig(model=Name("openai/x")), TargetConfig(model=Name("anthropic/x")), TargetConfig(model=Name("gemini/x")))


def _told(events: list[Event]) -> None:
    """What a provider said is said to every client, kept, and said to every provider again."""
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


class Pipe(asyncio.Transport):
    """A transport to nowhere: what was written, and whether it is closed."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 8000), "peername": ("127.0.0.1", 1), "socket": None})
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take it; once it is closed, drop it, as any transport does."""
        if not self.closed:
            self.written += data

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self.closed

    def close(self) -> None:
        """Close it."""
        self.closed = True

    def abort(self) -> None:
        """Close it."""
        self.closed = True

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def pause_reading(self) -> None:
        """It reads nothing by itself."""

    def resume_reading(self) -> None:
        """It reads nothing by itself."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There are none."""


@given(RESPONSES)
def responses_of_providers(pieces: list[bytes]) -> None:
    """A response is read to its end, or cut."""

    async def read() -> None:
        connection, pipe = Connection(), Pipe()
        connection.connection_made(pipe)
        connection.ask(b"GET / HTTP/1.1\r\n\r\n")
        for piece in pieces:
            if pipe.closed:
                break
            connection.data_received(piece)
        connection.connection_lost(None)
        total = 0
        with contextlib.suppress(Cut, OSError):
            await connection.answered()
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
    """Each is an error of ours, that waits for a time there is."""
    error = verdict("a", status, told, headers)
    wait = getattr(error, "retry_after", None)
    assert wait is None or 0 <= wait <= MAX_WAIT_S


# What clients send.

BODY_KEYS = [
    *("messages", "message", "role", "content", "parts", "type", "text", "state", "toolCallId", "toolName", "input", "output", "errorText"),
    *("tool_calls", "tool_call_id", "function", "name", "arguments", "id", "url", "mediaType", "data", "mimeType", "file", "file_data"),
    *("image_url", "toolInvocations", "toolInvocation", "args", "result", "step", "approval", "approved", "reason", "model", "stream"),
    *(
        "experimental_attachments",
        "contentType",
        "tools",
        "tool_choice",
        "parameters",
        "params",
        "stop",
        "temperature",
        "max_tokens",
        "trigger",
    ),
]
ROLES = ("user", "assistant", "system", "tool", "tool-x", "text", "tool-invocation", "dynamic-tool", "output-available", "steering-message")
PARTS = json_of(BODY_KEYS, *ROLES, "data:text/plain;base64,aGk=", "data:text/plain,%ff", "data:image/png,", "http://x", "file", "function")
SAID: Made = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system"])},
    optional={
        "content": WORDS | st.lists(PARTS, max_size=3),
        "parts": st.lists(PARTS, max_size=3),
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {"id": WORDS, "function": st.fixed_dictionaries({"name": WORDS, "arguments": WORDS | deep('{"a":', "}")})}
            ),
            max_size=2,
        ),
        "tool_call_id": WORDS,
        "toolInvocations": st.lists(PARTS, max_size=2),
    },
)
ASKED: Made = st.fixed_dictionaries(
    {"messages": st.lists(SAID, max_size=3)},
    optional=dict.fromkeys(
        ("model", "stream", "params", "tools", "tool_choice", "stop", "temperature", "max_tokens", "id", "top_p"), PARTS
    ),
)
BODIES = (
    ASKED.map(dumped)
    | PARTS.map(dumped)
    | st.binary(max_size=40)
    | (deep("[", "]") | deep('{"messages":', "}")).map(str.encode)
    | st.sampled_from(
        [b"\xef\xbb\xbf{}", b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":1e999}', b'{"a":' + b"9" * 5_000 + b"}", b'{"\\ud800":"\\udc00"}']
    )
)


@given(BODIES, st.sampled_from(["chat", "completions", "text_completion"]), st.none() | st.just("a"))
def bodies_of_requests(data: bytes, surface: question.Surface, model: str | None) -> None:
    """Each is refused, or a question that every provider can be asked."""
    try:
        fields = body.parsed(data, RequestBounds())
        wanted = question.asked(fields, model, surface, "a", RequestBounds())
    except Refused:
        return
    spoken(fields)
    cache_control(b"", fields)
    msgspec.json.encode(completions.messages(wanted.ask))
    msgspec.json.encode([completions.tool(one) for one in wanted.ask.tools])
    facts = [facts_of(target) for target in PROVIDERS]
    msgspec.json.encode(anthropic.request(wanted.ask, wanted.ask.params, facts[1], "x")[0])
    msgspec.json.encode(gemini.request(wanted.ask, fit(facts[2], wanted.ask.params), facts[2]))
    msgspec.json.encode(openai._request(wanted.ask, fit(facts[0], wanted.ask.params), facts[0], KNOWN["openai"], "x"))
    json.dumps(wanted.ask.params.over(Params()).given, allow_nan=False)


HOPS = st.lists(
    st.sampled_from(["10.0.0.1", "::1", "2001:db8::1", "::ffff:10.0.0.1", "fe80::1%eth0", "unknown", "", "1.2.3.4:80", "[::1]"])
    | st.text(max_size=8),
    max_size=5,
).map(", ".join)
NETWORKS = [ip_network("10.0.0.0/8"), ip_network("::1/128"), ip_network("fe80::/10")]
NAMED = st.binary(max_size=40)


def asks(headers: list[tuple[bytes, bytes]], query: bytes = b"", peer: str = "10.0.0.9") -> Request:
    """A request with these headers."""

    async def receive() -> Any:
        raise AssertionError

    scope = {"type": "http", "path": "/", "method": "POST", "query_string": query, "headers": headers, "client": (peer, 1)}
    return Request(scope, receive)


@given(
    st.lists(HOPS | st.text(st.characters(max_codepoint=255), max_size=20), max_size=3),
    st.sampled_from(["10.0.0.9", "192.0.2.1", "::1", ""]),
)
def addresses_of_clients(forwarded: list[str], peer: str) -> None:
    """Who is no proxy of ours cannot say that it is somebody else; whoever it is, is an address, or nobody."""
    request = asks([(b"x-forwarded-for", one.encode("latin-1", "replace")) for one in forwarded], peer=peer)
    found = request.address(NETWORKS)
    if peer == "192.0.2.1":
        assert str(found) == peer
    assert (found is None) == (peer == "")
    for network, times in counted(found):
        assert times >= 1
        assert found is None or found in ip_network(network)


@given(NAMED | st.from_regex(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.{0,2}", fullmatch=True), NAMED, NAMED, NAMED)
def headers_of_requests(parent: bytes, name: bytes, kept: bytes, query: bytes) -> None:
    """What is taken over is ASCII without a line break; what is no dialect is refused."""
    request = asks(
        [
            (b"traceparent", parent),
            (b"x-request-id", name),
            (b"cache-control", kept),
            (b"x-stream-protocol", kept),
            (b"content-length", name),
        ],
        query,
    )
    for taken in (request.traceparent, request.id):
        assert taken.isascii()
        assert not set(taken) - set(string.ascii_letters + string.digits + "._-")
    assert request.cache({}).max_age >= 0
    with contextlib.suppress(Refused):
        requested(query, kept)


@cache
def known() -> Known:
    """Who holds a key nobody knows."""
    return Known(Keys({"alice": ApiKey(hash=hashed(new()))}, lambda: datetime.now(UTC)), None)


@given(st.lists(st.binary(max_size=80) | st.from_regex(rb"(?i:bearer) +pm_[0-9A-Za-z]{8}_[0-9A-Za-z]{43,50}", fullmatch=True), max_size=2))
def credentials_of_callers(borne: list[bytes]) -> None:
    """None that is made up is taken, and none ends in anything but a refusal."""
    try:
        asyncio.run(known().caller(borne))
    except Refused:
        return
    raise AssertionError


WEB_KEYS = json_of(
    ["keys", "kty", "kid", "use", "alg", "n", "e", "crv", "x", "y", "d"], "RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "sig"
)
WEB_KEY = st.fixed_dictionaries(
    {"kty": st.sampled_from(["RSA", "EC", "OKP", "oct", 1])},
    optional=dict.fromkeys(("kid", "use", "alg", "n", "e", "crv", "x", "y"), WEB_KEYS),
)


@given(st.lists(WEB_KEY, max_size=3).map(lambda keys: dumped({"keys": keys})) | WEB_KEYS.map(dumped) | st.binary(max_size=20))
def keys_of_issuers(data: bytes) -> None:
    """Those that can be used, of whatever stands there."""
    with contextlib.suppress(Misfit):
        usable(key_set(data))


REQUESTS = [
    b"GET / HTTP/1.1\r\n",
    b"POST /x HTTP/1.1\r\nhost: a\r\n",
    b"HEAD /x HTTP/1.0\r\n\r\n",
    b"host: a\r\n",
    b"content-length: 3\r\n",
    b"content-length: 3\r\ncontent-length: 4\r\n",
    b"content-length: -1\r\n",
    b"content-length: 99999999999999999999\r\n",
    b"transfer-encoding: chunked\r\n",
    b"transfer-encoding: gzip, chunked\r\n",
    b"expect: 100-continue\r\n",
    b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: x\r\n",
    b"connection: close\r\n",
    b"connection: keep-alive\r\n",
    b"x: " + b"y" * 9_000 + b"\r\n",
    b"GET http://[::1 HTTP/1.1\r\n\r\n",
    b"GET /%ff%00%zz?\xff HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\r\n",
    b"\n",
    b"abc",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0\r\nx: y\r\n\r\n",
    b"FFFFFFFFFFFFFFFFF\r\n",
    b"3;" + b"e" * 9_000 + b"\r\n",
]


@given(chopped(st.lists(st.sampled_from(REQUESTS) | st.binary(max_size=8), max_size=14).map(b"".join)))
def requests_at_the_door(pieces: list[bytes]) -> None:
    """What is answered is HTTP; no request but a whole one gets an answer of ours; nothing is held beyond its bound."""

    async def read() -> None:
        tasks: set[asyncio.Task[Any]] = set()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            while (await receive()).get("more_body", False):
                pass
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

        config = Config(application, http=Door, lifespan="off", ws="none", log_config=None, access_log=False)
        config.load()
        door, pipe = Door(config, ServerState(), {}, asyncio.get_running_loop()), Pipe()
        door.connection_made(pipe)
        for piece in pieces:
            if pipe.closed:
                break
            door.data_received(piece)
            await asyncio.sleep(0)
            assert len(door.pipeline) <= Door.MAX_PIPELINED
        for _ in range(4 * len(pieces) + 8):
            await asyncio.sleep(0)
        door.connection_lost(None)
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert door._timer is None
        _responses(bytes(pipe.written))

    asyncio.run(read())


def _responses(written: bytes) -> None:
    """Whole responses, one after the other."""
    while written:
        head, end, rest = written.partition(b"\r\n\r\n")
        assert end
        status = int(head[9:12])
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
        assert status in (100, 200, 400, 408, 431)
        length = int(lengths[0].split(b":")[1]) if lengths and status != 100 else 0
        # The answer to a HEAD says how long the answer would be.
        written = rest[length:] if not rest.startswith(b"HTTP/1.1 ") else rest


# What operators write.

SPELLED: list[Any] = [
    Backoff,
    ByteSize,
    Count,
    Deed,
    Key,
    KeySetSource,
    ModelName,
    Money,
    Moment,
    Network,
    Origin,
    RedisAddress,
    Reference,
    Seconds,
    Share,
    Title,
    WebAddress,
    KeyLines,
]
VALUES = st.lists(
    st.sampled_from(
        [
            "http://",
            "https://",
            "redis://",
            "unix://",
            "[",
            "]",
            ":",
            "@",
            "/",
            "?",
            "#",
            "..",
            "%",
            "USD/",
            "/minute",
            "day",
            "\0",
            "℀",
            "²",
            "٣",
        ]
    )
    | st.sampled_from(
        ["0", "9", "9" * 30, "9" * 5_000, ".", "ms", "s", "h", "d", "MiB", "429", "retry", "after", "ok", " ", "2027-01-31", "T25:00", "Z"]
    )
    | st.sampled_from(["alice", "sha256:", "a" * 64, "\n", "expires=", "routes=", ",", "::1", "1.2.3.4", "a/b", "key=", "\ud800"])
    | st.text(max_size=3),
    max_size=8,
).map("".join)


@given(st.sampled_from(SPELLED), VALUES)
def values_of_configurations(kind: Any, text: str) -> None:
    """Each is a value, written again as what it is, or a Misfit that says what to write."""
    shape = shape_of(kind)
    assert isinstance(shape, Spelled)
    try:
        value = check(shape, text)
    except ValueError:  # urlsplit has its own: router/config/binding.py gives each the same sentence
        return
    if isinstance(value, int | float):
        assert 0 <= value < 1e25
    if kind in (Backoff, ByteSize, Count, Money, Seconds, Share):
        assert shape.write is not None
        assert check(shape, shape.write(value)) == value


SHIPPED = (ROOT / "routes.yaml").read_text(encoding="utf-8")
PIPELINES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted((ROOT / "pipelines").iterdir())}
TOOLS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted((ROOT / "tools").glob("*.py"))}
LINES = SHIPPED.splitlines(keepends=True)
TYPED = st.text(alphabet="{}[]:,-?'\"&*!|>%@`#~$.<= \n\t\r\x00\x85\u2028aZ09é\ud800", max_size=12)
BOMBS = [
    "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b]\nd: [*c, *c, *c, *c]\n",
    "a: &a [*a]\n",
    "a: &a {b: *a}\n",
    "&a targets: *a\n",
    "targets: !!python/object:os.system {}\n",
    "? {a: b}\n: c\n",
    "%YAML 9.9\n---\n",
    "--- |\n" + "x" * 100_000,
]


@st.composite
def edited(draw: st.DrawFn) -> str:
    """The shipped configuration after a few slips: lines lost, doubled and swapped, characters typed over."""
    lines = list(LINES)
    for _ in range(draw(st.integers(0, 4))):
        at, other = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[other])
            case 2:
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                place = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:place] + draw(TYPED) + lines[at][place + draw(st.integers(0, 5)) :]
            case _:
                lines[at] = lines[at].replace(draw(st.sampled_from(["gpt", "demo", "3s", "[", "}", ": "])), draw(TYPED | VALUES), 1)
    return "".join(lines)


YAML = edited() | st.sampled_from(BOMBS) | TYPED | st.text(max_size=30) | deep("[", "]").map("a: ".__add__) | deep("{a: ", "}")
VARIABLES = st.dictionaries(st.sampled_from(["OPENAI_API_KEY", "OLLAMA_URL", "ANTHROPIC_API_KEY"]), VALUES, max_size=3)


@given(YAML, VARIABLES)
@example(SHIPPED, {"OLLAMA_URL": "http://\udcff/"})
@example(SHIPPED, {"OPENAI_API_KEY": "\udcff"})
def configurations(text: str, variables: dict[str, str]) -> None:
    """Each is a generation, or every mistake with its place."""
    texts = {"routes.yaml": text.encode("utf-8", "replace").decode(), **PIPELINES, **TOOLS}
    told = _complaints(Snapshot(Path("/nowhere"), "routes.yaml", texts), variables)
    assert told is None or (told and all(one.place.line >= 1 and one.place.column >= 1 and str(one) for one in told))


def _complaints(snapshot: Snapshot, variables: dict[str, str]) -> tuple[Complaint, ...] | None:
    try:
        build(declare(snapshot, variables)).discard()
    except ConfigError as error:
        return error.complaints
    return None


# What replicas and workers tell each other.

NUMBER: Made = st.sampled_from([0, 1, -1, 0.5, 1e300, math.inf, math.nan, 10**400, True, None, "1"])
COUNTS: Made = st.none() | st.lists(st.integers(-1, 5) | NUMBER, max_size=3)
TRIES: Made = st.lists(st.tuples(WORDS, st.sampled_from(["ok", "error", ""]), NUMBER, NUMBER, NUMBER, NUMBER), max_size=2)
PLACE: Made = st.sampled_from(["", "hit", "miss", "shared", "bypass", "made up", None])
FLAT: Made = json_of(["a"], leaves=4)
WRITTEN: Made = st.one_of(
    WORDS,
    st.tuples(st.just("thought"), WORDS),
    st.tuples(st.just("input"), st.sampled_from(["c1", "c2"]), WORDS, WORDS),
    st.tuples(st.just("call"), st.sampled_from(["c1", "c2"]), WORDS, st.dictionaries(WORDS, FLAT, max_size=2), st.none() | WORDS),
    st.tuples(st.just("result"), st.sampled_from(["c1", "c2"]), WORDS, FLAT, st.sampled_from([True, False, 1, None])),
    st.tuples(st.just("start"), WORDS, WORDS, TRIES, COUNTS, PLACE, NUMBER),
    st.tuples(st.just("finish"), st.sampled_from(["stop", "length", "made up"]), COUNTS, TRIES, PLACE),
    st.tuples(st.just("failure"), WORDS, WORDS, TRIES),
    json_of(["a"], "thought", "input", "call", "result", "start", "finish", "failure", "stop", "ok", leaves=20),
)
START, END = ("start", "a", "m", (), None, "miss", None), ("finish", "stop", (1, 2), (), "miss")
KEPT: Made = (
    st.lists(WRITTEN, max_size=5).map(lambda events: dumped([3, *events]))
    | st.lists(WRITTEN, max_size=5).map(lambda events: dumped([3, START, *events, END]))
    | WRITTEN.map(dumped)
    | st.binary(max_size=30)
    | deep("[", "]").map(str.encode)
)


@given(KEPT)
def events_that_were_kept(data: bytes) -> None:
    """They are events, which can be kept again and which every client can be told, or they are unreadable."""
    with contextlib.suppress(UnreadableEvents):
        events = decode(data)
        assert decode(encode(events)) == events
        for wire in WIRES.values():
            encoder = wire.encoder(HEADING)
            for event in events:
                encoder(event)


MADE_AT: Made = st.sampled_from(
    [b"", b"0", b"-1", b" 1_0", b"9" * 400, b"9" * 5_000, b"1795000000000", b"-" + b"9" * 310, b"1.5", b"NaN", b"\xff"]
)


@given(st.tuples(MADE_AT, KEPT).map(b"\n".join) | KEPT)
@example(b"1795000000000\n" + dumped([3, START, "Hi", END]))
def answers_that_were_kept(data: bytes) -> None:
    """Each is a whole answer of some age, or nothing."""
    kept = kept_answer(data)
    if kept is not None:
        assert 0 <= kept.age < math.inf
        first, *_, last = kept.replayed()
        assert isinstance(first, Start)
        assert isinstance(last, Finish)
        assert (first.cache, first.age, last.cache) == ("hit", kept.age, "hit")


HEADING_FIELDS = ("request_id", "message_id", "model", "created", "wants_usage", "min_client")
TOLD_BEFORE: Made = st.fixed_dictionaries(
    {
        "request_id": WORDS,
        "message_id": WORDS,
        "model": WORDS,
        "created": st.integers(0, 2**40),
        "wants_usage": st.booleans(),
        "min_client": st.just("5.0"),
    },
    optional={"added": WORDS},
)
HEADS: Made = st.tuples(
    st.sampled_from([1, 1, True, 2, "1"]),
    st.sampled_from([*WIRES, "made up", None, ()]),
    WORDS | FLAT,
    WORDS | FLAT,
    TOLD_BEFORE | FLAT | st.fixed_dictionaries(dict.fromkeys(HEADING_FIELDS, FLAT)),
)


@given(HEADS.map(dumped) | FLAT.map(dumped) | st.binary(max_size=30) | deep("[", "]").map(str.encode))
def heads_of_logs(data: bytes) -> None:
    """Each is an answer of another replica, which can be told in every dialect, or unreadable."""
    try:
        echo = replica._recorded(Found("name", "id", "replica", data), Resume())
    except UnreadableEvents:
        return
    for name, wire in WIRES.items():
        encoder = wire.encoder(echo.heading)
        READERS[name](b"".join(encoder(event) for event in (Start("a", "m"), Text("Hi"), Finish("stop"))))
    json.dumps(echo.entry.explained())


QUESTIONS: Made = json_of(
    ["ask", "id", "last", "target", "state"], "report", "request", "requests", "place", "positions", "reload", "a"
) | (
    st.fixed_dictionaries(
        {"ask": st.sampled_from(["report", "request", "requests", "place", "positions", "reload"])},
        optional={"id": FLAT, "last": FLAT, "target": st.just("a") | FLAT, "state": st.sampled_from(["auto", "drain", "open"]) | FLAT},
    )
)
LINE: Made = QUESTIONS.map(dumped) | st.binary(max_size=30) | deep("[", "]").map(str.encode) | deep('{"ask":', "}").map(str.encode)


@cache
def _admin() -> Operations:
    texts = {
        "routes.yaml": "targets: {a: {script: [{text: Hi}]}}\nroutes: {chat: {pipeline: chat, targets: [a]}}\n",
        "pipelines/chat.yaml": "steps: []\n",
    }
    return application(build(declare(Snapshot(Path("/nowhere"), "routes.yaml", texts), {}))).admin


@given(st.tuples(LINE, st.sampled_from([b"\n", b"", b"\nmore"])).map(b"".join))
def words_between_workers(data: bytes) -> None:
    """Whatever is asked is answered with an object of JSON, or not at all; whatever is answered is such an object, or left out."""
    admin, faults = _admin(), list[Any]()

    async def speak() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            async with Siblings(folder, admin.answer) as siblings:
                reader, writer = await asyncio.open_unix_connection(next(folder.glob("*.sock")))
                writer.write(data)
                writer.write_eof()
                answer = await reader.read()
                assert not answer or isinstance(json.loads(answer), dict)
                writer.close()

                async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    writer.write(data)
                    writer.close()

                async with await asyncio.start_unix_server(babble, folder / f"{os.getppid()}.sock"):
                    assert all(type(one) is dict for one in await siblings.ask({"ask": "report"}))

    asyncio.run(speak())
    assert not faults
    assert asyncio.run(admin.report())["targets"][0]["state"] in ("auto", "drain", "open")


FUZZERS: dict[str, Fuzzer] = {
    fuzzer.__name__: fuzzer
    for fuzzer in (
        server_sent_events,
        answers_of_the_openai_wire,
        answers_of_anthropic,
        answers_of_gemini,
        answers_without_a_stream,
        responses_of_providers,
        refusals_of_providers,
        bodies_of_requests,
        addresses_of_clients,
        headers_of_requests,
        credentials_of_callers,
        keys_of_issuers,
        requests_at_the_door,
        values_of_configurations,
        configurations,
        events_that_were_kept,
        answers_that_were_kept,
        heads_of_logs,
        words_between_workers,
    )
}
