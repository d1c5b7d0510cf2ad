"""Descriptions of configurations: plain JSON with defaults filled in."""

import inspect
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import cast

from router.chat import Json, JsonObject
from router.config import document
from router.config.declaration import Declaration, Defaults, Route, StepLine, TargetConfig
from router.config.document import Node
from router.config.drills import Drill
from router.config.inheritance import with_defaults
from router.config.kinds import CHAT_ONLY
from router.config.network import NetworkConfig
from router.config.server import Server
from router.description.canonical import canonical, digest, listing, table
from router.description.conditions import condition
from router.errors import Misfit
from router.signature import Anything, record_of
from router.steps import STEPS
from router.value import Value, asdict


class Description(Value, frozen=True, dict=True):
    """A configuration as plain JSON without secrets: its routes, targets, pipelines, tools, server, network and drills.

    first: the route of a request that names no model
    routes: id → its keys, those of `defaults` put in; `targets` is a list of pools; `own` lists the keys that the route sets itself
    targets, drills: name → its keys
    pipelines: name → {"steps": [{"step", "options"}], "texts": {template → digest}}; those that a route names
    tools: set → digest of its file; those that a route names
    server, network: its keys
    """

    first: str
    routes: Mapping[str, JsonObject]
    targets: Mapping[str, JsonObject]
    pipelines: Mapping[str, JsonObject]
    tools: Mapping[str, str]
    server: JsonObject
    network: JsonObject
    drills: Mapping[str, JsonObject]

    def as_json(self) -> dict[str, Json]:
        """Return the description as a JSON object."""
        return asdict(self)

    def route_of(self, model: str) -> str | None:
        """Return the route id for an id or alias; None if it is neither."""
        return model if model in self.routes else self.ids.get(model)

    @cached_property
    def ids(self) -> dict[str, str]:
        """Every route id and alias → its route id."""
        aliases = {str(alias): name for name, route in self.routes.items() for alias in listing(route.get("aliases"))}
        return {**aliases, **{name: name for name in self.routes}}

    def asking(self, target: str) -> Sequence[str]:
        """Return the ids of the routes that have this target in a pool."""
        return self._users[0].get(target, ())

    def using(self, pipeline: str) -> Sequence[str]:
        """Return the ids of the routes with this pipeline."""
        return self._users[1].get(pipeline, ())

    def granting(self, tools: str) -> Sequence[str]:
        """Return the ids of the routes with this tool set, isolated or not."""
        return self._users[2].get(tools, ())

    def policies(self, target: str) -> Collection[str]:
        """Return the settings (`policy`) under which routes ask this target."""
        return self._policies.get(target, ())

    @cached_property
    def _policies(self) -> Mapping[str, Collection[str]]:
        found = defaultdict[str, set[str]](set)
        for route in self.routes.values():
            settings = policy(route)
            for name in names(pools(route)):
                found[name].add(settings)
        return found

    @cached_property
    def _users(self) -> tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[str]], Mapping[str, Sequence[str]]]:
        """Target, pipeline and tool set → the ids of the routes that use it. All are found in one walk: a change may concern all of them."""
        found = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
        for name, route in self.routes.items():
            used = names(pools(route)), (str(route.get("pipeline")),), tool_files(route)
            for users, each in zip(found, used, strict=True):
                for one in dict.fromkeys(each):
                    users[one].append(name)
        return found


Pool = tuple[tuple[str, float | None], ...]
"""(Target, weight) for each target of a pool; the weight is None if the pool has no weights."""


def pools(route: JsonObject) -> tuple[Pool, ...]:
    """Return the pools of a described route, in order."""
    return tuple(tuple(_member(one) for one in listing(pool)) for pool in listing(route.get("targets")))


def conditions(route: JsonObject) -> tuple[tuple[str, ...], ...]:
    """Return the conditions of a described route's targets, in words, in the order of `pools`; empty for a target without one."""
    return tuple(tuple(condition(table(table(one).get("when"))) for one in listing(pool)) for pool in listing(route.get("targets")))


