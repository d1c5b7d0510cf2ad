"""Compilation of routes: failover over a route's targets, inside the pipeline's steps and the steps that the route's keys add."""

import hashlib
from collections.abc import Mapping, Sequence

from router.cache import LocalStore, Shared
from router.chat import Ask
from router.config.declaration import Cache, Member, Route, named, weight_of
from router.config.options import public_headers
from router.config.values import Name
from router.embed import Split
from router.errors import BadAsk, Misfit
from router.events import Answer, Events, Step
from router.failover import FailureRules, embedding, failover
from router.generation.construction import Construction
from router.generation.pipelines import pipelines
from router.generation.serving import OTHER_KIND, Compiled
from router.generation.targets import Layout, OpenedTargets
from router.generation.tools import LoadedTools
from router.quotas import Quota
from router.steps import FROM_ROUTE
from router.targets import Post, Target
from router.toolbox import AskableRoute, Toolbox
from router.value import replace


class RouteCompiler:
    """The compiler of a generation's routes. The targets, tools and pipelines that they share are made once, when it is created."""

    def __init__(self, parts: Construction) -> None:
        self._parts = parts
        self.tools = LoadedTools(parts)
        self._pipelines = pipelines(parts)
        self._words = {name: tuple([str(line.name) for line in lines]) for name, lines in parts.declaration.pipelines.items()}
        """Pipeline → the names of its steps, outermost first."""
        self._recall, self._hide = FROM_ROUTE["recall"](memory=parts.kept.memory), FROM_ROUTE["reasoning"]()
        self._session = FROM_ROUTE["session"]()
        self._chance = parts.ground.chance()  # one for all routes: each takes 2.5 KB
        self.targets = OpenedTargets(parts)

    def compiled(self, name: str, route: Route) -> Compiled | None:
        """Return the compiled route; None if no target or pipeline is left for it. Each mistake adds a complaint: then `build` raises."""
        skipped, connect, uncached = self._parts.declaration.skipped, route.timeout.connect, route.prompt_cache == "off"
        layout = self.targets.layout(route)
        names = layout.names
        opened = {one: self.targets.open(one, connect, uncached=uncached) for one in names if one not in skipped}
        targets = tuple([target for target in opened.values() if target is not None])
        if not targets and all(one in skipped for one in names):
            lacks = "; ".join(dict.fromkeys(skipped[one] for one in names))
            self._parts.complain(names[0].place, f"`{name}` has no target left, all are optional: {lacks}")
        if route.kind == "embeddings":
            return self._embeddings(name, route, layout, targets) if targets else None
        toolbox = self.tools.box(name, route)
        self._check_supplied(name, route, toolbox)
        if not targets or route.pipeline not in self._pipelines:
            return None
        placed = [target if target.at is None else replace(target, answer=target.at(layout.posts[target.name])) for target in targets]
        rules = FailureRules(route.timeout, route.retry, route.rescue, route.hedge)
        answer = failover(self.targets.pools(route, layout, placed), rules, self._chance)
        if layout.conditions:
            self._check_images(route, opened)
        for step in reversed(self._steps(name, route, targets, toolbox, conditional=bool(layout.conditions))):
            answer = step(answer)
        if self.tools.asks:
            askable = AskableRoute(self._session(answer), toolbox.askers)
            self.tools.askable |= dict.fromkeys((str(name), *map(str, route.aliases)), askable)
        return self._described(name, route, targets, toolbox, answer, layout=layout)

    def _steps(self, name: str, route: Route, targets: Sequence[Target], toolbox: Toolbox, *, conditional: bool) -> list[Step]:
        """Return the steps around a chat route's failover, outermost first: those of its pipeline and those that its own keys add."""
        kept = self._parts.kept
        steps = [self._recall, self._hide] if route.reasoning == "hide" else [self._recall]
        steps += self._pipelines[route.pipeline]
        if conditional:
            steps.append(FROM_ROUTE["when"](conditions=route.conditions))
        if route.cache is not None:
            steps.append(self._cache(name, route, targets, route.cache))
        if toolbox:
            steps.append(FROM_ROUTE["tools"](toolbox=toolbox, max_steps=route.max_steps, approvals=kept.approvals))
        if route.max_output is not None:
            steps.append(FROM_ROUTE["ceiling"](tokens=route.max_output))
        return steps

    def _described(
        self, name: str, route: Route, targets: Sequence[Target], toolbox: Toolbox, answer: Answer, *, layout: Layout
    ) -> Compiled:
        """Return the Compiled of a route: this answer, and the data about targets, models, steps and limit that other parts read."""
        models: dict[str, str] = {}
        stand_ins: dict[str, Post] = {}
        for target in targets:
            models[target.name] = target.model
            if target.lane == "script" and (post := layout.posts[target.name]).models:
                stand_ins[target.name] = post
        chats, known = route.kind == "chat", self._parts.targets
        return Compiled(
            name=str(name),
            declared=route,
            answer=answer,
            targets=tuple(targets),
            toolbox=toolbox,
            granted=toolbox or (),
            models=models,
            quota=None if route.limit is None else Quota(f"route:{name}", route.limit, self._parts.kept.counts),
            steps=self._words[route.pipeline] if chats else (),
            stand_ins=stand_ins,
            headers=frozenset([str(header) for one in layout.conditions for header in one.header or ()]),
            conditional=bool(layout.conditions or toolbox.askers),
            scripted=chats and all(known[one].script is not None for one in layout.names if one in known),
        )

    def _embeddings(self, name: str, route: Route, layout: Layout, opened: Sequence[Target]) -> Compiled | None:
        """Return a compiled route of kind embeddings; None if a target cannot make embeddings (a complaint was added).

        Scripts after a model that is not skipped are left out: their vectors are of no use among a model's.
        """
        targets = tuple(target for target in opened if target.lane != "script" or not layout.posts[target.name].asked)
        splits: dict[str, Split] = {}
        for target in targets:
            declared = self._parts.targets[target.name]
            try:
                splits[target.name] = self._parts.ground.split(target.name, declared, route.timeout.connect, self._parts.kept.connections)
            except Misfit as misfit:
                used = next(one for one in layout.names if one == target.name)
                place = misfit.place or getattr(declared.model, "place", None) or used.place
                self._parts.complain(place, f"`{name}` is of kind embeddings: {misfit.message}")
                return None
        self._warn_of_models(name, route, targets)
        rules = FailureRules(route.timeout, route.retry)
        embed = embedding(self.targets.pools(route, layout, targets), splits, rules, self._chance)
        toolbox = Toolbox((), route.timeout.tool, [])
        return replace(self._described(name, route, targets, toolbox, _no_chat, layout=layout), embed=embed)

    def _cache(self, name: str, route: Route, targets: Sequence[Target], declared: Cache) -> Step:
        kept, known = self._parts.kept, self._parts.before.stores.get(name)
        store = kept.stores[name] = known if known is not None and known.size == declared.size else LocalStore(declared.size)
        shared = Shared(kept.redis, kept.logs, self._parts.ground.pickup) if kept.redis is not None and kept.logs is not None else None
        scripts = frozenset(target.name for target in targets if target.lane == "script")
        last_resort = scripts if len(scripts) < len(targets) else frozenset[str]()
        made_by = self._made_by(name, route, targets)
        return FROM_ROUTE["cache"](declared=declared, store=store, shared=shared, made_by=made_by, last_resort=last_resort)

    def _made_by(self, name: str, route: Route, targets: Sequence[Target]) -> str:
        """Return a digest of the configuration that makes a route's answers, for the keys of the answer cache.

        Skipped targets, keys, secret headers, proxy and CA do not count. The pipeline's effect is in the question already.
        """
        present = {target.name for target in targets}
        declared = {one: self._parts.targets[one] for one in route.names if one in present}
        pools = [[_made(one) for one in pool if named(one) in present] for pool in route.pools]
        of_no_effect = {"api_key": None, "headers": None, "optional": False, "proxy": None, "ca": None, "prompt_cache": "auto"}
        asked = [(name, replace(one, batch_size=None, **of_no_effect)) for name, one in declared.items()]
        headers = [sorted(public_headers(one.headers or {}).items()) for one in declared.values()]
        tools = [(str(one.use), self._parts.texts.get(f"tools/{one.use}.py")) for one in route.tool_sets]
        servers = [replace(one, token=None, env={}, proxy=None, ca=None) for one in route.tool_servers]
        parts = (str(name), pools, asked, headers, tools, servers, route.max_steps, route.max_output, route.approved)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _check_supplied(self, name: str, route: Route, toolbox: Toolbox) -> None:
        """Complain if a cached route has a tool that takes a parameter from the router: its result depends on more than the question."""
        if route.cache is not None and (supplied := toolbox.supplied):
            tool, kind = next(iter(supplied.items()))
            self._parts.complain(
                next((one.use.place for one in route.tool_sets if one.use.place), None),
                f"`{name}` has a `cache`, and its tool `{tool}` takes {kind}: what that says is not in the question that the cache compares. "
                "Leave out `cache`, or the tool set",
            )

    def _check_images(self, route: Route, opened: Mapping[Name, Target | None]) -> None:
        """Add a complaint for each target that is asked only about images, and is known not to read them."""
        for one in (one for pool in route.pools for one in pool):
            target = opened.get(named(one))
            if isinstance(one, Member) and one.when and one.when.has_image and target and target.facts.images is False:
                self._parts.complain(
                    one.use.place,
                    f"`{one.use}` is asked about images alone, and its model is known to read none, so it never is: "
                    "write another target, or `facts: {images: true}` where that is wrong",
                )

    def _warn_of_models(self, name: str, route: Route, targets: Sequence[Target]) -> None:
        """Warn if an embeddings route has targets of different models: an index that holds the vectors of both finds nothing."""
        models = {(self._parts.targets[target.name].base_model or target.model).rpartition("/")[2] for target in targets}
        if len(models) > 1:
            self._parts.warn(
                route.names[0].place,
                f"the targets of `{name}` are of different models ({', '.join(sorted(models))}), and the vectors of one model mean nothing "
                "to another: let all targets serve one model, and write `base_model` where a deployment has another name",
            )


def _no_chat(_: Ask) -> Events:
    """Raise BadAsk. This is the `answer` of an embeddings route, which has no chats."""
    raise BadAsk(OTHER_KIND["embeddings"])


def _made(one: Name | Member) -> tuple[object, ...]:
    """Return (target, weight) or (target, weight, condition) of a pool's entry; the weight is 1.0 unless given."""
    return (str(named(one)), weight_of(one), *([one.when] if isinstance(one, Member) and one.when else ()))
