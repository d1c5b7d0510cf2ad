"""What is deployed: the nginx configuration, run for real before a small upstream, and the image's recipe, read."""

import asyncio
import os
import re
import shutil
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PATIENCE = 10
"""Seconds for a connection. It takes milliseconds; a stream that is held back would take for ever."""

FIRST = b'0:{"type":"text-delta","textDelta":"one"}\n'
SECOND = b'd:{"type":"finish","finishReason":"stop"}\n'

HIDDEN = [
    "/docs",
    "/docs/oauth2-redirect",
    "/redoc",
    "/openapi.json",
    "/metrics",
    "/admin",
    "/admin/reload",
    "//docs",
    "/%64ocs",
    "/api/../docs",
]


@dataclass
class Upstream:
    """A server that writes one line of its answer, and the second only when it is told that the first arrived."""

    confirmed: asyncio.Event = field(default_factory=asyncio.Event)
    heads: list[str] = field(default_factory=list[str])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request of a connection."""
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
            writer.write(_chunk(FIRST))
            await writer.drain()
            await self.confirmed.wait()
            writer.write(_chunk(SECOND) + _chunk(b""))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # nginx went away: the test that wanted more says so itself
        finally:
            writer.close()


@asynccontextmanager
async def connected(port: int, trust: ssl.SSLContext | None = None) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to this machine, closed at the end, and for no longer than PATIENCE."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()  # no farewell: TLS would wait for the other side's, half a minute if need be
            await writer.wait_closed()


@dataclass(frozen=True)
class Edge:
    """A running nginx with the shipped configuration, and what is behind it."""

    http: int
    https: int
    trust: ssl.SSLContext
    upstream: Upstream
    server: asyncio.Server

    @asynccontextmanager
    async def request(self, head: str, body: bytes = b"") -> AsyncGenerator[asyncio.StreamReader]:
        """Send a request over TLS, to read its answer as it comes."""
        async with connected(self.https, self.trust) as (reader, writer):
            writer.write(f"{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n".encode())
            writer.write(b"Accept-Encoding: gzip\r\nX-Forwarded-For: 192.0.2.1\r\nX-Request-Id: from-the-browser\r\n\r\n" + body)
            yield reader

    async def answer(self, head: str, body: bytes = b"") -> bytes:
        """Send a request and read its whole answer."""
        async with self.request(head, body) as reader:
            return await reader.read()


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """The edge: upstream and nginx on free loopback ports, nginx in the foreground."""
    nginx = _program("nginx")
    certificate = await _certificate(tmp_path)
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    http, https = _free_ports(2)
    configuration = _adapted(tmp_path, http, https, server.sockets[0].getsockname()[1])

    await _run(nginx, "-t", "-p", str(tmp_path), "-c", str(configuration))
    process = await asyncio.create_subprocess_exec(nginx, "-p", str(tmp_path), "-c", str(configuration), "-g", "daemon off;")
    try:
        await _listening(process, https)
        yield Edge(http, https, ssl.create_default_context(cafile=certificate), upstream, server)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        upstream.confirmed.set()
        server.close()
        await server.wait_closed()


async def test_a_line_arrives_before_the_next_is_written(edge: Edge) -> None:
    async with edge.request("POST /api/chat", b"{}") as reader:
        await reader.readuntil(FIRST)
        edge.upstream.confirmed.set()
        await reader.readuntil(SECOND)


@pytest.mark.parametrize("path", HIDDEN)
async def test_what_is_for_operators_stays_inside(edge: Edge, path: str) -> None:
    answer = await edge.answer(f"GET {path}")
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert edge.upstream.heads == []


async def test_the_router_learns_who_asks(edge: Edge) -> None:
    edge.upstream.confirmed.set()
    await edge.answer("POST /api/chat", b"{}")
    [head] = edge.upstream.heads
    assert "X-Forwarded-For: 127.0.0.1\r\n" in head  # not what the client made up
    assert "X-Forwarded-Proto: https\r\n" in head
    assert "X-Request-Id: from-the-browser\r\n" in head


async def test_answers_bear_the_security_headers(edge: Edge) -> None:
    edge.upstream.confirmed.set()
    for path in ("/api/models", "/docs"):
        head = (await edge.answer(f"GET {path}")).partition(b"\r\n\r\n")[0].lower()
        for name in (b"strict-transport-security", b"x-content-type-options", b"x-frame-options", b"referrer-policy"):
            assert head.count(b"\r\n" + name + b":") == 1


async def test_a_question_too_large_does_not_reach_the_router(edge: Edge) -> None:
    async with connected(edge.https, edge.trust) as (reader, writer):
        writer.write(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1048577\r\n\r\n")
        answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'{"type":"error","error":"The request is too large."' in answer
    assert edge.upstream.heads == []


async def test_http_2_is_offered(edge: Edge) -> None:
    edge.trust.set_alpn_protocols(["h2", "http/1.1"])
    async with connected(edge.https, edge.trust) as (_, writer):
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"


async def test_plain_http_is_sent_to_https(edge: Edge) -> None:
    async with connected(edge.http) as (reader, writer):
        writer.write(b"POST /api/chat?protocol=line HTTP/1.1\r\nHost: chat.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 308 ")
    assert b"Location: https://chat.example/api/chat?protocol=line\r\n" in answer


async def test_a_router_that_is_away_is_said_in_the_routers_form(edge: Edge) -> None:
    edge.server.close()
    answer = await edge.answer("POST /api/chat", b"{}")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'{"type":"error","error":"The service is not available. Please try again."' in answer
    assert b'"requestId":"from-the-browser"}' in answer


def test_every_copied_path_exists_and_is_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    sources = [source for instruction, rest in _instructions() if instruction == "COPY" for source in _sources(rest)]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if source.split("/")[0] not in sent] == []


def test_the_image_ends_without_root() -> None:
    final: list[tuple[str, str]] = []
    for instruction, rest in _instructions():
        final = [] if instruction == "FROM" else [*final, (instruction, rest)]
    user = [rest for instruction, rest in final if instruction == "USER"][-1]
    assert user == "65532:65532"
    assert [instruction for instruction, _ in final].index("USER") > max(
        i for i, (instruction, _) in enumerate(final) if instruction == "COPY"
    )


def _adapted(folder: Path, http: int, https: int, upstream: int) -> Path:
    """The shipped configuration with this test's ports and paths; each of them must stand in it, exactly so often."""
    text = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    scratch = "".join(f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    for old, new, times in [
        ("worker_processes auto;", "worker_processes 1;", 1),
        ("pid /run/nginx.pid;", f"pid {folder}/nginx.pid;", 1),
        ("/var/log/nginx/", f"{folder}/", 2),
        ("\nhttp {\n", f"\nhttp {{\n{scratch}", 1),
        ("server 127.0.0.1:8000;", f"server 127.0.0.1:{upstream};", 1),
        ("listen 80;", f"listen 127.0.0.1:{http};", 1),
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{https} ssl http2;", 1),
        (" /etc/nginx/tls/tls.", f" {folder}/tls.", 2),
    ]:
        assert text.count(old) == times, old
        text = text.replace(old, new)
    adapted = folder / "nginx.conf"
    adapted.write_text(text, encoding="utf-8")
    return adapted


async def _certificate(folder: Path) -> Path:
    """A certificate for this machine, signed by itself; its key lies beside it."""
    certificate = folder / "tls.crt"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(folder / "tls.key")]
    await _run(_program("openssl"), "req", "-x509", "-days", "1", *key, *subject, "-out", str(certificate))
    return certificate


def _program(name: str) -> str:
    """The program's path, also from where only root's PATH leads; without it the test is skipped."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    return found or pytest.skip(f"{name} is not installed here")


async def _run(*command: str) -> None:
    """Run a command to its end, which must be a good one."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def _listening(process: asyncio.subprocess.Process, port: int) -> None:
    """Wait until the process takes connections."""
    while True:
        assert process.returncode is None, "nginx ended at once"
        try:
            async with connected(port):
                return
        except ConnectionError:
            await asyncio.sleep(0.01)


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on, all different."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


def _chunk(data: bytes) -> bytes:
    """A piece of a chunked body; an empty one ends it."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _instructions() -> Iterator[tuple[str, str]]:
    """The Dockerfile's instructions, each with what follows it, continued lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            instruction, _, rest = line.strip().partition(" ")
            yield instruction, rest.strip()


def _sources(rest: str) -> list[str]:
    """What a COPY takes from the repository; nothing if it copies from another stage."""
    words = rest.split()
    return [] if any(word.startswith("--from=") for word in words) else [word for word in words if not word.startswith("--")][:-1]
