"""A LiteLLM that is installed but cannot be imported, as after half an upgrade (faults.md 47)."""

import asyncio
import json

from tests.conftest import ROOT, Workspace, litellm_target, parsed_lines
from tests.support.process import Process, process

BREAKS = """
import sys
from importlib.machinery import PathFinder

class Breaks(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "litellm":
            spec = PathFinder.find_spec(name, path, target)
            spec.loader.exec_module = cls.fail
            return spec

    @staticmethod
    def fail(module):
        raise ImportError("cannot import name 'x' from 'y'")

sys.meta_path.insert(0, Breaks)
"""
ROUTES = f"""
targets:
  {litellm_target("http://127.0.0.1:9", "far")}
  near: {{script: [{{text: Hello}}]}}
routes:
  near: {{pipeline: chat, targets: [near]}}
  far: {{pipeline: chat, targets: [far]}}
  both: {{pipeline: chat, targets: [far, near]}}
"""


async def asked(router: Process, model: str) -> tuple[int, bytes]:
    """Return the status and body of a route's answer."""
    status, _, body = await router.ask("Hi", model)
    return status, body


async def test_unimportable_litellm_fails_only_its_own_targets(workspace: Workspace) -> None:
    """With an unimportable LiteLLM, routes with another target answer, and a route with LiteLLM targets alone gets a 502 or 503.
    /readyz is 503, and the cause is logged once.
    """
    workspace.write("routes.yaml", ROUTES).write("broken/sitecustomize.py", BREAKS)
    path = f"{workspace.root / 'broken'}:{ROOT}"
    async with process(workspace.root, page="/healthz", PYTHONPATH=path) as router:
        for model in ("near", "both"):
            status, body = await asked(router, model)
            assert status == 200
            assert parsed_lines(body)[0][1]["textDelta"] == "Hello"
        for _ in range(3):
            status, body = await asked(router, "far")
            assert status in (502, 503)
            assert json.loads(body)["code"] != "internal"
        assert (await router.get("/readyz"))[0] == 503
        async with asyncio.timeout(240):
            while router.printed.count("litellm cannot be imported") < 1:
                await asyncio.sleep(0.01)
        assert router.printed.count("litellm cannot be imported") == 1
        assert "a request failed" not in router.printed
        assert "never retrieved" not in router.printed
