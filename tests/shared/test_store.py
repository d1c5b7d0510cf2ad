"""Bytes under a key for a while, in Redis, as far as its promises go."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from router.config.values import Secret
from router.shared import Redis, RedisStore
from tests.shared.conftest import PATIENT
from tests.support.redis_cli import said
from tests.support.services import RedisServer, redis_server


@asynccontextmanager
async def store() -> AsyncGenerator[tuple[RedisStore, RedisServer], None]:
    """One, and its Redis."""
    async with redis_server() as server:
        redis = Redis(Secret(server.url), timing=PATIENT)
        await redis.looked_for()
        yield RedisStore(redis, "test"), server
        await redis.close()


async def test_stored_value_is_there_for_its_time() -> None:
    """As it was put, to the byte; then it is gone. No key is left behind for ever."""
    async with store() as (held, server):
        assert await held.get("a") is None
        await held.put("a", b"\x00\xff one", 60)
        await held.put("a", b"\x00\xff two", 60)
        await held.put("b", b"short", 0.05)
        assert await held.get("a") == b"\x00\xff two"
        assert 0 < int(await said(server, "PTTL", "pointsman:{a}:test")) <= 60_000
        await held.drop("a")
        assert await held.get("a") is None
        async with asyncio.timeout(240):
            while await held.get("b") is not None:
                await asyncio.sleep(0.01)


async def test_store_reads_as_empty_while_redis_is_away_or_holds_other_data() -> None:
    """Neither is an error to the caller."""
    async with store() as (held, server):
        await said(server, "RPUSH", "pointsman:{a}:test", "x")
        assert await held.get("a") is None
        await held.put("a", b"over it", 60)
        assert await held.get("a") == b"over it"
        await server.daemon.kill()
        await held.put("a", b"lost", 60)
        assert await held.get("a") is None
        await held.drop("a")
