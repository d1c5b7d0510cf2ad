"""A router whose connections are fed by hand, and the calls that it makes meanwhile: exact counts without a network and without a clock.

The client's connection is a Door, the provider's a Connection of the direct lane. Both have a transport that only collects what is
written, so each read is as large as the test says.
"""

import asyncio
import gc
import logging
import ssl
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from router.config import declare, read
from router.generation import Carryover, build
from router.journal.log import Lines
from router.server import Door, application
from router.targets import Connections
from router.targets.connection import Connection
from router.targets.connections import ConnectionPool

TURNS = 20
"""Turns of the loop after which nothing is left to do."""
ROOT = Path(__file__).parent.parent
HARNESS = (str(ROOT / "tests"), str(ROOT / "bench"))
"""Code that feeds the connections: its own calls do not count."""
IDLE = frozenset({asyncio.sleep.__code__, getattr(asyncio.tasks, "__sleep0").__code__})
"""Code that only waits for a turn of the loop."""


class Line:
    """A transport that collects what is written. Its methods are builtins where they can be: they count as C calls, as those of uvloop do."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.write = self.written.append
        self.is_closing = bool
        self.get_write_buffer_size = int
        self.close = self.abort = self.pause_reading = self.resume_reading = bool

    def get_extra_info(self, name: str) -> tuple[str, int] | None:
        """Return the address of a peer on this machine."""
        return ("127.0.0.1", 50_000) if name == "peername" else None

    def heard(self) -> bytes:
        """Return what was written since the last call."""
        made = b"".join(self.written)
        self.written.clear()
        return made


class _Hands(ConnectionPool):
    """A pool whose connections lead to nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.opened_by_hand: list[Connection] = []
        self.line = Line()

    async def _open(self, host: str, port: int, tls: ssl.SSLContext | None) -> Connection:
        connection = Connection()
        connection.connection_made(cast("asyncio.Transport", self.line))
        self.opened_by_hand.append(connection)
        return connection


class Counts:
    """The calls of Python functions (also each resumption of a generator or a coroutine) and of C functions, by caller and callee."""

    def __init__(self) -> None:
        self.python = Counter[tuple[str, str]]()
        self.c = Counter[tuple[str, str]]()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Count a call, unless it is one of the harness."""
        if event == "call" and not _is_idle(frame.f_code):
            self.python[_name(frame.f_back.f_code if frame.f_back else None), _name(frame.f_code)] += 1
        elif event == "c_call" and not _is_idle(frame.f_code):
            self.c[_name(frame.f_code), str(argument.__qualname__)] += 1

    @property
    def totals(self) -> tuple[int, int]:
        """Return the number of Python calls and of C calls."""
        return self.python.total(), self.c.total()


def _is_idle(code: CodeType) -> bool:
    return code in IDLE or code.co_filename.startswith(HARNESS)


def _name(code: CodeType | None) -> str:
    if code is None or _is_idle(code):
        return "the loop"
    path = Path(code.co_filename)
    return f"{path.parent.name}/{path.stem}.{code.co_qualname if sys.version_info >= (3, 11) else code.co_name}"


class ByHand:
    """A router and its two connections: one client, one provider."""

    def __init__(self, routes: Path) -> None:
        self._pool = _Hands()
        self.edge = application(build(declare(read(routes), {}), Carryover(Connections(pool=self._pool))))
        config = uvicorn.Config(
            self.edge, http=Door, ws="none", log_config=None, access_log=False, lifespan="off", server_header=False, proxy_headers=False
        )
        config.load()
        self._state = ServerState()
        self.line = Line()
        self.client = Door(config, self._state, {})
        self.client.connection_made(cast("asyncio.Transport", self.line))

    @property
    def provider(self) -> Connection:
        """Return the connection to the provider."""
        return self._pool.opened_by_hand[-1]

    @property
    def asked(self) -> bytes:
        """Return what the provider was sent since the last call."""
        return self._pool.line.heard()

    async def settle(self) -> None:
        """Let the router do all that is to be done."""
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def ask(self, request: bytes) -> None:
        """Send a request of the client."""
        self.client.data_received(request)
        await self.settle()

    async def say(self, *pieces: bytes) -> bytes:
        """Send pieces of the provider, each of them a read, and return what the client is sent."""
        for piece in pieces:
            self.provider.data_received(piece)
            await self.settle()
        return self.line.heard()

    async def close(self) -> None:
        """Close both connections, and let the router end."""
        self.client.connection_lost(None)
        await self.settle()
        await self._pool.close()


class counted:  # noqa: N801 - it reads as a function, and is none: the frames of contextlib would count
    """Count the calls of the block."""

    def __enter__(self) -> Counts:
        self._before = sys.getprofile()
        self._collects = gc.isenabled()
        gc.disable()  # what it finds would count
        counts = Counts()
        sys.setprofile(counts)
        return counts

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)
        if self._collects:
            gc.enable()


class _Nowhere:
    """A stream whose write is a builtin and keeps nothing."""

    write = len
    flush = bool


@contextmanager
def logged() -> Generator[None]:
    """Log requests as a server does (`to_stderr`), to nowhere."""
    logger = logging.getLogger("router")
    handler = Lines(cast("Any", _Nowhere()))
    looked_up = logging.logThreads, logging.logProcesses, logging.logMultiprocessing
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logging.logThreads, logging.logProcesses, logging.logMultiprocessing = looked_up
        logger.level, logger.propagate = before
        logger.setLevel(before[0])
