"""The tools of a generation: tool sets, each loaded once in this process or in others, and tool servers."""

from dataclasses import replace
from pathlib import Path

from router.config.declaration import Route
from router.config.document import Scalar
from router.config.meant import file_meant
from router.config.tools import ToolServer, ToolSetEntry
from router.config.values import Name
from router.errors import Misfit, Place
from router.generation.construction import Construction
from router.toolbox import AskableRoute, Grant, IsolatedTool, McpServer, ProcessSource, Tool, Toolbox, ToolProcesses, ToolSet


class LoadedTools:
    """The loaded tool sets of all routes. A file that every route isolates is loaded in processes of its own only."""

    def __init__(self, parts: Construction) -> None:
        self._parts = parts
        routes = parts.declaration.routes.routes.values()
        apart = {one.key: one for route in routes for one in route.isolated_sets}
        self._isolated = {key: made for key, one in apart.items() if (made := self._processes(one))}
        inside = {_set_of(one) for route in routes for one in route.tools if not isinstance(one, ToolServer) and not _isolated(one)}
        outside = {name for name, _ in apart} - inside
        files = parts.declaration.tools.items()
        self._sets = {name: made for name, node in files if name not in outside and (made := self._tool_set(node))}
        self.askable: dict[str, AskableRoute] = {}
        """Name or alias of a chat route → what a tool needs to ask that route; complete once all routes are compiled."""

    @property
    def opened(self) -> tuple[ToolSet | ToolProcesses, ...]:
        """The loaded tool sets and the process pools of isolated ones; all of them have to be closed."""
        return (*self._sets.values(), *self._isolated.values())

    def box(self, name: str, route: Route) -> Toolbox:
        """Return the tools of a route, of its files and servers. Two functions of one name from different files add a complaint."""
        approve: set[str] = set()
        granted: dict[str, tuple[str, Tool | IsolatedTool]] = {}
        for entry in route.tools:
            if isinstance(entry, ToolServer):
                continue
            set_name = _set_of(entry)
            made = self._isolated.get(entry.key) if isinstance(entry, ToolSetEntry) and _isolated(entry) else self._sets.get(str(set_name))
            for tool in made.tools if made else ():
                first = granted.setdefault(tool.spec.name, (set_name, tool))
                if first[0] != set_name and set_name.place:
                    self._parts.complain(
                        set_name.place, f"`{name}` gets two tools named `{tool.spec.name}`: from {first[0]} and from {set_name}"
                    )
                elif isinstance(entry, ToolSetEntry) and entry.approve == "always":
                    approve.add(tool.spec.name)
        functions = tuple(tool for _, tool in granted.values())
        return Toolbox(functions, route.timeout.tool, self._servers(route), frozenset(approve), self.askable)

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
        if (found := self._file(named.text, named.source, named.place)) is None:
            return None
        try:
            return self._parts.ground.load(named.text, *found, self._parts.declaration.digest)
        except Misfit as misfit:
            self._parts.complain(misfit.place or named.place, misfit.message)
            return None

    def _processes(self, declared: ToolSetEntry) -> ToolProcesses | None:
        if (found := self._file(str(declared.use), declared.use.source or declared.use, declared.use.place)) is None:
            return None
        environment = {str(name): value.value for name, value in declared.env.items()}
        try:
            return ToolProcesses(ProcessSource(str(declared.use), *found, environment, self._parts.ground.loading))
        except Misfit as misfit:
            self._parts.complain(misfit.place or declared.use.place, misfit.message)
            return None

    def _file(self, name: str, source: str, place: Place | None) -> tuple[str, Path] | None:
        """Return (text, path) of a tool set's file; None without one (a complaint, with the name as written, `source`, was added)."""
        texts, file = self._parts.texts, f"tools/{name}.py"
        if file not in texts:
            known = [text.removeprefix("tools/").removesuffix(".py") for text in texts if text.startswith("tools/")]
            self._parts.complain(place, f"there is no tools/{source}.py{file_meant(name, known, '.py')}")
            return None
        return texts[file], Path(self._parts.declaration.snapshot.root, file)


def _set_of(entry: Name | ToolSetEntry) -> Name:
    """Return the name of the tool set that an entry of `tools` grants."""
    return entry.use if isinstance(entry, ToolSetEntry) else entry


def _isolated(entry: Name | ToolSetEntry) -> bool:
    """Return whether an entry of `tools` wants its functions run in processes of their own."""
    return isinstance(entry, ToolSetEntry) and entry.isolate is not None
