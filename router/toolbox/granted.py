"""The tools granted to one route: their descriptions for the model, and the calls of them."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from types import MappingProxyType

from router.chat import Ask, Json, JsonObject, ToolSpec
from router.errors import Misfit, ToolError
from router.toolbox.child import asks
from router.toolbox.functions import FAILED, Report, Tool, as_result, called, raised_at, unreported
from router.toolbox.isolated import IsolatedTool
from router.toolbox.mcp import McpServer
from router.toolbox.routes import AskableRoute, Fields, Routes
from router.value import Value

log = logging.getLogger("router.tools")

MAX_ARGUMENTS = 64 * 1024
Work = Callable[[], Awaitable[tuple[object, bool]]]
NOTHING = Ask(model="", messages=())
"""The stand-in for the question of a call that belongs to none."""


class Grant(Value, frozen=True):
    """The tools of an MCP server that a route grants: `only` those, or all if None. `approve`: true if the user has to allow each call."""

    server: McpServer
    only: frozenset[str] | None = None
    approve: bool = False

    def of(self, known: Mapping[str, ToolSpec]) -> dict[str, ToolSpec]:
        """Return those of the known tools (name → tool) that are granted."""
        return {name: spec for name, spec in known.items() if self.only is None or name in self.only}


class Toolbox:
    """The tools granted to one route, and their calls. If several have one name, the first counts: functions, then servers.
    limit: seconds in which a call must end
    approve: names of the functions whose calls the user has to allow
    routes: the routes that a tool may ask, by id and alias; known in full once the configuration is built
    """

    def __init__(
        self,
        tools: Iterable[Tool | IsolatedTool],
        limit: float,
        grants: Sequence[Grant] = (),
        approve: Collection[str] = (),
        routes: Mapping[str, AskableRoute] = MappingProxyType({}),
    ) -> None:
        self._routes = routes
        self._approve = frozenset(approve)
        self._limit = limit
        self._tools = {tool.spec.name: tool for tool in tools}
        self._grants = grants
        self._specs = tuple(tool.spec for tool in self._tools.values())

    def __bool__(self) -> bool:
        return bool(self._tools or self._grants)

    def __contains__(self, name: object) -> bool:
        """Return whether a function of this name is granted, or a tool of this name that its server lists or has listed before."""
        return name in self._tools or any(name in one.server and (one.only is None or name in one.only) for one in self._grants)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """Return the descriptions of the functions, and of the granted tools in the latest list of each MCP server."""
        if not self._grants:
            return self._specs
        return self._with({one: one.server.known for one in self._grants})

    async def offered(self) -> tuple[ToolSpec, ...]:
        """Return the tools for one answer: the functions, and the granted tools in each server's latest list.
        Waits up to 3 s for servers that connect for the first time.
        """
        if not self._grants:
            return self._specs
        known = await asyncio.gather(*(one.server.tools() for one in self._grants))
        return self._with(dict(zip(self._grants, known, strict=True)))

    def _with(self, known: Mapping[Grant, Mapping[str, ToolSpec]]) -> tuple[ToolSpec, ...]:
        found = {spec.name: spec for spec in self._specs}
        for grant, tools in known.items():
            for name, spec in grant.of(tools).items():
                found.setdefault(name, spec)
        return tuple(found.values())

    @property
    def may_ask(self) -> bool:
        """Return whether a call of any of the tools may need the user's approval, by a declaration or by a tool's own condition."""
        asking = any((tool.asking if isinstance(tool, IsolatedTool) else tool.condition) for tool in self._tools.values())
        return asking or bool(self._approve) or any(grant.approve for grant in self._grants)

    async def asks(self, name: str, given: JsonObject) -> bool:
        """Return whether the user has to allow this call: its tool set or grant is declared so, or the tool's own condition says so.
        Also true if the condition fails or takes too long. False for an unknown tool, and by a condition for arguments that do not fit.
        """
        tool = self._tools.get(name) or self._grant(name)
        if tool is None or isinstance(tool, Grant):
            return tool is not None and tool.approve
        if name in self._approve:
            return True
        if isinstance(tool, Tool):
            return asks(tool, given)
        if not tool.asking:
            return False
        try:
            async with asyncio.timeout(self._limit):
                return await tool.processes.asks(name, given, self._limit)
        except TimeoutError:
            return True

    def _grant(self, name: str) -> Grant | None:
        """Return the first grant that includes a tool of this name and whose server's latest list has it; None without one."""
        return next((one for one in self._grants if name in one.of(one.server.known)), None)

    @property
    def supplied(self) -> dict[str, str]:
        """Return function → `Routes` or `Fields`: the type of a parameter that the router fills in. Functions without one are left out."""
        return {name: kind.__name__ for name, tool in self._tools.items() if isinstance(tool, Tool) for _, kind in tool.parameters.supplied}

    @property
    def askers(self) -> tuple[str, ...]:
        """Return the names of the functions that ask other routes."""
        if not self._tools:  # most routes
            return ()
        tools = (tool for tool in self._tools.values() if isinstance(tool, Tool))
        return tuple(tool.spec.name for tool in tools if any(kind is Routes for _, kind in tool.parameters.supplied))

    async def run(self, name: str, given: JsonObject, report: Report = unreported, ask: Ask = NOTHING) -> tuple[Json, bool]:
        """Run a call, and return (its result, true if that is an error). Raises only when it is cancelled.
        Unknown tools, invalid arguments, exceptions (logged) and calls over the time limit are results that are errors.
        report: gets the values that a tool yields before its end
        ask: the question that the call belongs to; attempts of answers that the tool asks for are added to its `trail`
        """
        try:
            work = self._work(name, given, report, ask)
            if isinstance(work, str):
                return work, True
            async with asyncio.timeout(self._limit):
                value, is_error = await work()
            return as_result(value, is_error=is_error)
        except ToolError as error:
            return error.public, True
        except TimeoutError:
            return f"The tool took longer than {self._limit:g} seconds and was stopped.", True
        except Exception as error:  # noqa: BLE001 - a tool is the operator's code: whatever it raises, the answer goes on
            log.warning("tool failed", extra={"fields": {"tool": name, "error": type(error).__name__, "at": raised_at(error)}})
            return FAILED, True

    def _work(self, name: str, given: JsonObject, report: Report, ask: Ask) -> Work | str:
        """Return a function that does the work of a call, or the sentence that refuses the call."""
        tool = self._tools.get(name) or self._grant(name)
        if tool is None:
            return f"There is no tool of this name. There is: {', '.join(spec.name for spec in self.specs)}."
        try:
            text = json.dumps(given, ensure_ascii=False)
        except RecursionError:
            return "Invalid arguments: they are nested too deeply."
        if len(text) > MAX_ARGUMENTS:
            return "Invalid arguments: they are too long."
        if isinstance(tool, Grant):
            return partial(tool.server.call, name, given)
        if isinstance(tool, IsolatedTool):
            return partial(tool.processes.call, name, given, self._limit, report)
        try:
            return partial(self._call_function, tool, tool.parameters.read(text), report, ask)
        except Misfit as misfit:
            return f"Invalid arguments: {misfit.message}"

    async def _call_function(self, tool: Tool, values: dict[str, object], report: Report, ask: Ask) -> tuple[object, bool]:
        if not tool.parameters.supplied:
            return await called(tool.function, values, report), False
        async with aclosing(Routes(self._routes, ask)) as routes:
            values |= {name: routes if kind is Routes else Fields(ask.fields) for name, kind in tool.parameters.supplied}
            return await called(tool.function, values, report), False
