"""A router in a process of its own, as operators run it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.conftest import ROOT
from tests.support.services import free_ports

STARTS = 240.0
"""Seconds within which the router must serve."""


@dataclass(frozen=True)
class Process:
    """A running router process and an HTTP client for it."""

    base: str
    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession
    output: Path

    @property
    def printed(self) -> str:
        """The output of the process so far."""
        return self.output.read_text(encoding="utf-8")

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """GET a path; return the status and the JSON or text."""
        async with self.session.get(self.base + path, headers=headers) as response:
            return response.status, await (response.json() if "json" in response.content_type else response.text())

    async def post(self, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """POST a JSON body; return the status and the JSON or text."""
        async with self.session.post(self.base + path, json=body, headers=headers) as response:
            return response.status, await (response.json() if "json" in response.content_type else response.text())

    async def ask(self, text: str = "Hi", model: str = "chat-model", /, **more: Any) -> tuple[int, dict[str, str], bytes]:
        """Ask one question; return status, headers and body."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        async with self.session.post(f"{self.base}/api/chat", json=body) as response:
            return response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read()

    async def ready(self, page: str = "/readyz") -> None:
        """Wait until this path answers 200; AssertionError if the process ends before."""
        async with asyncio.timeout(STARTS):
            while not await _ready(self, page):
                assert self.process.returncode is None, self.printed
                await asyncio.sleep(0.05)

    async def complete(self, workers: int) -> None:
        """Wait until all workers have started: the first to serve makes the server ready."""
        async with asyncio.timeout(STARTS):
            while self.printed.count("Application startup complete.") < workers:
                assert self.process.returncode is None, self.printed
                await asyncio.sleep(0.02)

    async def ended(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end of the process and return its exit code."""
        self.process.send_signal(number)
        async with asyncio.timeout(240):
            return await self.process.wait()


@asynccontextmanager
async def process(
    root: Path,
    *arguments: str,
    command: str = "serve",
    port: int | None = None,
    page: str = "/readyz",
    through: Sequence[str] = (),
    **variables: str,
) -> AsyncGenerator[Process, None]:
    """Run `router serve` in a folder and yield it once `page` answers 200 and all workers serve. `through`: a command in front of the router's, such as `env`."""
    async with starting(root, *arguments, command=command, port=port, through=through, **variables) as running:
        await running.ready(page)
        if "--workers" in arguments:
            await running.complete(int(arguments[arguments.index("--workers") + 1]))
        yield running


@asynccontextmanager
async def starting(
    root: Path, *arguments: str, command: str = "serve", port: int | None = None, through: Sequence[str] = (), **variables: str
) -> AsyncGenerator[Process, None]:
    """Start `router serve` in a folder and yield it at once, before it is ready."""
    port = port or free_ports(1)[0]
    output = root / "output.txt"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables}
    line = [*through, sys.executable, "-m", "router", command, "--port", str(port), *arguments]
    with output.open("wb") as file:
        made = await asyncio.create_subprocess_exec(*line, cwd=root, env=environment, stdout=file, stderr=file)
    try:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)  # each request finds another worker
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Process(f"http://127.0.0.1:{port}", made, session, output)
    finally:
        if made.returncode is None:
            made.terminate()  # its workers would outlive a kill for a while
            try:
                await asyncio.wait_for(made.wait(), 60)
            except TimeoutError:
                made.kill()
                await made.wait()


async def _ready(running: Process, page: str) -> bool:
    try:
        return (await running.get(page))[0] == 200
    except aiohttp.ClientError:
        return False
