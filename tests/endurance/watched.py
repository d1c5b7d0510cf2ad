"""`router serve` that writes the number of its event loop's tasks into a file on SIGUSR1.
python -m tests.endurance.watched FILE serve --routes …
"""

import asyncio
import signal
import sys
from pathlib import Path
from types import FrameType

from router.commands import main


def write_tasks(_signal: int, _frame: FrameType | None) -> None:
    """Write the number of tasks atomically, as a signal handler."""
    try:
        count = len(asyncio.all_tasks())
    except RuntimeError:  # no loop runs
        count = 0
    part = Path(sys.argv[1] + ".part")
    part.write_text(str(count), encoding="utf-8")
    part.rename(sys.argv[1])


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, write_tasks)
    sys.exit(main(sys.argv[2:]))
