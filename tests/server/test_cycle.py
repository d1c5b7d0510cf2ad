"""Responses that are written without uvicorn's `send`: the same bytes, and every case in which `send` is still used."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from starlette.types import Message, Send

from router.answering.reply import Reply, Streamed, Writer
from router.events import Finish, Start, Text
from router.journal.entry import Entry
from router.server.cycle import Cycle
from router.server.door import ClientFlow
from router.wire import WIRES, Heading
from tests.conftest import Client, Workspace, routes, serving
from tests.support.raw import connected, request, until_closed

ASK = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}
SCRIPT = "a: {script: [{text: Hi}, {pause: 20ms}, {text: ' there'}, {pause: 20ms}, {text: '!'}]}"
ORIGIN = "https://chat.example"
CORS = f"server:\n  cors: {{origins: ['{ORIGIN}']}}\n"
VARYING = re.compile(rb"(?<=date: )[^\r]*|(?<=seconds=)[0-9.]+|(?<=created\":)[0-9]+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{24,32}")
"""Parts of a response that differ between two equal requests: times and random ids."""


@asynccontextmanager
async def open_router(workspace: Workspace, case: str) -> AsyncGenerator[Client, None]:
    """Yield a client of a router with a scripted route, and with a declared origin in cases that need one."""
    declared = routes(SCRIPT, more=CORS if "origin" in case else "")
    async with serving(workspace.write("routes.yaml", declared).build()) as client:
        yield client


def asking(path: str, stream: bool, version: str = "1.1", method: str = "POST", **headers: str) -> bytes:
    """Return the bytes of a chat request."""
    body = json.dumps({**ASK, "stream": stream, "id": "chat-1"} if path == "/api/chat" else {**ASK, "stream": stream}).encode()
    made = request(f"{method} {path}", body, x_request_id="one", **headers)
    return made.replace(b"HTTP/1.1", b"HTTP/" + version.encode(), 1)


CASES: dict[str, bytes] = {
    **{f"{path} stream={stream}": asking(path, stream) for path in ("/v1/chat/completions", "/v1/messages") for stream in (False, True)},
    "a recorded stream": asking("/api/chat", True),
    "a stream for HTTP/1.0": asking("/v1/chat/completions", True, "1.0"),
    "a whole answer for HTTP/1.0": asking("/v1/chat/completions", False, "1.0", connection="keep-alive"),
    "HEAD": asking("/v1/chat/completions", False, method="HEAD"),
    "a refusal": request("POST /v1/chat/completions", b"{}", x_request_id="one"),
    "a page of a declared origin": asking("/v1/chat/completions", True, origin=ORIGIN),
    "a whole answer for a declared origin": asking("/v1/chat/completions", False, origin=ORIGIN),
    "100 Continue": asking("/v1/chat/completions", False, expect="100-continue"),
    "one request after another": asking("/v1/chat/completions", True, connection="keep-alive")
    + asking("/v1/chat/completions", False, connection="keep-alive")
    + asking("/v1/chat/completions", True),
}


def unwritten(_: ClientFlow, send: Send) -> None:
    """Return None in place of `ClientFlow.writer`: every response takes `send`."""


async def heard(client: Client, data: bytes) -> bytes:
    """Send these bytes; return what comes until the connection closes, without what varies."""
    async with connected(client.base) as (reader, writer):
        writer.write(data)
        return VARYING.sub(b"*", await until_closed(reader))


@pytest.mark.parametrize("case", CASES)
async def test_direct_response_has_the_bytes_of_uvicorns_send(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Written with and without uvicorn's `send`, each kind of response is the same to the byte, including the order of its headers."""
    async with open_router(workspace, case) as client:
        direct = await heard(client, CASES[case])
        monkeypatch.setattr(ClientFlow, "writer", unwritten)
        sent = await heard(client, CASES[case])
    assert direct.startswith(b"HTTP/1.1 ")
    assert direct == sent


