"""Measures how busy a core is: sleeps 5 ms at a time and records the delay; prints the p99 delay for each line of stdin.
python -m bench.pulse CORE
"""

import asyncio
import os
import sys
import time

PAUSE = 0.005


async def beat() -> None:
    """Sleep and measure; for each line of stdin print the p99 delay since the last one, in milliseconds."""
    late: list[float] = []
    asking = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    while True:
        due = time.monotonic() + PAUSE
        await asyncio.sleep(PAUSE)
        late.append(time.monotonic() - due)
        if asking.done():
            if not asking.result():
                return
            print(sorted(late)[len(late) * 99 // 100] * 1000, flush=True)
            late.clear()
            asking = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    asyncio.run(beat())
