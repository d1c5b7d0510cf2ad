"""The generation that answers now, and how many requests each generation still answers."""

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager

from router.generation import Generation
from router.targets import close_lanes


class Live:
    """The generation that answers, and the number of requests on each."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        """The generation that new requests get."""
        self.since = time.time()
        """Time at which it began to serve: seconds since 1970."""
        self._ready = False
        self._riders: dict[int, int] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """True if the process answers as quickly as it ever will.

        It stays true: after an edit that adds a slow target, requests to the others still get their answers as before.
        """
        self._ready = self._ready or self.generation.ready
        return self._ready

    @property
    def alive(self) -> int:
        """The number of generations that are not closed yet: the one that serves, and those with a request left."""
        return len({*self._riders, id(self.generation)}) + len(self._closing)

    def enter(self) -> Generation:
        """Return the present generation, kept open until `leave`."""
        key = id(self.generation)
        self._riders[key] = self._riders.get(key, 0) + 1
        return self.generation

    def leave(self, generation: Generation) -> None:
        """Release a generation that was entered. An old one is closed when its last request releases it."""
        key = id(generation)
        self._riders[key] -= 1
        if not self._riders[key]:
            del self._riders[key]
            if generation is not self.generation:
                self._let_go(generation)

    @contextmanager
    def pinned(self) -> Generator[Generation, None, None]:
        """Yield the present generation, kept open until the block ends."""
        generation = self.enter()
        try:
            yield generation
        finally:
            self.leave(generation)

    def swap(self, generation: Generation) -> None:
        """Serve this generation from now on."""
        old, self.generation = self.generation, generation
        self.since = time.time()
        if id(old) not in self._riders:
            self._let_go(old)

    async def close(self) -> None:
        """Close the serving generation, its connections and the lanes, and wait for generations that are being closed: the process ends."""
        await self.generation.close()
        await self.generation.kept.connections.close()
        await asyncio.gather(*self._closing)
        await close_lanes()

    def _let_go(self, generation: Generation) -> None:
        task = asyncio.create_task(generation.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
