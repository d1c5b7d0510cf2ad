"""Each wire (client protocol) through a running router: headers, errors before and in the stream, JSON answers, keep-alive."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, get_args, get_type_hints

import pytest

from router.answering.delivery import deliver
from router.chat import Ask
from router.config.server import Server
from router.events import Event, Failure, Finish, Start, Text, Words
from router.journal.entry import Entry
from router.lifecycle import Deadline
from router.server import application
from router.wire import WIRES, Heading, Wire, compact
from tests.conftest import Answered, Client, Workspace, routes, serving
from tests.wire.readers import READERS, Heard

BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "model": "gpt-4"}
HI = "a: {script: [{text: Hi}]}"
HEADERS = {
    "line": {"content-type": "text/event-stream; charset=utf-8"},
    "data-stream": {"content-type": "text/plain; charset=utf-8", "x-vercel-ai-data-stream": "v1"},
    "ui-message-stream": {"content-type": "text/event-stream", "x-vercel-ai-ui-message-stream": "v1"},
    "openai": {"content-type": "text/event-stream"},
    "anthropic": {"content-type": "text/event-stream"},
    "responses": {"content-type": "text/event-stream"},
    "text-completion": {"content-type": "text/event-stream"},
    "ag-ui": {"content-type": "text/event-stream"},
    "ai-gateway": {"content-type": "text/event-stream"},
    "text": {"content-type": "text/plain; charset=utf-8"},
}


async def asked(client: Client, wire: str, **more: Any) -> Answered:
    """POST one question with `?protocol=` set to this wire."""
    return await client.post(f"/api/chat?protocol={wire}", **{**BODY, **more})


@pytest.mark.parametrize("wire", WIRES)
async def test_answer_in_each_wire_has_its_headers_text_and_tool_calls(workspace: Workspace, wire: str) -> None:
    """A streamed answer with reasoning and a call of the route's tool has its wire's headers and each part that the wire can show."""
    script = "[{thought: Hm.}, {text: One moment. }, {call: get_weather, arguments: {location: Beijing}}]"
    workspace.write(
        "routes.yaml", routes(f"a: {{script: {script}}}", "targets: [a]\n    tools: [weather]\n    max_steps: 1\n    reasoning: show")
    )
    async with serving(workspace.build()) as client:
        answer = await asked(client, wire)
    assert answer.status == 200
    expected = {**HEADERS[wire], "x-router-target": "a", "x-accel-buffering": "no", "cache-control": "no-store, no-transform"}
    assert expected.items() <= answer.headers.items()
    heard = READERS[wire](answer.body)
    calls, heard.calls = heard.calls, []
    results, heard.results = heard.results, []
    if wire in ("text", "text-completion", "openai", "anthropic"):
        assert not calls
    elif wire in ("responses", "ai-gateway"):  # the item of a call that ran here has its result
        assert not calls
        assert [one[1:] for one in results] == [("Beijing: 25°C", False)]
    else:
        given = {"location": "Beijing"}
        assert [one[1:] for one in calls] == [("get_weather", compact(given) if wire == "ag-ui" else given)]
        assert results == [(calls[0][0], "Beijing: 25°C", False)]
    usage = None if wire in ("text", "text-completion", "openai") else (1, 4)
    limits = {"text": None, **dict.fromkeys(("openai", "text-completion", "ai-gateway"), "length")}
    limits |= {"anthropic": "max_tokens", "responses": "max_output_tokens"}
    thoughts = "" if wire in ("text", "text-completion") else "Hm."
    assert heard == Heard("One moment.", thoughts, finish=limits.get(wire, "tool-calls"), usage=usage)


async def test_wire_is_chosen_by_body_header_or_server_protocol(workspace: Workspace) -> None:
    """The wire of an answer follows the shape of the body, the header `X-Stream-Protocol` or `server.protocol`."""
    part = [{"type": "text", "text": "Hello"}]
    bodies: dict[str, dict[str, Any]] = {
        "ui-message-stream": {"id": "c", "messages": [{"id": "m", "role": "user", "parts": part}], "trigger": "submit-message"},
        "data-stream": {"id": "c", "messages": [{"role": "user", "content": "Hello", "parts": part}]},
        "line": {"messages": [{"role": "user", "content": "Hello"}]},
    }
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        for wire, body in bodies.items():
            answer = await client.post("/api/chat/chat-model", **body)
            assert HEADERS[wire].items() <= answer.headers.items()
            assert READERS[wire](answer.body).text == "Hi"
        async with client.session.post(f"{client.base}/api/chat", json=BODY, headers={"x-stream-protocol": "text"}) as response:
            assert await response.read() == b"Hi"
    workspace.write("routes.yaml", routes(HI, more="server: {protocol: openai}\n"))
    async with serving(workspace.build()) as client:
        assert READERS["openai"]((await client.ask()).body).text == "Hi"


async def test_ui_message_stream_has_a_uuid_message_id_and_the_requested_model(workspace: Workspace) -> None:
    """Each UI message stream has a UUID of its own as `messageId` and the model name of the request in its metadata."""
    workspace.write("routes.yaml", routes(HI, more='server: {ui: {min_client: "6.0"}}\n'))
    async with serving(workspace.build()) as client:
        frames = [(await asked(client, "ui-message-stream")).body.decode().split("\n\n") for _ in range(2)]
    ids = [json.loads(one[0].removeprefix("data: "))["messageId"] for one in frames]
    assert [len(one) for one in ids] == [36, 36]
    assert ids[0] != ids[1]
    finish = json.loads(frames[0][-3].removeprefix("data: "))
    assert (finish["finishReason"], finish["messageMetadata"]["model"]) == ("stop", "gpt-4")


REFUSED = {
    "line": {"type": "error", "code": "unknown_model"},
    "data-stream": {"code": "bad_request:api", "cause": "unknown_model"},
    "ui-message-stream": {"code": "bad_request:api", "cause": "unknown_model"},
    "openai": {"type": "invalid_request_error", "param": "model", "code": "model_not_found"},
    "anthropic": {"type": "not_found_error", "code": "unknown_model"},
    "responses": {"type": "invalid_request_error", "param": "model", "code": "model_not_found"},
    "text-completion": {"type": "invalid_request_error", "param": "model", "code": "model_not_found"},
    "ag-ui": {"type": "RUN_ERROR", "code": "unknown_model"},
    "ai-gateway": {"type": "model_not_found", "code": "unknown_model"},
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("wire", WIRES)
async def test_refusal_before_the_stream_has_status_and_error_form_of_the_wire(workspace: Workspace, wire: str, stream: bool) -> None:
    """An unknown model gets a 404 and an invalid JSON body a 400, each in the error form of the requested wire."""
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        answer = await asked(client, wire, model="no-such", stream=stream)
        async with client.session.post(f"{client.base}/api/chat?protocol={wire}", data=b"{") as response:
            broken = Answered(response.status, {}, await response.read())
    assert (answer.status, broken.status) == (404, 400)
    if wire == "text":
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.body == b"There is no such model here. GET /api/models lists those there are."
        assert broken.body == b"The body is not JSON (line 1, column 2)."
        return
    assert answer.headers["content-type"] == "application/json"
    inner = wire in ("openai", "anthropic", "responses", "text-completion", "ai-gateway")
    made = answer.json["error"] if inner else answer.json
    assert REFUSED[wire].items() <= made.items()
    assert set(broken.json) == set(answer.json)


def test_server_protocol_accepts_every_wire() -> None:
    """`server.protocol` accepts `auto` and the name of every wire, and nothing else."""
    assert get_args(get_type_hints(Server)["protocol"]) == ("auto", *WIRES)


def shouted(_: Heading) -> Callable[[Event], bytes]:
    """Return an encoder that writes the text of an answer in capitals."""
    return lambda event: event.text.upper().encode() if isinstance(event, Text) else b""


SHOUT = Wire(
    name="shout",
    content_type="text/x-shout",
    encoder=shouted,
    complete=lambda answer: answer.text.upper().encode(),
    refusal=lambda why: why.sentence.upper().encode(),
    body_type="text/x-shout",
)


async def test_wire_added_to_the_table_serves_streams_resumes_and_refusals(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Wire added to WIRES serves streams, resumed streams, JSON answers and refusals without any other change."""
    monkeypatch.setitem(WIRES, "shout", SHOUT)
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        streamed = await asked(client, "shout", id="chat-1")
        found = await client.get("/api/chat/chat-1/stream")
        other = await client.get("/api/chat/chat-1/stream?protocol=text")
        whole = await asked(client, "shout", stream=False)
        refused = await asked(client, "shout", model="no-such")
    assert streamed.headers["content-type"] == "text/x-shout"
    assert [streamed.body, found.body, other.body, whole.body] == [b"HI", b"HI", b"Hi", b"HI"]
    assert (refused.status, refused.body[:14]) == (404, b"THERE IS NO SU")


