"""Costs since this process began, summed by route, by target and by caller.

A request is added once, when it is over, if it used anything (see `rows.py`). The number of names is bounded: further ones share the row
`other`.
"""

import time
from collections.abc import Mapping, Sequence
from typing import TypedDict

from router.journal.attempts import DIGITS
from router.journal.rows import Labels, Rows
from router.journal.rows import Row as Counts
from router.value import Mutable, asdict

MAX_ROWS = 1000
"""Names that have a row of their own, of routes, of targets and of callers each."""
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

    def add(self, other: "Row | Counts", count: int, estimated_usd: float) -> None:
        """Add the usage and cost of another row. `count`: what it adds to the count; `estimated_usd`: the estimated part of its cost."""
        self.count += count
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cached_tokens += other.cached_tokens
        self.cache_write_tokens += other.cache_write_tokens
        self.reasoning_tokens += other.reasoning_tokens
        self.cost_usd += other.cost_usd
        self.estimated_cost_usd += estimated_usd
        self.saved_usd += other.saved_usd


Table = Mapping[str, Mapping[str, int | float]]
"""Name → its Row, as JSON."""


class Totals(TypedDict):
    """The cost totals of one process, or of several. `since`: when the oldest of them began, in seconds since 1970."""

    since: float
    routes: Table
    targets: Table
    callers: Table


class Bill:
    """The cost totals of this process, by route, target and caller. `rows`: have what is not in these totals yet."""

    def __init__(self, rows: Rows) -> None:
        rows.sinks.insert(0, self.add)
        self._since = time.time()
        self._routes: dict[str, Row] = {}
        self._targets: dict[str, Row] = {}
        self._callers: dict[str, Row] = {}

    def add(self, labels: Labels, row: Counts) -> None:
        """Add attempts to the totals, if they used tokens: for their target, and for the route and the caller of their requests."""
        (route, _, caller, *_), target, _, known = labels
        if known:
            estimated = row.cost_usd if known == "estimated" else 0.0
            _row_of(self._routes, route).add(row, row.charged, estimated)
            _row_of(self._targets, target).add(row, row.attempts, estimated)
            _row_of(self._callers, caller or NOBODY).add(row, row.charged, estimated)

    def totals(self) -> Totals:
        """Return the cost totals of this process."""
        return {"since": self._since, "routes": _plain(self._routes), "targets": _plain(self._targets), "callers": _plain(self._callers)}


def summed(reports: Sequence[Totals]) -> Totals:
    """Return the cost totals of all workers together, in each table the most expensive name first."""

    def table(rows: Sequence[Table]) -> Table:
        sums: dict[str, Row] = {}
        for name, row in (pair for one in rows for pair in one.items()):
            added = Row(**row)  # type: ignore[arg-type]
            _row_of(sums, name).add(added, added.count, added.estimated_cost_usd)
        return {
            name: {key: value if isinstance(value, int) else round(value, DIGITS) or 0.0 for key, value in row.items()}
            for name, row in sorted(_plain(sums).items(), key=lambda pair: (-pair[1]["cost_usd"], pair[0]))
        }

    routes, targets, callers = (table([one[kind] for one in reports]) for kind in ("routes", "targets", "callers"))
    return {"since": min(one["since"] for one in reports), "routes": routes, "targets": targets, "callers": callers}


def _row_of(rows: dict[str, Row], name: str) -> Row:
    """Return the row of this name, which is added if there is none; beyond MAX_ROWS names the row OTHER."""
    return rows.setdefault(name if name in rows or len(rows) < MAX_ROWS else OTHER, Row())


def _plain(rows: Mapping[str, Row]) -> Table:
    return {name: asdict(row) for name, row in rows.items()}