@pytest.mark.parametrize("case", CASES)
async def test_request_whose_body_is_taken_at_once_has_the_answer_of_one_that_is_received(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Each kind of request has the same answer, to the byte, whether its body is taken from the connection or awaited with `receive`."""
    async with open_router(workspace, case) as client:
        taken = await heard(client, CASES[case])
        monkeypatch.setattr(ClientFlow, "received", lambda *_: None)  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]
        assert await heard(client, CASES[case]) == taken


class Arrived:
    """A request on a connection of its own: `cycle`, and the connection's `flow`, with a complete body of four bytes."""

    def __init__(self) -> None:
        self.flow = ClientFlow(asyncio.Transport())
        log = logging.getLogger("router.tests")
        event = asyncio.Event()
        self.cycle: Any = Cycle(cast("Any", {}), asyncio.Transport(), self.flow, log, log, False, [], event, False, True, lambda: None)
        self.cycle.body, self.cycle.more_body = bytearray(b"body"), False

    async def layer(self) -> Message:
        """Receive as a layer between the server and the application does."""
        return await self.cycle.receive()


async def test_complete_body_is_taken_once() -> None:
    """A body that is complete is taken from the connection, which keeps nothing of it."""
    arrived = Arrived()
    assert arrived.flow.received(arrived.cycle.receive, 4) == b"body"
    assert not arrived.cycle.body


@pytest.mark.parametrize("case", ["a larger body", "more to come", "a layer", "expects 100 Continue", "paused", "client gone"])
async def test_body_that_receive_has_more_to_do_for_is_left_to_it(case: str) -> None:
    """A body is not taken if it is too large or not complete, or if `receive` has more to do than to return it."""
    arrived = Arrived()
    arrived.cycle.more_body = case == "more to come"
    arrived.cycle.waiting_for_100_continue = case == "expects 100 Continue"
    arrived.flow.read_paused = case == "paused"
    arrived.cycle.disconnected = case == "client gone"
    receive = arrived.layer if case == "a layer" else arrived.cycle.receive
    assert arrived.flow.received(receive, 3 if case == "a larger body" else 4) is None
    assert arrived.cycle.body == b"body"


@pytest.mark.parametrize(
    ("case", "direct"),
    [("/v1/messages stream=False", 1), ("/v1/messages stream=True", 1), ("HEAD", 0), ("a refusal", 0), ("a page of a declared origin", 0)],
)
async def test_response_is_direct_where_no_layer_stands_between(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, case: str, direct: int
) -> None:
    """Answers are written without `send`; refusals, responses without a body, and those that a layer adds headers to are not."""
    begun: list[bytes] = []
    begin = Cycle._begin

    def noted(cycle: Cycle, head: bytes, last: bytes) -> None:
        begun.append(head)
        begin(cycle, head, last)

    monkeypatch.setattr(Cycle, "_begin", noted)
    async with open_router(workspace, case) as client:
        await heard(client, CASES[case])
    assert len(begun) == direct


async def test_stream_that_is_not_read_goes_on_through_send(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that reads too slowly makes the answer wait in `send`; once it reads on, it gets every piece in order."""
    drains: list[ClientFlow] = []
    drain = ClientFlow.drain

    def noted(flow: ClientFlow) -> Awaitable[None]:
        drains.append(flow)
        return drain(flow)

    monkeypatch.setattr(ClientFlow, "drain", noted)
    words = [f"{number} {'x' * 20_000}" for number in range(200)]
    script = f"a: {{script: [{', '.join(f'{{text: {json.dumps(word)}}}' for word in words)}]}}"
    async with (
        serving(workspace.write("routes.yaml", routes(script)).build()) as client,
        connected(client.base) as (reader, writer),
    ):
        writer.write(asking("/v1/chat/completions", True))
        await asyncio.sleep(0.5)
        got = await until_closed(reader)
    assert drains
    assert b"".join(re.findall(rb'"content":"([^"]*)"', got)).decode() == "".join(words)
    assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


class Connection:
    """A client's connection whose responses fail the test when they are written without `send`."""

    write_paused = gone = False
    left: Callable[[], object] | None = None

    def writer(self, send: Send) -> Writer | None:
        """Fail: this response has to be checked by `send`."""
        raise AssertionError("written without the check of its headers")


@pytest.mark.parametrize("target", ["a\r\nset-cookie: b=c", "a\nb", "a\x00", "a\x7f"])
async def test_header_with_control_characters_is_left_to_the_check_of_send(target: str) -> None:
    """A header value with a control character never takes the way past `send`, which refuses it."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    reply = Reply(send, Entry("one", "digest", target=target), WIRES["openai"], client=Connection())
    await reply.complete(200, b"{}")
    assert (b"x-router-target", target.encode()) in sent[0]["headers"]


class Layered(Connection):
    """A client's connection with a layer before `send`."""

    def writer(self, send: Send) -> Writer | None:
        """Return None: only the layer may write."""
        return None


async def test_text_passes_through_a_layer_at_once_until_writing_is_paused() -> None:
    """Behind a layer a stream's words are sent at once by `send`, collected while writing is paused, and sent with the end."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    connection = Layered()
    heading = Heading(request_id="one", message_id="m", model="gpt-4", created=0)
    sink = Streamed(Reply(send, Entry("one", "digest"), WIRES["text"], client=connection), heading, 15.0)
    sink.put(Start("a", "m"))
    sink.put(Text("A"))
    await sink.flush()
    assert sink.pass_on([Text("B")])
    connection.write_paused = True
    assert not sink.pass_on([Text("C"), Text("D")])
    sink.put(Finish("stop"))
    await sink.close()
    assert [one["body"] for one in sent[1:]] == [b"A", b"B", b"CD", b""]
    assert [one["more_body"] for one in sent[1:]] == [True, True, True, False]
