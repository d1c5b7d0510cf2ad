"""A Redis that is killed, paused, filled and restarted under load: what do requests notice, and how soon is it shared again?

    python -m tests.endurance.redis_faults [--clients 20] [--seconds 4] [--streams 100]

Two routers share a redis-server on loopback. Clients ask one of them, read the answer, and resume it at either, which is where a request
waits for Redis. Then one router is killed under live streams, which are read at the other. Exit code 1 if a promise is broken: a request
fails or is cut, a first byte comes 100 ms or more later than the slowest while healthy, or a stream ends over two seconds after the kill.
"""

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench import machine
from bench.subjects import ROOT

LIMIT = 0.05
"""Seconds that Redis may delay a request, per wait."""
WITHIN = 2.0
"""Seconds after a router's death within which streams of its answers must end elsewhere."""
WORDS = [f"word{number} " for number in range(20)]
LONG = [f"word{number} " for number in range(3000)]

ROUTES = """
targets:
  short: {{script: [{short}]}}
  long: {{script: [{long}]}}
routes:
  short: {{pipeline: chat, targets: [short]}}
  long: {{pipeline: chat, targets: [long]}}
server: {{redis: 'redis://127.0.0.1:{port}/0', resume: {{grace: 30s}}}}
"""


def script(words: list[str], pause: int) -> str:
    """Return a script that says these words, this many milliseconds apart."""
    return ", ".join(f"{{text: '{word}'}}, {{pause: {pause}ms}}" for word in words)


@dataclass
class Phase:
    """The measurements and faults of all requests while Redis was in one state."""

    name: str
    asked: list[float] = field(default_factory=list[float])
    """Seconds to the first byte of each question's answer."""
    found: list[float] = field(default_factory=list[float])
    """Seconds to the first byte of each resumed answer, or to the response that there is none."""
    missing: int = 0
    """Answers that were not found; without Redis, those of the other router."""
    faults: list[str] = field(default_factory=list[str])
    shared: float | None = None
    """Seconds until one router could resume an answer of the other."""