async def test_unknown_protocol_parameter_gets_a_400_in_line_form(workspace: Workspace) -> None:
    """An unknown `?protocol=` gets a 400 in the line protocol's form that lists the names of all wires."""
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        answer = await asked(client, "websocket")
    assert (answer.status, answer.json["code"]) == (400, "bad_request")
    assert all(name in answer.json["error"] for name in WIRES)


@pytest.mark.parametrize("wire", [name for name, wire in WIRES.items() if wire.failure == "told"])
async def test_failure_in_mid_stream_is_sent_as_an_error_of_the_wire(workspace: Workspace, wire: str) -> None:
    """An answer that breaks off has its text so far, then an error frame of its wire with the request id."""
    workspace.write("routes.yaml", routes("a: {script: [{text: Half}, {fail: down}]}"))
    async with serving(workspace.build()) as client:
        answer = await asked(client, wire)
    heard = READERS[wire](answer.body)
    assert (answer.status, heard.text) == (200, "Half")
    assert heard.error == f"The model's answer broke off. Please try again. (request {answer.headers['x-request-id']})"


async def test_failure_in_the_text_wire_closes_the_connection_without_a_last_chunk(workspace: Workspace) -> None:
    """A plain text answer that breaks off ends without the last chunk of chunked encoding, so that the client sees an error."""
    workspace.write("routes.yaml", routes("a: {script: [{text: Half}, {fail: down}]}"))
    async with serving(workspace.build()) as client:
        whole = await raw(client, "line")
        broken = await raw(client, "text")
    assert whole.endswith(b"0\r\n\r\n")
    assert broken.endswith(b"\r\n4\r\nHalf\r\n")


