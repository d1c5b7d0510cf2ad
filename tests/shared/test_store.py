"""Bytes under a key for a while: the same in this process and in Redis, as far as their promises go."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from router.config.values import Secret
from router.shared import LocalStore, Redis, RedisStore, Store
from tests.redis_cli import said
from tests.services import RedisServer, redis_server

pytestmark = pytest.mark.usefixtures("patient")

KINDS = ["local", "redis"]


@asynccontextmanager
async def store(kind: str) -> AsyncGenerator[tuple[Store, RedisServer | None], None]:
    """One of each kind."""
    if kind == "local":
        yield LocalStore(1000), None
        return
    async with redis_server() as server:
        redis = Redis(Secret(server.url))
        redis.hold()
        yield RedisStore(redis, "test"), server
        await redis.release()


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_put_is_there_for_its_time(kind: str) -> None:
    """As it was put, to the byte; then it is gone."""
    async with store(kind) as (held, _):
        assert await held.get("a") is None
        await held.put("a", b"\x00\xff one", 60)
        await held.put("a", b"\x00\xff two", 60)
        await held.put("b", b"short", 0.05)
        assert await held.get("a") == b"\x00\xff two"
        await held.drop("a")
        assert await held.get("a") is None
        async with asyncio.timeout(3):
            while await held.get("b") is not None:
                await asyncio.sleep(0.01)


async def test_the_local_one_is_bounded_in_bytes() -> None:
    """What was used longest ago goes first; what is larger than all the room is not kept."""
    held = LocalStore(100)
    for name in ("a", "b", "c"):
        await held.put(name, b"x" * 33, 60)
    assert await held.get("a")
    await held.put("d", b"x" * 33, 60)
    assert [await held.get(name) is not None for name in ("a", "b", "c", "d")] == [True, False, True, True]
    await held.put("e", b"x" * 101, 60)
    assert await held.get("e") is None
    assert await held.get("d") is not None


async def test_a_redis_that_is_away_or_holds_something_else_is_an_empty_one() -> None:
    """Neither is an error to whoever asks."""
    async with store("redis") as (held, server):
        assert server is not None
        await said(server, "RPUSH", "pointsman:{a}:test", "x")
        assert await held.get("a") is None
        await held.put("a", b"over it", 60)
        assert await held.get("a") == b"over it"
        await server.daemon.kill()
        await held.put("a", b"lost", 60)
        assert await held.get("a") is None
        await held.drop("a")


async def test_what_is_in_redis_expires_by_itself() -> None:
    """No key is left behind for ever."""
    async with store("redis") as (held, server):
        assert server is not None
        await held.put("a", b"x", 60)
        assert 0 < int(await said(server, "PTTL", "pointsman:{a}:test")) <= 60_000
