"""`router try` without a target: a server with a generated API key, reachable through a published port of a container."""

import json
import re
import shutil
from pathlib import Path

import pytest

from router.callers import Known
from router.callers.keys import Keys, hashed, new
from router.commands import main
from router.config.keys import ApiKey
from router.server import application
from tests.access.test_strangers import status_of
from tests.conftest import HERE, ROOT, Workspace, routes
from tests.support.process import process
from tests.support.raw import request, response_to

HI = "a: {script: [{text: Hi}]}"
ASK = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}], "stream": False}
BRIDGE = {"client": ("172.17.0.1", 50_000), "server": ("172.17.0.2", 8000)}
"""The ASGI scope's addresses of a request that reaches a container through a published port."""


@pytest.mark.parametrize("server", ["", "server: {auth: none}\n", f"server: {{auth: {{keys: {{a: {{hash: 'sha256:{'0' * 64}'}}}}}}}}\n"])
async def test_try_server_accepts_only_the_printed_key(workspace: Workspace, server: str) -> None:
    """`router try` without a target serves only the key that it prints, for any `server.auth`; the key is not logged, /admin is closed."""
    workspace.write("routes.yaml", routes(HI, more=server))
    async with process(workspace.root, command="try") as router:
        [key] = set(re.findall(r"pm_[0-9A-Za-z_]+", router.printed))
        assert f"curl -N {router.base}/api/chat" in router.printed
        assert '"model": "chat-model"' in router.printed
        for authorization in ("", "Bearer x", f"Bearer {new()}"):
            for page, body in (("/api/chat", ASK), ("/v1/chat/completions", ASK)):
                assert (await router.post(page, body, **({"authorization": authorization} if authorization else {})))[0] == 401
        assert (await router.get("/api/models"))[0] == 401
        given = {"authorization": f"Bearer {key}"}
        assert (await router.post("/api/chat", ASK, **given))[1]["content"] == "Hi"
        assert (await router.get("/api/models", **given))[0] == 200
        assert (await router.post("/admin/reload", None, **given))[0] in (401, 403)
        lines = [json.loads(line) for line in router.printed.splitlines() if line.startswith("{")]
        assert not any(key in json.dumps(line) for line in lines)
        assert {line["caller"] for line in lines if line["logger"] == "router.access" and line["status"] == 200} == {"guest"}
        assert not [line for line in lines if line["event"] == "server.auth is not declared"]


async def test_try_server_accepts_the_key_from_a_container_bridge_but_closes_admin(workspace: Workspace) -> None:
    """At a `router try` server, a request from a container's bridge is 200 with its key, 401 without; /admin/config is 403, /healthz 200."""
    workspace.write("routes.yaml", routes(HI))
    key = new()
    edge = application(workspace.build(), only=Known(Keys({"guest": ApiKey(hash=hashed(key))}), None))
    models = {**HERE, **BRIDGE, "type": "http", "method": "GET", "path": "/api/models"}
    bearing = [(b"host", b"192.0.2.1:8000"), (b"authorization", f"Bearer {key}".encode())]
    assert await status_of(edge, {**models, "headers": bearing}) == 200
    assert await status_of(edge, models) == 401
    assert await status_of(edge, {**models, "path": "/admin/config", "headers": bearing}) == 403
    assert await status_of(edge, {**models, "path": "/healthz"}) == 200
    await edge.live.close()


async def test_try_without_a_target_serves_the_shipped_configuration(tmp_path: Path) -> None:
    """`router try` without a target serves ./routes.yaml, here a copy of the shipped one: 401 without the printed key, 200 with it."""
    shutil.copy(ROOT / "routes.yaml", tmp_path)
    for folder in ("pipelines", "tools"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    async with process(tmp_path, command="try") as router:
        [key] = set(re.findall(r"pm_[0-9A-Za-z_]+", router.printed))
        assert (await response_to(router.base, request("GET /api/models"))).status == 401
        assert (await response_to(router.base, request("GET /api/models", authorization=f"Bearer {key}"))).status == 200


def test_try_without_a_target_prints_the_mistake_of_an_invalid_configuration(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """`router try` without a target exits with 1 and prints on stderr that a route names an unknown target."""
    workspace.write("routes.yaml", routes(HI, "targets: [nobody]"))
    assert main(["try", "--routes", str(workspace.root / "routes.yaml")]) == 1
    assert "no target is named `nobody`" in capsys.readouterr().err
