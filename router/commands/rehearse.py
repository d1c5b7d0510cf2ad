"""The rehearsal of a target: announce its cost, ask, report. `router try TARGET`."""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator

from router.chat import Json
from router.config import load
from router.config.declaration import Declaration, TargetConfig
from router.config.meant import did_you_mean
from router.config.price import Price
from router.errors import Complaint, ConfigError, Place
from router.generation import Generation, build
from router.rehearsal import Course, QuestionOutcome, Rehearsed, estimate, facts_line
from router.targets import Connections, Learned, close_lanes, facts_of, lane_of, open_target
from router.value import Value, asdict, to_builtins

WORDS = {
    "no_tools": "it takes no tools",
    "no_images": "it reads no images",
    "no_effort": "it takes no effort",
    "no_call": "no call was made before",
}
"""Outcome of a skipped question → the reason in words."""


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("target", nargs="?", metavar="TARGET", help="the target to test; without it, serve for a first look")
    parser.add_argument("--yes", action="store_true", help="with TARGET: ask without waiting for a y")
    parser.add_argument("--json", action="store_true", help="with TARGET: print the report as a JSON object")
    parser.add_argument("--beside", metavar="ROUTE", help="with TARGET: compare its cost with that of this route's first model")


class AskedToday(Value, frozen=True):
    """The first model target of a route, to compare a rehearsed target with. `price`: None if unknown."""

    route: str
    target: str
    price: Price | None


def run(given: argparse.Namespace) -> int:
    """Rehearse a target and print the report. Returns 0 if it answers, 1 if not or if declined, 2 without both --yes and a terminal."""
    declaration = load(given.routes)
    generation = build(declaration)
    generation.discard()
    name: str = given.target
    declared = _declared(declaration, name)
    beside = _beside(generation, declaration, name, given.beside)
    facts = facts_of(declared)
    most = estimate(facts, declared.params)
    cost = "nobody knows its price" if most.dollars is None else f"at most ${most.dollars:.4f}"
    counts = f"at most {most.read:,} tokens read, {most.written:,} written"
    print(f"{name}: {declared.model}, {lane_of(declared)[1]}", file=sys.stderr)
    print(f"{most.questions} questions, at most {most.calls} calls; {cost} ({counts}).", file=sys.stderr)
    if not given.yes and not sys.stdin.isatty():
        print("error: the input is no terminal, so nobody can agree: give --yes.", file=sys.stderr)
        return 2
    if not given.yes:
        print("Ask them? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("Nothing was asked.", file=sys.stderr)
            return 1
    done = asyncio.run(_rehearsed(name, declared, generation))
    print(_json(name, declared, done, facts.price, beside) if given.json else "\n".join(_report(name, done, facts.price, beside)))
    return 0 if done.answers else 1


def _declared(declaration: Declaration, name: str) -> TargetConfig:
    """Return the declaration of the target `name`. Raises ConfigError if it is unknown, skipped, a script, or only makes embeddings."""
    known = {str(one): target for one, target in declaration.routes.targets.items()}
    skipped = {str(one): why for one, why in declaration.skipped.items()}
    kinds = {route.kind for route in declaration.routes.routes.values() if name in map(str, route.names)}
    why = ""
    if name not in known:
        why = f"there is no target `{name}`{did_you_mean(name, known)}"
    elif name in skipped:
        why = f"the target `{name}` is skipped: {skipped[name]}"
    elif known[name].model is None:
        why = f"the target `{name}` is a script: it has no provider to ask"
    elif kinds == {"embeddings"}:
        why = f"the target `{name}` makes embeddings, and a rehearsal asks the questions of a chat"
    if why:
        raise ConfigError((Complaint(Place(declaration.snapshot.routes, 1, 1), why),))
    return known[name]


def _beside(generation: Generation, declaration: Declaration, name: str, route: str | None) -> AskedToday | None:
    """Return the first model target of `route`, else of a route with the rehearsed target that asks another first; None without one."""
    routes = [generation.route(route)] if route else [one for one in generation.routes.values() if name in map(str, one.declared.names)]
    for one in routes:
        first = next((target for target in one.targets if target.lane != "script"), None)
        if first is not None and first.name != name:
            return AskedToday(one.name, first.name, facts_of(declaration.routes.targets[first.name]).price)  # type: ignore[index]
    return None


async def _rehearsed(name: str, declared: TargetConfig, generation: Generation) -> Rehearsed:
    """Rehearse a target over connections of its own, and return the result."""
    connections, learned = Connections(), Learned()
    routes = [one.declared.timeout for one in generation.routes.values() if name in map(str, one.declared.names)]
    waits = routes or [generation.declaration.routes.defaults.timeout]
    connect, first_token = min(one.connect for one in waits), min(one.first_token for one in waits)
    try:
        return await Course(name, declared, lambda one: open_target(name, one, connect, connections, learned), first_token).run()
    finally:
        await connections.close()
        await close_lanes()


def _report(name: str, done: Rehearsed, price: Price | None, beside: AskedToday | None) -> Iterator[str]:
    width = max(len(one.question) for one in done.asked)
    for one in done.asked:
        yield f"  {one.question:<{width}}  {_outcome_words(one)}"
    yield ""
    first = "no answer began" if done.first_token is None else f"{done.first_token:.3g} s to the first token (median)"
    used = done.used
    yield f"{done.calls} calls, {first}, {used.input_tokens:,} tokens read and {used.output_tokens:,} written"
    yield _priced("it", done, price)
    if beside is not None:
        yield _priced(f"{beside.target}, which {beside.route} asks first today,", done, beside.price)
    for finding in done.findings:
        where = f"the target {name}" if finding.where == "target" else "the routes that ask it"
        yield f"{finding.question}: {finding.sentence}" + (f"\n    in {where}: {finding.line}" if finding.line else "")
    if done.facts:
        yield f"\nwrite into the target {name}:\n  {facts_line(done.facts)}"


def _outcome_words(one: QuestionOutcome) -> str:
    if one.state == "skipped":
        return f"not asked: {WORDS.get(one.outcome, one.outcome)}"
    words = {"works": "works", "wrong": "answered, but not as it was asked", "refused": "refused", "failed": "failed"}[one.state]
    said = words if one.outcome == "ok" or one.state == "works" else f"{words}: {one.outcome}"
    said += f"; left out: {', '.join(one.omitted)}" if one.omitted else ""
    return said + (f"; learned: {', '.join(one.learned)}" if one.learned else "")


def _priced(who: str, done: Rehearsed, price: Price | None) -> str:
    if price is None:
        return f"nobody knows what {who} costs"
    cost = price.of(done.used)
    return f"{who} costs ${price.input:g} in and ${price.output:g} out for a million tokens: ${cost:.6f} for these"


def _json(name: str, declared: TargetConfig, done: Rehearsed, price: Price | None, beside: AskedToday | None) -> str:
    def cost(one: Price | None) -> Json:
        return None if one is None else {**to_builtins(one), "these": one.of(done.used)}

    record: dict[str, Json] = {
        "target": name,
        "model": str(declared.model),
        "answers": done.answers,
        "questions": [asdict(one) for one in done.asked],
        "calls": done.calls,
        "first_token": done.first_token,
        "tokens": asdict(done.used),
        "price": cost(price),
        "beside": None if beside is None else {"route": beside.route, "target": beside.target, "price": cost(beside.price)},
        "findings": [asdict(one) for one in done.findings],
        "facts": dict(done.facts),
    }
    return json.dumps(record, indent=2, ensure_ascii=False)
