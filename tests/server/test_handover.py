"""Handover at shutdown: a draining router asks a proxy that supports it to send an unanswered request to another router."""

import asyncio
import signal

from tests.conftest import Workspace
from tests.support.process import process

ROUTES = """
targets:
  quick: {script: [{text: one}]}
  mute: {script: [{pause: 200s}, {text: late}]}
defaults: {timeout: {first_token: 300s, idle: 300s}}
routes:
  quick: {pipeline: chat, targets: [quick]}
  mute: {pipeline: chat, targets: [mute]}
server: {drain: 6s}
"""


async def test_draining_router_asks_only_a_supporting_proxy_to_try_another_router(workspace: Workspace) -> None:
    """A draining router adds `x-accel-redirect: @another` to a 503 if the proxy sent `x-router-handover: yes` and no model was asked."""
    workspace.write("routes.yaml", ROUTES)
    async with process(workspace.root) as router:

        async def ask(model: str, **headers: str) -> tuple[int, str | None]:
            body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
            async with router.session.post(f"{router.base}/api/chat", json=body, headers=headers) as response:
                return response.status, response.headers.get("x-accel-redirect")

        knows = {"x-router-handover": "yes"}
        assert await ask("quick", **knows) == (200, None)
        mute = asyncio.create_task(ask("mute", **knows))
        async with asyncio.timeout(240):
            while "router_open_streams 1.0" not in (await router.get("/metrics"))[1]:
                await asyncio.sleep(0.02)
        router.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(240):
            while (await router.get("/readyz"))[0] != 503:
                await asyncio.sleep(0.01)
        assert await ask("quick", **knows) == (503, "@another")
        assert await ask("quick") == (503, None)
        assert await ask("quick", **{"x-router-handover": "@elsewhere"}) == (503, None)
        assert await mute == (503, None)
