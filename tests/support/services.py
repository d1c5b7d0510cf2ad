"""Real Redis, nginx and squid processes for a test, on ports of their own, in a temporary folder.

A machine without the program skips the test; `make test` installs missing programs if it can (tests/support/services.sh).
"""

import asyncio
import os
import random
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Protocol

import pytest

PATIENCE = 240
"""Seconds to wait for operations that normally take milliseconds: a start, an end, a connection."""


def program(name: str) -> str:
    """Return the path of a program, also from /usr/sbin; skip the test if it is not installed."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    return found or pytest.skip(f"{name} is not installed here: tests/support/services.sh installs it, as root")


BELOW = 32_768
"""The first ephemeral port: the system may assign any port from here on to another process."""
EACH = 2_000
"""The number of ports reserved for each parallel test process."""
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_next = cycle(random.sample(range(BELOW - EACH * (WORKER + 1), BELOW - EACH * WORKER), EACH))


def free_ports(count: int) -> list[int]:
    """Return different ports on which nothing listens, from a range reserved for this test process."""
    found: list[int] = []
    while len(found) < count:
        port = next(_next)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found


async def run(*command: str) -> str:
    """Run a command that must end with 0 and return its output."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


class Asks(Protocol):
    """A function that asks whether a daemon serves; it returns False or raises OSError if not yet."""

    async def __call__(self) -> bool:
        """Return whether it serves."""
        ...


@dataclass
class Daemon:
    """A program that runs until it is stopped. Signals go to its process id only."""

    command: tuple[str, ...]
    serves: Asks
    log: Path
    """The file with stdout and stderr of all its starts."""
    environment: dict[str, str] | None = None
    process: asyncio.subprocess.Process | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.process is not None
        return self.process.pid

    async def start(self) -> None:
        """Start the program and wait until it serves."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(*self.command, stdout=log, stderr=log, env=self.environment)
        async with asyncio.timeout(PATIENCE):
            while not await self._serves():
                assert self.process.returncode is None, f"{self.command[0]} ended:\n{self.log.read_text()}"
                await asyncio.sleep(0.01)

    async def _serves(self) -> bool:
        try:
            return await self.serves()
        except OSError:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)

    def pause(self) -> None:
        """Stop the process with SIGSTOP: its connections stay open and nothing is answered."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the process with SIGCONT."""
        self.signal(signal.SIGCONT)

    async def ended(self) -> int:
        """Wait for the end of the process; return its exit code, negative if a signal ended it."""
        assert self.process is not None
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    async def stop(self) -> int:
        """Send SIGTERM and wait for the end; return the exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        """Kill the process with SIGKILL, if it runs, and wait for its end."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def daemon(
    command: tuple[str, ...], serves: Asks, folder: Path, environment: dict[str, str] | None = None
) -> AsyncGenerator[Daemon, None]:
    """Run a daemon; at the end it is killed."""
    made = Daemon(command, serves, folder / "log", environment)
    try:
        await made.start()
        yield made
    finally:
        await made.kill()


def listens(port: int) -> Asks:
    """Return a check whether a local port accepts connections."""

    async def look() -> bool:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.abort()
        return True

    return look


@dataclass(frozen=True)
class RedisServer:
    """A running Redis. Its `daemon` can be paused, killed and started again on the same port."""

    port: int
    daemon: Daemon

    @property
    def url(self) -> str:
        """The address for `server.redis`."""
        return f"redis://127.0.0.1:{self.port}/0"


def _pongs(port: int) -> Asks:
    """Return a check whether a Redis answers PING, even if it asks for a password."""

    async def look() -> bool:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"PING\r\n")
                return (await reader.readline()).startswith((b"+PONG", b"-NOAUTH"))
            finally:
                writer.transport.abort()

    return look


