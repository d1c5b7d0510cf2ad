"""A router whose connections are fed by a test, with exact counts of the function calls that it makes: no network and no clock.

The client's connection is a `Door`, the provider's a `Connection` of the direct lane. Both have transports that only collect what is
written, so the caller decides the size of each read.
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
"""Turns of the event loop after which the router has nothing left to do."""
ROOT = Path(__file__).parent.parent
HARNESS = (str(ROOT / "tests"), str(ROOT / "bench"))
"""Folders of code that feeds the connections; its calls are not counted."""
IDLE = frozenset({asyncio.sleep.__code__, getattr(asyncio.tasks, "__sleep0").__code__})
"""Code that only waits for a turn of the event loop."""


class Line:
    """A transport that collects what is written. Its methods are builtins where possible, so that they count as C calls, as uvloop's do."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.write = self.written.append
        self.is_closing = bool
        self.get_write_buffer_size = int
        self.close = self.abort = self.pause_reading = self.resume_reading = bool

    def get_extra_info(self, name: str) -> tuple[str, int] | None:
        """Return a loopback address as the peer's; None for other names."""
        return ("127.0.0.1", 50_000) if name == "peername" else None

    def heard(self) -> bytes:
        """Return what was written since the last call, and forget it."""
        made = b"".join(self.written)
        self.written.clear()
        return made


class _Hands(ConnectionPool):
    """A connection pool whose connections have collecting transports."""

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
    """Counts of calls by (caller, callee): Python functions, with each resumption of a generator or coroutine, and C functions.

    instructions: bytecode instructions by function, if they are counted; the interpreter's version decides how many a function has
    errors: exceptions by (function, type) that passed a Python function, counted along with instructions; StopIteration is left out, since
    the interpreter raises it for each `await` while it is traced, and at no other time
    """

    def __init__(self) -> None:
        self.python = Counter[tuple[str, str]]()
        self.c = Counter[tuple[str, str]]()
        self.instructions = Counter[str]()
        self.errors = Counter[tuple[str, str]]()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Count one call as a profile function, unless the harness made it."""
        if event == "call" and not _is_idle(frame.f_code):
            self.python[_name(frame.f_back.f_code if frame.f_back else None), _name(frame.f_code)] += 1
        elif event == "c_call" and not _is_idle(frame.f_code):
            self.c[_name(frame.f_code), str(argument.__qualname__)] += 1

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Count one instruction or exception as a trace function, unless it is the harness's."""
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and not _is_idle(frame.f_code):
            self.instructions[_name(frame.f_code)] += 1
        elif event == "exception" and argument[0] is not StopIteration and not _is_idle(frame.f_code):
            self.errors[_name(frame.f_code), argument[0].__name__] += 1
        return self.trace

    @property
    def totals(self) -> tuple[int, int]:
        """The number of Python calls and of C calls."""
        return self.python.total(), self.c.total()


def _is_idle(code: CodeType) -> bool:
    return code in IDLE or code.co_filename.startswith(HARNESS)


def _name(code: CodeType | None) -> str:
    if code is None or _is_idle(code):
        return "the loop"
    path = Path(code.co_filename)
    return f"{path.parent.name}/{path.stem}.{code.co_qualname if sys.version_info >= (3, 11) else code.co_name}"


class ByHand:
    """A router with one client connection and one provider connection, both fed by the caller. `instructions`: count them, too."""

    def __init__(self, routes: Path, *, instructions: bool = False) -> None:
        self.instructions = instructions
        self._pool = _Hands()
        sys.set_asyncgen_hooks(firstiter=None)  # as a server does when it starts
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
        """The router's latest connection to the provider."""
        return self._pool.opened_by_hand[-1]

    @property
    def asked(self) -> bytes:
        """The bytes sent to the provider since this was read last; reading them forgets them."""
        return self._pool.line.heard()

    async def settle(self) -> None:
        """Give the event loop 20 turns, after which the router has nothing left to do."""
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def ask(self, request: bytes) -> None:
        """Feed a client's request and let the router process it."""
        self.client.data_received(request)
        await self.settle()

    async def say(self, *pieces: bytes) -> bytes:
        """Feed pieces of the provider's answer, one read each; return what was sent to the client."""
        for piece in pieces:
            self.provider.data_received(piece)
            await self.settle()
        return self.line.heard()

    async def close(self) -> None:
        """Close both connections and let the router end."""
        self.client.connection_lost(None)
        await self.settle()
        await self._pool.close()


class counted:  # noqa: N801 - it reads as a function, and is none: the frames of contextlib would count
    """A context manager that yields the Counts of the calls in its block, with garbage collection off. `instructions`: count them, too."""

    def __init__(self, *, instructions: bool = False) -> None:
        self._instructions = instructions

    def __enter__(self) -> Counts:
        self._before = sys.getprofile()
        self._collects = gc.isenabled()
        gc.disable()  # what it finds would count
        counts = Counts()
        if self._instructions:
            sys.settrace(counts.trace)
        sys.setprofile(counts)
        return counts

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)
        if self._instructions:
            sys.settrace(None)
        if self._collects:
            gc.enable()


class _Nowhere:
    """A stream that discards what is written, with a builtin as its `write`."""

    write = len
    flush = bool


@contextmanager
def logged() -> Generator[None]:
    """Log requests in the block as a server does (`to_stderr`), into a discarding stream."""
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
