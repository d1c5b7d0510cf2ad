"""Bytes under a key, for a while: in this process, or in the Redis that all replicas see."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from router.shared.redis import Away, Redis, key, milliseconds

Clock = Callable[[], float]


class Store(Protocol):
    """Where bytes are put for a while. What was put may be gone at any time: it is a copy of what can be made again."""

    async def get(self, name: str) -> bytes | None:
        """What was put under this name; None where there is nothing, or nobody to ask."""
        ...

    async def put(self, name: str, value: bytes, ttl: float) -> None:
        """Keep it for so many seconds."""
        ...

    async def drop(self, name: str) -> None:
        """Forget it."""
        ...


class LocalStore:
    """In this process. `size`: bytes of all values; beyond it what was used longest ago goes first."""

    def __init__(self, size: int, clock: Clock = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._held: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    async def get(self, name: str) -> bytes | None:
        """What was put under this name, if its time is not over."""
        until, value = self._held.get(name, (0.0, None))
        if value is None:
            return None
        if until <= self._clock():
            self._forget(name)
            return None
        self._held.move_to_end(name)
        return value

    async def put(self, name: str, value: bytes, ttl: float) -> None:
        """Keep it for so many seconds, or until there is no room. What is larger than all the room is not kept."""
        self._forget(name)
        if len(value) > self._size:
            return
        self._held[name] = (self._clock() + ttl, value)
        self._bytes += len(value)
        while self._bytes > self._size:
            self._forget(next(iter(self._held)))

    async def drop(self, name: str) -> None:
        """Forget it."""
        self._forget(name)

    def _forget(self, name: str) -> None:
        _, value = self._held.pop(name, (0.0, b""))
        self._bytes -= len(value)


class RedisStore:
    """In Redis, below a room's own name. While Redis is away there is nothing in it, and nothing is put."""

    def __init__(self, redis: Redis, room: str) -> None:
        self._redis = redis
        self._room = room

    async def get(self, name: str) -> bytes | None:
        """What any replica put under this name."""
        try:
            value = await self._redis.ask("GET", key(name, self._room))
        except Away:
            return None
        return value if isinstance(value, bytes) else None

    async def put(self, name: str, value: bytes, ttl: float) -> None:
        """Keep it for every replica; Redis forgets it after so many seconds."""
        await self._told("SET", key(name, self._room), value, "PX", milliseconds(ttl))

    async def drop(self, name: str) -> None:
        """Forget it, for every replica."""
        await self._told("DEL", key(name, self._room))

    async def _told(self, *command: str | bytes | int) -> None:
        try:
            await self._redis.ask(*command)
        except Away:
            return
