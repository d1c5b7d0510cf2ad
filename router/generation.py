"""A generation: one loaded configuration, compiled, frozen, named by the hash of its text.

`build(declaration)` is the whole way from a declaration to something that answers; `router check` takes it too, and
closes what it built. All complaints of a load are reported at once.
"""

import asyncio
import hashlib
import inspect
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import TypeVar, cast

from router.cache import Approvals, LocalStore, Memory, PickupTiming, Shared
from router.callers import ANYBODY, Callers, Jwks, Sources, callers
from router.chat import Ask
from router.config.binding import UNFIT, Complaints, bind, bind_fields, built, file_meant, step_meant
from router.config.declaration import BreakerConfig as BreakerDeclared
from router.config.declaration import Cache, Declaration, Member, Retry, Route, StepLine, named
from router.config.declaration import TargetConfig as Declared
from router.config.document import Scalar
from router.config.network import Egress
from router.config.options import public_headers
from router.config.price import Price
from router.config.server import Server
from router.config.tool_servers import ToolServer
from router.config.tool_sets import ToolSetEntry
from router.config.values import Name
from router.embed import Embedder, Split
from router.errors import BadAsk, ConfigError, Misfit, Place, UnknownModel
from router.events import Answer, Events, Step
from router.failover import (
    NO_HINT,
    Candidate,
    Clock,
    FailureRules,
    Hint,
    Listener,
    Load,
    Pool,
    Switches,
    TargetHealth,
    TargetRefusals,
    embedding,
    failover,
    new_health,
)
from router.garbage import uncollected
from router.quotas import CountStore, Local, Quota, RedisCounts
from router.shared import Hints, Logs, Redis, RedisStore, RedisTiming
from router.signature import record_of
from router.steps import FROM_ROUTE, STEPS
from router.steps.prompt import unsteady
from router.targets import Connections, Learned, Post, Target, open_target, past_declared_way, split_of
from router.toolbox import (
    LOADING_S,
    AskableRoute,
    Grant,
    IsolatedTool,
    McpServer,
    ProcessSource,
    Tool,
    Toolbox,
    ToolProcesses,
    ToolSet,
    load,
)

T = TypeVar("T")
OTHER_KIND = {
    "chat": "model: this model answers chats and makes no embeddings. Ask it at POST /v1/chat/completions.",
    "embeddings": "model: this model makes embeddings and answers no chats. Ask it at POST /v1/embeddings.",
}
"""Kind of a route → the refusal of a request of another kind."""

EXTRAS = {"otel": "opentelemetry.sdk"}
"""Keys of `server` → the package that they need, which the extra of the same name installs."""
MODEL_ID = re.compile(r"[A-Za-z0-9._:/@-]{1,128}")


@dataclass(frozen=True, slots=True)
class Compiled:
    """A route, ready to answer."""

    name: str
    declared: Route
    answer: Answer
    targets: tuple[Target, ...]
    toolbox: Toolbox
    models: Mapping[str, str]
    """Target → its model's name."""
    quota: Quota | None
    steps: tuple[str, ...]
    """The words of its pipeline, outermost first."""
    stand_ins: Mapping[str, Post]
    """Scripts that are asked only after a model, even a skipped one: no model gave an answer of theirs."""
    headers: frozenset[str] = frozenset()
    """The headers that its conditions name, in lower case."""
    embed: Embedder | None = None
    """The function that answers a question for embeddings; None if the route is of another kind."""
    scripted: bool = False
    """True if all targets that it declares are scripts, skipped ones included."""


