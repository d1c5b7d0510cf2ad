"""A mixed load for a long time: does memory, a task or a descriptor accumulate?

    python -m tests.endurance.soak [--minutes 10] [--warm 3] [--share 0.7]

One router at a share of its capacity: streams on several wires, complete answers, tools, failing and cut targets, cache hits, clients that
disconnect, resumed chats, unknown callers, valid and invalid edits. Callers have a key, and a Redis is used if redis-server is installed.
Memory is sampled every ten seconds; its growth per hour is the slope of a fitted line, with twice its standard error. The provider runs
in this process. Exit code 1 if memory grows by more than 1 MiB per hour beyond that error, an answer is wrong, or a task or descriptor is
left.
"""

import argparse
import asyncio
import itertools
import json
import math
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from bench import machine, wire
from bench.subjects import ROOT
from router.callers.keys import hashed, new
from tests.endurance.aborts import held, ready
from tests.endurance.redis_faults import Server

MIB = 1e6 / 2**20
SAMPLE = 10.0
"""Seconds between two memory samples."""
EDIT = 12.0
"""Seconds between two edits; one in four is invalid."""
GROWTH = 1.0
"""Mebibytes by which memory may grow per hour."""
PACES = (60.0, 180.0)
"""Rates, in visits per second, from which the CPU cost of a visit is computed."""
CALIBRATION = 12.0
"""Seconds for which each calibration rate runs."""
PATIENCE = 30.0
"""Seconds to wait for an answer."""
MODEL = re.compile(rb'"model":"(\w+)"')
WORDS = [wire.chunk(word) for word in wire.words(24)]
PACE = 0.02

ROUTES = """# edit {number}
targets:
  paced: {{model: openai/paced, {base}}}
  burst: {{model: openai/burst, {base}}}
  calls: {{model: openai/calls, {base}}}
  fails: {{model: openai/fails, {base}}}
  cuts: {{model: openai/cuts, {base}}}
  hangs: {{model: openai/hangs, {base}}}
defaults: {{retry: {{attempts: 2, backoff: 10ms..50ms}}, rescue: continue, timeout: {{first_token: 10s}}}}
routes:
  paced: {{pipeline: chat, targets: [paced]}}
  burst: {{pipeline: chat, targets: [burst]}}
  tools: {{pipeline: chat, targets: [calls], tools: [clock]}}
  failing: {{pipeline: chat, targets: [fails, burst]}}
  cut: {{pipeline: chat, targets: [cuts, paced]}}
  hanging: {{pipeline: chat, targets: [hangs]}}
  kept: {{pipeline: chat, targets: [burst], cache: {{ttl: 5s}}}}
  limited: {{pipeline: chat, targets: [burst], limit: {{requests: 20/second, per: route}}}}
server:
  reload: on
  resume: {{keep: 10s, grace: 2s}}
  request: {{messages: {messages}}}
  auth: {{keys: {{soak: {{hash: '{hash}', limit: {{requests: 1000000/second}}}}}}}}
  {redis}
"""
KEY = new()
KNOWN = {"authorization": f"Bearer {KEY}", "connection": "close"}
AWAY = "redis is away: local from now on"
LINES = 4
"""Connections to Redis that a router keeps open at most."""
TOOLS = 'async def get_time() -> str:\n    """The time."""\n    return "now"\n'