async def raw(client: Client, wire: str) -> bytes:
    """Ask in this wire on a new socket, and return all bytes until the server closes it."""
    host, port = client.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(BODY).encode()
    head = f"POST /api/chat?protocol={wire} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    async with asyncio.timeout(240):
        got = await reader.read()
    writer.close()
    return got


async def test_failure_before_any_text_in_the_text_wire_is_a_502(workspace: Workspace) -> None:
    """A plain text answer that fails after reasoning but before any text gets a 502 with the request id."""
    workspace.write(
        "routes.yaml", routes("a: {script: [{thought: Hm.}, {pause: 10ms}, {fail: down}]}", "targets: [a]\n    reasoning: show")
    )
    async with serving(workspace.build()) as client:
        answer = await asked(client, "text")
    assert answer.status == 502
    assert answer.body.decode().endswith(f"(request {answer.headers['x-request-id']})")


class Held:
    """A sink whose first flush after the last event does not return."""

    begun = full = False

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self._held = True

    @property
    def finished(self) -> bool:
        """True if the last event was Finish or Failure."""
        return bool(self.seen) and isinstance(self.seen[-1], Finish | Failure)

    def put(self, event: Event) -> None:
        """Record an event."""
        self.begun = True
        self.seen.append(event)

    async def flush(self) -> None:
        """Return at once, but hang the first time after the last event."""
        if self.finished and self._held:
            self._held = False
            await asyncio.Event().wait()

    def pass_on(self, words: Sequence[Words]) -> bool:
        """Record the words, and return False."""
        for word in words:
            self.put(word)
        return False

    async def close(self) -> None:
        """Do nothing."""

    def hush(self) -> None:
        """Do nothing: this sink has no keep-alive."""


async def test_total_timeout_after_finish_adds_no_failure() -> None:
    """A `total` timeout that passes while Finish is being written to a slow client adds no event and keeps the outcome `stop`."""

    async def answer(_: Ask) -> AsyncGenerator[Event, None]:
        yield Start("a", "m")
        yield Finish("stop")
        await asyncio.Event().wait()

    sink, entry = Held(), Entry("r", "g")
    await deliver(answer, Ask(model="a", messages=()), Deadline(0.05), entry, sink)
    assert sink.seen == [Start("a", "m"), Finish("stop")]
    assert entry.outcome == "stop"


@pytest.mark.parametrize("wire", WIRES)
async def test_shutdown_during_the_last_write_adds_nothing_to_the_answer(workspace: Workspace, wire: str) -> None:
    """A shutdown while the whole answer is being written to a slow client leaves exactly that answer, without an error."""
    workspace.write("routes.yaml", routes(HI))
    edge = application(workspace.build())
    written, blocked, gone = bytearray(), asyncio.Event(), asyncio.Event()

    body = [json.dumps(BODY).encode()]

    async def receive() -> Any:
        if body:
            return {"type": "http.request", "body": body.pop()}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body") and not blocked.is_set():
            blocked.set()
            await gone.wait()
        written.extend(message.get("body", b""))

    scope: dict[str, Any] = {
        "type": "http",
        "path": "/api/chat",
        "method": "POST",
        "query_string": f"protocol={wire}".encode(),
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "http_version": "1.1",
    }
    asked = asyncio.create_task(edge(scope, receive, send))
    await blocked.wait()
    await edge.admin.chat.end()
    await asked
    heard = READERS[wire](bytes(written))
    assert (heard.text, heard.error) == ("Hi", None)
    assert heard.finish == {"text": None, "anthropic": "end_turn", "responses": "completed"}.get(wire, "stop")


