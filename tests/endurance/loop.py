"""Measures whether the event loop is ever blocked: the longest wait for /healthz during actions that once blocked it.

    python -m tests.endurance.loop [--targets 3000]

One router with one worker. A separate program requests /healthz every 5 ms on one connection and records each wait. The router's DNS
resolver is replaced by one that does not answer and records the names. Exit code 1 if a wait is longer than half a second, or a name is
looked up.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp

from bench import machine
from bench.subjects import ROOT

BOUND = 0.5
"""Seconds that a health check may wait."""
EVERY = 0.005
BODIES = 24
LARGEST = 8 * 1024 * 1024
"""Bytes of the largest accepted body, by default."""
CLIENTS = 3
SECONDS = 4.0
"""Seconds for which an endless response is sent, at most."""
PIECE = b"y" * 65536
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
HOSTILE: dict[str, bytes] = {
    "header": b"HTTP/1.1 200 OK\r\nx: ",
    "name": b"HTTP/1.1 200 OK\r\n",
    "status": b"HTTP/1.1 200 ",
    "trailer": CHUNKED + b"1\r\n\n\r\n0\r\nx: ",
    "extension": CHUNKED + b"5;",
}
"""Name → the beginning of a provider's endless response."""
LANES = {"direct": "openai/gpt", "litellm": "openai/gpt, via: litellm"}
LARGE = {"direct": "openai/gpt-4o", "litellm": "openai/gpt-4o, via: litellm"}
LLAMAS = ("hosted_vllm/llama-3.1-8b", "gemini/llama-3.1-8b", "openai/llama-3.1-8b", "together_ai/meta-llama/llama-2-7b")
PAGES = ("/metrics", "/admin/targets", "/admin/config", "/admin/requests", "/api/models", "/v1/models", "/docs", "/openapi.json", "/readyz")
DEAF = """
import socket, time
look = socket.getaddrinfo
def looked(host, *more, **named):
    if host in (None, "localhost") or str(host).startswith("127."):
        return look(host, *more, **named)
    with open({path!r}, "a") as file:
        file.write(str(host) + "\\n")
    time.sleep(20)
    raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")
socket.getaddrinfo = looked
"""
"""Code that replaces the router's DNS resolver by one that records names and does not answer."""


def nested(model: str) -> bytes:
    """Return a body of just under 8 MiB, nested 60 levels deep."""
    one = b'{"a":' * 60 + b"1" + b"}" * 60
    begin = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}]}).encode()[:-1] + b',"x":['
    return begin + b",".join([one] * ((LARGEST - len(begin) - 2) // (len(one) + 1))) + b"]}"


def full(model: str) -> bytes:
    """Return a body of just under 8 MiB with as many nested values as a body may have."""
    one = b'{"a":' * 60 + b"1" + b"}" * 60
    begin = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}]}).encode()[:-1] + b',"x":['
    values = begin + b",".join([one] * 800) + b'],"y":"'
    return values + b"x" * (LARGEST - len(values) - 2) + b'"}'


