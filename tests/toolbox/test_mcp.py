"""Tools of a real MCP server: listed, called, bounded, and handled when the server fails, restarts or changes its tools."""

import asyncio
import gzip
import json
import logging
import os
import random
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest

from router.chat import Json
from router.config.tools import ToolServer
from router.config.values import Name, Secret
from router.errors import ToolError
from router.toolbox import Grant, McpServer, Toolbox
from router.toolbox.bounded import MAX_MESSAGE_BYTES, MAX_MESSAGE_VALUES, bounded
from router.toolbox.mcp import MAX_SCHEMA_BYTES, MAX_TOOLS, _spec
from tests.conftest import AS_OPERATOR, Answered, Client, Workspace, direct_target, routes, serving
from tests.support.provider import Provider, Reply, calls, provider, text
from tests.support.raw import until_closed
from tests.support.services import daemon, free_ports, listens

PROGRAM = Path(__file__).parent / "mcp_server.py"
COMMAND = ToolServer(mcp=(Name(sys.executable), Name(PROGRAM)))
TRIALS = f"tools: [{{mcp: ['{sys.executable}', '{PROGRAM}']}}]"


@asynccontextmanager
async def running(declared: ToolServer = COMMAND) -> AsyncGenerator[McpServer, None]:
    """An MCP client whose connection has been started but need not be there yet; closed at the end of the block."""
    server = McpServer(declared)
    server.start()
    try:
        yield server
    finally:
        await server.close()


@asynccontextmanager
async def over_http(tmp_path: Path) -> AsyncGenerator[McpServer, None]:
    """An MCP client of the test server over HTTP."""
    [port] = free_ports(1)
    async with (
        daemon((sys.executable, str(PROGRAM), str(port)), listens(port), tmp_path),
        running(ToolServer(mcp=Name(f"http://127.0.0.1:{port}/mcp"))) as server,
    ):
        yield server


async def until(true: Callable[[], bool]) -> None:
    """Wait until the condition is true, for 240 s at most."""
    async with asyncio.timeout(240):
        while not true():
            await asyncio.sleep(0.01)


async def back(server: McpServer) -> None:
    """Wait until the connection was lost and is established again."""
    await until(lambda: not server.here)
    await until(lambda: server.here)


def box(server: McpServer, limit: float = 20, only: frozenset[str] | None = None) -> Toolbox:
    """Return a toolbox with the tools of this server, limited to `limit` seconds a call and, if given, to the names in `only`."""
    return Toolbox((), limit, [Grant(server, only)])


@pytest.mark.parametrize("way", ["command", "http"])
async def test_mcp_tools_are_offered_with_their_schemas_and_run(way: str, tmp_path: Path) -> None:
    """The tools of an MCP server, by command or HTTP, are offered with description and schema; results and errors are returned."""
    async with running() if way == "command" else over_http(tmp_path) as server:
        await until(lambda: server.here)
        tools = box(server)
        offered = {spec.name: spec for spec in await tools.offered()}
        assert {"add", "greet", "fail", "hang", "die", "environment"} <= set(offered)
        assert offered["add"].description == "Add two numbers."
        assert offered["add"].parameters["required"] == ["a", "b"]
        assert await tools.run("add", {"a": 1, "b": 2}) == ({"result": 3}, False)
        assert await tools.run("greet", {"name": "北京"}) == ("Hello, 北京!", False)
        assert await tools.run("fail", {}) == ("Error executing tool fail", True)
        said, is_error = await tools.run("add", {"a": "many", "b": 2})
        assert is_error
        assert "valid integer" in str(said)
        assert (await tools.run("nope", {}))[1]


