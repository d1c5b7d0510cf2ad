"""Keep-alive frames on a silent stream, so that no proxy closes it.

One lazily re-armed timer for a whole stream, as in `failover/watch.py`: a write costs one assignment.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable


class Pulse:
    """Calls `beat` when nothing was written for `interval` seconds, and again after each further interval.

        pulse = Pulse(beat, 15)
        pulse.resting = True    # a write begins
        pulse.wait()            # the write is done: the interval starts here
        pulse.close()           # no beat comes after this

    `beat` writes a whole frame with one call of `send`, so that it never stands within another. Only one runs at a time:
    a client that does not read blocks a single beat.
    """

    resting = True
    """True while a write is in progress or about to begin: no beat comes then."""
    written = 0.0
    """Time of the last write, by the monotonic clock. Between writes it may be set, for one that needed no wait."""
    _timer: asyncio.TimerHandle | None = None
    _beating: asyncio.Task[None] | None = None
    _closed = False

    def __init__(self, beat: Callable[[], Awaitable[None]], interval: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._beat = beat
        self._interval = interval

    def wait(self) -> None:
        """Start the interval anew, and return at once: a write is done, and silence begins. No effect on a closed one."""
        self.resting = False
        self.written = time.monotonic()
        if self._timer is None and self._beating is None and not self._closed:
            self._timer = self._loop.call_later(self._interval, self._look)

    def close(self) -> None:
        """Stop the beats, and cancel one that is being written."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._beating is not None:
            self._beating.cancel()

    def _look(self) -> None:
        self._timer = None
        if self.resting:
            return  # the next wait arms it again
        if (left := self.written + self._interval - time.monotonic()) > 0:
            self._timer = self._loop.call_later(left, self._look)
            return
        self._beating = asyncio.create_task(self._once())

    async def _once(self) -> None:
        await self._beat()
        self._beating = None
        self.wait()