def spoken(model: str, content: object) -> bytes:
    """Return the body of a question with this content."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": content}]}, ensure_ascii=False).encode()


def texts(model: str) -> dict[str, bytes]:
    """Return kind → body of a question of almost 8 MiB: words, Han characters, an image, many parts."""
    size = LARGEST - 1024
    words = ("The quick brown fox, 12 of them. " * (size // 30))[:size]
    han, image = "天气怎么样" * (size // 15), "data:image/png;base64," + "A" * (size // 4 * 4)
    shown = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": image}}]
    many = [{"type": "text", "text": words[:9000]}] * (size // 9040)
    return {name: spoken(model, content) for name, content in (("words", words), ("Han", han), ("an image", shown), ("parts", many))}


def small(address: str) -> str:
    """Return the configuration for everything except the pages."""
    targets = ["  hi: {script: [{text: Hi}]}"]
    routes = ["  limited: {pipeline: chat, targets: [hi], limit: {requests: 1/hour, per: ip}}", "  open: {pipeline: chat, targets: [hi]}"]
    for lane, model in LANES.items():
        for how in HOSTILE:
            targets.append(f"  {lane}-{how}: {{model: {model}, api_base: '{address}/{how}/v1', api_key: sk-endurance}}")
            routes.append(f"  {lane}-{how}: {{pipeline: chat, targets: [{lane}-{how}], retry: {{attempts: 1}}}}")
    for lane, model in LARGE.items():
        targets.append(f"  large-{lane}: {{model: {model}, api_base: '{address}/hi/v1', api_key: sk-endurance, facts: {{images: true}}}}")
        routes.append(f"  large-{lane}: {{pipeline: chat, targets: [large-{lane}], retry: {{attempts: 1}}}}")
    for index, model in enumerate(LLAMAS):
        targets.append(f"  llama-{index}: {{model: {model}, api_base: '{address}/hi/v1', api_key: sk-endurance, via: litellm}}")
        routes.append(f"  llama-{index}: {{pipeline: chat, targets: [llama-{index}], retry: {{attempts: 1}}}}")
    return "\n".join(["targets:", *targets, "routes:", *routes, ""])


def large(count: int) -> str:
    """Return a configuration with this many targets, ten per route."""
    targets = [f"  t{index}: {{script: [{{text: Hi}}]}}" for index in range(count)]
    asked = [", ".join(f"t{one}" for one in range(index, min(index + 10, count))) for index in range(0, count, 10)]
    routes = [f"  r{index}: {{aliases: [a{index}], pipeline: chat, targets: [{names}]}}" for index, names in enumerate(asked)]
    return "\n".join(["targets:", *targets, "routes:", *routes, ""])


@dataclass
class Probe:
    """The waits for /healthz: (time of the request, seconds)."""

    waits: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    async def read(self, lines: asyncio.StreamReader) -> None:
        """Read the waits that the separate program prints."""
        while line := await lines.readline():
            began, seconds = line.split()
            self.waits.append((float(began), float(seconds)))

    async def longest(self, began: float, ended: float) -> tuple[int, float]:
        """Wait for a health check after a period; return how many waits overlapped the period or followed it, and the longest of them."""
        while not self.waits or self.waits[-1][0] <= ended:
            await asyncio.sleep(EVERY)
        following = min(start for start, _ in self.waits if start > ended)
        within = [seconds for start, seconds in self.waits if start + seconds >= began and start <= following]
        return len(within), max(within)


async def probe(port: int) -> None:
    """Request /healthz again and again and print each wait."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        began = time.monotonic()
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        print(began, time.monotonic() - began, flush=True)
        await asyncio.sleep(EVERY)


async def provide(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as the fake provider that the path names: an endless response, or a one-word answer."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        how = head.split(b" ")[1].decode().split("/")[1]
        if how in HOSTILE:
            writer.write(HOSTILE[how])
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                writer.write(PIECE)
                await writer.drain()
        else:
            said = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
            kind = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
            writer.write(kind + b"content-length: %d\r\n\r\n" % len(said) + said)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def router(folder: Path, text: str) -> AsyncGenerator[tuple[str, Probe, Path], None]:
    """Run a router with this configuration; yield its address, the waits, and the file of looked-up names."""
    (folder / "pipelines").mkdir(parents=True)
    (folder / "pipelines" / "chat.yaml").write_text("steps:\n  - history: {keep: 40}\n", encoding="utf-8")
    (folder / "routes.yaml").write_text(text, encoding="utf-8")
    looked = folder / "looked-up"
    looked.touch()
    (folder / "deaf").mkdir()
    (folder / "deaf" / "sitecustomize.py").write_text(DEAF.format(path=str(looked)), encoding="utf-8")
    port = machine.free_port()
    base = f"http://127.0.0.1:{port}"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{folder / 'deaf'}:{ROOT}"}
    command = [sys.executable, "-m", "router", "serve", "--port", str(port)]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log) as running:
        try:
            await until_ready(base)
            asking = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.endurance.loop", "--probe", str(port), cwd=ROOT, stdout=asyncio.subprocess.PIPE
            )
            assert asking.stdout is not None
            found = Probe()
            reading = asyncio.create_task(found.read(asking.stdout))
            yield base, found, looked
            asking.kill()
            await asking.wait()
            await reading
        finally:
            running.send_signal(signal.SIGTERM)


async def until_ready(base: str) -> None:
    """Wait until /readyz answers 200."""
    async with asyncio.timeout(120), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{base}/readyz") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.1)


