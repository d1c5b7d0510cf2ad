"""While `server.auth` is not declared, a server answers requests of its own machine alone (docs/security.md, items 49 and 60)."""

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from router.access.headers import by_name
from router.access.local import stranger
from router.server import application
from tests.conftest import HERE, Workspace, routes, serving
from tests.support.raw import RawResponse, response_to

HI = "a: {script: [{text: Hi}]}"
BODY = json.dumps({"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}], "stream": False}).encode()
QUESTIONS = ("POST /api/chat", "POST /api/chat/chat-model", "POST /v1/chat/completions", "POST /api/chat/chat-1/stop")
READS = ("GET /api/models", "GET /v1/models", "GET /api/chat?chatId=chat-1", "GET /api/chat/chat-1/stream", "GET /no/such/page")
OPERATORS = ("GET /admin/config", "GET /metrics", "GET /docs", "GET /openapi.json", "POST /admin/reload")
ADDRESSES = (*QUESTIONS, *READS, *OPERATORS)
DECLARED = "server: {cors: {origins: [https://chat.example.com]}}\n"


async def asked(base: str, line: str, *headers: str, host: str = "Host: localhost", version: str = "HTTP/1.1") -> RawResponse:
    """Send one request with these header lines, and return the answer."""
    method = line.partition(" ")[0]
    body = BODY if method == "POST" else b""
    lines = [f"{line} {version}", *([host] if host else []), "Connection: close", f"Content-Length: {len(body)}", *headers]
    return await response_to(base, "\r\n".join([*lines, "", ""]).encode("latin-1") + body)


async def statuses(base: str, lines: Sequence[str], *headers: str, host: str = "Host: localhost", version: str = "HTTP/1.1") -> set[int]:
    """Send all of these requests at once, since refusals are delayed, and return the statuses that occurred."""
    return {one.status for one in await asyncio.gather(*(asked(base, line, *headers, host=host, version=version) for line in lines))}


def test_each_fact_of_a_connection_is_judged_although_the_others_are_known() -> None:
    """After a request that came from this machine, one that differs from it in peer, server, host or HTTP version alone did not."""
    here: dict[str, Any] = {"http_version": "1.1", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000), "headers": []}
    host = by_name([(b"host", b"localhost:8000")])
    assert stranger(here, host, ()) == ""
    assert stranger({**here, "client": ("192.0.2.1", 1)}, host, ()) == "peer"
    assert stranger({**here, "client": None}, host, ()) == "peer"
    assert stranger({**here, "server": ("192.0.2.1", 8000)}, host, ()) == "server"
    assert stranger({**here, "server": ("", 8000)}, host, ()) == "server"
    assert stranger({**here, "server": None}, host, ()) == ""
    assert stranger({**here, "http_version": "1.0"}, host, ()) == "HTTP/1.0"
    assert stranger(here, by_name([(b"host", b"evil.example")]), ()) == "host"
    assert stranger(here, by_name([]), ()) == "host"
    assert stranger(here, host, ()) == ""


FORWARDING = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "chat.example",
    "X-Forwarded-Server": "chat.example",
    "X-Forwarded-By": "203.0.113.9",
    "Forwarded": "for=203.0.113.9;proto=https",
    "X-Real-IP": "203.0.113.9",
    "CF-Connecting-IP": "2001:db8::9",
    "True-Client-IP": "203.0.113.9",
    "X-Client-IP": "203.0.113.9",
    "Client-IP": "203.0.113.9",
    "Fastly-Client-IP": "203.0.113.9",
    "X-Envoy-External-Address": "203.0.113.9",
    "X-Original-Forwarded-For": "203.0.113.9",
    "Via": "1.1 cache.example",
}


@pytest.mark.parametrize("name", FORWARDING)
async def test_forwarding_header_with_an_address_beyond_loopback_is_refused(workspace: Workspace, name: str) -> None:
    """A forwarding header with a foreign or unreadable value, also beside loopback, is 403 at every address."""
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        assert await statuses(client.base, ADDRESSES, f"{name}: {FORWARDING[name]}") == {403}
        before = "" if name == "Via" else "127.0.0.1, "
        values = (f"{before}{FORWARDING[name]}", "unknown", "_hidden", '"', "127.0.0.1.evil.example", "127.1", "é", "")
        for value in values:
            assert (await asked(client.base, "POST /api/chat", f"{name}: {value}")).status == 403, value


