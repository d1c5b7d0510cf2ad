"""What takes time, run on a loop whose clock jumps to the next timer."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from router.drill import VirtualLoop

T = TypeVar("T")


def jumping(coroutine: Coroutine[object, object, T]) -> T:
    """What comes of this; an hour of waiting takes no time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


def now() -> float:
    """The time of the running loop: the clock of whatever runs on one that jumps."""
    return asyncio.get_running_loop().time()