class Provider(asyncio.Protocol):
    """A fake provider whose behaviour is the model's name: `fails` (503), `cuts` (half an answer), `calls` (a tool first), `hangs`."""

    transport: asyncio.Transport

    def __init__(self, open_: set[asyncio.Transport]) -> None:
        self._open = open_
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and add it to the set of open connections."""
        self.transport = cast("asyncio.Transport", transport)
        self._open.add(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the closed connection."""
        self._open.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes and answer a complete request."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        if found and length and len(body) >= int(length[1]):
            self._buffer = b""
            named = MODEL.search(body)
            assert named
            self._answer(named[1].decode(), b'"role":"tool"' in body)

    def _answer(self, model: str, called: bool) -> None:
        match model:
            case "fails":
                self.transport.write(b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n")
            case "hangs":
                self.transport.write(wire.HEAD)
            case "cuts":
                self.transport.write(wire.HEAD)
                self._pace(WORDS[:8], self.transport.abort)
            case "paced":
                self.transport.write(wire.HEAD)
                self._pace(WORDS, lambda: self.transport.write(wire.tail()))
            case "calls" if not called:
                self.transport.write(wire.HEAD + wire.called("get_time", "{}") + wire.tail("tool_calls"))
            case _:
                self.transport.write(wire.HEAD + b"".join(WORDS) + wire.tail())

    def _pace(self, pieces: list[bytes], end: Callable[[], object]) -> None:
        if self.transport.is_closing():
            return
        if not pieces:
            end()
            return
        self.transport.write(pieces[0])
        asyncio.get_running_loop().call_later(PACE, self._pace, pieces[1:], end)


@dataclass(frozen=True)
class Kind:
    """A kind of visit.

    share: its weight; ends: text that a complete answer contains; leaves: the client disconnects within this many seconds
    """

    name: str
    share: int
    path: str
    fields: dict[str, object] = field(default_factory=dict[str, object])
    ends: bytes = b'"finishReason":"stop"'
    statuses: frozenset[int] = frozenset({200})
    leaves: float = 0.0
    found: bool = False
    """True if the client resumes the answer by its chat's id after disconnecting."""
    known: bool = True
    """True if the client sends a valid key."""


UI, DATA, TEXT = (f"?protocol={name}" for name in ("ui-message-stream", "data-stream", "text"))
LAST = b"word23"
KINDS = (
    Kind("line", 14, "/api/chat/paced"),
    Kind("data stream", 12, "/api/chat/paced" + DATA),
    Kind("UI message stream", 12, "/api/chat/paced" + UI, ends=b"[DONE]"),
    Kind("OpenAI", 12, "/v1/chat/completions", {"model": "paced", "stream": True}, b"[DONE]"),
    Kind("text", 4, "/api/chat/burst" + TEXT, ends=LAST),
    Kind("whole", 8, "/v1/chat/completions", {"model": "burst"}, b'"finish_reason":"stop"'),
    Kind("tools", 8, "/api/chat/tools"),
    Kind("failing target", 6, "/api/chat/failing"),
    Kind("cut target", 6, "/api/chat/cut"),
    Kind("kept", 4, "/api/chat/kept"),
    Kind("limited", 4, "/api/chat/limited", statuses=frozenset({200, 429})),
    Kind("refused", 2, "/api/chat/nothing", statuses=frozenset({404})),
    Kind("stranger", 2, "/api/chat/paced", statuses=frozenset({401}), known=False),
    Kind("client leaves", 6, "/api/chat/paced", leaves=0.5),
    Kind("client leaves a silence", 2, "/api/chat/hanging", leaves=0.5),
    Kind("chat found again", 4, "/api/chat/paced" + UI, ends=b"[DONE]", leaves=0.3, found=True),
)


@dataclass
class Seen:
    """The results. `faults`: description → count."""

    visits: Counter[str] = field(default_factory=Counter[str])
    faults: Counter[str] = field(default_factory=Counter[str])
    edits: int = 0
    broken: int = 0
    complaints: int = 0
    """The number of complaints of invalid edits."""
    away: int = 0
    """Times that the router considered Redis unavailable, since it shares its cores with the load."""
    running: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])


@dataclass(frozen=True)
class Rig:
    """A router under test: its folder, port and process, the provider's port and open connections."""

    folder: Path
    port: int
    upstream: int
    process: subprocess.Popen[bytes]
    connections: set[asyncio.Transport]
    redis: int | None
    """The port of the Redis; None without one."""

    def held(self) -> tuple[int, int]:
        """Return the descriptors and tasks that the router holds, without its connections to Redis (LINES at most)."""
        now = held(self.process.pid, self.folder / "tasks")
        return now.descriptors - min(LINES, clients_of(self.redis)), now.tasks


