"""Edits of the configuration under load: does a running answer notice one, and how soon is it live?

    python -m tests.endurance.edits [--edits 1000] [--streams 200] [--seconds 60] [--warm 30]

The configuration's folder is laid out as a Kubernetes ConfigMap mount: names link into `..data`, itself a link that is replaced. Edits are
written in place, renamed over, written in halves, or made by replacing the link; one in ten is invalid. Each target repeats the number of
its edit, so an answer of two configurations is noticed. The program waits for the complaint of an invalid edit and for every tenth valid
edit to be live. Exit code 1 if a promise is broken.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench import machine
from bench.subjects import ROOT

GROWTH = 0.05
"""The share by which memory may grow."""
WORDS = 10
"""Words of one answer, a tenth of a second apart."""
WARM = 40
"""Edits made before memory is measured, so that caches are filled."""

ROUTES = """# edit {number}
targets:
  one: {{script: [{script}]}}
  two: {{script: [{{text: never}}]}}
routes:
  chat-model: {{pipeline: chat, targets: [one, two], tools: [clock]}}
  title-model: {{pipeline: chat, targets: [two]}}
server: {{reload: on, request: {{messages: {messages}}}}}
"""
BROKEN = (
    ("targets: [one, two]", "targets: [one, tow]"),
    ("pipeline: chat,", "pipeline: chta,"),
    ("server:", "srever:"),
    ("messages: ", "messages: no"),
    ("{pipeline", "{{pipeline"),
)
TOOL = 'def get_time() -> str:\n    """The time."""\n    return "now"\n'


@dataclass
class Seen:
    """The results: answers, faults, and delays."""

    answers: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    live: list[float] = field(default_factory=list[float])
    """Seconds from each write to the first answer of that edit."""
    complaint_delays: list[float] = field(default_factory=list[float])
    """Seconds from each invalid write to its complaint."""
    ways: Counter[str] = field(default_factory=Counter[str])


def text(number: int) -> str:
    """Return the configuration of an edit."""
    script = ", {pause: 100ms}, ".join([f"{{text: 'g{number} '}}"] * WORDS)
    return ROUTES.format(number=number, script=script, messages=100 + number % 400)


class Folder:
    """A configuration folder, laid out as a Kubernetes ConfigMap mount."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._turns = 0
        self.turn(text(0))
        for name in ("routes.yaml", "pipelines", "tools"):
            (root / name).symlink_to(f"..data/{name}")

    def turn(self, routes: str) -> None:
        """Write a new folder, replace the `..data` link, and delete the old folder."""
        self._turns += 1
        before = (self.root / "..data").resolve()
        made = self.root / f"..{self._turns}"
        (made / "pipelines").mkdir(parents=True)
        (made / "tools").mkdir()
        (made / "routes.yaml").write_text(routes, encoding="utf-8")
        (made / "pipelines/chat.yaml").write_text("steps:\n  - history: {keep: 40}\n", encoding="utf-8")
        (made / "tools/clock.py").write_text(TOOL, encoding="utf-8")
        link = self.root / "..data_tmp"
        link.symlink_to(made.name)
        link.rename(self.root / "..data")
        if self._turns > 1:
            shutil.rmtree(before)

    def in_place(self, routes: str) -> None:
        """Overwrite the file."""
        (self.root / "..data/routes.yaml").write_text(routes, encoding="utf-8")

    def renamed(self, routes: str) -> None:
        """Write a new file and rename it over the old one."""
        beside = self.root / "..data/.routes.yaml.swp"
        beside.write_text(routes, encoding="utf-8")
        beside.rename(self.root / "..data/routes.yaml")

    async def in_halves(self, routes: str) -> None:
        """Overwrite the file in two pieces, 10 ms apart."""
        with (self.root / "..data/routes.yaml").open("w", encoding="utf-8") as file:
            file.write(routes[: len(routes) // 2])
            file.flush()
            await asyncio.sleep(0.01)
            file.write(routes[len(routes) // 2 :])


async def write(folder: Folder, routes: str, chance: random.Random, seen: Seen) -> None:
    """Make one edit in a random way."""
    way = chance.choices(("in place", "renamed", "in halves", "turned"), (4, 4, 1, 1))[0]
    seen.ways[way] += 1
    match way:
        case "in place":
            folder.in_place(routes)
        case "renamed":
            folder.renamed(routes)
        case "in halves":
            await folder.in_halves(routes)
        case _:
            folder.turn(routes)


@dataclass(frozen=True)
class Rig:
    """A router under test: its folder, address, process id and output."""

    folder: Folder
    base: str
    pid: int
    output: Path
    session: aiohttp.ClientSession


async def edit(rig: Rig, edits: int, seconds: float, seen: Seen) -> None:
    """Make this many edits over this many seconds, one in ten invalid; record the delays of complaints and of every tenth edit."""
    folder, output = rig.folder, rig.output
    chance = random.Random(5)
    began = time.monotonic()
    for number in range(1, edits + 1):
        routes = text(number)
        due = began + number * seconds / edits
        if number % 10 == 5:
            right, wrong = BROKEN[number // 10 % len(BROKEN)]
            assert right in routes
            broken = routes.replace(right, wrong, 1)
            told = output.stat().st_size
            since = time.monotonic()
            await write(folder, broken, chance, seen)
            await complained(output, told, seen)
            seen.complaint_delays.append(time.monotonic() - since)
        else:
            since = time.monotonic()
            await write(folder, routes, chance, seen)
            if number % 10 == 0:
                await live(rig, number)
                seen.live.append(time.monotonic() - since)
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def complained(output: Path, told: int, seen: Seen) -> None:
    """Wait until the log, from byte `told` on, says that an edit was refused; record a fault if one of its complaints has no place."""
    async with asyncio.timeout(6):
        while True:
            with output.open("rb") as file:
                file.seek(told)
                said = [json.loads(line) for line in file.read().splitlines() if line.startswith(b"{") and line.endswith(b"}")]
            for one in said:
                if one.get("event") == "not reloaded":
                    if not all(re.match(r"routes\.yaml:\d+:\d+: ", complaint) for complaint in one["complaints"]):
                        seen.faults["a complaint without its place"] += 1
                    return
            await asyncio.sleep(0.002)


async def live(rig: Rig, number: int) -> None:
    """Ask until an answer begins with the number of this edit; TimeoutError after 6 s."""
    async with asyncio.timeout(6):
        while True:
            async with rig.session.post(f"{rig.base}/api/chat?protocol=text", data=QUESTION) as response:
                if (await response.content.readany()).startswith(b"g%d " % number):
                    return
            await asyncio.sleep(0.002)


QUESTION = json.dumps({"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]})


async def ask(rig: Rig, over: asyncio.Event, seen: Seen) -> None:
    """Ask again and again until `over` is set."""
    await asyncio.sleep(random.random())
    while not over.is_set():
        try:
            async with rig.session.post(f"{rig.base}/api/chat", data=QUESTION) as response:
                judge(response.status, await response.text(), seen)
        except aiohttp.ClientError as error:
            seen.faults[type(error).__name__] += 1


def judge(status: int, body: str, seen: Seen) -> None:
    """Record a fault if an answer is incomplete or of two configurations."""
    seen.answers += 1
    lines = [(line[0], json.loads(line[2:])) for line in body.splitlines()]
    said = "".join(value["textDelta"] for code, value in lines if code == "0").split()
    if status != 200:
        seen.faults[f"status {status}"] += 1
    elif [code for code, _ in lines][-1] != "d" or lines[-1][1]["finishReason"] != "stop":
        seen.faults["no good end"] += 1
    elif len(said) != WORDS:
        seen.faults["truncated"] += 1
    elif len(set(said)) != 1:
        seen.faults["of two configurations"] += 1


async def held(rig: Rig) -> tuple[float, float, float]:
    """Return memory in MB, live generations and open streams."""
    async with rig.session.get(f"{rig.base}/metrics") as response:
        page = await response.text()
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    return machine.rss([rig.pid]), float(values["router_generations"]), float(values["router_open_streams"])


async def soak(arguments: argparse.Namespace) -> bool:
    """Start a router and run everything; return whether every promise was kept."""
    with tempfile.TemporaryDirectory() as made:
        folder = Folder(Path(made, "config"))
        output = Path(made, "output")
        port = machine.free_port()
        command = [sys.executable, "-m", "router", "serve", "--routes", str(folder.root / "routes.yaml"), "--port", str(port)]
        with output.open("wb") as file:
            process = subprocess.Popen(command, cwd=ROOT, stderr=file, env={**os.environ, "PYTHONPATH": str(ROOT)})
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                return await under_load(Rig(folder, f"http://127.0.0.1:{port}", process.pid, output, session), arguments)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


async def ready(rig: Rig) -> None:
    """Wait until /readyz answers 200."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with rig.session.get(f"{rig.base}/readyz") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)


async def under_load(rig: Rig, arguments: argparse.Namespace) -> bool:
    """Make the edits under load, print the results, and return whether every promise was kept."""
    await ready(rig)
    over, seen = asyncio.Event(), Seen()
    clients = [asyncio.create_task(ask(rig, over, seen)) for _ in range(arguments.streams)]
    await asyncio.sleep(arguments.warm)
    await edit(rig, WARM, WARM * arguments.seconds / arguments.edits, Seen())
    before, _, _ = await held(rig)
    began = time.monotonic()
    await edit(rig, arguments.edits, arguments.seconds, seen)
    took = time.monotonic() - began
    await asyncio.sleep(2)
    after, _, streams = await held(rig)
    over.set()
    await asyncio.gather(*clients)
    async with asyncio.timeout(10):
        while (alive := (await held(rig))[1]) > 1:
            await asyncio.sleep(0.05)
    print(f"{arguments.edits} edits in {took:.0f} s ({dict(seen.ways)}), {streams:.0f} streams at once, {seen.answers} answers")
    print(f"faults: {dict(seen.faults) or 'none'}")
    print(f"broken edits: {len(seen.complaint_delays)}, each complained of with its place; {ms(seen.complaint_delays)} after the write")
    print(f"from write to live: {ms(seen.live)}")
    print(f"memory: {before:.1f} MB before, {after:.1f} MB after ({after / before - 1:+.1%}); generations alive at the end: {alive:.0f}")
    return not seen.faults and after / before - 1 <= GROWTH and alive == 1


def ms(seconds: list[float]) -> str:
    """Return the median and the 99th percentile as text."""
    ordered = sorted(seconds)
    return f"median {1000 * ordered[len(ordered) // 2]:.0f} ms, p99 {1000 * ordered[int(0.99 * (len(ordered) - 1))]:.0f} ms"


def main() -> int:
    """Run the command; return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--warm", type=float, default=30.0, help="seconds under load before memory is measured")
    return 0 if asyncio.run(soak(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
