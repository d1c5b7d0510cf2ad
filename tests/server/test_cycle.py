"""Responses that are written without uvicorn's `send`: the same bytes, and every case in which `send` is still used."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.types import Message, Send

from router.answering.reply import Collected, Reply, Streamed, Writer
from router.attempt import Attempt
from router.events import Finish, Start, Text, ToolProgress
from router.journal.entry import Entry
from router.server.cycle import MAX_JOINED_BYTES, Cycle
from router.server.door import ClientFlow, Door
from router.wire import WIRES, Heading
from tests.conftest import Client, Workspace, routes, serving
from tests.support.raw import connected, parsed, request, response_to, until_closed

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
        state = SimpleNamespace(default_headers=[])
        self.door = SimpleNamespace(unhurried=asyncio.Transport(), flow=self.flow, server_state=state, access_log=False, tasks=set())
        self.door.on_response_complete, self.door.expect_100_continue = (lambda: None), False
        self.cycle: Any = Cycle(self.door, {}, keep_alive=True)
        self.cycle.body, self.cycle.more_body = bytearray(b"body"), False
        self.cycle.set()  # as the door does at the end of a body

    async def layer(self) -> Message:
        """Receive as a layer between the server and the application does."""
        return await self.cycle.receive()


async def test_complete_body_is_taken_once() -> None:
    """A body that is complete is taken from the connection, which keeps nothing of it."""
    arrived = Arrived()
    assert arrived.flow.received(arrived.cycle.receive, 4) == b"body"
    assert not arrived.cycle.body
    receiving = asyncio.create_task(arrived.cycle.receive())
    await asyncio.sleep(0)
    assert not receiving.done()
    receiving.cancel()


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
    respond = Cycle.respond

    def noted(cycle: Cycle, head: bytes, *more: Any, **flags: Any) -> None:
        begun.append(head)
        respond(cycle, head, *more, **flags)

    monkeypatch.setattr(Cycle, "respond", noted)
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
        """Fail: these headers must not be sent."""
        raise AssertionError("written with a control character in a header")


@pytest.mark.parametrize("name", ["a\r\nset-cookie: b=c", "a\nb", "a\x00", "a\x7f"])
@pytest.mark.parametrize("of", ["target", "requested", "attempt"])
async def test_header_with_control_characters_is_never_sent(of: str, name: str) -> None:
    """A header value with a control character, such as a line's end, is refused before anything of the response is sent."""

    async def send(message: Message) -> None:
        raise AssertionError(f"sent: {message}")

    given: dict[str, Any] = {"attempts": (Attempt(name, "ok", 0.1),)} if of == "attempt" else {of: name}
    reply = Reply(send, Entry("one", "digest", **given), WIRES["openai"], client=Connection())
    for answer in (reply.complete(200, b"{}"), reply.begin(200, "text/plain"), reply.empty(204)):
        with pytest.raises(ValueError, match="control character"):
            await answer
        assert not reply.begun


async def test_header_may_have_printable_and_white_characters() -> None:
    """A name with a tab, a no-break space or letters beyond ASCII passes, as UTF-8."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    target = "Zoë\t\u00a0a"
    await Reply(send, Entry("one", "digest", target=target, attempts=(Attempt(target, "ok", 0.1),)), WIRES["openai"]).complete(200, b"{}")
    assert (b"x-router-target", target.encode()) in sent[0]["headers"]


class Layered(Connection):
    """A client's connection with a layer before `send`."""

    def writer(self, send: Send) -> Writer | None:
        """Return None: only the layer may write."""
        return None


async def test_text_passes_through_a_layer_at_once_until_writing_is_paused() -> None:
    """Behind a layer a stream's words are sent at once by `send`, collected while writing is paused, and sent with its end."""
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
    assert [one["body"] for one in sent[1:]] == [b"A", b"B", b"CD"]
    assert [one["more_body"] for one in sent[1:]] == [True, True, False]


@pytest.mark.parametrize("case", ["a stream for HTTP/1.0", "a stream of a declared origin for HTTP/1.0"])
async def test_stream_for_http_1_0_has_no_chunks_and_ends_with_its_connection(workspace: Workspace, case: str) -> None:
    """HTTP/1.0 does not know chunks (RFC 9112, 6.1): the body is what comes until the connection closes, also through a layer."""
    asked = asking("/v1/chat/completions", True, "1.0", **({"origin": ORIGIN} if "origin" in case else {}))
    declared = routes(SCRIPT, more="server:\n  auth: none\n" + CORS.removeprefix("server:\n") * ("origin" in case))
    async with serving(workspace.write("routes.yaml", declared).build()) as client:
        answer = parsed(await heard(client, asked))
    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    assert not {"transfer-encoding", "content-length"} & {*answer.headers}
    assert answer.rest.startswith(b"data: {")
    assert answer.rest.endswith(b"data: [DONE]\n\n")
    assert re.findall(rb'"content":"([^"]*)"', answer.rest) == [b"", b"Hi", b" there", b"!"]


