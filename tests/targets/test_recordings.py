"""Recorded streams of real providers, complete and mangled, read by the lane of their wire.

The recordings and the server that replays them stand beside the project; without them these tests are skipped.
"""

import asyncio
import importlib.util
import json
import random
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest

from router.chat import Ask, Message
from router.config.declaration import TargetConfig as Declared
from router.config.values import Name, Secret
from router.errors import ContentFiltered, ContextTooLong, Misfit, TargetDenied, TargetDown, TargetError, TargetRefused
from router.events import Event, Finish, Order, Start, Text, Thought, ToolCall
from router.targets import (
    Connections,
    anthropic,
    anthropic_reader,
    gemini,
    gemini_reader,
    http,
    litellm,
    litellm_library,
    litellm_providers,
    openai,
    responses,
    sse,
)
from router.targets.speech import Speech
from router.usage import Usage
from router.wire import WIRES, Heading
from tests.conftest import ROOT
from tests.support.provider import joined

SHARED = ROOT.parent / "shared"
RECORDINGS = SHARED / "recordings"
HI = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))

pytestmark = [
    pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not here"),
    pytest.mark.filterwarnings("ignore:Items:UserWarning"),  # pydantic's, of LiteLLM's types for Cohere
    pytest.mark.filterwarnings("ignore:Pydantic serializer:UserWarning"),  # pydantic's, of LiteLLM's types for Perplexity's costs
]


def cases(wire: str) -> list[Path]:
    """Return the folders of one wire's recordings."""
    found = sorted(RECORDINGS.glob("*/*/meta.json")) if RECORDINGS.exists() else []
    return [path.parent for path in found if json.loads(path.read_text(encoding="utf-8"))["wire"] == wire]


OPENAI = {f"{path.parent.name}.{path.name}": path for path in cases("openai")}
ANTHROPIC = {f"{path.parent.name}.{path.name}": path for path in cases("anthropic")}
RESPONSES = {f"{path.parent.name}.{path.name}": path for path in cases("responses")}
GEMINI = {f"{path.parent.name}.{path.name}": path for path in cases("gemini")}
ALL = {**OPENAI, **ANTHROPIC, **RESPONSES, **GEMINI}
LANES = {"openai": openai.answer, "responses": openai.answer, "anthropic": anthropic.answer, "gemini": gemini.answer}


def lane_of(case: str) -> str:
    """Return the name of the lane that reads a recording."""
    wires = {"anthropic": ANTHROPIC, "responses": RESPONSES, "gemini": GEMINI}
    return next((lane for lane, known in wires.items() if case in known), "openai")


