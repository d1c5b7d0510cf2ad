"""The application below a root path, mounted in another application, and under `uvicorn` itself (docs/security.md, item 51)."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.routing import Route

from router.asgi import create_app
from router.server import Edge
from tests.conftest import KEYED, OPERATOR, ROOT, Server, Workspace, routes
from tests.support.raw import RawResponse, request, response_to
from tests.support.services import free_ports

HI = "a: {script: [{text: Hi}]}"
ASK = json.dumps({"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}], "stream": False}).encode()
WAYS = ("a root path", "a mount", "a mount below a root path")
STARTS = 240.0
"""Seconds in which a server must answer."""


@dataclass(frozen=True)
class Below:
    """A served application. `base`: its server's address; `prefix`: the path before its own paths."""

    base: str
    prefix: str
    edge: Edge

    async def ask(self, line: str, body: bytes = b"", **headers: str) -> RawResponse:
        """Return the response to a request; the path in `line` is without the prefix."""
        method, _, path = line.partition(" ")
        return await response_to(self.base, request(f"{method} {self.prefix}{path}", body, **headers))


@asynccontextmanager
async def below(way: str, file: Path) -> AsyncGenerator[Below, None]:
    """Serve the application below /llm: mounted, with uvicorn's `root_path` behind a proxy that strips it, or both."""
    edge = create_app(file)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        async with edge.started():
            yield

    mounting = FastAPI(lifespan=lifespan)
    mounting.mount("/llm", edge)
    app: Any = edge if way == "a root path" else mounting
    root = "" if way == "a mount" else "/llm" if way == "a root path" else "/outer"
    async with running(app, root) as base:
        yield Below(base, "" if way == "a root path" else "/llm", edge)


@asynccontextmanager
async def running(app: Any, root: str = "") -> AsyncGenerator[str, None]:
    """Serve an application with uvicorn's own connection class, and yield its address."""
    server = Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="on", root_path=root))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
        if serving.done():
            await serving
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.ended.set()
        await serving


def operations(edge: Edge) -> list[str]:
    """Return `METHOD path` for every operators' route of the application."""
    found = [one for one in edge.routes if isinstance(one, Route) and one.path.startswith(("/admin", "/metrics", "/openapi.json"))]
    made = [
        f"{method} {one.path.replace('{name:path}', 'a').replace('{request_id}', 'r1')}" for one in found for method in one.methods or ()
    ]
    assert len(made) >= 12
    return made


async def statuses(served: Below, lines: Sequence[str], **headers: str) -> dict[str, int]:
    """Return the response status of each request; all are sent at once, because each refusal is delayed."""
    body = b'{"state": "drain"}'
    answers = await asyncio.gather(
        *(served.ask(line, body if line.startswith("POST") else b"", content_type="application/json", **headers) for line in lines)
    )
    return {line: answer.status for line, answer in zip(lines, answers, strict=True)}


@pytest.mark.parametrize("way", WAYS)
async def test_every_admin_route_requires_the_key_below_a_prefix(workspace: Workspace, way: str) -> None:
    """Every admin route below a prefix is 401 without the admin key or with a wrong one, and is served with the right one."""
    file = workspace.write("routes.yaml", routes(HI, more=f"server: {{auth: none, {KEYED}}}\n")).root / "routes.yaml"
    async with below(way, file) as served:
        lines = operations(served.edge)
        for wrong in ({}, {"authorization": f"Bearer {OPERATOR}x"}):
            assert await statuses(served, lines, **wrong) == dict.fromkeys(lines, 401)
        found = await statuses(served, lines, authorization=f"Bearer {OPERATOR}")
        others = {"GET /admin/requests/r1": 404, "POST /admin/return": 409}  # nothing was asked, and nothing served before
        assert found == {line: others.get(line, 200) for line in lines}


@pytest.mark.parametrize("way", WAYS)
async def test_admin_changes_below_a_prefix_are_refused_without_a_declared_key(workspace: Workspace, way: str) -> None:
    """While no admin key is declared, local reads below a prefix are served, changes are 403, and requests with a foreign Host are 403."""
    file = workspace.write("routes.yaml", routes(HI)).root / "routes.yaml"
    async with below(way, file) as served:
        lines = operations(served.edge)
        changes = [line for line in lines if not line.startswith(("GET ", "HEAD "))]
        assert len(changes) == 4
        assert await statuses(served, changes) == dict.fromkeys(changes, 403)
        assert set((await statuses(served, [line for line in lines if line not in changes])).values()) == {200, 404}
        assert await statuses(served, lines, host="evil.example") == dict.fromkeys(lines, 403)
        assert served.edge.live.generation.kept.switches.positions == {}


