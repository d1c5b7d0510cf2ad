"""Clients that disconnect: are their upstream connections, tasks and descriptors released, and how soon?

    python -m tests.endurance.aborts [--clients 10000] [--at-once 150] [--litellm 1000]

Each client disconnects at a random moment: before the first event, in the middle of an answer, during a tool call, during a tool's run,
while the target hangs. The provider runs in this process, so that one clock measures both ends. Exit code 1 if a promise is broken: every
provider connection closed within 0.25 s, no task and no descriptor left, memory flat.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from bench import machine, wire
from bench.run import Pulse
from bench.subjects import ROOT

WITHIN = 0.25
"""Seconds from a client's disconnect to the end of its provider connection, at most."""
GROWTH = 20.0
"""Megabytes by which memory may grow."""
NAME = re.compile(rb"client-(\d+)\D")
KINDS = ("before the first event", "in mid-answer", "during a tool call", "during a tool's run", "while the target hangs")
BUSY = 20.0
"""Milliseconds of core delay above which the measured times mean nothing."""
LONGEST = 0.8
"""Seconds after which the last client has disconnected."""

TOOLS = '''"""A tool that takes long."""

import asyncio


async def wait_long(text: str) -> str:
    """Wait."""
    await asyncio.sleep(30)
    return text
'''
ROUTES = """
targets:
  one: {{model: openai/fake, api_base: 'http://127.0.0.1:{port}/v1', api_key: sk-endurance{via}}}
routes:
  one: {{pipeline: chat, targets: [one], tools: [waiting]}}
"""


@dataclass
class Seen:
    """The measurements: the time at which each client disconnected, and by kind how long its provider connection outlasted that."""

    left: dict[int, float] = field(default_factory=dict[int, float])
    open: dict[int, float] = field(default_factory=dict[int, float])
    """Client → time of its request, for provider connections that are still open."""
    connections: set[asyncio.Transport] = field(default_factory=set[asyncio.Transport])
    delays: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})


