"""From SIGTERM to the end: new questions are refused, what runs may finish for a while, and then is told that it ends.

uvicorn by itself stops listening at once and cuts streams off when its time is over. So its handler hears of the signal only when
nothing runs any more. The same signal again goes straight to it.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


class Shutdown:
    """Stands before the handlers of SIGTERM and SIGINT that uvicorn has set, from `install` on. `drain` returns when nothing runs."""

    def __init__(self, drain: Callable[[], Coroutine[object, object, None]]) -> None:
        self._drain = drain
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before: dict[int, Handler] = {}
        self._signals: list[int] = []
        self._task: asyncio.Task[None] | None = None

    def install(self) -> None:
        """Take the signals over. Not where this is not the main thread, or nobody handles SIGTERM: a program of its own runs it then."""
        if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGTERM)):
            return
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            if callable(before):
                self._before[number] = before
                signal.signal(number, self._signalled)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if not self._signals and self._loop is not None:
            self._loop.call_soon_threadsafe(self._begin, number)
        elif number in self._signals:
            self._before[number](number, frame)
        # Else it is Ctrl-C, which a terminal sends to each worker, and then the SIGTERM of the one that supervises them.
        self._signals.append(number)

    def _begin(self, number: int) -> None:
        self._task = asyncio.create_task(self._end(number))

    async def _end(self, number: int) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await self._drain()
        self._before[number](number, None)
