"""The construction of one generation: its declaration, its environment, the state before it and the state that it keeps."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from router.cache import Memory, PickupTiming
from router.callers import ANYBODY, Callers, callers
from router.config.declaration import Declaration, TargetConfig
from router.embed import Split
from router.errors import Misfit, Place
from router.failover import Clock
from router.generation.carryover import Carryover
from router.quotas import RedisCounts
from router.shared import Hints, Logs, Redis, RedisStore, RedisTiming
from router.targets import Connections, Learned, Target, open_target, split_of
from router.toolbox import LOADING_S, ToolSet, load

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ground:
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
        states = (table(kept).get(name, (None, None)) for kept in (self.kept, self.before))
        return next((found for config, found in states if found is not None and config == declared), None)

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