@dataclass(slots=True)
class Carryover:
    """State that outlives a generation: connections, the health of targets with the declaration it was seen under, operators' switches.

    The next generation takes over the state of what it declares in the same way, and drops the rest. Operators' switches always stay.
    """

    connections: Connections = field(default_factory=Connections)
    local: Local = field(default_factory=Local)
    """Use of every limit, as counted in this process. A limit that is declared otherwise starts anew: its keys are others."""
    shared: RedisCounts | None = None
    """Use of every limit, counted in Redis for all replicas."""
    loads: dict[str, tuple[Declared, Load]] = field(default_factory=dict[str, tuple[Declared, Load]])
    learned: dict[str, tuple[Declared, Learned]] = field(default_factory=dict[str, tuple[Declared, Learned]])
    """Target → what its refusals taught, with the declaration that it was asked under."""
    refusals: dict[str, tuple[Declared, TargetRefusals]] = field(default_factory=dict[str, tuple[Declared, TargetRefusals]])
    turned: list[Listener] = field(default_factory=list[Listener])
    """Functions that are called each time that a target begins to refuse every question, or answers again."""
    switches: Switches = field(default_factory=Switches)
    jwks: Sources = field(default_factory=dict[tuple[str, Egress], Jwks])
    health: dict[tuple[str, BreakerDeclared, Retry], tuple[Declared, TargetHealth]] = field(
        default_factory=dict[tuple[str, BreakerDeclared, Retry], tuple[Declared, TargetHealth]]
    )
    redis: Redis | None = None
    """The Redis that replicas share; None if `server.redis` is not declared."""
    departed: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """Functions that are called each time that Redis goes away."""
    hints: Hints | None = None
    """Open circuit breakers, shared between replicas."""
    logs: Logs | None = None
    """Logs that this replica writes for the others, and reads of theirs."""
    tool_servers: list[McpServer] = field(default_factory=list[McpServer])
    """Each server once, however many routes grant its tools."""
    memory: Memory = field(default_factory=Memory)
    """The model calls whose tools clients run."""
    approvals: Approvals = field(default_factory=Approvals)
    """The ids under which users are asked to allow calls."""
    stores: dict[str, LocalStore] = field(default_factory=dict[str, LocalStore])
    """Route → its cached answers. Those of another configuration have other keys, and expire."""

    @property
    def counts(self) -> CountStore:
        """The store in which limits are counted."""
        return self.shared or self.local


@dataclass(slots=True)
class Generation:
    """A configuration that serves. Requests hold it to their end; `close` releases what it opened, except for `kept`."""

    digest: str
    declaration: Declaration
    server: Server
    routes: Mapping[str, Compiled]
    aliases: Mapping[str, str]
    skipped: Mapping[str, str]
    _sets: Sequence[ToolSet | ToolProcesses] = ()
    kept: Carryover = field(default_factory=Carryover)
    prices: dict[str, Price] = field(default_factory=dict[str, Price])
    """Target → its price, if known."""
    _warming: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    callers: Callers = ANYBODY

    def route(self, model: str) -> Compiled:
        """Return the route of this id or alias. Raises UnknownModel without one; the id is never repeated to the client."""
        if not MODEL_ID.fullmatch(model):
            raise UnknownModel
        found = self.routes.get(self.aliases.get(model, model))
        if found is None:
            raise UnknownModel
        return found

    @property
    def usual(self) -> str:
        """The route for a chat that names none: the first one that answers chats."""
        return next((name for name, route in self.routes.items() if route.declared.kind == "chat"), next(iter(self.routes)))

    def start(self) -> None:
        """Warm up slow targets in the background, while the others serve. Start Redis, hints and tool servers, too."""
        warmers = {target.warm for route in self.routes.values() for target in route.targets if target.warm}
        for warm in warmers:
            self._warming.add(asyncio.create_task(warm()))
        if self.kept.redis is not None:
            self.kept.redis.start()
        if self.kept.hints is not None:
            self.kept.hints.keep({_called(target) for target in self.declaration.routes.targets.values()})
            self.kept.hints.start()
        for server in self.kept.tool_servers:
            server.start()

    @property
    def ready(self) -> bool:
        """True if every target answers as quickly as it ever will, and every tool server was reached, or could not be."""
        if not all(server.tried for server in self.kept.tool_servers):
            return False
        return all(task.done() and not task.cancelled() and task.exception() is None for task in self._warming)

    async def close(self) -> None:
        """Close everything that was opened."""
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
        """Release a generation that was never started."""
        for tool_set in self._sets:
            tool_set.close()
        for server in self.kept.tool_servers:
            server.release()
        if self.kept.redis is not None:
            self.kept.redis.release()


@dataclass(frozen=True, slots=True)
class Ground:
    """The environment of a generation: functions that open targets, split embeddings and load tool files, the clock, chance, and times.

    loading: the seconds in which a tool file in a process of its own must have been loaded
    """

    open: Callable[[str, Declared, float, Connections, Learned], Target] = open_target
    clock: Clock = time.monotonic
    chance: Callable[[], random.Random] = random.Random
    load: Callable[[str, str, Path, str], ToolSet] = load
    split: Callable[[str, Declared, float, Connections], Split] = split_of
    redis: RedisTiming = field(default_factory=RedisTiming)
    logs: Callable[[Redis], Logs] = Logs
    pickup: PickupTiming = field(default_factory=PickupTiming)
    loading: float = LOADING_S