def entries(route: JsonObject) -> tuple[Pool, ...]:
    """Return the pools with `NAME where CONDITION` in place of the name of a target with a condition, so that its entries are distinct."""
    return tuple(
        tuple((f"{name} where {words}" if words else name, weight) for (name, weight), words in zip(pool, said, strict=True))
        for pool, said in zip(pools(route), conditions(route), strict=True)
    )


def names(of: tuple[Pool, ...]) -> tuple[str, ...]:
    """Return the names of the targets in the pools, in order; a target in two entries is there twice."""
    return tuple(name for pool in of for name, _ in pool)


def policy(route: JsonObject) -> str:
    """Return the breaker and retry settings of a described route as text: equal settings have equal texts."""
    return json.dumps([route.get("breaker"), route.get("retry")], sort_keys=True)


def tool_sets(route: JsonObject) -> tuple[str, ...]:
    """Return the tools of a described route as texts: the name of a set, or `mcp` and the address or command of a server.

    Isolation and approval follow in brackets: `orders (approve: always)`.
    """
    return tuple(one if isinstance(one, str) else _granted(table(one)) for one in listing(route.get("tools")))


def tool_files(route: JsonObject) -> tuple[str, ...]:
    """Return the names of the described route's tool sets, isolated ones included; tool servers are left out."""
    return tuple(
        str(one if isinstance(one, str) else table(one)["use"])
        for one in listing(route.get("tools"))
        if isinstance(one, str) or "use" in table(one)
    )


def _granted(one: JsonObject) -> str:
    said = [f"{key}: {one[key]}" for key in ("isolate", "approve") if one.get(key) not in (None, "never")]
    mcp = one.get("mcp")
    name = str(one["use"]) if "use" in one else f"mcp {mcp if isinstance(mcp, str) else ' '.join(map(str, listing(mcp)))}"
    return f"{name} ({', '.join(said)})" if said else name


def _member(one: Json) -> tuple[str, float | None]:
    if not isinstance(one, Mapping):
        return str(one), None
    weight = one.get("weight")
    return str(one.get("use")), None if weight is None else float(cast("float", weight))


def describe(declaration: Declaration) -> Description:
    """Return the description of a declaration, in under a millisecond for each route."""
    complete = with_defaults(declaration.tree)
    routes = {name: _route(node) for name, node in _pairs(complete, "routes")}
    for name, node in _pairs(declaration.tree, "routes"):
        routes[name]["own"] = sorted(_keys_set(node))
    drills = [table(canonical(node, _record(Drill))) for node in document.items_of(complete.get("drills"))]
    server = _part(complete, "server", Server)
    reload = server.get("reload")
    return Description(
        first=next(iter(routes), ""),
        routes=routes,
        targets={name: table(canonical(node, _record(TargetConfig))) for name, node in _pairs(complete, "targets")},
        pipelines=pipelines_of(declaration),
        tools={name: digest(declaration.snapshot.texts.get(f"tools/{name}.py", "")) for name in declaration.tools},
        server={**server, "reload": reload if isinstance(reload, Mapping) else {"when": reload, "drills": False}},
        network=_part(complete, "network", NetworkConfig),
        drills={str(one.get("name")): one for one in drills},
    )


def pipelines_of(declaration: Declaration) -> dict[str, JsonObject]:
    """Return name → description of each pipeline. The declaration's whole description would take longer."""
    texts = declaration.snapshot.texts
    templates = {name.removeprefix("pipelines/"): text for name, text in texts.items() if name.startswith("pipelines/")}
    return {name: _pipeline(lines, templates) for name, lines in declaration.pipelines.items()}


def understood(value: Json) -> Description:
    """Return the description whose `as_json` this is. Raises Misfit if it is not one: another version may have made it."""
    said = table(value)
    parts = {name: said.get(name) for name in ("routes", "targets", "pipelines", "tools", "server", "drills")}
    tables = [*parts.values(), *(one for name in ("routes", "targets", "pipelines", "drills") for one in table(parts[name]).values())]
    if not all(isinstance(one, Mapping) for one in tables) or not isinstance(said.get("first"), str):
        raise Misfit("this is no description of a configuration")
    parts["network"] = table(said.get("network"))  # a version that knew no proxies had none
    return Description(str(said["first"]), **{name: cast("JsonObject", part) for name, part in parts.items()})  # pyright: ignore[reportArgumentType]


