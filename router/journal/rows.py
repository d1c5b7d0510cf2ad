"""Counts of finished requests, kept by their labels until a page needs them.

A request is added to one row for each attempt, found by one lookup. The rows are added to the metrics, to the cost totals and to the last hour
when a page is read, when a slot of the hour ends, or beyond MAX_ROWS; with several workers at once, as each keeps its metrics in files.
"""

from bisect import bisect
from collections import Counter
from collections.abc import Callable
from functools import partial
from math import inf
from time import time
from typing import Literal

from router.journal.entry import Entry
from router.value import Mutable, field

MAX_ROWS = 200
"""Rows that are kept at most: adding up so many takes a millisecond or two of one request."""
GROWTH = 1.15
"""Factor between the bounds of two buckets of times to first token: a percentile is exact to 7 %."""
BOUNDS = tuple(GROWTH**place / 1000 for place in range(1, 150))
"""Starts of the buckets after the first, in seconds; the last bucket, from thirteen days on, has no end."""
bucket = partial(bisect, BOUNDS)
"""Returns the number of the bucket of a time in seconds: bucket n begins at GROWTH to the power of n milliseconds."""

Labels = tuple[tuple[str, str, str, str, str], str, str, Literal["", "counted", "estimated"]]
"""(route, outcome, caller, cache and fault of the request), then target and outcome of the attempt, then how its tokens are known.
An attempt that used no tokens has "" there; a request without attempts has "" in all three.
"""


class Row(Mutable):
    """The attempts with the same labels, and what they used. Costs: in US dollars, as far as prices are known.

    requests: requests that they were the last attempt of
    charged: requests that they were the last attempt of that used tokens
    cost_usd: of these tokens
    saved_usd: savings by the providers' prompt caches, as they report them; negative where writing to the caches cost more
    rest_input, rest_output, rest_usd: estimated tokens beside the counted ones, of embeddings that were counted in part, and their cost
    first: bucket of the time to first token → attempts
    """

    requests: int = 0
    charged: int = 0
    rescues: int = 0
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float = 0.0
    saved_usd: float = 0.0
    rest_input: int = 0
    rest_output: int = 0
    rest_usd: float = 0.0
    first: Counter[int] = field(default_factory=Counter[int])


class Rows(dict[Labels, Row]):
    """The rows of this process. `at_once`: whether they are added up after each request; `clock`: returns the seconds since 1970."""

    def __init__(self, *sinks: Callable[[Labels, Row], None], at_once: bool = False, clock: Callable[[], float] = time) -> None:
        super().__init__()
        self.sinks = [*sinks]
        """Called with each row when it is added up."""
        self.until = inf
        """Time at which the slot of the hour ends that these rows belong to."""
        self.turn: Callable[[], object] = self.settle
        """Called once that time has come, before another request is counted. It begins another slot."""
        self._at_once = at_once
        self._due = at_once
        """Whether the rows are added up after this request."""
        self._clock = clock

    def __missing__(self, labels: Labels) -> Row:
        self._due = self._at_once or len(self) >= MAX_ROWS
        row = self[labels] = Row()
        return row

    def count(self, entry: Entry) -> None:
        """Add a finished request: each attempt to the row of its labels, and the request to that of its last attempt."""
        if self._clock() >= self.until:
            self.turn()
        request = entry.route, entry.outcome, entry.caller, entry.cache, entry.fault
        row = charged = None
        for attempt, cost in zip(entry.attempts, entry.sums.costs, strict=True):
            usage = attempt.usage
            used = attempt.estimate if usage is None else usage
            row = self[request, attempt.target, attempt.outcome, "" if used is None else "estimated" if usage is None else "counted"]
            row.attempts += 1
            if attempt.first is not None:
                row.first[bucket(attempt.first)] += 1
            if used is None:
                continue
            charged = row
            row.input_tokens += used.input_tokens
            row.output_tokens += used.output_tokens
            if cost:
                row.cost_usd += cost
            if used.cached_tokens or used.cache_write_tokens or used.reasoning_tokens:
                row.cached_tokens += used.cached_tokens
                row.cache_write_tokens += used.cache_write_tokens
                row.reasoning_tokens += used.reasoning_tokens
                if usage is not None and (price := entry.prices.get(attempt.target)) is not None:
                    row.saved_usd += price.saved(usage)
            if attempt.estimate is not None and usage is not None:
                row.rest_input += attempt.estimate.input_tokens
                row.rest_output += attempt.estimate.output_tokens
                if (price := entry.prices.get(attempt.target)) is not None:
                    row.rest_usd += price.of(attempt.estimate)
        if row is None:
            row = self[request, "", "", ""]
        row.requests += 1
        row.rescues += entry.rescues
        if charged is not None:
            charged.charged += 1
        if self._due:
            self.settle()

    def settle(self) -> None:
        """Add all rows to the sinks, in the order in which their labels first came, and begin new ones."""
        rows = list(self.items())
        self.clear()
        self._due = self._at_once
        for labels, row in rows:
            for add in self.sinks:
                add(labels, row)
