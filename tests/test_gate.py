"""Who may enter while nobody is declared, and who may change anything: at the addresses, below a root path and in a mount."""

from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.routing import Mount

from router.config.values import Secret
from router.server import application
from router.server.local import bad_host, stranger
from router.server.slowdown import LONGEST_S, MAX_PEERS, Slowdown
from tests.conftest import AS_OPERATOR, OPERATOR, Workspace, routes, serving
from tests.raw import request, said

HI = "a: {script: [{text: Hi}]}"
ASK = b'{"messages": [{"role": "user", "content": "Hi"}]}'
STRANGE = {
    "a page of another name": {"host": "evil.example"},
    "a page of another site": {"origin": "https://evil.example"},
    "a page that refers": {"referer": "https://evil.example/page"},
    **{
        name: {name: "203.0.113.7"}
        for name in (
            *("x-forwarded-for", "x-forwarded-host", "x-forwarded-server", "x-original-forwarded-for", "x-envoy-external-address"),
            *("x-real-ip", "x-client-ip", "client-ip", "true-client-ip", "cf-connecting-ip", "fastly-client-ip"),
        )
    },
    "forwarded": {"forwarded": "for=203.0.113.7;proto=https"},
    "via": {"via": "1.1 proxy.example"},
    "a chain that begins here": {"x-forwarded-for": "127.0.0.1, 203.0.113.7"},
}
HERE = {
    "nothing": {},
    "another port": {"host": "127.0.0.1:9"},
    "IPv6": {"host": "[::1]:8000"},
    "a development server": {"x-forwarded-for": "127.0.0.1", "x-forwarded-host": "localhost:3000", "forwarded": "for=127.0.0.1"},
    "a page of this machine": {"origin": "http://localhost:3000", "referer": "http://localhost:3000/chat"},
}


@pytest.mark.parametrize("headers", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("line", ["POST /api/chat", "POST /v1/chat/completions", "GET /v1/models", "GET /admin/config", "GET /metrics"])
async def test_undeclared_server_refuses_what_is_not_from_this_machine(workspace: Workspace, line: str, headers: dict[str, str]) -> None:
    """403, with the sentence that says what to declare."""
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        answer = await said(client.base, request(line, ASK, **headers))
        assert answer.status == 403
        assert b"server.auth" in answer.rest or b"/admin" in line.encode() or b"/metrics" in line.encode()


@pytest.mark.parametrize("headers", HERE.values(), ids=HERE)
async def test_undeclared_server_answers_this_machine(workspace: Workspace, headers: dict[str, str]) -> None:
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        assert (await said(client.base, request("POST /api/chat", ASK, **headers))).status == 200


async def test_health_pages_answer_strangers(workspace: Workspace) -> None:
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        for path in ("/healthz", "/readyz"):
            assert (await said(client.base, request(f"GET {path}", **{"x-forwarded-for": "203.0.113.7"}))).status == 200


@pytest.mark.parametrize(
    ("version", "hosts", "bad"), [("1.1", 0, True), ("1.1", 1, False), ("1.1", 2, True), ("1.0", 0, False), ("1.0", 2, True)]
)
def test_one_host_header_is_needed(version: str, hosts: int, bad: bool) -> None:
    """RFC 9112, 3.2; HTTP/1.0 needs none."""
    scope = {"http_version": version, "headers": [(b"host", b"localhost")] * hosts, "client": ("127.0.0.1", 1)}
    assert bad_host(scope) is bad


@pytest.mark.parametrize("client", [None, ("172.17.0.1", 1), ("", 0)])
def test_peer_that_is_not_loopback_is_a_stranger(client: Any) -> None:
    """A bridge of containers, or a socket without an address."""
    assert stranger({"http_version": "1.1", "headers": [(b"host", b"localhost")], "client": client}, ())


def test_old_versions_of_http_are_strangers() -> None:
    """What proxies speak by default, and clients do not any more."""
    assert stranger({"http_version": "1.0", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1)}, ())


@pytest.mark.parametrize("prefix", ["", "/llm"])
async def test_every_change_below_admin_takes_the_key(workspace: Workspace, prefix: str) -> None:
    """Each route of the application's own table, also below a root path and in a mount."""
    workspace.write("routes.yaml", routes(HI))
    generation = workspace.build()
    edge = application(generation, run_key=Secret(OPERATOR))
    mounted = Starlette(routes=[Mount(prefix, edge)]) if prefix else edge
    found = [one for one in edge.routes if isinstance(one, APIRoute) and "POST" in (one.methods or ())]
    assert {one.path for one in found} >= {"/admin/reload", "/admin/targets/{name:path}"}
    async with edge.started():
        for one in found:
            path = prefix + one.path.replace("{name:path}", "a")
            for headers, refused in (({}, True), ({"authorization": "Bearer wrong"}, True), (AS_OPERATOR, False)):
                status = await _asked(mounted, path, headers)
                assert (status in (401, 403)) is refused, (path, headers)


async def _asked(app: Any, path: str, headers: dict[str, str]) -> int:
    sent: list[dict[str, Any]] = []
    asked = [{"type": "http.request", "body": b'{"state": "auto"}', "more_body": False}]

    async def receive() -> Any:
        return asked.pop() if asked else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": "localhost", "content-type": "application/json", **headers}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    await app(scope, receive, send)
    return int(sent[0]["status"])


async def test_two_authorization_headers_are_refused(workspace: Workspace) -> None:
    """Of two, a proxy may have looked at the other one."""
    workspace.write("routes.yaml", routes(HI, more=f"server: {{admin: {{key: {OPERATOR}}}}}\n"))
    async with serving(workspace.build()) as client:
        one = request("GET /admin/config", **AS_OPERATOR)
        two = one.replace(b"\r\n\r\n", f"\r\nauthorization: Bearer {OPERATOR}\r\n\r\n".encode())
        assert [(await said(client.base, each)).status for each in (one, two)] == [200, 401]


async def test_refusals_of_a_peer_are_delayed_and_bounded() -> None:
    """Each delay is twice the one before, up to a second; other peers begin anew, and few are remembered."""
    delays: list[float] = []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    slowdown = Slowdown(clock=lambda: 0.0, sleep=sleep)
    for _ in range(10):
        await slowdown.refused("a")
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_S
    for number in range(MAX_PEERS + 5):
        await slowdown.refused(f"p{number}")
    assert delays[10] < delays[-1] or delays[10] == delays[0]
    assert len(slowdown) == MAX_PEERS
