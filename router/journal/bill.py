"""Costs since this process began, summed by route, by target and by caller.

A request is added once, when it is over, if it used anything. The number of names is bounded: further ones share the row `other`.
Each call is added to one row, of its route, target and caller together; these rows are summed up when the totals are read.
"""

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TypedDict

from router.journal.attempts import DIGITS
from router.journal.entry import Entry
from router.value import Mutable, asdict

MAX_ROWS = 1000
"""Names that have a row of their own, of routes, of targets and of callers each; and rows that are not summed up yet."""
OTHER = "other"
"""The row of all names beyond MAX_ROWS."""
NOBODY = "anonymous"
"""The row of requests without a caller's name."""


class Row(Mutable):
    """Usage and cost under one name, in US dollars, as far as prices are known. Tokens: counted and estimated ones together.

    count: requests of a route or a caller, calls of a target
    cost_usd: for all of these tokens
    estimated_cost_usd: the part of it that is estimated
    saved_usd: savings by the providers' prompt caches, as they report them; negative where writing to the caches cost more
    """

    count: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float = 0.0
    estimated_cost_usd: float = 0.0
    saved_usd: float = 0.0

    def add(self, other: "Row", count: int) -> None:
        """Add the usage and cost of another row. `count`: what it adds to the count."""
        self.count += count
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cached_tokens += other.cached_tokens
        self.cache_write_tokens += other.cache_write_tokens
        self.reasoning_tokens += other.reasoning_tokens
        self.cost_usd += other.cost_usd
        self.estimated_cost_usd += other.estimated_cost_usd
        self.saved_usd += other.saved_usd


class _Calls(Row):
    """The calls of one target for one route and caller. `requests`: those of them that were the last call of a request."""

    requests: int = 0


Rows = Mapping[str, Mapping[str, int | float]]
"""Name → its Row, as JSON."""


class Totals(TypedDict):
    """The cost totals of one process, or of several. `since`: when the oldest of them began, in seconds since 1970."""

    since: float
    routes: Rows
    targets: Rows
    callers: Rows


class Bill:
    """The cost totals of this process, by route, target and caller."""

    def __init__(self) -> None:
        self._since = time.time()
        self._routes: dict[str, Row] = {}
        self._targets: dict[str, Row] = {}
        self._callers: dict[str, Row] = {}
        self._calls: dict[tuple[str, str, str], _Calls] = {}
        """Route, target and caller → their calls that the three tables lack."""

    def enter(self, entry: Entry) -> None:
        """Add a finished request to the totals, if it used tokens: each attempt for its target, the whole for its route and its caller."""
        calls: _Calls | None = None
        for attempt, cost in zip(entry.attempts, entry.sums.costs, strict=True):
            used = attempt.usage or attempt.estimate
            if used is None:
                continue
            key = entry.route, attempt.target, entry.caller or NOBODY
            try:
                calls = self._calls[key]
            except KeyError:
                if len(self._calls) >= MAX_ROWS:
                    self._sum_up(1)
                calls = self._calls[key] = _Calls()
            calls.count += 1
            calls.input_tokens += used.input_tokens
            calls.output_tokens += used.output_tokens
            if used.cached_tokens or used.cache_write_tokens or used.reasoning_tokens:
                calls.cached_tokens += used.cached_tokens
                calls.cache_write_tokens += used.cache_write_tokens
                calls.reasoning_tokens += used.reasoning_tokens
                if attempt.usage is not None and (price := entry.prices.get(attempt.target)) is not None:
                    calls.saved_usd += price.saved(used)
            if cost:
                calls.cost_usd += cost
                if attempt.usage is None:
                    calls.estimated_cost_usd += cost
        if calls is not None:
            calls.requests += 1

    def totals(self) -> Totals:
        """Return the cost totals of this process."""
        self._sum_up(MAX_ROWS)
        return {"since": self._since, "routes": _plain(self._routes), "targets": _plain(self._targets), "callers": _plain(self._callers)}

    def _sum_up(self, rows: int) -> None:
        """Move this many rows of calls, the oldest first, into the three tables, which so get their names in the order of the requests."""
        for key in list(islice(self._calls, rows)):
            calls, (route, target, caller) = self._calls.pop(key), key
            _row_of(self._routes, route).add(calls, calls.requests)
            _row_of(self._targets, target).add(calls, calls.count)
            _row_of(self._callers, caller).add(calls, calls.requests)


def summed(reports: Sequence[Totals]) -> Totals:
    """Return the cost totals of all workers together, in each table the most expensive name first."""

    def table(rows: Sequence[Rows]) -> Rows:
        sums: dict[str, Row] = {}
        for name, row in (pair for one in rows for pair in one.items()):
            added = Row(**row)  # type: ignore[arg-type]
            _row_of(sums, name).add(added, added.count)
        return {
            name: {key: value if isinstance(value, int) else round(value, DIGITS) or 0.0 for key, value in row.items()}
            for name, row in sorted(_plain(sums).items(), key=lambda pair: (-pair[1]["cost_usd"], pair[0]))
        }

    routes, targets, callers = (table([one[kind] for one in reports]) for kind in ("routes", "targets", "callers"))
    return {"since": min(one["since"] for one in reports), "routes": routes, "targets": targets, "callers": callers}


def _row_of(rows: dict[str, Row], name: str) -> Row:
    """Return the row of this name, which is added if there is none; beyond MAX_ROWS names the row OTHER."""
    return rows.setdefault(name if name in rows or len(rows) < MAX_ROWS else OTHER, Row())


def _plain(rows: Mapping[str, Row]) -> Rows:
    return {name: asdict(row) for name, row in rows.items()}
