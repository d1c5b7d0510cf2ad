"""A forward proxy on loopback that resolves host names itself and misbehaves if asked to."""

import asyncio
import base64
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

CANARY = "proxy-words-canary"
"""A marker in the proxy's own texts, which must not reach clients or logs."""
Fault = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def refuses_with(status: int, *headers: str) -> Fault:
    """Return a fault: the proxy answers each request itself, with this status and an HTML page that contains CANARY."""

    async def fault(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        page = f"<html>{CANARY}</html>".encode()
        lines = "".join(f"{line}\r\n" for line in (*headers, "content-type: text/html", f"content-length: {len(page)}"))
        writer.write(f"HTTP/1.1 {status} {CANARY}\r\n{lines}\r\n".encode() + page)
        await writer.drain()

    return fault


class ForwardProxy:
    """A forward proxy. `names`: host:port → local port; `login`: required user and password; `asked`: first request line per connection."""

    def __init__(self, names: dict[str, int], login: tuple[str, str] | None = None, fault: Fault | None = None) -> None:
        self.names = names
        self.login = login
        self.fault = fault
        self.asked: list[str] = []
        self.shown: list[str] = []
        """The credentials of each connection's first request, decoded; an empty string if it has none."""
        self.connections = 0
        self.led: set[tuple[str, int]] = set()
        """The proxy's local addresses of its upstream connections, which show a server that it was reached through the proxy."""
        self.opened: list[str] = []
        """The host:port of each opened tunnel."""
        self.port = 0
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """Host and port of the proxy."""
        return f"127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client connection."""
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._serving.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, headers = await _head(reader)
        self.asked.append(line)
        shown = base64.b64decode(headers.pop("proxy-authorization", "").removeprefix("Basic ")).decode()
        self.shown.append(shown)
        if self.fault is not None:
            await self.fault(reader, writer)
            return
        if self.login is not None and shown != ":".join(self.login):
            await refuses_with(407, 'proxy-authenticate: Basic realm="x"')(reader, writer)
            return
        method, target, _ = line.split()
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        port = self.names.get(parts.netloc)
        if port is None:
            await refuses_with(403)(reader, writer)
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await refuses_with(502)(reader, writer)
            return
        self.led.add(back.get_extra_info("sockname"))
        if method == "CONNECT":
            self.opened.append(target)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_relayed(reader, back), _relayed(there, writer))
            return
        answers = asyncio.create_task(_relayed(there, writer))
        try:
            while True:  # each request is passed on without what is meant for the proxy
                kept = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if not name.startswith("proxy-"))
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                back.write(f"{method} {urlsplit(line.split()[1]).path} HTTP/1.1\r\n{kept}\r\n".encode() + body)
                line, headers = await _head(reader)
        finally:
            answers.cancel()
            back.transport.abort()

    async def close(self) -> None:
        """Cancel all open connections."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


async def _head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """Read a request; return its first line, and its headers by lower-case name."""
    line, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().removesuffix("\r\n\r\n").split("\r\n")
    return line, {name.lower(): value for name, _, value in (one.partition(": ") for one in rest)}


async def _relayed(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    try:
        while piece := await source.read(1 << 16):
            to.write(piece)
            await to.drain()
    finally:
        with suppress(OSError):
            to.close()


@asynccontextmanager
async def proxying(made: ForwardProxy, tls: ssl.SSLContext | None = None) -> AsyncGenerator[ForwardProxy, None]:
    """Run the proxy on a free port, with TLS if a context is given."""
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.close()