@asynccontextmanager
async def redis_server(*options: str, port: int | None = None) -> AsyncGenerator[RedisServer, None]:
    """Run a Redis that stores nothing on disk. `options`: its command-line options, e.g. "--maxmemory", "2mb"."""
    found = program("redis-server")
    [own] = [port] if port else free_ports(1)
    with tempfile.TemporaryDirectory(prefix="pointsman-redis-") as name:
        place = ("--port", str(own), "--bind", "127.0.0.1", "--dir", name)
        command = (found, *place, "--save", "", "--appendonly", "no", "--daemonize", "no", *options)
        async with daemon(command, _pongs(own), Path(name)) as running:
            yield RedisServer(own, running)


@dataclass(frozen=True)
class Nginx:
    """A running nginx: its folder, its configuration file, and its master process."""

    folder: Path
    configuration: Path
    daemon: Daemon

    def errors(self) -> str:
        """Return its error log so far."""
        return (self.folder / "error.log").read_text(encoding="utf-8")

    def reload(self) -> None:
        """Reload its configuration with SIGHUP: new workers take over, old workers finish their answers."""
        self.daemon.signal(signal.SIGHUP)


async def _nothing(_: Path) -> None:
    """Do nothing: the default for `prepare`."""


@asynccontextmanager
async def nginx(
    configuration: Callable[[Path], str], port: int, prepare: Callable[[Path], Awaitable[None]] = _nothing
) -> AsyncGenerator[Nginx, None]:
    """Run an nginx of the test's own.

    configuration: takes the folder for all files that nginx writes; returns the text of nginx.conf
    port: where it will listen
    prepare: writes the files that the configuration refers to
    """
    found = program("nginx")
    with tempfile.TemporaryDirectory(prefix="pointsman-nginx-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # started by root its workers are somebody else
        file = folder / "nginx.conf"
        file.write_text(configuration(folder), encoding="utf-8")
        await prepare(folder)
        await run(found, "-t", "-q", "-p", name, "-c", str(file))
        async with daemon((found, "-p", name, "-c", str(file), "-g", "daemon off;"), listens(port), folder) as running:
            try:
                yield Nginx(folder, file, running)
            finally:
                if running.process is not None and running.process.returncode is None:
                    running.resume()
                    await running.stop()  # a killed master would leave its workers behind


SQUID = """http_port 127.0.0.1:{port}
hosts_file {folder}/hosts
auth_param basic program {helper} {folder}/passwords
auth_param basic children 2
acl known proxy_auth REQUIRED
acl forbidden dstdomain forbidden.test
http_access deny forbidden
http_access allow known
http_access deny all
logformat asked %>Hs %rm %ru
access_log stdio:{folder}/access.log logformat=asked
cache_log {folder}/cache.log
pid_filename none
cache deny all
coredump_dir {folder}
shutdown_lifetime 0 seconds
dns_nameservers 127.0.0.1
visible_hostname squid.test
"""
HELPERS = ("/usr/lib/squid/basic_ncsa_auth", "/usr/lib/squid3/basic_ncsa_auth", "/usr/lib64/squid/basic_ncsa_auth")


@dataclass
class Squid:
    """A running forward proxy that requires a login."""

    port: int
    folder: Path
    daemon: Daemon

    @property
    def log(self) -> list[str]:
        """The finished requests, one line each: status, method, address."""
        file = self.folder / "access.log"
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


@asynccontextmanager
async def squid(names: dict[str, str], user: str, password: str) -> AsyncGenerator[Squid, None]:
    """Run a squid of the test's own. `names`: host → address, which only this proxy resolves."""
    found, openssl = program("squid"), program("openssl")
    helper = next((one for one in HELPERS if Path(one).exists()), None) or pytest.skip("squid has no basic_ncsa_auth here")
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="pointsman-squid-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "hosts").write_text("".join(f"{address} {host}\n" for host, address in names.items()))
        hashed = (await run(openssl, "passwd", "-apr1", password)).strip()
        (folder / "passwords").write_text(f"{user}:{hashed}\n")
        file = folder / "squid.conf"
        file.write_text(SQUID.format(port=port, folder=folder, helper=helper), encoding="utf-8")
        async with daemon((found, "-N", "-f", str(file)), listens(port), folder) as running:
            try:
                yield Squid(port, folder, running)
            finally:
                await running.stop()
