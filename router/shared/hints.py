"""Open circuit breakers, shared between replicas. A hint only lowers the priority of a target; each replica's own breaker decides.

pointsman:{<target>}:breaker    there while a replica's breaker is open, and a little longer
"""

import asyncio
from contextlib import suppress

from router.shared.redis import Away, Redis, key, milliseconds

POLL_INTERVAL_S = 1.0
"""Seconds between two reads. The hints of all targets are read in one go."""
GRACE_S = 1.5
"""Seconds that a hint stays after the breaker's open time: until the replica that probes the target has published the result."""


class BreakerHint:
    """The hint, shared through Redis, that some replica's circuit breaker of one target is open. `until`: when it ends, in loop time."""

    def __init__(self, hints: "Hints", name: str) -> None:
        self._hints = hints
        self.key = key(name, "breaker")
        self.until = 0.0

    @property
    def warned(self) -> bool:
        """True while some replica's breaker of the target is open, this one's included, and GRACE_S longer. Read from Redis once a second.
        A replica whose breaker closes withdraws the hint for all replicas.
        """
        return asyncio.get_running_loop().time() < self.until

    def publish(self, seconds: float) -> None:
        """Publish in the background that the breaker is open for `seconds`; 0 withdraws that. Nothing is sent while Redis is away."""
        self._hints.send(("SET", self.key, 1, "PX", milliseconds(seconds + GRACE_S)) if seconds > 0 else ("DEL", self.key))


class Hints:
    """The breaker hints about all targets that this process asks; one task reads all of them every second."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._hints: dict[str, BreakerHint] = {}
        self._looking: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def of(self, name: str) -> BreakerHint:
        """Return the hint about one target, made at the first call. Replicas use the same name for the same target."""
        return self._hints.setdefault(name, BreakerHint(self, name))

    def keep(self, names: set[str]) -> None:
        """Keep the hints of the targets with these names, and drop all others: those targets are not declared any more."""
        self._hints = {name: hint for name, hint in self._hints.items() if name in names}

    def start(self) -> None:
        """Start to read the hints of other replicas, in the background."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Stop reading hints, and cancel own hints that are still being sent."""
        for task in filter(None, (*self._sending, self._looking)):
            task.cancel()
            await asyncio.wait([task])

    def send(self, command: tuple[str | int, ...]) -> None:
        """Send a command to Redis in the background, and return at once. Without effect while Redis is away."""
        task = asyncio.create_task(self._sent(command))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _look(self) -> None:
        while not self._redis.closed:
            hints = list(self._hints.values())
            with suppress(Away):
                await self._redis.back()
                lasting = await self._redis.ask_all([("PTTL", hint.key) for hint in hints]) if hints else []
                for hint, left in zip(hints, lasting, strict=True):  # in milliseconds; a number below zero where there is no hint
                    hint.until = asyncio.get_running_loop().time() + (left / 1000 if isinstance(left, int) else 0.0)
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _sent(self, command: tuple[str | int, ...]) -> None:
        with suppress(Away):
            await self._redis.ask(*command)
