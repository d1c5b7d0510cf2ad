"""A fake provider on loopback with OpenAI's API, whose replies are scripted and may be faulty.

Each request gets the next Reply of the script; the last one is repeated. Requests, headers and connections that clients closed are
recorded.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from router.events import Event, Text


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """Return one SSE frame of a chat completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return frame({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "fake", "choices": [choice], **more})


def frame(value: object) -> bytes:
    """Return one SSE frame with this JSON."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


P = TypeVar("P", bound="Provider")
DONE = b"data: [DONE]\n\n"


def usage(prompt: int = 11, completion: int = 3) -> bytes:
    """Return the SSE frame with the token usage."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return frame({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "fake", "choices": [], "usage": counts})


def text(*pieces: str, finish: str = "stop") -> tuple[bytes, ...]:
    """Return the frames of a complete answer with these pieces of text."""
    return (chunk({"role": "assistant", "content": ""}), *(chunk({"content": one}) for one in pieces), chunk({}, finish), usage(), DONE)


def calls(*wanted: tuple[str, str, str]) -> tuple[bytes, ...]:
    """Return the frames of an answer with tool calls: (id, name, arguments as JSON); the arguments come in two interleaved pieces."""
    heads = [
        chunk({"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}]})
        for index, (call_id, name, _) in enumerate(wanted)
    ]
    halves = [
        chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
        for cut in (slice(None, 5), slice(5, None))
        for index, (_, _, arguments) in enumerate(wanted)
        if (part := arguments[cut])
    ]
    return (*heads, *halves, chunk({}, "tool_calls"), usage(), DONE)


def joined(events: Iterable[Event]) -> list[Event]:
    """Return the events with consecutive text events merged, since the network decides where they are split."""
    made: list[Event] = []
    for event in events:
        if made and isinstance(event, Text) and isinstance(last := made[-1], Text):
            made[-1] = Text(last.text + event.text)
        else:
            made.append(event)
    return made


@dataclass(frozen=True)
class Reply:
    """The response to one request. `hold`: stay silent after the last frame until the client disconnects."""

    frames: Sequence[bytes] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    hold: bool = False
    drop: bool = False
    """Abort the connection after the last frame."""
    again: bytes = b""
    """Bytes that are repeated after the last frame until the client disconnects."""
    gate: asyncio.Event | None = None
    """An event that holds the answer back after its first frame."""


class Provider:
    """A fake provider's server. `requests`: the bodies received; `closed`: how many held streams were closed by their clients."""

    def __init__(self, script: Sequence[Reply]) -> None:
        self.script = list(script)
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.closed = 0
        self.open = 0
        self.changed = asyncio.Condition()
        self.base = ""
        self.serving: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def until(self, condition: Any) -> None:
        """Wait until a condition is true; it is checked whenever a stream opens or closes."""
        async with asyncio.timeout(240), self.changed:
            await self.changed.wait_for(condition)

    async def _note(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    def reply(self, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        """Return the next reply of the script, and the last one again and again."""
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the requests of one connection."""
        task = asyncio.current_task()
        assert task is not None
        self.serving[task] = writer
        try:
            while (request := await read_request(reader)) is not None:
                headers, body = request
                self.requests.append(json.loads(body))
                self.headers.append(headers)
                if not await self._respond(self.reply(headers, self.requests[-1]), reader, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            del self.serving[task]

    async def _respond(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if reply.body is not None:
            head = {"content-type": "application/json", "content-length": str(len(reply.body)), **reply.headers}
            writer.write(response_head(reply.status, head) + reply.body)
            await writer.drain()
            if reply.drop:
                return False
            if reply.hold:
                await reader.read(1)
            return not reply.hold
        writer.write(response_head(reply.status, {"content-type": "text/event-stream", "transfer-encoding": "chunked", **reply.headers}))
        self.open += 1
        try:
            for one in reply.frames:
                writer.write(b"%x\r\n%s\r\n" % (len(one), one))
                await writer.drain()
                if reply.gate is not None:
                    await reply.gate.wait()
            await self._note()
            while reply.again:
                writer.write(b"%x\r\n%s\r\n" % (len(reply.again), reply.again))
                await writer.drain()
                await asyncio.sleep(0.01)
            if reply.hold:
                with suppress(ConnectionError):  # as of a client that is killed before it has read all
                    await reader.read(1)
                self.closed += 1
                return False
            if reply.drop:
                writer.transport.abort()
                return False
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return True
        finally:
            self.open -= 1
            await self._note()


def response_head(status: int, headers: dict[str, str]) -> bytes:
    """Return the status line and headers of a response as bytes."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} x\r\n{lines}\r\n".encode()


async def read_request(reader: asyncio.StreamReader) -> tuple[dict[str, str], bytes] | None:
    """Read one request; return its headers, with the path under `:path`, and its body. None at the end of the connection."""
    if not (asked := await reader.readline()):
        return None
    headers = {":path": asked.decode().split()[1]}
    while line := (await reader.readline()).decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return headers, await reader.readexactly(int(headers.get("content-length", 0)))


@asynccontextmanager
async def provider(*script: Reply) -> AsyncGenerator[Provider, None]:
    """Run a provider with this script; its `base` is the `api_base` for a target."""
    async with running(Provider(script)) as made:
        yield made


@asynccontextmanager
async def running(made: P) -> AsyncGenerator[P, None]:
    """Run this provider on a free loopback port."""
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, limit=1 << 24)
    made.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield made
    finally:
        server.close()
        for writer in made.serving.values():
            writer.transport.abort()
        for task in made.serving:
            task.cancel()  # it may wait at a gate that nobody opens any more
        await asyncio.gather(*made.serving, return_exceptions=True)


def error(status: int, message: str = "no", code: str = "error", **headers: str) -> Reply:
    """Return a reply with an HTTP error in OpenAI's shape."""
    body = json.dumps({"error": {"message": message, "type": code, "param": None, "code": code}}).encode()
    return Reply(status=status, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})