@cache
def replay() -> Any:
    """Return the module of the replaying server."""
    spec = importlib.util.spec_from_file_location("replay", SHARED / "replay.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def library() -> Any:
    """Return all recordings, loaded once."""
    return replay().Replay([RECORDINGS])


@asynccontextmanager
async def replaying() -> AsyncGenerator[str, None]:
    """Yield the base URL of a server that replays the recordings."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await replay().serve(library(), reader, writer)

    library().count = {}
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 26)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def heard(base: str, case: str, faults: str = "", lane: str = "openai") -> list[Event]:
    """Return the events of one recording on a direct lane, mangled by `faults`; raise if it fails."""
    prefixes = {"responses": "openai/responses", "gemini": "vertex_ai" if case.startswith("vertex.") else "gemini"}
    prefix = "azure" if case.startswith("azure.") and lane == "openai" else prefixes.get(lane, lane)
    base = base.removesuffix("/v1") if prefix in ("azure", "gemini") else base
    declared = Declared(model=Name(f"{prefix}/{case}{'@' if faults else ''}{faults}"), api_base=base, api_key=Secret("sk-test"))
    connections, order = Connections(), Order()
    try:
        async with aclosing(LANES[lane]("a", declared, 3, connections)(HI)) as events:
            seen = [order.see(event) async for event in events]
    finally:
        await connections.close()
    order.end()
    return seen


FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool-calls", "content_filter": "content-filter", None: "unknown"}
ERRORS: dict[str, type[TargetError]] = {
    "auth": TargetDenied,
    "not_found": TargetDenied,
    "bad_request": TargetRefused,
    "tool_use_failed": TargetRefused,
    "context_length": ContextTooLong,
    "rate_limit": TargetDown,
    "server": TargetDown,
}


def compare(expected: dict[str, Any], seen: list[Event], body: str) -> None:
    """Assert that the events have the recording's expected text, thoughts, calls, finish reason and usage."""
    text = "".join(event.text for event in seen if isinstance(event, Text))
    if expected["text"] or '"refusal":"' not in body.replace(": ", ":"):
        assert text == expected["text"]
    else:
        assert text  # a refusal's words are told to the user; the expectation leaves them out
    assert "".join(event.text for event in seen if isinstance(event, Thought)) == expected["reasoning"]
    calls = [event for event in seen if isinstance(event, ToolCall)]
    assert [call.name for call in calls] == [call["name"] for call in expected["tool_calls"]]
    for call, wanted in zip(calls, expected["tool_calls"], strict=True):
        assert call.malformed is not None if "__invalid_json__" in (wanted["args"] or {}) else call.arguments == (wanted["args"] or {})
    end = seen[-1]
    assert isinstance(end, Finish)
    assert end.reason == FINISH.get(expected["finish_reason"], "other")
    counted: dict[str, Any] = expected["usage_normalised"] or {}
    if counted.get("input") is not None:
        assert end.usage is not None
        assert (end.usage.input_tokens, end.usage.output_tokens) == (counted["input"], counted["output"])
        assert counted["cached_input"] in (None, end.usage.cached_tokens)
        assert counted["reasoning"] in (None, end.usage.reasoning_tokens)


MANGLED = ["", "chop=1", "chop=r7,seed=3", "crlf=1", "comment=1", "gzip=1", "nodone=1", "framing=close", "crlf=1,comment=1,chop=r5,gzip=1"]


@pytest.mark.parametrize("case", ALL)
async def test_recording_gives_its_expected_events_or_error(case: str) -> None:
    """A recording gives its expected events, or error, as it is, in small reads, with CRLF, comments or gzip, and without `[DONE]`."""
    path = ALL[case]
    lane = lane_of(case)
    expected = json.loads((path / "expected.json").read_text(encoding="utf-8"))
    body = (path / "response.body").read_bytes()
    name = json.loads((path / "meta.json").read_text(encoding="utf-8"))["case"]
    async with replaying() as base:
        for faults in MANGLED:
            if "chop=1" in faults and len(body) > 2_000:
                continue  # the same by the reader alone, below
            if len(body) > 2_000:  # hundreds of small reads say it; the places of the cuts are the reader's own tests, below
                faults = faults.replace("chop=r", "chop=r99")  # noqa: PLW2901
            error = expected["error"]
            if error and "class" in error:
                with pytest.raises(TargetError) as caught:
                    await heard(base, name, faults, lane)
                assert type(caught.value) is ERRORS[error["class"]], faults
                assert error["message"] not in str(caught.value)
            elif expected["finish_reason"] == "content_filter" and not expected["text"]:
                with pytest.raises(ContentFiltered):
                    await heard(base, name, faults, lane)
            elif error or (expected["finish_reason"] is None and (lane == "gemini" or "nodone" in faults)):
                with pytest.raises(TargetError) as caught:  # Google marks no end but by its reason
                    await heard(base, name, faults, lane)
                assert not isinstance(caught.value, ContentFiltered)
            else:
                compare(expected, await heard(base, name, faults, lane), body.decode("utf-8", "replace"))


def frames(pieces: Iterable[bytes]) -> list[bytes]:
    """Return the SSE frames that are read from a body in pieces."""
    reader = sse.Events()
    return [frame for piece in pieces for frame in reader.feed(piece)] + reader.end()


HEAD = 500
"""Bytes of a recording's beginning that are cut at each place: a few frames of each provider."""


@pytest.mark.parametrize("case", [name for name in ALL if "err-" not in name and "unary" not in name])
def test_sse_frames_do_not_depend_on_read_boundaries(case: str) -> None:
    """A recording cut in two at any of many places, with LF or CRLF, or read byte by byte, gives the same frames."""
    body = (ALL[case] / "response.body").read_bytes()
    whole = frames([body])
    assert whole
    for text in (body, body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")):
        head = text[:HEAD]
        expected = frames([head])
        for cut in range(len(head)):
            assert frames([head[:cut], head[cut:]]) == expected
        for cut in random.Random(1).sample(range(len(text)), min(100, len(text))):
            assert frames([text[:cut], text[cut:]]) == whole
    assert frames(body[at : at + 1] for at in range(len(body))) == whole


def events_of(case: str, pieces: list[bytes]) -> list[Event]:
    """Return the events of a recording's body in pieces; raise TargetError if it is not a complete answer."""
    speech = Speech("a")
    feed = http.Feed(speech)
    readers = {
        "openai": openai.ChatReader,
        "responses": responses.ResponseReader,
        "anthropic": anthropic_reader.MessageReader,
        "gemini": gemini_reader.GeminiReader,
    }
    feed.reader = readers[lane_of(case)]("a", speech)
    seen: list[Event] = []
    for piece in [*pieces, b""]:
        seen += feed.read(piece)
        if feed.failure is not None:
            raise feed.failure
        if not feed.more:
            break
    return joined([*seen, *speech.end()])


def gist(events: list[Event]) -> tuple[object, ...]:
    """Return an answer's text, thoughts, calls, finish reason and usage, without call ids and the boundaries of texts."""
    said = tuple("".join(event.text for event in events if isinstance(event, kind)) for kind in (Text, Thought))
    calls = [(event.name, event.arguments, event.malformed) for event in events if isinstance(event, ToolCall)]
    end = events[-1]
    assert isinstance(end, Finish)
    return (*said, calls, end.reason, end.usage)


def told_by(wire: str, events: list[Event]) -> dict[str, Any]:
    """Return the usage that a client of this wire gets with these events."""
    heading = Heading(request_id="req_1", message_id="m", model="chat-model", created=1, wants_usage=True)
    encode = WIRES[wire].encoder(heading)
    lines = b"".join(map(encode, events)).decode().splitlines()
    found: list[dict[str, Any]] = [
        json.loads(line.partition(":")[2]) for line in lines if line and "DONE" not in line and not line.startswith("event:")
    ]
    for one in reversed(found):
        usage: Any = one.get("usage") or one.get("messageMetadata", one.get("response", {})).get("usage")
        if usage:
            return cast("dict[str, Any]", usage[0] if isinstance(usage, list) else usage)
    raise AssertionError(wire)


def counts(usage: Usage) -> dict[str, dict[str, Any]]:
    """Return the expected usage of each wire, with its own names. `line` and `data-stream` have none for caches and reasoning."""
    read, written, hit, stored, thought = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )
    plain = {"promptTokens": read, "completionTokens": written}
    chat: dict[str, Any] = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    if hit or stored:
        chat["prompt_tokens_details"] = {"cached_tokens": hit, **({"cache_write_tokens": stored} if stored else {})}
    if thought:
        chat["completion_tokens_details"] = {"reasoning_tokens": thought}
    sums = {"inputTokens": read, "outputTokens": written, "totalTokens": read + written}
    parts = {"reasoningTokens": thought, "cachedInputTokens": hit}
    lasting = usage.cache_write_1h_tokens
    return {
        "line": plain,
        "data-stream": plain,
        "openai": chat,
        "text-completion": chat,
        "ui-message-stream": {**sums, **{name: count for name, count in parts.items() if count}},
        "ag-ui": {**sums, **{name: count for name, count in {**parts, "cacheWriteInputTokens": stored}.items() if count}},
        "ai-gateway": {
            "inputTokens": {"total": read, "noCache": max(0, read - hit - stored), "cacheRead": hit, "cacheWrite": stored},
            "outputTokens": {"total": written, "text": written - thought, "reasoning": thought},
        },
        "anthropic": {
            "input_tokens": read - hit - stored,
            "cache_creation_input_tokens": stored,
            "cache_read_input_tokens": hit,
            "cache_creation": {"ephemeral_5m_input_tokens": stored - lasting, "ephemeral_1h_input_tokens": lasting},
            "output_tokens": written,
            "output_tokens_details": {"thinking_tokens": thought},
        },
        "responses": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": hit},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": thought},
            "total_tokens": read + written,
        },
    }