class Server:
    """A redis-server process of this program's own."""

    def __init__(self, folder: Path) -> None:
        found = shutil.which("redis-server")
        if found is None:
            raise SystemExit("redis-server is not installed (Debian: apt install redis-server)")
        self.port = machine.free_port()
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command = [found, *place, "--save", "", "--appendonly", "no"]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start the server and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(OSError):
                    return await self.command("PING")
                await asyncio.sleep(0.01)

    async def kill(self) -> None:
        """Kill the server at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def again(self) -> None:
        """Kill the server and start it again."""
        await self.kill()
        await self.start()

    async def pause(self) -> None:
        """Stop the server with SIGSTOP: it accepts data and answers nothing."""
        self._send(signal.SIGSTOP)

    async def resume(self) -> None:
        """Continue the server with SIGCONT."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def fill(self) -> None:
        """Set `maxmemory` to 1 byte, so that every write is refused."""
        await self.command("CONFIG SET maxmemory 1")

    async def empty(self) -> None:
        """Remove the memory limit."""
        await self.command("CONFIG SET maxmemory 0")

    async def command(self, command: str) -> None:
        """Send the server a command."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(command.encode() + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()


@asynccontextmanager
async def router(folder: Path, *options: str) -> AsyncGenerator[tuple[str, subprocess.Popen[bytes]], None]:
    """Run a router in a process of its own; yield its address and process. Its output goes to `log` beside the configuration."""
    port = machine.free_port()
    command = [sys.executable, "-m", "router", "serve", "--routes", str(folder / "routes.yaml"), "--port", str(port), *options]
    with (folder / "log").open("ab") as said:
        running = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(60):
            while True:
                if running.poll() is not None:
                    raise SystemExit((folder / "log").read_text(encoding="utf-8"))
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{port}/readyz") as response:
                        if response.status == 200:
                            break
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}", running
    finally:
        running.terminate()
        try:
            running.wait(15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@dataclass
class Rig:
    """Two routers, their Redis, and an HTTP session."""

    bases: list[str]
    server: Server
    session: aiohttp.ClientSession
    phase: Phase
    asked: int = 0

    def chat(self) -> str:
        """Return the id of a new chat."""
        self.asked += 1
        return f"chat-{self.asked}-{random.randrange(1 << 40):x}"


def question(chat: str, model: str) -> dict[str, object]:
    """Return the body of a question in this chat."""
    return {"id": chat, "model": model, "messages": [{"role": "user", "content": "Hi"}]}


async def client(rig: Rig) -> None:
    """Ask, read the answer, and resume it at the same or the other router, in an endless loop."""
    while True:
        phase, chat = rig.phase, rig.chat()
        own = random.choice(rig.bases)
        await timed(rig, phase, phase.asked, f"{own}/api/chat", question(chat, "short"))
        where = random.choice(rig.bases)
        phase = rig.phase
        found = await timed(rig, phase, phase.found, f"{where}/api/chat/{chat}/stream")
        phase.missing += not found and where != own
        if not found and where == own:
            phase.faults.append("the router that answered does not find it")


async def timed(rig: Rig, phase: Phase, into: list[float], url: str, body: dict[str, object] | None = None) -> bool:
    """Send one request and record its time to the first byte and any fault; return False if the response is a 204, else True."""
    began = time.monotonic()
    try:
        async with rig.session.request("GET" if body is None else "POST", url, json=body) as response:
            into.append(time.monotonic() - began)
            data = await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        phase.faults.append(type(error).__name__)
        return True
    if response.status == 204:
        return False
    if response.status != 200:
        phase.faults.append(f"status {response.status}")
    elif words_of(data) != WORDS:
        phase.faults.append("an answer that is not whole")
    return True


def words_of(data: bytes) -> list[str]:
    """Return the words of an answer in the line protocol."""
    return [json.loads(line[2:])["textDelta"] for line in data.split(b"\n") if line.startswith(b"0:")]


async def shared(rig: Rig) -> float:
    """Return the seconds until one router can resume an answer that the other has begun."""
    began = time.monotonic()
    one, other = rig.bases
    async with asyncio.timeout(30):
        while True:
            chat = rig.chat()
            async with rig.session.post(f"{one}/api/chat", json=question(chat, "short")) as asked:
                await asked.content.readline()
                await asyncio.sleep(0.1)
                async with rig.session.get(f"{other}/api/chat/{chat}/stream") as found:
                    if found.status == 200:
                        return time.monotonic() - began


async def faults(rig: Rig, clients: int, seconds: float) -> list[Phase]:
    """Put Redis through its faults under load, for `seconds` in each state; return the measurements of each state."""
    server = rig.server
    steps: list[tuple[str, Callable[[], Awaitable[None]] | None, bool]] = [
        ("healthy", None, False),
        ("killed", server.kill, False),
        ("started again", server.start, True),
        ("paused (SIGSTOP)", server.pause, False),
        ("goes on", server.resume, True),
        ("full (maxmemory)", server.fill, False),
        ("has room again", server.empty, True),
        ("restarted at once", server.again, True),
    ]
    phases: list[Phase] = []
    running = [asyncio.create_task(client(rig)) for _ in range(clients)]
    await asyncio.sleep(1)  # connections are made, code is warm
    for name, happens, again in steps:
        rig.phase = Phase(name)
        phases.append(rig.phase)
        if happens is not None:
            await happens()
        if again:
            rig.phase.shared = await shared(rig)
        await asyncio.sleep(seconds)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    return phases


async def killed(rig: Rig, victim: subprocess.Popen[bytes], streams: int) -> tuple[str, bool]:
    """Kill one router under live streams; return a report of what the other delivers, and whether the promises were kept."""
    one, other = rig.bases
    chats = [rig.chat() for _ in range(streams)]
    asked = [await rig.session.post(f"{one}/api/chat", json=question(chat, "long")) for chat in chats]
    viewers = [await rig.session.get(f"{other}/api/chat/{chat}/stream") for chat in chats]
    found = sum(viewer.status == 200 for viewer in viewers)
    await asyncio.sleep(2)
    victim.kill()
    cut = time.monotonic()
    seen = [len(words_of(await rest(one))) for one in asked]
    ends: list[float] = []

    async def to_the_end(viewer: aiohttp.ClientResponse) -> list[str]:
        data = await rest(viewer)
        ends.append(time.monotonic() - cut)
        return words_of(data) if b'\n3:{"type":"error"' in data and b'"finishReason":"error"' in data else []

    read = await asyncio.gather(*(to_the_end(viewer) for viewer in viewers))
    right = all(words == LONG[: len(words)] and words for words in read)
    behind = [count - len(words) for count, words in zip(seen, read, strict=True)]
    told = (
        f"killed under {streams} streams: {found} found at the other router, "
        f"{'each word once and an error at the end' if right else 'NOT AS IT SHOULD BE'}; "
        f"ended {min(ends):.2f} to {max(ends):.2f} s after the kill; "
        f"at most {max(0, *behind)} words behind whoever read at the one that died"
    )
    return told, right and found == streams and max(ends) < WITHIN


async def rest(response: aiohttp.ClientResponse) -> bytes:
    """Read a response until its connection ends in any way."""
    data = b""
    with contextlib.suppress(aiohttp.ClientError):
        async for piece in response.content.iter_any():
            data += piece
    response.close()
    return data


def table(phases: list[Phase]) -> tuple[str, bool]:
    """Return a table of the phases, and whether the promises were kept."""
    usual = max(phases[0].found + phases[0].asked)
    lines = [
        f"{'Redis':<20}{'requests':>9}{'5xx, cut':>9}{'ask: p50':>9}{'worst':>7}{'find: p50':>10}{'worst':>7}{'extra':>7}{'shared again':>14}"
    ]
    good = True
    for phase in phases:
        worst = max(phase.asked + phase.found)
        extra = max(0.0, worst - usual)
        good &= not phase.faults and extra < 2 * LIMIT
        again = "" if phase.shared is None else f"{phase.shared:.2f} s"
        lines.append(
            f"{phase.name:<20}{len(phase.asked) + len(phase.found):>9}{len(phase.faults):>9}"
            f"{ms(statistics.median(phase.asked)):>9}{ms(max(phase.asked)):>7}"
            f"{ms(statistics.median(phase.found)):>10}{ms(max(phase.found)):>7}{ms(extra):>7}{again:>14}"
        )
        lines += [f"    {fault}" for fault in sorted(set(phase.faults))]
    lines.append("first bytes in milliseconds; extra: the worst against the worst while all is well")
    return "\n".join(lines), good


def ms(seconds: float) -> str:
    """Return seconds as a number of milliseconds."""
    return f"{seconds * 1000:.0f}"


async def both(arguments: argparse.Namespace) -> bool:
    """Run the faults of Redis, then kill a router; return whether the promises were kept."""
    with tempfile.TemporaryDirectory(prefix="redis-faults-") as name:
        folder = Path(name)
        server = Server(folder)
        shutil.copytree(ROOT / "pipelines", folder / "pipelines")
        routes = ROUTES.format(short=script(WORDS, 10), long=script(LONG, 20), port=server.port)
        (folder / "routes.yaml").write_text(routes, encoding="utf-8")
        await server.start()
        try:
            async with (
                router(folder) as (one, victim),
                router(folder) as (other, _),
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(60)) as session,
            ):
                rig = Rig([one, other], server, session, Phase("before"))
                told, good = table(await faults(rig, arguments.clients, arguments.seconds))
                print(told, flush=True)
                words, right = await killed(rig, victim, arguments.streams)
                print(words, flush=True)
                return good and right
        finally:
            await server.resume()
            await server.kill()


def main() -> int:
    """Run the command; return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=20, help="who ask and look again, without end; default: 20")
    parser.add_argument("--seconds", type=float, default=4, help="of each state; default: 4")
    parser.add_argument("--streams", type=int, default=100, help="under which a router is killed; default: 100")
    outcome: list[bool] = []

    async def measured() -> None:
        outcome.append(await both(parser.parse_args()))

    machine.run(measured())
    return 0 if outcome == [True] else 1


if __name__ == "__main__":
    sys.exit(main())
