"""The state of a process as plain JSON, for the admin pages, the metrics and the other workers."""

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Literal, TypedDict, TypeVar

from router.failover import Breaker, Position, Reason
from router.generation import Carryover, Generation
from router.reload import Live, Reload

T = TypeVar("T")


class RefusalReport(TypedDict):
    """The report, a JSON object, of a target that refuses every question: the reason, and two times in seconds since 1970.

    since: when the first of the refused questions was asked
    as_of: an answer to a question that was asked then or later ends the state
    """

    reason: Reason
    since: float
    as_of: float


class RefusingState(TypedDict):
    """A target's refusal of every question (None without), and when its newest answered one was asked, in seconds since 1970."""

    refusing: RefusalReport | None
    answered: float | None


class TargetReport(RefusingState):
    """The report of a target's health and load. Unknown values are None.

    state: the position in which an operator put it
    retry_in: seconds until its open breaker admits a probe; None unless it is open
    busy: requests in flight
    first_token_p50: median time to first token in seconds
    """

    name: str
    state: Position
    breaker: Literal["closed", "half_open", "open"]
    retry_in: float | None
    busy: int
    first_token_p50: float | None
    learned: list[str]
    """Sentences about parameters that its model refused and is not sent any more."""
    routes: list[str]


class RedisReport(TypedDict):
    """The report of the shared Redis. `here`: whether it is reachable now; `departures`: how often it became unreachable."""

    here: bool
    departures: int


class Report(TypedDict):
    """The report of a process.

    generations: how many configurations it still holds, the live one included
    open: answers in progress
    stalls: how often its event loop was blocked
    swaps, failures: configurations that went live after the first, and edits that could not be served
    failed: True if the files on disk cannot be loaded now
    redis: None where none is declared
    tool_servers: label → whether the server is reachable
    """

    pid: int
    generation: str
    generations: int
    open: int
    stopping: bool
    stalls: int
    swaps: int
    failures: int
    failed: bool
    redis: RedisReport | None
    tool_servers: dict[str, bool]
    targets: list[TargetReport]


ORDER = ("closed", "half_open", "open")
TURN = 500
"""Routes that are read, or targets that are reported, in one turn of the event loop: about 5 ms. Each has its state at its own turn."""


async def report(live: Live, reload: Reload | None, running: int, *, stopping: bool, stalls: int) -> Report:
    """Return the report of this process. `running`: the answers in progress."""
    redis, servers = live.generation.kept.redis, live.generation.kept.tool_servers
    return {
        "pid": os.getpid(),
        "generation": live.generation.digest,
        "generations": live.alive,
        "open": running,
        "stopping": stopping,
        "stalls": stalls,
        "swaps": reload.swaps if reload else 0,
        "failures": reload.failures if reload else 0,
        "failed": reload is not None and reload.failed is not None,
        "redis": {"here": redis.here, "departures": redis.departures} if redis else None,
        "tool_servers": {one.label: all(other.here for other in servers if other.label == one.label) for one in servers},
        "targets": await targets(live.generation),
    }


async def targets(generation: Generation) -> list[TargetReport]:
    """Return the reports of all targets that a route asks, in the order of the routes."""
    asked: dict[str, list[str]] = {}
    async for name, route in _in_turns(generation.routes.items()):
        for target in route.targets:
            asked.setdefault(target.name, []).append(name)
    breakers: dict[str, list[Breaker]] = {}
    async for (name, *_), (_, health) in _in_turns(generation.kept.health.items()):
        breakers.setdefault(name, []).append(health.breaker)
    return [_target(name, routes, breakers[name], generation.kept) async for name, routes in _in_turns(asked.items())]


async def _in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield these items, TURN of them in each turn of the event loop."""
    for number, one in enumerate(items, start=1):
        yield one
        if number % TURN == 0:
            await asyncio.sleep(0)


def _target(name: str, routes: list[str], breakers: list[Breaker], kept: Carryover) -> TargetReport:
    # Routes that ask it in different ways have breakers of their own: the one that stands worst is told.
    worst = max(breakers, key=lambda breaker: (ORDER.index(breaker.state), breaker.wait()))
    load, refusals = kept.loads[name][1], kept.refusals[name][1]
    usual, now, epoch = load.usual(0.5), refusals.now, time.time() - refusals.clock()
    return {
        "name": name,
        "state": kept.switches.of(name),
        "breaker": worst.state,
        "retry_in": round(worst.wait(), 3) if worst.state == "open" else None,
        "refusing": None if now is None else {"reason": now.reason, "since": epoch + now.since, "as_of": epoch + now.as_of},
        "answered": None if math.isinf(refusals.answered) else epoch + refusals.answered,
        "busy": load.busy,
        "first_token_p50": None if usual is None else round(usual, 4),
        "learned": [*kept.learned[name][1].sentences] if name in kept.learned else [],
        "routes": routes,
    }


def refused(states: Sequence[TargetReport]) -> RefusingState:
    """Return a target's refusal over all workers, from its report by each: the newest one, with the earliest `since`.
    `refusing` is None if it answers again: a worker had an answer to a question that was asked at or after `as_of`.
    """
    answered = max((one["answered"] for one in states if one["answered"] is not None), default=None)
    stands = [one["refusing"] for one in states if one["refusing"] is not None and one["refusing"]["as_of"] > (answered or 0)]
    if not stands:
        return {"refusing": None, "answered": answered}
    newest = max(stands, key=lambda one: one["as_of"])
    return {"refusing": {**newest, "since": min(one["since"] for one in stands)}, "answered": answered}


def merged(reports: list[Report]) -> list[TargetReport]:
    """Return one report for each target, merged over all workers: loads are added, and of the breakers and latencies the worst counts."""
    found: dict[str, TargetReport] = {}
    for one in (target for each in reports for target in each["targets"]):
        known = found.setdefault(one["name"], one)
        if known is one:
            continue
        worse = ORDER.index(one["breaker"]) > ORDER.index(known["breaker"])
        starts = [each for each in (known["first_token_p50"], one["first_token_p50"]) if each is not None]
        found[one["name"]] = {
            **(one if worse else known),
            **refused((known, one)),
            "busy": known["busy"] + one["busy"],
            "first_token_p50": max(starts, default=None),
            "learned": sorted({*known["learned"], *one["learned"]}),
        }
    return list(found.values())
