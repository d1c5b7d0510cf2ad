"""Chat answers across replicas that share a Redis: resumed, followed live and stopped through another replica."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import aiohttp
import pytest

from router.generation import Ground
from router.shared import Logs
from router.shared.logs import HOLD_S
from tests.answering.test_resume import PACED, WORDS, body, left_after, resumed, resumed_soon, without_id
from tests.conftest import Client, Workspace, direct_target, parsed_lines, routes, serving
from tests.support.process import process
from tests.support.promises import hold, timed, within
from tests.support.provider import DONE, Reply, chunk, provider, text
from tests.support.redis_cli import keys, redis_command
from tests.support.services import RedisServer, redis_server
from tests.wire.readers import READERS


@asynccontextmanager
async def replicas(
    workspace: Workspace, server: RedisServer, targets: str = PACED, resume: str = "{grace: 15s}", count: int = 2, *, counts: float = HOLD_S
) -> AsyncGenerator[list[Client], None]:
    """Run `count` routers with one configuration and this Redis, and yield their clients.

    `counts`: seconds for which the sign of life of a client at another replica keeps an answer running.
    """
    more = f"server: {{redis: '{server.url}', resume: {resume}}}\n"
    workspace.write("routes.yaml", routes(targets, more=more))
    async with AsyncExitStack() as open_ones:
        yield [await open_ones.enter_async_context(serving(workspace.build(Ground(logs=partial(Logs, hold=counts))))) for _ in range(count)]


@asynccontextmanager
async def two(
    workspace: Workspace, targets: str = PACED, resume: str = "{grace: 15s}", counts: float = HOLD_S
) -> AsyncGenerator[tuple[Client, Client, RedisServer], None]:
    """Run two routers over a new Redis, and yield their clients and the Redis server."""
    async with redis_server() as server, replicas(workspace, server, targets, resume, counts=counts) as (one, other):
        yield one, other, server


async def ended(client: Client, chat: str, seconds: float = 60) -> None:
    """Wait until a chat has no answer that can be resumed."""
    async with asyncio.timeout(seconds):
        while (await resumed(client, chat))[0] == 200:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("protocol", ["line", "data-stream", "ui-message-stream"])
async def test_answer_left_by_its_client_can_be_resumed_on_another_replica(workspace: Workspace, protocol: str) -> None:
    """An answer left at any of sixty byte positions is resumed on another replica with the bytes of an uninterrupted answer,
    except ids and times.
    """
    async with two(workspace) as (one, other, _):
        async with one.session.post(f"{one.base}/api/chat?protocol={protocol}", json=body("uninterrupted")) as response:
            uninterrupted = await response.read()
        places = [len(uninterrupted) * count // 60 for count in range(60)]

        async def left_and_found(number: int, place: int) -> None:
            seen = await left_after(one, f"chat-{number}", place, protocol)
            again = await resumed_soon(other, f"chat-{number}")
            assert again.startswith(seen)
            assert without_id(again) == without_id(uninterrupted)

        await asyncio.gather(*(left_and_found(number, place) for number, place in enumerate(places)))


async def test_resumed_streams_at_two_replicas_are_identical(workspace: Workspace) -> None:
    """Streams of one answer resumed at both replicas have the same bytes; with another `protocol` the text is the same."""
    async with two(workspace) as (one, other, _):
        asked = asyncio.create_task(one.post(**body("chat-1")))
        here, there, too, in_another = await asyncio.gather(
            resumed_soon(one, "chat-1"),
            resumed_soon(other, "chat-1"),
            resumed_soon(other, "chat-1"),
            resumed_soon(other, "chat-1", "?protocol=ui-message-stream"),
        )
        first = await asked
    assert here == there == too == first.body
    assert first.text == "".join(WORDS)
    assert READERS["ui-message-stream"](in_another).text == "".join(WORDS)


async def test_resumed_stream_on_another_replica_is_live(workspace: Workspace) -> None:
    """A stream resumed on another replica has the first text while the answer is still being generated."""
    async with (
        provider(Reply(text("Half")[:2], hold=True)) as upstream,
        two(workspace, direct_target(upstream.base)) as (one, other, _),
        one.session.post(f"{one.base}/api/chat", json=body("chat-1")) as asked,
    ):
        begun = await asked.content.readline()
        found = await found_soon(other, "chat-1")
        async with asyncio.timeout(240):
            assert await found.content.readline() == begun
        found.close()


async def test_answer_on_another_replica_can_be_resumed_only_by_its_caller(workspace: Workspace) -> None:
    """A chat's answer is resumed on another replica only with the credentials of its caller; others get a 204."""
    async with two(workspace, "a: {script: [{text: Hello}]}") as (one, other, _):
        async with one.session.post(f"{one.base}/api/chat", json=body("chat-1"), headers={"authorization": "Bearer one"}) as response:
            whole = await response.read()
        async with asyncio.timeout(240):
            while await resumed(other, "chat-1", authorization="Bearer one") != (200, whole):
                await asyncio.sleep(0.01)
        assert await resumed(other, "chat-1", authorization="Bearer two") == (204, b"")
        assert await resumed(other, "chat-1") == (204, b"")
        assert await resumed(other, "chat-2", authorization="Bearer one") == (204, b"")