LOCAL: Sequence[Sequence[str]] = [
    (),
    ("X-Forwarded-For: ::1", "X-Forwarded-Host: localhost:3000", "X-Forwarded-Port: 3000", "X-Forwarded-Proto: http"),
    ("X-Forwarded-For: 127.0.0.1:5555, [::1]:4444, ::ffff:127.0.0.1",),
    ('Forwarded: for="[::1]:1234";host=localhost:3000;proto=http;by=127.0.0.1', "Via: 1.1 localhost"),
    ("Origin: http://localhost:3000", "Referer: http://localhost:3000/chat?x=http://evil.example"),
    ("Origin: http://[::1]:5173", "Referer: http://127.0.0.1:5173/"),
    ("Origin: https://chat.example.com", "Referer: https://chat.example.com/new#top"),
]


@pytest.mark.parametrize("headers", LOCAL, ids=str)
async def test_request_from_this_machine_is_answered(workspace: Workspace, headers: Sequence[str]) -> None:
    """A request is answered if its forwarding headers name loopback alone, and its origin is absent, loopback or declared."""
    workspace.write("routes.yaml", routes(HI, more=DECLARED))
    async with serving(workspace.build()) as client:
        for line in (*QUESTIONS, *READS[:4]):
            assert (await asked(client.base, line, *headers)).status in (200, 204), line


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1", "127.8.8.8:8000", "[::1]", "[::1]:8000"])
async def test_loopback_host_is_answered_with_any_port(workspace: Workspace, host: str) -> None:
    """A `Host` that is loopback is answered with any port: a container or a tunnel may have published another."""
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        assert (await asked(client.base, "POST /api/chat", host=f"Host: {host}")).status == 200


FOREIGN = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "[::2]",
    "192.0.2.1",
    "127.1",
    "::1",
]


@pytest.mark.parametrize("host", FOREIGN)
async def test_foreign_host_is_refused(workspace: Workspace, host: str) -> None:
    """A `Host` that is not loopback is 403 at every address, against DNS rebinding."""
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        assert await statuses(client.base, ADDRESSES, host=f"Host: {host}") == {403}


ORIGINS = [
    "Origin: https://evil.example",
    "Origin: null",
    "Origin: ",
    "Origin: http://localhost.evil.example",
    "Origin: https://chat.example.com.evil.example",
    "Origin: file://",
    "Referer: https://evil.example/page",
    "Referer: http://localhost@evil.example/",
    "Referer: evil",
]


@pytest.mark.parametrize("header", ORIGINS)
async def test_page_of_a_foreign_origin_is_refused(workspace: Workspace, header: str) -> None:
    """A request whose `Origin` or `Referer` is neither loopback nor declared is 403 at every address."""
    workspace.write("routes.yaml", routes(HI, more=DECLARED))
    async with serving(workspace.build()) as client:
        assert await statuses(client.base, ADDRESSES, header) == {403}


async def test_http_1_0_is_refused_while_auth_is_undeclared(workspace: Workspace) -> None:
    """HTTP/1.0, the default of some proxies, is 403 at every address; with `auth: none` a question is answered even without `Host`."""
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        assert await statuses(client.base, ADDRESSES, version="HTTP/1.0") == {403}
    workspace.write("routes.yaml", routes(HI, more="server: {auth: none}\n"))
    async with serving(workspace.build()) as client:
        assert (await asked(client.base, "POST /api/chat", host="", version="HTTP/1.0")).status == 200


async def test_health_pages_are_open_to_other_machines_and_chats_only_with_auth_none(workspace: Workspace) -> None:
    """A forwarded request with a foreign host gets 200 from health pages, and from chats and model lists 403, or 200 with `auth: none`."""
    elsewhere = ("X-Forwarded-For: 203.0.113.9", "Via: 1.1 cache.example")
    for server, status in (("", 403), ("server: {auth: none}\n", 200)):
        workspace.write("routes.yaml", routes(HI, more=server))
        async with serving(workspace.build()) as client:
            for page in ("GET /healthz", "GET /readyz"):
                assert (await asked(client.base, page, *elsewhere, host="Host: 10.0.0.7:8000")).status == 200
            for line in ("POST /api/chat", "GET /api/models", "GET /v1/models"):
                assert (await asked(client.base, line, *elsewhere, host="Host: chat.example")).status == status


