"""A request that is cancelled at any turn of the event loop leaves no connection, no request in flight and no attempt behind."""

import asyncio
import ssl
from contextlib import aclosing

import pytest

from bench import wire
from router.chat import Ask, Message
from router.config.declaration import Retry, TargetConfig, Timeout
from router.config.values import Name, Secret
from router.events import Answer
from router.failover import Candidate, FailureRules, failover
from router.targets import Connections, openai
from router.targets.connection import Connection
from router.targets.connections import ConnectionPool

TURNS = 16
"""Turns of the loop in which a question is asked and answered, and some more."""


class Line(asyncio.Transport):
    """A transport that discards what is written, and remembers that it was closed."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.closed = False
        self._connection = connection

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Discard the data."""

    def is_closing(self) -> bool:
        """Return whether it was closed."""
        return self.closed

    def abort(self) -> None:
        """Close it."""
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)

    close = abort


class Pool(ConnectionPool):
    """A pool of connections to a provider that is fed by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = []
        self.latest: Connection | None = None

    async def _open(self, host: str, port: int, tls: ssl.SSLContext | None) -> Connection:
        self.latest = Connection()
        self.lines.append(Line(self.latest))
        self.latest.connection_made(self.lines[-1])
        return self.latest

    @property
    def idle(self) -> list[Connection]:
        """The connections that wait for the next request."""
        return [one for kept in self._idle.values() for one in kept]


ARRIVALS = {
    "all in one read": [b"".join((wire.HEAD, wire.chunk("Hi"), wire.tail()))],
    "headers first": [wire.HEAD, wire.chunk("Hi") + wire.tail()],
    "without its end": [wire.HEAD + wire.chunk("Hi")],
    "a refusal": [b"HTTP/1.1 400 Bad\r\ncontent-length: 2\r\n\r\n{}"],
    "a refusal in pieces": [b"HTTP/1.1 400 Bad\r\ncontent-length: 2\r\n\r\n", b"{}"],
    "a body that is not a stream": [b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"],
}


async def read(answer: Answer, ask: Ask) -> None:
    """Read an answer to its end, one event in a turn of the loop."""
    async with aclosing(answer(ask)) as events:
        async for _ in events:
            await asyncio.sleep(0)


@pytest.mark.parametrize("how", ARRIVALS)
async def test_request_cancelled_at_any_turn_leaves_nothing_behind(how: str) -> None:
    """A request cancelled at any turn leaves its connection closed or idle, is not in flight, and has one attempt per connection."""
    for turn in range(TURNS):
        pool, ask = Pool(), Ask(model="m", messages=(Message("user", ("Hi",)),))
        declared = TargetConfig(model=Name("openai/m"), api_base="http://provider.invalid/v1", api_key=Secret("sk-a"))
        candidate = Candidate("a", openai.answer("a", declared, 3, Connections(pool=pool)))
        reading = asyncio.create_task(read(failover([candidate], FailureRules(Timeout(), Retry(attempts=1), "fail")), ask))
        arrivals = iter(ARRIVALS[how])
        for at in range(2 * TURNS):
            if pool.latest is not None and at % 3 == 0 and (piece := next(arrivals, None)) is not None:
                pool.latest.data_received(piece)
            if at == turn:
                reading.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(reading, return_exceptions=True)
        assert candidate.health.load.busy == 0, turn
        assert all(connection.usable for connection in pool.idle), turn
        assert len(pool.idle) + sum(line.closed for line in pool.lines) == len(pool.lines), turn
        assert len(ask.trail.attempts) == len(pool.lines), turn
        await pool.close()
