"""Graceful shutdown: from SIGTERM on new requests are refused, running answers may finish within `drain`, and are then ended.

uvicorn itself would stop listening at once and cut streams off. Its handler is therefore called only when nothing runs any more.
The same signal again ends the drain at once; a third time it goes straight to uvicorn.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType

Handler = Callable[[int, FrameType | None], object]
Phase = Callable[[], Coroutine[object, object, None]]


class Shutdown:
    """Signal handlers for SIGTERM and SIGINT that drain first (the same signal again ends that), then call the server's own handler.

    drain: returns when no answer runs, or its time is over
    end: ends the remaining answers, and returns when none runs
    """

    def __init__(self, drain: Phase, end: Phase) -> None:
        self._drain = drain
        self._end = end
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before: dict[int, Handler] = {}
        self._signals: list[int] = []
        self._task: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None

    def install(self) -> None:
        """Install the signal handlers; does nothing off the main thread, or where no server handles SIGTERM."""
        if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGTERM)):
            return
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            if callable(before):
                self._before[number] = before
                signal.signal(number, self._signalled)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)
        if self._loop is None or self._signals.count(number) > 2:
            self._before[number](number, frame)
        else:
            self._loop.call_soon_threadsafe(self._heard, number)

    def _heard(self, number: int) -> None:
        if self._task is None:
            self._draining = asyncio.create_task(self._drain())
            self._task = asyncio.create_task(self._run(self._draining, number))
        elif self._draining is not None and self._signals.count(number) > 1:
            self._draining.cancel()
        # Else it is Ctrl-C, which a terminal sends to each worker, and then the SIGTERM of the one that supervises them.

    async def _run(self, draining: asyncio.Task[None], number: int) -> None:
        await asyncio.wait([draining])
        with contextlib.suppress(asyncio.CancelledError):
            await self._end()
        self._before[number](number, None)
