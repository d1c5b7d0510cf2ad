"""The fake provider, a process of its own: it answers every path by the model's name.
python -m bench.provider PORT
"""

import asyncio
import random
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from bench import wire
from bench.machine import run

MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"/]*/)?(\w+)"')
STREAM = re.compile(rb'"stream"\s*:\s*true')
WHOLE = {model: wire.whole(count) for model, count in wire.MODELS.items()}
NAMED = re.compile(rb"/models/(\w+):streamgeneratecontent")
"""The model in the path of a Gemini request, in lower case like the parsed head."""


@dataclass(frozen=True)
class Voice:
    """The prepared bytes of one provider API: pieces per model, a piece with the current time, and the end."""

    said: Mapping[str, Sequence[bytes]]
    timed: Callable[[float], bytes]
    tail: bytes


def _said(chunk: Callable[[str], bytes]) -> dict[str, list[bytes]]:
    return {model: [chunk(word) for word in wire.words(count)] for model, count in wire.MODELS.items()}


OPENAI = Voice(_said(wire.chunk), wire.timed, wire.tail())
GEMINI = Voice(_said(wire.gemini_chunk), wire.gemini_timed, wire.gemini_tail())


class Provider(asyncio.Protocol):
    """One client connection of the fake provider."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods alone
        self.loop = asyncio.get_running_loop()
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        """Take bytes and answer each complete request."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n") + 4) > 3:
            head = self.buffer[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0]) if b"content-length:" in head else 0
            if len(self.buffer) < end + length:
                return
            body, self.buffer = self.buffer[end : end + length], self.buffer[end + length :]
            if (named := NAMED.search(head.partition(b"\r\n")[0])) is None:
                self.answer(body)
            else:
                self.say(named[1].decode(), GEMINI)

    def answer(self, body: bytes) -> None:
        """Answer a request with OpenAI's API, streamed if it asks for that."""
        found = MODEL.search(body)
        model = found[1].decode() if found else "short"
        if STREAM.search(body):
            self.say(model, OPENAI)
        else:
            self.transport.write(WHOLE[model])

    def say(self, model: str, voice: Voice) -> None:
        """Stream the answer of this model, paced as its name says."""
        said = voice.said[model]
        match model:
            case "paced" | "steady":
                self.transport.write(wire.HEAD)
                self.pace(time.monotonic() + random.random() * wire.INTERVAL, wire.MODELS[model], voice)
            case "slow":
                self.transport.write(wire.HEAD)
                due = time.monotonic() + random.random() * wire.SLOW_INTERVAL
                self.pace(due, wire.SLOW, voice, wire.SLOW_INTERVAL)
            case "first" | "quiet":
                self.transport.write(wire.HEAD + said[0])
                later = 0.005 if model == "first" else wire.QUIET
                self.loop.call_later(later, self.write, b"".join(said[1:]) + voice.tail)
            case _:
                self.transport.write(b"".join((wire.HEAD, *said, voice.tail)))

    def pace(self, due: float, left: int, voice: Voice, interval: float = wire.INTERVAL) -> None:
        """Write the next chunk of a paced answer and schedule the one after it; with none left, write the end."""
        if self.transport.is_closing():
            return
        if not left:
            self.write(voice.tail)
            return
        self.write(voice.timed(time.monotonic()))
        due += interval
        self.loop.call_later(max(0.0, due - time.monotonic()), self.pace, due, left - 1, voice, interval)

    def write(self, data: bytes) -> None:
        """Write data, unless the client has disconnected."""
        if not self.transport.is_closing():
            self.transport.write(data)


async def provide(port: int) -> None:
    """Serve until the process is stopped."""
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    run(provide(int(sys.argv[1])))
