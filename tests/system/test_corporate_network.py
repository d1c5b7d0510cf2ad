"""A router behind a corporate proxy with a login, whose servers have certificates of a private authority and names that only it resolves.

The proxy is a real squid or one of the test's own. No connection goes past it, and proxies named in the environment get none.
"""

import asyncio
import base64
import json
import re
import ssl
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.support.authority import Authority
from tests.support.egress import ForwardProxy, proxying
from tests.support.process import Process, process
from tests.support.provider import Provider, Reply, calls, read_request, response_head, text
from tests.support.services import PATIENCE, daemon, free_ports, listens, squid
from tests.targets.test_proxy import CLAUDE, GEMINI, HELLO, RESPONDED
from tests.toolbox.test_mcp import PROGRAM

USER, PASSWORD = "svc-router", "p@ss/w:rd%1"
SHOWN = "p%40ss%2Fw%3Ard%251"
HOSTS = ("model.test", "login.test", "mcp.test", "otel.test", "forbidden.test")
SIGNER = RSAKey.generate_key(2048, parameters={"kid": "one"})
TRAPS = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


ADDS = Reply(calls(("call_1", "add", '{"a": 20, "b": 22}')))


class Company(Provider):
    """Every server of the company at one port: models, the issuer of JWTs, the collector of traces."""

    def __init__(self) -> None:
        super().__init__([HELLO])
        self.paths: list[str] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.serving[task] = writer
        try:
            while (request := await read_request(reader)) is not None:
                headers, body = request
                self.paths.append(headers[":path"])
                if headers[":path"] in ("/jwks", "/v1/traces", "/v1/metrics"):
                    said = json.dumps({"keys": [SIGNER.as_dict(private=False)]}).encode() if headers[":path"] == "/jwks" else b""
                    writer.write(response_head(200, {"content-type": "application/json", "content-length": str(len(said))}) + said)
                    await writer.drain()
                elif not await self._respond(self.reply(headers, json.loads(body)), reader, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            del self.serving[task]

    def reply(self, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        """Return the reply in the request's dialect. A model that is given tools calls `add` first, and then answers with its result."""
        if headers[":path"].endswith("/messages"):
            return CLAUDE
        if headers[":path"].endswith("/responses"):
            return RESPONDED
        if ":streamGenerateContent" in headers[":path"]:
            return GEMINI
        if body.get("tools") and body["messages"][-1]["role"] != "tool":
            return ADDS
        return Reply(text(f"It is {body['messages'][-1]['content']}.")) if body.get("tools") else HELLO


@asynccontextmanager
async def listening(serve: Any, tls: ssl.SSLContext) -> AsyncGenerator[int, None]:
    """Yield the loopback port of a TLS server."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Ahead:
    """A TLS front end of a plain HTTP server that rewrites the Host header `mcp.test` to the server's loopback address."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0
        self.serving: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one TLS connection to the plain server."""
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        there, back = await asyncio.open_connection("127.0.0.1", self.port)

        async def relayed(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            while piece := await source.read(1 << 16):
                to.write(re.sub(rb"(?i)host: mcp\.test:\d+", b"host: 127.0.0.1:%d" % self.port, piece))
                await to.drain()
            to.close()

        try:
            await asyncio.gather(relayed(reader, back), relayed(there, writer))
        except OSError:
            pass
        finally:
            self.serving.discard(task)
            back.transport.abort()
            writer.transport.abort()

    async def close(self) -> None:
        """Close all connections."""
        for task in self.serving:
            task.cancel()
        await asyncio.gather(*self.serving, return_exceptions=True)


ROUTES = """
network:
  proxy: http://${{PROXY_USER}}:${{PROXY_PASSWORD}}@{proxy}
  ca: ${{file:corp.pem}}
server:
  auth: {{jwt: {{issuer: i, audience: a, algorithms: [RS256], jwks: "https://login.test:{port}/jwks"}}}}
  otel: {{endpoint: "https://otel.test:{port}", every: 60s}}
targets:
  openai: {{model: openai/gpt-4o, api_base: "https://model.test:{port}/v1", api_key: sk-a}}
  anthropic: {{model: anthropic/claude-haiku-4-5, api_base: "https://model.test:{port}", api_key: sk-a}}
  responses: {{model: openai/o3-pro, api_base: "https://model.test:{port}/v1", api_key: sk-a}}
  gemini: {{model: gemini/gemini-2.5-flash, api_base: "https://model.test:{port}", api_key: sk-a}}
  litellm: {{model: openai/gpt-4o, api_base: "https://model.test:{port}/v1", api_key: sk-a, via: litellm}}
  claude-litellm: {{model: anthropic/claude-haiku-4-5, api_base: "https://model.test:{port}", api_key: sk-a, via: litellm}}
  denied: {{model: openai/gpt-4o, api_base: "https://forbidden.test:{port}/v1", api_key: sk-a}}
  nobody: {{model: openai/gpt-4o, api_base: "https://model.test:{closed}/v1", api_key: sk-a}}
  wrong: {{model: openai/gpt-4o, api_base: "https://model.test:{port}/v1", api_key: sk-a, proxy: "http://${{PROXY_USER}}:${{WRONG}}@{proxy}"}}
  demo: {{script: [{{text: Hello}}]}}
defaults: {{timeout: {{connect: 30s, first_token: 60s, total: 300s}}, retry: {{attempts: 1}}}}
routes:
  openai: {{pipeline: chat, targets: [openai]}}
  anthropic: {{pipeline: chat, targets: [anthropic]}}
  responses: {{pipeline: chat, targets: [responses]}}
  gemini: {{pipeline: chat, targets: [gemini]}}
  litellm: {{pipeline: chat, targets: [litellm]}}
  claude-litellm: {{pipeline: chat, targets: [claude-litellm]}}
  tools: {{pipeline: chat, targets: [openai], tools: [{{mcp: "https://mcp.test:{mcp}/mcp"}}]}}
  refused: {{pipeline: chat, targets: [denied, nobody, wrong, demo]}}
"""


def token() -> str:
    """Return a caller's JWT from the issuer behind the proxy; it does not expire."""
    return jwt.encode({"alg": "RS256", "kid": "one"}, {"iss": "i", "aud": "a", "sub": "user-1", "exp": 1 << 40}, SIGNER)


async def asked(router: Process, route: str) -> tuple[int, str, str]:
    """Ask a route, and return (status, text, `x-router-attempts`)."""
    body = {"model": route, "messages": [{"role": "user", "content": "Hi"}], "stream": False}
    address, headers = f"{router.base}/v1/chat/completions", {"authorization": f"Bearer {token()}"}
    async with asyncio.timeout(2 * PATIENCE), router.session.post(address, json=body, headers=headers) as response:
        said = await response.json()
        words = said["choices"][0]["message"]["content"] if response.status == 200 else json.dumps(said)
        return response.status, words, response.headers.get("x-router-attempts", "")


@asynccontextmanager
async def corporate(real: bool, ports: Mapping[str, int]) -> AsyncGenerator[tuple[str, Callable[[], list[str]]], None]:
    """Yield a proxy's address, and a function that lists the tunnels it has opened. `real`: squid; else our own, which maps `ports`."""
    if real:
        async with squid(dict.fromkeys(HOSTS, "127.0.0.1"), USER, PASSWORD) as proxy:
            yield f"127.0.0.1:{proxy.port}", lambda: [line.split()[2] for line in proxy.log if line.startswith("200 CONNECT")]
    else:
        async with proxying(ForwardProxy(dict(ports), (USER, PASSWORD))) as ours:
            yield ours.address, lambda: ours.opened


@pytest.mark.parametrize("real", [True, False], ids=["squid", "a proxy of the test's own"])
async def test_all_outgoing_connections_use_the_corporate_proxy(tmp_path: Path, real: bool) -> None:
    """Models, token keys, an MCP tool and traces are reached through the proxy, and each connection to them is in the proxy's log."""
    authority = Authority(tmp_path)
    company, tls = Company(), authority.server(*HOSTS)
    [plain, closed] = free_ports(2)
    ahead, trap = Ahead(plain), ForwardProxy({})
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(daemon((sys.executable, str(PROGRAM), str(plain)), listens(plain), tmp_path))
        port = await stack.enter_async_context(listening(company.serve, tls))
        mcp = await stack.enter_async_context(listening(ahead.serve, tls))
        await stack.enter_async_context(proxying(trap))
        places = {f"{host}:{port}": port for host in ("model.test", "login.test", "otel.test")} | {f"mcp.test:{mcp}": mcp}
        proxy, opened = await stack.enter_async_context(corporate(real, {**places, f"model.test:{closed}": closed}))
        stack.push_async_callback(ahead.close)
        root = tmp_path / "router"
        (root / "pipelines").mkdir(parents=True)
        (root / "pipelines/chat.yaml").write_text("steps: []\n")
        (root / "corp.pem").write_text(authority.pem)
        (root / "routes.yaml").write_text(ROUTES.format(proxy=proxy, port=port, mcp=mcp, closed=closed))
        variables: dict[str, Any] = {
            "PROXY_USER": USER,
            "PROXY_PASSWORD": SHOWN,
            "WRONG": "wrong",
            **dict.fromkeys(TRAPS, f"http://{trap.address}"),
        }
        async with process(root, **variables) as router:
            for route in ("openai", "anthropic", "responses", "gemini", "litellm", "claude-litellm"):
                assert (route, *(await asked(router, route))[:2]) == (route, 200, "Hello")
            assert (await asked(router, "tools"))[:2] == (200, 'It is {"result":42}.')
            status, words, tried = await asked(router, "refused")
            assert (status, words) == (200, "Hello")
            assert [one for one in ("proxy_denied", "proxy_gateway", "proxy_login") if one not in tried] == []
            async with asyncio.timeout(PATIENCE):
                while "/v1/traces" not in company.paths:  # the first requests are not shown, while the packages load
                    await asked(router, "openai")
                    await asyncio.sleep(0.1)
            await router.ended()
            output = router.printed
        async with asyncio.timeout(PATIENCE):
            while len(opened()) < company.connections + ahead.connections:  # squid logs a tunnel when it is over
                await asyncio.sleep(0.05)
        assert (len(opened()), set(opened())) == (company.connections + ahead.connections, set(places))
        assert {"/jwks", "/v1/traces", "/v1/chat/completions", "/v1/messages", "/v1/responses"} <= set(company.paths)
        assert trap.connections == 0
        assert not [one for one in (PASSWORD, SHOWN, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()) if one in output]
        assert proxy in output


async def test_edit_of_the_proxy_applies_to_new_requests_while_an_answer_runs(tmp_path: Path) -> None:
    """A running answer keeps its connection over an edit of the proxy, and new requests use the new proxy.
    A later edit of the CA file, with no answer running, holds for the next request, too.
    """
    authority, other = Authority(tmp_path), Authority(tmp_path, "Renewed CA")
    gate = asyncio.Event()
    first = Provider([Reply(text("Hello"), gate=gate), Reply(text("Again"))])
    root = tmp_path / "router"
    (root / "pipelines").mkdir(parents=True)
    (root / "pipelines/chat.yaml").write_text("steps: []\n")
    (root / "corp.pem").write_text(authority.pem)
    async with (
        listening(first.serve, authority.server("model.test")) as port,
        listening(first.serve, other.server("renewed.test")) as renewed,
        proxying(ForwardProxy({"model.test:443": port, "renewed.test:443": renewed})) as before,
        proxying(ForwardProxy({"model.test:443": port, "renewed.test:443": renewed})) as after,
    ):

        def written(proxy: ForwardProxy, host: str) -> None:
            target = f"m: {{model: openai/x, api_base: 'https://{host}/v1'}}"
            routes = "routes: {r: {pipeline: chat, targets: [m]}}\nserver: {auth: none, reload: on}\n"
            network = f"network: {{proxy: 'http://{proxy.address}', ca: '${{file:corp.pem}}'}}"
            (root / "routes.yaml").write_text(
                f"{network}\ntargets: {{{target}}}\n{routes}defaults: {{timeout: {{connect: 30s, idle: 60s}}}}\n"
            )

        async def live(router: Process, was: str) -> str:
            async with asyncio.timeout(PATIENCE):
                while (now := (await router.ask(model="nothing"))[1]["x-router-generation"]) == was:
                    await asyncio.sleep(0.05)
            return now

        written(before, "model.test")
        async with process(root) as router:
            running = asyncio.create_task(router.ask(model="r", stream=True))
            async with asyncio.timeout(PATIENCE):
                while not first.requests:
                    await asyncio.sleep(0.01)
            generation = await live(router, "")
            written(after, "model.test")
            generation = await live(router, generation)
            assert b"Again" in (await router.ask(model="r"))[2]
            assert (before.connections, after.connections) == (1, 1)
            gate.set()
            assert b"Hello" in (await running)[2]
            written(after, "renewed.test")
            generation = await live(router, generation)
            assert (await router.ask(model="r"))[0] == 502
            (root / "corp.pem").write_text(other.pem)
            await live(router, generation)
            assert b"Again" in (await router.ask(model="r"))[2]
            assert (before.connections, len(first.requests)) == (1, 3)
