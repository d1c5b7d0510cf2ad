"""The shipped nginx configuration, run by a real nginx: on free loopback ports, with a certificate of its own, in front of any upstreams."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT
from tests.support.services import Nginx, free_ports, nginx, program, run

PATIENCE = 240
"""Seconds for everything on one connection. It takes milliseconds, unless a stream is held back."""
DEPLOY = ROOT / "deploy"


@asynccontextmanager
async def connected(port: int, trust: ssl.SSLContext | None = None) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Yield a connection to a port of this machine, closed at the end; ends with TimeoutError after PATIENCE seconds."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()  # no farewell: TLS would wait for the other side's, half a minute if need be
            with suppress(ConnectionError):  # the other side's own abortion
                await writer.wait_closed()


@dataclass(frozen=True)
class Edge:
    """A running nginx with the shipped configuration: its ports, and the SSL context that trusts its certificate."""

    http: int
    https: int
    trust: ssl.SSLContext
    nginx: Nginx

    @property
    def base(self) -> str:
        """Return the HTTPS address of this nginx."""
        return f"https://localhost:{self.https}"

    def route_to(self, *ports: int) -> None:
        """Write a new list of router ports to upstream.conf; nginx uses it after a reload."""
        (self.nginx.folder / "upstream.conf").write_text(upstreams(*here(ports)), encoding="utf-8")

    @asynccontextmanager
    async def request(self, head: str, body: bytes = b"", *more: str) -> AsyncGenerator[asyncio.StreamReader]:
        """Send a request over TLS, and yield the reader of its response."""
        async with connected(self.https, self.trust) as (reader, writer):
            writer.write(f"{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n".encode())
            writer.write(b"Accept-Encoding: gzip\r\nX-Forwarded-For: 192.0.2.1\r\nX-Request-Id: from-the-browser\r\n")
            writer.write("".join(f"{line}\r\n" for line in more).encode() + b"\r\n" + body)
            yield reader

    async def answer(self, head: str, body: bytes = b"", *more: str) -> bytes:
        """Send a request over TLS, and return its whole response."""
        async with self.request(head, body, *more) as reader:
            return await reader.read()


@asynccontextmanager
async def edge(*ports: int, changes: Mapping[str, str] | None = None) -> AsyncGenerator[Edge, None]:
    """Yield an nginx that forwards to the routers at these ports. `changes`: text that occurs once in nginx.conf → its replacement."""
    http, https = free_ports(2)
    openssl = program("openssl")

    def configuration(folder: Path) -> str:
        (folder / "upstream.conf").write_text(upstreams(*here(ports)), encoding="utf-8")
        return _adapted(folder, http, https, changes or {})

    async def certified(folder: Path) -> None:
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(folder / "tls.key")]
        await run(openssl, "req", "-x509", "-days", "1", *key, *subject, "-out", str(folder / "tls.crt"))

    async with nginx(configuration, https, certified) as running:
        yield Edge(http, https, ssl.create_default_context(cafile=running.folder / "tls.crt"), running)


def upstreams(*addresses: str) -> str:
    """Return the shipped upstream.conf with these addresses in place of its own; its other lines stay, in their order."""
    made: list[str] = []
    for line in (DEPLOY / "upstream.conf").read_text(encoding="utf-8").splitlines():
        assert line.count("127.0.0.1:") == line.strip().startswith("server ")
        if "127.0.0.1:8000 " in line:
            made += [line.replace("127.0.0.1:8000", address) for address in addresses]
        elif "127.0.0.1:8001 " not in line:
            made.append(line)
    return "\n".join(made)


def here(ports: Sequence[int]) -> list[str]:
    """Return these ports as addresses of this machine."""
    return [f"127.0.0.1:{port}" for port in ports]


def _adapted(folder: Path, http: int, https: int, changes: Mapping[str, str]) -> str:
    """Return the shipped configuration with this test's ports and paths. Fails if a replaced text does not occur as often as listed."""
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    scratch = "".join(f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    for old, new, times in [
        ("worker_processes auto;", "worker_processes 2;", 1),
        ("pid /run/nginx.pid;", f"pid {folder}/nginx.pid;", 1),
        ("/var/log/nginx/", f"{folder}/", 2),
        ("\nhttp {\n", f"\nhttp {{\n{scratch}", 1),
        ("include upstream.conf;", f"include {folder}/upstream.conf;", 1),
        ("listen 80;", f"listen 127.0.0.1:{http};", 1),
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{https} ssl http2;", 1),
        (" /etc/nginx/tls/tls.", f" {folder}/tls.", 2),
        *((old, new, 1) for old, new in changes.items()),
    ]:
        assert text.count(old) == times, old
        text = text.replace(old, new)
    return text
