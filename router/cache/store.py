"""Where answers are kept: bytes under a key, for a while."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from cachetools import TLRUCache

ENTRY = 1024
"""Bytes that an entry takes beside its value, roughly."""


class Store(Protocol):
    """Keeps bytes for a while. They may be gone at any time: they are a copy of what can be made again. Nobody is told why."""

    async def get(self, name: str) -> bytes | None:
        """What is kept under this name; None where there is nothing, or nobody to ask."""
        ...

    async def put(self, name: str, value: bytes, ttl: float) -> None:
        """Keep it for so many seconds at most."""
        ...


@dataclass(frozen=True, slots=True)
class _Held:
    value: bytes
    ttl: float


class LocalStore:
    """In this process. `size`: bytes of all that is kept; beyond it, what was used longest ago goes first."""

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.size = size
        self._held: TLRUCache[str, _Held] = TLRUCache(
            size, lambda _, held, now: now + held.ttl, clock, lambda held: ENTRY + len(held.value)
        )

    async def get(self, name: str) -> bytes | None:
        """What is kept under this name, if its time is not over."""
        held = self._held.get(name)
        return held.value if held is not None else None

    async def put(self, name: str, value: bytes, ttl: float) -> None:
        """Keep it. What is larger than all the room is not kept."""
        with suppress(ValueError):  # cachetools: "value too large"
            self._held[name] = _Held(value, ttl)