@uncollected()
def build(declaration: Declaration, before: Carryover | None = None, ground: Ground | None = None) -> Generation:
    """Return the generation of a declaration, with the state kept from the one before.

    Raises ConfigError with every complaint, the declaration's own included.
    """
    _check_extras(declaration)
    builder = _Builder(declaration, before or Carryover(), ground or Ground())
    routes = {name: made for name, route in declaration.routes.routes.items() if (made := builder.route(name, route))}
    known = builder.callers()
    if found := declaration.complaints.in_order():
        builder.close()
        raise ConfigError(found)
    if builder.kept.redis is not None:
        builder.kept.redis.hold()
    for server in builder.kept.tool_servers:
        server.hold()
    aliases = {str(alias): str(name) for name, route in declaration.routes.routes.items() for alias in route.aliases}
    named = {str(name): route for name, route in routes.items()}
    sets = (*builder.sets.values(), *builder.isolated.values())
    server = declaration.routes.server
    return Generation(
        declaration.digest, declaration, server, named, aliases, declaration.skipped, sets, builder.kept, builder.prices(), callers=known
    )


def _check_extras(declaration: Declaration) -> None:
    for key, package in EXTRAS.items():
        if getattr(declaration.routes.server, key) is not None and find_spec(package.partition(".")[0]) is None:
            place = Place(declaration.snapshot.routes, 1, 1)
            declaration.complaints.add(place, f"`server.{key}` needs a package that is not here: pip install 'pointsman[{key}]'")