_record = cache(record_of)


def _part(tree: document.Table, name: str, kind: type) -> JsonObject:
    return table(canonical(tree.get(name) or document.Table(tree.place, ()), _record(kind)))


def _pairs(tree: document.Table, name: str) -> Iterator[tuple[str, Node]]:
    yield from ((key.text, node) for key, node in document.pairs_of(tree.get(name)))


def _route(node: Node) -> dict[str, Json]:
    said = dict(table(canonical(node, _record(Route))))
    said["targets"] = [_pool(one) for one in listing(said["targets"])]
    if said.get("kind") != "chat":
        said |= dict.fromkeys(CHAT_ONLY)
    if not any(len(pool) > 1 and pool[0][1] is None for pool in pools(said)):
        said["balance"] = None  # no pool is there to balance
    return said


def _pool(entry: Json) -> Json:
    """Return an entry of `targets` as a list: for each target its name, or a mapping if it has a weight or a condition."""
    pool = isinstance(entry, Mapping)  # the condition of the pool is that of each of its targets
    used, condition = (table(entry).get("use"), table(entry).get("when")) if pool else (entry, None)
    members = [used] if isinstance(used, str) else list(listing(used))
    said = [table(one) if isinstance(one, Mapping) else {"use": one} for one in members]
    shared = [one for one in said if len(one) > 1 and (pool or one.get("weight") is not None or one.get("when") is None)]
    return [_entry(one, condition or one.get("when"), weighted=bool(shared) and len(said) > 1) for one in said]


def _entry(said: JsonObject, when: Json, *, weighted: bool) -> Json:
    """Return one target of a pool; its name alone if it has neither a weight nor a condition.
    `weighted`: whether the pool has weights; the target's is 1 unless given.
    """
    made: dict[str, Json] = {"use": said.get("use")}
    if weighted:
        made["weight"] = 1.0 if said.get("weight") is None else said["weight"]
    if when is not None:
        said_of = {key: value for key, value in table(when).items() if value is not None and value != {}}
        if "header" in said_of:
            said_of["header"] = {name.lower(): value for name, value in table(said_of["header"]).items()}
        made["when"] = said_of
    return made if len(made) > 1 else made["use"]


def _keys_set(node: Node, path: str = "") -> Iterator[str]:
    """Yield the keys that a YAML mapping sets; the keys of nested mappings joined with dots in place of the mapping's: `timeout.total`."""
    if isinstance(node, document.Table):
        for key, value in node.pairs:
            below = f"{path}.{key.text}" if path else key.text
            yield from _keys_set(value, below) if isinstance(value, document.Table) else (below,)


DEFAULTS = frozenset(item.name for item in record_of(Defaults).fields)
"""Keys that a route inherits from `defaults`."""


def _pipeline(lines: tuple[StepLine, ...], templates: Mapping[str, str]) -> JsonObject:
    used: set[str] = set()
    steps: list[Json] = []
    for line in lines:
        options = _options(line)
        steps.append({"step": str(line.name), "options": options})
        if isinstance(options, str) and line.name in STEPS and "templates" in inspect.signature(STEPS[line.name]).parameters:
            used |= {options} & templates.keys() if str(line.name) == "output" else _templates_of(options, templates)
    return {"steps": steps, "texts": {name: digest(templates[name]) for name in sorted(used)}}


def _templates_of(name: str, templates: Mapping[str, str]) -> frozenset[str]:
    from router.templates import templates_of  # noqa: PLC0415 - it imports Jinja, for configurations with a prompt

    return templates_of(name, templates)


def _options(line: StepLine) -> Json:
    """Return a step's options as JSON: a mapping, or a single value for a step that takes one."""
    function = STEPS.get(line.name)
    if function is None:
        return canonical(line.options, Anything())
    record = record_of(function)
    single = any(one.kind is one.POSITIONAL_ONLY for one in inspect.signature(function).parameters.values())
    return canonical(line.options, record.fields[0].shape if single else record)
