"""Faulty upstreams on loopback with the APIs of OpenAI, Anthropic and Google.

One server serves all of them: each model name is an upstream of its own, which handles each request with its Fault. A Fault gets the
Exchange: the request, the frames of a correct answer, and the connection.
"""

import asyncio
import itertools
import json
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import unquote

from router.failover.rescue import WISH
from tests.support import google
from tests.support.provider import DONE, chunk, frame, usage

WORDS = "provider-words-canary"
"""A marker in the texts of faulty upstreams, which must not reach clients or logs."""
ANSWER = (
    "The router takes a question from the page, looks up which model should answer it, and asks that model. "
    "Its words (北京, café, 😀) are passed on as they come. If it falls silent, or the line breaks, the next model is told "
    "what was said and goes on from there, so that the person reading sees one answer, and the answer is whole."
)
Call = tuple[str, str, str]
"""A tool call: id, name, arguments as JSON."""


def pieces(text: str, size: int = 23) -> list[str]:
    """Return the text in pieces of this many characters."""
    return [text[at : at + size] for at in range(0, len(text), size)]


@dataclass(frozen=True)
class Honest:
    """The frames of a correct answer in four parts: content, finish reason, token usage, end mark."""

    speech: tuple[bytes, ...]
    finish: tuple[bytes, ...]
    count: tuple[bytes, ...]
    done: tuple[bytes, ...]
    calls: bool = False
    """True if the answer consists of tool calls, without text."""

    @property
    def half(self) -> tuple[bytes, ...]:
        """The first half of its content frames."""
        return self.speech[: len(self.speech) // 2]

    @property
    def frames(self) -> tuple[bytes, ...]:
        """All its frames."""
        return self.speech + self.finish + self.count + self.done


class Dialect(Protocol):
    """A provider's API: how its requests are read and its answers written."""

    def text(self, parts: Iterable[str], *, finish: str = "stop") -> Honest:
        """Return an answer with these pieces of text. `finish`: `stop` or `filtered`."""
        ...

    def calls(self, *wanted: Call, places: Sequence[int] = (), size: int = 5) -> Honest:
        """Return an answer with these tool calls: first their names at the indexes `places`, then their arguments in interleaved pieces."""
        ...

    def error(self, status: int, message: str, code: str) -> Mapping[str, Any]:
        """Return an error body of this API."""
        ...

    def failing(self, status: int, message: str, code: str) -> bytes:
        """Return the frame by which a stream of this API reports an error."""
        ...

    def partial_answer(self, body: Mapping[str, Any]) -> str | None:
        """Return the partial answer that the request wants continued; None if it ends in a question or a tool result."""
        ...

    def prefilled(self, body: Mapping[str, Any]) -> bool:
        """Return whether the request ends with an assistant message."""
        ...

    def rounds(self, body: Mapping[str, Any]) -> int:
        """Return the number of assistant messages with tool calls in the request."""
        ...


class OpenAI:
    """The dialect of OpenAI's chat completions, which the router also uses for LiteLLM."""

    def text(self, parts: Iterable[str], *, finish: str = "stop") -> Honest:
        """Return an answer with one delta per piece."""
        reason = {"filtered": "content_filter"}.get(finish, finish)
        speech = (chunk({"role": "assistant", "content": ""}), *(chunk({"content": part}) for part in parts))
        return Honest(speech, (chunk({}, reason),), (usage(),), (DONE,))

    def calls(self, *wanted: Call, places: Sequence[int] = (), size: int = 5) -> Honest:
        """Return an answer with tool calls, which come whole and in turn if their indexes are equal; an empty id is left out."""
        places = places or range(len(wanted))
        told: list[tuple[int, Call]] = list(zip(places, wanted, strict=True))
        if len(set(places)) < len(places):
            return self._called([self._head(at, call, call[2]) for at, call in told])
        parts = [[{"index": at, "function": {"arguments": part}} for part in pieces(call[2], size)] for at, call in told]
        turns = [part for turn in itertools.zip_longest(*parts) for part in turn if part is not None]
        return self._called([*(self._head(at, call, "") for at, call in told), *turns])

    @staticmethod
    def _head(at: int, call: Call, arguments: str) -> dict[str, Any]:
        call_id = {"id": call[0]} if call[0] else {}
        return {"index": at, **call_id, "type": "function", "function": {"name": call[1], "arguments": arguments}}

    @staticmethod
    def _called(deltas: Iterable[Mapping[str, Any]]) -> Honest:
        speech = tuple(chunk({"tool_calls": [delta]}) for delta in deltas)
        return Honest(speech, (chunk({}, "tool_calls"),), (usage(),), (DONE,), calls=True)

    def error(self, status: int, message: str, code: str) -> Mapping[str, Any]:
        """Return an error body; without a code, the status is its code."""
        return {"error": {"message": message, "type": code, "param": None, "code": code or status}}

    def failing(self, status: int, message: str, code: str) -> bytes:
        """Return an error in place of a chunk."""
        return frame({"error": {"message": message, "type": code, "code": status}})

    def partial_answer(self, body: Mapping[str, Any]) -> str | None:
        """Return the partial answer that stands before the request to continue it, or at the end; None otherwise."""
        messages: list[dict[str, Any]] = body["messages"]
        if messages[-1]["content"] == WISH:
            return str(messages[-2]["content"])
        return str(messages[-1]["content"]) if self.prefilled(body) else None

    def prefilled(self, body: Mapping[str, Any]) -> bool:
        """Return whether the last message is the assistant's."""
        return body["messages"][-1]["role"] == "assistant"

    def rounds(self, body: Mapping[str, Any]) -> int:
        """Return the number of messages with tool calls."""
        return sum(1 for message in body["messages"] if message.get("tool_calls"))


KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    529: "overloaded_error",
}
"""HTTP status → Anthropic's error type."""


