"""The shipped nginx configuration, run by a real nginx in front of one small upstream: what it passes on, and with which headers."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from tests.deploy.edge import Edge, connected, edge

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
    """An upstream that sends the first line of its answer, and the second once the test sets `confirmed`."""

    confirmed: asyncio.Event = field(default_factory=asyncio.Event)
    heads: list[str] = field(default_factory=list[str])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request, send the first line of an SSE answer at once, and the second when the test sets `confirmed`."""
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if length := re.search(r"(?i)content-length: (\d+)", self.heads[-1]):
                await reader.readexactly(int(length[1]))  # to close with a body unread resets the connection, and the answer is lost
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


@dataclass(frozen=True)
class Site:
    """A running nginx, and the upstream behind it."""

    edge: Edge
    upstream: Upstream
    server: asyncio.Server


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Yield an nginx that forwards to one small upstream."""
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    try:
        async with edge(server.sockets[0].getsockname()[1]) as running:
            yield Site(running, upstream, server)
    finally:
        upstream.confirmed.set()
        server.close()
        await server.wait_closed()


async def test_nginx_passes_each_line_of_a_stream_on_at_once(site: Site) -> None:
    """The first line of a stream reaches the client before the upstream has sent the second."""
    async with site.edge.request("POST /api/chat", b"{}") as reader:
        await reader.readuntil(FIRST)
        site.upstream.confirmed.set()
        await reader.readuntil(SECOND)


async def test_nginx_does_not_compress_a_stream(site: Site) -> None:
    """A stream has no content-encoding although the client accepts gzip: compression would hold lines back."""
    site.upstream.confirmed.set()
    answer = await site.edge.answer("POST /api/chat", b"{}")
    assert b"content-encoding" not in answer.lower()
    assert FIRST in answer


@pytest.mark.parametrize("path", HIDDEN)
async def test_pages_of_operators_are_not_served_by_nginx(site: Site, path: str) -> None:
    """Operators' pages are 404 at nginx for any spelling of their paths, and the router gets no request."""
    answer = await site.edge.answer(f"GET {path}")
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert site.upstream.heads == []


async def test_nginx_passes_the_client_address_to_the_router(site: Site) -> None:
    """The router gets the address of the connection in X-Forwarded-For, not the client's value, and the client's X-Request-Id."""
    site.upstream.confirmed.set()
    await site.edge.answer("POST /api/chat", b"{}")
    [head] = site.upstream.heads
    assert "X-Forwarded-For: 127.0.0.1\r\n" in head  # not what the client made up
    assert "X-Forwarded-Proto: https\r\n" in head
    assert "X-Request-Id: from-the-browser\r\n" in head


async def test_forwarding_header_of_a_client_is_not_passed_on(site: Site) -> None:
    """A client's Forwarded and X-Real-IP headers do not reach the router, and nginx replaces its X-Router-Handover."""
    site.upstream.confirmed.set()
    await site.edge.answer("POST /api/chat", b"{}", "Forwarded: for=192.0.2.1", "X-Real-IP: 192.0.2.1", "X-Router-Handover: no")
    [head] = site.upstream.heads
    assert "192.0.2.1" not in head
    assert [line for line in head.split("\r\n") if line.lower().startswith("x-router-handover")] == ["X-Router-Handover: yes"]


async def test_answers_bear_the_security_headers(site: Site) -> None:
    """Answers from the router and from nginx itself have each of four security headers once, such as Strict-Transport-Security."""
    site.upstream.confirmed.set()
    for path in ("/api/models", "/docs"):
        head = (await site.edge.answer(f"GET {path}")).partition(b"\r\n\r\n")[0].lower()
        for name in (b"strict-transport-security", b"x-content-type-options", b"x-frame-options", b"referrer-policy"):
            assert head.count(b"\r\n" + name + b":") == 1


