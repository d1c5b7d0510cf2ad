"""A CPU profile of Pointsman's direct lane under load, sampled by py-spy, as a call tree and by package.

    python -m bench.profile burst|nons|paced [--least 1.0]

Needs py-spy: `make profile` installs it into bench/.peers.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench.run import Bench, Running
from bench.subjects import PEERS, SUBJECTS

SPY = PEERS / "py-spy/bin/py-spy"
SECONDS = 6
ROOMS = (
    ("targets/", "router/targets"),
    ("failover/", "router/failover"),
    ("server/", "router/server"),
    ("steps/", "router/steps"),
    ("wire/", "router/wire"),
    ("uvicorn/", "uvicorn"),
    ("asyncio/", "asyncio, uvloop, the kernel"),
    ("logging/", "logging"),
    ("json/", "json"),
)


@dataclass
class Node:
    """A function in the call tree, with its samples and the functions it called."""

    samples: int = 0
    below: dict[str, "Node"] = field(default_factory=dict[str, "Node"])


def load(running: Running, what: str) -> None:
    """Keep the router busy while it is sampled."""
    if what == "paced":
        for _ in range(3):
            running.paced(running.subject.streams)
        return
    running.closed("long" if what == "burst" else "short", stream=what == "burst", seconds=SECONDS + 1, clients=16)


def stacks(raw: str) -> list[tuple[list[str], int]]:
    """Parse py-spy's output into (functions of a stack, count); stacks of worker threads are left out."""
    found: list[tuple[list[str], int]] = []
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        functions = [frame.strip().rpartition(":")[0] or frame.strip() for frame in stack.split(";")]
        if not any("WorkerThread" in one or "Thread._bootstrap" in one for one in functions):
            found.append((functions, int(count)))
    return found


def show(node: Node, total: int, least: float, depth: int = 0) -> None:
    """Print the call tree, without branches below `least` per cent."""
    for name, below in sorted(node.below.items(), key=lambda item: -item[1].samples):
        share = below.samples * 100 / total
        if share >= least:
            print(f"{'  ' * depth}{share:5.1f}  {name}")
            show(below, total, least, depth + 1)


def main() -> int:
    """Sample the router under load and print the tree and the shares of the packages."""
    options = argparse.ArgumentParser("python -m bench.profile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=["burst", "nons", "paced"], nargs="?", default="burst")
    options.add_argument("--least", type=float, default=1.0, help="per cent of the time that is worth a line")
    chosen = options.parse_args()
    if not SPY.exists():
        print(f"py-spy is not installed ({SPY}): `make profile`", file=sys.stderr)
        return 1
    subject = next(one for one in SUBJECTS if one.name == "pointsman")
    with Bench() as bench, tempfile.TemporaryDirectory() as folder:
        running = bench.start(subject)
        raw = Path(folder, "raw")
        command = [str(SPY), "record", "-p", str(running.process.pid), "-d", str(SECONDS), "-r", "500", "-f", "raw", "-o", str(raw)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as spy:
            load(running, chosen.what)
            spy.wait()
        found = stacks(raw.read_text(encoding="utf-8"))
    root, rooms, total = Node(), Counter[str](), 0
    for functions, count in found:
        total += count
        node = root
        for one in functions:
            node = node.below.setdefault(one, Node())
            node.samples += count
        rooms[next((room for part, room in ROOMS if part in functions[-1]), "others")] += count
    show(root, total, chosen.least)
    print("\nthe time within each, of a hundred")
    for room, count in rooms.most_common():
        print(f"{count * 100 / total:5.1f}  {room}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
