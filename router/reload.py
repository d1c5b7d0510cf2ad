"""Live: the generation that answers now. Each request pins the one it began with, to its end.

Swapping is one assignment; the old generation is closed when its last rider leaves.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from router.generation import Generation
from router.targets import close_lanes


class Live:
    """Which generation answers, and how many requests ride on each."""

    def __init__(self, generation: Generation) -> None:
        self._now = generation
        self._riders: dict[int, int] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def generation(self) -> Generation:
        """The one that new requests get."""
        return self._now

    @contextmanager
    def pinned(self) -> Generator[Generation, None, None]:
        """The generation of this moment, kept whole until the block ends."""
        generation = self._now
        key = id(generation)
        self._riders[key] = self._riders.get(key, 0) + 1
        try:
            yield generation
        finally:
            self._riders[key] -= 1
            if not self._riders[key]:
                del self._riders[key]
                if generation is not self._now:
                    self._let_go(generation)

    def swap(self, generation: Generation) -> None:
        """From now on this one answers."""
        old, self._now = self._now, generation
        if id(old) not in self._riders:
            self._let_go(old)

    async def close(self) -> None:
        """Let everything go: the process ends."""
        await self._now.close()
        await asyncio.gather(*self._closing)
        await close_lanes()

    def _let_go(self, generation: Generation) -> None:
        task = asyncio.create_task(generation.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
