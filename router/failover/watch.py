"""One lazily re-armed timer for a whole stream.

`asyncio.timeout` around each wait costs a timer per event. Here arming is an assignment; the timer runs at most once
per limit, looks whether somebody has been waiting for too long, and otherwise goes to sleep again.
"""

import asyncio
from contextvars import ContextVar
from types import TracebackType
from typing import Self

LOOK = 0.05
"""Seconds after which a paused watch looks again at the least."""
CURRENT: ContextVar["Watch | None"] = ContextVar("watch", default=None)
"""The watch of the model call that this task is in: whoever writes to a slow client pauses it meanwhile."""


class Watch:
    """Cancels the task that has waited too long; `late` then tells that cancellation from anybody else's.

        async with Watch() as watch:
            watch.wait(10)
            try:
                event = await anext(events)
            except asyncio.CancelledError:
                if watch.late():
                    raise TargetSilent(...) from None
                raise
            finally:
                watch.rest()

    What is not between `wait` and `rest` (a slow reader's time) does not count. Whoever waits is the task that entered it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._waiting = False
        self._due = 0.0
        self._armed = 0.0
        self._fired = False
        self._paused: float | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()  # once: it is slow to ask for in Python 3.11
        CURRENT.set(self)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def wait(self, limit: float) -> None:
        """From now on somebody waits, for at most this many seconds."""
        self._waiting = True
        self._due = self._loop.time() + limit
        if self._timer is None or self._armed > self._due:
            self._arm()

    def rest(self) -> None:
        """Nobody waits any more."""
        self._waiting = False

    def pause(self) -> None:
        """What is waited for now is a client. The provider's time stands still."""
        self._paused = self._loop.time()

    def resume(self) -> None:
        """The client has read it."""
        if self._paused is not None:
            self._due += self._loop.time() - self._paused
            self._paused = None

    def late(self) -> bool:
        """Whether the cancellation that just came was this watch's own. It is then taken back."""
        if not self._fired or self._task is None:
            return False
        self._fired = False
        return self._task.uncancel() == 0

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = self._due
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._task is None or not self._waiting:
            return  # the next wait arms it again
        if self._paused is not None:
            self._timer = self._loop.call_later(max(LOOK, self._due - self._paused), self._look)
            return
        if self._loop.time() < self._due:
            self._arm()
            return
        self._fired = True
        self._task.cancel()
