"""nginx in front of a real router: requests from elsewhere are refused while `server.auth` is undeclared, and changes need the admin key."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.conftest import KEYED, OPERATOR, Workspace, routes
from tests.deploy.edge import Edge, connected, edge
from tests.support.process import Process, process
from tests.support.raw import RawResponse, parsed, request, response_to
from tests.support.services import free_ports, nginx

HI = "a: {script: [{text: Hi}]}"
ASK = json.dumps({"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}], "stream": False}).encode()
CHAT = ("POST /api/chat", "POST /api/chat/chat-model", "POST /v1/chat/completions")
READS = ("GET /api/models", "GET /v1/models", "GET /api/chat/c1/stream")
OPERATORS = ("GET /admin/config", "GET /admin/targets", "GET /admin/requests", "GET /metrics", "GET /docs", "GET /openapi.json")
GUARDED = tuple(one for one in OPERATORS if one != "GET /docs")
"""Operators' addresses that need the admin key once `server.auth` is declared; `/docs` opens without it and asks for it."""
CHANGES = {"POST /admin/targets/a": b'{"state": "drain"}', "POST /admin/reload": b""}
EVERYBODY = "server: {auth: none}\n"


@asynccontextmanager
async def plain(router: Process, *directives: str) -> AsyncGenerator[str, None]:
    """Yield the address of an nginx that passes everything to the router, with only these directives beside `proxy_pass`."""
    [port] = free_ports(1)
    passes = f"proxy_pass {router.base};"

    def configuration(folder: Path) -> str:
        scratch = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return (
            f"worker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nevents {{}}\nhttp {{\n{scratch}access_log off;\n"
            f"server {{\nlisten 127.0.0.1:{port};\nlocation / {{ {passes} {' '.join(directives)} }}\n}}\n}}\n"
        )

    async with nginx(configuration, port):
        yield f"http://127.0.0.1:{port}"


async def statuses(base: str, lines: tuple[str, ...], **headers: str) -> dict[str, int]:
    """Return request → response status; all are sent concurrently, under the site's name, as a remote browser does."""
    sent = {"host": "chat.example", "content_type": "application/json", **headers}
    bodies = [CHANGES.get(line, ASK) if line.startswith("POST") else b"" for line in lines]
    answers = await asyncio.gather(*(response_to(base, request(line, body, **sent)) for line, body in zip(lines, bodies, strict=True)))
    return {line: answer.status for line, answer in zip(lines, answers, strict=True)}


def every(*lines: str, status: int) -> dict[str, int]:
    """Return request → status, with this status for each of these requests."""
    return dict.fromkeys(lines, status)


async def test_server_without_auth_refuses_requests_from_a_plain_proxy(workspace: Workspace) -> None:
    """Behind a bare `proxy_pass`, chat, models and operators' pages are 403 without `server.auth`; with it, chat and models are 200."""
    async with process(workspace.write("routes.yaml", routes(HI)).root) as router, plain(router) as base:
        lines = (*CHAT, *READS, *OPERATORS, *CHANGES)
        assert await statuses(base, lines) == every(*lines, status=403)
        assert await statuses(base, ("GET /healthz", "GET /readyz")) == every("GET /healthz", "GET /readyz", status=200)
    async with process(workspace.write("routes.yaml", routes(HI, more=EVERYBODY)).root) as router, plain(router) as base:
        assert await statuses(base, (*CHAT, *READS[:2])) == every(*CHAT, *READS[:2], status=200)
        assert await statuses(base, (*GUARDED, *CHANGES)) == every(*GUARDED, *CHANGES, status=403)


USUAL: dict[str, tuple[str, ...]] = {
    "Host": ("proxy_http_version 1.1;", "proxy_set_header Host $host;"),
    "X-Forwarded-For": ("proxy_http_version 1.1;", "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"),
    "X-Real-IP": ("proxy_http_version 1.1;", "proxy_set_header X-Real-IP $remote_addr;"),
}


@pytest.mark.parametrize("header", USUAL)
async def test_server_without_auth_refuses_a_proxy_that_forwards_a_name_or_an_address(workspace: Workspace, header: str) -> None:
    """Without `server.auth`, every request of a proxy that sends the site's Host, X-Forwarded-For or X-Real-IP is a 403."""
    elsewhere = {} if header != "X-Forwarded-For" else {"x_forwarded_for": "203.0.113.9"}
    directives = tuple(one.replace("$remote_addr", "203.0.113.9") for one in USUAL[header])
    async with process(workspace.write("routes.yaml", routes(HI)).root) as router, plain(router, *directives) as base:
        lines = (*CHAT, *READS, *OPERATORS, *CHANGES)
        assert await statuses(base, lines, **elsewhere) == every(*lines, status=403)


async def test_proxy_that_looks_like_a_local_program_changes_nothing_without_the_admin_key(workspace: Workspace) -> None:
    """A proxy that looks like a local program may chat, but its changes without the admin key are 403, or 401 if one is declared."""
    async with process(workspace.write("routes.yaml", routes(HI)).root) as router, plain(router, "proxy_http_version 1.1;") as base:
        assert await statuses(base, (*CHAT, *READS[:2])) == every(*CHAT, *READS[:2], status=200)
        assert await statuses(base, tuple(CHANGES)) == every(*CHANGES, status=403)
        assert await statuses(base, tuple(CHANGES), authorization="Bearer x") == every(*CHANGES, status=403)
        assert (await router.get("/admin/targets"))[1]["targets"][0]["state"] == "auto"
    workspace.write("routes.yaml", routes(HI, more=f"server: {{{KEYED}}}\n"))
    async with process(workspace.root) as router, plain(router, "proxy_http_version 1.1;") as base:
        assert await statuses(base, (*GUARDED, *CHANGES)) == every(*GUARDED, *CHANGES, status=401)
        assert await statuses(base, tuple(CHANGES), authorization=f"Bearer {OPERATOR}") == every(*CHANGES, status=200)


THEIR_ADDRESS = {"proxy_set_header X-Forwarded-For   $remote_addr;": "proxy_set_header X-Forwarded-For 203.0.113.9;"}
"""A change of nginx.conf that gives the client a remote address: in these tests nginx's clients are on this machine."""


@pytest.mark.parametrize(("host", "changes"), [("chat.example", {}), ("localhost", THEIR_ADDRESS)], ids=["by name", "by address"])
@pytest.mark.parametrize(("server", "status"), [("", 403), (EVERYBODY, 200)], ids=["undeclared", "declared"])
async def test_shipped_nginx_serves_chats_only_with_declared_auth(
    workspace: Workspace, server: str, status: int, host: str, changes: Mapping[str, str]
) -> None:
    """Chat and models behind the shipped nginx are 403 without `server.auth` and 200 with `auth: none`; operators' pages are 404."""

    async def answered(site: Edge, line: str) -> RawResponse:
        async with connected(site.https, site.trust) as (reader, writer):
            writer.write(request(line, ASK if line.startswith("POST") else b"", host=host))
            return parsed(await reader.read())

    workspace.write("routes.yaml", routes(HI, more=server))
    async with process(workspace.root) as router, edge(int(router.base.rpartition(":")[2]), changes=changes) as site:
        for line in (*CHAT, *READS[:2]):
            answer = await answered(site, line)
            assert answer.status == status, line
            assert status == 200 or b"`server.auth`" in answer.rest
        for line in (*OPERATORS, *CHANGES):
            assert (await answered(site, line)).status == 404, line