def check_dialects(events: list[Event], usage: Usage) -> None:
    """Assert that each wire reports this usage with these events."""
    for wire, told in counts(usage).items():
        found = told_by(wire, events)
        assert {name: value for name, value in found.items() if name not in ("model", "provider") and value is not None} == told, wire


def test_usage_is_compared_on_each_wire_but_text() -> None:
    """The comparison of usage covers each wire except plain text, which has no field for it."""
    assert {*counts(Usage()), "text"} == set(WIRES)


@pytest.mark.parametrize("case", [name for name in ALL if "err-" not in name and "unary" not in name])
def test_usage_of_a_recording_is_reported_on_each_wire(case: str) -> None:
    """A recording's usage, with cached and reasoning tokens, is reported on each wire that has fields for it."""
    path = ALL[case]
    expected = json.loads((path / "expected.json").read_text(encoding="utf-8"))["usage_normalised"]
    try:
        events = [Start("a", "m"), *events_of(case, [(path / "response.body").read_bytes()])]
    except TargetError:
        return
    if not expected or expected["input"] is None:
        return
    end = events[-1]
    assert isinstance(end, Finish)
    usage = end.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (
        expected["input"],
        expected["output"] or 0,
        expected["cached_input"] or 0,
    )
    assert expected["reasoning"] in (None, usage.reasoning_tokens)
    check_dialects(events, usage)