class _Builder:
    """Builds the parts that routes share, each of them once."""

    def __init__(self, declaration: Declaration, before: Carryover, ground: Ground) -> None:
        self._declaration = declaration
        self._ground = ground
        self._before = before
        self.kept = Carryover(before.connections, before.local, switches=before.switches, departed=before.departed, turned=before.turned)
        self._complaints: Complaints = declaration.complaints
        self.kept.redis = self._redis()
        if self.kept.redis is not None:
            same = self.kept.redis is before.redis
            self.kept.shared = before.shared if same and before.shared else RedisCounts(self.kept.redis, before.local)
            self.kept.hints = before.hints if same and before.hints else Hints(self.kept.redis)
            self.kept.logs = before.logs if same and before.logs else ground.logs(self.kept.redis)
        self.kept.memory = Memory(before.memory.local, RedisStore(self.kept.redis, "reasoning") if self.kept.redis else None)
        key = declaration.routes.server.approval_key
        used = RedisStore(self.kept.redis, "approval") if self.kept.redis else None
        self.kept.approvals = before.approvals.under(None if key is None else key.value, used)
        texts = declaration.snapshot.texts
        self._templates = {name.removeprefix("pipelines/"): text for name, text in texts.items() if name.startswith("pipelines/")}
        routes = declaration.routes.routes.values()
        isolated = {one.key: one for route in routes for one in route.isolated_sets}
        self.isolated = {key: made for key, one in isolated.items() if (made := self._tool_processes(one))}
        inside = {str(_set_of(one)) for route in routes for one in route.tools if not isinstance(one, ToolServer) and not _isolated(one)}
        outside = {name for name, _ in isolated} - inside
        self.sets = {name: made for name, node in declaration.tools.items() if name not in outside and (made := self._tool_set(node))}
        self._pipelines = {name: self._pipeline(lines) for name, lines in declaration.pipelines.items()}
        self._warn_of_cold_prompts()
        self._askable: dict[str, AskableRoute] = {}
        """Route, and alias → what a tool that asks it needs; known in full once all routes are made."""
        self._skipped = frozenset(map(str, declaration.skipped))
        self._chance = ground.chance()  # one for all routes: each takes 2.5 KB
        self._targets: dict[tuple[str, float, bool], Target] = {}
        """(Name, seconds that a connection may take, true if its prompt caching is forced off) → the target."""
        for name in declaration.routes.targets:
            if name not in declaration.skipped:
                self._target(name, declaration.routes.defaults.timeout.connect)
        self._warn_of_other_ways_out()

    def close(self) -> None:
        for made in (*self.sets.values(), *self.isolated.values()):
            made.close()

    def prices(self) -> dict[str, Price]:
        """Return target → its price: as declared, else as in the table."""
        return {target.name: target.facts.price for target in self._targets.values() if target.facts.price is not None}

    def callers(self) -> Callers:
        """Return the callers that may ask."""
        try:
            auth, connections = self._declaration.routes.server.auth, self.kept.connections
            return callers(auth, lambda egress: connections.over(egress).fetch, self._before.jwks, self.kept.jwks)
        except Misfit as misfit:
            self._complaints.add(Place(self._declaration.snapshot.routes, 1, 1), misfit.message)
            return ANYBODY

    def route(self, name: str, route: Route) -> Compiled | None:
        """Return a compiled route; None if a part that it needs could not be made (a complaint was added)."""
        skipped = self._declaration.skipped
        uncached = route.prompt_cache == "off"
        opened = {name: self._target(name, route.timeout.connect, uncached=uncached) for name in route.names if name not in skipped}
        targets = tuple(target for target in opened.values() if target is not None)
        if not targets and all(name in skipped for name in route.names):
            lacks = "; ".join(dict.fromkeys(skipped[name] for name in route.names))
            place = route.names[0].place or Place(self._declaration.snapshot.routes, 1, 1)
            self._complaints.add(place, f"`{name}` has no target left, all are optional: {lacks}")
        if route.kind == "embeddings":
            return self._embeddings(name, route, targets) if targets else None
        functions, approve = self._granted(name, route)
        toolbox = Toolbox(functions, route.timeout.tool, self._servers(route), approve, self._askable)
        self._check_supplied(name, route, toolbox)
        pipeline = self._pipelines.get(str(route.pipeline))
        if not targets or pipeline is None:
            return None
        posts = self._posts(route)
        placed = [target if target.at is None else replace(target, answer=target.at(posts[target.name])) for target in targets]
        candidates = {target.name: self._candidate(target, route, posts[target.name]) for target in placed}
        firsts = accumulate((len(pool) for pool in route.pools), initial=0)
        pools = [made for first, pool in zip(firsts, route.pools, strict=False) if (made := _pool(first, pool, candidates, route))]
        answer = failover(pools, FailureRules(route.timeout, route.retry, route.rescue, route.hedge), self._chance)
        inner: list[Step] = [FROM_ROUTE["session"](), FROM_ROUTE["recall"](memory=self.kept.memory)]
        if route.reasoning == "hide":
            inner.append(FROM_ROUTE["reasoning"]())
        inner += pipeline
        if any(route.conditions):
            self._check_images(route, opened)
            inner.append(FROM_ROUTE["when"](conditions=route.conditions))
        if route.cache is not None:
            inner.append(self._cache(name, route, targets, route.cache))
        if toolbox:
            inner.append(FROM_ROUTE["tools"](toolbox=toolbox, max_steps=route.max_steps, approvals=self.kept.approvals))
        if route.max_output is not None:
            inner.append(FROM_ROUTE["ceiling"](tokens=route.max_output))
        for step in reversed(inner):
            answer = step(answer)
        self._askable |= dict.fromkeys((str(name), *map(str, route.aliases)), AskableRoute(answer, toolbox.askers))
        words = tuple(str(line.name) for line in self._declaration.pipelines[str(route.pipeline)])
        models = {target.name: target.model for target in targets}
        quota = self._quota(name, route)
        stand_ins = {target.name: post for target in targets if target.lane == "script" and (post := posts[target.name]).models}
        headers = frozenset(str(header) for one in route.conditions if one for header in one.header or ())
        declared = self._declaration.routes.targets
        scripted = all(known.script is not None for one in route.names if (known := declared.get(one)))  # type: ignore[call-overload]
        return Compiled(str(name), route, answer, targets, toolbox, models, quota, words, stand_ins, headers, scripted=scripted)

    def _check_supplied(self, name: str, route: Route, toolbox: Toolbox) -> None:
        """Complain of a cache over tools whose results depend on more than the question that the cache sees."""
        if route.cache is not None and (supplied := toolbox.supplied):
            tool, kind = next(iter(supplied.items()))
            self._complaints.add(
                next((one.place for one in route.tool_sets if one.place), None) or Place(self._declaration.snapshot.routes, 1, 1),
                f"`{name}` has a `cache`, and its tool `{tool}` takes {kind}: what that says is not in the question that the cache compares. "
                "Leave out `cache`, or the tool set",
            )

    def _quota(self, name: str, route: Route) -> Quota | None:
        return None if route.limit is None else Quota(f"route:{name}", route.limit, self.kept.counts)

    def _embeddings(self, name: str, route: Route, opened: Sequence[Target]) -> Compiled | None:
        """Return a compiled route of kind embeddings.

        Its scripts are asked only if every model before them is skipped: their vectors are of no use among a model's.
        """
        posts = self._posts(route)
        targets = tuple(target for target in opened if target.lane != "script" or not posts[target.name].asked)
        splits: dict[str, Split] = {}
        for target in targets:
            declared = self._declaration.routes.targets[target.name]  # type: ignore[index]
            try:
                splits[target.name] = self._ground.split(target.name, declared, route.timeout.connect, self.kept.connections)
            except Misfit as misfit:
                used = next(one for one in route.names if one == target.name)
                place = (
                    misfit.place or getattr(declared.model, "place", None) or used.place or Place(self._declaration.snapshot.routes, 1, 1)
                )
                self._complaints.add(place, f"`{name}` is of kind embeddings: {misfit.message}")
                return None
        self._warn_of_models(name, route, targets)
        candidates = {target.name: self._candidate(target, route, posts[target.name]) for target in targets}
        firsts = accumulate((len(pool) for pool in route.pools), initial=0)
        pools = [made for first, pool in zip(firsts, route.pools, strict=False) if (made := _pool(first, pool, candidates, route))]
        embed = embedding(pools, splits, FailureRules(route.timeout, route.retry), self._chance)
        models = {target.name: target.model for target in targets}
        toolbox = Toolbox((), route.timeout.tool, [])
        stand_ins = {target.name: post for target in targets if target.lane == "script" and (post := posts[target.name]).models}
        return Compiled(str(name), route, _no_chat, targets, toolbox, models, self._quota(name, route), (), stand_ins, embed=embed)

    def _warn_of_models(self, name: str, route: Route, targets: Sequence[Target]) -> None:
        """Warn of targets of different models: an index that holds the vectors of both finds nothing."""
        declared = self._declaration.routes.targets
        models = {(declared[target.name].base_model or target.model).rpartition("/")[2] for target in targets}  # type: ignore[index]
        if len(models) > 1:
            place = route.names[0].place or Place(self._declaration.snapshot.routes, 1, 1)
            self._complaints.warn(
                place,
                f"the targets of `{name}` are of different models ({', '.join(sorted(models))}), and the vectors of one model mean nothing "
                "to another: let all targets serve one model, and write `base_model` where a deployment has another name",
            )

    def _check_images(self, route: Route, opened: Mapping[Name, Target | None]) -> None:
        """Complain of a target that is asked only about images, and is known not to read them."""
        for pool in route.pools:
            for one in pool:
                target = opened.get(named(one))
                if isinstance(one, Member) and one.when and one.when.has_image and target is not None and target.facts.images is False:
                    self._complaints.add(
                        one.use.place or Place(self._declaration.snapshot.routes, 1, 1),
                        f"`{one.use}` is asked about images alone, and its model is known to read none, so it never is: "
                        "write another target, or `facts: {images: true}` where that is wrong",
                    )

    def _posts(self, route: Route) -> dict[str, Post]:
        """Return the position of each target in a route: the models before it, and which of those are skipped."""
        posts: dict[str, Post] = {}
        before: list[str] = []
        for pool in route.pools:
            names = [named(one) for one in pool]
            for name in names:
                posts.setdefault(str(name), Post(tuple(before), self._skipped.intersection(before)))
            declared = self._declaration.routes.targets
            before += [str(name) for name in names if (one := declared.get(name)) is not None and one.script is None]  # type: ignore[call-overload]
        return posts

    def _cache(self, name: str, route: Route, targets: Sequence[Target], declared: Cache) -> Step:
        store = self._before.stores.get(name)
        if store is None or store.size != declared.size:
            store = LocalStore(declared.size)
        self.kept.stores[name] = store
        redis, logs = self.kept.redis, self.kept.logs
        shared = Shared(redis, logs, self._ground.pickup) if redis is not None and logs is not None else None
        scripts = frozenset(target.name for target in targets if target.lane == "script")
        last_resort = scripts if len(scripts) < len(targets) else frozenset[str]()
        made_by = self._made_by(name, route, targets)
        return FROM_ROUTE["cache"](declared=declared, store=store, shared=shared, made_by=made_by, last_resort=last_resort)

    def _made_by(self, name: str, route: Route, targets: Sequence[Target]) -> str:
        """Return a digest of all that makes the answers of a route: its targets, their order, their tools.

        The pipeline's effect is in the question already. A rotated key, a secret in a header and the network path change nothing.
        """
        present = {target.name for target in targets}
        declared = self._declaration.routes.targets
        pools = [[_made(one) for one in pool if named(one) in present] for pool in route.pools]
        asked = [
            (
                one,
                replace(
                    declared[one], api_key=None, headers=None, optional=False, proxy=None, ca=None, prompt_cache="auto", batch_size=None
                ),
            )
            for one in route.names
            if one in present
        ]
        headers = [sorted(public_headers(declared[one].headers or {}).items()) for one in route.names if one in present]
        tools = [(str(one), self._declaration.snapshot.texts.get(f"tools/{one}.py")) for one in route.tool_sets]
        servers = [replace(one, token=None, env={}, proxy=None, ca=None) for one in route.tool_servers]
        return hashlib.sha256(
            repr((str(name), pools, asked, headers, tools, servers, route.max_steps, route.max_output, route.approved)).encode()
        ).hexdigest()

    def _redis(self) -> Redis | None:
        """Return the declared Redis: the one in use, if it is the same."""
        url, before = self._declaration.routes.server.redis, self._before.redis
        if url is None:
            return None
        if before is not None and before.url == url and not before.closed:
            return before
        try:
            return Redis(url, self.kept.departed, self._ground.redis)
        except Misfit as misfit:
            self._complaints.add(url.place or Place(self._declaration.snapshot.routes, 1, 1), misfit.message)
            return None

    def _candidate(self, target: Target, route: Route, post: Post) -> Candidate:
        declared = self._declaration.routes.targets[target.name]  # type: ignore[index]
        key = (target.name, route.breaker, route.retry)
        if key not in self.kept.health:
            known, fared = self._before.health.get(key, (None, None))
            hint: Hint = NO_HINT if self.kept.hints is None or declared.script else self.kept.hints.of(_called(declared))
            if fared is None or known != declared or fared.breaker.hint is not hint:
                name, clock = target.name, self._ground.clock
                load = self._of_target(name, declared, lambda kept: kept.loads) or Load(clock)
                refusals = self._of_target(name, declared, lambda kept: kept.refusals) or TargetRefusals(name, clock, self.kept.turned)
                fared = new_health(route.breaker, route.retry, load, clock, hint, refusals=refusals)
            self.kept.health[key] = (declared, fared)
            self.kept.loads[target.name] = (declared, fared.load)
            self.kept.refusals[target.name] = (declared, fared.refusals)
        return Candidate(
            target.name,
            target.answer,
            target.reads,
            target.prefill,
            self.kept.health[key][1],
            self.kept.switches,
            target.ready,
            takes=target.takes,
            refused=target.refused,
            stand_in=declared.script is not None and post.asked,
        )

    def _of_target(self, name: str, declared: Declared, table: Callable[[Carryover], Mapping[str, tuple[Declared, T]]]) -> T | None:
        """Return the known state of a target, shared by its routes, if it was declared in the same way."""
        for kept in (self.kept, self._before):
            known, found = table(kept).get(name, (None, None))
            if found is not None and known == declared:
                return found
        return None

    def _learned(self, name: str, declared: Declared) -> Learned:
        """Return what a target's refusals taught, if it is declared in the same way."""
        learned = self._of_target(name, declared, lambda kept: kept.learned) or Learned()
        self.kept.learned[name] = (declared, learned)
        return learned

    def _target(self, name: str, connect: float, *, uncached: bool = False) -> Target | None:
        declared = self._declaration.routes.targets.get(name)  # type: ignore[call-overload]
        if declared is None:
            return None
        uncached = uncached and declared.script is None
        if (name, connect, uncached) not in self._targets:
            try:
                learned = self._learned(str(name), declared)
                asked = replace(declared, prompt_cache="off") if uncached else declared
                self._targets[name, connect, uncached] = self._ground.open(str(name), asked, connect, self.kept.connections, learned)
            except Misfit as misfit:
                place = getattr(declared.model, "place", None) or Place(self._declaration.snapshot.routes, 1, 1)
                self._complaints.add(misfit.place or place, misfit.message)
                return None
        return self._targets[name, connect, uncached]

    def _granted(self, name: str, route: Route) -> tuple[tuple[Tool | IsolatedTool, ...], frozenset[str]]:
        """Return the functions that a route grants, and the names of those whose calls the user has to allow."""
        approve: set[str] = set()
        granted: dict[str, tuple[str, Tool | IsolatedTool]] = {}
        for entry in route.tools:
            if isinstance(entry, ToolServer):
                continue
            set_name = _set_of(entry)
            apart = entry if isinstance(entry, ToolSetEntry) and entry.isolate is not None else None
            made = self.sets.get(str(set_name)) if apart is None else self.isolated.get(apart.key)
            for tool in made.tools if made else ():
                first = granted.setdefault(tool.spec.name, (set_name, tool))
                if first[0] != set_name and set_name.place:
                    self._complaints.add(
                        set_name.place, f"`{name}` gets two tools named `{tool.spec.name}`: from {first[0]} and from {set_name}"
                    )
                elif isinstance(entry, ToolSetEntry) and entry.approve == "always":
                    approve.add(tool.spec.name)
        return tuple(tool for _, tool in granted.values()), frozenset(approve)

    def _servers(self, route: Route) -> list[Grant]:
        """Return the servers whose tools a route grants: those in use, if they are the same."""
        grants: list[Grant] = []
        for declared in route.tool_servers:
            unrestricted = replace(declared, only=None, approve="never")
            known = (
                one for kept in (self.kept, self._before) for one in kept.tool_servers if one.declared == unrestricted and not one.closed
            )
            try:
                server = next(known, None) or McpServer(unrestricted)
            except Misfit as misfit:
                place = (declared.mcp[0] if isinstance(declared.mcp, tuple) else declared.mcp).place
                self._complaints.add(place or Place(self._declaration.snapshot.routes, 1, 1), misfit.message)
                continue
            if server not in self.kept.tool_servers:
                self.kept.tool_servers.append(server)
            only = None if declared.only is None else frozenset(map(str, declared.only))
            grants.append(Grant(server, only, approve=declared.approve == "always"))
        return grants

    def _tool_set(self, named: Scalar) -> ToolSet | None:
        if (found := self._tool_file(named.text, named.source, named.place)) is None:
            return None
        try:
            return self._ground.load(named.text, *found, self._declaration.digest)
        except Misfit as misfit:
            self._complaints.add(misfit.place or named.place, misfit.message)
            return None

    def _tool_processes(self, declared: ToolSetEntry) -> ToolProcesses | None:
        place = declared.use.place or Place(self._declaration.snapshot.routes, 1, 1)
        if (found := self._tool_file(str(declared.use), declared.use.source or declared.use, place)) is None:
            return None
        environment = {str(name): value.value for name, value in declared.env.items()}
        try:
            return ToolProcesses(ProcessSource(str(declared.use), *found, environment, self._ground.loading))
        except Misfit as misfit:
            self._complaints.add(misfit.place or place, misfit.message)
            return None

    def _tool_file(self, name: str, source: str, place: Place) -> tuple[str, Path] | None:
        """Return the text of a tool set's file, and its path."""
        texts = self._declaration.snapshot.texts
        file = f"tools/{name}.py"
        if file not in texts:
            known = [text.removeprefix("tools/").removesuffix(".py") for text in texts if text.startswith("tools/")]
            self._complaints.add(place, f"there is no tools/{source}.py{file_meant(name, known, '.py')}")
            return None
        return texts[file], Path(self._declaration.snapshot.root, file)

    def _warn_of_other_ways_out(self) -> None:
        """Warn of targets for which some requests do not go the declared way."""
        for name, declared in self._declaration.routes.targets.items():
            if name not in self._declaration.skipped and (why := past_declared_way(declared)):
                place = getattr(declared.model, "place", None) or Place(self._declaration.snapshot.routes, 1, 1)
                self._complaints.warn(place, f"`{name}`: {why}")

    def _warn_of_cold_prompts(self) -> None:
        """Warn of templates that make another prompt each time, in routes that have their prompts cached."""
        asked = {str(route.pipeline) for route in self._declaration.routes.routes.values() if route.prompt_cache != "off"}
        lines = [line for name, pipeline in self._declaration.pipelines.items() if name in asked for line in pipeline]
        for line in lines:
            if line.name != "prompt" or not isinstance(line.options, Scalar):
                continue
            for place, what in unsteady(line.options.text, self._templates):
                self._complaints.warn(
                    place,
                    f"{what} makes another system prompt each time, and no provider finds it in its prompt cache: leave it out, have a tool "
                    "say it, or write `prompt_cache: off` in the routes of this pipeline",
                )

    def _pipeline(self, lines: Sequence[StepLine]) -> list[Step]:
        names = [str(line.name) for line in lines]
        for line in lines if "output" in names else ():
            if line.name == "edit":
                self._complaints.add(
                    cast("Place", line.name.place), "`edit` would change the JSON that `output` promises: leave one of them out"
                )
        return [step for line in lines if (step := self._step(line)) is not None]

    def _step(self, line: StepLine) -> Step | None:
        function = STEPS.get(line.name)
        if function is None:
            place = cast("Place", line.name.place)
            self._complaints.add(place, f"there is no step `{line.name}`{step_meant(line.name, STEPS)}")
            return None
        record = record_of(function)
        parameters = inspect.signature(function).parameters.values()
        own = next((one.name for one in parameters if one.kind is one.POSITIONAL_ONLY), None)
        supplies: dict[str, object] = {"templates": self._templates}
        given = {one.name: supplies[one.name] for one in parameters if one.kind is one.KEYWORD_ONLY}
        record = replace(record, build=partial(_call, function, own, given))
        if own is None:
            values, fits = bind_fields(line.options, record, self._complaints, f"`{line.name}`")
        else:
            value = bind(line.options, record.fields[0].shape, self._complaints, f"`{line.name}`")
            values, fits = {own: value}, value is not UNFIT
        step = built(line.options, record, values, self._complaints) if fits else UNFIT
        return None if step is UNFIT else cast("Step", step)


