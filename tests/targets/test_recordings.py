"""Real streams of real providers, whole and mangled, through the lane that would serve them.

The recordings and the server that replays them stand beside the project; without them these tests are skipped.
"""

import asyncio
import importlib.util
import json
import random
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from router.chat import Ask, Message
from router.config.declaration import Target as Declared
from router.config.values import Name, Secret
from router.errors import ContentFiltered, ContextTooLong, TargetDenied, TargetDown, TargetError, TargetRefused
from router.events import Event, Finish, Order, Text, Thought, ToolCall
from router.targets import Connections, anthropic, openai, sse
from tests.conftest import ROOT

SHARED = ROOT.parent / "shared"
RECORDINGS = SHARED / "recordings"
HI = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))

pytestmark = pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not here")


def cases(wire: str) -> list[Path]:
    """The folders of one wire's recordings."""
    found = sorted(RECORDINGS.glob("*/*/meta.json")) if RECORDINGS.exists() else []
    return [path.parent for path in found if json.loads(path.read_text(encoding="utf-8"))["wire"] == wire]


OPENAI = {f"{path.parent.name}.{path.name}": path for path in cases("openai")}
ANTHROPIC = {f"{path.parent.name}.{path.name}": path for path in cases("anthropic")}
ALL = {**OPENAI, **ANTHROPIC}
LANES = {"openai": openai.answer, "anthropic": anthropic.answer}


@cache
def replay() -> Any:
    """The replaying server's module."""
    spec = importlib.util.spec_from_file_location("replay", SHARED / "replay.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def library() -> Any:
    """Every recording, loaded once."""
    return replay().Replay([RECORDINGS])


@asynccontextmanager
async def replaying() -> AsyncGenerator[str, None]:
    """The server; its address."""
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
    """The events of one recording; whoever fails raises."""
    declared = Declared(model=Name(f"{lane}/{case}{'@' if faults else ''}{faults}"), api_base=base, api_key=Secret("sk-test"))
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
    """The events say what the recording is expected to."""
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
    assert end.reason == FINISH[expected["finish_reason"]]
    counted: dict[str, Any] = expected["usage_normalised"] or {}
    if counted.get("input") is not None:
        assert end.usage is not None
        assert (end.usage.input_tokens, end.usage.output_tokens) == (counted["input"], counted["output"])


MANGLED = ["", "chop=1", "chop=r7,seed=3", "crlf=1", "comment=1", "gzip=1", "nodone=1", "framing=close", "crlf=1,comment=1,chop=r5,gzip=1"]


@pytest.mark.parametrize("case", ALL)
async def test_a_recording_gives_what_it_said(case: str) -> None:
    """Whole, a byte at a time, with other line ends, comments, compression, and without the end's mark."""
    path = ALL[case]
    lane = "anthropic" if case in ANTHROPIC else "openai"
    expected = json.loads((path / "expected.json").read_text(encoding="utf-8"))
    body = (path / "response.body").read_bytes()
    name = json.loads((path / "meta.json").read_text(encoding="utf-8"))["case"]
    async with replaying() as base:
        for faults in MANGLED:
            if "chop=1" in faults and len(body) > 8_000:
                continue  # the same by the reader alone, below
            error = expected["error"]
            if error and "class" in error:
                with pytest.raises(TargetError) as caught:
                    await heard(base, name, faults, lane)
                assert type(caught.value) is ERRORS[error["class"]], faults
                assert error["message"] not in str(caught.value)
            elif expected["finish_reason"] == "content_filter" and not expected["text"]:
                with pytest.raises(ContentFiltered):
                    await heard(base, name, faults, lane)
            elif error or (expected["finish_reason"] is None and "nodone" in faults):
                with pytest.raises(TargetError) as caught:
                    await heard(base, name, faults, lane)
                assert not isinstance(caught.value, ContentFiltered)
            else:
                compare(expected, await heard(base, name, faults, lane), body.decode("utf-8", "replace"))


def frames(pieces: Iterator[bytes]) -> list[bytes]:
    """What the reader makes of a body in pieces."""
    reader = sse.Events()
    return [frame for piece in pieces for frame in reader.feed(piece)] + reader.end()


@pytest.mark.parametrize("case", [name for name in ALL if "err-" not in name and "unary" not in name])
def test_the_reader_does_not_mind_where_a_body_is_cut(case: str) -> None:
    """Cut in two at every byte (of the first 1,200, and at 100 others), with LF and with CRLF: the same events."""
    body = (ALL[case] / "response.body").read_bytes()
    whole = frames(iter([body]))
    assert whole
    for text in (body, body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")):
        head = text[:1200]
        expected = frames(iter([head]))
        for cut in range(len(head)):
            assert frames(iter([head[:cut], head[cut:]])) == expected
        for cut in random.Random(1).sample(range(len(text)), min(100, len(text))):
            assert frames(iter([text[:cut], text[cut:]])) == whole
        assert frames(text[at : at + 1] for at in range(len(text))) == whole
