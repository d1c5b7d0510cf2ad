"""Diagrams of two state machines, generated from the code: the order of an answer's events, and the circuit breaker.

The order of events is a table in `router/events.py`. The breaker's diagram is explored: from each reached state, every possible event is
tried on a copy of a real breaker, until no new state appears.
"""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from handbook.reference import MADE
from router.config.declaration import BreakerConfig as Declared
from router.events import ORDER
from router.failover.breaker import Breaker

Arrow = tuple[str, str]

EVENT_STATES = {"idle": "nothing yet", "speaking": "a model call", "running": "tools run", "over": "over"}
"""State of an answer → its label in the diagram."""
DECLARED = Declared(failures=5, within=30, open=4)
"""The shipped breaker: `{failures: 5, within: 30s, open: 4s}`."""
WAIT_S = 10
"""Seconds of the tried Retry-After: longer than the open time, shorter than the longest pause."""


@dataclass
class _Clock:
    """A clock that changes only when a test sets it."""

    now: float = 1000.0

    def read(self) -> float:
        return self.now


@dataclass
class _Bench:
    """A breaker with a clock of its own; both are copied together to try out a transition."""

    clock: _Clock = field(default_factory=_Clock)
    breaker: Breaker = field(init=False)

    def __post_init__(self) -> None:
        self.breaker = Breaker(DECLARED, self.clock.read)

    def state(self) -> str:
        """Return the breaker's state: `waiting` and `trial_waits` with a Retry-After, `trial` for a closed breaker that one failure opens."""
        if self.breaker.waits_for_retry_after:
            tried = copy.deepcopy(self)
            tried.clock.now += WAIT_S
            return "waiting" if tried.state() == "closed" else "trial_waits"
        if self.breaker.state != "closed":
            return self.breaker.state
        tried = copy.deepcopy(self)
        tried.ask(Breaker.failed)
        return "closed" if tried.breaker.state == "closed" else "trial"

    def ask(self, report: Callable[..., None], times: int = 1) -> None:
        """Request a permit and, if the breaker grants it, report this result; `times` times."""
        for _ in range(times):
            permit = self.breaker.admit()
            if permit is not None:
                report(self.breaker, permit)


BREAKER_STATES = {
    "closed": "closed",
    "open": "open",
    "half_open": "half-open: one probe",
    "trial": "on trial",
    "waiting": "waits for Retry-After",
    "trial_waits": "on trial, waits for Retry-After",
}
"""State of a breaker → its label in the diagram."""
ONE, TOO_MANY = "one failure", "too many failures"
HAPPENINGS: dict[str, Callable[[_Bench], None]] = {
    ONE: lambda bench: bench.ask(Breaker.failed),
    "one timeout": lambda bench: bench.ask(Breaker.fell_silent),
    "refused key or model": lambda bench: bench.ask(Breaker.denied),
    TOO_MANY: lambda bench: bench.ask(Breaker.failed, DECLARED.failures),
    "first word": lambda bench: bench.ask(Breaker.began),
    "complete answer": lambda bench: bench.ask(Breaker.succeeded),
    "Retry-After": lambda bench: bench.breaker.leave(WAIT_S),
    "client leaves": lambda bench: bench.ask(Breaker.rest),
    "time passes": lambda bench: setattr(bench.clock, "now", bench.clock.now + WAIT_S),
}
"""Label of an event → a function that applies it to a breaker."""


def breaker_arrows() -> dict[Arrow, list[str]]:
    """Return (state before, state after) → labels of the events that lead from one to the other, tried on a real breaker."""
    arrows: defaultdict[Arrow, list[str]] = defaultdict(list)
    new = _Bench()
    reached = {new.state(): new}
    ahead = list(reached)
    while ahead:
        before = ahead.pop(0)
        for words, happen in HAPPENINGS.items():
            bench = copy.deepcopy(reached[before])
            happen(bench)
            after = bench.state()
            if after != before and not (words == TOO_MANY and ONE in arrows[before, after]):
                arrows[before, after].append(words)
            if after not in reached:
                reached[after] = bench
                ahead.append(after)
    return {arrow: words for arrow, words in arrows.items() if words}


def event_arrows() -> dict[Arrow, list[str]]:
    """Return (state before, state after) → names of the events that lead from one to the other, from the table `ORDER`."""
    arrows: defaultdict[Arrow, list[str]] = defaultdict(list)
    for (before, kind), after in ORDER.items():
        arrows[before, after].append(kind.__name__)
    return dict(arrows)


def _diagram(names: Mapping[str, str], arrows: Mapping[Arrow, list[str]], last: str = "") -> Iterator[str]:
    """Yield the lines of a Mermaid state diagram; the first name is the initial state, `last` the final one."""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield from (f'    state "{words}" as {name}' for name, words in names.items())
    yield f"    [*] --> {next(iter(names))}"
    yield from (f"    {before} --> {after}: {', '.join(words)}" for (before, after), words in arrows.items())
    if last:
        yield f"    {last} --> [*]"
    yield "```"


def _table(names: Mapping[str, str], arrows: Mapping[Arrow, list[str]]) -> Iterator[str]:
    """Yield the same arrows as a Markdown table."""
    yield "| from | to | on |\n|---|---|---|"
    yield from (f"| {names[before]} | {names[after]} | {', '.join(words)} |" for (before, after), words in arrows.items())


def _joined(lines: Iterator[str]) -> str:
    return "\n".join(lines)


def states() -> str:
    """Return the page with both diagrams, each with its table."""
    return f"""\
# States

{MADE}
This page shows two state machines of the router: the circuit breaker of a target, and the order of the events of an answer. It is for
those who read the log or change the code. The table after each diagram shows the same as the diagram.

## The circuit breaker

A breaker keeps requests away from a target that fails. [routes.md](../routes.md#breaker) explains its keys.
`GET /admin/targets` shows its state. The log shows only the outcome `breaker_open` of a target that was not asked.

* *Too many failures*: as many in a row as `failures`, within the time `within`. A timeout is a
  failure, too. [routes.md](../routes.md#what-happens-when-a-target-fails) says what else counts.
* *On trial*: closed again, but a single failure opens it. `GET /admin/targets` shows
  this state as closed.
* *Waits for Retry-After*: the target asked for a pause. `GET /admin/targets` shows this state as
  open.
* *Refused key or model*: a refusal that holds for every question, such as a revoked key.

{_joined(_diagram(BREAKER_STATES, breaker_arrows()))}

{_joined(_table(BREAKER_STATES, breaker_arrows()))}

When a breaker opens, results of requests that it let through earlier no longer count. An operator can make a breaker half-open, too
([drain a target](../observability.md#drain-a-target)).

## The order of events

An answer is a stream of events. The [glossary](../glossary.md#the-kinds-of-events) lists their kinds. Every target and every step keeps
this order, and every dialect relies on it.

{_joined(_diagram(EVENT_STATES, event_arrows(), "over"))}

{_joined(_table(EVENT_STATES, event_arrows()))}

A `ToolResult` comes after the `ToolCall` with the same id. A `LateResult` comes right after the first `Start`.
"""