@pytest.mark.parametrize("way", WAYS)
async def test_chat_is_answered_below_a_prefix_and_strangers_are_refused(workspace: Workspace, way: str) -> None:
    """Chat, models and an OpenAPI document with the prefix are served below a prefix; requests from other hosts or sites get 403."""
    file = workspace.write("routes.yaml", routes(HI)).root / "routes.yaml"
    chat = ("POST /api/chat", "POST /api/chat/chat-model", "POST /v1/chat/completions")
    async with below(way, file) as served:
        for line in chat:
            answer = await served.ask(line, ASK)
            assert (answer.status, b"Hi" in answer.rest) == (200, True)
        for line, status in (
            ("GET /api/chat/c1/stream", 204),
            ("POST /api/chat/c1/stop", 204),
            ("GET /api/models", 200),
            ("GET /v1/models", 200),
        ):
            assert (await served.ask(line)).status == status
        for line in (*chat, "GET /api/models", "GET /v1/models", "GET /api/chat/c1/stream"):
            for stranger in ({"host": "evil.example"}, {"x_forwarded_for": "203.0.113.9"}, {"origin": "https://evil.example"}):
                assert (await served.ask(line, ASK if line.startswith("POST") else b"", **stranger)).status == 403
        unknown = json.loads((await served.ask("POST /v1/nothing", ASK)).rest)
        assert unknown["error"]["code"] == "unknown_address"
        described = json.loads((await served.ask("GET /openapi.json")).rest)
        assert described["servers"] == [{"url": ("/outer" if way.endswith("root path") and way != WAYS[0] else "") + "/llm"}]
        assert {"/api/chat", "/v1/chat/completions", "/api/models", "/admin/reload"} <= set(described["paths"])
        assert (await served.ask("GET /healthz", host="10.0.0.7")).status == 200


@pytest.mark.parametrize("way", WAYS)
async def test_missing_caller_key_is_401_below_a_prefix(workspace: Workspace, way: str) -> None:
    """Chat, models and resume below a prefix answer 401 without a caller's key; `/healthz` answers 200."""
    auth = f"server: {{auth: {{keys: {{a: {{hash: 'sha256:{'0' * 64}'}}}}}}}}\n"
    file = workspace.write("routes.yaml", routes(HI, more=auth)).root / "routes.yaml"
    async with below(way, file) as served:
        for line in (
            "POST /api/chat",
            "POST /api/chat/chat-model",
            "POST /v1/chat/completions",
            "GET /api/models",
            "GET /api/chat/c1/stream",
        ):
            assert (await served.ask(line, ASK if line.startswith("POST") else b"")).status == 401
        assert (await served.ask("GET /healthz")).status == 200


@asynccontextmanager
async def served_by(command: Sequence[str], folder: Path, **variables: str) -> AsyncGenerator[tuple[str, Path], None]:
    """Yield (address, output file) of a server that this command started, once it answers. `PORT` in the command becomes a free port."""
    [port] = free_ports(1)
    output = folder / "output.txt"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables}
    with output.open("wb") as file:
        line = [word.replace("PORT", str(port)) for word in command]
        made = await asyncio.create_subprocess_exec(*line, cwd=folder, env=environment, stdout=file, stderr=file)
    base = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(STARTS):
            while not await _answers(base):
                assert made.returncode is None, output.read_text(encoding="utf-8")
                await asyncio.sleep(0.05)
        yield base, output
    finally:
        if made.returncode is None:
            made.kill()
        await made.wait()


async def _answers(base: str) -> bool:
    try:
        return (await response_to(base, request("GET /healthz"))).status == 200
    except OSError:
        return False


