"""The data that `router show` prints of a route: from the files here, or from a running server."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from router.chat import Json, JsonObject
from router.commands.running import Running
from router.config import load
from router.config.declaration import TargetConfig
from router.config.values import Name, Secret
from router.description import Description, conditions, describe, listing, pools, shown, table, tool_sets
from router.generation import build
from router.targets import batch_of, facts_of, lane_of
from router.value import Value

APART = frozenset({"kind", "pipeline", "targets", "aliases", "tools", "max_steps", "reasoning", "own", "balance"})
"""Keys of a route that `router show` prints in lines of another form; each other key that is set has a line `KEY VALUE`."""
USUAL: JsonObject = {"affinity": "chat", "prompt_cache": "auto", "listed": True, "refuse": []}
"""Defaults of some keys, which get a line only if they have another value."""


class Seen(Value, frozen=True):
    """The data of routes and targets that `router show` prints."""

    digest: str  # the id of the generation
    description: Description
    skipped: Mapping[str, str]  # target → reason
    lanes: Mapping[str, tuple[str, str]]  # target → (lane, reason): native wire, LiteLLM or script
    tools: Mapping[str, Sequence[str]]  # route → names of its tools, and `mcp LABEL` for each server; its tool sets if only those are known
    health: Mapping[str, JsonObject]  # target → its health on a running server; empty for files
    facts: Mapping[str, Sequence[str]]  # target → the features that its model accepts, in words
    budgets: Sequence[JsonObject] = ()  # limits on tokens or money with the share that is used, as the admin pages have them


def loaded(routes: Path) -> Seen:
    """Return the data of the files on disk, without health and budgets. Raises ConfigError if the configuration is invalid."""
    generation = build(load(routes))
    declared = generation.declaration.routes.targets
    lanes = {str(name): lane_of(target) for name, target in declared.items()}
    tools = {
        name: [*(spec.name for spec in route.toolbox.specs), *(f"mcp {server.label}" for server in route.declared.tool_servers)]
        for name, route in generation.routes.items()
    }
    facts = {str(name): facts_of(target).sentences for name, target in declared.items() if target.model is not None}
    asyncio.run(generation.close())
    return Seen(generation.digest, describe(generation.declaration), generation.skipped, lanes, tools, {}, facts)


def served(server: Running) -> Seen:
    """Return the data of a running server, with the health of its targets and the budgets. Raises NoServer if it does not answer."""
    live = server.served()
    targets, skipped = live.declared.targets, {name: str(why) for name, why in live.skipped.items()}
    lanes = {name: _lane(target) for name, target in targets.items()}
    facts = {name: _facts(target) for name, target in targets.items()}
    tools = {name: tool_sets(route) for name, route in live.declared.routes.items()}
    return Seen(live.digest, live.declared, skipped, lanes, tools, server.targets(), facts, server.budgets())


def _lane(target: JsonObject) -> tuple[str, str]:
    """Return (lane, reason) of a described target, whose variables are not resolved. The lane is empty if a variable holds the provider."""
    model = target.get("model")
    if not isinstance(model, str):
        return lane_of(TargetConfig(script="demo"))
    if "$" in model.partition("/")[0]:
        return "", f"its provider is in {model}"
    key = Secret("") if target.get("api_key") else None
    return lane_of(TargetConfig(model=Name(model), via="litellm" if target.get("via") else None, api_key=key))


def _facts(target: JsonObject) -> Sequence[str]:
    """Return the features of a described target's model by the table of models, in words; none for a script, or a model in a variable."""
    model, base = target.get("model"), target.get("base_model")
    if not isinstance(model, str) or "$" in model or "/" not in model:
        return ()
    window, address, cached = (target.get(key) for key in ("context_window", "api_base", "prompt_cache"))
    known = TargetConfig(
        model=Name(model),
        base_model=base if isinstance(base, str) else None,
        context_window=window if isinstance(window, int) else None,
        api_base=address if isinstance(address, str) else None,
        prompt_cache=cached if cached in ("on", "off") else "auto",
    )
    return facts_of(known).sentences


def record(name: str, seen: Seen) -> dict[str, Json]:
    """Return the data of one route, as `router show --json` prints it."""
    route, tools = seen.description.routes[name], seen.tools[name]
    hidden: list[JsonObject] = [{"step": "reasoning", "options": "hide"}] if route.get("reasoning") == "hide" else []
    granted: list[JsonObject] = [{"step": "tools", "options": {"tools": list(tools), "max_steps": route.get("max_steps")}}] if tools else []
    steps = map(table, listing(seen.description.pipelines.get(str(route.get("pipeline")), {}).get("steps")))
    counting = [one for one in seen.budgets if one.get("routes") is None or name in listing(one.get("routes"))]
    budgets = [{key: value for key, value in one.items() if key != "routes"} for one in counting]
    return {
        "route": name,
        "aliases": route.get("aliases"),
        "generation": seen.digest,
        "kind": route.get("kind") or "chat",
        "pipeline": route.get("pipeline"),
        "steps": [*hidden, *steps, *granted],  # outermost first
        "settings": {key: shown(value) for key, value in route.items() if key not in APART and value not in (None, USUAL.get(key))},
        **({"budgets": budgets} if budgets else {}),
        "balance": route.get("balance"),
        "targets": list(_targets(route, seen)),
    }


