"""Resuming the answer of a chat by its id: from the beginning, live, and only for its own caller."""

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router.answering.recording import Recording, Recordings
from router.config.server import Resume
from router.events import Event, Failure, Finish, Start, Text, Words
from router.journal.entry import Entry
from router.wire import WIRES, Heading
from tests.conftest import LANES, Client, Workspace, direct_target, parsed_lines, routes, serving
from tests.support.promises import hold, timed
from tests.support.provider import DONE, Reply, chunk, error, provider, text
from tests.wire.readers import READERS

WORDS = [f"word{count} " for count in range(60)]
PACED = "a: {script: [" + ", ".join(f"{{text: '{word}'}}, {{pause: 2ms}}" for word in WORDS) + "]}"
GRACE = "server: {resume: {grace: 15s}}\n"


def body(chat: str, **more: Any) -> dict[str, Any]:
    """Return the body of a question with this chat id."""
    return {"id": chat, "model": "chat-model", "messages": [{"role": "user", "content": "Hi"}], **more}


@asynccontextmanager
async def running(workspace: Workspace, targets: str = PACED, more: str = GRACE) -> AsyncGenerator[Client, None]:
    """Run a router with one route over these targets, and yield its client."""
    async with serving(workspace.write("routes.yaml", routes(targets, more=more)).build()) as client:
        yield client


async def left_after(client: Client, chat: str, count: int, protocol: str) -> bytes:
    """Ask, read this number of bytes, disconnect, and return them."""
    url = f"{client.base}/api/chat?protocol={protocol}"
    async with client.session.post(url, json=body(chat)) as response:
        seen = await response.content.readexactly(count) if count else b""
        response.close()
    return seen


async def resumed(client: Client, chat: str, query: str = "", **headers: str) -> tuple[int, bytes]:
    """Resume a chat's answer and return its status and whole body."""
    async with client.session.get(f"{client.base}/api/chat/{chat}/stream{query}", headers=headers) as response:
        return response.status, await response.read()


def without_id(data: bytes) -> bytes:
    """Return the bytes with message id and times, which differ between answers, replaced by `ID`."""
    return re.sub(rb'[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}|"(created|created_at|completed_at)":\d+|"timestamp":"[^"]+"', b"ID", data)


