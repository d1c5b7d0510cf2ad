"""Answers that are found again: by the chat's id, from their start and going on, for whoever asked."""

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router.answering.recording import Recording, RecordingBounds, Recordings
from router.config.server import Resume
from router.events import Event, Failure, Finish, Start, Text
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
    """A question that belongs to a chat."""
    return {"id": chat, "model": "chat-model", "messages": [{"role": "user", "content": "Hi"}], **more}


@asynccontextmanager
async def running(workspace: Workspace, targets: str = PACED, more: str = GRACE) -> AsyncGenerator[Client, None]:
    """A router with one route over these targets."""
    async with serving(workspace.write("routes.yaml", routes(targets, more=more)).build()) as client:
        yield client


async def left_after(client: Client, chat: str, count: int, protocol: str) -> bytes:
    """Ask, read so many bytes, and leave."""
    url = f"{client.base}/api/chat?protocol={protocol}"
    async with client.session.post(url, json=body(chat)) as response:
        seen = await response.content.readexactly(count) if count else b""
        response.close()
    return seen


async def resumed(client: Client, chat: str, query: str = "", **headers: str) -> tuple[int, bytes]:
    """Find an answer again: the status, and all of it."""
    async with client.session.get(f"{client.base}/api/chat/{chat}/stream{query}", headers=headers) as response:
        return response.status, await response.read()


def without_id(data: bytes) -> bytes:
    """The bytes with the message's id and its time, which are others for each answer, made the same."""
    return re.sub(rb'[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}|"(created|created_at|completed_at)":\d+|"timestamp":"[^"]+"', b"ID", data)


@pytest.mark.parametrize("protocol", WIRES)
async def test_an_answer_whose_reader_left_is_found_whole(workspace: Workspace, protocol: str) -> None:
    """Left at sixty places, found again each time: what is read then is the same, to the byte, as if nobody had left."""
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


async def test_two_viewers_at_once_see_the_same(workspace: Workspace) -> None:
    """And each in the dialect it asks for."""
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
    """Find an answer again as soon as it was asked for."""
    async with asyncio.timeout(240):
        while True:
            status, data = await resumed(client, chat, query)
            if status == 200:
                return data
            await asyncio.sleep(0.005)


async def test_answer_that_is_found_names_the_request_that_asked_for_it(workspace: Workspace) -> None:
    """Its record is found under that id; the id of the request that found it again is another."""
    async with running(workspace) as client:
        asked = await client.post(**body("chat-1"))
        async with client.session.get(f"{client.base}/api/chat/chat-1/stream") as found:
            await found.read()
            assert found.headers["x-router-resumed"] == asked.headers["x-request-id"] != found.headers["x-request-id"]
        assert "x-router-resumed" not in asked.headers


async def test_answer_is_found_by_its_caller_alone(workspace: Workspace) -> None:
    """Another caller who knows the id finds nothing, as one who guesses wrong."""
    async with running(workspace, "a: {script: [{text: Hello}]}") as client:
        async with client.session.post(f"{client.base}/api/chat", json=body("chat-1"), headers={"authorization": "Bearer one"}) as response:
            whole = await response.read()
        assert await resumed(client, "chat-1", authorization="Bearer one") == (200, whole)
        assert await resumed(client, "chat-1", authorization="Bearer two") == (204, b"")
        assert await resumed(client, "chat-1") == (204, b"")
        assert await resumed(client, "chat-2", authorization="Bearer one") == (204, b"")


async def test_ai_sdk_4_asks_in_the_query(workspace: Workspace) -> None:
    """There a 204 is an error: nothing is an empty 200."""
    async with running(workspace, "a: {script: [{text: Hello}]}") as client:
        nothing = await client.get("/api/chat?chatId=chat-1")
        asked = await client.post("/api/chat?protocol=data-stream", **body("chat-1"))
        found = await client.get("/api/chat?chatId=chat-1")
    assert (nothing.status, nothing.body) == (200, b"")
    assert found.body == asked.body
    assert found.headers["x-vercel-ai-data-stream"] == "v1"


@pytest.mark.parametrize("lane", LANES)
async def test_without_grace_it_ends_with_its_reader(workspace: Workspace, lane: str) -> None:
    """The provider's connection is closed at once; half an answer is not kept."""
    async with provider(Reply(text("Half")[:2], hold=True)) as upstream, running(workspace, LANES[lane](upstream.base), "") as client:
        async with client.session.post(f"{client.base}/api/chat", json=body("chat-1")) as response:
            assert await response.content.readline()
            response.close()
        await upstream.until(lambda: upstream.closed == 1)
        assert await resumed(client, "chat-1") == (204, b"")


