"""A client of an MCP server (Model Context Protocol): one connection that is restored by itself, never inside a request's own task.
A task of the client's own opens the connection and lists the tools. It lists them again every `LISTING_INTERVAL_S` seconds and when the
server reports a change, and opens another connection if this one is lost. Each call runs in a task too: the library was seen to cancel
the caller that waits for a server that dies. So a request gets `ToolError` and nothing else, whatever becomes of the server.
"""

import asyncio
import json
import logging
import os
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Self, cast
from urllib.parse import urlsplit

from router.chat import Json, JsonObject, ToolSpec, deeper, mended, repaired
from router.config.network import tls_context
from router.config.tools import TOOL_NAME, ToolServer
from router.errors import Misfit, ToolError
from router.lifecycle import Backoff, SharedConnection
from router.toolbox.bounded import bounded

if TYPE_CHECKING:
    from mcp import Client

log = logging.getLogger("router.tools")

START = 15.0
"""Maximum seconds for a server to start, shake hands and list its tools."""
PATIENCE = 3.0
"""Seconds that a call waits for the current attempt to connect, and an answer for the first one."""
LISTING_INTERVAL_S = 30.0
"""Seconds after which a server's tools are listed again: it may not have reported a change, or be gone."""
LISTING = 10.0
ENDING = 10.0
"""Seconds for a connection to close. The library gives a command two to end by itself, then two to obey a signal."""

MAX_TOOLS = 128
MAX_NAMES = 512
"""Names of tools with labels of their own in metrics, over the life of a server: it may invent new ones for ever."""
MAX_PAGES = 20
MAX_DESCRIPTION_CHARS = 4 * 1024
MAX_SCHEMA_BYTES = 32 * 1024
MAX_DEPTH = 32

GONE = "The server of this tool went away before it answered."


