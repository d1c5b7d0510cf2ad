"""The fake provider: every path, every method, answered by the model's name. Its own process, and cheap.

python -m bench.provider PORT
"""

import asyncio
import random
import re
import sys
import time
from typing import cast

from bench import wire
from bench.machine import run

MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"/]*/)?(\w+)"')
STREAM = re.compile(rb'"stream"\s*:\s*true')
WHOLE = {model: wire.whole(count) for model, count in wire.MODELS.items()}
SAID = {model: [wire.chunk(word) for word in wire.words(count)] for model, count in wire.MODELS.items()}
TAIL = wire.tail()


class Provider(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods alone
        self.loop = asyncio.get_running_loop()
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        """A piece of a request."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n") + 4) > 3:
            head = self.buffer[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0]) if b"content-length:" in head else 0
            if len(self.buffer) < end + length:
                return
            body, self.buffer = self.buffer[end : end + length], self.buffer[end + length :]
            self.answer(body)

    def answer(self, body: bytes) -> None:
        """Say what the model says."""
        found = MODEL.search(body)
        model = found[1].decode() if found else "short"
        if not STREAM.search(body):
            self.transport.write(WHOLE[model])
            return
        said = SAID[model]
        match model:
            case "paced":
                self.transport.write(wire.HEAD)
                self.pace(time.monotonic() + random.random() * wire.INTERVAL, wire.PACED)
            case "first" | "quiet":
                self.transport.write(wire.HEAD + said[0])
                later = 0.005 if model == "first" else wire.QUIET
                self.loop.call_later(later, self.write, b"".join(said[1:]) + TAIL)
            case _:
                self.transport.write(b"".join((wire.HEAD, *said, TAIL)))

    def pace(self, due: float, left: int) -> None:
        """The next chunk of a paced answer, and when the one after it is due."""
        if self.transport.is_closing():
            return
        if not left:
            self.write(TAIL)
            return
        self.write(wire.timed(time.monotonic()))
        due += wire.INTERVAL
        self.loop.call_later(max(0.0, due - time.monotonic()), self.pace, due, left - 1)

    def write(self, data: bytes) -> None:
        """Say it, if somebody is still there."""
        if not self.transport.is_closing():
            self.transport.write(data)


async def provide(port: int) -> None:
    """Serve until stopped."""
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    run(provide(int(sys.argv[1])))