@timed
async def test_stop_on_another_replica_ends_the_answer_within_a_second(workspace: Workspace) -> None:
    """A stop sent to another replica closes the provider's connection and ends every stream; another caller's stop does nothing."""
    async with provider(Reply(text("Half")[:2], hold=True)) as upstream, two(workspace, direct_target(upstream.base)) as (one, other, _):
        async with one.session.post(f"{one.base}/api/chat", json=body("chat-1")) as response:
            begun = await response.content.readline()
            viewer = asyncio.create_task(resumed_soon(other, "chat-1"))
            url = f"{other.base}/api/chat/chat-1/stop"
            async with other.session.post(url, headers={"authorization": "Bearer another"}) as refused:
                assert refused.status == 204
            await asyncio.sleep(0.2)
            assert upstream.open == 1
            with within(1):
                async with other.session.post(url) as stopped:
                    assert stopped.status == 204
                await upstream.until(lambda: upstream.closed == 1)
            whole = begun + await response.read()
        assert parsed_lines(whole)[-1] == ("d", {"type": "finish", "finishReason": "other"})
        assert await viewer == whole


async def test_latest_answer_of_a_chat_is_resumed_and_stopped_on_any_replica(workspace: Workspace) -> None:
    """A chat's latest answer is resumed or stopped even through a replica that has an earlier answer of the same chat."""
    async with (
        provider(Reply(text("One")), Reply(text("Two")), Reply(text("Three")[:2], hold=True)) as upstream,
        two(workspace, direct_target(upstream.base)) as (one, other, _),
    ):
        assert (await one.post(**body("chat-1"))).text == "One"
        two_said = await other.post(**body("chat-1"))
        assert two_said.text == "Two"
        async with asyncio.timeout(240):
            while (await resumed(one, "chat-1"))[1] != two_said.body:
                await asyncio.sleep(0.01)
        async with other.session.post(f"{other.base}/api/chat", json=body("chat-1")) as response:
            await response.content.readline()
            async with asyncio.timeout(240):
                while upstream.closed == 0:
                    await one.post("/api/chat/chat-1/stop")
                    await asyncio.sleep(0.02)
            assert parsed_lines(await response.read())[-1] == ("d", {"type": "finish", "finishReason": "other"})


async def test_answer_above_the_size_limit_is_not_kept_in_redis(workspace: Workspace) -> None:
    """An answer longer than `resume.size` is sent in full to its client and then removed from Redis."""
    long = [chunk({"content": "x" * 1000}) for _ in range(400)]
    async with (
        provider(Reply((*long, chunk({}, "stop"), DONE))) as upstream,
        two(workspace, direct_target(upstream.base), "{size: 16KiB}") as (one, other, server),
    ):
        assert (await one.post(**body("chat-1"))).text == "x" * 400_000
        await ended(other, "chat-1")
        async with asyncio.timeout(240):
            while int(await redis_command(server, "DBSIZE")) > 4:  # signs of life and inboxes
                await asyncio.sleep(0.1)


async def test_error_before_the_first_token_reaches_clients_on_other_replicas(workspace: Workspace) -> None:
    """A client that waits at another replica for the first token gets the same 502; afterwards a resume of the chat is an empty 204."""
    slow = "a: {script: [{pause: 1s}, {fail: refused}]}"
    async with two(workspace, slow) as (one, other, _):
        asked = asyncio.create_task(one.post(**body("chat-1")))
        statuses: set[int] = set()
        async with asyncio.timeout(240):
            while not asked.done():
                statuses.add((await resumed(other, "chat-1"))[0])
        assert (await asked).status == 502
        assert statuses == {204, 502}
        async with asyncio.timeout(240):
            while await resumed(other, "chat-1") != (204, b""):
                await asyncio.sleep(0.02)


async def test_answer_in_redis_expires_after_keep(workspace: Workspace) -> None:
    """Nothing of an answer is left in Redis once `resume.keep` is over."""
    async with two(workspace, "a: {script: [{text: Hello}]}", "{keep: 5s}") as (one, other, server):
        whole = await one.post(**body("chat-1"))
        assert await resumed_soon(other, "chat-1") == whole.body
        await ended(other, "chat-1")
        async with asyncio.timeout(240):
            while int(await redis_command(server, "DBSIZE")) > 4:
                await asyncio.sleep(0.02)


