"""A server on loopback that sends exactly the staged bytes, split as configured.

A test stages the replies of one client and gets a base URL for them; each request below it takes the next reply. The server knows no wire
format.
"""

import http.client
import json
import secrets
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

PATIENCE = 240.0
"""Seconds to wait for a client."""
Cut = int | Literal["whole", "bytes"]
"""The way a body is written: at once, byte by byte, or in two pieces with this many bytes in the first."""


@dataclass(frozen=True)
class Reply:
    """The response to one request."""

    body: bytes = b""
    status: int = 200
    content_type: str = "text/event-stream"
    headers: tuple[tuple[str, str], ...] = ()
    then: Literal["end", "hold", "reset"] = "end"
    """The event after the body: a normal end, silence until the client disconnects, or a connection reset."""


@dataclass
class Stage:
    """The replies for one client that asks at `base`, the requests that it sent, and the replies that it got."""

    reply: Callable[["Request", int], Reply]
    """A function of the request and its number, from 1, that returns the reply."""
    cut: Cut
    base: str = ""
    requests: list["Request"] = field(default_factory=list["Request"])
    replies: list[Reply] = field(default_factory=list[Reply])
    left: threading.Event = field(default_factory=threading.Event)
    """Set when the client has disconnected from a held reply."""


@dataclass(frozen=True)
class Request:
    """One request of a client. `path`: without the prefix of the stage."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body, parsed as JSON."""
        return cast("dict[str, Any]", json.loads(self.body))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.stages: dict[str, Stage] = {}
        self.open: set[socket.socket] = set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of a connection, since some tests disconnect in the middle of a response."""


class _Connection(socketserver.StreamRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def handle(self) -> None:
        while (asked := self._read()) is not None:
            stage, request = asked
            stage.requests.append(request)
            stage.replies.append(stage.reply(request, len(stage.requests)))
            if not self._answer(stage.replies[-1], stage):
                return

    def _read(self) -> tuple[Stage, Request] | None:
        line = self.rfile.readline().decode("ascii")
        if not line.strip():
            return None
        method, target, _ = line.split(" ", 2)
        headers: dict[str, str] = {}
        while line := self.rfile.readline().decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", 0)))
        _, token, path = target.split("/", 2)
        return self.server.stages[token], Request(method, f"/{path}", headers, body)

    def _answer(self, reply: Reply, stage: Stage) -> bool:
        head = [
            f"HTTP/1.1 {reply.status} replayed",
            f"content-type: {reply.content_type}",
            *(f"{name}: {value}" for name, value in reply.headers),
        ]
        if reply.status == 204:
            self.wfile.write("\r\n".join([*head, "", ""]).encode())
            return True
        self.wfile.write("\r\n".join([*head, "transfer-encoding: chunked", "", ""]).encode())
        # One chunk of HTTP's own for each piece: a client reads the pieces apart even if they arrive together.
        for piece in _pieces(reply.body, stage.cut):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if reply.then == "hold":
            self.connection.settimeout(PATIENCE)
            self.connection.recv(1)
            stage.left.set()
            return False
        if reply.then == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        self.wfile.write(b"0\r\n\r\n")
        return True


def _pieces(body: bytes, cut: Cut) -> Iterator[bytes]:
    if cut == "bytes":
        yield from (body[place : place + 1] for place in range(len(body)))
    elif cut == "whole":
        yield from (body,) if body else ()
    else:
        yield from (piece for piece in (body[:cut], body[cut:]) if piece)


class Replay:
    """The running replay server, on which tests stage replies."""

    def __init__(self, server: _Server) -> None:
        self._server = server

    def stage(self, *replies: Reply, cut: Cut = "whole") -> Stage:
        """Stage these replies, in order, for one client and return the stage; the last reply is repeated."""
        return self._stage(lambda _, number: replies[min(number, len(replies)) - 1], cut)

    def answering(self, reply: Callable[[Request], Reply]) -> Stage:
        """Stage a function that computes the reply to each request of a client; return the stage."""
        return self._stage(lambda request, _: reply(request), "whole")

    def through(self, base: str, cut: Cut = "whole") -> Stage:
        """Stage a proxy: each request is sent to another server at `base`, and its whole response is replayed, split by `cut`."""
        return self._stage(lambda request, _: _fetched(base, request), cut)

    def _stage(self, reply: Callable[[Request, int], Reply], cut: Cut) -> Stage:
        token = secrets.token_hex(8)
        made = Stage(reply, cut, f"http://127.0.0.1:{self._server.server_address[1]}/{token}")
        self._server.stages[token] = made
        return made


HOP = frozenset({"transfer-encoding", "content-length", "connection", "keep-alive", "content-type"})
"""Headers that are not forwarded, since they belong to one connection or are written separately."""


def _fetched(base: str, request: Request) -> Reply:
    """Return another server's response to a request."""
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=PATIENCE)
    try:
        headers = {name: value for name, value in request.headers.items() if name not in HOP}
        connection.request(request.method, request.path, request.body or None, headers)
        response = connection.getresponse()
        more = tuple((name, value) for name, value in response.getheaders() if name.lower() not in HOP)
        return Reply(response.read(), response.status, response.headers["content-type"], more)
    finally:
        connection.close()


@contextmanager
def replaying() -> Generator[Replay]:
    """Run the replay server in a thread of its own."""
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="replay", daemon=True)
    thread.start()
    try:
        yield Replay(server)
    finally:
        server.shutdown()
        thread.join(PATIENCE)
        for connection in list(server.open):
            connection.close()
        server.server_close()


def ended(reply: Reply, then: Literal["end", "hold", "reset"]) -> Reply:
    """Return the reply with another ending: normal end, held open, or connection reset."""
    return replace(reply, then=then)
