"""Request coalescing across replicas: identical concurrent requests at two replicas share one call to the provider."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import aiohttp
import pytest

from router.cache import PickupTiming
from router.config import declare, read
from router.generation import Ground, build
from router.shared import Logs, RedisTiming
from router.value import replace
from tests.answering.test_cache import BODY, CACHED, asked, how, kept_in, running
from tests.conftest import Answered, Client, Workspace, direct_target, parsed_lines, routes, serving
from tests.support.process import process
from tests.support.promises import timed, within
from tests.support.provider import Reply, chunk, provider, text
from tests.support.redis_cli import keys, redis_command, until
from tests.support.services import RedisServer, redis_server
from tests.wire.readers import READERS

ONCE = "targets: [a]\n    retry: {attempts: 1}\n    rescue: fail\n    cache: {ttl: 1h}"
OPEN = (chunk({"content": "Half "}),)
WHOLE = (*OPEN, *text("an answer"))


GROWING = (*(2.0**number for number in range(-2, 6)), 240.0)
PATIENT = Ground(redis=RedisTiming(limit=1.0), pickup=PickupTiming(GROWING))
"""Long time limits, so that a busy test machine does not look like a Redis or a replica that is gone."""


@asynccontextmanager
async def replicas(
    workspace: Workspace, server: RedisServer, base: str, route: str = CACHED, count: int = 2, *, ground: Ground = PATIENT
) -> AsyncGenerator[list[Client], None]:
    """Run `count` routers with the same configuration and one shared Redis, and yield their clients."""
    workspace.write("routes.yaml", routes(direct_target(base), route, f"server: {{redis: '{server.url}'}}\n"))
    async with AsyncExitStack() as open_ones:
        yield [await open_ones.enter_async_context(serving(workspace.build(ground))) for _ in range(count)]


async def begun(client: Client) -> aiohttp.ClientResponse:
    """Ask a question and return its response once the first text has arrived."""
    response = await client.session.post(f"{client.base}/api/chat", json=BODY)
    async with asyncio.timeout(240):
        assert b"Half" in await response.content.readline()
    return response


async def named(server: RedisServer, kind: str) -> list[str]:
    """Return the Redis keys of leases (`flight`), of cached answers (`cache`) or of answer logs for other replicas (`log`)."""
    return [name for name in await keys(server) if name.endswith(f":{kind}") or (kind == "log" and len(name.rpartition(":")[2]) == 28)]


async def there(server: RedisServer, kind: str, count: int = 1) -> None:
    """Wait until Redis holds exactly this number of keys of this kind."""
    async with asyncio.timeout(240):
        while len(await named(server, kind)) != count:
            await asyncio.sleep(0.01)


async def test_100_identical_requests_at_two_replicas_make_one_upstream_call(workspace: Workspace) -> None:
    """All of 100 requests at two replicas get the same answer from one call (one miss, 99 shared), and every key in Redis expires."""
    gate = asyncio.Event()
    async with (
        provider(Reply(WHOLE, gate=gate)) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base) as clients,
    ):
        asking = [asyncio.create_task(asked(clients[number % 2])) for number in range(100)]
        for client in clients:
            await running(client, 50)
        await there(server, "log")
        gate.set()
        answers = await asyncio.gather(*asking)
        assert len(fake.requests) == 1
        assert {answer.status for answer in answers} == {200}
        assert {answer.text for answer in answers} == {"Half an answer"}
        assert len({answer.body for answer in answers}) == 1
        assert Counter(how(answer) for answer in answers) == {"miss": 1, "shared": 99}
        await there(server, "flight", 0)
        await kept_in(server, 1)
        for name in await named(server, "log"):
            assert 0 < int(await redis_command(server, "PTTL", name)) <= 10_000
        assert min([int(await redis_command(server, "PTTL", name)) for name in await keys(server)]) > 0
        assert {how(await asked(client)) for client in clients} == {"hit"}


async def test_busy_replica_is_not_given_up_by_its_followers(workspace: Workspace) -> None:
    """Replicas under load make one call for each of 100 questions: a follower waits for a slow replica instead of calling itself."""
    often = replace(PATIENT, pickup=PickupTiming((0.01, 0.02, 0.04, 0.08, 0.16, *GROWING)))
    gate = asyncio.Event()
    async with (
        provider(Reply(WHOLE, gate=gate)) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base, f"{CACHED}\n    timeout: {{first_token: 240s, idle: 240s}}", ground=often) as clients,
    ):
        questions = [{**BODY, "messages": [{"role": "user", "content": str(number)}]} for number in range(100)]
        asking = [asyncio.create_task(asked(client, said=question)) for question in questions for client in clients]
        for client in clients:
            await running(client, 100)
        await there(server, "log", 100)
        gate.set()
        assert {answer.text for answer in await asyncio.gather(*asking)} == {"Half an answer"}
        assert len(fake.requests) == 100


async def test_unshared_answer_is_not_logged_to_redis(workspace: Workspace) -> None:
    """An answer that no other replica follows writes no answer log to Redis, only its lease and the cached answer."""
    gate = asyncio.Event()
    async with (
        provider(Reply(WHOLE, gate=gate)) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base) as (one, _),
    ):
        response = await begun(one)
        (lease,) = await named(server, "flight")
        assert 0 < int(await redis_command(server, "PTTL", lease)) <= 600_000
        assert await named(server, "log") == []
        gate.set()
        await response.read()
        await kept_in(server, 1)
        await there(server, "flight", 0)
        assert await named(server, "log") == []
        stats = dict(line.split(":") for line in (await redis_command(server, "INFO", "commandstats")).splitlines() if ":" in line)
        assert "calls=2," in stats["cmdstat_eval"]
        assert "cmdstat_xadd" not in stats


async def test_follower_on_another_replica_gets_the_answer_from_its_start(workspace: Workspace) -> None:
    """Followers on other replicas get text while it is generated; a late one gets the whole answer, in the wire of its request."""
    gate = asyncio.Event()
    async with (
        provider(Reply(WHOLE, gate=gate)) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base, count=3) as (one, other, third),
    ):
        first, second = await begun(one), await begun(other)
        assert [answer.headers["x-router-cache"] for answer in (first, second)] == ["miss", "shared"]
        late = asyncio.create_task(asked(third, "/api/chat?protocol=ui-message-stream"))
        await running(third, 1)
        gate.set()
        assert b"an answer" in await first.read()
        assert b"an answer" in await second.read()
        assert READERS["ui-message-stream"]((await late).body).text == "Half an answer"
        assert len(fake.requests) == 1


async def test_shared_call_goes_on_while_another_replica_follows(workspace: Workspace) -> None:
    """A call goes on and is cached after all clients of its own replica disconnect, as long as another replica follows."""
    gate = asyncio.Event()
    async with (
        provider(Reply(WHOLE, gate=gate)) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base) as (one, other),
    ):
        first, second = await begun(one), await begun(other)
        first.close()
        await running(one, 0)
        assert fake.open == 1
        gate.set()
        assert b"an answer" in await second.read()
        await kept_in(server, 1)
        assert how(await asked(one)) == "hit"
        assert len(fake.requests) == 1


@pytest.mark.parametrize("last", ["one", "other"])
async def test_shared_call_is_cancelled_when_its_last_follower_disconnects(workspace: Workspace, last: str) -> None:
    """The provider's connection is closed and the lease removed when the last client disconnects, at whichever replica."""
    patient = replace(PATIENT, logs=partial(Logs, hold=600))  # that a reader has left is told, not waited for
    async with (
        provider(Reply(OPEN, hold=True)) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base, ground=patient) as (one, other),
    ):
        first, second = await begun(one), await begun(other)
        for response in (second, first) if last == "one" else (first, second):
            assert fake.open == 1
            response.close()
        await fake.until(lambda: fake.open == 0)
        await there(server, "flight", 0)
        assert len(fake.requests) == 1


