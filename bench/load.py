"""The load generator, a process of its own. It reads one job per line of stdin as JSON and writes one result per line to stdout.

{"job": "closed", "port": 1, "request": "POST …", "clients": 16, "seconds": 1.5, "least": 24, "pids": [7]}
{"job": "paced", "port": 1, "request": "POST …", "streams": 100, "pids": [7]}
{"job": "held open", …}                      as paced, with the memory while the streams are open
{"job": "standing", "port": 1, "request": "POST …", "streams": 4000, "pids": [7]}   endless streams, closed after the measurement
{"job": "once", "port": 1, "request": "…"}   one complete answer
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import cast

from bench import machine, wire

SENT = re.compile(rb"t=(\d{7}\.\d{6}) ")
FRAMES = re.compile(rb"(?:^|\r\n)[0-9A-Fa-f]+\r\n")
"""The chunk headers of HTTP, which nginx may insert in the middle of a word."""
RAMP = 0.6
"""Seconds in which the streams of a paced job are opened."""
WINDOW = 2.0
"""Seconds in which paced streams are measured; no stream ends before."""


@dataclass(frozen=True)
class Job:
    """One job. `pids`: processes whose CPU and memory are measured; `least`, `most`: answers to count at least and at most."""

    job: str
    port: int
    request: str
    clients: int = 1
    seconds: float = 1.0
    least: int = 1
    most: int = 1_000_000_000
    streams: int = 1
    pids: list[int] = field(default_factory=list[int])


@dataclass
class Found:
    """The result of a job: answers or chunks counted, seconds, CPU seconds; times in ms, memory in MB; `wrong`: its failure, if any."""

    count: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    first: list[float] = field(default_factory=list[float])
    lag50: float = 0.0
    lag99: float = 0.0
    memory: float = 0.0
    text: str = ""
    wrong: str = ""


class Asking(asyncio.Protocol):
    """A client connection. `heard` gets each piece of the body; `ended` is called when an answer is complete or the connection is lost."""

    transport: asyncio.Transport

    def __init__(self, ended: Callable[["Asking"], None]) -> None:
        self._ended = ended
        self.asked = self.first = 0.0
        self._head = b""
        self._tail = b""
        self._left = -1
        self._in_body = False
        self.wrong = ""
        self.keep: list[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods alone

    def ask(self, request: bytes) -> None:
        """Send a request over the open connection."""
        self._head = self._tail = b""
        self._left = -1
        self._in_body = False
        self.first = 0.0
        self.asked = time.monotonic()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take a read, and call `ended` if the answer is complete."""
        if not self._in_body:
            data = self._begun(data)
            if not data:
                return
        if not self.first:
            self.first = time.monotonic()
        if self.keep is not None:
            self.keep.append(data)
        self.heard(data)
        if self._left >= 0:
            self._left -= len(data)
            over = self._left <= 0
        else:
            self._tail = self._tail[-4:] + data[-5:]
            over = self._tail.endswith(wire.END)
        if over:
            self._ended(self)

    def heard(self, data: bytes) -> None:
        """Take a piece of the body; the base class ignores it."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Record that the server closed the connection, and call `ended`."""
        if not self.wrong:
            self.wrong = "the connection was closed"
        self._ended(self)

    def _begun(self, data: bytes) -> bytes:
        """Parse the head of the response and return the part of this read that belongs to the body; empty until the head is complete."""
        self._head += data
        head, found, body = self._head.partition(b"\r\n\r\n")
        if not found:
            return b""
        if not head.startswith(b"HTTP/1.1 200"):
            self.wrong = self._head[:400].decode("utf-8", "replace")
        lower = head.lower()
        if b"content-length:" in lower:
            self._left = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        self._in_body = True
        return body


class Timed(Asking):
    """A connection with a paced stream, whose chunks contain the time at which they were sent."""

    lags: list[float]

    def heard(self, data: bytes) -> None:
        """Record the lag of each chunk."""
        now = time.monotonic()
        self.lags.extend(now - float(sent) for sent in SENT.findall(data))


