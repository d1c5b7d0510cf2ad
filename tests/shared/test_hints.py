"""Hints between replicas that a target's circuit breaker is open, over a real Redis."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from router.config.values import Secret
from router.shared import Hints, Redis
from router.shared.redis import key
from tests.conftest import Client, Workspace, direct_target, routes, serving
from tests.shared.conftest import PATIENT
from tests.support.provider import Provider, Reply, error, provider, text
from tests.support.redis_cli import keys, redis_command
from tests.support.services import RedisServer, redis_server


@asynccontextmanager
async def replica(server: RedisServer) -> AsyncGenerator[tuple[Hints, Redis], None]:
    """Yield the hints of one replica, and its connection to Redis."""
    redis = Redis(Secret(server.url), timing=PATIENT)
    redis.hold()
    await redis.looked_for()
    hints = Hints(redis)
    hints.start()
    try:
        yield hints, redis
    finally:
        redis.release()
        await redis.close()
        await hints.close()


async def until(true: Callable[[], bool]) -> None:
    """Wait until the condition is true, for 240 s at most."""
    async with asyncio.timeout(240):
        while not true():
            await asyncio.sleep(0.01)


async def test_hint_of_an_open_breaker_reaches_other_replicas_until_it_expires() -> None:
    """A published hint warns other replicas about its target alone until it expires or is withdrawn, and then leaves no key in Redis."""
    async with redis_server() as server, replica(server) as (here, _), replica(server) as (there, _):
        other, stranger = there.of("a"), there.of("b")
        here.of("a").publish(30)
        await until(lambda: other.warned)
        assert not stranger.warned
        assert 28_000 < int(await redis_command(server, "PTTL", key("a", "breaker"))) <= 31_500
        here.of("a").publish(0)
        await until(lambda: not other.warned)
        here.of("a").publish(0.1)
        await until(lambda: other.warned)
        await until(lambda: not other.warned)
        assert await keys(server) == ["pointsman:probe"] or not await keys(server)


async def test_hint_published_while_redis_is_away_reaches_no_replica() -> None:
    """A hint that is published while Redis is away reaches no replica; one that is published after its return does."""
    async with redis_server() as server, replica(server) as (here, redis), replica(server) as (there, _):
        await server.daemon.kill()
        here.of("a").publish(30)
        await until(lambda: not redis.here)
        assert not there.of("a").warned
        await server.daemon.start()
        await redis.back()
        here.of("a").publish(30)
        await until(lambda: there.of("a").warned)


def declared(server: RedisServer, one: Provider, other: Provider) -> str:
    """Return routes with the targets a and b in order, whose breakers open for 20 s after one failure."""
    targets = direct_target(one.base, "a") + direct_target(other.base, "b")
    route = "targets: [a, b]\n    retry: {attempts: 1}\n    breaker: {failures: 1, within: 30s, open: 20s}"
    return routes(targets, route, f"server: {{redis: '{server.url}'}}\n")


async def test_target_with_an_open_breaker_at_one_replica_is_asked_last_by_another(workspace: Workspace) -> None:
    """A target whose breaker is open at one replica is asked by another replica only after the other targets have failed."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(redis_server())
        sick = await stack.enter_async_context(provider(error(503)))
        well = await stack.enter_async_context(provider(Reply(text("From b"))))
        workspace.write("routes.yaml", declared(server, sick, well))
        one: Client = await stack.enter_async_context(serving(workspace.build()))
        other_generation = workspace.build()
        other: Client = await stack.enter_async_context(serving(other_generation))
        assert (await one.ask()).text == "From b"
        assert len(sick.requests) == 1
        health = next(fared for (name, *_), (_, fared) in other_generation.kept.health.items() if name == "a")
        await until(lambda: health.breaker.hint.warned)
        assert (await other.ask()).text == "From b"
        assert len(sick.requests) == 1
        sick.script, well.script = [Reply(text("From a"))], [error(503)]
        assert (await other.ask()).text == "From a", "a hint closes nothing"
