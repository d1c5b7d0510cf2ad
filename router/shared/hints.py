"""What replicas tell each other of targets: that one leaves it alone just now. A hint, no verdict: the others ask it after those they know
nothing against, and find out for themselves.

    pointsman:{<target>}:breaker    there while a replica's breaker is open, and a little longer
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress

from router.shared.redis import Away, Redis, key, milliseconds

EVERY = 1.0
"""Seconds between two looks. All targets are looked for in one go."""
LONGER = 1.5
"""Seconds a hint stays beyond the time that a target is left alone for: until whoever probes it then has told what came of it."""


class Hint:
    """What is known of one target."""

    def __init__(self, hints: "Hints", name: str) -> None:
        self._hints = hints
        self._key = key(name, "breaker")
        self._until = 0.0

    @property
    def warned(self) -> bool:
        """Whether a replica leaves it alone, as far as is known here."""
        return asyncio.get_running_loop().time() < self._until

    def tell(self, seconds: float) -> None:
        """It is left alone here for so long; with 0, no longer. Nobody waits for that."""
        if seconds > 0:
            self._hints.send(("SET", self._key, 1, "PX", milliseconds(seconds + LONGER)))
        else:
            self._hints.send(("DEL", self._key))

    def asks(self) -> tuple[str, str]:
        """The command that tells how long it is warned of, in milliseconds."""
        return "PTTL", self._key

    def hears(self, answer: object) -> None:
        """What Redis said to that."""
        left = answer if isinstance(answer, int) and answer > 0 else 0
        self._until = asyncio.get_running_loop().time() + left / 1000


class Hints:
    """Those of all targets that this process asks."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._hints: dict[str, Hint] = {}
        self._looking: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def of(self, name: str) -> Hint:
        """That of one target. Replicas call the same one by the same name."""
        return self._hints.setdefault(name, Hint(self, name))

    def keep(self, names: set[str]) -> None:
        """Forget all but these: no other is declared any more."""
        self._hints = {name: hint for name, hint in self._hints.items() if name in names}

    def start(self) -> None:
        """Look for them from now on, in the background."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Look no more."""
        for task in (*self._sending, *([self._looking] if self._looking else [])):
            task.cancel()
            await asyncio.wait([task])

    def send(self, command: tuple[str | int, ...]) -> None:
        """Have Redis told, if it is there."""
        task = asyncio.create_task(_told(self._redis.ask(*command)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _look(self) -> None:
        while not self._redis.closed:
            hints = list(self._hints.values())
            with suppress(Away):
                await self._redis.back()
                answers = await self._redis.ask_all([hint.asks() for hint in hints]) if hints else []
                for hint, answer in zip(hints, answers, strict=True):
                    hint.hears(answer)
            await asyncio.sleep(EVERY)


async def _told(asked: Coroutine[object, object, object]) -> None:
    with suppress(Away):
        await asked
