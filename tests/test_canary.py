"""A canary in every secret: no byte that the process emits has it, whatever providers make of it."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.conftest import Workspace
from tests.process import process
from tests.provider import Reply, chunk, error, frame, provider

CANARY = "canary-7f3a"
ECHO = f"Incorrect API key provided: sk-{CANARY}. Authorization: Bearer sk-{CANARY}"
PAGES = ["/admin/config", "/admin/targets", "/admin/requests", "/metrics", "/docs", "/openapi.json", "/api/models", "/v1/models", "/readyz"]

ECHOES = {
    "denied": error(401, ECHO),
    "failed": error(500, ECHO, retry_after="0"),
    "strange": error(418, ECHO),
    "header": Reply(status=500, body=ECHO.encode(), headers={"x-echo": ECHO, "content-type": "text/plain"}),
    "frame": Reply((chunk({"content": "So "}), frame({"error": {"message": ECHO, "code": f"sk-{CANARY}"}}))),
    "garbage": Reply((chunk({"content": "So "}), b"data: " + ECHO.encode() + b"\n\n"), drop=True),
    "finish": Reply((chunk({"content": "So "}), chunk({}, f"sk-{CANARY}"))),
    "tool": Reply(
        (chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": f"sk-{CANARY}", "arguments": "{}"}}]}), chunk({}, "tool_calls"))
    ),
}
SERVER = f"{{mcp: [sh, -c, 'echo $$SECRET; echo $$SECRET >&2; exit 3'], env: {{SECRET: 'sk-{CANARY}'}}}}"
"""A tool server that says its secret wherever it can, and dies."""


@pytest.mark.parametrize("lane", ["direct", "litellm"])
async def test_no_secret_is_in_any_byte_the_process_emits(workspace: Workspace, lane: str) -> None:
    """Keys from the file, the environment and a secret file; an admin key; tool servers' secrets; an edit that cannot be served; all of the output and every page."""
    workspace.write("key.txt", f"sk-{CANARY}-file\n")
    via = ", via: litellm" if lane == "litellm" else ""
    async with AsyncExitStack() as stack:
        lines: list[str] = []
        for number, (name, reply) in enumerate(ECHOES.items()):
            base = (await stack.enter_async_context(provider(reply))).base
            key = [f"sk-{CANARY}", "${PROVIDER_KEY}", "${file:key.txt}"][number % 3]
            lines.append(f"  {name}: {{model: openai/fake, api_base: '{base}', api_key: '{key}'{via}}}")
        echoing = (await stack.enter_async_context(provider(error(401, ECHO)))).base
        tools = f"[weather, {SERVER}, {{mcp: '{echoing}/mcp', token: '${{PROVIDER_KEY}}'}}]"
        made = "\n".join(f"  {name}: {{pipeline: chat, targets: [{name}], tools: {tools}, retry: {{attempts: 1}}}}" for name in ECHOES)
        head = "server: {admin: {key: '${ADMIN_KEY}'}, reload: on}\ntargets:\n" + "\n".join(lines) + "\nroutes:\n"
        workspace.write("routes.yaml", head + made + "\n")
        variables = {"PROVIDER_KEY": f"sk-{CANARY}-variable", "ADMIN_KEY": f"adm-{CANARY}"}
        router = await stack.enter_async_context(process(workspace.root, port=None, **variables))
        emitted: list[str] = []
        asked: list[str] = []
        for name in ECHOES:
            for more in ({}, {"stream": False}, {"id": "chat"}):
                status, headers, body = await router.ask("Hi", name, **more)
                emitted += [str(status), str(headers), body.decode()]
                asked.append(headers["x-request-id"])
        # An edit with a mistake on the line of the key: the complaint quotes the line as it is written.
        workspace.write(
            "routes.yaml",
            (head + made + "\n").replace("model: openai/fake", "modle: openai/fake", 1).replace(f"sk-{CANARY}'", "${PROVIDER_KEY}'"),
        )
        operator = {"authorization": f"Bearer adm-{CANARY}"}
        async with asyncio.timeout(20):
            while (await router.get("/admin/config", **operator))[1]["failed"] is None:
                await asyncio.sleep(0.05)
        for page in [*PAGES, *(f"/admin/requests/{request_id}" for request_id in asked)]:
            status, shown = await router.get(page, **operator)
            assert status == 200, page
            emitted.append(str(shown))
            emitted.append(str(await router.get(page)))
        emitted.append(str(await router.post("/admin/reload", **operator)))
        assert await router.ended() == 0
        said = router.said
        assert said.count('"router.access"') == len(asked)
        assert "not reloaded" in said
        assert said.count("tool server is away") == 2
        emitted.append(said)
        # What a model says is the user's to see: the name it called is on the wire, and nowhere else.
        leaks = [line for text in emitted for line in text.splitlines() if CANARY in line]
        assert [line for line in leaks if not line.startswith(("9:", "a:")) and '"toolCalls"' not in line] == []