PEERS: dict[str, dict[str, Any]] = {
    "none, as of a Unix socket": {"client": None},
    "a network's": {"client": ("192.0.2.9", 50_000)},
    "a Docker bridge's": {"client": ("172.17.0.1", 50_000)},
    "IPv6": {"client": ("2001:db8::9", 50_000)},
    "mapped": {"client": ("::ffff:192.0.2.9", 50_000)},
    "loopback, as X-Forwarded-For says": {"client": ("127.0.0.1", 0), "server": ("192.0.2.1", 8000)},
}


@pytest.mark.parametrize("peer", PEERS)
async def test_peer_beyond_loopback_is_refused(workspace: Workspace, peer: str) -> None:
    """A connection from or to an address beyond loopback, or without a peer, is 403 at every path; loopback in any form is answered."""
    workspace.write("routes.yaml", routes(HI))
    generation = workspace.build()
    edge = application(generation)
    for line in ADDRESSES:
        method, _, path = line.partition(" ")
        status = await status_of(edge, {**HERE, "type": "http", "method": method, "path": path.partition("?")[0], **PEERS[peer]})
        assert status == 403, line
    here = {**HERE, "type": "http", "method": "GET", "path": "/api/models"}
    for peer_here, server in ((("127.0.0.1", 1), ("127.0.0.1", 8000)), (("::1", 1), ("::1", 8000)), (("::ffff:127.0.0.1", 1), None)):
        assert await status_of(edge, {**here, "client": peer_here, "server": server}) == 200
    await edge.live.close()


async def status_of(edge: Any, scope: dict[str, Any]) -> int:
    """Return the status that an ASGI server would send for a request with this scope."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await edge(scope, receive, send)
    return int(sent[0]["status"])


DIALECTS: dict[str, tuple[str, str]] = {
    "line": ("POST /api/chat?protocol=line", "not_allowed"),
    "data-stream": ("POST /api/chat?protocol=data-stream", "forbidden:chat"),
    "ui-message-stream": ("POST /api/chat?protocol=ui-message-stream", "forbidden:chat"),
    "openai": ("POST /v1/chat/completions", "not_allowed"),
    "models": ("GET /api/models", "not_allowed"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_refusal_names_server_auth_in_the_dialect_of_the_request(
    workspace: Workspace, dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Without `server.auth`, the 403 names that setting in the error form of each dialect; the log has no forwarded address."""
    line, code = DIALECTS[dialect]
    workspace.write("routes.yaml", routes(HI))
    with caplog.at_level(logging.INFO):
        async with serving(workspace.build()) as client:
            refused = await asked(client.base, line, "X-Forwarded-For: 203.0.113.9")
    said_so = json.loads(refused.rest)
    assert refused.status == 403
    assert "`server.auth`" in refused.rest.decode()
    error = said_so["error"] if isinstance(said_so.get("error"), dict) else said_so
    assert error["code"] == code
    assert "203.0.113.9" not in caplog.text


async def test_http_1_1_request_needs_exactly_one_valid_host(workspace: Workspace) -> None:
    """HTTP/1.1 without `Host`, with two, or with a malformed one is 400, with and without declared auth (RFC 9112, 3.2)."""
    for server in ("", "server: {auth: none}\n"):
        workspace.write("routes.yaml", routes(HI, more=server))
        async with serving(workspace.build()) as client:
            for line in ("POST /api/chat", "GET /api/models", "GET /healthz"):
                assert (await asked(client.base, line, host="")).status == 400
                for second in ("localhost", "evil.example"):
                    assert (await asked(client.base, line, f"Host: {second}")).status == 400
                assert (await asked(client.base, line, host="Host: a b")).status == 400


async def test_request_id_used_twice_keeps_the_records_of_both_requests(workspace: Workspace) -> None:
    """Two requests with the same X-Request-Id are both listed, and the record of the first has the second under `later`."""
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        for line in ("POST /api/chat", "POST /api/chat/nothing"):
            await asked(client.base, line, "X-Request-Id: mine")
        found = (await client.get("/admin/requests/mine")).json
        assert (found["outcome"], [one["outcome"] for one in found["later"]]) == ("stop", ["unknown_model"])
        listed = (await client.get("/admin/requests")).json["requests"]
        assert [one["request_id"] for one in listed] == ["mine", "mine"]