async def test_a_viewer_keeps_it_going(workspace: Workspace) -> None:
    """Whoever asked leaves, another page reads on: it ends when the last of them has gone."""
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
async def test_stop_ends_it_at_once(workspace: Workspace, lane: str) -> None:
    """The provider's connection is closed; what was said stays, and the stream ends properly. Only who asked may stop it."""
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
async def test_stop_closes_the_providers_connection_within_a_fifth_of_a_second(workspace: Workspace, lane: str) -> None:
    """From the moment somebody asks for it. The best of three."""
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


async def test_stop_before_the_first_word(workspace: Workspace) -> None:
    """Whoever waits is told so."""
    async with provider(Reply(hold=True)) as upstream, running(workspace, direct_target(upstream.base)) as client:
        asked = asyncio.create_task(client.post(**body("chat-1")))
        await upstream.until(lambda: upstream.requests)
        await client.post("/api/chat/chat-1/stop")
        answer = await asked
        await upstream.until(lambda: upstream.closed == 1)
    assert (answer.status, answer.json["code"]) == (409, "stopped")


async def test_answer_is_kept_for_its_time(workspace: Workspace) -> None:
    """And then it is gone."""
    async with running(workspace, "a: {script: [{text: Hello}]}", "server: {resume: {keep: 3s}}\n") as client:
        whole = await client.post(**body("chat-1"))
        assert await resumed(client, "chat-1") == (200, whole.body)
        async with asyncio.timeout(240):
            while (await resumed(client, "chat-1"))[0] == 200:
                await asyncio.sleep(0.02)


async def test_the_next_answer_of_a_chat_takes_its_place(workspace: Workspace) -> None:
    """What is found is the latest."""
    async with provider(Reply(text("One")), Reply(text("Two"))) as upstream, running(workspace, direct_target(upstream.base)) as client:
        for said in ("One", "Two"):
            assert (await client.post(**body("chat-1"))).text == said
        assert b"Two" in (await resumed(client, "chat-1"))[1]


async def test_an_answer_that_is_too_long_is_not_found_again(workspace: Workspace) -> None:
    """But read to its end by whoever asked, however slowly: it waits for its reader."""
    long = [chunk({"content": "x" * 1000}) for _ in range(400)]
    async with (
        provider(Reply((*long, chunk({}, "stop"), DONE))) as upstream,
        running(workspace, direct_target(upstream.base), "server: {resume: {size: 16KiB}}\n") as client,
    ):
        whole = await client.post(**body("chat-1"))
        assert whole.text == "x" * 400_000
        assert await resumed(client, "chat-1") == (204, b"")


class Elsewhere:
    """Other replicas that have nothing; while they are asked, the answer here becomes too long to be kept."""

    def publish(self, *_: object) -> None:
        """They are told."""

    async def find(self, _: object, own: Recording, resume: Resume) -> Recording:
        """Nobody else has it."""
        own.put(Text("x" * resume.size))
        await own.flush()
        return own