HEALTH_FIELDS = ("state", "breaker", "retry_in", "refusing", "busy", "first_token_p50", "learned")
"""Fields of a target's health that are shown, as the admin pages name them."""


def _targets(route: JsonObject, seen: Seen) -> Iterator[dict[str, Json]]:
    """Yield the data of each target of a route: its place, whether and when it would be asked now, its model, lane and health."""
    before: list[tuple[str, str]] = []
    for place, (pool, said) in enumerate(zip(pools(route), conditions(route), strict=True), 1):
        asked: list[tuple[str, str]] = []
        for (name, weight), where in zip(pool, said, strict=True):
            target, health = seen.description.targets.get(name, {}), seen.health.get(name, {})
            why_not = _why_not(name, health, seen) or _demo(target, before, route)
            if not why_not:
                asked.append((name, where))
            lane, why_lane = seen.lanes.get(name, ("", "unknown"))
            if route.get("kind") == "embeddings" and target.get("model") is not None:
                lane, why_lane = "openai", "asked at `/embeddings` on the OpenAI wire"
            yield {
                "target": name,
                "place": place,
                "weight": weight,
                "where": where or None,
                "asked": not why_not,
                "why": why_not or _why(name, where, before, health, route),
                "model": target.get("model") or f"script/{target.get('script') if isinstance(target.get('script'), str) else 'lines'}",
                "lane": lane,
                "why_lane": why_lane,
                "context_window": target.get("context_window"),
                "facts": list(seen.facts.get(name, ())) if route.get("kind") == "chat" else list(_batches(target)),
                **{key: health.get(key) for key in HEALTH_FIELDS if health},
            }
        before += asked


def _batches(target: JsonObject) -> Iterator[str]:
    """Yield a sentence on the most inputs per embeddings call to a target; nothing for a script, or if a variable holds the provider."""
    model, most = target.get("model"), target.get("batch_size")
    if isinstance(model, str) and "$" not in model.partition("/")[0]:
        yield f"larger batches are split: at most {batch_of(model, most if isinstance(most, int) else None)} inputs in one call"


def _why_not(name: str, health: JsonObject, seen: Seen) -> str:
    """Return why a target would not be asked now: skipped at load, switched by an operator, or its breaker is open. Empty if it would."""
    if name in seen.skipped:
        return seen.skipped[name]
    if health.get("state") in ("drain", "open"):
        return "an operator has taken it out" if health["state"] == "drain" else "an operator has opened its breaker"
    if health.get("breaker") == "open":
        wait = health.get("retry_in")
        return f"its breaker is open, for {wait:.0f} s more" if isinstance(wait, int | float) else "its breaker is open"
    return ""


def _demo(target: JsonObject, before: Sequence[tuple[str, str]], route: JsonObject) -> str:
    """Return why a script makes no embeddings: a model `before` it is asked. Empty if it does, and for models and chat routes."""
    if route.get("kind") != "embeddings" or target.get("model") is not None or not before:
        return ""
    return f"a demo makes embeddings only while every model before it is skipped, and {before[0][0]} is not"


def _why(name: str, where: str, before: Sequence[tuple[str, str]], health: JsonObject, route: JsonObject) -> str:
    """Return in words when a target is asked. `where`: its condition in words; `before`: the targets before it, each with its condition."""
    probing = "; by one question at a time, for its breaker is half open" if health.get("breaker") == "half_open" else ""
    only = f"where {where}: " if where else ""
    others = list(dict.fromkeys(one for one, _ in before if one != name))
    again = ", unless it was asked above" if len(others) < len({one for one, _ in before}) else ""
    if not others:
        return f"{only}asked first{again}{probing}"
    hedge = table(route.get("hedge"))
    after = hedge.get("after") or "most of its answers take to start"
    late = f", or later than {after}" if hedge and len(others) == 1 else ""
    failing = f"where {' and '.join(others)} {'are' if len(others) > 1 else 'is'} silent or failed{late}"
    if all(condition for _, condition in before):
        return f"{only}asked first where no condition above holds, else {failing}{again}{probing}"
    return f"{only}asked {failing}{again}{probing}"
