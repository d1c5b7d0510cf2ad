"""Batched writes: collected output is flushed only when the next event has to be waited for.

An async generator that has its next event at hand gives it without suspending. So the first suspension is the moment
to write what was collected: no timer, no second task, no future per chunk.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any

OVER = object()
"""The value that `next` returns once the work has ended."""


class Ahead(ABC):
    """An awaitable for some work, `work`. Before it waits, it awaits `flush` if there is output to write.

    unsent: set by the work once there is such output
    """

    unsent = False

    @abstractmethod
    async def work(self) -> None:
        """Do the work. Events that are at hand are read without a suspension."""

    @abstractmethod
    async def flush(self) -> None:
        """Write the output that was collected."""

    def __await__(self) -> Generator[Any, Any, None]:
        # A hand-driven `await self.work()`. Whatever is thrown in (a cancellation) goes on to the work, also when
        # it comes while flushing: the work is suspended in its own await then, and must hear of it there.
        work = self.work().__await__()
        awaited = next(work, OVER)  # the event loop sends nothing but None, and `send` would raise StopIteration at the end
        while awaited is not OVER:
            try:
                if self.unsent:
                    self.unsent = False
                    yield from self.flush().__await__()
                yield awaited
            except BaseException as error:  # noqa: BLE001 - handed on to the work
                thrown: BaseException | None = error
            else:
                awaited = next(work, OVER)
                continue
            try:
                awaited = work.throw(thrown)
            except StopIteration:
                return
            finally:
                thrown = None  # this frame is in its traceback: the two would hold each other, and the question