SENTENCE = "The request is too large."
OPENAIS: dict[str, object] = {"error": {"message": SENTENCE, "type": "invalid_request_error", "param": None, "code": "too_large"}}
TOO_LARGE = {"type": "request_too_large", "message": SENTENCE, "code": "too_large"}
FORMS: dict[str, dict[str, object]] = {
    "/api/chat": {"type": "error", "error": SENTENCE, "message": SENTENCE, "code": "too_large"},
    "/v1/chat/completions": OPENAIS,
    "/v1/messagesx": OPENAIS,
    "/v1/messages": {"type": "error", "error": TOO_LARGE},
    "/v1/messages/count_tokens": {"type": "error", "error": TOO_LARGE},
}
FRAMINGS = {"its length said": "Content-Length: 8454144", "in chunks": "Transfer-Encoding: chunked"}


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("path", FORMS)
async def test_nginx_refuses_a_body_over_8_mib_in_the_error_form_of_its_dialect(site: Site, path: str, framing: str) -> None:
    """A body over 8 MiB gets a 413 in the error form of its API and does not reach the router."""
    piece = b"x" * 65536
    async with connected(site.edge.https, site.edge.trust) as (reader, writer):
        writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{FRAMINGS[framing]}\r\n\r\n".encode())
        for _ in range(129):
            writer.write(_chunk(piece) if framing == "in chunks" else piece)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        body = await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    assert head.startswith(b"http/1.1 413 ")
    assert json.loads(body).items() >= FORMS[path].items()
    assert site.upstream.heads == []


async def test_body_of_8_mib_reaches_the_router(site: Site) -> None:
    """A body of exactly 8 MiB is passed on by nginx to the router."""
    site.upstream.confirmed.set()
    answer = await site.edge.answer("POST /api/chat", b"x" * (8 * 1024 * 1024))
    assert answer.startswith(b"HTTP/1.1 200 ")
    [head] = site.upstream.heads
    assert "Content-Length: 8388608" in head


@pytest.mark.parametrize(
    ("limit", "begun"),
    [
        ("client_header_timeout", b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nX-Slow: "),
        ("client_body_timeout", b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"),
    ],
)
async def test_nginx_drops_a_client_that_sends_its_request_too_slowly(limit: str, begun: bytes) -> None:
    """A client whose headers or body exceed their time limit is disconnected or gets a 408, and the router gets nothing."""
    upstream = Upstream()
    async with await asyncio.start_server(upstream.serve, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
        async with edge(port, changes={f"{limit} 10s;": f"{limit} 200ms;"}) as running, connected(running.https, running.trust) as pair:
            reader, writer = pair
            writer.write(begun)
            try:
                said = await reader.read()
            except ConnectionError:  # reset_timedout_connection
                said = b""
    assert said == b"" or said.startswith(b"HTTP/1.1 408 ")
    assert upstream.heads == []


async def test_nginx_offers_http_2(site: Site) -> None:
    """The TLS handshake with nginx selects HTTP/2 (`h2`) for a client that supports it."""
    site.edge.trust.set_alpn_protocols(["h2", "http/1.1"])
    async with connected(site.edge.https, site.edge.trust) as (_, writer):
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"


async def test_nginx_redirects_http_to_https(site: Site) -> None:
    """A request over plain HTTP gets a 308 to the same path and query over HTTPS."""
    async with connected(site.edge.http) as (reader, writer):
        writer.write(b"POST /api/chat?protocol=line HTTP/1.1\r\nHost: chat.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 308 ")
    assert b"Location: https://chat.example/api/chat?protocol=line\r\n" in answer


async def test_nginx_reports_an_unreachable_router_in_the_routers_error_form(site: Site) -> None:
    """A request while no router listens gets a 503 in the router's error form, with the request's id and one `Retry-After: 1`."""
    site.server.close()
    answer = await site.edge.answer("POST /api/chat", b"{}")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'{"type":"error","error":"The service is not available. Please try again."' in answer
    assert b'"requestId":"from-the-browser"}' in answer
    assert answer.count(b"\r\nRetry-After: 1\r\n") == 1


def _chunk(data: bytes) -> bytes:
    """Return a chunk of a chunked body; an empty one ends the body."""
    return b"%x\r\n%s\r\n" % (len(data), data)
