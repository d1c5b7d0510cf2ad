"""Shared by all tests: workspaces, running routers, and a guard that refuses connections to other machines."""

import asyncio
import gc
import inspect
import json
import os
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
import uvicorn
from hypothesis import HealthCheck, settings

from router.access.slowdown import Slowdown
from router.config import declare, read
from router.config.values import Secret
from router.garbage import STEADY
from router.generation import Generation, Ground, build
from router.server import Door, application
from router.server.edge import Edge
from router.targets import close_lanes

# How long an example takes says how busy the machine is. The suite says the same of one commit each time; new examples are for `make fuzz`.
settings.register_profile(
    "suite", deadline=None, derandomize="POINTSMAN_EXAMPLES" not in os.environ, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

ROOT = Path(__file__).parent.parent
LOOPBACK = ("127.", "::1", "localhost")
OPERATOR = "an-operators-key-of-this-run"
AS_OPERATOR = {"authorization": f"Bearer {OPERATOR}"}
"""The header that authorises changes below /admin, at a router whose configuration has no admin key."""
KEYED = f"admin: {{key: {OPERATOR}}}"
"""The declaration of that admin key under `server`, for a router in a process of its own."""

HERE: dict[str, Any] = {"http_version": "1.1", "query_string": b"", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 50_000)}
"""The fields of an ASGI scope for a request from this machine."""


SLOW = frozenset(
    {
        "access/test_admin_key.py",
        "access/test_auth.py",
        "access/test_strangers.py",
        "admin/test_admin.py",
        "admin/test_answers_in_a_browser.py",
        "admin/test_cockpit.py",
        "admin/test_cockpit_in_a_browser.py",
        "admin/test_hostile_strings_in_a_browser.py",
        "admin/test_openapi.py",
        "admin/test_page_cost.py",
        "admin/test_playground_in_a_browser.py",
        "admin/test_webpage.py",
        "answering/test_cache.py",
        "answering/test_embeddings.py",
        "answering/test_flights.py",
        "answering/test_let_go.py",
        "answering/test_limits.py",
        "answering/test_replicas.py",
        "answering/test_resume.py",
        "answering/test_shared_limits.py",
        "answering/test_structured.py",
        "answering/test_users.py",
        "answering/test_wires.py",
        "clients/test_replayed_streams.py",
        "clients/test_router_streams.py",
        "commands/test_commands.py",
        "commands/test_first_look.py",
        "commands/test_imports.py",
        "commands/test_init.py",
        "commands/test_installed.py",
        "commands/test_try.py",
        "config/test_arbitrary_text.py",
        "config/test_env_file.py",
        "deploy/test_built_image.py",
        "deploy/test_compose.py",
        "deploy/test_kubernetes.py",
        "deploy/test_monitoring.py",
        "deploy/test_replicas.py",
        "deploy/test_strangers_through_nginx.py",
        "deploy/test_supply.py",
        "examples/test_chatbot_in_a_browser.py",
        "examples/test_chatbot_routes.py",
        "examples/test_pages_in_a_browser.py",
        "examples/test_types.py",
        "failover/test_fault.py",
        "failover/test_hedge.py",
        "failover/test_refusals.py",
        "handbook/test_contributing.py",
        "handbook/test_shell_blocks.py",
        "handbook/test_tutorials.py",
        "intake/test_audio_asked.py",
        "intake/test_body.py",
        "intake/test_files_asked.py",
        "journal/test_bill.py",
        "journal/test_metrics.py",
        "journal/test_traces.py",
        "migration/test_account.py",
        "migration/test_import.py",
        "migration/test_routing.py",
        "models/test_client_fields.py",
        "models/test_matrix.py",
        "models/test_reasoning_state.py",
        "models/test_thinkers.py",
        "reload/test_edits.py",
        "reload/test_following.py",
        "reload/test_workers.py",
        "server/test_door.py",
        "server/test_machine.py",
        "server/test_mounted.py",
        "server/test_server.py",
        "server/test_shutdown.py",
        "shared/test_logs.py",
        "system/faults/test_anthropic.py",
        "system/faults/test_gemini.py",
        "system/faults/test_litellm.py",
        "system/faults/test_openai.py",
        "system/test_cached_chats.py",
        "system/test_canary.py",
        "system/test_corporate_network.py",
        "system/test_fuzz.py",
        "system/test_security.py",
        "targets/test_aws_sign_in.py",
        "targets/test_bound_thinking.py",
        "targets/test_litellm.py",
        "targets/test_litellm_requests.py",
        "targets/test_prompt_caching.py",
        "targets/test_proxy.py",
        "targets/test_recordings.py",
        "targets/test_subset.py",
        "targets/test_warming.py",
        "test_capacity.py",
        "test_drill.py",
        "test_libraries.py",
        "test_shape.py",
        "toolbox/test_isolated.py",
        "toolbox/test_mcp.py",
    }
)
"""Test files that take long (`pytest --durations=0`), import LiteLLM, or start many processes."""

