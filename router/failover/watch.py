"""A timer for a whole stream, re-armed lazily.
`asyncio.timeout` around each wait costs a timer per event. Here arming is an assignment. The timer fires at most once per limit, checks
whether a wait has lasted too long, and otherwise is set again.
"""

import asyncio
import math
from contextvars import ContextVar

PAUSED_POLL_INTERVAL_S = 0.05
"""Seconds between two checks of a paused watch, at least."""
CURRENT: ContextVar["Watch | None"] = ContextVar("watch", default=None)
"""The watch of this task's model call. The code that writes to a client pauses it while the client is slow."""


class Overdue(Exception):
    """A wait for an arrival has taken too long."""


class Watch:
    """A timeout for the waits of one task: it cancels the task; `late` distinguishes that cancellation from any other. See `watch_here`.
    A wait begins with `wait`, and ends when `waiting` is set to False, as in `_relayed` in answer.py.
    Time outside of a wait (a slow reader's) does not count.
    """

    __slots__ = ("_armed", "_fired", "_paused", "_task", "_timer", "_wakes", "due", "loop", "overdue", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[object] | None) -> None:
        self.loop, self._task = loop, task
        self.waiting = False
        """True during a wait."""
        self.due = 0.0
        """Loop time at which the wait has taken too long. It may be set during a wait, to a later time than it was."""
        self.overdue = False
        """True once a wait for an arrival has taken too long."""
        self._timer: asyncio.TimerHandle | None = None
        self._armed = math.inf
        """Loop time for which the timer is set."""
        self._fired = False
        self._paused: float | None = None
        self._wakes: asyncio.Future[None] | None = None
        """The future that is waited for; None if the wait ends by a cancellation of the task."""

    def close(self) -> None:
        """Stop the timer, and drop the references to it and to the task, which runs on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None  # its context has this watch as CURRENT: the two would hold each other
        self._task = None  # it may end in an error whose traceback has this watch: the two would hold each other, and the question

    def wait(self, limit: float, arrival: asyncio.Future[None] | None = None) -> None:
        """Start to time a wait of at most so many seconds; returns at once. A timeout cancels the task.
        With an `arrival`, a timeout sets `overdue` and completes that future instead. Raises Overdue if it is set already.
        """
        self.waiting = True
        self._wakes = arrival
        self.due = due = self.loop.time() + limit
        if self._armed > due:
            self._arm()

    def wait_on(self, arrival: asyncio.Future[None]) -> None:
        """Go on timing the current wait, within its limit, now for another future; returns at once."""
        self.waiting = True
        self._wakes = arrival
        if self._timer is None:
            self._arm()

    def pause(self) -> None:
        """Stop the timer's clock while the client is being waited for: that time does not count as the provider's."""
        self._paused = self.loop.time()

    def resume(self) -> None:
        """Let the timer's clock go on: the client has read."""
        if self._paused is not None:
            self.due += self.loop.time() - self._paused
            self._paused = None

    def late(self) -> bool:
        """Return whether the cancellation that just came was this watch's own, and undo it if so. False if there was another as well."""
        if not self._fired or self._task is None:
            return False
        self._fired = False
        return self._task.uncancel() == 0

    def _arm(self) -> None:
        if self.overdue:  # the timer has fired, so that every wait comes here
            raise Overdue
        if self._timer is not None:
            self._timer.cancel()
        self._armed = self.due
        self._timer = self.loop.call_at(self.due, self._look)

    def _look(self) -> None:
        self._timer, self._armed = None, math.inf
        if self._task is None or not self.waiting:
            return  # the next wait arms it again
        if self._paused is not None:
            self._timer = self.loop.call_later(max(PAUSED_POLL_INTERVAL_S, self.due - self._paused), self._look)
            return
        if self.loop.time() < self.due:
            self._arm()
        elif self._wakes is None:
            self._fired = True
            self._task.cancel()
        else:
            self.overdue = not self._wakes.done()
            if self.overdue:
                self._wakes.set_result(None)


def watch_here() -> Watch:
    """Return a watch for the waits of the running task, as its CURRENT one."""
    loop = asyncio.get_running_loop()
    watch = Watch(loop, asyncio.current_task(loop))
    CURRENT.set(watch)
    return watch