async def test_answer_without_text_is_an_empty_200_in_the_text_wire(workspace: Workspace) -> None:
    """A plain text answer of a model that sent only reasoning is a 200 with an empty body."""
    workspace.write("routes.yaml", routes("a: {script: [{thought: Hm.}]}"))
    async with serving(workspace.build()) as client:
        answer = await asked(client, "text")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("wire", WIRES)
async def test_unstreamed_answer_is_one_body_in_the_form_of_the_wire(workspace: Workspace, wire: str) -> None:
    """With `stream: false`, an answer is one body in the form of its wire, and one that breaks off is a 502 without its text."""
    workspace.write(
        "routes.yaml",
        routes(HI + "\nb: {script: [{text: Half}, {fail: down}]}", "targets: [a]", "  broken: {pipeline: chat, targets: [b]}\n"),
    )
    async with serving(workspace.build()) as client:
        answer = await asked(client, wire, stream=False)
        broken = await asked(client, wire, stream=False, model="broken")
    assert (answer.status, broken.status) == (200, 502)
    assert b"Half" not in broken.body
    if wire == "text":
        assert answer.body == b"Hi"
        return
    said: dict[str, Callable[[Any], str]] = {
        "line": lambda made: made["content"],
        "data-stream": lambda made: made["content"],
        "ui-message-stream": lambda made: made["parts"][1]["text"],
        "openai": lambda made: made["choices"][0]["message"]["content"],
        "anthropic": lambda made: made["content"][0]["text"],
        "responses": lambda made: made["output"][0]["content"][0]["text"],
        "text-completion": lambda made: made["choices"][0]["text"],
        "ag-ui": lambda made: made[2]["delta"],
        "ai-gateway": lambda made: made["content"][0]["text"],
    }
    assert said[wire](answer.json) == "Hi"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("wire", WIRES)
async def test_silent_stream_has_keep_alive_frames_of_the_wire(workspace: Workspace, wire: str) -> None:
    """A stream that is silent for longer than `server.keep_alive` has keep-alive frames, in every wire that defines them."""
    workspace.write("routes.yaml", routes("a: {script: [{text: Half}, {pause: 1s}, {text: Whole}]}", more="server: {keep_alive: 50ms}\n"))
    async with serving(workspace.build()) as client:
        answer = await asked(client, wire)
    comment, ping = b"\n\n: keep-alive\n\n", b'event: ping\ndata: {"type":"ping"}\n\n'
    comments = dict.fromkeys(("ui-message-stream", "openai", "responses", "text-completion", "ag-ui", "ai-gateway"), comment)
    sign = {**comments, "data-stream": b"\n\n", "anthropic": ping}.get(wire)
    assert sign is None or sign in answer.body
    assert bool(WIRES[wire].keep_alive) is bool(sign)
    assert READERS[wire](answer.body).text == "HalfWhole"
    assert wire != "line" or b"\n\n" not in answer.body


async def test_keep_alive_is_not_sent_before_the_first_event(workspace: Workspace) -> None:
    """A target that fails after several keep-alive intervals, before its first event, is still answered with a 502."""
    workspace.write(
        "routes.yaml",
        routes("a: {script: [{pause: 300ms}, {fail: down}]}", "targets: [a]\n    retry: {attempts: 1}", "server: {keep_alive: 20ms}\n"),
    )
    async with serving(workspace.build()) as client:
        assert (await asked(client, "ui-message-stream")).status == 502


async def test_keep_alive_is_sent_during_a_long_tool_call_that_the_wire_hides(workspace: Workspace) -> None:
    """An OpenAI stream has a first chunk and keep-alive comments while a router tool runs, although it does not show the call."""
    workspace.write(
        "tools/slow.py",
        'import asyncio\n\nasync def wait_long() -> str:\n    """Waits."""\n    await asyncio.sleep(1)\n    return "done"\n',
    )
    workspace.write(
        "routes.yaml",
        routes("a: {script: [{call: wait_long}]}", "targets: [a]\n    tools: [slow]\n    max_steps: 1", "server: {keep_alive: 50ms}\n"),
    )
    async with serving(workspace.build()) as client:
        answer = await asked(client, "openai")
    assert b"}\n\n: keep-alive\n\n" in answer.body
    assert READERS["openai"](answer.body).finish == "length"
