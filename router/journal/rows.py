"""Counts of finished requests, kept by their labels until a page needs them.

A request is added to one row for each attempt, found by one lookup. All rows are added to the metrics, to the cost totals and to the last hour
when a page is read or a slot of the hour ends, and the oldest ones at MAX_ROWS. Metrics in files, of several workers, get each request at once.
"""

from bisect import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from math import inf
from typing import Literal

from router.attempt import Attempt
from router.config.price import Price

MAX_ROWS = 100
"""Rows that are kept at most: adding up so many takes a page, or the first request of a slot, about 1.5 ms."""
KEPT_ROWS = MAX_ROWS - 10
"""Rows that are kept of so many: a request at that bound adds up only a few."""
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


@dataclass(slots=True, eq=False)
class Row:
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


@dataclass(slots=True, eq=False)
class Tries(Row):
    """The attempts with the same labels, and what they used.

    requests: requests that they were the last attempt of
    charged: requests that they were the last attempt of that used tokens
    rest_input, rest_output, rest_usd: estimated tokens beside the counted ones, of embeddings that were counted in part, and their cost
    first: bucket of the time to first token → attempts
    """

    requests: int = 0
    charged: int = 0
    rescues: int = 0
    rest_input: int = 0
    rest_output: int = 0
    rest_usd: float = 0.0
    first: dict[int, int] = field(default_factory=dict[int, int])

    def add_parts(self, attempt: Attempt, price: Price | None) -> None:
        """Add what not every attempt has: tokens of the prompt cache and of reasoning, and estimated tokens beside counted ones."""
        usage, estimate = attempt.usage, attempt.estimate
        if (used := usage or estimate) is not None:
            self.cached_tokens += used.cached_tokens
            self.cache_write_tokens += used.cache_write_tokens
            self.reasoning_tokens += used.reasoning_tokens
        if usage is not None and price is not None:
            self.saved_usd += price.saved(usage)
        if usage is not None and estimate is not None:
            self.rest_input += estimate.input_tokens
            self.rest_output += estimate.output_tokens
            self.rest_usd += 0.0 if price is None else price.of(estimate)


@dataclass(slots=True, eq=False)
class StoredTries(Tries):
    """Attempts whose numbers are added to others at once.

    adders: name of a number → a function that gets what is added to it
    failed: gets the errors of these functions
    """

    adders: Mapping[str, Callable[[float], object]] = field(default_factory=dict[str, Callable[[float], object]])
    failed: list[Exception] = field(default_factory=list[Exception])

    def __setattr__(self, name: str, number: float) -> None:
        before = getattr(self, name, None)
        object.__setattr__(self, name, number)
        if before is None:
            return  # the row is being made
        added = number - before
        if added and (add := self.adders.get(name)) is not None:  # a series begins with the first number that is not 0
            try:
                add(added)
            except (OSError, ValueError) as error:  # of its file; the other numbers do not depend on it
                self.failed.append(error)


class Rows(dict[Labels, Tries]):
    """The rows of this process. `made`: returns a row for labels that have none."""

    def __init__(self, made: Callable[[Labels], Tries]) -> None:
        super().__init__()
        self._made = made
        self.sinks: list[Callable[[Labels, Tries], None]] = []
        """Called with each row when it is added up."""
        self.until = inf
        """Time at which the slot of the hour ends that these rows belong to, in seconds since 1970."""
        self.turn: Callable[[], object] = self.settle
        """Called once that time has come, before another request is counted. It begins another slot."""
        self.full = False
        """True if rows must be added up after the present request, down to KEPT_ROWS."""
        self.failed: list[Exception] = []
        """Errors in adding up, each of which costs a number of one row. `shorten` raises the last one, to be logged."""

    def __missing__(self, labels: Labels) -> Tries:
        row = self[labels] = self._made(labels)
        self.full = len(self) >= MAX_ROWS
        return row

    def settle(self, count: int | None = None) -> None:
        """Add so many rows, by default all, to the sinks, and drop them: the one whose labels came first is the first."""
        self.full = False
        for labels in list(islice(self, count)):
            row = self.pop(labels)
            for add in self.sinks:
                try:
                    add(labels, row)
                except Exception as error:  # noqa: BLE001 - the other sinks do not depend on it
                    self.failed.append(error)

    def shorten(self) -> None:
        """Add up rows until no more than KEPT_ROWS are left, if they are too many. Raises the last error in adding up since the last call."""
        if self.full:
            self.settle(len(self) - KEPT_ROWS)
        if self.failed:
            *_, error = self.failed
            self.failed.clear()
            raise error