async def spent(clients: list[Client]) -> Counter[str]:
    """Return the sums of the token and attempt metrics of all these routers."""
    counted: Counter[str] = Counter()
    for client in clients:
        for line in (await client.get("/metrics")).body.decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name.startswith(("router_tokens_total", "router_attempts_total")):
                counted[name] += int(float(value))
    return counted


@pytest.mark.parametrize("leaves", [False, True])
async def test_shared_call_counts_tokens_and_attempts_once(workspace: Workspace, leaves: bool) -> None:
    """The metrics of both replicas together count tokens and attempts of a shared call once, even if its first client leaves."""
    gate = asyncio.Event()
    async with (
        provider(Reply(WHOLE, gate=gate)) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base) as (one, other),
    ):
        first, *others = await begun(one), await begun(other), await begun(other)
        if leaves:
            first.close()
            await running(one, 0)
        gate.set()
        for response in others if leaves else (first, *others):
            await response.read()
        for client in (one, other):
            await running(client, 0)
        assert await spent([one, other]) == {
            'router_tokens_total{direction="input",route="chat-model"}': 11,
            'router_tokens_total{direction="output",route="chat-model"}': 3,
            'router_attempts_total{outcome="ok",target="a"}': 1,
        }


async def test_failure_after_the_first_token_reaches_followers_on_other_replicas(workspace: Workspace) -> None:
    """A call that breaks off ends the stream with the same error at both replicas and is not cached: the next request is a miss."""
    gate = asyncio.Event()
    script = [Reply((*OPEN, chunk({"content": "an"})), gate=gate, drop=True), Reply(text("Whole"))]
    async with (
        provider(*script) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base, ONCE) as (one, other),
    ):
        cut = await begun(one), await begun(other)
        gate.set()
        for response in cut:
            code, failure = parsed_lines(await response.read())[-2]
            assert (code, failure["error"].partition(" (")[0]) == ("3", "The model's answer broke off. Please try again.")
        again = await asked(other)
        assert (how(again), again.text) == ("miss", "Whole")
        assert len(fake.requests) == 2