class Anthropic:
    """Anthropic's Messages API."""

    def text(self, parts: Iterable[str], *, finish: str = "stop") -> Honest:
        """Return an answer with one text block."""
        reason = {"filtered": "refusal", "stop": "end_turn"}.get(finish, finish)
        speech = (
            self.frame({"type": "message_start", "message": {"usage": {"input_tokens": 11, "output_tokens": 1}}}),
            self.frame({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            *(self.frame({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": part}}) for part in parts),
        )
        return Honest(speech, (self.frame({"type": "content_block_stop", "index": 0}), self.ending(reason)), (), (self.stop(),))

    def calls(self, *wanted: Call, places: Sequence[int] = (), size: int = 5) -> Honest:
        """Return an answer whose tool blocks are all opened first and then filled in interleaved pieces."""
        told = list(zip(places or range(len(wanted)), wanted, strict=True))
        starts: list[dict[str, Any]] = [
            {"type": "content_block_start", "index": at, "content_block": {"type": "tool_use", "id": call_id, "name": name, "input": {}}}
            for at, (call_id, name, _) in told
        ]
        parts = [[(at, part) for part in pieces(call[2], size)] for at, call in told]
        deltas: list[dict[str, Any]] = [
            {"type": "content_block_delta", "index": at, "delta": {"type": "input_json_delta", "partial_json": part}}
            for turn in itertools.zip_longest(*parts)
            for at, part in filter(None, turn)
        ]
        begin: dict[str, Any] = {"type": "message_start", "message": {"usage": {"input_tokens": 11, "output_tokens": 1}}}
        speech = tuple(map(self.frame, [begin, *starts, *deltas]))
        return Honest(speech, (self.ending("tool_use"),), (), (self.stop(),), calls=True)

    @staticmethod
    def frame(value: Mapping[str, Any]) -> bytes:
        """Return one SSE frame with its event name."""
        return f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode()

    def ending(self, reason: str) -> bytes:
        """Return the frame with the stop reason and the output tokens."""
        return self.frame({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 3}})

    def stop(self) -> bytes:
        """Return the `message_stop` frame."""
        return self.frame({"type": "message_stop"})

    def error(self, status: int, message: str, code: str) -> Mapping[str, Any]:
        """Return an error body by the status's error type; Anthropic has no codes."""
        return {"type": "error", "error": {"type": KINDS.get(status, "api_error"), "message": message}}

    def failing(self, status: int, message: str, code: str) -> bytes:
        """Return an `error` event."""
        return self.frame(self.error(status, message, code))

    def partial_answer(self, body: Mapping[str, Any]) -> str | None:
        """Return the last text block of the assistant's last message; None if the request does not want it continued."""
        messages: list[dict[str, Any]] = body["messages"]
        wished = messages[-1]["content"][-1].get("text") == WISH
        if not wished and not self.prefilled(body):
            return None
        return str(messages[-2 if wished else -1]["content"][-1]["text"])

    def prefilled(self, body: Mapping[str, Any]) -> bool:
        """Return whether the last message is the assistant's."""
        return body["messages"][-1]["role"] == "assistant"

    def rounds(self, body: Mapping[str, Any]) -> int:
        """Return the number of messages with tool calls."""
        return sum(any(block["type"] == "tool_use" for block in message["content"]) for message in body["messages"])


class Google:
    """Google's API: CRLF line ends, calls in one piece, and no end mark."""

    def text(self, parts: Iterable[str], *, finish: str = "stop") -> Honest:
        """Return an answer with one part per piece; finish reason and usage share one event."""
        reason = {"filtered": "SAFETY", "stop": "STOP"}.get(finish, finish)
        speech = (self.frame({"text": ""}), *(self.frame({"text": part}) for part in parts))
        return Honest(speech, (self.ending(reason),), (), ())

    def calls(self, *wanted: Call, places: Sequence[int] = (), size: int = 5) -> Honest:
        """Return an answer whose calls come whole. Arguments that are no object, or nested too deeply, stay text."""
        del places, size
        frames = [self.frame({"text": ""})]
        for call_id, name, arguments in wanted:
            told = {"id": call_id} if call_id else {}
            call = {**told, "name": name, "args": self._args(arguments)}
            frames.append(self.frame({"functionCall": call, "thoughtSignature": f"signature of {arguments[:100]}"}))
        return Honest(tuple(frames), (self.ending("STOP"),), (), (), calls=True)

    @staticmethod
    def _args(arguments: str) -> object:
        try:
            value: object = json.loads(arguments) if arguments.count("[") < 200 else arguments
        except ValueError:
            return arguments
        return cast("object", value) if isinstance(value, dict) else arguments

    @staticmethod
    def frame(part: Mapping[str, Any], **more: Any) -> bytes:
        """Return one SSE frame with a candidate that holds this part. `more`: further fields of the candidate."""
        candidate = {"content": {"role": "model", "parts": [part]}, "index": 0, **more}
        return b"data: " + json.dumps({"candidates": [candidate], "modelVersion": "fake"}).encode() + b"\r\n\r\n"

    def ending(self, reason: str) -> bytes:
        """Return the frame with the finish reason and the token usage."""
        counts = {"promptTokenCount": 11, "candidatesTokenCount": 2, "thoughtsTokenCount": 1, "totalTokenCount": 14}
        said = {"candidates": [{"finishReason": reason, "index": 0}], "usageMetadata": counts, "modelVersion": "fake"}
        return b"data: " + json.dumps(said).encode() + b"\r\n\r\n"

    def error(self, status: int, message: str, code: str) -> Mapping[str, Any]:
        """Return an error body by its status."""
        del code
        return google.error(status, message)

    def failing(self, status: int, message: str, code: str) -> bytes:
        """Return an error as a bare JSON document between events."""
        return json.dumps([self.error(status, message, code)], indent=2).encode() + b"\r\n\r\n"

    def partial_answer(self, body: Mapping[str, Any]) -> str | None:
        """Return the partial answer that stands before the request to continue it; None otherwise."""
        contents: list[dict[str, Any]] = body["contents"]
        if contents[-1]["parts"][-1].get("text") != WISH:
            return None
        return str(contents[-2]["parts"][-1]["text"])

    def prefilled(self, body: Mapping[str, Any]) -> bool:
        """Return whether the last content is the model's."""
        return body["contents"][-1]["role"] == "model"

    def rounds(self, body: Mapping[str, Any]) -> int:
        """Return the number of contents with calls."""
        return sum(any("functionCall" in part for part in content["parts"]) for content in body["contents"])


@dataclass
class Exchange:
    """A request to an upstream and its connection, which a Fault uses to respond."""

    wire: Dialect
    body: dict[str, Any]
    key: str
    count: int
    """The number of earlier requests to this upstream."""
    honest: Honest
    heard: asyncio.Event
    """Set when the client has read text of this answer."""
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    trap: str
    """The base URL of another upstream that must not be asked."""
    progress: "Progress"
    chunked: bool = field(default=False, init=False)

    async def head(self, status: int = 200, content_type: str = "text/event-stream", /, **headers: str) -> None:
        """Write the status line and headers. The body is sent in HTTP chunks unless `content_length` is given."""
        named = {"content-type": content_type, "connection": "close", "x-words": WORDS}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.chunked = "content-length" not in named
        if self.chunked:
            named["transfer-encoding"] = "chunked"
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value)
        self.writer.write(f"HTTP/1.1 {status} {WORDS}\r\n{lines}\r\n".encode())
        await self.writer.drain()

    async def send(self, *parts: bytes) -> None:
        """Write each part separately and wait until it is sent."""
        for part in parts:
            self.writer.write(b"%x\r\n%s\r\n" % (len(part), part) if self.chunked else part)
            await self.writer.drain()
            self.progress.sent += len(part)

    async def end(self) -> None:
        """Write the regular end of the body."""
        if self.chunked:
            self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def respond(self, status: int, body: bytes, content_type: str = "application/json", /, **headers: str) -> None:
        """Write a complete response."""
        await self.head(status, content_type, content_length=str(len(body)), **headers)
        await self.send(body)

    async def hold(self) -> None:
        """Send nothing until the other side disconnects."""
        while await self.reader.read(65_536):
            pass

    def reset(self) -> None:
        """Reset the connection (RST)."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Fault = Callable[[Exchange], Awaitable[None]]
FakeModel = Callable[[Dialect, Mapping[str, Any]], Honest]
"""A function that returns the correct answer to a request."""


async def well(exchange: Exchange) -> None:
    """Answer correctly: the absence of a fault."""
    await exchange.head()
    await exchange.send(*exchange.honest.frames)
    await exchange.end()


@dataclass
class Progress:
    """Counters of one upstream: requests received, and bytes of response bodies sent."""

    asked: int = 0
    sent: int = 0


@dataclass
class Upstream:
    """One upstream: its API, its fault, and its correct answer to a request."""

    wire: Dialect
    fault: Fault
    said: FakeModel
    trap: str = ""
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    progress: Progress = field(default_factory=Progress)


CERTIFICATE = """
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgKSsuTBCfNPVnxJA1
1f4KAExzo5UaHO+IiPYbcmdWfkOhRANCAATSO2E004AO4XOFyIacQNRlsvFo/3k/
aMft5ec3+GFRi9rGLv7+Ja5NZ3+Wt1vtkedHsNn6rdwuDulWU/fw6FhA
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBfzCCASWgAwIBAgIUZCenTd1YjRGrSDE8X8533ZQlXRIwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEyMjIzNTgzMloYDzIxMjYxMDI5
MjM1ODMyWjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATSO2E004AO4XOFyIacQNRlsvFo/3k/aMft5ec3+GFRi9rGLv7+Ja5N
Z3+Wt1vtkedHsNn6rdwuDulWU/fw6FhAo1MwUTAdBgNVHQ4EFgQUFCV2Bx+sy6OR
F6rxWCOQfMsORU8wHwYDVR0jBBgwFoAUFCV2Bx+sy6ORF6rxWCOQfMsORU8wDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiB96eVFH+AgS6DNUyY02sZH
GcWDTDJ9Cvtcu9cQhLT6SgIhAN1ydPVafiBvagx4KGiev/OVnvo6tKQRdeozsMCu
U9l1
-----END CERTIFICATE-----
"""
"""A self-signed certificate for 127.0.0.1 with its key, used only by these tests."""


class Upstreams:
    """A server with all upstreams, and its addresses, some of which do not answer. `known`: model or trap name → upstream."""

    def __init__(self) -> None:
        self.known: dict[str, Upstream] = {}
        self.addresses: dict[str, str] = {}
        self.objections: list[str] = []
        """Error texts with which a real provider would have refused a request."""
        self._open: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection with one request."""
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()
            del self._open[task]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readline()).split(b" ")
        if not request[0].isalpha():  # somebody who wants to speak TLS
            writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
            return
        headers: dict[str, str] = {}
        while line := (await reader.readline()).decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = cast("dict[str, Any]", json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}"))
        path = request[1].decode()
        model = body.get("model") or unquote(path.partition("/models/")[2].partition(":")[0])
        upstream = self.known[path.split("/")[2] if path.startswith("/trap/") else model]
        key = headers.get("x-api-key") or headers.get("x-goog-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if isinstance(upstream.wire, Google) and (why := google.objection(headers, path, body, signs=True, thinks="level")):
            self.objections.append(why[1])
        count, upstream.progress.asked = upstream.progress.asked, upstream.progress.asked + 1
        honest = upstream.said(upstream.wire, body) if body else upstream.wire.text(())
        trap = f"{self.addresses['open']}/trap/{upstream.trap}/v1"
        exchange = Exchange(upstream.wire, body, key, count, honest, upstream.heard, reader, writer, trap, upstream.progress)
        await upstream.fault(exchange)
        with suppress(ConnectionError):
            await writer.drain()

    async def close(self) -> None:
        """Abort all open connections."""
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*self._open)


@asynccontextmanager
async def upstreams(folder: Path) -> AsyncGenerator[Upstreams, None]:
    """Run the upstreams. Their addresses by name:

    open, secure: HTTP, and HTTPS with an untrusted certificate
    plain: an https:// address of the HTTP port
    refused: nothing listens; hole: connections are never accepted
    unknown: a host name that does not exist
    """
    made = Upstreams()
    certificate = folder / "certificate.pem"
    certificate.write_text(CERTIFICATE, encoding="ascii")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, limit=1 << 24)
    secure = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    with ExitStack() as stack:
        refused, hole = stack.enter_context(socket.socket()), stack.enter_context(socket.socket())
        refused.bind(("127.0.0.1", 0))
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(4):  # they fill its queue: the kernel answers no further one
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(hole.getsockname())
        sockets = {"open": server.sockets[0], "secure": secure.sockets[0], "refused": refused, "hole": hole}
        made.addresses = {name: f"http://127.0.0.1:{one.getsockname()[1]}" for name, one in sockets.items()}
        made.addresses["secure"] = made.addresses["secure"].replace("http:", "https:")
        made.addresses["plain"] = made.addresses["open"].replace("http:", "https:")
        made.addresses["unknown"] = "http://nobody.invalid"
        try:
            yield made
        finally:
            server.close()
            secure.close()
            await made.close()
