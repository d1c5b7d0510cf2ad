"""Costs since this process began, summed by route, by target and by caller.

A request is added once, when it is over, if it used anything (see `rows.py`). The number of names is bounded: further ones share the row
`other`.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TypedDict

from router.journal.attempts import DIGITS
from router.journal.rows import Labels, Row, Rows, Tries

MAX_ROWS = 1000
"""Names that have a row of their own, of routes, of targets and of callers each."""
OTHER = "other"
"""The row of all names beyond MAX_ROWS."""
NOBODY = "anonymous"
"""The row of requests without a caller's name."""


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
        rows.sinks.append(self.add)
        self._since = time.time()
        self._routes: dict[str, Row] = {}
        self._targets: dict[str, Row] = {}
        self._callers: dict[str, Row] = {}

    def add(self, labels: Labels, row: Tries) -> None:
        """Add attempts to the totals, if they used tokens: for their target, and for the route and the caller of their requests."""
        (route, _, caller, *_), target, _, known = labels
        if known:
            _row_of(self._routes, route).add(row, row.charged)
            _row_of(self._targets, target).add(row, row.count)
            _row_of(self._callers, caller or NOBODY).add(row, row.charged)

    def totals(self) -> Totals:
        """Return the cost totals of this process."""
        return {"since": self._since, "routes": _plain(self._routes), "targets": _plain(self._targets), "callers": _plain(self._callers)}


def summed(reports: Sequence[Totals]) -> Totals:
    """Return the cost totals of all workers together, in each table the most expensive name first."""

    def table(rows: Sequence[Table]) -> Table:
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


def _plain(rows: Mapping[str, Row]) -> Table:
    return {name: asdict(row) for name, row in rows.items()}