async def test_mcp_tool_outside_only_is_neither_offered_nor_run() -> None:
    """A toolbox with `only` offers and runs only the MCP tools of these names."""
    async with running() as server:
        await until(lambda: server.here)
        tools = box(server, only=frozenset({"add", "unheard_of"}))
        assert [spec.name for spec in await tools.offered()] == ["add"]
        assert await tools.run("greet", {"name": "x"}) == ("There is no tool of this name. There is: add.", True)
        assert "add" in tools
        assert "greet" not in tools
        asking = Toolbox((), 20, [Grant(server, frozenset({"add"}), approve=True), Grant(server)])
        assert [await asking.asks(name, {}) for name in ("add", "greet", "nope")] == [True, False, False]
        assert not await tools.asks("add", {})


async def test_mcp_command_gets_only_basic_and_declared_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of an MCP command has basic variables such as PATH and HOME, and its declared `env`, but no other of the router's."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("ROUTER_ENV", "production")
    declared = ToolServer(mcp=COMMAND.mcp, env={Name("ROOT"): Secret("/srv/my files")})
    async with running(declared) as server:
        await until(lambda: server.here)
        said, _ = await server.call("environment", {})
        given = {name: value for name, _, value in (line.partition("=") for line in str(said).splitlines() if line)}
        assert set(given) <= {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "ROOT"}
        assert given["ROOT"] == "/srv/my files"


async def test_mcp_call_beyond_its_time_limit_returns_an_error_and_disturbs_no_other() -> None:
    """An MCP call that exceeds its time limit returns an error result, while another call on the same connection succeeds."""
    async with running() as server:
        await until(lambda: server.here)
        hung, done = await asyncio.gather(box(server, limit=0.3).run("hang", {}), box(server).run("add", {"a": 1, "b": 2}))
        assert hung == ("The tool took longer than 0.3 seconds and was stopped.", True)
        assert done == ({"result": 3}, False)
        await until(lambda: not server._calls)


async def test_cancelled_mcp_call_raises_cancellederror_and_keeps_the_connection() -> None:
    """A cancelled MCP call raises CancelledError, and the connection serves the next call."""
    async with running() as server:
        await until(lambda: server.here)
        leaver = asyncio.create_task(box(server).run("hang", {}))
        await until(lambda: bool(server._calls))
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        await until(lambda: not server._calls)
        assert await server.call("add", {"a": 1, "b": 2}) == ({"result": 3}, False)


