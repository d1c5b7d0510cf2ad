"""Fuzzing of every reader of foreign bytes, for minutes.

    python -m tests.endurance.fuzz [--minutes 5] [--at-once 2] [READER …]

Each reader (tests/support/fuzzers/) runs in a process of its own, limited to 1 GiB of memory and 10 s per example. Each round has another
seed, printed with a failure, and `--seed` repeats it. Exit code 1 if a reader fails.
"""

import argparse
import concurrent.futures
import functools
import gc
import logging
import os
import random
import resource
import subprocess
import sys
import time
from datetime import timedelta

from hypothesis import HealthCheck, seed, settings

from bench import machine
from tests.conftest import ROOT
from tests.support.fuzzers import FUZZERS

ROUND = 1_000
"""Examples generated from one seed."""
SLOW = timedelta(seconds=10)
MOST = 1 << 30
"""Bytes of memory that a reader's process may use."""
GROWTH = 64
"""Mebibytes by which memory between rounds may grow after the first round; peaks within a round do not count."""


def rounds(reader: str, seconds: float, first: int) -> int:
    """Fuzz one reader in this process for this many seconds; return 1 if its memory grew too much, else 0. A failing example raises."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST))
    logging.disable(logging.WARNING)  # that a request is none is said of most of them
    usual = settings(
        max_examples=ROUND,
        deadline=SLOW,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    fuzzer = usual(FUZZERS[reader])
    until = time.monotonic() + seconds
    count, held, now, number = 0, 0.0, 0.0, first
    while count == 0 or time.monotonic() < until:
        number = first + count
        try:
            seed(number)(fuzzer)()
        except BaseException:
            print(f"{reader}: broken, --seed {number}", flush=True)
            raise
        count += 1
        gc.collect()
        now = machine.rss([os.getpid()]) * 1e6 / 2**20
        held = held or now
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    memory = f"{held:4.0f} MiB after the first {ROUND:,}, {now:4.0f} at the end, {most:4.0f} at most"
    print(f"{reader:28} {count * ROUND:9,} examples   {memory}", flush=True)
    return 0 if now - held < GROWTH else 1


def apart(reader: str, seconds: float, first: int) -> int:
    """Fuzz one reader in a process of its own and return its exit code."""
    command = [sys.executable, "-m", "tests.endurance.fuzz", "--alone", "--minutes", str(seconds / 60), "--seed", str(first), reader]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def main() -> int:
    """Fuzz the chosen readers; return 1 if one failed."""
    parser = argparse.ArgumentParser(
        "python -m tests.endurance.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("readers", nargs="*", choices=[[], *FUZZERS], metavar="READER", help=", ".join(FUZZERS))
    parser.add_argument("--minutes", type=float, default=5.0, help="for each reader")
    parser.add_argument("--at-once", type=int, default=2, help="readers")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    readers: list[str] = arguments.readers or list(FUZZERS)
    seconds = arguments.minutes * 60
    if arguments.alone:
        return rounds(readers[0], seconds, arguments.seed)
    with concurrent.futures.ThreadPoolExecutor(arguments.at_once) as pool:
        codes = list(pool.map(functools.partial(apart, seconds=seconds, first=arguments.seed), readers))
    broken = [reader for reader, code in zip(readers, codes, strict=True) if code]
    print(f"broken: {', '.join(broken) or 'none'}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