async def test_an_answer_that_is_too_long_by_now_is_not_found(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was all there when other replicas were asked, and is not any more when they answer: half of it is nothing to find."""
    elsewhere = Elsewhere()

    def on(*_: object) -> Elsewhere:
        return elsewhere

    monkeypatch.setattr("router.answering.replica.Replicas.on", on)
    targets = "a: {script: [{text: Half}, {pause: 20s}, {text: Whole}]}"
    async with running(workspace, targets) as client, client.session.post(f"{client.base}/api/chat", json=body("chat-1")) as response:
        assert await response.content.readline()
        assert await resumed(client, "chat-1") == (204, b"")


class Broken:
    """Other replicas, and a fault of ours on the way to them."""

    async def find(self, *_: object) -> None:
        """Nobody foresaw this."""
        raise KeyError("sk-secret")

    stop = find


async def test_a_fault_of_ours_is_told_as_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever looks for an answer, or stops one, hears of it as whoever asks does: in their dialect, with the request's id."""
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


async def test_an_error_before_the_first_word_is_a_status(workspace: Workspace) -> None:
    """As without a chat; and there is nothing to find."""
    async with provider(error(500)) as upstream, running(workspace, direct_target(upstream.base)) as client:
        refused = await client.post(**body("chat-1"))
        assert (refused.status, refused.json["code"]) == (502, "no_answer")
        assert await resumed(client, "chat-1") == (204, b"")


async def test_a_server_that_stops_ends_its_answers(workspace: Workspace) -> None:
    """One whose reader has gone, too: nothing is left running."""
    async with provider(Reply(text("Half")[:2], hold=True)) as upstream:
        async with running(workspace, direct_target(upstream.base)) as client:
            async with client.session.post(f"{client.base}/api/chat", json=body("chat-1")) as response:
                await response.content.readline()
                response.close()
            assert upstream.open == 1
        await upstream.until(lambda: upstream.closed == 1)


async def test_the_log_has_one_line_for_an_answer(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """Written at its end, though whoever asked had left; one more for whoever finds it."""
    with caplog.at_level(logging.INFO, "router.access"):
        async with running(workspace) as client:
            await left_after(client, "chat-1", 100, "line")
            await resumed(client, "chat-1")
    told = [vars(record)["fields"] for record in caplog.records if record.name == "router.access"]
    assert sorted((entry["outcome"], entry["status"], entry["target"]) for entry in told) == [("resumed", 200, ""), ("stop", 200, "a")]
    assert next(entry for entry in told if entry["outcome"] == "stop")["seconds"] > 0.1


async def test_a_continued_message_keeps_its_id(workspace: Workspace) -> None:
    """A client whose last message is the assistant's would otherwise show two."""
    message = "0b6c5e5e-6f52-4f0e-9f0e-1c2d3e4f5a6b"
    asked = {"id": "q1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}
    began = {"id": message, "role": "assistant", "parts": [{"type": "text", "text": "So"}]}
    async with running(workspace, "a: {script: [{text: Hello}]}", "") as client:
        on = await client.post(id="chat-1", messages=[asked, began], trigger="submit-message")
        new = await client.post(id="chat-1", messages=[asked], trigger="submit-message")
    ids = [json.loads(answer.body.split(b"\n")[0].removeprefix(b"data: "))["messageId"] for answer in (on, new)]
    assert ids[0] == message
    assert ids[1] != message


async def test_a_slow_viewer_holds_what_it_has_not_read(workspace: Workspace) -> None:
    """The recording never holds much more than its bound, and takes no more while its slowest viewer is behind."""
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
    """A recording that nothing is delivered to yet."""
    heading = Heading(request_id="r", message_id="m", model="chat-model", created=1)
    return Recording(Entry("r", "g"), heading, WIRES["line"], Resume(**declared))


class Viewer:
    """A viewer that notes what it is given."""

    begun = True
    full = False

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.closed = False

    @property
    def finished(self) -> bool:
        """Whether it was given the end."""
        return bool(self.seen) and isinstance(self.seen[-1], Finish | Failure)

    def put(self, event: Event) -> None:
        """Note it."""
        self.seen.append(event)

    async def flush(self) -> None:
        """It is as fast as can be."""

    async def close(self) -> None:
        """The end."""
        self.closed = True

    def hush(self) -> None:
        """Nothing."""


async def test_answer_without_viewers_is_not_found_while_it_ends() -> None:
    """An answer whose last viewer has left takes a while to end: from the first moment on there is nothing to find."""
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


async def test_an_answer_without_an_end_is_not_closed_properly() -> None:
    """A recording that stops short has no last word: its viewers are told so, whatever the reason was."""
    made, viewer = recorded(), Viewer()

    async def delivery() -> None:
        made.put(Start("a", "m"))
        made.put(Text("Half"))

    made.run(delivery(), lambda _: None)
    await made.write_to(viewer)
    assert viewer.seen == [Start("a", "m"), Text("Half"), Failure("internal", "Something went wrong here.")]
    assert viewer.closed


@pytest.mark.parametrize("end", ["stop", "fail", "leave"])
async def test_nothing_comes_after_the_end(end: str) -> None:
    """An answer that is stopped, whose server ends or whose reader leaves when all of it was said: it is whole, and stays so."""
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
    """A viewer that writes one event at a time."""

    begun = finished = True
    full = True

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.texts = 0
        self.most = 0

    def put(self, event: object) -> None:
        """Take an event."""
        self.texts += isinstance(event, Text)
        self.most = max(self.most, self.recording.size)

    async def flush(self) -> None:
        """Take its time."""
        await asyncio.sleep(0)

    async def close(self) -> None:
        """The end."""

    def hush(self) -> None:
        """Nothing."""


async def test_ids_that_are_none_are_somebody_elses_field(workspace: Workspace) -> None:
    """`id: 5` or a whole sentence is no chat: the answer comes, and is not recorded."""
    async with running(workspace, "a: {script: [{text: Hello}]}", "") as client:
        given: tuple[Any, ...] = (5, "two words", "x" * 200, {})
        for chat in given:
            assert (await client.post(**{**body(""), "id": chat})).text == "Hello"


async def test_kept_answers_are_bounded_in_number_and_bytes() -> None:
    """In number and in bytes: of those that are over the oldest go first; one that still runs stays."""
    kept, goes_on = Recordings(RecordingBounds(number=3)), asyncio.Event()

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
    kept.bounds = RecordingBounds(number=3, size=over[0].size)
    await record("last")
    assert [kept.find(("", chat)) is not None for chat in ("2", "3", "last")] == [False, False, True]
    goes_on.set()
    await running.ended()