NEEDS = {"redis_server": "redis", "RedisServer": "redis", "nginx": "nginx", "edge": "nginx", "squid": "squid", "browser": "chromium"}
"""Name that a test file imports → the marker of the program that it needs."""


def pytest_sessionfinish() -> None:
    """End the browser that the tests of this process shared. Parallel test processes run no exit handlers."""
    if (browser := sys.modules.get("tests.support.browser")) is not None:
        browser.close_shared()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip importing slow files when slow tests are deselected, since importing and collecting them takes long."""
    inside = collection_path.suffix == ".py" and collection_path.is_relative_to(ROOT / "tests")
    return True if inside and "not slow" in config.option.markexpr and _file(collection_path) in SLOW else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Switch the garbage collector off during collection; afterwards, freeze all objects and use the thresholds of a serving router."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(*STEADY)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what their file needs and move slow files to the front, so that no worker starts a slow file last."""
    known: dict[Path, list[str]] = {}
    for item in items:
        if item.path not in known:
            known[item.path] = list(_markers(_file(item.path), vars(cast("pytest.Function", item).module)))
        for marker in known[item.path]:
            item.add_marker(marker)
    items.sort(key=lambda item: "slow" not in known[item.path])


def _file(path: Path) -> str:
    """Return a file's path below tests/."""
    return path.relative_to(ROOT / "tests").as_posix()


def _markers(file: str, names: Mapping[str, object]) -> Iterator[str]:
    """Yield the markers of a file's tests: the programs that they need (`redis`, `nginx`, `squid`, `chromium`, `node`), and `slow`.
    `names`: the names of its module.
    """
    yield from {mark for name, mark in NEEDS.items() if name in names}
    if file.startswith(("clients/", "examples/")):
        yield "node"
    if file in SLOW:
        yield "slow"


@pytest.fixture(autouse=True, scope="session")
def _stay_here() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """Refuse every connection to another machine with OSError, as without a network."""
    patch = pytest.MonkeyPatch()
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded(inner: Callable[..., Any]) -> Callable[..., Any]:
        def connect_here(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOOPBACK):
                raise OSError(101, f"a test tried to reach {address[0]}")
            return inner(self, address)

        return connect_here

    patch.setattr(socket.socket, "connect", guarded(connect))
    patch.setattr(socket.socket, "connect_ex", guarded(connect_ex))
    yield
    patch.undo()


@dataclass(frozen=True)
class Workspace:
    """A folder with a routes.yaml and the files beside it."""

    root: Path

    def write(self, name: str, content: str) -> "Workspace":
        """Write a file below the folder; return the workspace."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return self

    def build(self, ground: Ground | None = None, /, **variables: str) -> Generation:
        """Build the generation of routes.yaml, with these environment variables only."""
        return build(declare(read(self.root / "routes.yaml"), variables), ground=ground)


CHAT = "steps:\n  - history: {keep: 40}\n"
WEATHER = '''
async def get_weather(location: str) -> str:
    """Current weather for a city."""
    return f"{location}: 25°C"
'''


@pytest.fixture(autouse=True)
def _closed_lanes(request: pytest.FixtureRequest) -> None:  # pyright: ignore[reportUnusedFunction]
    """Close the process-wide connections to providers after each asynchronous test."""
    if isinstance(request.node, pytest.Function) and inspect.iscoroutinefunction(request.node.obj):
        request.getfixturevalue("lanes")


@pytest.fixture
async def lanes() -> AsyncIterator[None]:
    """Close the process-wide connections to providers at the end of the test."""
    yield
    await close_lanes()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with a pipeline `chat` and a tool set `weather`; the test writes its routes.yaml."""
    return Workspace(tmp_path).write("pipelines/chat.yaml", CHAT).write("tools/weather.py", WEATHER)


def routes(targets: str, route: str = "targets: [a]", more: str = "") -> str:
    """Return a routes.yaml with these targets and one route, `chat-model`."""
    indented = "\n".join(f"  {line}" for line in targets.strip().splitlines())
    return f"targets:\n{indented}\nroutes:\n  chat-model:\n    aliases: [gpt-4]\n    pipeline: chat\n    {route.strip()}\n{more}"


def litellm_target(base: str, name: str = "a", key: str = "sk-test") -> str:
    """Return the YAML of a target that is asked through LiteLLM at this base URL."""
    return f"{name}: {{model: openai/fake, api_base: '{base}', api_key: {key}, via: litellm}}\n"