class McpServer(SharedConnection):
    """An MCP server, its tools, and the connection to it, which `start` opens in the background. Misfit without the package `mcp`."""

    def __init__(self, declared: ToolServer) -> None:
        super().__init__()
        if find_spec("mcp") is None:
            raise Misfit("an MCP server needs a package that is not here: pip install 'pointsman[mcp]'", "mcp")
        self.declared = declared
        self.label = declared.label
        self.known: Mapping[str, ToolSpec] = {}
        """Name → tool from the server's latest list, also while it is away; empty before its first list."""
        self._names: set[str] = set()
        self._client: Client | None = None
        self._state: Literal["new", "starting", "here", "away"] = "new"
        self._settled = asyncio.Event()
        """Set once the present attempt to connect has succeeded or failed."""
        self._doubt = asyncio.Event()
        """Set when the server's tools may have changed, or the server may be gone."""
        self._calls: set[asyncio.Task[tuple[Json, bool]]] = set()
        self._supervisor: asyncio.Task[None] | None = None
        self._connecting: asyncio.Task[None] | None = None
        """The present connection, open or being made."""
        self.tried = False
        """True once the first attempt to connect has succeeded or failed: from then on no answer waits for the server."""

    @property
    def here(self) -> bool:
        """True while the connection is open and the server has listed its tools."""
        return self._state == "here"

    def __contains__(self, name: object) -> bool:
        """Return whether the server lists, or has listed before, a tool of this name."""
        return name in self._names

    async def tools(self) -> Mapping[str, ToolSpec]:
        """Return name → tool from the server's latest list; empty before one. Waits up to PATIENCE seconds for the first connection."""
        if not self.tried:
            await self._await_attempt()
        return self.known

    def start(self) -> None:
        """Start to connect in the background, and return at once. Without effect if started or closed already."""
        if self._supervisor is None and not self.closed:
            self._state = "starting"
            self._supervisor = asyncio.create_task(self._supervise())

    async def _close(self) -> None:
        self._state = "away"
        self._settled.set()
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor])
        if self._connecting is not None:
            await _cancel(self._connecting)

    async def _supervise(self) -> None:
        """Keep one connection open for ever: after each loss, which is logged, wait and connect again. Further failures are not logged."""
        loop = asyncio.get_running_loop()
        backoff, reported = Backoff(first=0.2, most=10.0, steady=30.0), False
        while True:
            self._state = "starting"
            self._settled.clear()
            connection = self._connecting = asyncio.create_task(self._connection(reported=reported))
            began = loop.time()
            try:
                await asyncio.wait([connection], timeout=START)
                if self.here:
                    await asyncio.wait([connection])
            finally:
                lasted, was_here = loop.time() - began, self.here
                self._client, self.tried, self._state = None, True, "away"
                self._settled.set()
                for call in self._calls:
                    call.cancel()
                await _cancel(connection)
            if was_here or not reported:
                log.warning("tool server is away", extra={"fields": {"server": self.label, "why": _cause(connection)}})
                reported = True
            backoff.lost(lasted)
            await backoff.rest()

    async def _connection(self, *, reported: bool) -> None:
        """Run one connection until it is lost; then it raises, or returns. `reported`: a loss was logged, so the reconnection is, too."""
        await asyncio.to_thread(import_module, "mcp")  # half a second, once
        from mcp import Client  # noqa: PLC0415 - an extra; and half a second for nothing where none is declared

        async with self._transport() as streams, Client(streams, cache=None, message_handler=self._on_message) as client:
            listening = asyncio.create_task(self._listen(client))
            try:
                await self._list(client)
                self._client, self.tried, self._state = client, True, "here"
                self._settled.set()
                if reported:
                    log.info("tool server is back", extra={"fields": {"server": self.label, "tools": len(self.known)}})
                while True:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LISTING_INTERVAL_S):
                            await self._doubt.wait()
                    self._doubt.clear()
                    await self._list(client)
                    if listening.done():
                        await _cancel(listening)
                        listening = asyncio.create_task(self._listen(client))
            finally:
                await _cancel(listening)

    @asynccontextmanager
    async def _transport(self) -> AsyncGenerator[Any, None]:
        """Yield the streams to the server as a transport of the library; they are closed when the block ends."""
        declared = self.declared
        if isinstance(declared.mcp, tuple):
            from mcp import StdioServerParameters, stdio_client  # noqa: PLC0415

            command, *words = declared.mcp
            environment = {str(name): value.value for name, value in declared.env.items()}
            # Its output beside its answers is not ours to show: it may hold secrets.
            with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: ASYNC230, PTH123 - no file waits there
                async with stdio_client(StdioServerParameters(command=command, args=list(words), env=environment), nowhere) as streams:
                    yield self._watched(*streams)
        else:
            import httpx2  # noqa: PLC0415
            from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415

            headers = {"accept-encoding": "identity"}
            if declared.token is not None:
                headers["authorization"] = f"Bearer {declared.token.value}"
            # A stream may be silent for long; requests have deadlines of their own.
            limits = httpx2.Timeout(START, read=10 * LISTING_INTERVAL_S)
            proxy = declared.egress.proxy_to(urlsplit(str(declared.mcp)).hostname or "")
            tls = await asyncio.to_thread(tls_context, declared.egress.ca)
            way = httpx2.Proxy(proxy.url, ssl_context=tls if proxy.tls else None) if proxy is not None else None
            async with (
                httpx2.AsyncClient(
                    headers=headers, timeout=limits, trust_env=False, event_hooks={"response": [bounded]}, proxy=way, verify=tls
                ) as http,
                streamable_http_client(str(declared.mcp), http_client=http) as streams,
            ):
                yield self._watched(*streams)

    def _watched(self, read: Any, write: Any) -> Any:
        return nullcontext((_Watched(read, self._doubt), write))  # the code that opened the streams closes them

    async def _listen(self, client: "Client") -> None:
        """Have the tools listed again at each change that the server reports in a stream of its own (protocol 2026-07-28 and later)."""
        from mcp import MCPError  # noqa: PLC0415
        from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost  # noqa: PLC0415

        # If the stream is lost, or the server has none, it is asked every LISTING_INTERVAL_S seconds.
        with suppress(ListenNotSupportedError, SubscriptionLost, MCPError, TimeoutError):
            async with client.listen(tools_list_changed=True) as events:
                async for _ in events:
                    self._doubt.set()

    async def _on_message(self, message: object) -> None:
        """Have the tools listed again if this message reports a change of them (protocols before 2026-07-28)."""
        if type(message).__name__ == "ToolListChangedNotification":
            self._doubt.set()

    async def _list(self, client: "Client") -> None:
        found: dict[str, ToolSpec] = {}
        async with asyncio.timeout(LISTING):
            cursor: str | None = None
            for _ in range(MAX_PAGES):
                page = await client.list_tools(cursor=cursor)
                for tool in page.tools:
                    if len(found) < MAX_NAMES and (spec := _spec(tool)) is not None:
                        found.setdefault(spec.name, spec)
                if (cursor := page.next_cursor) is None:
                    break
        # Sorted by name: tools stand at the beginning of a prompt, and another order is a cold prompt cache.
        found = {name: found[name] for name in sorted(found)[:MAX_TOOLS]}
        if found != self.known:
            self.known = found
            self._names |= set(list(found)[: max(0, MAX_NAMES - len(self._names))])
            log.info("tools of a server", extra={"fields": {"server": self.label, "tools": len(found)}})

    async def call(self, name: str, arguments: JsonObject) -> tuple[Json, bool]:
        """Run a call on the server, and return (its result, true if that is an error), without a time limit but PATIENCE to connect.
        Raises ToolError if the server is away, goes away, refuses the call, or sends a result that cannot be read.
        """
        if self._state == "starting":
            await self._await_attempt()
        if self._client is None:
            raise ToolError("The server of this tool cannot be reached just now.")
        call = asyncio.create_task(_call_tool(self._client, name, arguments))
        self._calls.add(call)
        call.add_done_callback(self._forget_call)
        try:
            await asyncio.wait([call])
        finally:
            call.cancel()  # if the caller has left, the server gets a cancellation
        if call.cancelled():
            raise ToolError(GONE)
        if (error := call.exception()) is None:
            return call.result()
        self._doubt.set()
        raise _tool_error(error) from None

    def _forget_call(self, call: asyncio.Task[tuple[Json, bool]]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # its caller may have left

    async def _await_attempt(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._settled.wait()


class _Watched:
    """A wrapper of a stream that sets an event when the stream ends or fails."""

    def __init__(self, stream: Any, ended: asyncio.Event) -> None:
        self._stream = stream
        self._ended = ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await anext(self._stream)
        except BaseException:
            self._ended.set()
            raise

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> bool | None:
        return await self._stream.__aexit__(*error)


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait up to ENDING seconds for its end. Its error is dropped."""
    task.cancel()
    await asyncio.wait([task], timeout=ENDING)
    if task.done() and not task.cancelled():
        task.exception()


def _spec(tool: Any) -> ToolSpec | None:
    """Return an MCP tool as the model sees it; None if providers refuse its name or schema."""
    schema = cast("JsonObject", mended(tool.input_schema))
    if not re.fullmatch(TOOL_NAME, tool.name) or schema.get("type") != "object":
        return None
    if deeper(schema, MAX_DEPTH) or len(json.dumps(schema)) > MAX_SCHEMA_BYTES:
        return None
    return ToolSpec(tool.name, repaired(tool.description or tool.name)[:MAX_DESCRIPTION_CHARS], schema)


async def _call_tool(client: "Client", name: str, arguments: JsonObject) -> tuple[Json, bool]:
    result = await client.call_tool(name, dict(arguments))
    if result.structured_content is not None and not result.is_error:
        return mended(cast("Json", result.structured_content)), False
    said = [(block.type, getattr(getattr(block, "resource", block), "text", None)) for block in cast("list[Any]", result.content)]
    texts = [repaired(text) if isinstance(text, str) else f"[{kind}, not shown]" for kind, text in said]
    return "\n".join(texts), bool(result.is_error)


def _tool_error(error: BaseException) -> ToolError:
    """Return the error that the model reads, without the server's own sentence, which may quote the call."""
    from mcp import MCPError  # noqa: PLC0415
    from mcp.types import CONNECTION_CLOSED  # noqa: PLC0415

    if isinstance(error, MCPError) and error.code != CONNECTION_CLOSED:
        return ToolError(f"The server of this tool refused the call (code {error.code}).")
    return ToolError(GONE if isinstance(error, MCPError) else "The server of this tool gave no result that can be read.")


def _cause(connection: asyncio.Task[None]) -> str:
    """Return why a connection ended: the name of its exception, or `timeout` without one."""
    error = connection.exception() if connection.done() and not connection.cancelled() else None
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return type(error).__name__ if error is not None else "timeout"
