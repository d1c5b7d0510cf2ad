"""A watchdog of the event loop: logs how long it was blocked, and where in the code.

While a tool or a library computes on the loop, no request is answered, and no other log shows why. A thread watches a heartbeat of the
loop; when that is late, it logs where the loop is: files, lines and functions, no values.
"""

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from itertools import islice
from traceback import walk_stack
from types import FrameType, TracebackType
from typing import Self

log = logging.getLogger("router.server")

LATE = 1.0
"""Seconds for which the event loop may be blocked before it is logged."""
BEAT = 0.25
DEEP = 24
"""Innermost places of a stack that are logged."""


class Watchdog:
    """A watchdog of the event loop on whose thread it is entered.

    late: seconds for which the loop may be blocked before it is logged
    stalled: called once for each stall, on the watchdog's own thread
    stalls: number of stalls so far
    """

    def __init__(self, late: float = LATE, stalled: Callable[[], None] = lambda: None) -> None:
        self._late = late
        self._stalled = stalled
        self._over = threading.Event()
        self.stalls = 0

    def __enter__(self) -> Self:
        self._watched = threading.get_ident()
        self._pulse()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._timer.cancel()
        self._over.set()
        self._thread.join(self._late)

    def _pulse(self) -> None:
        self._beat = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(BEAT, self._pulse)

    def _watch(self) -> None:
        reported_beat = 0.0
        while not self._over.wait(BEAT):
            beat = self._beat
            if beat != reported_beat and time.monotonic() - beat > self._late + BEAT:
                reported_beat = beat  # once for each time
                self.stalls += 1
                self._stalled()
                where = places(sys._current_frames().get(self._watched))  # noqa: SLF001 - the only way to ask
                log.warning("the event loop stands still", extra={"fields": {"seconds": round(time.monotonic() - beat, 1), "at": where}})


def places(frame: FrameType | None) -> list[str]:
    """Return the innermost DEEP places of a call stack, as `file:line function`, the innermost last."""
    codes = [(at.f_code, number) for at, number in islice(walk_stack(frame), DEEP)] if frame is not None else []
    return [f"{code.co_filename.rpartition('/')[2]}:{number} {code.co_name}" for code, number in reversed(codes)]