STREAMED = [name for name in ALL if "err-" not in name and "unary" not in name]
CUTS = 50
"""Number of random positions at which a recording is cut, beside each of its last bytes: 7,000 for all recordings together."""
LAST = 150


def places(body: bytes) -> list[int]:
    """Return positions at which a body is cut: each byte of its end, and CUTS others."""
    begin = max(1, len(body) - LAST)
    return [*random.Random(2).sample(range(1, begin), min(CUTS, begin - 1)), *range(begin, len(body))]


@pytest.mark.parametrize("case", STREAMED)
def test_answer_does_not_depend_on_read_boundaries(case: str) -> None:
    """A recording read in two pieces gives the same text, calls, finish reason and usage, or the same error, at each boundary.

    The reader of answers sees of the two pieces only the frames that each completes: an equal division of the frames is read once.
    """
    body = (ALL[case] / "response.body").read_bytes()
    every = framed([body])
    divided: set[int] = set()

    def told(pieces: list[bytes]) -> object:
        try:
            return gist(events_of(case, pieces))
        except TargetError as error:
            return type(error), error.outcome

    whole = told([body])
    for at in places(body):
        first, *rest = framed([body[:at], body[at:]])
        assert [first + rest[0], rest[1]] == every, at
        if len(first) not in divided:
            divided.add(len(first))
            assert told([body[:at], body[at:]]) == whole, at


def framed(pieces: list[bytes]) -> list[list[tuple[type[bytes], bytes]]]:
    """Return the frames, with their classes, that each of these pieces completes, and in the last place those at the end of the body."""
    reader = sse.Events()
    return [[(type(frame), frame) for frame in read] for read in [*map(reader.feed, pieces), reader.end()]]


def gives_a_reason_with_each_event(case: str) -> bool:
    """Return whether a recording has several finish reasons, as Gemini 1.0 gave: its end cannot be recognised."""
    return case in GEMINI and (GEMINI[case] / "response.body").read_bytes().count(b'"finishReason"') > 1


