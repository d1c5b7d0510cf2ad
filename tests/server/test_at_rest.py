"""Imports of a server at rest: it has imported what chats need, and imports the rest on first use, in a thread."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Workspace, direct_target, routes

LATE = {"aiohttp", "botocore", "fastapi", "httpx", "joserfc", "jsonschema", "litellm", "mcp", "openai", "opentelemetry", "redis"}
"""Packages that no server imports before something needs them."""
LATE_MODULES = {f"router.admin.{name}" for name in ("docs", "guarded", "openapi", "operator_pages", "pages", "request_bodies", "webpage")}
PROGRAM = """
import asyncio, json, sys, threading
from importlib.abc import MetaPathFinder
from router.asgi import create_app

class Importers(MetaPathFinder):
    threads = []
    def find_spec(self, name, path, target=None):
        if name == "fastapi":
            self.threads.append(threading.current_thread().name)

async def status(app, path):
    head = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http", "http_version": "1.1", "root_path": ""}
    sent = []
    async def send(message):
        sent.append(message)
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    await app(head, receive, send)
    return sent[0]["status"]

async def main():
    app = create_app(sys.argv[1])
    async with app.started():
        probed = {path: await status(app, path) for path in ("/healthz", "/readyz", "/metrics")}
        rest = [*sys.modules]
        sys.meta_path.insert(0, Importers())
        read = await asyncio.gather(*(status(app, path) for path in ("/api/models", "/v1/models", "/", "/nowhere")))
    json.dump({"probed": probed, "rest": rest, "read": read, "threads": Importers.threads, "after": [*sys.modules]}, sys.stdout)

asyncio.run(main())
"""


def started(path: Path) -> dict[str, list[str]]:
    """Return the record of a server process with this routes file: modules imported before and after its first pages, and statuses."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True, cwd=ROOT)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.fixture
def plain(workspace: Workspace) -> dict[str, list[str]]:
    """The record of imports of a server with one target that needs no LiteLLM."""
    workspace.write("routes.yaml", routes(direct_target("http://127.0.0.1:9/v1")))
    return started(workspace.root / "routes.yaml")


def test_server_imports_fastapi_with_the_first_page_request(plain: dict[str, list[str]]) -> None:
    """Health and metrics are answered without FastAPI; four concurrent first page requests import it once, in a thread."""
    assert plain["probed"] == {"/healthz": 200, "/readyz": 200, "/metrics": 200}
    late = LATE | LATE_MODULES | {"pydantic"}
    assert late & {*plain["rest"]} == set()
    assert plain["read"] == [200, 200, 200, 404]
    assert plain["threads"] == ["pages"]
    assert {"fastapi", "pydantic", "router.admin.pages"} <= {*plain["after"]}


def test_server_with_the_shipped_tools_imports_pydantic_and_no_http_client() -> None:
    """A server with the shipped tools has imported pydantic for the tools' parameters, but not the HTTP client of the weather tool."""
    rest = {*started(ROOT / "routes.yaml")["rest"]}
    assert "pydantic" in rest
    assert (LATE | LATE_MODULES) & rest == set()