async def test_failure_before_the_first_token_reaches_followers_on_other_replicas(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """A timeout before the first token is a 504 with the same message at both replicas, and only one of them logs the attempt."""
    route = ONCE.replace("rescue: fail", "rescue: fail\n    timeout: {first_token: 4s}")
    async with (
        provider(Reply(hold=True), Reply(text("Whole"))) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base, route) as (one, other),
    ):
        with caplog.at_level(logging.INFO, "router.access"):
            first = asyncio.create_task(asked(one))
            await until(lambda: len(fake.requests) == 1)
            second = asyncio.create_task(asked(other))
            await there(server, "log")
            answers = await asyncio.gather(first, second)
        assert [answer.status for answer in answers] == [504, 504]
        assert len({answer.json["error"].partition(" (")[0] for answer in answers}) == 1
        told = [record.__dict__["fields"]["attempts"] for record in caplog.records if record.name == "router.access"]
        assert sorted(len(attempts) for attempts in told) == [0, 1]
        assert how(await asked(other)) == "miss"
        assert len(fake.requests) == 2


async def test_call_is_not_shared_with_another_caller_or_with_no_store_or_no_cache(workspace: Workspace) -> None:
    """A request of another caller, with `no-store` or with `no-cache` makes its own call beside the one in flight."""
    gate = asyncio.Event()
    async with (
        provider(Reply(WHOLE, gate=gate)) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base) as (one, other),
    ):
        first = await begun(one)
        others: list[asyncio.Task[Answered]] = []
        for name, value in (("authorization", "Bearer other"), ("cache_control", "no-store"), ("cache_control", "no-cache")):
            others.append(asyncio.create_task(asked(other, **{name: value})))  # pyright: ignore[reportArgumentType]
            await until(lambda: len(fake.requests) == 1 + len(others))
        assert await named(server, "log") == []
        gate.set()
        await first.read()
        assert [how(await one) for one in others] == ["miss", "miss", "bypass"]


@pytest.mark.parametrize("spoke", [False, True])
async def test_followers_of_a_killed_replica_ask_again_or_get_an_error(workspace: Workspace, spoke: bool) -> None:
    """Followers of a killed replica share a new call if no text has come; after the first text their stream ends with an error."""
    gate = asyncio.Event()
    script = [Reply(OPEN if spoke else (), hold=True), Reply(WHOLE, gate=gate)]
    async with (
        provider(*script) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base) as (one, other),
        process(workspace.root) as killed,
    ):
        lost = asyncio.create_task(killed.post("/api/chat", BODY))
        await until(lambda: len(fake.requests) == 1)
        reading = [begun(one), begun(other)] if spoke else []
        responses = await asyncio.gather(*reading)
        asking = [] if spoke else [asyncio.create_task(asked(client)) for client in (one, other)]
        await there(server, "log")
        for client in (one, other):
            await running(client, 1)
        killed.process.kill()
        with pytest.raises(aiohttp.ClientError):
            await lost
        if spoke:
            for response in responses:
                lines = parsed_lines(await response.read())
                assert [code for code, _ in lines[-2:]] == ["3", "d"]
                assert "is gone" in lines[-2][1]["error"]
            asking = [asyncio.create_task(asked(client)) for client in (one, other)]
        await until(lambda: len(fake.requests) == 2)
        await there(server, "log", 2)
        gate.set()
        answers = await asyncio.gather(*asking)
        assert {answer.text for answer in answers} == {"Half an answer"}
        assert Counter(how(answer) for answer in answers) == {"miss": 1, "shared": 1}
        assert len(fake.requests) == 2


@pytest.mark.parametrize("spoke", [False, True])
async def test_follower_of_a_stopping_replica_asks_again_before_the_first_text(workspace: Workspace, spoke: bool) -> None:
    """A follower of a replica that shuts down makes its own call if no text has come; otherwise its stream ends with an error."""
    script = [Reply(OPEN if spoke else (), hold=True), Reply(text("Whole"))]
    async with provider(*script) as fake, redis_server() as server, replicas(workspace, server, fake.base, count=1) as (other,):
        async with serving(workspace.build()) as one:
            first = asyncio.create_task(asked(one))
            await until(lambda: len(fake.requests) == 1)
            second = asyncio.create_task(begun(other) if spoke else asked(other))
            await there(server, "log")
            response = await second if spoke else None
            first.cancel()
        if isinstance(response, aiohttp.ClientResponse):
            lines = parsed_lines(await response.read())
            assert [code for code, _ in lines] == ["3", "d"]
            assert "being restarted" in lines[0][1]["error"]
        else:
            whole = await second
            assert not isinstance(whole, aiohttp.ClientResponse)
            assert (how(whole), whole.text) == ("miss", "Whole")