@pytest.mark.parametrize("protocol", WIRES)
async def test_answer_left_by_its_client_can_be_resumed_in_full(workspace: Workspace, protocol: str) -> None:
    """An answer left at any of sixty byte positions is resumed in every wire with the bytes of an uninterrupted one except ids and times."""
    async with running(workspace) as client:
        async with client.session.post(f"{client.base}/api/chat?protocol={protocol}", json=body("uninterrupted")) as response:
            uninterrupted = await response.read()
        places = [len(uninterrupted) * count // 60 for count in range(60)]

        async def one(number: int, place: int) -> None:
            seen = await left_after(client, f"chat-{number}", place, protocol)
            status, again = await resumed(client, f"chat-{number}")
            assert status == 200
            assert again.startswith(seen)
            assert without_id(again) == without_id(uninterrupted)

        await asyncio.gather(*(one(number, place) for number, place in enumerate(places)))


async def test_concurrent_resumed_streams_are_identical(workspace: Workspace) -> None:
    """Streams of one answer resumed at the same time have the same bytes; with another `protocol` the text is the same."""
    async with running(workspace) as client:
        asked = asyncio.create_task(client.post(**body("chat-1")))
        one, two, three = await asyncio.gather(
            resumed_soon(client, "chat-1"), resumed_soon(client, "chat-1"), resumed_soon(client, "chat-1", "?protocol=ui-message-stream")
        )
        first = await asked
    assert one == two == first.body
    assert first.text == "".join(WORDS)
    assert READERS["ui-message-stream"](three).text == "".join(WORDS)


async def resumed_soon(client: Client, chat: str, query: str = "") -> bytes:
    """Resume a chat's answer as soon as there is one, and return its whole body."""
    async with asyncio.timeout(240):
        while True:
            status, data = await resumed(client, chat, query)
            if status == 200:
                return data
            await asyncio.sleep(0.005)


async def test_resumed_answer_names_its_original_request_id(workspace: Workspace) -> None:
    """A resumed answer has the id of the request that asked in `X-Router-Resumed`, and its own in `X-Request-Id`."""
    async with running(workspace) as client:
        asked = await client.post(**body("chat-1"))
        async with client.session.get(f"{client.base}/api/chat/chat-1/stream") as found:
            await found.read()
            assert found.headers["x-router-resumed"] == asked.headers["x-request-id"] != found.headers["x-request-id"]
        assert "x-router-resumed" not in asked.headers


async def test_answer_can_be_resumed_only_by_its_caller(workspace: Workspace) -> None:
    """A chat's answer is resumed with the credentials of its caller; other callers and unknown chat ids get a 204."""
    async with running(workspace, "a: {script: [{text: Hello}]}") as client:
        async with client.session.post(f"{client.base}/api/chat", json=body("chat-1"), headers={"authorization": "Bearer one"}) as response:
            whole = await response.read()
        assert await resumed(client, "chat-1", authorization="Bearer one") == (200, whole)
        assert await resumed(client, "chat-1", authorization="Bearer two") == (204, b"")
        assert await resumed(client, "chat-1") == (204, b"")
        assert await resumed(client, "chat-2", authorization="Bearer one") == (204, b"")


async def test_resume_by_chat_id_in_the_query_works_for_ai_sdk_4(workspace: Workspace) -> None:
    """`GET /api/chat?chatId=…` sends a finished answer again in the protocol of its request, and an empty 200 if there is none."""
    async with running(workspace, "a: {script: [{text: Hello}]}") as client:
        nothing = await client.get("/api/chat?chatId=chat-1")
        asked = await client.post("/api/chat?protocol=data-stream", **body("chat-1"))
        found = await client.get("/api/chat?chatId=chat-1")
    assert (nothing.status, nothing.body) == (200, b"")
    assert found.body == asked.body
    assert found.headers["x-vercel-ai-data-stream"] == "v1"


@pytest.mark.parametrize("lane", LANES)
async def test_answer_without_grace_is_cancelled_when_its_client_leaves(workspace: Workspace, lane: str) -> None:
    """Without `resume.grace`, a disconnect closes the provider's connection, and the unfinished answer cannot be resumed."""
    async with provider(Reply(text("Half")[:2], hold=True)) as upstream, running(workspace, LANES[lane](upstream.base), "") as client:
        async with client.session.post(f"{client.base}/api/chat", json=body("chat-1")) as response:
            assert await response.content.readline()
            response.close()
        await upstream.until(lambda: upstream.closed == 1)
        assert await resumed(client, "chat-1") == (204, b"")


async def test_answer_runs_until_its_last_client_leaves(workspace: Workspace) -> None:
    """An answer whose first client left goes on while resumed streams read it, and is cancelled when the last one disconnects."""
    async with provider(Reply(text("Half")[:2], hold=True)) as upstream, running(workspace, direct_target(upstream.base), "") as client:
        async with client.session.post(f"{client.base}/api/chat", json=body("chat-1")) as first:
            await first.content.readline()
            async with client.session.get(f"{client.base}/api/chat/chat-1/stream") as second:
                await second.content.readline()
                first.close()
                async with client.session.get(f"{client.base}/api/chat/chat-1/stream") as third:
                    await third.content.readline()
                    assert upstream.open == 1
                    third.close()
                second.close()
        await upstream.until(lambda: upstream.closed == 1)


@pytest.mark.parametrize("lane", LANES)
async def test_stop_ends_the_answer_and_keeps_its_text(workspace: Workspace, lane: str) -> None:
    """A stop closes the provider's connection and ends the stream, after its text, with reason `other`; the answer can still be resumed.
    Another caller's stop does nothing.
    """
    async with provider(Reply(text("Half")[:2], hold=True)) as upstream, running(workspace, LANES[lane](upstream.base)) as client:
        async with client.session.post(f"{client.base}/api/chat", json=body("chat-1")) as response:
            begun = await response.content.readline()
            url = f"{client.base}/api/chat/chat-1/stop"
            async with client.session.post(url, headers={"authorization": "Bearer another"}) as refused:
                assert refused.status == 204
            assert upstream.open == 1
            async with client.session.post(url) as stopped:
                assert stopped.status == 204
            await upstream.until(lambda: upstream.closed == 1)
            lines = parsed_lines(begun + await response.read())
        assert lines[-1] == ("d", {"type": "finish", "finishReason": "other"})
        assert [code for code, _ in lines] == ["0", "d"]
        assert (await resumed(client, "chat-1"))[0] == 200


@timed
@pytest.mark.parametrize("lane", LANES)
async def test_stop_closes_the_providers_connection_within_200_ms(workspace: Workspace, lane: str) -> None:
    """A stop closes the provider's connection within 200 ms, in the best of three."""
    held = Reply(text("Half")[:2], hold=True)
    async with provider(held, held, held) as upstream, running(workspace, LANES[lane](upstream.base)) as client:
        took: list[float] = []
        for number in range(1, 4):
            async with client.session.post(f"{client.base}/api/chat", json=body(f"chat-{number}")) as response:
                await response.content.readline()
                began = time.monotonic()
                await client.post(f"/api/chat/chat-{number}/stop")
                await upstream.until(lambda: upstream.closed == number)  # noqa: B023 - awaited here
                took.append(time.monotonic() - began)
    hold(min(took), 0.2)


async def test_stop_before_the_first_token_gets_a_409(workspace: Workspace) -> None:
    """A request that is stopped before its first token gets a 409 with code `stopped`."""
    async with provider(Reply(hold=True)) as upstream, running(workspace, direct_target(upstream.base)) as client:
        asked = asyncio.create_task(client.post(**body("chat-1")))
        await upstream.until(lambda: upstream.requests)
        await client.post("/api/chat/chat-1/stop")
        answer = await asked
        await upstream.until(lambda: upstream.closed == 1)
    assert (answer.status, answer.json["code"]) == (409, "stopped")


async def test_answer_can_be_resumed_until_keep_is_over(workspace: Workspace) -> None:
    """A finished answer can be resumed until `resume.keep` has passed, and not afterwards."""
    async with running(workspace, "a: {script: [{text: Hello}]}", "server: {resume: {keep: 3s}}\n") as client:
        whole = await client.post(**body("chat-1"))
        assert await resumed(client, "chat-1") == (200, whole.body)
        async with asyncio.timeout(240):
            while (await resumed(client, "chat-1"))[0] == 200:
                await asyncio.sleep(0.02)


async def test_resume_returns_the_latest_answer_of_the_chat(workspace: Workspace) -> None:
    """A chat with two answers is resumed with the second."""
    async with provider(Reply(text("One")), Reply(text("Two"))) as upstream, running(workspace, direct_target(upstream.base)) as client:
        for said in ("One", "Two"):
            assert (await client.post(**body("chat-1"))).text == said
        assert b"Two" in (await resumed(client, "chat-1"))[1]


async def test_answer_longer_than_resume_size_cannot_be_resumed(workspace: Workspace) -> None:
    """An answer longer than `resume.size` is sent in full to its client, and a resume gets a 204."""
    long = [chunk({"content": "x" * 1000}) for _ in range(400)]
    async with (
        provider(Reply((*long, chunk({}, "stop"), DONE))) as upstream,
        running(workspace, direct_target(upstream.base), "server: {resume: {size: 16KiB}}\n") as client,
    ):
        whole = await client.post(**body("chat-1"))
        assert whole.text == "x" * 400_000
        assert await resumed(client, "chat-1") == (204, b"")


class Elsewhere:
    """Fake replicas that have no answer; while they are asked, the answer here grows beyond `resume.size`."""

    def publish(self, *_: object) -> None:
        """Ignore a published answer."""

    async def find(self, _: object, own: Recording, resume: Resume) -> Recording:
        """Make the recording of this replica too long, and return it."""
        own.put(Text("x" * resume.size))
        await own.flush()
        return own


async def test_answer_that_outgrows_resume_size_during_a_resume_is_not_found(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resume gets a 204 if the answer grew beyond `resume.size` while other replicas were being asked for it."""
    elsewhere = Elsewhere()

    def on(*_: object) -> Elsewhere:
        return elsewhere

    monkeypatch.setattr("router.answering.replica.Replicas.on", on)
    targets = "a: {script: [{text: Half}, {pause: 20s}, {text: Whole}]}"
    async with running(workspace, targets) as client, client.session.post(f"{client.base}/api/chat", json=body("chat-1")) as response:
        assert await response.content.readline()
        assert await resumed(client, "chat-1") == (204, b"")


class Broken:
    """Fake replicas whose look-up raises an unexpected exception."""

    async def find(self, *_: object) -> None:
        """Raise KeyError with a secret in its text."""
        raise KeyError("sk-secret")

    stop = find


async def test_resume_and_stop_answer_500_after_an_unexpected_exception(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A resume or stop that raises gets a 500 in the client's form with the request id, without the exception's text, and is logged."""
    broken = Broken()

    def on(*_: object) -> Broken:
        return broken

    monkeypatch.setattr("router.answering.replica.Replicas.on", on)
    async with running(workspace, "a: {script: [{text: Hello}]}") as client:
        found = await client.get("/api/chat/chat-1/stream?protocol=openai")
        stopped = await client.post("/api/chat/chat-1/stop")
    assert (found.status, found.json["error"]["code"]) == (500, "internal")
    assert (stopped.status, stopped.json["code"]) == (500, "internal")
    for answer in (found, stopped):
        assert answer.headers["x-request-id"] in answer.body.decode()
        assert b"sk-secret" not in answer.body
    assert [record.message for record in caplog.records].count("a request failed") == 2


async def test_chat_error_before_the_first_token_is_a_status_and_not_resumable(workspace: Workspace) -> None:
    """A request with a chat id gets a 502 if no target answers, and a resume of that chat a 204."""
    async with provider(error(500)) as upstream, running(workspace, direct_target(upstream.base)) as client:
        refused = await client.post(**body("chat-1"))
        assert (refused.status, refused.json["code"]) == (502, "no_answer")
        assert await resumed(client, "chat-1") == (204, b"")


async def test_shutdown_ends_answers_whose_client_has_left(workspace: Workspace) -> None:
    """The provider's connection of an answer that goes on without its client is closed when the server shuts down."""
    async with provider(Reply(text("Half")[:2], hold=True)) as upstream:
        async with running(workspace, direct_target(upstream.base)) as client:
            async with client.session.post(f"{client.base}/api/chat", json=body("chat-1")) as response:
                await response.content.readline()
                response.close()
            assert upstream.open == 1
        await upstream.until(lambda: upstream.closed == 1)


async def test_access_log_has_one_line_for_the_answer_and_one_for_its_resume(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer that ends after its client left has one access log line, written at its end, and its resume another."""
    with caplog.at_level(logging.INFO, "router.access"):
        async with running(workspace) as client:
            await left_after(client, "chat-1", 100, "line")
            await resumed(client, "chat-1")
    told = [vars(record)["fields"] for record in caplog.records if record.name == "router.access"]
    assert sorted((entry["outcome"], entry["status"], entry["target"]) for entry in told) == [("resumed", 200, ""), ("stop", 200, "a")]
    assert next(entry for entry in told if entry["outcome"] == "stop")["seconds"] > 0.1


async def test_answer_after_a_trailing_assistant_message_has_its_message_id(workspace: Workspace) -> None:
    """An answer to messages that end with the assistant's has that message's id; otherwise it has a new one."""
    message = "0b6c5e5e-6f52-4f0e-9f0e-1c2d3e4f5a6b"
    asked = {"id": "q1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}
    began = {"id": message, "role": "assistant", "parts": [{"type": "text", "text": "So"}]}
    async with running(workspace, "a: {script: [{text: Hello}]}", "") as client:
        on = await client.post(id="chat-1", messages=[asked, began], trigger="submit-message")
        new = await client.post(id="chat-1", messages=[asked], trigger="submit-message")
    ids = [json.loads(answer.body.split(b"\n")[0].removeprefix(b"data: "))["messageId"] for answer in (on, new)]
    assert ids[0] == message
    assert ids[1] != message


async def test_recording_waits_for_its_slowest_client_when_full(workspace: Workspace) -> None:
    """A recording stays near its size bound by applying backpressure to the answer while its slowest client is behind."""
    recording = recorded(size=10_000)

    async def delivery() -> None:
        recording.put(Start("a", "m"))
        for _ in range(1000):
            recording.put(Text("x" * 100))
            if recording.full:
                await recording.flush()
                await asyncio.sleep(0)
        recording.put(Finish("stop"))
        await recording.flush()

    sink = Slow(recording)
    recording.run(delivery(), lambda _: None)
    await recording.write_to(sink)
    assert sink.texts == 1000
    assert sink.most < 12_000
    assert not recording.complete


def recorded(**declared: Any) -> Recording:
    """Return a new Recording with these `resume` settings and no events."""
    heading = Heading(request_id="r", message_id="m", model="chat-model", created=1)
    return Recording(Entry("r", "g"), heading, WIRES["line"], Resume(**declared))


class Viewer:
    """A sink that records the events it gets."""

    begun = True
    full = False

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.closed = False

    @property
    def finished(self) -> bool:
        """True if the last event was Finish or Failure."""
        return bool(self.seen) and isinstance(self.seen[-1], Finish | Failure)

    def put(self, event: Event) -> None:
        """Record an event."""
        self.seen.append(event)

    async def flush(self) -> None:
        """Return at once: this sink is never behind."""

    def pass_on(self, words: Sequence[Words]) -> bool:
        """Record the words, and return False."""
        for word in words:
            self.put(word)
        return False

    async def close(self) -> None:
        """Note that the sink was closed."""
        self.closed = True

    def hush(self) -> None:
        """Do nothing: this sink has no keep-alive."""


async def test_abandoned_answer_cannot_be_found_while_it_is_being_cancelled() -> None:
    """An answer whose last client left is not found from that moment on, although its cancellation is not complete yet."""
    kept, made, key, ending = Recordings(), recorded(), ("", "chat-1"), asyncio.Event()

    async def delivery() -> None:
        made.put(Start("a", "m"))
        made.put(Text("Half"))
        await made.flush()
        try:
            await asyncio.Event().wait()
        finally:
            await ending.wait()

    kept.start(key, made, delivery(), 60)
    viewing = asyncio.create_task(made.write_to(Viewer()))
    while not made.begun:
        await asyncio.sleep(0)
    assert kept.find(key) is made
    viewing.cancel()
    await asyncio.wait([viewing])
    assert not made.over
    assert kept.find(key) is None
    ending.set()
    await made.ended()
    assert kept.find(key) is None


async def test_recording_that_ends_without_finish_gives_its_clients_a_failure() -> None:
    """A recording whose answer ends without Finish or Failure gives its clients a Failure with code `internal`."""
    made, viewer = recorded(), Viewer()

    async def delivery() -> None:
        made.put(Start("a", "m"))
        made.put(Text("Half"))

    made.run(delivery(), lambda _: None)
    await made.write_to(viewer)
    assert viewer.seen == [Start("a", "m"), Text("Half"), Failure("internal", "Something went wrong here.")]
    assert viewer.closed


@pytest.mark.parametrize("end", ["stop", "fail", "leave"])
async def test_finished_answer_is_unchanged_by_a_late_stop_failure_or_disconnect(end: str) -> None:
    """An answer that has sent Finish keeps its events and outcome when it is stopped, failed or left afterwards."""
    kept, made, viewer, key = Recordings(), recorded(), Viewer(), ("", "chat-1")

    async def delivery() -> None:
        made.put(Start("a", "m"))
        made.put(Finish("stop"))
        made.entry.outcome = "stop"
        await made.flush()
        await asyncio.Event().wait()

    kept.start(key, made, delivery(), 60)
    viewing = asyncio.create_task(made.write_to(viewer))
    while not viewer.finished:
        await asyncio.sleep(0)
    if end == "leave":
        viewing.cancel()
        await asyncio.wait([viewing])
    else:
        getattr(made, end)()
        await viewing
    await made.ended()
    again = Viewer()
    assert kept.find(key) is made
    await made.write_to(again)
    assert viewer.seen == again.seen == [Start("a", "m"), Finish("stop")]
    assert made.entry.outcome == "stop"


class Slow:
    """A sink that takes one event at a time and notes the largest size of the recording."""

    begun = finished = True
    full = True

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.texts = 0
        self.most = 0

    def put(self, event: object) -> None:
        """Count a text, and note the size of the recording."""
        self.texts += isinstance(event, Text)
        self.most = max(self.most, self.recording.size)

    async def flush(self) -> None:
        """Let other tasks run once."""
        await asyncio.sleep(0)

    def pass_on(self, words: Sequence[Words]) -> bool:
        """Record the words, and return False."""
        for word in words:
            self.put(word)
        return False

    async def close(self) -> None:
        """Do nothing."""

    def hush(self) -> None:
        """Do nothing: this sink has no keep-alive."""


async def test_invalid_chat_id_is_ignored(workspace: Workspace) -> None:
    """A question whose `id` is a number, an object, too long or has a space is answered all the same."""
    async with running(workspace, "a: {script: [{text: Hello}]}", "") as client:
        given: tuple[Any, ...] = (5, "two words", "x" * 200, {})
        for chat in given:
            assert (await client.post(**{**body(""), "id": chat})).text == "Hello"


async def test_recordings_evict_the_oldest_finished_answers_beyond_their_bounds() -> None:
    """Recordings beyond the bound of number or bytes drop the oldest finished answer first and keep a running one."""
    kept, goes_on = Recordings(number=3), asyncio.Event()

    async def said(recording: Recording, until: asyncio.Event | None = None) -> None:
        recording.put(Start("a", "m"))
        if until is not None:
            await until.wait()
        recording.put(Finish("stop"))

    async def record(chat: str, until: asyncio.Event | None = None) -> Recording:
        made = recorded()
        kept.start(("", chat), made, said(made, until), 60)
        await asyncio.sleep(0)
        return made

    running = await record("running", goes_on)
    over = [await record(str(number)) for number in range(4)]
    assert all(one.over for one in over)
    assert [kept.find(("", str(number))) is not None for number in range(4)] == [False, False, True, True]
    assert kept.find(("", "running")) is running
    kept.size = over[0].size
    await record("last")
    assert [kept.find(("", chat)) is not None for chat in ("2", "3", "last")] == [False, False, True]
    goes_on.set()
    await running.ended()
