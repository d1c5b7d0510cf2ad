"""Fuzzers of what clients send: bodies, headers, addresses, keys and raw HTTP."""

import asyncio
import contextlib
import json
import string
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_network
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from uvicorn import Config
from uvicorn.server import ServerState

from router.access.address import counted
from router.callers import Known
from router.callers.keys import Keys, hashed, new
from router.callers.tokens import usable
from router.config.keys import ApiKey
from router.config.server import RequestBounds
from router.config.values import key_set
from router.errors import Misfit, Refused
from router.intake import body, question
from router.intake.cache_control import cache_control
from router.intake.protocol import requested, spoken
from router.intake.request import Request
from router.params import Params
from router.server.door import Door
from router.targets import anthropic, completions, gemini, openai
from router.targets.fit import fit
from router.targets.resolved_facts import facts_of
from tests.support.fuzzers.providers import PROVIDERS
from tests.support.fuzzers.strategies import WORDS, Made, Pipe, chopped, deep, dumped, json_of

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
    """Check that a request body is refused, or becomes a question that can be sent to every provider."""
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
    sent = openai._fields(fit(facts[0], wanted.ask.params), facts[0], "openai/x", tools=bool(wanted.ask.tools))
    msgspec.json.encode(sent | completions.tools(wanted.ask, facts[0]))
    json.dumps(wanted.ask.params.over(Params()).given, allow_nan=False)


HOPS = st.lists(
    st.sampled_from(["10.0.0.1", "::1", "2001:db8::1", "::ffff:10.0.0.1", "fe80::1%eth0", "unknown", "", "1.2.3.4:80", "[::1]"])
    | st.text(max_size=8),
    max_size=5,
).map(", ".join)
NETWORKS = [ip_network("10.0.0.0/8"), ip_network("::1/128"), ip_network("fe80::/10")]
NAMED = st.binary(max_size=40)


def asks(headers: list[tuple[bytes, bytes]], query: bytes = b"", peer: str = "10.0.0.9") -> Request:
    """Return an HTTP request object with these headers, query and peer address."""

    async def receive() -> Any:
        raise AssertionError

    scope = {"type": "http", "path": "/", "method": "POST", "query_string": query, "headers": headers, "client": (peer, 1)}
    return Request(scope, receive)


@given(
    st.lists(HOPS | st.text(st.characters(max_codepoint=255), max_size=20), max_size=3),
    st.sampled_from(["10.0.0.9", "192.0.2.1", "::1", ""]),
)
def addresses_of_clients(forwarded: list[str], peer: str) -> None:
    """Check that only a trusted proxy can set the client's address, and that the address is None only if the peer has none."""
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
    """Check that accepted header values are plain ASCII, and that an unknown wire is refused."""
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
    assert cache_control(request.cache_control, {}).max_age >= 0
    with contextlib.suppress(Refused):
        requested(query, kept)


@cache
def known() -> Known:
    """Return an authenticator that knows one API key, which no generated input can match."""
    return Known(Keys({"alice": ApiKey(hash=hashed(new()))}, lambda: datetime.now(UTC)), None)


@given(st.lists(st.binary(max_size=80) | st.from_regex(rb"(?i:bearer) +pm_[0-9A-Za-z]{8}_[0-9A-Za-z]{43,50}", fullmatch=True), max_size=2))
def credentials_of_callers(borne: list[bytes]) -> None:
    """Check that every generated credential is refused, with no other exception."""
    try:
        known().caller(borne)  # of a key, it is no awaitable
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
    """Check that a JSON Web Key set yields its usable keys or is refused with Misfit."""
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
    """Check that raw bytes to the HTTP server get only well-formed responses, and that pipelined requests stay within their bound."""

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
    """Check that the bytes written are complete responses in sequence."""
    while written:
        head, end, rest = written.partition(b"\r\n\r\n")
        assert end
        status = int(head[9:12])
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
        assert status in (100, 200, 400, 408, 431)
        length = int(lengths[0].split(b":")[1]) if lengths and status != 100 else 0
        # The answer to a HEAD says how long the answer would be.
        written = rest[length:] if not rest.startswith(b"HTTP/1.1 ") else rest