async def posted(base: str, path: str, body: bytes) -> str:
    """POST a body; return the status, marked as failed if a 200 contains an error, or the name of the connection error."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(120):
        try:
            async with session.post(base + path, data=in_pieces(body), headers={"content-type": "application/json"}) as response:
                failed = b'"code"' in await response.read() and response.status == 200
                return f"{response.status}{', failed' if failed else ''}"
        except aiohttp.ClientError as error:
            return type(error).__name__


async def in_pieces(body: bytes) -> AsyncGenerator[bytes, None]:
    """Yield a body in pieces of 64 KiB."""
    for at in range(0, len(body), 65536):
        yield body[at : at + 65536]


async def many(base: str, path: str, body: bytes) -> str:
    """Send a body 24 times from three clients; return the counts of the statuses."""

    async def one() -> list[str]:
        return [await posted(base, path, body) for _ in range(BODIES // CLIENTS)]

    told = [status for each in await asyncio.gather(*(one() for _ in range(CLIENTS))) for status in each]
    return ", ".join(f"{told.count(status)} × {status}" for status in sorted(set(told)))


def question(model: str) -> bytes:
    """Return the JSON body of a short question."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}]}).encode()


async def scrape(base: str, page: str) -> str:
    """Read a page five times; return its status and size."""
    said = ""
    async with aiohttp.ClientSession() as session:
        for _ in range(5):
            async with session.get(base + page) as response:
                said = f"{response.status}, {len(await response.read()):,} bytes"
    return said


Deed = tuple[str, Callable[[str], Awaitable[str]]]


def deeds(*, pages: bool) -> list[Deed]:
    """Return the actions to measure: (name, function)."""
    if pages:
        return [(page, partial(scrape, page=page)) for page in PAGES]
    sent = {
        "24 bodies over a limit, route in the path": ("/api/chat/limited", nested("limited")),
        "24 bodies over a limit, route in the body": ("/api/chat", nested("limited")),
        "24 bodies that are parsed, over a limit": ("/api/chat", full("limited")),
        "24 bodies that are parsed, and answered": ("/api/chat", full("open")),
        "24 bodies without a limit": ("/api/chat", nested("open")),
    }
    sent |= {
        f"24 questions of 8 MiB, {what}, {lane}": ("/api/chat", body)
        for lane in ("script", *LARGE)
        for what, body in texts("open" if lane == "script" else f"large-{lane}").items()
    }
    asked = {f"endless {how}, {lane}": f"{lane}-{how}" for lane in LANES for how in HOSTILE}
    asked |= {model: f"llama-{index}" for index, model in enumerate(LLAMAS)}
    return [
        *((name, partial(many, path=path, body=body)) for name, (path, body) in sent.items()),
        *((name, partial(posted, path="/api/chat", body=question(model))) for name, model in asked.items()),
    ]


async def measured(folder: Path, text: str, doing: list[Deed]) -> bool:
    """Run each action beside the health checks and print its longest wait; return whether all were short and no name was looked up."""
    kept = True
    async with router(folder, text) as (base, found, looked):
        for name, do in [("nothing", nothing), *doing]:
            began = time.monotonic()
            told = await do(base)
            ended = time.monotonic()
            asked, longest = await found.longest(began, ended)
            kept &= longest <= BOUND
            print(f"{name:48} {longest * 1000:7.0f} ms of {asked:5} waits in {ended - began:5.1f} s   {told}", flush=True)
        names = sorted(set(looked.read_text(encoding="utf-8").split()))
        if names:
            print(f"looked up: {', '.join(names)}")
        return kept and not names


async def nothing(_: str) -> str:
    """Wait two seconds: the action with which the others are compared."""
    await asyncio.sleep(2)
    return ""


async def run(targets: int) -> bool:
    """Measure the small and the large configuration; return whether every promise was kept."""
    provider = await asyncio.start_server(provide, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{provider.sockets[0].getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        kept = await measured(Path(folder, "small"), small(address), deeds(pages=False))
        print(f"with {targets:,} targets:")
        kept &= await measured(Path(folder, "large"), large(targets), deeds(pages=True))
    provider.close()
    return kept


def main() -> int:
    """Measure and print; return 1 if a promise was broken."""
    options = argparse.ArgumentParser(
        "python -m tests.endurance.loop", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--targets", type=int, default=3000)
    options.add_argument("--probe", type=int, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.probe is not None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, KeyboardInterrupt):
            asyncio.run(probe(chosen.probe))
        return 0
    return 0 if asyncio.run(run(chosen.targets)) else 1


if __name__ == "__main__":
    sys.exit(main())
