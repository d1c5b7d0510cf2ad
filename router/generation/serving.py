"""A generation that serves: its compiled routes, and what it opened."""

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence

from router.callers import ANYBODY, Callers
from router.config.declaration import Declaration, Route
from router.config.price import Price
from router.config.server import Server
from router.embed import Embedder
from router.errors import UnknownModel
from router.events import Answer
from router.generation.construction import Carryover
from router.generation.targets import name_between_replicas
from router.quotas import Quota
from router.targets import Post, Target
from router.toolbox import Toolbox, ToolProcesses, ToolSet
from router.value import Mutable, Value, field

OTHER_KIND = {
    "chat": "model: this model answers chats and makes no embeddings. Ask it at POST /v1/chat/completions.",
    "embeddings": "model: this model makes embeddings and answers no chats. Ask it at POST /v1/embeddings.",
}
"""Kind of the requested route → the error sentence for a request of the other kind."""


class Compiled(Value, frozen=True):
    """A compiled route, ready to answer. Made by RouteCompiler. `quota`: its own limit; None without one.

    answer: the function that answers a chat whose question has its `session`; it raises BadAsk if the route is for embeddings
    targets: those of its targets that may be asked; skipped ones are left out
    """

    name: str
    declared: Route
    answer: Answer
    targets: tuple[Target, ...]
    toolbox: Toolbox
    granted: Container[str]
    """The names of its tools: the toolbox, or an empty tuple without tools, which Python finds empty without a call."""
    models: Mapping[str, str]
    """Target → its model's name, without targets that are skipped."""
    quota: Quota | None
    steps: tuple[str, ...]
    """The names of its pipeline's steps, outermost first."""
    stand_ins: Mapping[str, Post]
    """Script → its position, for scripts with a model before them, even a skipped one: they stand in for that model."""
    headers: frozenset[str] = frozenset()
    """The headers of a request that its conditions look at, in lower case."""
    conditional: bool = False
    """True if conditions test facts about the request besides the conversation: its own, or those of routes that its tools may ask."""
    embed: Embedder | None = None
    """The function that answers a question for embeddings; None if the route is of another kind."""
    scripted: bool = False
    """True if it answers chats and all its declared targets are scripts, skipped ones included."""


class Generation(Mutable):
    """A configuration that serves: its routes, callers and prices. Requests hold it to their end; `close` releases what it opened.

    aliases: alias → route
    skipped: optional target → why it is skipped
    kept: the state that the next generation may take over
    """

    digest: str
    declaration: Declaration
    server: Server
    routes: Mapping[str, Compiled]
    aliases: Mapping[str, str]
    skipped: Mapping[str, str]
    _sets: Sequence[ToolSet | ToolProcesses] = ()
    kept: Carryover = field(default_factory=Carryover)
    prices: dict[str, Price] = field(default_factory=dict[str, Price])
    """Target → its price; targets without a known price are left out."""
    _warming: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    callers: Callers = ANYBODY
    requests: int = 0
    """The number of requests that hold it: each adds itself, and calls `leave` at its end."""
    _unused: "Callable[[Generation], object] | None" = None
    """Called with it once no request holds it; None while it serves."""
    named: Mapping[str, Compiled] = field(default_factory=dict[str, Compiled])
    """Id or alias → the route."""
    usual: str = ""
    """The route for a chat that names none: the first one that answers chats; without such a route, the first."""

    def __post_init__(self) -> None:
        self.named = {**self.routes, **{alias: self.routes[name] for alias, name in self.aliases.items()}}
        chats = (name for name, route in self.routes.items() if route.declared.kind == "chat")
        self.usual = next(chats, next(iter(self.routes), ""))

    def route(self, model: str) -> Compiled:
        """Return the compiled route of this id or alias. Raises UnknownModel if there is none; the error does not repeat the id."""
        found = self.named.get(model)
        if found is None:
            raise UnknownModel
        return found

    def leave(self) -> None:
        """Count a request off that held the generation."""
        self.requests -= 1
        if self._unused is not None and not self.requests:
            self._unused(self)

    def retire(self, unused: "Callable[[Generation], object]") -> None:
        """Have `unused` called with this generation, which serves no new requests, once no request holds it; at once if none does."""
        self._unused = unused
        if not self.requests:
            unused(self)

    def start(self) -> None:
        """Start warming up slow targets, Redis, hints and tool servers in the background. Returns at once; see `ready`."""
        warmers = {target.warm for route in self.routes.values() for target in route.targets if target.warm}
        self._warming |= {asyncio.create_task(warm()) for warm in warmers}
        if self.kept.redis is not None:
            self.kept.redis.start()
        if self.kept.hints is not None:
            self.kept.hints.keep({name_between_replicas(target) for target in self.declaration.routes.targets.values()})
            self.kept.hints.start()
        for server in self.kept.tool_servers:
            server.start()

    @property
    def ready(self) -> bool:
        """Return whether every warm-up has ended without an error, and every tool server has been tried, reached or not."""
        warm = all(task.done() and not task.cancelled() and task.exception() is None for task in self._warming)
        return warm and all(server.tried for server in self.kept.tool_servers)

    async def close(self) -> None:
        """End warm-ups, and close what this generation opened; not tool servers, Redis and its logs while another generation holds them."""
        for task in self._warming:
            task.cancel()
        await asyncio.gather(*self._warming, return_exceptions=True)
        self.discard()
        await asyncio.gather(*(server.close() for server in self.kept.tool_servers))
        if self.kept.redis is not None:
            if self.kept.logs is not None and not self.kept.redis.held:
                await self.kept.logs.close()
            await self.kept.redis.close()
            if self.kept.hints is not None and self.kept.redis.closed:
                await self.kept.hints.close()

    def discard(self) -> None:
        """Close the tool sets, and release tool servers and Redis. Enough to close a generation that was never started."""
        for tool_set in self._sets:
            tool_set.close()
        for server in self.kept.tool_servers:
            server.release()
        if self.kept.redis is not None:
            self.kept.redis.release()
