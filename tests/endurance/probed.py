"""`router serve` with a probe in its event loop, which writes the loop's lag into a file.

    python -m tests.endurance.probed FILE serve --routes …

The probe is one timer of the loop. uvloop's timers count whole milliseconds.
"""

import asyncio
import sys
import time
from array import array
from io import FileIO
from pathlib import Path

from router.admin.watchdog import Watchdog
from router.commands import main

PAUSE = 0.005
"""Seconds between two measurements, by default."""
EACH = 200
"""Measurements that are written at once, by default: those of one second."""


class Probe:
    """A timer of the event loop that records its own delay until it is closed.

    file: gets pairs of doubles: time (time.monotonic) and delay, in seconds
    pause: seconds between two measurements; each: measurements that are written at once
    """

    def __init__(self, file: FileIO, pause: float = PAUSE, each: int = EACH) -> None:
        self._file, self._pause, self._each = file, pause, each
        self._timer: asyncio.TimerHandle | None = None
        self._rows = array("d")
        self._due = time.monotonic()

    def look(self) -> None:
        """Record the delay of this turn and schedule the next one."""
        now = time.monotonic()
        self._rows.extend((now, now - self._due))
        if len(self._rows) >= 2 * self._each:
            self._file.write(self._rows.tobytes())
            del self._rows[:]
        self._due = now + self._pause
        self._timer = asyncio.get_running_loop().call_later(self._pause, self.look)

    def close(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()


def lateness(file: Path, since: float, until: float) -> list[float]:
    """Return the loop's delays between two times (time.monotonic), in milliseconds, sorted."""
    data = file.read_bytes()
    rows = array("d")
    rows.frombytes(data[: len(data) // 16 * 16])
    return sorted(late * 1000 for at, late in zip(rows[::2], rows[1::2], strict=True) if since <= at <= until)


if __name__ == "__main__":
    begins = Watchdog.__enter__

    def probed(self: Watchdog) -> Watchdog:
        """Begin to watch the loop, and to probe it."""
        Probe(FileIO(sys.argv[1], "w")).look()
        return begins(self)

    Watchdog.__enter__ = probed
    sys.exit(main(sys.argv[2:]))
