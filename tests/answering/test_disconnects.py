"""Requests whose client disconnects: an answer runs in its request's own task, which is cancelled then, and which a shutdown cancels too."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from bench import wire
from bench.by_hand import ByHand
from tests.support.by_hand import fed_by_hand

ROUTES = """
targets:
  a: {model: openai/a, api_base: 'http://127.0.0.1:9/v1', api_key: k}
routes:
  chat-model: {pipeline: chat, targets: [a]}
"""
WHOLE = wire.HEAD + wire.chunk("Hello") + wire.tail()


@pytest.fixture
async def hands(tmp_path: Path) -> AsyncGenerator[ByHand, None]:
    """A router whose connections are fed by hand."""
    async with fed_by_hand(tmp_path, ROUTES) as made:
        yield made


async def asked(hands: ByHand, *, stream: bool) -> "asyncio.Task[object]":
    """Ask a question, and return the task of its request."""
    await hands.ask(wire.request("/v1/chat/completions", {"model": "chat-model", "stream": stream}, {}))
    (task,) = hands.edge.admin.chat._asking
    return task


def record(hands: ByHand) -> dict[str, Any]:
    """Return the record of the only request that is over."""
    (made,) = hands.edge.admin.ring.latest(10)
    return made


@pytest.mark.parametrize("stream", [False, True])
async def test_answer_runs_in_the_task_of_its_request(hands: ByHand, *, stream: bool) -> None:
    """While the provider is waited for, the request's task is the only one that was started."""
    before = asyncio.all_tasks()
    task = await asked(hands, stream=stream)
    assert asyncio.all_tasks() - before == {task}
    assert b"Hello" in await hands.say(WHOLE)
    assert task.done()


def _leave(hands: ByHand, _: "asyncio.Task[object]") -> None:
    hands.client.connection_lost(None)


def _stop(_: ByHand, task: "asyncio.Task[object]") -> None:
    asyncio.get_running_loop().call_soon(task.cancel)


def _end(hands: ByHand, _: "asyncio.Task[object]") -> None:
    hands.provider.data_received(WHOLE)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([_leave], "client_left"),
        ([_stop], "stopping"),
        ([_leave, _stop], "stopping"),
        ([_stop, _leave], "stopping"),
        ([_leave, _end], "client_left"),
        ([_stop, _end], "stopping"),
        ([_end, _leave, _stop], "stop"),
    ],
)
async def test_events_of_one_turn_end_a_request_once(
    hands: ByHand, events: list[Callable[[ByHand, "asyncio.Task[object]"], None]], outcome: str, *, stream: bool
) -> None:
    """A disconnect, a shutdown and the end of the answer that take effect in the same turn of the event loop leave one outcome.

    The request's task ends without an error or a cancellation. A shutdown counts more than a disconnect.
    """
    task = await asked(hands, stream=stream)
    for event in events:
        event(hands, task)
    await hands.settle()
    assert record(hands)["outcome"] == outcome
    assert task.done()
    assert not task.cancelled()
    assert task.exception() is None
    assert hands.edge.admin.chat.running == 0
    assert hands.edge.live.generation.requests == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_connection_does_not_hold_the_request_that_is_over(hands: ByHand, *, stream: bool) -> None:
    """A connection reports its loss to the running request alone: a loss after the end of the answer changes nothing."""
    await asked(hands, stream=stream)
    client: Any = hands.client
    assert client._client.left is not None
    await hands.say(WHOLE)
    assert client._client.left is None
    hands.client.connection_lost(None)
    await hands.settle()
    assert record(hands)["outcome"] == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_end_of_a_response_under_another_server_is_no_disconnect(hands: ByHand, *, stream: bool) -> None:
    """Another server, or a layer before it, may report the end as a disconnect while the last `send` still waits: the answer is complete."""
    ended = asyncio.Event()
    body = json.dumps({"model": "chat-model", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}).encode()
    parts: list[dict[str, object]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, object]:
        if parts:
            return parts.pop()
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            ended.set()
            for _ in range(3):
                await asyncio.sleep(0)

    scope: dict[str, object] = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
    }
    scope |= {"headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)}
    before = asyncio.all_tasks()
    task = asyncio.create_task(hands.edge(scope, receive, send))
    await hands.settle()
    hands.provider.data_received(WHOLE)
    await task
    await hands.settle()
    assert record(hands)["outcome"] == "stop"
    assert asyncio.all_tasks() == before