def _no_chat(_: Ask) -> Events:
    """Raise BadAsk: a chat was sent to a route of another kind."""
    raise BadAsk(OTHER_KIND["embeddings"])


def _set_of(entry: Name | ToolSetEntry) -> Name:
    """Return the name of the tool set of an entry."""
    return entry.use if isinstance(entry, ToolSetEntry) else entry


def _isolated(entry: Name | ToolSetEntry) -> bool:
    """Return whether the functions of an entry run in processes of their own."""
    return isinstance(entry, ToolSetEntry) and entry.isolate is not None


def _made(one: Name | Member) -> tuple[object, ...]:
    """Return the parts of a pool's entry that decide which target makes an answer."""
    if not isinstance(one, Member):
        return (str(one), 1.0)
    return (str(one.use), 1.0 if one.weight is None else one.weight, *([one.when] if one.when else ()))


def _called(target: Declared) -> str:
    """Return the name of a target between replicas: a digest of the model and its address, not of its name in a file."""
    return hashlib.sha256(repr((target.model, target.api_base, target.api_version)).encode()).hexdigest()


def _pool(first: int, members: Sequence[Name | Member], candidates: Mapping[str, Candidate], route: Route) -> Pool | None:
    """Return the pool of the targets that are not skipped; None if all are. `first`: its first place among all targets."""
    present = [(candidates[named(one)], one, first + at) for at, one in enumerate(members) if named(one) in candidates]
    if not present:
        return None
    weighted = any(isinstance(one, Member) and one.shares for _, one, _ in present)
    weights = tuple((one.weight or 1.0) if isinstance(one, Member) else 1.0 for _, one, _ in present) if weighted else ()
    places = tuple(place for _, _, place in present)
    return Pool(tuple(candidate for candidate, _, _ in present), weights, route.balance, places, route.affinity)


def _call(function: Callable[..., object], own: str | None, given: Mapping[str, object], /, **values: object) -> object:
    """Call a function with its options and what the generation supplies. The value of its own word goes by position."""
    first = [values.pop(own)] if own else []
    return function(*first, **values, **given)
