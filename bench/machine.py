"""The machine: CPU cores for each role, the CPU and memory use of processes, and a fast event loop."""

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
    """Run a coroutine on uvloop (asyncio's loop on Windows), with the maximum number of file descriptors."""
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
    """Run this many processes that compute without end, during the block."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def family(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu(pids: list[int]) -> float:
    """Return the CPU seconds of the live threads of these processes, with nanosecond resolution."""
    used = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            used += int(task.read_text().split()[0])
    return used / 1e9


def cpu_of_ended(pids: list[int]) -> float:
    """Return the CPU seconds of these processes, ended threads included, in steps of 10 ms."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def rss(pids: list[int]) -> float:
    """Return the resident memory of these processes in megabytes."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * PAGE / 1e6


def descriptors(pid: int) -> int:
    """Return the number of open file descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names alone


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