def clients_of(redis: int | None) -> int:
    """Return the number of connections that a Redis has, except this one; 0 without a Redis."""
    if redis is None:
        return 0
    with socket.create_connection(("127.0.0.1", redis), 10) as asking:
        asking.sendall(b"INFO clients\r\n")
        said = b""
        while (found := re.search(rb"connected_clients:(\d+)\r\n", said)) is None:
            said += asking.recv(1 << 16)
    return int(found[1]) - 1


async def exchange(rig: Rig, request: bytes, leaves: float) -> bytes | None:
    """Send a request and return the response; None if the client disconnected first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port, limit=1 << 20)
    pieces: list[bytes] = []
    try:
        writer.write(request)
        async with asyncio.timeout(leaves or PATIENCE):
            while piece := await reader.read(1 << 16):
                pieces.append(piece)
        return b"".join(pieces)
    except TimeoutError:
        if not leaves:
            raise
        return None
    finally:
        if random.random() < 0.5:
            writer.transport.abort()
        writer.close()


def posted(kind: Kind, fields: dict[str, object]) -> bytes:
    """Return a question as HTTP bytes."""
    return wire.request(kind.path, fields, KNOWN if kind.known else {"connection": "close"})


def asked_again(chat: str) -> bytes:
    """Return the request that resumes a chat's answer, as HTTP bytes."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in KNOWN.items())
    return f"GET /api/chat/{chat}/stream HTTP/1.1\r\nhost: x\r\n{headers}\r\n".encode()


async def visit(rig: Rig, kind: Kind, number: int, seen: Seen) -> None:
    """Make one visit of this kind and record faults."""
    seen.visits[kind.name] += 1
    chat = f"chat-{number}"
    try:
        fields = {**kind.fields, "id": chat} if kind.found else kind.fields
        answer = await exchange(rig, posted(kind, fields), random.random() * kind.leaves)
        if answer is None and kind.found:
            answer = await exchange(rig, asked_again(chat), 0)
            if answer and answer.startswith(b"HTTP/1.1 204"):
                return  # it left before its question had been read
        if answer is not None:
            judge(kind, answer, seen)
    except (OSError, TimeoutError) as error:
        seen.faults[f"{kind.name}: {type(error).__name__}"] += 1


def judge(kind: Kind, answer: bytes, seen: Seen) -> None:
    """Record a fault if an answer has a wrong status or is incomplete."""
    status = int(answer[9:12] or 0)
    if status not in kind.statuses:
        seen.faults[f"{kind.name}: status {status}"] += 1
    elif status == 200 and (kind.ends not in answer or LAST not in answer):
        seen.faults[f"{kind.name}: no good end"] += 1


async def load(rig: Rig, rate: float, seconds: float, seen: Seen) -> None:
    """Start this many visits per second, regardless of how long each takes."""
    kinds = random.Random(6).choices(KINDS, [kind.share for kind in KINDS], k=max(1, int(rate * seconds)))
    began = time.monotonic()
    for number, kind in enumerate(kinds):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        task = asyncio.create_task(visit(rig, kind, number, seen))
        seen.running.add(task)
        task.add_done_callback(seen.running.discard)


async def settled(seen: Seen) -> None:
    """Wait until all visits have ended."""
    while seen.running:
        await asyncio.wait(seen.running)


async def capacity(rig: Rig, seen: Seen) -> float:
    """Return the visits per second that would fill one core, extrapolated from the CPU cost of two rates."""
    costs: list[float] = []
    for rate in PACES:
        before, began = machine.cpu([rig.process.pid]), time.monotonic()
        await load(rig, rate, CALIBRATION, seen)
        costs.append((machine.cpu([rig.process.pid]) - before) / (time.monotonic() - began))
    more = (costs[1] - costs[0]) / (PACES[1] - PACES[0])
    return PACES[1] + (1 - costs[1]) / more


def routes(number: int, upstream: int, redis: int | None) -> str:
    """Return the configuration of an edit."""
    base = f"api_base: 'http://127.0.0.1:{upstream}/v1', api_key: sk-soak"
    shared = f"redis: 'redis://127.0.0.1:{redis}/0'" if redis else ""
    return ROUTES.format(number=number, base=base, messages=100 + number % 50, hash=hashed(KEY), redis=shared)


