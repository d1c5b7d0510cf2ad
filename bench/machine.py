"""The machine: CPU cores for each role, the CPU and memory use of processes, and a fast event loop."""

import asyncio
import functools
import os
import resource
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
SUBJECT = {CORES[0]}
"""The core of the server under test."""
OTHERS = set(CORES[1:]) or SUBJECT
"""The cores of the provider and the load."""
PAGE = os.sysconf("SC_PAGE_SIZE")
PACKAGES = sysconfig.get_path("purelib")
"""The folder of this interpreter's packages, which others of its version can import, too."""


@functools.cache
def interpreter() -> str:
    """Return the Python that runs the subjects written in Python: this one, or the system's of the same version (3.x) if this is slower.

    A Python compiled on a developer's machine is often built without profile-guided optimization, which takes a tenth of the speed from the
    router and less from the relay. Those of the image and of Linux distributions are built with it.
    """
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "") or not Path(system).exists():
        return sys.executable
    tried = subprocess.run(
        [system, "-c", "import msgspec, uvloop"], env={**os.environ, "PYTHONPATH": PACKAGES}, capture_output=True, check=False
    )
    return sys.executable if tried.returncode else system


def python() -> str:
    """Return the version of that interpreter, and whether it is the system's."""
    version = subprocess.run([interpreter(), "-V"], capture_output=True, text=True, check=True).stdout.strip()
    return version if interpreter() == sys.executable else f"{version} (the system's)"


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
