"""The targets of a generation, each opened once for all routes that ask it."""

import hashlib
from collections.abc import Mapping, Sequence

from router.config.conditions import When
from router.config.declaration import Member, Pools, Route, TargetConfig, named, weight_of
from router.config.price import Price
from router.config.values import Name
from router.errors import Misfit
from router.failover import NO_HINT, Candidate, Hint, Load, Pool, TargetHealth, TargetRefusals
from router.generation.construction import Construction
from router.targets import Learned, Post, Target, proxy_warning
from router.value import Value, replace

FIRST = Post()
"""The position of the targets of a route's first pool, before which no model stands."""


class Layout(Value, frozen=True):
    """The targets of a route as it declares them, read once for all that is made of them.

    names: the names of its targets, each once
    conditions: those of its entries that have one
    posts: target → its position in the route; some models before it may be skipped. That of a model is of no use, and is FIRST
    """

    pools: Pools
    names: Sequence[Name]
    conditions: Sequence[When]
    posts: Mapping[str, Post]


class OpenedTargets:
    """The opened targets that are not skipped: each once, and again for a route with another `timeout.connect` or `prompt_cache: off`."""

    def __init__(self, parts: Construction) -> None:
        self._parts = parts
        self._skipped = frozenset(map(str, parts.declaration.skipped))
        self._opened: dict[tuple[str, float, bool], Target] = {}
        """(Name, seconds that a connection may take, true if its prompt caching is forced off) → the target."""
        for name, declared in parts.targets.items():
            if name not in self._skipped:
                self.open(name, parts.declaration.routes.defaults.timeout.connect)
                if why := proxy_warning(declared):  # some requests do not go the declared way
                    parts.warn(getattr(declared.model, "place", None), f"`{name}`: {why}")

    def prices(self) -> dict[str, Price]:
        """Return target → its price: as declared, else as in the table. Targets without a known price are left out."""
        return {target.name: target.facts.price for target in self._opened.values() if target.facts.price is not None}

    def open(self, name: str, connect: float, *, uncached: bool = False) -> Target | None:
        """Return a target, opened if it is not open yet; None if it is not declared, or could not be opened (a complaint was added).

        connect: seconds that a connection may take. uncached: True for a route that asks for no prompt caching
        """
        declared = self._parts.targets.get(name)
        if declared is None:
            return None
        uncached = uncached and declared.script is None
        if (name, connect, uncached) not in self._opened:
            kept, ground = self._parts.kept, self._parts.ground
            learned = self._parts.known(name, declared, lambda state: state.learned) or Learned()
            kept.learned[str(name)] = (declared, learned)
            asked = replace(declared, prompt_cache="off") if uncached else declared
            try:
                self._opened[name, connect, uncached] = ground.open(str(name), asked, connect, kept.connections, learned)
            except Misfit as misfit:
                self._parts.complain(misfit.place or getattr(declared.model, "place", None), misfit.message)
        return self._opened.get((name, connect, uncached))

    def layout(self, route: Route) -> Layout:
        """Return the layout of a route. The position of a script is that of its first entry: behind the models of the pools before."""
        pools = route.pools
        names: list[Name] = []
        conditions: list[When] = []
        posts: dict[str, Post] = {}
        before: list[str] = []
        for pool in pools:
            first = len(before)
            for entry in pool:
                if isinstance(entry, Member) and entry.when:
                    conditions.append(entry.when)
                name = named(entry)
                declared = self._parts.targets.get(name)
                if name not in posts:
                    names.append(name)
                    scripted = first and declared is not None and declared.script is not None
                    posts[name] = Post(tuple(before[:first]), self._skipped.intersection(before[:first])) if scripted else FIRST
                if declared is not None and declared.script is None:
                    before.append(str(name))
        return Layout(pools, names, conditions, posts)

    def pools(self, route: Route, layout: Layout, targets: Sequence[Target]) -> list[Pool]:
        """Return the pools of a route without skipped targets. Places of targets are positions in the route, skipped ones included."""
        candidates = {target.name: self._candidate(target, route, layout.posts[target.name]) for target in targets}
        pools: list[Pool] = []
        first = 0
        for pool in layout.pools:
            found: list[Candidate] = []
            entries: list[Name | Member] = []
            places: list[int] = []
            weighted = False
            for place, entry in enumerate(pool, first):
                if (candidate := candidates.get(named(entry))) is not None:
                    found.append(candidate)
                    entries.append(entry)
                    places.append(place)
                    weighted = weighted or (isinstance(entry, Member) and entry.shares)
            first += len(pool)
            if found:
                weights = tuple([weight_of(entry) for entry in entries]) if weighted else ()
                pools.append(Pool(tuple(found), weights, route.balance, tuple(places), route.affinity))
        return pools

    def _candidate(self, target: Target, route: Route, post: Post) -> Candidate:
        parts, name, declared = self._parts, target.name, self._parts.targets[target.name]
        kept, clock = parts.kept, parts.ground.clock
        key = (name, route.breaker, route.retry)
        if (kept_health := kept.health.get(key)) is None:
            known, fared = parts.before.health.get(key, (None, None)) if parts.before.health else (None, None)
            hint: Hint = NO_HINT if kept.hints is None or declared.script else kept.hints.of(name_between_replicas(declared))
            if fared is None or known != declared or fared.breaker.hint is not hint:
                load = refusals = None
                if name in kept.loads or name in parts.before.loads:  # so are its refusals
                    load = parts.known(name, declared, lambda state: state.loads)
                    refusals = parts.known(name, declared, lambda state: state.refusals)
                load, refusals = load or Load(clock), refusals or TargetRefusals(name, clock, kept.turned)
                fared = TargetHealth(route.breaker, route.retry, load, clock, hint, refusals=refusals)
            kept_health = kept.health[key] = (declared, fared)
            kept.loads[name] = (declared, fared.load)
            kept.refusals[name] = (declared, fared.refusals)
        return Candidate(
            name, target.answer, target.context_window, target.prefill, kept_health[1], kept.switches, target.ready,
            takes=target.takes, refused=target.refused, stand_in=declared.script is not None and post.asked,
        )  # fmt: skip


def name_between_replicas(target: TargetConfig) -> str:
    """Return the name under which replicas share hints about a target: a digest of model, `api_base` and `api_version`."""
    return hashlib.sha256(repr((target.model, target.api_base, target.api_version)).encode()).hexdigest()