def direct_target(base: str, name: str = "a", key: str = "sk-test") -> str:
    """Return the YAML of a target that is asked without LiteLLM at this base URL."""
    return f"{name}: {{model: openai/fake, api_base: '{base}', api_key: {key}}}\n"


LANES = {"direct": direct_target, "litellm": litellm_target}


@dataclass(frozen=True)
class Client:
    """A running router and an HTTP client for it."""

    base: str
    session: aiohttp.ClientSession
    edge: Edge

    async def post(self, path: str = "/api/chat", /, **body: Any) -> "Answered":
        """POST a JSON body and read the whole response."""
        async with self.session.post(self.base + path, json=body) as response:
            return Answered(response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read())

    async def ask(self, text: str = "Hello", /, model: str = "chat-model", **more: Any) -> "Answered":
        """Ask one question at POST /api/chat and read the whole answer. `more`: further fields of the body."""
        return await self.post(messages=[{"role": "user", "content": text}], model=model, **more)

    async def get(self, path: str, headers: dict[str, str] | None = None) -> "Answered":
        """GET a path and read the whole response."""
        async with self.session.get(self.base + path, headers=headers) as response:
            return Answered(response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read())


@dataclass(frozen=True)
class Answered:
    """A complete HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        return cast("dict[str, Any]", json.loads(self.body))

    @property
    def lines(self) -> list[tuple[str, dict[str, Any]]]:
        """The body as lines of the line protocol: (code, object)."""
        return parsed_lines(self.body)

    @property
    def text(self) -> str:
        """The text of the `0:` lines."""
        return "".join(value["textDelta"] for code, value in self.lines if code == "0")

    @property
    def codes(self) -> str:
        """The codes of the lines in order, consecutive text lines as one."""
        made = ""
        for code, _ in self.lines:
            if code != "0" or not made.endswith("0"):
                made += code
        return made


SHAPES = {
    "0": {"type": "text-delta", "textDelta": str},
    "g": {"type": "reasoning", "textDelta": str},
    "9": {"type": "tool-call", "toolCallId": str, "toolName": str, "args": dict},
    "a": {"type": "tool-result", "toolCallId": str, "toolName": str, "result": object},
    "h": {"type": "source", "sourceType": str, "id": str},
    "k": {"type": "file", "mimeType": str, "data": str},
    "3": {"type": "error", "error": str},
    "d": {"type": "finish", "finishReason": str},
}
OPTIONAL = {"h": {"url": str, "title": str, "mediaType": str}, "a": {"isError": bool}, "d": {"usage": dict}}


def parsed_lines(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Parse a complete answer of the line protocol strictly: valid UTF-8, known keys and types, exactly one `d` line, at the end."""
    text = body.decode("utf-8", "strict")
    assert text.endswith("\n")
    assert "\r" not in text
    made: list[tuple[str, dict[str, Any]]] = []
    for line in text[:-1].split("\n"):
        code, colon, rest = line.partition(":")
        assert colon
        assert code in SHAPES, line
        value = json.loads(rest)
        allowed = {**SHAPES[code], **OPTIONAL.get(code, {})}
        assert set(SHAPES[code]) <= set(value) <= set(allowed), line
        for key, kind in allowed.items():
            if key in value:
                assert value[key] == kind if isinstance(kind, str) else isinstance(value[key], kind), line
        made.append((code, value))
    assert [code for code, _ in made].count("d") == 1
    assert made[-1][0] == "d"
    return made


async def _at_once(_: float) -> None:
    """Return immediately: replaces a sleep."""


class Server(uvicorn.Server):
    """A uvicorn server that ends as soon as `ended` is set; uvicorn's own polls ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()

    async def main_loop(self) -> None:
        """Serve until `ended` is set."""
        await self.on_tick(0)
        await self.ended.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listeners, wait until the running answers have ended, then end the application."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:
            await asyncio.sleep(0.002)
        await self.lifespan.shutdown()


@asynccontextmanager
async def serving(
    generation: Generation, follows: Path | None = None, door: type[Door] = Door, slowdown: Slowdown | None = None
) -> AsyncGenerator[Client, None]:
    """Serve the router on loopback with uvicorn; yield a client for it.

    follows: the routes file whose edits are loaded
    slowdown: delays refusals of wrong keys; by default there is no delay
    """
    edge = application(generation, follows, run_key=Secret(OPERATOR), slowdown=Slowdown(sleep=_at_once) if slowdown is None else slowdown)
    config = uvicorn.Config(
        edge,
        host="127.0.0.1",
        port=0,
        http=door,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,  # a connection that is closed just when a client takes it up again is a request lost
    )
    server = Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
        if running.done():
            await running
    port = server.servers[0].sockets[0].getsockname()[1]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        try:
            yield Client(f"http://127.0.0.1:{port}", session, edge)
        finally:
            await session.close()
            server.ended.set()
            await running
