"""The construction of one generation: its declaration, its environment, the state before it and the state that it keeps."""

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar, cast

from router.cache import Approvals, LocalStore, Memory, PickupTiming
from router.callers import ANYBODY, Callers, Jwks, Sources, callers
from router.config.declaration import BreakerConfig, Declaration, Retry, TargetConfig
from router.config.network import Egress
from router.embed import Split
from router.errors import Misfit, Place
from router.failover import Clock, Listener, Load, Switches, TargetHealth, TargetRefusals
from router.quotas import CountStore, Local, RedisCounts
from router.shared import Hints, Logs, Redis, RedisStore, RedisTiming
from router.targets import Connections, Learned, Target, open_target, split_of
from router.toolbox import LOADING_S, McpServer, ToolSet, load
from router.value import Mutable, Value, field

T = TypeVar("T")
Health = dict[tuple[str, BreakerConfig, Retry], tuple[TargetConfig, TargetHealth]]


class Carryover(Mutable):
    """State that outlives a generation: connections, counts, caches, the health of targets, operators' switches.

    The next generation takes over the state of what it declares in the same way, and drops the rest. Operators' switches always stay.
    """

    connections: Connections = field(default_factory=Connections)
    local: Local = field(default_factory=Local)
    """Use of every limit, as counted in this process. A limit whose declaration changes starts anew: it is counted under another key."""
    shared: RedisCounts | None = None
    """Use of every limit, counted in Redis for all replicas; None without Redis."""
    loads: dict[str, tuple[TargetConfig, Load]] = field(default_factory=dict[str, tuple[TargetConfig, Load]])
    learned: dict[str, tuple[TargetConfig, Learned]] = field(default_factory=dict[str, tuple[TargetConfig, Learned]])
    """Target → (the declaration that it was asked under, what its refusals taught, such as a parameter to leave out)."""
    refusals: dict[str, tuple[TargetConfig, TargetRefusals]] = field(default_factory=dict[str, tuple[TargetConfig, TargetRefusals]])
    turned: list[Listener] = field(default_factory=list[Listener])
    """Functions that are called each time that a target begins to refuse every question, or answers again."""
    switches: Switches = field(default_factory=Switches)
    jwks: Sources = field(default_factory=dict[tuple[str, Egress], Jwks])
    health: Health = field(default_factory=Health)
    redis: Redis | None = None
    """The Redis that replicas share; None if `server.redis` is not declared."""
    departed: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """Functions that are called each time that Redis goes away."""
    hints: Hints | None = None
    """Open circuit breakers, shared between replicas through Redis; None without it."""
    logs: Logs | None = None
    """Answers that this replica writes for the others in Redis, and reads of theirs; None without Redis."""
    tool_servers: list[McpServer] = field(default_factory=list[McpServer])
    """Tool servers in use, each once although several routes may grant its tools."""
    memory: Memory = field(default_factory=Memory)
    """The model calls whose tools clients run, stored for the next request of the same chat."""
    approvals: Approvals = field(default_factory=Approvals)
    """The signed ids under which users are asked to allow tool calls, and those that are used up."""
    stores: dict[str, LocalStore] = field(default_factory=dict[str, LocalStore])
    """Route → its answers cached in this process. Answers of another configuration have other keys, are no hits, and expire."""

    @property
    def counts(self) -> CountStore:
        """Return the store in which limits are counted: Redis if it is declared, else this process."""
        return self.shared or self.local


class Ground(Value, frozen=True):
    """The environment of a generation, replaced in tests. `loading`: seconds within which an isolated tool file must have been loaded."""

    open: Callable[[str, TargetConfig, float, Connections, Learned], Target] = open_target
    clock: Clock = time.monotonic
    chance: Callable[[], random.Random] = random.Random
    load: Callable[[str, str, Path, str], ToolSet] = load
    split: Callable[[str, TargetConfig, float, Connections], Split] = split_of
    redis: RedisTiming = field(default_factory=RedisTiming)
    logs: Callable[[Redis], Logs] = Logs
    pickup: PickupTiming = field(default_factory=PickupTiming)
    loading: float = LOADING_S


class Construction:
    """A generation under construction, with the state of the one `before` it, and its own (`kept`), filled while its parts are made."""

    def __init__(self, declaration: Declaration, before: Carryover, ground: Ground) -> None:
        self.declaration = declaration
        self.targets = cast("Mapping[str, TargetConfig]", declaration.routes.targets)
        self.texts = declaration.snapshot.texts
        self.templates = {name.removeprefix("pipelines/"): text for name, text in self.texts.items() if name.startswith("pipelines/")}
        self.ground = ground
        self.before = before
        self.kept = Carryover(before.connections, before.local, switches=before.switches, departed=before.departed, turned=before.turned)
        self.kept.redis = redis = self._redis()
        if redis is not None:
            shared, hints, logs = (before.shared, before.hints, before.logs) if redis is before.redis else (None, None, None)
            self.kept.shared = shared or RedisCounts(redis, before.local)
            self.kept.hints, self.kept.logs = hints or Hints(redis), logs or ground.logs(redis)
        self.kept.memory = Memory(before.memory.local, RedisStore(redis, "reasoning") if redis else None)
        key = declaration.routes.server.approval_key
        used = RedisStore(redis, "approval") if redis else None
        self.kept.approvals = before.approvals.under(None if key is None else key.value, used)

    def complain(self, place: Place | None, message: str) -> None:
        """Add a mistake to the complaints of the declaration, with its place; None is the top of the routes file."""
        self.declaration.complaints.add(place or Place(self.declaration.snapshot.routes, 1, 1), message)

    def warn(self, place: Place | None, message: str) -> None:
        """Add a warning to the complaints of the declaration, with its place; None is the top of the routes file."""
        self.declaration.complaints.warn(place or Place(self.declaration.snapshot.routes, 1, 1), message)

    def known(self, name: str, declared: TargetConfig, table: Callable[[Carryover], Mapping[str, tuple[TargetConfig, T]]]) -> T | None:
        """Return the state of a target, in a table of this or the last generation; None if its declaration has changed, or without one."""
        for state in (self.kept, self.before):
            config, found = table(state).get(name, (None, None))
            if found is not None and config == declared:
                return found
        return None

    def callers(self) -> Callers:
        """Return the authentication that `server.auth` declares; ANYBODY without one, or if it is invalid (then a complaint was added)."""
        auth, connections = self.declaration.routes.server.auth, self.kept.connections
        try:
            return callers(auth, lambda egress: connections.over(egress).fetch, self.before.jwks, self.kept.jwks)
        except Misfit as misfit:
            self.complain(None, misfit.message)
            return ANYBODY

    def _redis(self) -> Redis | None:
        """Return the declared Redis, the one in use if its address is the same; None without one, or for an invalid address."""
        url, before = self.declaration.routes.server.redis, self.before.redis
        if url is None:
            return None
        if before is not None and before.url == url and not before.closed:
            return before
        try:
            return Redis(url, self.kept.departed, self.ground.redis)
        except Misfit as misfit:
            self.complain(url.place, misfit.message)
            return None
