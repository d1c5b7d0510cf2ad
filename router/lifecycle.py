"""Lifetimes of shared resources: connections with counted users, pauses before reconnects, releases at the end of a request.

As with Caddy's UsagePool, an edit that leaves a connection unchanged keeps it open; the last generation that uses it closes it.
"""

import asyncio
import random
from collections.abc import Callable
from types import TracebackType
from typing import Self

from router.value import Mutable


class SharedConnection:
    """A connection used by several generations, which are its counted users. Made on any thread, used on one event loop."""

    def __init__(self) -> None:
        self.closed = False
        """True once `close` has closed the connection, or has begun to."""
        self._holders: list[None] = []

    def hold(self) -> None:
        """Add a user. May be called from any thread, since generations are built in another thread."""
        self._holders.append(None)

    def release(self) -> None:
        """Remove a user, without closing the connection."""
        self._holders.pop()

    @property
    def held(self) -> bool:
        """True while a generation uses the connection."""
        return bool(self._holders)

    async def close(self) -> None:
        """Close the connection if no generation holds it; else do nothing."""
        if not self.held and not self.closed:
            self.closed = True
            await self._close()

    async def _close(self) -> None:
        raise NotImplementedError


class Backoff(Mutable, kw_only=True):
    """Pauses before reconnects, in seconds: `first`, doubled up to `most`; `first` again if the connection lasted over `steady` seconds."""

    first: float
    most: float
    steady: float
    pause: float = 0.0
    """The pause before the next reconnect, in seconds; 0 until a connection was lost."""

    def lost(self, lasted: float) -> None:
        """Record that a connection ended after this many seconds, or could not be made, and set the next pause."""
        self.pause = min(2 * self.pause, self.most) if self.pause and lasted <= self.steady else self.first

    async def rest(self) -> None:
        """Wait for a random share of the pause, between 75 % and 100 %, so that processes do not reconnect at the same moment."""
        await asyncio.sleep(self.pause * random.uniform(0.75, 1.0))  # noqa: S311 - nothing is kept secret by it


class Holdings(list[Callable[[], object]]):
    """Release functions of a request's resources, called at its end, the last first. A cheaper ExitStack."""

    __slots__ = ()
    add = list[Callable[[], object]].append
    """Add a release function, which is called at the end."""
    withdraw = list[Callable[[], object]].remove
    """Remove a release function without calling it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def handed_over(self) -> "Holdings":
        """Move all release functions into a new Holdings and return it."""
        other = Holdings(self)
        self.clear()
        return other

    def close(self) -> None:
        """Call all release functions at once (none is awaited), the last one first, each even if another raises.
        Afterwards the last of the errors is raised.
        """
        try:
            while self:
                self.pop()()
        finally:
            if self:
                self.close()


class Deadline(Mutable):
    """A `with` block that raises TimeoutError after `seconds`: as `asyncio.timeout`, with a third of its function calls.

    If the task is cancelled by another as well, the cancellation goes on, and no TimeoutError is raised.
    task: the task that runs the block; if it is not given, it is looked up when the block is entered
    """

    seconds: float
    task: asyncio.Task[object] | None = None
    _timer: asyncio.TimerHandle | None = None
    _cancelling: int = 0
    _expired: bool = False

    def __enter__(self) -> None:
        loop, task = asyncio.get_running_loop(), self.task
        if task is None:
            self.task = task = asyncio.current_task(loop)
            assert task is not None
        self._cancelling = task.cancelling()
        self._timer = loop.call_later(self.seconds, self._expire)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None  # it points back here
        if self._expired and self.task is not None and self.task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        assert self.task is not None
        self._expired = True
        self.task.cancel()
