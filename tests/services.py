"""Real servers on loopback, for the tests that need one: each with a folder of its own, stopped by its own process id."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

REDIS = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed (Debian: apt install redis-server)")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class RedisServer:
    """A redis-server that can be stopped, started, paused and filled. Nothing it holds is on disk: what is stopped has forgotten."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        assert REDIS is not None
        given = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        self._process = subprocess.Popen([REDIS, *given, *self._options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while not await self._answers():
            assert time.monotonic() < until, "redis-server does not answer"
            assert self._process.poll() is None, "redis-server ended"
            await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        try:
            return bool(await self.cli("PING"))
        except OSError:
            return False

    async def cli(self, *words: str) -> str:
        """Say something to it, past everything that is tested: the answer's first line."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(one.encode()), one.encode()) for one in words))
            async with asyncio.timeout(5):
                line = (await reader.readline()).decode().strip()
                if line.startswith("$") and line != "$-1":
                    line = (await reader.readexactly(int(line[1:]))).decode()
            return line
        finally:
            writer.close()

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self.resume()
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Have it answer nothing more, without a word."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGCONT)


@asynccontextmanager
async def redis_server(*options: str) -> AsyncGenerator[RedisServer, None]:
    """A redis-server on a free port of this machine, with these options on its command line."""
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(folder, *options)
    try:
        await server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