class Provider(asyncio.Protocol):
    """A fake provider that answers by the client's number and never completes an answer."""

    transport: asyncio.Transport

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._client = -1
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)
        self._seen.connections.add(self.transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes and answer a complete request."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        if not found or (length and len(body) < int(length[1])):
            return
        self._buffer = b""
        named = NAME.search(body)
        assert named
        self._client = int(named[1])
        self._seen.open[self._client] = time.monotonic()
        kind = KINDS[self._client % len(KINDS)]
        if kind == "before the first event":
            return
        self.transport.write(wire.HEAD)
        match kind:
            case "in mid-answer":
                self._pace([wire.chunk(word) for word in wire.words(200)])
            case "during a tool call":
                self._pace([wire.called("wait_long", part) for part in ["", '{"text": "', *wire.words(200)]])
            case "during a tool's run":
                self.transport.write(wire.called("wait_long", '{"text": "x"}') + wire.tail("tool_calls"))
                self._gone()  # its connection is free again
            case _:
                self.transport.write(wire.chunk("So") + wire.chunk(" far"))

    def _pace(self, pieces: list[bytes]) -> None:
        if pieces and not self.transport.is_closing():
            self.transport.write(pieces[0])
            asyncio.get_running_loop().call_later(0.004, self._pace, pieces[1:])

    def connection_lost(self, exc: Exception | None) -> None:
        """Record that the router closed the connection."""
        self._seen.connections.discard(self.transport)
        self._gone()

    def _gone(self) -> None:
        came = self._seen.open.pop(self._client, None)
        if came is not None and self._client in self._seen.left:
            kind = KINDS[self._client % len(KINDS)]
            self._seen.delays[kind].append(time.monotonic() - max(came, self._seen.left[self._client]))


async def client(number: int, port: int, seen: Seen) -> None:
    """Ask one question as this client, and disconnect at a random moment before the answer is complete."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"messages": [{"role": "user", "content": f"client-{number} "}]}).encode()
    writer.write(b"POST /api/chat/one HTTP/1.1\r\nhost: endurance\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(random.random() * LONGEST):
            while await reader.read(65536):
                pass
    seen.left[number] = time.monotonic()
    if random.random() < 0.5:
        writer.transport.abort()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@dataclass(frozen=True)
class Held:
    """The resources of the router process: descriptors, tasks, megabytes."""

    descriptors: int
    tasks: int
    memory: float


def held(pid: int, told: Path) -> Held:
    """Return the resources that the router holds now; it reports its tasks on SIGUSR1 (see watched.py)."""
    told.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    until = time.monotonic() + 5
    while not told.exists() and time.monotonic() < until:
        time.sleep(0.005)
    return Held(machine.descriptors(pid), int(told.read_text()), machine.rss([pid]))


async def crowd(numbers: range, at_once: int, port: int, seen: Seen) -> None:
    """Run these clients, `at_once` concurrently; wait 5 s at most for their provider calls to end, then close all provider connections."""
    waiting = iter(numbers)

    async def visits() -> None:
        for number in waiting:
            await client(number, port, seen)

    await asyncio.gather(*(visits() for _ in range(at_once)))
    until = time.monotonic() + 5
    while seen.open and time.monotonic() < until:
        await asyncio.sleep(0.05)
    for idle in list(seen.connections):
        idle.close()  # what a pool keeps for the next question is not what a client left behind


async def settled(pid: int, told: Path, before: Held | None) -> Held:
    """Return the resources once they are no more than `before`, or after five seconds."""
    found = await asyncio.to_thread(held, pid, told)
    until = time.monotonic() + 5
    while before and time.monotonic() < until and (found.descriptors > before.descriptors or found.tasks > before.tasks):
        await asyncio.sleep(0.1)
        found = await asyncio.to_thread(held, pid, told)
    return found


async def lane(via: str, count: int, at_once: int, pulse: Pulse) -> bool:
    """Run `count` clients against a router whose target is reached `via` this lane; return whether every promise was kept."""
    seen = Seen()
    server = await asyncio.get_running_loop().create_server(lambda: Provider(seen), "127.0.0.1", 0, backlog=4096)
    port = machine.free_port()
    with tempfile.TemporaryDirectory(prefix="endurance-") as name:
        folder = Path(name)
        for part in ("pipelines", "tools"):
            (folder / part).mkdir()
        (folder / "pipelines/chat.yaml").write_text("steps:\n  - history: {keep: 40}\n")
        (folder / "tools/waiting.py").write_text(TOOLS)
        via_line = ", via: litellm" if via == "litellm" else ""
        (folder / "routes.yaml").write_text(ROUTES.format(port=server.sockets[0].getsockname()[1], via=via_line))
        told = folder / "tasks"
        command = [
            sys.executable,
            "-m",
            "tests.endurance.watched",
            str(told),
            "serve",
            "--routes",
            str(folder / "routes.yaml"),
            "--port",
            str(port),
        ]
        with (folder / "log").open("wb") as log:
            router = subprocess.Popen(command, cwd=ROOT, stderr=log, preexec_fn=lambda: os.sched_setaffinity(0, machine.SUBJECT))  # noqa: PLW1509
            try:
                await ready(port)
                # The pools, the caches and the allocator's own reserves fill first.
                await crowd(range(count // 10), at_once, port, seen)
                await asyncio.sleep(1)
                before = await settled(router.pid, told, None)
                seen.delays = Seen().delays
                pulse.beat()
                began = time.monotonic()
                await crowd(range(count // 10, count // 10 + count), at_once, port, seen)
                seconds, late = time.monotonic() - began, pulse.beat()
                after = await settled(router.pid, told, before)
            finally:
                router.terminate()
                router.wait()
                server.close()
    print(f"{via} lane: {count:,} clients left in {seconds:.0f} s, {sum(map(len, seen.delays.values())):,} while the provider was asked")
    print(f"  the core of the router was {late:.1f} ms late (p99) for others' sake" + (": too busy to tell" if late > BUSY else ""))
    return judged(seen, before, after)


async def ready(port: int) -> None:
    """Wait until the router's /readyz answers 200."""
    async with asyncio.timeout(60):
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                line = await reader.readline()
                writer.close()
                if b" 200 " in line:
                    return
            await asyncio.sleep(0.1)


def judged(seen: Seen, before: Held, after: Held) -> bool:
    """Print the results and return whether every promise was kept."""
    print("  milliseconds until its connection was closed")
    for kind, delays in seen.delays.items():
        if delays:
            at = sorted(delays)
            shown = "   ".join(f"{words} {at[min(len(at) - 1, int(len(at) * part))] * 1000:6.1f}" for words, part in PARTS.items())
            print(f"    {kind:24} {len(at):5}   {shown}")
    longest = max((max(delays) for delays in seen.delays.values() if delays), default=0.0)
    print(f"  never closed   {len(seen.open)}")
    for name, unit in (("descriptors", ""), ("tasks", ""), ("memory", " MB")):
        print(f"  {name:14} {getattr(before, name):.0f}{unit} before, {getattr(after, name):.0f}{unit} after")
    kept = {
        f"closed within {WITHIN} s": longest <= WITHIN and not seen.open,
        "no descriptor left": after.descriptors <= before.descriptors,
        "no task left": after.tasks <= before.tasks,
        f"memory grew by less than {GROWTH:.0f} MB": after.memory - before.memory < GROWTH,
    }
    for words, good in kept.items():
        print(f"  {'kept  ' if good else 'BROKEN'} {words}")
    return all(kept.values())


PARTS = {"median": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


async def both(clients: int, at_once: int, litellm: int) -> list[bool]:
    """Run the direct lane and the LiteLLM lane; return for each whether it kept its promises."""
    pulse = Pulse()
    made = [await lane("direct", clients, at_once, pulse)] if clients else []
    # Through LiteLLM a stream costs ten times as much: fewer clients, and fewer at once, or they would only wait for the core.
    return [*made, await lane("litellm", litellm, max(1, at_once // 10), pulse)] if litellm else made


def main() -> int:
    """Run both lanes; return 1 if a promise was broken."""
    options = argparse.ArgumentParser(
        "python -m tests.endurance.aborts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--clients", type=int, default=10_000)
    options.add_argument("--at-once", type=int, default=150)
    options.add_argument("--litellm", type=int, default=1_000)
    chosen = options.parse_args()
    os.sched_setaffinity(0, machine.OTHERS)
    kept: list[bool] = []

    async def all_of_it() -> None:
        kept.extend(await both(chosen.clients, chosen.at_once, chosen.litellm))

    machine.run(all_of_it())
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
