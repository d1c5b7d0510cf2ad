"""RedisStore: bytes under a name for a limited time, read by all replicas."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from router.config.values import Secret
from router.shared import Redis, RedisStore
from tests.shared.conftest import PATIENT
from tests.support.redis_cli import redis_command
from tests.support.services import RedisServer, redis_server


@asynccontextmanager
async def store() -> AsyncGenerator[tuple[RedisStore, RedisServer], None]:
    """Yield a store, and its Redis server."""
    async with redis_server() as server:
        redis = Redis(Secret(server.url), timing=PATIENT)
        await redis.looked_for()
        yield RedisStore(redis, "test"), server
        await redis.close()


async def test_stored_value_is_read_until_it_expires_or_is_dropped() -> None:
    """The newest bytes stored under a name are read back unchanged until they expire or are dropped."""
    async with store() as (held, server):
        assert await held.get("a") is None
        await held.put("a", b"\x00\xff one", 60)
        await held.put("a", b"\x00\xff two", 60)
        await held.put("b", b"short", 0.05)
        assert await held.get("a") == b"\x00\xff two"
        assert 0 < int(await redis_command(server, "PTTL", "pointsman:{a}:test")) <= 60_000
        await held.drop("a")
        assert await held.get("a") is None
        async with asyncio.timeout(240):
            while await held.get("b") is not None:
                await asyncio.sleep(0.01)


async def test_store_reads_as_empty_while_redis_is_away_or_holds_other_data() -> None:
    """The store reads as empty, without an error, while Redis is away or the key holds another type."""
    async with store() as (held, server):
        await redis_command(server, "RPUSH", "pointsman:{a}:test", "x")
        assert await held.get("a") is None
        await held.put("a", b"over it", 60)
        assert await held.get("a") == b"over it"
        await server.daemon.kill()
        await held.put("a", b"lost", 60)
        assert await held.get("a") is None
        await held.drop("a")