async def edit(rig: Rig, seen: Seen) -> None:
    """Edit the configuration every 12 s until cancelled; one edit in four is invalid."""
    file = rig.folder / "routes.yaml"
    while True:
        await asyncio.sleep(EDIT)
        seen.edits += 1
        text = routes(seen.edits, rig.upstream, rig.redis)
        if seen.edits % 4 == 2:
            seen.broken += 1
            text = text.replace("targets: [burst]", "targets: [brust]", 1)
        beside = rig.folder / ".routes.yaml.swp"
        beside.write_text(text, encoding="utf-8")
        beside.rename(file)


def listen(said: IO[bytes], seen: Seen) -> None:
    """Read the router's log to its end, and record each entry above `info` as a fault, except complaints of edits and an absent Redis."""
    speaks = False
    for line in said:
        if line.startswith(b'{"time"'):
            speaks = True
            if b'"level": "info"' in line:
                continue
            event = str(json.loads(line)["event"])
            if event == "not reloaded":
                seen.complaints += 1
            elif event == AWAY:
                seen.away += 1
            else:
                seen.faults[f"it said: {event}"] += 1
        elif speaks:  # its first words are for whoever has started it
            seen.faults["it said what is no line of its log"] += 1


@dataclass(frozen=True)
class Line:
    """A fitted line: its slope and the standard error of the slope."""

    slope: float
    error: float


def fitted(samples: Sequence[tuple[float, float]]) -> Line:
    """Fit a line by least squares; the standard error accounts for the correlation of neighbouring samples."""
    count = len(samples)
    middle = sum(at for at, _ in samples) / count, sum(value for _, value in samples) / count
    spread = sum((at - middle[0]) ** 2 for at, _ in samples)
    slope = sum((at - middle[0]) * (value - middle[1]) for at, value in samples) / spread
    off = [value - middle[1] - slope * (at - middle[0]) for at, value in samples]
    squares = sum(one * one for one in off)
    lean = sum(one * other for one, other in itertools.pairwise(off)) / squares if squares else 0.0
    worth = max(3.0, count * (1 - max(0.0, lean)) / (1 + max(0.0, lean)))
    return Line(slope, math.sqrt(squares / (worth - 2) / spread))


async def under_load(rig: Rig, arguments: argparse.Namespace) -> bool:
    """Run load and edits, sample memory, and return whether every promise was kept."""
    seen = Seen()
    assert rig.process.stderr is not None
    listening = asyncio.create_task(asyncio.to_thread(listen, rig.process.stderr, seen))
    await load(rig, 20, 3, seen)
    await settled(seen)
    before = await released(rig, None)
    most = await capacity(rig, seen)
    rate = most * arguments.share
    print(f"a core would do {most:.0f} visits in a second; {rate:.0f} come", flush=True)
    editing = asyncio.create_task(edit(rig, seen))
    seconds = arguments.minutes * 60
    loading = asyncio.create_task(load(rig, rate, seconds, seen))
    samples: list[tuple[float, float]] = []
    began, used = time.monotonic(), machine.cpu([rig.process.pid])
    while (now := time.monotonic() - began) < seconds:
        samples.append((now / 3600, machine.rss([rig.process.pid]) * MIB))
        print(f"{now:6.0f} s   {samples[-1][1]:7.2f} MiB   {len(seen.running):4} at once", flush=True)
        await asyncio.sleep(began + len(samples) * SAMPLE - time.monotonic())
    busy = (machine.cpu([rig.process.pid]) - used) / (time.monotonic() - began)
    editing.cancel()
    await loading
    await settled(seen)
    after = await released(rig, before)
    rig.process.terminate()
    await listening
    print(f"the router used {busy:.0%} of a core")
    return judged(seen, [one for one in samples if one[0] >= arguments.warm / 60], before, after)


async def released(rig: Rig, before: tuple[int, int] | None) -> tuple[int, int]:
    """Return the descriptors and tasks once they are no more than `before`, or after 20 s; without `before` at once."""
    until = time.monotonic() + 20
    while True:
        await asyncio.sleep(1)
        for idle in list(rig.connections):
            idle.close()  # what the pool keeps for the next question is not left behind
        await asyncio.sleep(0.2)
        now = await asyncio.to_thread(rig.held)
        if time.monotonic() > until or (before is not None and now[0] <= before[0] and now[1] <= before[1]):
            return now
        if before is None:
            return now


