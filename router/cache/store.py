"""The store of cached answers: bytes under a key, for a limited time."""

import time
from collections.abc import Callable
from contextlib import suppress

from cachetools import TLRUCache

ENTRY = 1024
"""Bytes that an entry takes beside its value, roughly."""


class LocalStore:
    """Bytes in this process, each under a key. Above `size` bytes in all, ENTRY more for each entry, the least recently used is evicted."""

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.size = size
        self._held: TLRUCache[str, tuple[bytes, float]] = TLRUCache(
            size, lambda _, held, now: now + held[1], clock, lambda held: ENTRY + len(held[0])
        )
        """Key → the value, and its lifetime in seconds."""

    async def get(self, name: str) -> bytes | None:
        """Return the bytes stored under this name; None without any, or if they have expired."""
        return self._held.get(name, (None, 0.0))[0]

    async def put(self, name: str, value: bytes, ttl: float) -> None:
        """Store bytes for `ttl` seconds at most. A value larger than the whole store is not stored."""
        with suppress(ValueError):  # cachetools: "value too large"
            self._held[name] = (value, ttl)
