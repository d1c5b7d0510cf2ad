"""The tools of a generation: tool sets, each loaded once in this process or in others, and tool servers."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from router.config.declaration import Route
from router.config.document import Scalar
from router.config.tools import ToolSetEntry
from router.errors import Misfit, Place
from router.generation.construction import Construction
from router.toolbox import AskableRoute, Grant, IsolatedTool, McpServer, ProcessSource, Routes, Tool, Toolbox, ToolProcesses, ToolSet
from router.value import replace

T = TypeVar("T")


class LoadedTools:
    """The loaded tool sets of all routes. A file that every route isolates is loaded in processes of its own only."""

    def __init__(self, parts: Construction) -> None:
        self._parts = parts
        entries = [entry for route in parts.declaration.routes.routes.values() for entry in route.tool_sets]
        apart = {entry.key: entry for entry in entries if entry.isolate}
        self._isolated = {key: made for key, one in apart.items() if (made := self._processes(one))}
        outside = {name for name, _ in apart} - {entry.use for entry in entries if not entry.isolate}
        files = parts.declaration.tools.items()
        self._sets = {name: made for name, node in files if name not in outside and (made := self._tool_set(node))}
        self.asks = any(kind is Routes for made in self._sets.values() for tool in made.tools for _, kind in tool.parameters.supplied)
        """True if some tool may ask routes."""
        self.askable: dict[str, AskableRoute] = {}
        """Name or alias of a chat route → what a tool needs to ask that route; complete once all routes are compiled, if some tool `asks`."""
        self._empty: dict[float, Toolbox] = {}
        """Seconds in which a call must end → the toolbox that all routes without tools share."""

    @property
    def opened(self) -> tuple[ToolSet | ToolProcesses, ...]:
        """The loaded tool sets and the process pools of isolated ones; all of them have to be closed."""
        return (*self._sets.values(), *self._isolated.values())

    def box(self, name: str, route: Route) -> Toolbox:
        """Return the tools of a route, of its files and servers. Two functions of one name from different files add a complaint."""
        limit = route.timeout.tool
        if not route.tools:
            if (empty := self._empty.get(limit)) is None:
                empty = self._empty[limit] = Toolbox((), limit)
            return empty
        approve: set[str] = set()
        granted: dict[str, tuple[str, Tool | IsolatedTool]] = {}
        for entry in route.tool_sets:
            made = self._isolated.get(entry.key) if entry.isolate else self._sets.get(str(entry.use))
            for tool in made.tools if made else ():
                first, _ = granted.setdefault(tool.spec.name, (entry.use, tool))
                if first != entry.use and entry.use.place:
                    found = f"`{name}` gets two tools named `{tool.spec.name}`: from {first} and from {entry.use}"
                    self._parts.complain(entry.use.place, found)
                elif entry.approve == "always":
                    approve.add(tool.spec.name)
        functions = tuple(tool for _, tool in granted.values())
        return Toolbox(functions, limit, self._servers(route), frozenset(approve), self.askable)

    def _servers(self, route: Route) -> list[Grant]:
        """Return the grants of a route's tool servers, without invalid ones (complaints). A server declared as before is taken over."""
        grants: list[Grant] = []
        kept = self._parts.kept.tool_servers
        for declared in route.tool_servers:
            unrestricted = replace(declared, only=None, approve="never")
            known = (one for one in (*kept, *self._parts.before.tool_servers) if one.declared == unrestricted and not one.closed)
            try:
                server = next(known, None) or McpServer(unrestricted)
            except Misfit as misfit:
                self._parts.complain((declared.mcp[0] if isinstance(declared.mcp, tuple) else declared.mcp).place, misfit.message)
                continue
            if server not in kept:
                kept.append(server)
            only = None if declared.only is None else frozenset(map(str, declared.only))
            grants.append(Grant(server, only, approve=declared.approve == "always"))
        return grants

    def _tool_set(self, named: Scalar) -> ToolSet | None:
        load, digest = self._parts.ground.load, self._parts.declaration.digest
        return self._loaded(named.text, named.source, named.place, lambda text, path: load(named.text, text, path, digest))

    def _processes(self, declared: ToolSetEntry) -> ToolProcesses | None:
        name, environment = declared.use, {str(name): value.value for name, value in declared.env.items()}
        source = partial(ProcessSource, str(name), env=environment, loading=self._parts.ground.loading)
        return self._loaded(str(name), name.source or name, name.place, lambda text, path: ToolProcesses(source(text, path)))

    def _loaded(self, name: str, source: str, place: Place | None, load: Callable[[str, Path], T]) -> T | None:
        """Return what `load` makes of a tool set's text and path; None, after a complaint, if there is no such file or it is invalid."""
        texts, file = self._parts.texts, f"tools/{name}.py"
        if file not in texts:
            hint = self._parts.declaration.complaints.file_meant(name, "tools/", ".py")
            self._parts.complain(place, f"there is no tools/{source}.py{hint}")
            return None
        try:
            return load(texts[file], Path(self._parts.declaration.snapshot.root, file))
        except Misfit as misfit:
            self._parts.complain(misfit.place or place, misfit.message)
            return None
