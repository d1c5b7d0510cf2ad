"""The cache that replicas share through a Redis: cached answers, and answers in progress.

    pointsman:{<key>}:cache     a cached answer
    pointsman:{<key>}:flight    the lease of making it: a replica, and the id of the log in which it offers the answer

A request that finds no answer takes the lease of making it, in the same command. A request that does not get the lease reads that log,
which is written only from then on. No request waits for an unavailable Redis, or fails because of it.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import cast

from router import relay
from router.cache.flight import Flight, Relayed
from router.errors import ReplicaLost
from router.events import Events
from router.shared import Away, Batch, Found, LogEnd, Logs, Redis, RedisStore, new_id
from router.shared.redis import FREE, key, milliseconds
from router.value import Value

ROOM = "cache"
LASTS = 600.0
"""Seconds that a lease and its log last at most. The lease of a lost replica is taken over by the next request."""
OFFERED = 1.5
"""Seconds for which a log can be read after its end, by readers that found its lease before."""

TAKE = """
local kept = KEYS[2] and redis.call('GET', KEYS[2])
if kept then return kept end
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[3] then return {held} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {ARGV[1]}
"""
"""The Redis script that returns the cached answer, else the lease's holder. The asker gets a free lease, or a lost holder's."""


class PickupTiming(Value, frozen=True):
    """Seconds that a request waits, one wait after another, for another replica to begin the log that it offers.

    After each wait that replica's sign of life is checked, and it is asked again. After the last wait it counts as lost.
    """

    waits: tuple[float, ...] = (0.25, 0.25, 0.5)


class Shared(RedisStore):
    """The answer cache in Redis: cached answers, and the leases of making them."""

    def __init__(self, redis: Redis, logs: Logs, pickup: PickupTiming = PickupTiming()) -> None:
        super().__init__(redis, ROOM)
        self.pickup = pickup
        self.logs = logs
        self.freeing: set[asyncio.Task[None]] = set()

    async def look(self, name: str, until: float) -> "bytes | Elsewhere | Lead | None":
        """Return the cached bytes; else an Elsewhere: another replica makes the answer; else a Lead: this replica has the lease to make it.
        None while Redis is unavailable. `until`: when the answer will be over at the latest, by the clock of time.monotonic
        """
        return await self._taken(name, until, "", key(name, ROOM))

    async def take(self, name: str, until: float, gone: str) -> "Elsewhere | Lead | None":
        """Take over the lease with the lost replica's mark `gone`: return its new Lead here, or the Elsewhere that was faster; None as `look`."""
        found = await self._taken(name, until, gone)
        return None if isinstance(found, bytes) else found

    async def _taken(self, name: str, until: float, gone: str, *kept: str) -> "bytes | Elsewhere | Lead | None":
        lead = Lead(self, name, new_id(), LASTS if math.isinf(until) else min(LASTS, max(1.0, until - time.monotonic())))
        keys = (key(name, "flight"), *kept)
        try:
            found = await self._redis.ask("EVAL", TAKE, len(keys), *keys, lead.holder, milliseconds(lead.lasts), gone)
        except Away:
            return None
        except asyncio.CancelledError:
            lead.drop()
            raise
        if isinstance(found, bytes):
            return found
        holder = cast("list[bytes]", found)[0].decode("ascii", "replace")
        return lead if holder == lead.holder else Elsewhere(self, name, holder)

    async def free(self, lead: "Lead") -> None:
        """Release the lease of an answer, if this replica still holds it. While Redis is unavailable the lease runs out by itself."""
        with suppress(Away):
            await self._redis.ask("EVAL", FREE, 1, key(lead.name, "flight"), lead.holder)


class Lead(Value, frozen=True):
    """The lease of making the answer `name`, held by this replica for `lasts` seconds at most. `id`: the log that offers the answer."""

    _shared: Shared
    name: str
    id: str
    lasts: float

    @property
    def holder(self) -> str:
        """Return the value that marks the lease in Redis as this replica's: its id and the log's id."""
        return f"{self._shared.logs.id} {self.id}"

    def offer(self, flight: Flight) -> None:
        """Offer this answer to other replicas from now on, for as long as the lease lasts; returns at once."""
        source = Relayed(flight)
        source.news = self._shared.logs.offer(self.name, self.id, source, lasts=self.lasts).news

    async def free(self) -> None:
        """Release the lease once the call has ended. The log of the answer can be read for OFFERED seconds more."""
        asyncio.get_running_loop().call_later(OFFERED, self._shared.logs.withdraw, self.id)
        await self._shared.free(self)

    def drop(self) -> None:
        """Release the lease of an answer that was not made, in the background; returns at once."""
        task = asyncio.create_task(self._shared.free(self))
        self._shared.freeing.add(task)
        task.add_done_callback(self._shared.freeing.discard)


class Elsewhere(Value, frozen=True):
    """The handle of an answer that another replica makes. `holder`: that replica's mark on the lease."""

    _shared: Shared
    name: str
    holder: str

    async def follow(self) -> Events:
        """Yield the answer's events from the other replica's log. Raises the error that ended the answer there without a final event.
        ReplicaLost if the log stops without an end, Away if Redis is unavailable.
        """
        replica, _, number = self.holder.partition(" ")
        found = Found(self.name, number, replica)
        async with aclosing(self._shared.logs.read(found)) as log:
            await self._begun(log, found)
            if not await self._shared.logs.ask_again(found):
                raise ReplicaLost  # a log may outlive the replica that wrote it
            async with aclosing(relay.events_of(log)) as batches:
                async for events in batches:
                    for event in events:
                        yield event

    async def _begun(self, log: AsyncGenerator[Batch | LogEnd, None], found: Found) -> None:
        """Wait until the log has its first entry. ReplicaLost if it gets none within `PickupTiming`, or its replica is not alive."""
        first = asyncio.ensure_future(anext(log))
        try:
            for wait in self._shared.pickup.waits:
                if (await asyncio.wait([first], timeout=wait))[0]:
                    first.result()
                    return
                if not await self._shared.logs.ask_again(found):
                    break
            raise ReplicaLost
        finally:
            first.cancel()
            await asyncio.wait([first])  # it lets the log go before that is closed

    async def over(self, until: float) -> "Elsewhere | Lead | None":
        """Take over the lease after the other replica was lost: return it, or the replica that has it by now; None while Redis is away."""
        return await self._shared.take(self.name, until, self.holder)
