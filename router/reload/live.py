"""The generation that answers now, and the end of those that answered before it."""

import asyncio
import time

from router.generation import Generation
from router.targets import close_lanes


class Live:
    """The generation that serves new requests. Closes an old generation once no request holds it."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        """The generation that new requests get."""
        self.since = time.time()
        """Time at which that generation began to serve, in seconds since 1970."""
        self._ready = False
        self._former = 0
        """The number of old generations that are not closed yet."""
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """True once a serving generation has been ready (warmed up), and from then on: a new slow target does not delay the others."""
        self._ready = self._ready or self.generation.ready
        return self._ready

    @property
    def alive(self) -> int:
        """The number of generations not closed yet: the one that serves, those that a request holds, and those that are closing."""
        return 1 + self._former

    def swap(self, generation: Generation) -> None:
        """Serve new requests with this generation; it is not started here. The old one is closed once no request holds it."""
        old, self.generation = self.generation, generation
        self.since = time.time()
        self._former += 1
        old.retire(self._close_later)

    async def close(self) -> None:
        """Close the serving generation, its connections and the lanes, and wait for generations that are closing, as the process ends."""
        await self.generation.close()
        await self.generation.kept.connections.close()
        await asyncio.gather(*self._closing)
        await close_lanes()

    def _close_later(self, generation: Generation) -> None:
        task = asyncio.create_task(generation.close())
        self._closing.add(task)
        task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        self._former -= 1
