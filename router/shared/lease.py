"""Who does what only one should do: a lease is taken by one, for a while, and is free again when that while is over.

It keeps work from being done twice; it is no lock for what must never be. Who holds one for long extends it, and stops where that
fails: another may have taken it meanwhile.
"""

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from router.shared.redis import Away, Redis, key, milliseconds

FREE = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end return redis.call('DEL', KEYS[1])"
EXTEND = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end return redis.call('PEXPIRE', KEYS[1], ARGV[2])"
"""Both look and act in one step. They are the same text each time, so that Redis compiles them once: all that varies is in ARGV."""


@dataclass(frozen=True, slots=True)
class Lease:
    """One that is held: of what, and the token that only its holder knows."""

    name: str
    token: str


class Leases(Protocol):
    """Where leases are taken."""

    async def take(self, name: str, ttl: float) -> Lease | None:
        """The lease of this name for so many seconds; None while another holds it."""
        ...

    async def extend(self, lease: Lease, ttl: float) -> bool:
        """Hold it for so many seconds from now. False where it is no longer ours."""
        ...

    async def free(self, lease: Lease) -> None:
        """Give it back, if it is still ours."""
        ...


class LocalLeases:
    """Among the requests of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._taken: dict[str, tuple[str, float]] = {}

    async def take(self, name: str, ttl: float) -> Lease | None:
        """The lease, if nobody here holds it."""
        now = self._clock()
        self._taken = {name: held for name, held in self._taken.items() if held[1] > now}
        if name in self._taken:
            return None
        lease = Lease(name, secrets.token_hex(8))
        self._taken[name] = (lease.token, now + ttl)
        return lease

    async def extend(self, lease: Lease, ttl: float) -> bool:
        """Hold it longer."""
        if not self._holds(lease):
            return False
        self._taken[lease.name] = (lease.token, self._clock() + ttl)
        return True

    async def free(self, lease: Lease) -> None:
        """Give it back."""
        self.drop(lease)

    def drop(self, lease: Lease) -> None:
        """Give it back, without waiting for anybody."""
        if self._holds(lease):
            del self._taken[lease.name]

    def _holds(self, lease: Lease) -> bool:
        token, until = self._taken.get(lease.name, ("", 0.0))
        return token == lease.token and until > self._clock()


class RedisLeases:
    """Among all replicas; among the requests of this process while Redis is away. `room`: what its names are told apart by."""

    def __init__(self, redis: Redis, room: str) -> None:
        self._redis = redis
        self._room = room
        self._local = LocalLeases()

    async def take(self, name: str, ttl: float) -> Lease | None:
        """The lease, if no replica holds it."""
        lease = await self._local.take(name, ttl)
        if lease is None:
            return None
        with ExitStack() as undo:
            undo.callback(self._local.drop, lease)
            try:
                taken = await self._redis.ask("SET", self._key(lease), lease.token, "NX", "PX", milliseconds(ttl))
            except Away:
                taken = True
            if taken:
                undo.pop_all()
        return lease if taken else None

    async def extend(self, lease: Lease, ttl: float) -> bool:
        """Hold it longer. One that was taken while Redis was away is held here alone, as long as that lasts."""
        if not await self._local.extend(lease, ttl):
            return False
        try:
            if await self._redis.ask("EVAL", EXTEND, 1, self._key(lease), lease.token, milliseconds(ttl)) == 1:
                return True
            # Redis has been away and has forgotten it, or gave it to another.
            if await self._redis.ask("SET", self._key(lease), lease.token, "NX", "PX", milliseconds(ttl)):
                return True
        except Away:
            return True
        self._local.drop(lease)
        return False

    async def free(self, lease: Lease) -> None:
        """Give it back."""
        self._local.drop(lease)
        try:
            await self._redis.ask("EVAL", FREE, 1, self._key(lease), lease.token)
        except Away:
            return

    def _key(self, lease: Lease) -> str:
        return key(lease.name, self._room)