def judged(seen: Seen, kept: list[tuple[float, float]], before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Print the results and return whether every promise was kept."""
    line = fitted(kept)
    minutes = (kept[-1][0] - kept[0][0]) * 60
    print(f"{sum(seen.visits.values()):,} visits: {', '.join(f'{count:,} {name}' for name, count in seen.visits.items())}")
    print(f"{seen.edits} edits, {seen.broken} of them broken, {seen.complaints} complained of; Redis was away {seen.away} times")
    print(f"faults: {dict(seen.faults) or 'none'}")
    print(f"memory: {kept[0][1]:.1f} MiB after warming up, {kept[-1][1]:.1f} MiB {minutes:.0f} minutes later")
    print(f"  {line.slope:+.2f} ± {2 * line.error:.2f} MiB in an hour")
    print(f"descriptors: {before[0]} before, {after[0]} after; tasks: {before[1]} before, {after[1]} after")
    promises = {
        f"memory does not grow by more than {GROWTH:g} MiB in an hour, beyond the error": line.slope - 2 * line.error <= GROWTH,
        "every answer is what it should be": not seen.faults,
        "every broken edit is complained of": seen.complaints >= seen.broken - 1,  # the last may be overtaken by the end
        "no descriptor left": after[0] <= before[0],
        "no task left": after[1] <= before[1],
    }
    for words, good in promises.items():
        print(f"  {'kept  ' if good else 'BROKEN'} {words}")
    return all(promises.values())


@asynccontextmanager
async def redis(folder: Path) -> AsyncGenerator[int | None, None]:
    """Run a Redis of this program's own and yield its port; None if redis-server is not installed."""
    if shutil.which("redis-server") is None:
        print("redis-server is not installed: nothing is shared")
        yield None
        return
    server = Server(folder)
    os.sched_setaffinity(0, machine.CORES)  # it goes where there is room: the load alone keeps its core busy
    await server.start()
    os.sched_setaffinity(0, machine.OTHERS)
    try:
        yield server.port
    finally:
        await server.kill()


async def soak(arguments: argparse.Namespace) -> bool:
    """Start provider, Redis and router, and run the load; return whether every promise was kept."""
    connections: set[asyncio.Transport] = set()
    server = await asyncio.get_running_loop().create_server(lambda: Provider(connections), "127.0.0.1", 0, backlog=4096)
    upstream, port = int(server.sockets[0].getsockname()[1]), machine.free_port()
    with tempfile.TemporaryDirectory(prefix="endurance-") as name:
        folder = Path(name)
        (folder / "pipelines").mkdir()
        (folder / "tools").mkdir()
        (folder / "pipelines/chat.yaml").write_text("steps:\n  - history: {keep: 40}\n", encoding="utf-8")
        (folder / "tools/clock.py").write_text(TOOLS, encoding="utf-8")
        async with redis(folder) as shared:
            (folder / "routes.yaml").write_text(routes(0, upstream, shared), encoding="utf-8")
            served = ["serve", "--routes", str(folder / "routes.yaml"), "--port", str(port)]
            command = [sys.executable, "-m", "tests.endurance.watched", str(folder / "tasks"), *served]
            core = machine.SUBJECT
            process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, core))  # noqa: PLW1509
            try:
                await ready(port)
                return await under_load(Rig(folder, port, upstream, process, connections, shared), arguments)
            finally:
                process.kill()
                process.wait()
                server.close()


def main() -> int:
    """Run the command; return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(
        "python -m tests.endurance.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--warm", type=float, default=3.0, help="minutes after whose end memory is held against itself")
    parser.add_argument("--share", type=float, default=0.7, help="of what the router can do")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, machine.OTHERS)
    kept: list[bool] = []

    async def all_of_it() -> None:
        kept.append(await soak(arguments))

    machine.run(all_of_it())
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