@pytest.mark.parametrize("case", [case for case in STREAMED if not gives_a_reason_with_each_event(case)])
def test_truncated_recording_is_not_read_as_complete(case: str) -> None:
    """A truncated recording raises TargetError, or has the complete text, calls and finish reason; only its usage may differ."""
    body = (ALL[case] / "response.body").read_bytes()
    try:
        *whole, reason, _ = gist(events_of(case, [body]))
    except TargetError:
        return
    for at in places(body):
        with suppress(TargetError):
            *said, ended, _ = gist(events_of(case, [body[:at]]))
            assert (said, ended) == (whole, reason), at


# What LiteLLM asks: wire → the model's name and the address, from the case and the replaying server's root.
THROUGH = {
    "gemini": ("gemini/{case}", "{root}/v1beta/models/{case}"),
    "bedrock": ("bedrock/converse/{case}", "{root}"),
    "ollama": ("ollama_chat/{case}", "{root}"),
    "cohere": ("cohere_chat/{case}", "{root}/v2/chat"),
    "responses": ("openai/responses/{case}", "{root}/v1"),
    "anthropic": ("anthropic/{case}", "{root}"),
    "openai": ("openai/{case}", "{root}/v1"),
}
# Vertex AI is recorded too; asked as Gemini, since its credentials come from Google's library and not from routes.yaml.
OTHERS = {
    f"{path.parent.name}.{path.name}": wire
    for wire in THROUGH
    for path in cases(wire)
    if path.name != "cassettes-anthropic-invoke-stream"  # text completions of the first Claude: no model speaks them any more
}
FOLDERS = {f"{path.parent.name}.{path.name}": path for wire in THROUGH for path in cases(wire)}

COHERE = "every stream of Cohere's fails at its first `event:` line"
WRONG = {
    "gemini.fb-success-quotes-escaped": "every chunk of Gemini's without a finish reason gets a stop",
    "gemini.v-stream-no-args-tool-call": "a call whose arguments come in parts breaks its reader",
    "cohere.unary-tool": "an answer that is no stream is empty",
    **{name: COHERE for name, wire in OTHERS.items() if wire == "cohere" and not name.startswith(("cohere.err-", "cohere.unary-"))},
    **{
        name: "its way to the Responses API imports its proxy and a `mcp` that it does not require, and fails at the first event"
        for name, wire in OTHERS.items()
        if wire == "responses" and ".err-" not in name
    },
}
"""Recordings that LiteLLM misreads and the lane cannot repair → the fault. A test checks that each fault still exists."""


