"""A sign of life on a stream that says nothing, so that no proxy takes it for dead.

One lazily re-armed timer for a whole stream, as in `failover/watch.py`: to have written is an assignment.
"""

import asyncio
from collections.abc import Awaitable, Callable


class Pulse:
    """Beats when nothing was written for `interval` seconds, and again after as long.

        pulse = Pulse(beat, 15)
        pulse.rest()            # somebody writes
        pulse.wait()            # all of it is written: the time counts from here
        pulse.close()           # no beat comes after this

    `beat` writes a whole frame with one call of `send`, so that it never stands within another. There is one at a time:
    a client that does not read holds up a single beat.
    """

    def __init__(self, beat: Callable[[], Awaitable[None]], interval: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._beat = beat
        self._interval = interval
        self.resting = True
        """True while somebody writes, or is about to."""
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._beating: asyncio.Task[None] | None = None
        self._closed = False

    def rest(self) -> None:
        """Somebody writes, or is about to."""
        self.resting = True

    def wait(self) -> None:
        """End the pulse: nothing is written from now on."""
        self.resting = False
        self._due = self._loop.time() + self._interval
        if self._timer is None and self._beating is None and not self._closed:
            self._timer = self._loop.call_at(self._due, self._look)

    def close(self) -> None:
        """Stop the beats. A beat that waits for its turn to write is given up."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._beating is not None:
            self._beating.cancel()

    def _look(self) -> None:
        self._timer = None
        if self.resting:
            return  # the next wait arms it again
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._look)
            return
        self._beating = asyncio.create_task(self._once())

    async def _once(self) -> None:
        await self._beat()
        self._beating = None
        self.wait()
