"""Who does what only one should do."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from router.config.values import Secret
from router.shared import Leases, LocalLeases, Redis, RedisLeases
from tests.services import RedisServer, redis_server

pytestmark = pytest.mark.usefixtures("patient")

KINDS = ["local", "redis"]


@asynccontextmanager
async def two(kind: str) -> AsyncGenerator[tuple[Leases, Leases, RedisServer | None], None]:
    """Two who compete: two replicas, or two requests of one process."""
    if kind == "local":
        held = LocalLeases()
        yield held, held, None
        return
    async with redis_server() as server:
        links = [Redis(Secret(server.url)) for _ in range(2)]
        for link in links:
            link.hold()
            await link.back()
        yield RedisLeases(links[0], "test"), RedisLeases(links[1], "test"), server
        for link in links:
            link.release()
            await link.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_one_of_many_has_it(kind: str) -> None:
    """However many ask at once; when it is given back the next one has it."""
    async with two(kind) as (one, other, _):
        taken = await asyncio.gather(*(who.take("a", 60) for who in (one, other) for _ in range(50)))
        held = [lease for lease in taken if lease is not None]
        assert len(held) == 1
        assert await one.take("b", 60) is not None
        owner = one if held[0] in taken[:50] else other
        await owner.free(held[0])
        again = await other.take("a", 60)
        assert again is not None
        await owner.free(held[0])  # no longer its to give
        assert await one.take("a", 60) is None


@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_free_when_its_time_is_over(kind: str) -> None:
    """Whoever held it is told so, and cannot extend it past another's."""
    async with two(kind) as (one, other, _):
        lease = await one.take("a", 0.2)
        assert lease is not None
        assert await one.extend(lease, 0.3)
        taken = None
        async with asyncio.timeout(3):
            while (taken := await other.take("a", 60)) is None:
                await asyncio.sleep(0.01)
        assert not await one.extend(lease, 60)
        assert await other.extend(taken, 60)


async def test_without_redis_each_process_has_its_own() -> None:
    """One here, one there; and where Redis comes back, one of the two goes on."""
    async with two("redis") as (one, other, server):
        assert server is not None
        await server.daemon.kill()
        mine, yours = await one.take("a", 60), await other.take("a", 60)
        assert mine is not None
        assert yours is not None
        assert await one.take("a", 60) is None
        assert await one.extend(mine, 60)
        await server.daemon.start()
        async with asyncio.timeout(5):
            while (await one.extend(mine, 60)) == (await other.extend(yours, 60)):
                await asyncio.sleep(0.02)
