"""Phrases that several commands print."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from router.chat import Json, JsonObject
from router.config import production
from router.config.declaration import Route
from router.config.server import Auth, Server
from router.config.tools import ToolServer, ToolSetEntry
from router.description import listing, pipelines_of, table
from router.errors import Complaint, Place
from router.generation import Generation
from router.params import NO_PARAMS, Params
from router.targets import NEEDS, emulated, fit
from router.value import names

WITHOUT = {"chat": "does not answer, users get the lines", "embeddings": "is skipped, clients get the vectors"}
"""Kind of a route → the fate of a question for which a script stands in."""


def counted(generation: Generation) -> str:
    """Return the number of routes with their noun, such as `3 routes`."""
    return f"{len(generation.routes)} route{'' if len(generation.routes) == 1 else 's'}"


def expired(server: Server) -> dict[str, str]:
    """Return the name of each declared API key that has expired → when it did, such as `2026-11-30 08:00 UTC`."""
    keys = server.auth.keys or {} if isinstance(server.auth, Auth) else {}
    now = datetime.now(UTC)
    return {name: f"{key.expires:%Y-%m-%d %H:%M %Z}" for name, key in keys.items() if key.expires and key.expires <= now}


def warned(generation: Generation, workers: int = 1) -> Sequence[Complaint]:
    """Return the warnings about a configuration, sorted by place. `workers`: the number of processes that serve it."""
    complaints = generation.declaration.complaints
    return complaints.in_order([*complaints.warnings, *_unshared(generation, workers)])


def _unshared(generation: Generation, workers: int) -> Iterator[Complaint]:
    """Yield a warning for each route with tools that need approval, if several processes serve it without a shared approval key."""
    server = generation.server
    if server.approval_key is not None or (workers == 1 and server.redis is None):
        return
    several = f"{workers} workers serve it" if workers > 1 else "`redis` is declared, for several replicas"
    for name, route in generation.routes.items():
        if route.toolbox.may_ask:
            yield Complaint(
                _asking(route.declared) or Place(generation.declaration.snapshot.routes, 1, 1),
                f"calls of tools of `{name}` wait until a user has allowed them, and {several}. An approval that reaches another process than "
                "the one that asked runs nothing: declare `server.approval_key`, the same for all",
            )


def _asking(route: Route) -> Place | None:
    """Return the place of the route's first tool set or server with `approve: always`; without one, of its first tool set or server."""
    always = [one for one in route.tools if isinstance(one, ToolSetEntry | ToolServer) and one.approve == "always"]
    match (*always, *route.tools)[0]:
        case ToolServer(mcp=address):
            return address[0].place if isinstance(address, tuple) else address.place
        case ToolSetEntry(use=name) | name:
            return name.place


def missing(generation: Generation) -> Sequence[Complaint]:
    """Return the missing variables and secret files of a configuration that was loaded `without_environment`; none for another."""
    return generation.declaration.complaints.in_order(generation.declaration.complaints.lacking)


def unpriced(generation: Generation) -> dict[str, str]:
    """Return target → warning, for targets of unknown price that a spend limit should hold, but cannot."""
    auth = generation.server.auth
    limits = [(key.limit, key.routes) for key in (auth.keys or {}).values()] if isinstance(auth, Auth) else []
    limits += [(route.declared.limit, (name,)) for name, route in generation.routes.items()]
    held = {route for limit, routes in limits if limit is not None and limit.spend is not None for route in routes or (None,)}
    if not held:
        return {}
    asked = [
        target
        for name, route in generation.routes.items()
        if name in held or None in held
        for target in route.targets
        if target.lane != "script" and target.facts.price is None
    ]
    return dict.fromkeys((target.name for target in asked), "nobody knows what it costs, so no limit on money holds it: give it a `price`")


def omissions(generation: Generation) -> dict[str, list[str]]:
    """Return target → sentences on settings that its model does not accept, e.g. `m takes no temperature; its own is left out`."""
    found: dict[str, list[str]] = {}
    options = {
        name: ([(f"the {name} pipeline's", _params(one)) for one in _options(steps, "params")], _options(steps, "output"))
        for name, steps in pipelines_of(generation.declaration).items()
    }
    for name, route in generation.routes.items():
        if route.declared.kind != "chat":
            continue
        pipeline = str(route.declared.pipeline)
        whose_pipeline, files = options[pipeline]
        for target in (one for one in route.targets if one.lane != "script"):
            own = generation.declaration.routes.targets[target.name].params  # type: ignore[index]
            wholes = [("its own", own), *whose_pipeline] if own is not NO_PARAMS else whose_pipeline
            if not wholes and not files and not route.toolbox:
                continue  # nothing to leave out
            model = target.model.partition("/")[2]
            lines = [
                f"{model} takes no {one}; {whose} is left out"
                for whose, params in wholes
                for one in fit(target.facts, params.over(own)).omitted  # an effort of none of its own may change it
                if one in params.given
            ]
            lines += [
                f"{model} takes no {one}, which is {whose}; questions to {name} pass it over"
                for whose, params in wholes
                for one, value in params.given.items()
                if one in NEEDS and value not in NEEDS[one] and one not in target.facts.takes
            ]
            if route.toolbox and not target.facts.tools:
                lines.append(f"{model} takes no tools; questions to {name} pass it over")
            for file in files:
                stood_in = emulated(target.facts, target.model, json.loads(generation.declaration.snapshot.texts[f"pipelines/{file}"]))
                why = f"does not take all of the {pipeline} pipeline's JSON schema:"
                if stood_in:
                    stand_in = f"{target.facts.stand_in} stands in for the {pipeline} pipeline's output"
                    why = f"keeps to no JSON schema by itself: {stand_in},"
                if stood_in is not False:
                    lines.append(f"{model} {why} answers are held back and checked")
            known = found.setdefault(target.name, [])
            known += [line for line in lines if line not in known]
    return {target: lines for target, lines in found.items() if lines}


def _options(pipeline: JsonObject, kind: str) -> list[Json]:
    """Return the options of each step of this kind of a pipeline."""
    return [step.get("options") for step in map(table, listing(pipeline.get("steps"))) if step.get("step") == kind]


def _params(options: Json) -> Params:
    known = set(names(Params))
    given = {name: value for name, value in table(options).items() if name in known and value is not None}
    if isinstance(stop := given.get("stop"), list):
        given["stop"] = tuple(str(one) for one in stop)
    return Params(**cast("dict[str, Any]", given))


def stand_ins(generation: Generation) -> dict[str, str]:
    """Return route → warning that a script answers if its models do not. Empty outside production."""
    if not production(generation.declaration):
        return {}
    return {
        name: f"where {_either(models)} {WITHOUT[route.declared.kind]} of the script {_either(route.stand_ins)}: "
        "take it out of the route's targets, and they get an error"
        for name, route in generation.routes.items()
        if (models := dict.fromkeys(one for post in route.stand_ins.values() for one in post.models))
    }


def _either(names: Iterable[str]) -> str:
    """Return the names joined as "a, b or c"."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
