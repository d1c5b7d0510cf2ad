"""The targets of a generation, each opened once for all routes that ask it."""

import hashlib
from collections.abc import Sequence
from itertools import accumulate

from router.config.declaration import Member, Route, TargetConfig, named, weight_of
from router.config.price import Price
from router.errors import Misfit
from router.failover import NO_HINT, Candidate, Hint, Load, Pool, TargetHealth, TargetRefusals
from router.generation.construction import Construction
from router.targets import Learned, Post, Target, proxy_warning
from router.value import replace


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

    def posts(self, route: Route) -> dict[str, Post]:
        """Return target → its position in a route: the models in the pools before its first entry, and which of them are skipped."""
        posts: dict[str, Post] = {}
        before: list[str] = []
        for pool in route.pools:
            names = [named(one) for one in pool]
            for name in names:
                posts.setdefault(str(name), Post(tuple(before), self._skipped.intersection(before)))
            before += [str(name) for name in names if (one := self._parts.targets.get(name)) is not None and one.script is None]
        return posts

    def pools(self, route: Route, targets: Sequence[Target], posts: dict[str, Post]) -> list[Pool]:
        """Return the pools of a route without skipped targets. Places of targets are positions in the route, skipped ones included."""
        candidates = {target.name: self._candidate(target, route, posts[target.name]) for target in targets}
        pools: list[Pool] = []
        declared = route.pools
        for first, pool in zip(accumulate(map(len, declared), initial=0), declared, strict=False):
            if present := [(candidates[named(one)], one, first + at) for at, one in enumerate(pool) if named(one) in candidates]:
                found, entries, places = zip(*present, strict=True)
                weighted = any(isinstance(one, Member) and one.shares for one in entries)
                weights = tuple(map(weight_of, entries)) if weighted else ()
                pools.append(Pool(found, weights, route.balance, places, route.affinity))
        return pools

    def _candidate(self, target: Target, route: Route, post: Post) -> Candidate:
        parts, name, declared = self._parts, target.name, self._parts.targets[target.name]
        kept, clock = parts.kept, parts.ground.clock
        key = (name, route.breaker, route.retry)
        if (kept_health := kept.health.get(key)) is None:
            known, fared = parts.before.health.get(key, (None, None))
            hint: Hint = NO_HINT if kept.hints is None or declared.script else kept.hints.of(name_between_replicas(declared))
            if fared is None or known != declared or fared.breaker.hint is not hint:
                load = parts.known(name, declared, lambda state: state.loads) or Load(clock)
                refusals = parts.known(name, declared, lambda state: state.refusals) or TargetRefusals(name, clock, kept.turned)
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