@pytest.mark.parametrize("size", [10, MAX_JOINED_BYTES - 1000, 3 * MAX_JOINED_BYTES])
async def test_whole_answer_of_any_size_has_its_length(workspace: Workspace, size: int) -> None:
    """A whole answer is complete, whether it is short enough to be written together with its head or not."""
    script = f"a: {{script: [{{text: {'x' * size}}}]}}"
    async with serving(workspace.write("routes.yaml", routes(script)).build()) as client:
        answer = await response_to(client.base, asking("/v1/chat/completions", False))
    assert int(answer.headers["content-length"]) == len(answer.rest)
    assert json.loads(answer.rest)["choices"][0]["message"]["content"] == "x" * size


@pytest.mark.parametrize("stream", [True, False])
async def test_answer_that_is_at_hand_is_written_at_once(workspace: Workspace, stream: bool) -> None:
    """Head and body of an answer that did not wait for anything are one write, and so one system call."""
    written: list[bytes] = []

    class Noted(Door):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            write = self.unhurried.write

            def noted(data: bytes) -> None:
                written.append(data)
                write(data)

            self.unhurried.write = noted

    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}")).build(), door=Noted) as client:
        await heard(client, asking("/v1/chat/completions", stream))
    assert len(written) == 1


@pytest.mark.parametrize("expected", ["100-continue", "100-Continue", "100-continue \t"])
async def test_client_that_waits_for_100_continue_gets_it_before_its_body(workspace: Workspace, expected: str) -> None:
    """`Expect: 100-continue`, in any case and with white space after it, is answered before the body is read; other requests get none."""
    head, _, body = asking("/v1/chat/completions", False, expect=expected).partition(b"\r\n\r\n")
    async with open_router(workspace, "") as client, connected(client.base) as (reader, writer):
        writer.write(head + b"\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await until_closed(reader)).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("granted", [(), ("search",)])
def test_progress_of_a_tool_is_not_kept_for_a_whole_answer(granted: tuple[str, ...]) -> None:
    """A whole answer collects every event of a route without tools, and all but a tool's progress of one that has tools."""
    heading = Heading(request_id="one", message_id="m", model="gpt-4", created=0)
    sink = Collected(Reply(cast("Send", None), Entry("one", "digest", granted=granted), WIRES["openai"]), heading)
    assert not sink.begun
    events = [Start("a", "m"), ToolProgress("1", "search", "half") if granted else Text("A"), Text("B")]
    for event in events:
        sink.put(event)
    assert sink.begun
    assert not sink.finished
    sink.put(Finish("stop"))
    assert sink.finished
    assert sink._events == [*(one for one in events if not isinstance(one, ToolProgress)), Finish("stop")]


async def test_waiting_receivers_are_woken_by_the_next_part_of_the_body_and_by_its_end() -> None:
    """A `receive` that waits gets what comes next, each part once, and a disconnect once the response is over."""
    flow = ClientFlow(cast("asyncio.Transport", None))
    door = SimpleNamespace(
        unhurried=None,
        flow=flow,
        on_response_complete=bool,
        access_log=False,
        expect_100_continue=False,
        server_state=SimpleNamespace(default_headers=[]),
        tasks=set(),
    )
    cycle = Cycle(door, {"method": "POST"}, keep_alive=True)
    first = asyncio.create_task(cycle.receive())
    await asyncio.sleep(0)
    assert not first.done()
    cycle.body += b"A"
    cycle.set()
    assert await first == {"type": "http.request", "body": b"A", "more_body": True}
    cycle.body += b"B"
    cycle.more_body, cycle.news = False, True
    assert await cycle.receive() == {"type": "http.request", "body": b"B", "more_body": False}
    last = [asyncio.create_task(cycle.receive()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(one.done() for one in last)
    cycle.disconnected = True
    cycle.message_event.set()
    assert await asyncio.gather(*last, cycle.receive()) == [{"type": "http.disconnect"}] * 3