async def test_answer_runs_while_a_client_on_another_replica_reads(workspace: Workspace) -> None:
    """An answer whose own client left goes on while a client at another replica reads, and is cancelled when that one leaves."""
    async with (
        provider(Reply(text("Half")[:2], hold=True)) as upstream,
        two(workspace, direct_target(upstream.base), "{keep: 60s}", counts=0.6) as (one, other, _),
    ):
        async with one.session.post(f"{one.base}/api/chat", json=body("chat-1")) as first:
            await first.content.readline()
            second = await found_soon(other, "chat-1")
            await second.content.readline()
            first.close()
        await asyncio.sleep(1.5)  # longer than one word of it counts
        assert upstream.open == 1
        second.close()
        await upstream.until(lambda: upstream.closed == 1)


async def found_soon(client: Client, chat: str) -> aiohttp.ClientResponse:
    """Resume a chat's answer as soon as there is one, and return the open response."""
    async with asyncio.timeout(240):
        while True:
            response = await client.session.get(f"{client.base}/api/chat/{chat}/stream")
            if response.status == 200:
                return response
            response.close()
            await asyncio.sleep(0.01)


@timed
async def test_shutdown_of_a_replica_ends_streams_on_other_replicas_with_an_error(workspace: Workspace) -> None:
    """A replica that shuts down ends the streams of its answers at other replicas within a second, with a restart error."""
    async with (
        provider(Reply(text("Half")[:2], hold=True)) as upstream,
        two(workspace, direct_target(upstream.base)) as (_, other, server),
    ):
        async with (
            replicas(workspace, server, direct_target(upstream.base), count=1) as (one,),
            one.session.post(f"{one.base}/api/chat", json=body("chat-1")) as first,
        ):
            await first.content.readline()
            found = await found_soon(other, "chat-1")
        with within(1):
            lines = parsed_lines(await found.read())
        assert [code for code, _ in lines] == ["0", "3", "d"]
        assert "being restarted" in lines[1][1]["error"]


async def test_replica_without_redis_resumes_its_own_answers(workspace: Workspace) -> None:
    """While Redis is down, an answer is resumed only on its own replica; once Redis is back, on the other one too."""
    async with two(workspace, "a: {script: [{text: Hello}]}") as (one, other, server):
        await server.daemon.kill()
        whole = await one.post(**body("chat-1"))
        assert whole.text == "Hello"
        assert await resumed(one, "chat-1") == (200, whole.body)
        assert await resumed(other, "chat-1") == (204, b"")
        await server.daemon.start()
        # And what was said meanwhile is shared once it is back.
        assert await resumed_soon(other, "chat-1") == whole.body


@timed
@pytest.mark.parametrize("how", ["full", "killed"])
async def test_resume_on_another_replica_does_not_wait_for_a_failed_redis(workspace: Workspace, how: str) -> None:
    """A resume on another replica gives the answer or a 204 within a second if Redis is out of memory or killed."""
    async with two(workspace, "a: {script: [{text: Hello}]}") as (one, other, server):
        whole = await one.post(**body("chat-1"))
        assert await resumed_soon(other, "chat-1") == whole.body
        if how == "full":
            await redis_command(server, "CONFIG", "SET", "maxmemory", "1")
        else:
            await server.daemon.kill()
        with within(1):
            assert await resumed(other, "chat-1") in [(204, b""), (200, whole.body)]
        assert await resumed(one, "chat-1") == (200, whole.body)


async def test_resumed_stream_is_complete_after_redis_restarts_empty(workspace: Workspace) -> None:
    """A stream on another replica has every byte once although Redis lost its data in mid-answer; so has one resumed after the loss."""
    slow = "a: {script: [" + ", ".join(f"{{text: '{word}'}}, {{pause: 30ms}}" for word in WORDS) + "]}"
    async with two(workspace, slow) as (one, other, server):
        asked = asyncio.create_task(one.post(**body("chat-1")))
        viewer = await found_soon(other, "chat-1")
        seen = await viewer.content.readline()
        await server.daemon.kill()
        await server.daemon.start()
        later = asyncio.create_task(resumed_soon(other, "chat-1"))
        whole = (await asked).body
        assert seen + await viewer.read() == whole
        assert await later == whole