async def test_uvicorn_serves_router_asgi_app(workspace: Workspace) -> None:
    """`uvicorn router.asgi:app` serves the file in ROUTER_ROUTES, warns if `server.auth` is undeclared, and refuses a foreign Host."""
    file = (
        workspace.write("elsewhere/pipelines/chat.yaml", "steps: []\n").write("elsewhere/routes.yaml", routes(HI)).root
        / "elsewhere/routes.yaml"
    )
    command = [sys.executable, "-m", "uvicorn", "router.asgi:app", "--host", "127.0.0.1", "--port", "PORT", "--no-proxy-headers"]
    async with served_by(command, workspace.root, ROUTER_ROUTES=str(file)) as (base, output):
        assert b"Hi" in (await response_to(base, request("POST /api/chat", ASK))).rest
        assert (await response_to(base, request("POST /api/chat", ASK, host="evil.example"))).status == 403
        assert (await response_to(base, request("POST /admin/reload"))).status == 403
        warnings = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines() if '"level": "warning"' in line]
        assert [one["event"] for one in warnings if "auth" in one["event"]] == ["server.auth is not declared"]


async def test_uvicorn_prints_the_mistakes_of_the_configuration_and_exits_1(workspace: Workspace) -> None:
    """An invalid configuration makes `uvicorn router.asgi:app` print the messages of `router check` and exit with 1."""
    workspace.write("routes.yaml", routes(HI, "targets: [nobody]"))
    command = [sys.executable, "-m", "uvicorn", "router.asgi:app", "--port", str(free_ports(1)[0])]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = await asyncio.create_subprocess_exec(*command, cwd=workspace.root, env=environment, stderr=asyncio.subprocess.PIPE)
    _, errors = await done.communicate()
    assert done.returncode == 1
    assert b"routes.yaml:7:15: no target is named `nobody`" in errors


def test_import_of_the_application_reads_no_file(tmp_path: Path) -> None:
    """An import of `router.asgi` reads no routes file and adds no log handler; an unknown attribute of it is an AttributeError."""
    code = "import logging, router.asgi as asgi; print(len(logging.getLogger().handlers), callable(asgi.create_app), hasattr(asgi, 'apps'))"
    assert _run(code, tmp_path, {}) == "0 True False"


def _run(code: str, folder: Path, variables: Mapping[str, str]) -> str:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=True
    )
    return done.stdout.strip()


async def test_mounting_example_of_the_docs_serves_and_follows_edits(workspace: Workspace) -> None:
    """The first example of docs/python.md answers a chat below its mount, and an edit of its routes file goes live."""
    file = workspace.write("routes.yaml", routes(HI)).root / "routes.yaml"
    block, *_ = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(encoding="utf-8"), re.DOTALL)
    assert '"routes.yaml"' in block
    shown: dict[str, Any] = {}
    exec(block.replace("routes.yaml", str(file)), shown)  # noqa: S102 - our own documentation
    async with running(shown["app"]) as base:
        assert b"Hi" in (await response_to(base, request("POST /llm/api/chat", ASK))).rest
        before = shown["pointsman"].live.generation.digest
        workspace.write("routes.yaml", routes(HI, more="server: {keep_alive: 9s}\n"))
        async with asyncio.timeout(STARTS):  # an edit goes live: it was started
            while shown["pointsman"].live.generation.digest == before:
                await asyncio.sleep(0.05)


async def test_mounted_application_that_was_not_started_logs_the_remedy_once(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """A mounted application that was not started by `Edge.started()` still answers, and logs once that this is to be called."""
    edge = create_app(workspace.write("routes.yaml", routes(HI)).root / "routes.yaml")
    mounting = FastAPI()
    mounting.mount("/llm", edge)
    async with running(mounting) as base:
        for _ in range(2):
            assert (await response_to(base, request("POST /llm/api/chat", ASK))).status == 200
    await edge.live.close()
    told = [record for record in caplog.records if record.getMessage() == "not started"]
    assert len(told) == 1
    assert "started()" in told[0].__dict__["fields"]["remedy"]


@pytest.mark.parametrize("way", WAYS)
async def test_page_and_its_files_are_served_below_a_prefix(workspace: Workspace, way: str) -> None:
    """The page at `/` and the files that it links are served below a prefix; a request with a foreign Host gets 403."""
    file = workspace.write("routes.yaml", routes(HI)).root / "routes.yaml"
    async with below(way, file) as served:
        page = await served.ask("GET /")
        assert page.status == 200
        for address in re.findall(r'(?:src|href)="([^"]*)"', page.rest.decode()):
            assert (await served.ask(f"GET /{address}")).status == 200
        assert (await served.ask("GET /", host="evil.example")).status == 403
