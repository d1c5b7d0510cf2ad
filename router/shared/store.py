"""Bytes under a key, for a while, in the Redis that all replicas see."""

from contextlib import suppress

from router.shared.redis import Away, Redis, key, milliseconds


class RedisStore:
    """A room of its own in Redis. What was put there may be gone at any time, and while Redis is away nothing is there, and nothing is
    put: it is for copies of what can be made again.
    """

    def __init__(self, redis: Redis, room: str) -> None:
        self._redis = redis
        self._room = room

    async def get(self, name: str) -> bytes | None:
        """What any replica put under this name; None where there is nothing, or nobody to ask."""
        with suppress(Away):
            value = await self._redis.ask("GET", key(name, self._room))
            return value if isinstance(value, bytes) else None
        return None

    async def put(self, name: str, value: bytes, ttl: float) -> None:
        """Keep it for every replica, for so many seconds at most."""
        with suppress(Away):
            await self._redis.ask("SET", key(name, self._room), value, "PX", milliseconds(ttl))

    async def drop(self, name: str) -> None:
        """Forget it, for every replica."""
        with suppress(Away):
            await self._redis.ask("DEL", key(name, self._room))