async def test_resumed_stream_is_complete_after_redis_paused(workspace: Workspace) -> None:
    """An answer reaches its own client while Redis is paused; the stream on another replica gets the rest afterwards."""
    slow = "a: {script: [" + ", ".join(f"{{text: '{word}'}}, {{pause: 30ms}}" for word in WORDS) + "]}"
    async with two(workspace, slow) as (one, other, server):
        asked = asyncio.create_task(one.post(**body("chat-1")))
        viewer = await found_soon(other, "chat-1")
        seen = await viewer.content.readline()
        server.daemon.pause()
        whole = (await asked).body
        server.daemon.resume()
        assert seen + await viewer.read() == whole


async def test_answer_unreadable_in_redis_cannot_be_resumed_at_another_replica(workspace: Workspace) -> None:
    """Another replica responds to the resume of an answer with 204 if its data in Redis is missing, of another release or type."""
    async with two(workspace, "a: {script: [{text: Hello}]}") as (one, other, server):
        whole = await one.post(**body("chat-1"))
        assert await resumed_soon(other, "chat-1") == whole.body
        (stream,) = [
            name for name in await keys(server) if name.count(":") == 2 and "now" not in name and len(name.rpartition(":")[2]) == 28
        ]
        await redis_command(server, "XTRIM", stream, "MAXLEN", "0")
        assert await resumed(other, "chat-1") == (204, b"")
        await redis_command(server, "DEL", stream)
        head = json.dumps([9, "line", "chat-model", "g", {}])
        await redis_command(server, "XADD", stream, "0-1", "h", head, "r", "somebody")
        assert await resumed(other, "chat-1") == (204, b"")
        await redis_command(server, "SET", stream, "no stream")
        assert await resumed(other, "chat-1") == (204, b"")
        assert (await resumed(one, "chat-1")) == (200, whole.body)


async def test_redis_keys_contain_no_credentials_or_chat_ids(workspace: Workspace) -> None:
    """Redis keys begin with `pointsman:` and contain neither the caller's credentials nor the chat's id."""
    async with two(workspace, "a: {script: [{text: Hello}]}") as (one, _, server):
        headers = {"authorization": "Bearer canary"}
        async with one.session.post(f"{one.base}/api/chat", json=body("chat-canary"), headers=headers) as response:
            await response.read()
        async with asyncio.timeout(240):
            while len(found := await keys(server)) < 3:
                await asyncio.sleep(0.02)
    assert all(name.startswith("pointsman:{") for name in found if name != "pointsman:probe")
    assert "canary" not in " ".join(found)


@timed
async def test_answers_of_a_killed_replica_end_on_another_replica_with_an_error(workspace: Workspace) -> None:
    """The 100 answers of a killed replica end with an error at another replica within 2 s of the kill.
    Those who read along before it and those who resume afterwards get the same bytes: all but the last 32 pieces at most.
    """
    words = [f"word{count} " for count in range(2000)]
    slow = "a: {script: [" + ", ".join(f"{{text: '{word}'}}, {{pause: 20ms}}" for word in words) + "]}"
    async with redis_server() as server, replicas(workspace, server, slow, count=1) as (other,), process(workspace.root) as killed:
        session = other.session
        asked = [await session.post(f"{killed.base}/api/chat", json=body(f"chat-{number}")) for number in range(100)]
        viewers = [await found_soon(other, f"chat-{number}") for number in range(0, 100, 2)]
        await asyncio.sleep(0.5)
        cut = time.monotonic()
        killed.process.kill()
        seen = [await rest(one) for one in asked]
        found = await asyncio.gather(*(read_to_its_end(one) for one in viewers))
        hold(max(at for _, at in found) - cut, 2)
        comers = [await found_soon(other, f"chat-{number}") for number in range(100)]
        late = await asyncio.gather(*(read_to_its_end(one) for one in comers))
        lost: list[int] = []
        for number, (data, _) in enumerate(late):
            lines = parsed_lines(data)
            assert [code for code, _ in lines[-2:]] == ["3", "d"]
            assert lines[-1][1]["finishReason"] == "error"
            assert "gone" in lines[-2][1]["error"]
            said = [value["textDelta"] for code, value in lines if code == "0"]
            assert said == words[: len(said)]
            lost.append(seen[number].count(b"textDelta") - len(said))
        hold(max(lost), 32)  # what had not been written when it was killed is a batch at most, where Redis is as fast as the words
        assert [data for data, _ in found] == [data for data, _ in late[::2]]


async def rest(response: aiohttp.ClientResponse) -> bytes:
    """Return the bytes that arrive before the connection breaks."""
    data = b""
    with suppress(aiohttp.ClientError):
        async for piece in response.content.iter_any():
            data += piece
    response.close()
    return data


async def read_to_its_end(response: aiohttp.ClientResponse) -> tuple[bytes, float]:
    """Return the whole body of a response and the monotonic time of its end."""
    data = await response.read()
    return data, time.monotonic()
