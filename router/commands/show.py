"""Show the steps, the settings and the targets of a route, and why each target would be asked or skipped now.
Without an argument, list all routes, one line each.

examples:
  router show                                          all routes
  router show chat-model                               one route, by its id
  router show gpt-4 --json                             one route, by an alias, as JSON
  router show --live http://127.0.0.1:8000 chat-model  on a running server: with breakers, requests in flight, drained targets
  router show --live https://router.example.com --key-file admin.key

exit codes:
  0 the route was printed
  1 the configuration is invalid, there is no such route, or the server cannot be asked
  2 the command line is wrong
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import cast

from router.chat import Json, JsonObject
from router.commands import running
from router.commands.running import Running
from router.commands.seen import loaded, record, served
from router.config.meant import did_you_mean
from router.description import listing, table, worded
from router.errors import UnknownModel

SHARING = {"least_busy": "the least busy one first", "latency": "the one that starts soonest first", "": "by their weights"}


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("route", nargs="?", help="a route's id or alias; default: all")
    running.options(parser, "show what this server runs")
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def run(given: argparse.Namespace) -> int:
    """Print one route, or all. Returns 0. Raises UnknownModel if there is no such route, NoServer if the server cannot be asked."""
    seen = served(Running(given)) if given.live else loaded(given.routes)
    if given.route is None:
        records = [record(name, seen) for name in seen.description.routes]
        found, lines = {"generation": seen.digest, "routes": records}, _lines(records)
    elif (name := seen.description.route_of(given.route)) is not None:
        found = record(name, seen)
        lines = _page(found)
    else:
        raise UnknownModel(f"There is no route `{given.route}`{did_you_mean(given.route, seen.description.ids)}")
    print(json.dumps(found, ensure_ascii=False, indent=2) if given.json else "\n".join(lines))
    return 0


FIRST = {"chat": "the first to speak gives the answer", "embeddings": "the first to make all vectors gives the answer"}
"""Kind of a route → the words that say which of its targets answers."""


def _page(record: JsonObject) -> Iterator[str]:
    aliases = ", ".join(map(str, listing(record["aliases"])))
    yield f"{record['route']}" + (f"  (also {aliases})" if aliases else "") + f"   generation {record['generation']}"
    if record["kind"] == "chat":
        yield f"  {'pipeline':<10} {record['pipeline']}"
    else:
        yield f"  {'kind':<10} {record['kind']}, asked at POST /v1/embeddings"
    for count, step in enumerate(map(table, listing(record["steps"]))):
        options = table(step.get("options"))
        tools = f"{', '.join(map(str, listing(options.get('tools'))))}; at most {options.get('max_steps')} model calls"
        said = tools if step.get("step") == "tools" else worded(step.get("options"))
        yield f"  {'' if count else 'steps':<10} {count + 1}. {step.get('step')}: {said}"
    for key, value in table(record["settings"]).items():
        yield f"  {key:<10} {worded(value, key)}"
    for count, budget in enumerate(map(table, listing(record.get("budgets")))):
        yield f"  {'' if count else 'budgets':<10} {_budget(budget)}"
    yield f"  targets, in order: {FIRST[str(record['kind'])]}"
    places = [table(one) for one in listing(record["targets"])]
    shown_already: set[Json] = set()
    for target in places:
        pool = [one for one in places if one["place"] == target["place"]]
        if len(pool) > 1 and target["place"] not in shown_already:
            shown_already.add(target["place"])
            sharing = SHARING["" if target["weight"] is not None else str(record["balance"])]
            yield f"    {target['place']}. one of these, {sharing}:"
        bullet = "       -" if len(pool) > 1 else f"    {target['place']}."
        weight = f" (weight {worded(target['weight'])})" if target["weight"] is not None else ""
        yield f"{bullet} {target['target']}{weight}: {'' if target['asked'] else 'skipped: '}{target['why']}"
        facts, learned = (listing(target.get(key)) for key in ("facts", "learned"))
        more = ["; ".join(map(str, facts))] if facts else []
        more += [f"learned from refusals: {', '.join(map(str, learned))}"] if learned else []
        yield from (f"{' ' * len(bullet)} {line}" for line in (_nature(target), *more))
    if places and all(target.get("where") for target in places):
        yield "  each target has a condition: a question for which none holds gets the error no_target"


def _budget(budget: JsonObject) -> str:
    """Return the line for a limit on tokens or money: the limit, whom it counts, and how much is used."""
    caller, per, used = budget.get("caller"), budget.get("per"), budget.get("used")
    of = f" of the caller {caller}" if caller else " of all callers" if per == "route" else ""
    if isinstance(used, int | float):
        return f"{budget.get('limit')} {budget.get('most')}{of}: {used:.0%} used"
    each = {"ip": "address", "key": "caller", "user": "end user"}.get(str(per), str(per))
    subjects, largest = budget.get("subjects"), budget.get("largest")
    known = isinstance(subjects, int) and isinstance(largest, int | float)
    far = f"; used by {subjects:,}, the most by one: {largest:.0%}" if known else ""
    return f"{budget.get('limit')} {budget.get('most')}{of}: counted for each {each} by itself{far}"


def _nature(target: JsonObject) -> str:
    said = f"{target['model']}, {target['why_lane']}"
    if refusing := table(target.get("refusing")):
        said += f"; refuses every question since {_moment(refusing.get('since'))}: {refusing.get('reason')}"
    if "busy" in target:
        said += f"; {worded(target['busy'])} in flight"
        if isinstance(start := target["first_token_p50"], int | float):
            said += f", half of its answers start within {start:.2g} s"
    return said


def _moment(seconds: Json) -> str:
    """Return a time, in seconds since 1970, as text in UTC; another value as `worded` has it."""
    with suppress(TypeError, ValueError, OverflowError, OSError):
        return f"{datetime.fromtimestamp(cast('float', seconds), UTC):%Y-%m-%d %H:%M:%S} UTC"
    return worded(seconds)


def _lines(records: Sequence[JsonObject]) -> Iterator[str]:
    """Yield a line for each route in aligned columns: id, aliases, pipeline, targets, tools."""
    rows = [_line(record) for record in records]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for row in rows:
        yield "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), *row[3:]]).rstrip()


def _line(record: JsonObject) -> tuple[str, ...]:
    pooled: dict[Json, list[str]] = {}
    for target in (table(one) for one in listing(record["targets"])):
        mark = " (refusing)" if target.get("refusing") else "" if target["asked"] else " (skipped)"
        mark += "?" if target.get("where") else ""
        pooled.setdefault(target["place"], []).append(f"{target['target']}{mark}")
    chain = " → ".join(pool[0] if len(pool) == 1 else f"[{', '.join(pool)}]" for pool in pooled.values())
    aliases = ", ".join(str(one) for one in listing(record["aliases"]))
    granted = [table(table(step).get("options")).get("tools") for step in listing(record["steps"]) if table(step).get("step") == "tools"]
    tools = ", ".join(str(tool) for some in granted for tool in listing(some))
    asks = str(record["pipeline"]) if record["kind"] == "chat" else f"({record['kind']})"
    return str(record["route"]), aliases, asks, chain, *([f"tools {tools}"] if tools else [])
