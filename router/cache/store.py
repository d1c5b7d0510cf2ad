"""Stores of cached answers: bytes under a key, for a limited time."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from cachetools import TLRUCache

ENTRY = 1024
"""Bytes that an entry takes beside its value, roughly."""


class Store(Protocol):
    """The interface of a store of bytes with a lifetime. They are copies, may be gone at any time, and can be made again."""

    async def get(self, name: str) -> bytes | None:
        """Return the bytes stored under this name; None without any, or while the store is unavailable."""
        ...

    async def put(self, name: str, value: bytes, ttl: float) -> None:
        """Store bytes for `ttl` seconds at most."""
        ...


@dataclass(frozen=True, slots=True)
class _Held:
    value: bytes
    ttl: float


class LocalStore:
    """A store of bytes in this process, each under a key and for its own lifetime.

    size: the most bytes of all entries, each with ENTRY bytes more; beyond it the least recently used is evicted
    """

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.size = size
        self._held: TLRUCache[str, _Held] = TLRUCache(
            size, lambda _, held, now: now + held.ttl, clock, lambda held: ENTRY + len(held.value)
        )

    async def get(self, name: str) -> bytes | None:
        """Return the bytes stored under this name; None without any, or if they have expired."""
        held = self._held.get(name)
        return held.value if held is not None else None

    async def put(self, name: str, value: bytes, ttl: float) -> None:
        """Store bytes for `ttl` seconds at most. A value larger than the whole store is not stored."""
        with suppress(ValueError):  # cachetools: "value too large"
            self._held[name] = _Held(value, ttl)
