"""The machine: which core for whom, what a process has used, and an event loop that is cheap."""

import asyncio
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
SUBJECT = {CORES[0]}
"""The core of the server under test."""
OTHERS = set(CORES[1:]) or SUBJECT
"""The cores of the provider and the load."""
PAGE = os.sysconf("SC_PAGE_SIZE")


def run(main: Coroutine[object, object, None]) -> None:
    """Run it on the cheapest loop there is, with as many descriptors as are allowed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop  # noqa: PLC0415 - not there on Windows

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


@contextmanager
def busy(loops: int) -> Generator[None, None, None]:
    """So many processes that compute without end, until the block ends."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def family(pid: int) -> list[int]:
    """A process and its children, to the last."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu(pids: list[int]) -> float:
    """Seconds of CPU that these processes have used. `schedstat` counts nanoseconds where `stat` counts hundredths."""
    used = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            used += int(task.read_text().split()[0])
    return used / 1e9


def cpu_of_ended(pids: list[int]) -> float:
    """Seconds of CPU that these processes have used, threads that have ended included: in hundredths, which `cpu` does not count."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def rss(pids: list[int]) -> float:
    """Megabytes of memory that these processes hold."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * PAGE / 1e6


def descriptors(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names alone


def free_port() -> int:
    """A port nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