@timed
async def test_stale_lease_is_taken_over_after_the_pickup_time(workspace: Workspace) -> None:
    """A lease in Redis whose replica does not respond is taken over within a second, and the request is answered as a miss."""
    often = replace(PATIENT, pickup=PickupTiming((0.2, *GROWING)))
    gate = asyncio.Event()
    async with (
        provider(Reply(text("Hi")), Reply(WHOLE, gate=gate)) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base, ground=often) as (one, other),
    ):
        await asked(one)
        await kept_in(server, 1)
        (answer,) = await named(server, "cache")
        await there(server, "flight", 0)
        await redis_command(server, "DEL", answer)
        await redis_command(server, "SET", answer.replace(":cache", ":flight"), "nobody 0123", "PX", "60000")
        with within(1):
            first = await begun(other)
        assert first.headers["x-router-cache"] == "miss"
        assert (await redis_command(server, "GET", answer.replace(":cache", ":flight"))) != "nobody 0123"
        gate.set()
        await first.read()
        assert len(fake.requests) == 2


@timed
async def test_replicas_without_redis_make_their_own_calls(workspace: Workspace) -> None:
    """While Redis does not respond, each replica makes its own call, and a waiting follower does so within three seconds."""
    brief = replace(PATIENT, redis=RedisTiming())
    gate = asyncio.Event()
    async with (
        provider(Reply((), hold=True), Reply(WHOLE, gate=gate)) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base, ground=brief) as (one, other),
    ):
        first = asyncio.create_task(asked(one))
        await until(lambda: len(fake.requests) == 1)
        second = asyncio.create_task(asked(other))
        await there(server, "log")
        server.daemon.pause()
        try:
            with within(3):
                await until(lambda: len(fake.requests) == 2)
            first.cancel()
            third = asyncio.create_task(asked(one, authorization="Bearer other"))
            await until(lambda: len(fake.requests) == 3)
            gate.set()
            assert [(answer.status, answer.text) for answer in (await second, await third)] == [(200, "Half an answer")] * 2
        finally:
            server.daemon.resume()


async def test_follower_gets_the_whole_answer_after_redis_restarts_empty(workspace: Workspace) -> None:
    """A follower on another replica gets every text once, although Redis lost its data in the middle of the answer."""
    gate = asyncio.Event()
    async with (
        provider(Reply(WHOLE, gate=gate)) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base) as (one, other),
    ):
        first, second = await begun(one), await begun(other)
        await server.daemon.kill()
        await server.daemon.start()
        gate.set()
        rest = await first.read()
        assert await second.read() == rest
        assert len(fake.requests) == 1


async def test_follower_gets_an_answer_that_is_too_long_to_cache(workspace: Workspace) -> None:
    """A follower on another replica gets the whole of an answer too long to cache, while Redis holds only its last part."""
    gate, piece = asyncio.Event(), "a word or two of it " * 5
    script = Reply((*OPEN, *[chunk({"content": piece})] * 20_000, *text("end")), gate=gate)
    async with (
        provider(script) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base) as (one, other),
    ):
        first, second = await begun(one), await begun(other)
        first.close()
        await running(one, 0)
        gate.set()
        whole = b"0:" + (await second.read())
        assert whole.count(piece.encode()) == 20_000
        assert b'"finishReason":"stop"' in whole
        assert len(fake.requests) == 1
        await there(server, "flight", 0)
        assert await named(server, "cache") == []
        (log,) = await named(server, "log")
        assert int(await redis_command(server, "XLEN", log)) < 400
        assert 0 < int(await redis_command(server, "PTTL", log)) <= 10_000


async def test_shared_call_survives_a_reload_of_its_replica(workspace: Workspace) -> None:
    """A shared call goes on for its follower on another replica after its own replica has loaded an edited configuration."""
    gate = asyncio.Event()
    async with (
        provider(Reply(WHOLE, gate=gate)) as fake,
        redis_server() as server,
        replicas(workspace, server, fake.base) as (one, other),
    ):
        first, second = await begun(one), await begun(other)
        content = (workspace.root / "routes.yaml").read_text(encoding="utf-8")
        workspace.write("routes.yaml", content.replace("ttl: 1h", "ttl: 2h"))
        live = one.edge.live
        live.swap(build(declare(read(workspace.root / "routes.yaml"), {}), live.generation.kept))
        third = await begun(one)
        first.close()
        gate.set()
        assert b"an answer" in await second.read()
        assert b"an answer" in await third.read()
        assert len(fake.requests) == 1
