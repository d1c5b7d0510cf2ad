"""Show what a request to a route goes through: its pipeline, its limits, its targets in order.

examples:
  router show chat-model               by its id
  router show gpt-4                    or by an alias
"""

import argparse
import asyncio
from collections.abc import Sequence

from router.config import load
from router.config.declaration import Member, named
from router.config.values import Name
from router.generation import Compiled, Generation, build

_LANES = {
    "anthropic": "its own wire, read directly",
    "openai": "its own wire, read directly",
    "litellm": "LiteLLM",
    "script": "a script, offline",
}


def options(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("route", help="a route's id or alias")


def run(given: argparse.Namespace) -> int:
    """Show one route."""
    generation = build(load(given.routes))
    route = generation.route(given.route)
    print("\n".join(_shown(route, generation)))
    asyncio.run(generation.close())
    return 0


def _shown(route: Compiled, generation: Generation) -> list[str]:
    declared = route.declared
    aliases = [alias for alias, name in generation.aliases.items() if name == route.name]
    shown = [f"{route.name}" + (f"  (also {', '.join(aliases)})" if aliases else "") + f"   generation {generation.digest}"]
    shown.append(f"  pipeline   {declared.pipeline}: {' → '.join(route.steps)}")
    if route.tools:
        shown.append(f"  tools      {', '.join(tool.spec.name for tool in route.tools)}; at most {declared.max_steps} model calls")
    shown.append(f"  reasoning  {declared.reasoning}")
    timeout, retry = declared.timeout, declared.retry
    waits = f"connect {timeout.connect:g} s, first token {timeout.first_token:g} s, idle {timeout.idle:g} s"
    shown.append(f"  timeout    {waits}, tool {timeout.tool:g} s, total {timeout.total:g} s")
    shown.append(f"  retry      {retry.attempts} attempts, {retry.backoff.least:g} to {retry.backoff.most:g} s apart")
    if declared.hedge:
        after = f"{declared.hedge.after:g} s" if declared.hedge.after else "a time learned from its answers"
        shown.append(f"  hedge      the next target too after {after}; for {declared.hedge.at_most:.3g} of the questions at most")
    if declared.cache:
        whose = "for the caller it was made for" if declared.cache.scope == "caller" else "for everybody"
        also = "; also where tools ran" if declared.cache.tools == "keep" else ""
        shown.append(
            f"  cache      an answer is kept for {declared.cache.ttl:g} s, {whose}{also}; {declared.cache.size / 1024**2:g} MiB in all"
        )
    shown.append("  targets, in order: the first that starts to speak")
    for count, pool in enumerate(declared.pools, 1):
        if len(pool) > 1:
            shown.append(f"    {count}. one of these, {_sharing(pool, declared.balance)}:")
        shown += [_target(one, route, generation, "       -" if len(pool) > 1 else f"    {count}.") for one in pool]
    return shown


def _target(one: Name | Member, route: Compiled, generation: Generation, bullet: str) -> str:
    name = named(one)
    target = next((target for target in route.targets if target.name == name), None)
    words = f"{target.model} through {_LANES[target.lane]}" if target else f"skipped: {generation.skipped[name]}"
    window = f", reads {target.window} tokens" if target and target.window and target.lane != "script" else ""
    weight = f" (weight {one.weight:g})" if isinstance(one, Member) else ""
    return f"{bullet} {name}{weight}: {words}{window}"


def _sharing(pool: Sequence[Name | Member], balance: str) -> str:
    if any(isinstance(one, Member) for one in pool):
        return "by their weights"
    return {"least_busy": "the least busy one first", "latency": "the one that starts soonest first"}[balance]
