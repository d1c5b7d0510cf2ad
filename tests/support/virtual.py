"""Runs coroutines on an event loop whose clock jumps to the next timer."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from router.drill import VirtualLoop

T = TypeVar("T")


def jumping(coroutine: Coroutine[object, object, T]) -> T:
    """Run a coroutine on an event loop whose clock jumps, and return its result; waiting takes no real time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


def now() -> float:
    """Return the time of the running event loop in seconds, virtual if its clock jumps."""
    return asyncio.get_running_loop().time()