@pytest.fixture
async def _library(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Import LiteLLM, with a region for AWS in the environment."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    await litellm_library.library()


async def heard_through(base: str, case: str, wire: str, faults: str = "") -> list[Event]:
    """Return the events of one recording as LiteLLM reads it, mangled by `faults`; raise if it fails."""
    model, address = THROUGH[wire]
    place = {"case": f"{case}{'@' if faults else ''}{faults}", "root": base.removesuffix("/v1")}
    declared = Declared(model=Name(model.format(**place)), api_base=address.format(**place), api_key=Secret("sk-test"))
    order = Order()
    async with aclosing(litellm.answer("a", declared, 3)(HI)) as events:
        seen = [order.see(event) async for event in events]
    order.end()
    return seen


async def check_through(case: str, faults: str) -> None:
    """Assert that one recording through LiteLLM gives its expected events or error."""
    path, wire = FOLDERS[case], OTHERS[case]
    expected = json.loads((path / "expected.json").read_text(encoding="utf-8"))
    error = expected["error"]
    async with replaying() as base:
        if error and "class" in error:
            with pytest.raises(TargetError) as caught:
                await heard_through(base, case, wire, faults)
            assert type(caught.value) is ERRORS[error["class"]]
            assert error["message"] not in str(caught.value)
        elif expected["finish_reason"] == "content_filter" and not expected["text"] and wire in ("openai", "anthropic"):
            with pytest.raises(ContentFiltered):
                await heard_through(base, case, wire, faults)
        elif wire in ("openai", "anthropic") and (error or (expected["finish_reason"] is None and "nodone" in faults)):
            with pytest.raises(TargetError) as caught:
                await heard_through(base, case, wire, faults)
            assert not isinstance(caught.value, ContentFiltered)
        elif not expected["text"] and not expected["tool_calls"] and expected["finish_reason"] is None:
            with suppress(TargetDown):  # nothing in it, and no end: a failure here, or one that failover sees
                assert [type(event) for event in await heard_through(base, case, wire, faults)] == [Start, Finish]
        else:
            events = await heard_through(base, case, wire, faults)
            compare(expected, events, (path / "response.body").read_text("utf-8", "replace"))
            begin, end = events[0], events[-1]
            if isinstance(end, Finish) and end.usage is not None:
                check_dialects([begin, end], end.usage)  # the count is in these two; the words are compared above


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("case", [name for name in OTHERS if name not in WRONG])
async def test_recording_through_litellm_gives_its_expected_events_or_error(case: str) -> None:
    """A recording through LiteLLM gives its expected events, or error, and its usage on each wire.

    It is replayed as it is; in small pieces with CRLF; and compressed, with comments, without `[DONE]` or framing.
    """
    size = (FOLDERS[case] / "response.body").stat().st_size
    pieces = next((chop for most, chop in ((600, "chop=1"), (2_000, "chop=r7"), (20_000, "chop=r99")) if size < most), "chop=r999")
    for faults in ("", f"{pieces},seed=3,crlf=1", "comment=1,gzip=1,nodone=1,framing=close"):
        await check_through(case, faults)


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("case", WRONG)
async def test_known_fault_of_litellm_still_exists(case: str) -> None:
    """A recording that LiteLLM is known to misread still fails; if this test fails, delete the case from WRONG."""
    with pytest.raises((AssertionError, TargetError)):
        await check_through(case, "")


@pytest.mark.parametrize("wire", ["cohere", "responses"])
def test_wire_that_litellm_misreads_is_refused_at_load(wire: str) -> None:
    """Cohere and the Responses API via LiteLLM raise Misfit with what to write instead."""
    with pytest.raises(Misfit, match=r"is refused: .*(`?openai/|leave `via` out)"):
        litellm_providers.check_model(THROUGH[wire][0].format(case="command-r"))


@pytest.mark.usefixtures("_library")
async def test_truncated_gemini_stream_is_cut_through_litellm() -> None:
    """A Gemini stream that ends early, cleanly or by a reset, raises TargetDown, although LiteLLM reports `stop` on each chunk."""
    case = "gemini.streaming-code-execution-unicode-output"
    async with replaying() as base:
        for how in ("clean", "rst"):
            with pytest.raises(TargetDown):
                await heard_through(base, case, "gemini", f"cut=0.7,how={how}")


IN_BAND = {
    "gemini.with-extended-thinking-gemini-gemini-3-flash": (400, TargetRefused),
    "gemini.fb-success-utf8": (429, TargetDown),
    "gemini.fb-success-citations": (503, TargetDown),
    "bedrock.v-reasoning": (429, TargetDown),
    "bedrock.converse-stream": (503, TargetDown),
    "ollama.ollama-streaming-chat-legacy": (500, TargetDown),
}


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("case", IN_BAND)
async def test_error_inside_a_stream_through_litellm_raises_its_target_error(case: str) -> None:
    """An error in the middle of a Gemini, Bedrock or Ollama stream raises the TargetError of its status."""
    status, kind = IN_BAND[case]
    async with replaying() as base:
        with pytest.raises(TargetError) as caught:
            await heard_through(base, case, OTHERS[case], f"midstream={status}")
    assert type(caught.value) is kind


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("case", ["bedrock.converse-stream", "ollama.ollama-streaming-chat-legacy"])
async def test_truncated_bedrock_or_ollama_stream_is_cut_through_litellm(case: str) -> None:
    """A Bedrock or Ollama stream that ends early raises TargetDown, although LiteLLM reports `stop`."""
    async with replaying() as base:
        with pytest.raises(TargetDown):
            await heard_through(base, case, OTHERS[case], "cut=0.7,how=clean")