async def closed(job: Job) -> Found:
    """Run clients that each ask again at once; stop after `seconds` and `least` answers, or after `most` answers."""
    loop = asyncio.get_running_loop()
    request = job.request.encode()
    found = Found()
    over = asyncio.Event()
    began = time.monotonic() + min(0.3, job.seconds / 4)
    until = began + job.seconds
    started: list[float] = []
    last = 0.0
    count = 0

    def ended(one: Asking) -> None:
        nonlocal last, count
        now = time.monotonic()
        if one.wrong:
            found.wrong = one.wrong
            over.set()
            return
        if not started and now >= began:
            started.extend((now, machine.cpu(job.pids)))
        elif started and not over.is_set():
            count += 1
            last = now
            if len(found.first) < 4096:
                found.first.append((one.first - one.asked) * 1000)
            if count >= job.most or (now >= until and count >= job.least):
                found.cpu = machine.cpu(job.pids) - started[1]
                over.set()
        if over.is_set():
            return
        one.ask(request)

    clients: list[Asking] = []
    for _ in range(job.clients):
        _, client = await loop.create_connection(lambda: Asking(ended), "127.0.0.1", job.port)
        clients.append(client)
    for client in clients:
        client.ask(request)
    await asyncio.wait_for(over.wait(), job.seconds * 20 + 120)
    for client in clients:
        client.wrong = client.wrong or "over"
        client.transport.abort()
    found.count, found.seconds = count, last - started[0] if started else 0.0
    return found


async def paced(job: Job) -> Found:
    """Open streams one after the other, measure while all run, and read them to their end."""
    loop = asyncio.get_running_loop()
    request = job.request.encode()
    found = Found()
    lags: list[float] = []
    left = job.streams
    over = asyncio.Event()

    def ended(one: Asking) -> None:
        nonlocal left
        if one.wrong == "over":
            return
        found.wrong = one.wrong or found.wrong
        one.wrong = "over"
        left -= 1
        if not left:
            over.set()
        one.transport.close()

    memory = machine.rss(job.pids) if job.pids else 0.0
    for index in range(job.streams):
        _, stream = await loop.create_connection(lambda: Timed(ended), "127.0.0.1", job.port)
        stream.lags = lags
        stream.ask(request)
        if job.job == "paced":
            await asyncio.sleep(RAMP / job.streams if index % 4 == 0 else 0)
    await asyncio.sleep(0.2)
    lags.clear()
    began, used = time.monotonic(), machine.cpu(job.pids)
    await asyncio.sleep(WINDOW - 0.2 if job.job == "paced" else 0.6)
    found.count, found.seconds, found.cpu = len(lags), time.monotonic() - began, machine.cpu(job.pids) - used
    found.memory = machine.rss(job.pids) - memory if job.pids else 0.0
    late = sorted(lags)
    if late:
        found.lag50, found.lag99 = late[len(late) // 2] * 1000, late[len(late) * 99 // 100] * 1000
    await asyncio.wait_for(over.wait(), 60)
    return found


async def standing(job: Job) -> Found:
    """Open streams and leave them open; measure for `seconds` once each has received a chunk, then close them."""
    loop = asyncio.get_running_loop()
    request = job.request.encode()
    found = Found()
    lags: list[float] = []
    memory = machine.rss(job.pids)
    streams: list[Timed] = []

    def ended(one: Asking) -> None:
        if one.wrong != "over":
            found.wrong = one.wrong or "a stream ended"

    for index in range(job.streams):
        _, stream = await loop.create_connection(lambda: Timed(ended), "127.0.0.1", job.port)
        stream.lags = lags
        stream.ask(request)
        streams.append(stream)
        if index % 10 == 0:
            await asyncio.sleep(0.01)
    async with asyncio.timeout(120):
        while not found.wrong and not all(stream.first for stream in streams):
            await asyncio.sleep(0.1)
    lags.clear()
    began, used = time.monotonic(), machine.cpu(job.pids)
    await asyncio.sleep(job.seconds)
    found.count, found.seconds, found.cpu = len(lags), time.monotonic() - began, machine.cpu(job.pids) - used
    found.memory = machine.rss(job.pids) - memory
    for stream in streams:
        stream.wrong = "over"
        stream.transport.abort()
    return found


async def once(job: Job) -> Found:
    """Read one complete answer and return its text."""
    over = asyncio.Event()
    _, client = await asyncio.get_running_loop().create_connection(lambda: Asking(lambda _: over.set()), "127.0.0.1", job.port)
    client.keep = []
    client.ask(job.request.encode())
    await asyncio.wait_for(over.wait(), 10)
    found = Found(count=1, wrong=client.wrong, text=FRAMES.sub(b"", b"".join(client.keep)).decode("utf-8", "replace"))
    client.transport.abort()
    return found


JOBS = {"closed": closed, "paced": paced, "held open": paced, "standing": standing, "once": once}


async def work() -> None:
    """Run the jobs from stdin one after the other, and print each result."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        job = Job(**json.loads(line))
        try:
            found = await JOBS[job.job](job)
        except (OSError, TimeoutError) as error:
            found = Found(wrong=f"{type(error).__name__}: {error}")
        print(json.dumps(asdict(found)), flush=True)


if __name__ == "__main__":
    machine.run(work())
