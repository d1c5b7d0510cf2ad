"""The last hour of this process in slots of 30 s, for small charts without Prometheus, in bounded memory.

Slots begin at the same times in every worker, so those of several can be added.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from router.attempt import LET_GO
from router.events import FREE
from router.failover import PASSED_OVER
from router.journal.attempts import DIGITS
from router.journal.entry import REASONS, Entry
from router.journal.rows import GROWTH, Labels, Rows, Tries
from router.value import Mutable, asdict, field

SLOT_SECONDS = 30
SLOTS = 120
MAX_TARGETS = 1000
"""Targets whose attempts one slot counts; attempts at further ones are not counted."""
ANSWERLESS = frozenset({"resumed", "counted", "stop_asked", "nothing_to_resume"})
"""Outcomes of requests that asked for no answer."""
UNJUDGED = frozenset({*PASSED_OVER, "abandoned", "client_left", "stopped", "stopping", "timeout_total", LET_GO})
"""Outcomes of attempts that count neither for nor against a target."""


class TargetTries(Mutable):
    """The attempts that judge one target, those that did not end as `ok`, their cost in US dollars, and how many began in each bucket."""

    count: int = 0
    failures: int = 0
    cost_usd: float = 0.0
    first: Counter[int] = field(default_factory=Counter[int])

    def add(self, count: int, failures: int, cost_usd: float, first: Mapping[Any, int]) -> None:
        """Add further attempts. The buckets in `first` are texts where they come from JSON."""
        self.count, self.failures, self.cost_usd = self.count + count, self.failures + failures, self.cost_usd + cost_usd
        self.first.update({int(place): number for place, number in first.items()})

    def shown(self) -> dict[str, Any]:
        """Return the attempts as JSON, with the share that failed (0 to 1) and seconds to first token; these are None without any."""
        return {
            "tries": self.count,
            "failure_rate": round(self.failures / self.count, 4) if self.count else None,
            "first_token_p50": percentile(self.first, 0.5),
            "first_token_p95": percentile(self.first, 0.95),
            "cost_usd": round(self.cost_usd, DIGITS),
        }


class Slot(Mutable):
    """The counts of one slot of 30 s.

    number: its start, in slots since 1970
    open: the most requests that were open at once
    answers: requests that asked for an answer and ended, failed ones included
    cache_asked: those of them to routes with a cache
    """

    number: int
    open: int
    answers: int = 0
    failures: int = 0
    rescues: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    cache_asked: int = 0
    cache_hits: int = 0
    targets: dict[str, TargetTries] = field(default_factory=dict[str, TargetTries])


SUMS = ("open", "answers", "failures", "rescues", "input_tokens", "output_tokens", "cost_usd", "cache_asked", "cache_hits")


class Hour:
    """The counts of this process in the last hour, of requests and of attempts at targets.

    rows: have the counts that are not in the newest slot yet
    running: requests in progress, to which `begin` adds each
    clock: returns the seconds since 1970
    """

    def __init__(self, rows: Rows, running: dict[Entry, None], clock: Callable[[], float] = time.time) -> None:
        self._rows = rows
        self._running = running
        self._clock = clock
        self._slots: deque[Slot] = deque(maxlen=SLOTS)
        self._until = 0.0
        """Time at which the newest slot ends."""
        rows.sinks.append(self.add)
        rows.turn, rows.until = self._now, self._until

    def begin(self, entry: Entry) -> None:
        """Add a request that has just begun to those in progress, and count these."""
        running = self._running
        running[entry] = None
        slot = self._slots[-1] if entry.at < self._until else self._now()
        if len(running) > slot.open:  # noqa: PLR1730 - max() is a call, and an assignment each time
            slot.open = len(running)

    def add(self, labels: Labels, row: Tries) -> None:
        """Add a row of attempts to the newest slot. Without a route, or if their requests asked for no answer (ANSWERLESS), nothing is added.

        Attempts are left out if a fault was induced in their requests, and if they say nothing of their target (UNJUDGED).
        """
        (route, outcome, _, cache, fault), target, ended, _ = labels
        if not route or outcome in ANSWERLESS:
            return
        slot = self._slots[-1]
        slot.answers += row.requests
        slot.rescues += row.rescues
        slot.input_tokens += row.input_tokens + row.rest_input
        slot.output_tokens += row.output_tokens + row.rest_output
        slot.cost_usd += row.cost_usd + row.rest_usd
        if outcome not in REASONS:
            slot.failures += row.requests
        if cache:
            slot.cache_asked += row.requests
            slot.cache_hits += row.requests if cache in FREE else 0
        if fault or ended in UNJUDGED:
            return  # what was broken on purpose says nothing of its targets
        tries = slot.targets.get(target)
        if tries is None:
            if len(slot.targets) >= MAX_TARGETS:
                return
            tries = slot.targets[target] = TargetTries()
        tries.add(row.count, row.count if ended != "ok" else 0, row.cost_usd, row.first)

    def report(self) -> dict[str, Any]:
        """Return the hour as JSON: {"slots": counts of each, "targets": name → counts}. May be called in a thread."""
        oldest = int(self._clock() // SLOT_SECONDS) - SLOTS
        slots = [one for one in list(self._slots) if one.number > oldest]
        targets: dict[str, TargetTries] = {}
        for slot in slots:
            for name, tries in list(slot.targets.items()):
                targets.setdefault(name, TargetTries()).add(tries.count, tries.failures, tries.cost_usd, dict(tries.first))
        return {
            "slots": [{"number": one.number, **{name: getattr(one, name) for name in SUMS}} for one in slots],
            "targets": {name: asdict(tries) for name, tries in targets.items()},
        }

    def _now(self) -> Slot:
        """Return the slot of this moment, which is added if it has just begun. The rows so far belong to the slot before it."""
        self._rows.settle()
        number = int(self._clock() // SLOT_SECONDS)
        while self._slots and self._slots[0].number <= number - SLOTS:
            self._slots.popleft()
        if not self._slots or self._slots[-1].number < number:
            self._slots.append(Slot(number, len(self._running)))
            self._until = self._rows.until = (number + 1) * SLOT_SECONDS
        return self._slots[-1]  # a clock that is set back counts on where it was


def percentile(first: Mapping[int, int], share: float) -> float | None:
    """Return the seconds to first token within which a `share` of the attempts started; None without any. `first`: bucket → attempts."""
    left = share * sum(first.values())
    for one in sorted(first):
        left -= first[one]
        if left <= 0:
            return round(GROWTH ** (one + 0.5) / 1000, 6)
    return None


def summed(reports: Sequence[Mapping[str, Any]], now: float) -> dict[str, Any]:
    """Return the hour of all workers as JSON: each slot, the newest last, and the attempts at each target.

    reports: the results of `Hour.report` of each worker; `open` of a slot is the sum of their maxima
    now: seconds since 1970
    """
    newest, nothing = int(now // SLOT_SECONDS), dict.fromkeys(SUMS, 0)
    found: dict[int, Mapping[str, Any]] = {}
    targets: dict[str, TargetTries] = {}
    for report in reports:
        for slot in report["slots"]:
            known = found.get(slot["number"], nothing)
            found[slot["number"]] = {name: known[name] + slot[name] for name in SUMS}
        for name, tries in report["targets"].items():
            targets.setdefault(name, TargetTries()).add(**tries)
    return {
        "slot_seconds": SLOT_SECONDS,
        "slots": [
            {"at": number * SLOT_SECONDS, **{name: round(value, DIGITS) for name, value in found.get(number, nothing).items()}}
            for number in range(newest - SLOTS + 1, newest + 1)
        ],
        "targets": {name: targets[name].shown() for name in sorted(targets)},
    }
