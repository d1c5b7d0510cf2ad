"""Bytes under a name, for a limited time, in the Redis that all replicas share."""

from contextlib import suppress

from router.shared.redis import Away, Redis, key, milliseconds


class RedisStore:
    """A namespace in the Redis that all replicas share, for copies of data that can be made again. `room`: the last part of its keys.
    An entry may be gone at any time. While Redis is away, reads find nothing and writes do nothing.
    """

    def __init__(self, redis: Redis, room: str) -> None:
        self._redis = redis
        self._room = room

    async def get(self, name: str) -> bytes | None:
        """Return the bytes that any replica put under this name; None if there are none, or Redis is away."""
        with suppress(Away):
            value = await self._redis.ask("GET", key(name, self._room))
            return value if isinstance(value, bytes) else None
        return None

    async def put(self, name: str, value: bytes, ttl: float) -> None:
        """Store bytes for every replica, for `ttl` seconds at most; nothing is stored while Redis is away."""
        with suppress(Away):
            await self._redis.ask("SET", key(name, self._room), value, "PX", milliseconds(ttl))

    async def claim(self, name: str, ttl: float) -> bool:
        """Claim a name for `ttl` seconds. Return False if it is claimed already, by any replica; else True, also while Redis is away."""
        with suppress(Away):
            return await self._redis.ask("SET", key(name, self._room), b"claimed", "NX", "PX", milliseconds(ttl)) is not None
        return True

    async def drop(self, name: str) -> None:
        """Delete the entry, for every replica; while Redis is away it stays until its time is over."""
        with suppress(Away):
            await self._redis.ask("DEL", key(name, self._room))
