"""Memory that an answer leaves: none that only a pass of the garbage collector frees."""

import gc
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from bench import wire
from bench.by_hand import ByHand
from tests.support.by_hand import fed_by_hand

ROUTES = """
targets:
  a: {model: openai/a, api_base: 'http://127.0.0.1:9/v1', api_key: k}
  b: {model: openai/b, api_base: 'http://127.0.0.1:9/v1', api_key: k}
routes:
  chat-model: {pipeline: chat, targets: [a, b]}
server:
  resume: {keep: 1m}
"""
ANSWER = b"".join((wire.HEAD, *map(wire.chunk, wire.words(wire.SHORT)), wire.tail()))
REFUSAL = b'HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 24\r\n\r\n{"error":{"message":""}}'
SAID = {"role": "user", "content": "hi"}
SHOWN = {"id": "m", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
QUESTIONS: dict[str, tuple[str, dict[str, object]]] = {
    "completions": ("/v1/chat/completions", {"stream": True}),
    "completions, whole": ("/v1/chat/completions", {"stream": False}),
    "text completions": ("/v1/completions", {"stream": True, "prompt": "hi"}),
    "messages": ("/v1/messages", {"stream": True, "max_tokens": 9}),
    "messages, whole": ("/v1/messages", {"max_tokens": 9}),
    "responses": ("/v1/responses", {"stream": True, "store": False, "input": "hi"}),
    "responses, whole": ("/v1/responses", {"store": False, "input": "hi"}),
    "line": ("/api/chat", {}),
    "line, recorded": ("/api/chat", {"id": "c1"}),
    "line, whole": ("/api/chat", {"stream": False}),
    "data stream": ("/api/chat?protocol=data-stream", {}),
    "text": ("/api/chat?protocol=text", {}),
    "UI messages": ("/api/chat", {"id": "c2", "messages": [SHOWN]}),
    "AG-UI": ("/api/agui", {"threadId": "t", "runId": "r", "state": {}, "tools": [], "context": [], "forwardedProps": {}}),
}
# The error of a recorded answer is raised in two tasks, and its traceback has the frames of both: that is left to the collector.
CASES = [
    pytest.param(asked, says, id=f"{asked}, {how}")
    for how, says in {"answered": (ANSWER,), "at the second target": (REFUSAL, ANSWER), "refused": (REFUSAL, REFUSAL)}.items()
    for asked, (_, fields) in QUESTIONS.items()
    if not (how == "refused" and {"id", "threadId"} & fields.keys())
]


@pytest.fixture
async def hands(tmp_path: Path) -> AsyncGenerator[ByHand, None]:
    """A router whose connections are fed by hand."""
    async with fed_by_hand(tmp_path, ROUTES) as made:
        yield made


@pytest.mark.parametrize(("asked", "says"), CASES)
async def test_answer_leaves_no_reference_cycle(hands: ByHand, asked: str, says: tuple[bytes, ...]) -> None:
    """Once an answer is over, in any wire and after refusals by its targets, the garbage collector finds nothing of it."""
    path, fields = QUESTIONS[asked]
    said = {} if "prompt" in fields or "input" in fields else {"messages": [SAID]}
    body = json.dumps({"model": "chat-model", **said, **fields}).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    question = head.encode() + body

    async def answered() -> bytes:
        await hands.ask(question)
        assert hands.asked, hands.line.heard()
        return b"".join([await hands.say(one) for one in says])

    for _ in range(3):
        said = await answered()
    assert (b"word9" in said) == (says[-1] is ANSWER)
    gc.collect()
    gc.disable()
    try:
        gc.set_debug(gc.DEBUG_SAVEALL)
        await answered()
        gc.collect()
        assert [type(one) for one in gc.garbage] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
