"""Secrets with a canary in them: no byte that the process emits contains it, even if providers repeat it."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from tests.conftest import Workspace
from tests.support.collector import attributes, collector
from tests.support.process import Process, process
from tests.support.provider import Reply, chunk, error, frame, provider

CANARY = "canary-7f3a"
ECHO = f"Incorrect API key provided: sk-{CANARY}. Authorization: Bearer sk-{CANARY}"
PAGES = [
    "/admin/config",
    "/admin/targets",
    "/admin/requests",
    "/admin/hour",
    "/admin/edit",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/api/models",
    "/v1/models",
    "/readyz",
]

ECHOES = {
    "denied": error(401, ECHO),
    "failed": error(500, ECHO, retry_after="0"),
    "strange": error(418, ECHO),
    "header": Reply(status=500, body=ECHO.encode(), headers={"x-echo": ECHO, "content-type": "text/plain"}),
    "frame": Reply((chunk({"content": "So "}), frame({"error": {"message": ECHO, "code": f"sk-{CANARY}"}}))),
    "garbage": Reply((chunk({"content": "So "}), b"data: " + ECHO.encode() + b"\n\n"), drop=True),
    "finish": Reply((chunk({"content": "So "}), chunk({}, f"sk-{CANARY}"))),
    "name": Reply((chunk({"content": "So "}, model=ECHO), chunk({}, "stop", model=ECHO))),
    "tool": Reply(
        (chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": f"sk-{CANARY}", "arguments": "{}"}}]}), chunk({}, "tool_calls"))
    ),
}
SERVER = f"{{mcp: [sh, -c, 'echo $$SECRET; echo $$SECRET >&2; exit 3'], env: {{SECRET: 'sk-{CANARY}'}}}}"
"""A tool server that prints its secret to stdout and stderr, and exits."""


JWT_SECRET = f"jwt-{CANARY}-that-is-long-enough-for-a-signature"


@asynccontextmanager
async def echo() -> AsyncGenerator[str, None]:
    """Yield the address, with a password, of a Redis that repeats in its errors what it was sent."""
    serving: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(task := asyncio.current_task())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        try:
            while said := await reader.read(65536):
                writer.write(b"-WRONGPASS " + said.replace(b"\r\n", b" ") + b"\r\n")
        finally:
            writer.close()
            serving.discard(task)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"redis://:{CANARY}@127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def token() -> str:
    """Return a valid JWT of a caller."""
    claims = {"iss": "issuer", "aud": "router", "sub": "alice", "exp": int(time.time()) + 600}
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(JWT_SECRET), algorithms=["HS256"])


async def read(router: Process, pages: list[str], operator: dict[str, str]) -> list[str]:
    """Return the bodies of these pages, read as a caller and as an operator; fails unless each page is a 200 for one of them."""
    as_caller = await asyncio.gather(*(router.get(page) for page in pages))
    as_operator = [await router.get(page, **operator) for page in pages]
    for page, *found in zip(pages, as_caller, as_operator, strict=True):
        assert 200 in [status for status, _ in found], page
    return [str(one) for one in (*as_caller, *as_operator)]


@pytest.mark.parametrize("lane", ["direct", "litellm"])
async def test_secret_is_in_no_byte_the_process_emits(workspace: Workspace, lane: str) -> None:
    """Configured secrets, such as API keys, are not in the process's output, pages, answers or traces, although providers repeat them."""
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
        there, bearer = await stack.enter_async_context(collector()), token()
        server = (
            "server:\n  admin: {key: '${ADMIN_KEY}'}\n  reload: on\n  redis: '${REDIS_URL}'\n"
            f"  otel: {{endpoint: '{there.endpoint}', token: '${{OTEL_TOKEN}}', every: 1s}}\n"
            "  auth: {jwt: {issuer: issuer, audience: router, algorithms: [HS256], secret: '${JWT_SECRET}'}}\n"
        )
        head = server + "targets:\n" + "\n".join(lines) + "\nroutes:\n"
        workspace.write("routes.yaml", head + made + "\n")
        variables = {
            "PROVIDER_KEY": f"sk-{CANARY}-variable",
            "ADMIN_KEY": f"adm-{CANARY}-of-the-operators",
            "OTEL_TOKEN": f"otel-{CANARY}",
            "JWT_SECRET": JWT_SECRET,
        }
        variables["REDIS_URL"] = await stack.enter_async_context(echo())
        router = await stack.enter_async_context(process(workspace.root, port=None, **variables))
        router.session.headers.update({"authorization": f"Bearer {bearer}", "x-secret": CANARY, "cookie": CANARY, "traceparent": CANARY})
        emitted, asked = list[str](), list[str]()
        async with asyncio.timeout(240):
            while not there.spans:  # what is asked before the packages are loaded is not shown
                asked.append((await router.ask("Hi", "denied"))[1]["x-request-id"])
                await asyncio.sleep(0.1)
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
        operator = {"authorization": f"Bearer adm-{CANARY}-of-the-operators"}
        async with asyncio.timeout(240):
            while (await router.get("/admin/config", **operator))[1]["failed"] is None:
                await asyncio.sleep(0.05)
        emitted += await read(router, [*PAGES, *(f"/admin/requests/{request_id}" for request_id in asked)], operator)
        emitted.append(str(await router.post("/admin/reload", **operator)))
        assert await router.ended() == 0
        said = router.printed
        assert said.count('"router.access"') == len(asked)
        assert "not reloaded" in said
        assert said.count("tool server is away") == 2
        emitted.append(said)
        assert "redis is away" in said
        assert {attributes(span)["router.target"] for span in there.spans if span.name == "chat fake"} == set(ECHOES)
        assert "gen_ai.client.operation.duration" in there.metrics
        assert there.tokens == {f"Bearer otel-{CANARY}"}
        emitted.append(there.raw.decode("latin-1"))
        # What a model says is the user's to see: the name it called is on the wire, and nowhere else.
        leaks = [line for text in emitted for line in text.splitlines() if CANARY in line or bearer in line]
        assert [line for line in leaks if not line.startswith(("9:", "a:")) and '"toolCalls"' not in line] == []