@pytest.mark.parametrize("way", ["command", "http"])
async def test_mcp_server_that_ends_during_calls_gives_each_of_them_an_error_result(
    way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An MCP server that ends gives each waiting call an error result; its tools stay offered, and a command is started again."""
    caplog.set_level(logging.INFO, "router.tools")
    async with running() if way == "command" else over_http(tmp_path) as server:
        await until(lambda: server.here)
        tools = box(server)
        other = asyncio.create_task(tools.run("hang", {}))
        await until(lambda: bool(server._calls))
        async with asyncio.timeout(240):
            assert await tools.run("die", {}) == ("The server of this tool went away before it answered.", True)
            assert (await other)[1]
        await until(lambda: not server.here)
        assert "add" in {spec.name for spec in await tools.offered()}, "what it had is still offered: it may be back any moment"
        if way == "command":
            await until(lambda: server.here)
            assert await tools.run("add", {"a": 1, "b": 2}) == ({"result": 3}, False)
            told = [record.getMessage() for record in caplog.records if record.name == "router.tools"]
            assert told == ["tools of a server", "tool server is away", "tool server is back"]
        else:
            await until(lambda: server._state == "away")
            assert await tools.run("add", {"a": 1, "b": 2}) == ("The server of this tool cannot be reached just now.", True)


async def test_mcp_server_absent_at_start_is_used_once_it_is_reachable(tmp_path: Path) -> None:
    """An unreachable MCP server has no tools after the first try, and offers its tools once it is reachable."""
    [port] = free_ports(1)
    async with running(ToolServer(mcp=Name(f"http://127.0.0.1:{port}/mcp"))) as server:
        async with asyncio.timeout(240):
            assert await box(server).offered() == ()
        assert server.tried
        async with daemon((sys.executable, str(PROGRAM), str(port)), listens(port), tmp_path):
            await until(lambda: server.here)
            assert "add" in {spec.name for spec in await box(server).offered()}


async def test_missing_mcp_command_offers_no_tools_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """An MCP command that does not exist has no tools, its calls raise ToolError, and the reason is logged once."""
    async with running(ToolServer(mcp=(Name("no-such-command-here"),))) as server:
        assert await server.tools() == {}
        with pytest.raises(ToolError):
            await server.call("add", {})
        await until(lambda: any(record.getMessage() == "tool server is away" for record in caplog.records))
    fields = [record.__dict__["fields"] for record in caplog.records if record.name == "router.tools"]
    assert fields == [{"server": "no-such-command-here", "why": "FileNotFoundError"}]


async def test_tool_added_by_a_running_mcp_server_becomes_available() -> None:
    """A tool that an MCP server adds and announces while connected can be called."""
    async with running() as server:
        await until(lambda: server.here)
        tools = box(server)
        assert (await tools.run("extra", {}))[1]
        await tools.run("learn", {})
        await until(lambda: "extra" in server.known)
        assert await tools.run("extra", {}) == ({"result": "learned"}, False)
        assert "extra" in tools


async def test_long_mcp_result_is_cut() -> None:
    """A tool result of 300,000 characters is cut and ends with a note that it was longer."""
    async with running() as server:
        await until(lambda: server.here)
        said, is_error = await box(server).run("long", {"size": 300_000})
        assert str(said).endswith(" … (cut: the result was longer)")
        assert not is_error


async def test_mcp_message_above_the_limit_fails_its_call_and_reconnects(tmp_path: Path) -> None:
    """An MCP message above MAX_MESSAGE_BYTES fails its call with ToolError, and the connection is opened again."""
    async with over_http(tmp_path) as server:
        await until(lambda: server.here)
        with pytest.raises(ToolError):
            await server.call("long", {"size": MAX_MESSAGE_BYTES + 1})
        await back(server)
        assert await server.call("add", {"a": 1, "b": 2}) == ({"result": 3}, False)


@pytest.mark.parametrize(
    ("kind", "chunks", "fits"),
    [
        ("application/json", [b"x" * MAX_MESSAGE_BYTES], True),
        ("application/json", [b"x" * MAX_MESSAGE_BYTES, b"x"], False),
        ("application/json", [b"\n\n" * MAX_MESSAGE_BYTES], False),
        ("text/event-stream", [b"data: x\n\n" * 1000] * 2000, True),
        ("text/event-stream", [b"x" * MAX_MESSAGE_BYTES, b"\n\n", b"x" * MAX_MESSAGE_BYTES], True),
        ("text/event-stream", [b"x" * (MAX_MESSAGE_BYTES - 3), b"\r\n\r", b"\n" + b"x" * MAX_MESSAGE_BYTES], True),
        ("text/event-stream", [b"x" * MAX_MESSAGE_BYTES, b"\nx"], False),
        ("application/json", [b"[" * MAX_MESSAGE_VALUES], True),
        ("application/json", [b"[" * MAX_MESSAGE_VALUES, b"{"], False),
        ("text/event-stream", [b"," * MAX_MESSAGE_VALUES, b"\n\n" + b"[" * MAX_MESSAGE_VALUES], True),
        ("text/event-stream", [b"," * MAX_MESSAGE_VALUES + b"\n\n,", b"[" * MAX_MESSAGE_VALUES], False),
    ],
)
async def test_each_mcp_message_is_bounded_but_a_stream_of_events_is_not(kind: str, chunks: list[bytes], fits: bool) -> None:
    """With the hook `bounded`, reading a response raises ReadError if a JSON body, or one event of a stream, has too many bytes or values.
    A body or an event at the limit is read whole, and so is a stream of any number of events.
    """

    async def body() -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield chunk

    response = httpx2.Response(200, headers={"content-type": kind}, content=body())
    await bounded(response)
    with nullcontext() if fits else pytest.raises(httpx2.ReadError):
        assert len(await response.aread()) == sum(map(len, chunks))


async def test_compressed_mcp_response_is_refused() -> None:
    """An MCP response with a content encoding such as gzip raises a read error, since its decompressed size could not be limited."""
    response = httpx2.Response(200, headers={"content-encoding": "gzip"}, stream=httpx2.ByteStream(gzip.compress(b"x")))
    await bounded(response)
    with pytest.raises(httpx2.ReadError):
        await response.aread()


async def test_closed_mcp_client_leaves_no_server_process_and_no_task() -> None:
    """After an MCP client is closed, the process that its command started is gone, and no asyncio task but the test's own is left."""
    async with running() as server:
        await until(lambda: server.here)
        process = int(str((await server.call("pid", {}))[0]))
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert server.closed
    assert len(asyncio.all_tasks()) == 1


@asynccontextmanager
async def answering(head: bytes) -> AsyncGenerator[tuple[str, list[bytes]], None]:
    """An HTTP server that sends this response to every request: its address, and a list of the request heads that it received."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(head)
        writer.close()
        await until_closed(reader)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


async def test_mcp_client_sends_its_token_and_follows_no_redirect() -> None:
    """An MCP client sends its token as a bearer token to the declared address, and does not follow a redirect to another origin."""
    async with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as (elsewhere, strayed):
        head = f"HTTP/1.1 307 Temporary Redirect\r\nlocation: {elsewhere}/mcp\r\ncontent-length: 0\r\n\r\n".encode()
        async with answering(head) as (base, asked), running(ToolServer(mcp=Name(f"{base}/mcp"), token=Secret("tok-1"))) as server:
            assert await server.tools() == {}
            await until(lambda: server._state == "away")
        assert b"authorization: bearer tok-1" in asked[0].lower()
        assert strayed == []


UNFIT: list[tuple[str, dict[str, Json]]] = [
    ("has spaces", {"type": "object"}),
    ("x" * 65, {"type": "object"}),
    ("no_object", {"type": "string"}),
    ("nothing", {}),
    ("deep", {"type": "object", "not": json.loads('{"not":' * 40 + "{}" + "}" * 40)}),
    ("large", {"type": "object", "description": "x" * MAX_SCHEMA_BYTES}),
]


@pytest.mark.parametrize(("name", "schema"), UNFIT)
def test_mcp_tool_with_an_unusable_name_or_schema_is_not_offered(name: str, schema: dict[str, Json]) -> None:
    """An MCP tool is not offered if its name is too long or has odd characters, or if its schema is too deep, too large or no object."""
    assert _spec(SimpleNamespace(name=name, description="", input_schema=schema)) is None


def test_description_of_an_mcp_tool_is_cut_to_4096_characters() -> None:
    """A tool description of 10,000 characters is cut to 4,096."""
    spec = _spec(SimpleNamespace(name="a", description="x" * 10_000, input_schema={"type": "object"}))
    assert spec is not None
    assert len(spec.description) == 4096


async def asks(fake: Provider, client: Client) -> Answered:
    """Ask one question that makes the model call the tool `pid`, and return the answer."""
    fake.script = [Reply(calls(("c1", "pid", "{}"))), Reply(text("Done."))]
    return await client.ask()


def results(answer: Answered) -> list[Json]:
    """Return the results of the tool calls in an answer."""
    return [value["result"] for code, value in answer.lines if code == "a"]


async def test_route_offers_and_runs_the_tools_of_its_mcp_server(workspace: Workspace) -> None:
    """A route's MCP tools are sent to the model, and a call's result to client and model; two routes share one server process."""
    async with provider() as fake:
        both = routes(direct_target(fake.base), f"targets: [a]\n    {TRIALS}", f"  other: {{pipeline: chat, targets: [a], {TRIALS}}}\n")
        async with serving(workspace.write("routes.yaml", both).build()) as client:
            await until_ready(client)
            first = await asks(fake, client)
            assert "pid" in {tool["function"]["name"] for tool in fake.requests[0]["tools"]}
            assert fake.requests[1]["messages"][-1]["content"] == results(first)[0]
            fake.script = [Reply(calls(("c1", "pid", "{}"))), Reply(text("Done."))]
            assert results(await client.ask(model="other")) == results(first)
            assert "pid" in {name for model in (await client.get("/api/models")).json["models"] for name in model["tools"]}
            page = (await client.get("/metrics")).body.decode()
            assert f'router_tool_server_up{{server="{sys.executable} {PROGRAM}"}} 1.0' in page
            assert 'router_tool_calls_total{result="ok",tool="pid"} 2.0' in page


async def until_ready(client: Client) -> None:
    """Wait until /readyz reports that the server is ready."""
    async with asyncio.timeout(240):
        while not (await client.get("/readyz")).json["ready"]:
            await asyncio.sleep(0.01)


async def test_reload_keeps_an_unchanged_mcp_server_and_ends_a_removed_one(workspace: Workspace) -> None:
    """A reload that does not change an MCP server keeps its process; a reload that removes it ends the process."""
    async with provider() as fake:
        before = routes(direct_target(fake.base), f"targets: [a]\n    {TRIALS}")
        workspace.write("routes.yaml", before)
        async with serving(workspace.build(), workspace.root / "routes.yaml") as client:
            await until_ready(client)
            first = results(await asks(fake, client))
            workspace.write("routes.yaml", before + "defaults: {retry: {attempts: 3}}\n")
            await client.session.post(f"{client.base}/admin/reload", headers=AS_OPERATOR)
            await until_ready(client)
            assert results(await asks(fake, client)) == first
            workspace.write("routes.yaml", routes(direct_target(fake.base)))
            await client.session.post(f"{client.base}/admin/reload", headers=AS_OPERATOR)
            fake.script = [Reply(text("Without."))]
            assert (await client.ask()).text == "Without."
            await until(lambda: not alive(int(str(first[0]))))


def alive(process: int) -> bool:
    """Return whether a process with this id exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def test_mcp_server_of_the_2025_protocol_works() -> None:
    """An MCP server of the 2025 protocol offers its tools, also newly announced ones, and its text results are returned."""
    async with running(ToolServer(mcp=(Name(sys.executable), Name(PROGRAM.with_name("old_server.py"))))) as server:
        await until(lambda: server.here)
        tools = box(server)
        assert [spec.name for spec in await tools.offered()] == ["echo"]
        assert await tools.run("echo", {"a": "北京"}) == ('{"a": "\\u5317\\u4eac"}', False)
        await until(lambda: "more" in server.known)
        assert await tools.run("more", {}) == ("[image, not shown]\ntwo", False)


async def test_mcp_tools_are_sorted_by_name_and_limited_to_max_tools() -> None:
    """The first MAX_TOOLS tools of an MCP server by name are offered in that order, in whatever order the server lists them."""
    names = [f"tool_{number:03}" for number in range(MAX_TOOLS + 20)]
    found: list[list[str]] = []
    for seed in range(5):
        random.Random(seed).shuffle(names)
        tools = [SimpleNamespace(name=name, description=name, input_schema={"type": "object"}) for name in names]
        pages = {None: (tools[:90], "rest"), "rest": (tools[90:], None)}

        async def list_tools(cursor: str | None, pages: dict[str | None, Any] = pages) -> SimpleNamespace:
            listed, following = pages[cursor]
            return SimpleNamespace(tools=listed, next_cursor=following)

        server = McpServer(COMMAND)
        await server._list(cast("Any", SimpleNamespace(list_tools=list_tools)))
        found.append([spec.name for spec in box(server).specs])
    assert found == [sorted(names)[:MAX_TOOLS]] * 5
