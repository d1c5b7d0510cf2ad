"""Metrics in Prometheus' text format, by its client library.

Counters and histograms are the library's own. With several workers its multiprocess mode keeps them in `folder`, so that any worker
returns the sums of all, also of those that have ended. Gauges (open streams, breakers, generations) are made from the reports of all
workers when the page is read.

Labels are bounded: routes and targets are those of the configuration, outcomes and results are small closed sets.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from math import inf
from pathlib import Path
from time import time
from typing import Any

import prometheus_client as prometheus
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from router.failover import RefusalChange
from router.journal.entry import Entry
from router.journal.report import Report, TargetReport, refused
from router.journal.rows import Labels, Rows, StoredTries, Tries, bucket

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FIRST = (-inf, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
"""Bounds of a histogram's buckets, all but the first, in seconds. `bisect_left` of a time gives the place of its bucket among the numbers
of the histogram (see `Series`): no time is at the first place, which is that of the sum. Each bound is a float, which is compared with a
time in a third of the time of an int.
"""
BETWEEN = (-inf, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
WHOLE = (-inf, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
OVERHEAD = (-inf, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
DEPARTURES = "router_redis_departures"
BREAKER = {"closed": 0, "half_open": 1, "open": 2}


class Metrics:
    """The metrics of this process.

    folder: where several workers store theirs together; None with one worker
    clock: returns the seconds since 1970
    """

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time) -> None:
        self._folder = folder
        self._clock = clock
        prometheus.disable_created_metrics()  # each would be a second series beside its counter, and of no use
        self._registry = registry = prometheus.CollectorRegistry()
        self._counted: list[tuple[Sequence[float], Sequence[Any]]] = []
        """Numbers of each series, with the library's objects that receive them when the page is read; empty if those are in files."""
        library = partial(prometheus.Counter, registry=registry)

        def counter(name: str, words: str, *labels: str) -> Callable[..., prometheus.Counter]:
            return cache(library(name, words, labels).labels)  # which takes a lock for each look-up

        def times(one: Any) -> list[float]:
            values = [one._sum, *one._buckets]  # noqa: SLF001
            if values[0]._multiprocess:  # noqa: SLF001 - those of several workers, or of the processes that this router is mounted in
                return _Stored(values)
            self._counted.append((made := [0.0] * len(values), values))
            return made

        def histogram(name: str, words: str, buckets: Sequence[float]) -> Series:
            metric = prometheus.Histogram(name, words, ["route"], registry=registry, buckets=buckets[1:])
            return cache(lambda *route: times(metric.labels(*route)))

        self._requests = counter("router_requests", "Requests that ended", "route", "outcome")
        self._seconds = histogram("router_request_seconds", "Seconds from a request's arrival to its end", WHOLE)
        self._first = histogram(
            "router_time_to_first_token_seconds", "Seconds from a request's arrival to its first text, thought or file", FIRST
        )
        self._between = histogram("router_time_between_tokens_seconds", "Seconds between two pieces of a model's text", BETWEEN)
        overhead = "Seconds that the router adds to the first target's time to first token"
        self._overhead = times(prometheus.Histogram("router_overhead_seconds", overhead, registry=registry, buckets=OVERHEAD[1:]))
        self._attempts = counter("router_attempts", "Tries of a target, and times that it was not asked", "target", "outcome")
        self._refusals = library(
            "router_target_refusals", "Times that a target began to refuse every question, or that its reason changed", ("target", "reason")
        )
        self._scripts = counter(
            "router_script_answers", "Answers of a script because the models before it in the route gave none", "route", "target"
        )
        self._rescues = counter("router_rescues", "Times that an answer that had broken off was continued", "route")
        self._cache = counter("router_cache", "Answers of routes with a cache, by their source", "route", "result")
        self._tokens = counter("router_tokens", "Tokens of models, as the providers counted them", "route", "direction")
        self._parts = counter(
            "router_token_parts", "Parts of what router_tokens_total counts: cached, written to a cache, reasoning", "route", "kind"
        )
        self._cost = counter("router_cost_usd", "Cost of answers in US dollars, from the providers' token counts and known prices", "route")
        self._estimated = counter(
            "router_estimated_cost_usd", "Estimated cost in US dollars of calls whose tokens no provider reported", "route"
        )
        self._tools = counter("router_tool_calls", "Tools that were run", "tool", "result")
        self._admin_refusals = library("router_admin_refusals", "Requests for operators' pages that were refused", ("reason",))
        self.stalled = library("router_loop_stalls", "Times that the event loop of a worker stood still for more than a second").inc
        """A function without arguments that counts one stall; the three below count one reload, failed reload or departure of Redis."""
        self.reloaded = library("router_reloads", "Edits that went live, counted by each worker").inc
        self.not_reloaded = library("router_reload_failures", "Edits that failed, counted by each worker").inc
        self.redis_departed = library(DEPARTURES, "Times that a worker lost the connection to the shared Redis").inc
        stored = isinstance(self._overhead, _Stored)  # then other processes may read all numbers at any time
        self.rows = Rows(self._stored_row if stored else lambda _: Tries())
        """The requests that `count` has counted since its rows were added up."""
        if not stored:
            self.rows.sinks.append(self._add)

    def admin_refused(self, reason: str) -> None:
        """Count a request for an operators' page that was refused."""
        self._admin_refusals.labels(reason).inc()

    def count(self, entry: Entry) -> None:
        """Add a finished request: each attempt to the row of its labels, the request to that of its last attempt, and times to histograms.
        Of a histogram, the first bucket whose bound the time does not exceed gets 1, and the sum gets the time.
        Raises the last error that a number of some request met on its way from its row, after counting this one.
        """
        rows, route = self.rows, entry.route
        began, opened = entry.began, entry.opened
        if self._clock() >= rows.until:
            rows.turn()
        request = route, entry.outcome, entry.caller, entry.cache, entry.fault
        row = charged = None
        costs = entry.sums.costs  # one of each attempt
        for place, attempt in enumerate(entry.attempts):
            usage, first, cost = attempt.usage, attempt.first, costs[place]
            used = attempt.estimate if usage is None else usage
            labels = request, attempt.target, attempt.outcome, "" if used is None else "estimated" if usage is None else "counted"
            row = rows.get(labels) or rows[labels]  # the latter alone would take four times as long
            row.count += 1
            if first is not None:
                begun, begins = bucket(first), row.first
                begins[begun] = begins.get(begun, 0) + 1
                if opened is not None:
                    seconds, numbers = opened - began - first, self._overhead
                    if seconds < 0:
                        seconds = 0.0
                    numbers[bisect_left(OVERHEAD, seconds)] += 1.0
                    numbers[0] += seconds
            opened = None  # the overhead is that of the first attempt
            if used is not None:
                charged = row
                row.input_tokens += used.input_tokens
                row.output_tokens += used.output_tokens
                if cost:
                    row.cost_usd += cost
                    row.estimated_cost_usd += cost if usage is None else 0.0
                if used.cached_tokens or used.cache_write_tokens or used.reasoning_tokens or attempt.estimate is not None:
                    row.add_parts(attempt, entry.prices.get(attempt.target))
        if row is None:
            row = rows[request, "", "", ""]
        row.requests += 1
        if charged is not None:
            charged.charged += 1
        if entry.rescues:
            row.rescues += entry.rescues
        seconds, numbers = entry.ended - began, self._seconds(route)
        numbers[bisect_left(WHOLE, seconds)] += 1.0
        numbers[0] += seconds
        if entry.first is not None:
            seconds, numbers = entry.first - began, self._first(route)
            numbers[bisect_left(FIRST, seconds)] += 1.0
            numbers[0] += seconds
        if entry.pauses or entry.stand_ins or entry.tools:
            self._count_rest(entry)
        if rows.full or rows.failed:
            rows.shorten()

    def _count_rest(self, entry: Entry) -> None:
        """Count pauses, answers of scripts and tool runs, which not every request has."""
        if entry.pauses:
            numbers = self._between(entry.route)
            for pause in entry.pauses:
                numbers[bisect_left(BETWEEN, pause)] += 1.0
                numbers[0] += pause
        if entry.target in entry.stand_ins:
            self._scripts(entry.route, entry.target).inc()
        for run in entry.tools:
            result = "abandoned" if run.seconds is None else "error" if run.is_error else "ok"
            self._tools(run.tool, result).inc()

    def _stored_row(self, labels: Labels) -> StoredTries:
        """Return a row whose numbers are added to the counters at once, or to none of them if these cannot be made."""
        adders: dict[str, Callable[[float], object]] = {}
        try:
            adders = self._adders(labels)
        except (OSError, ValueError) as error:  # of their file; the cost totals and the hour do not depend on it
            self.rows.failed.append(error)
        return StoredTries(adders=adders, failed=self.rows.failed)

    def _add(self, labels: Labels, row: Tries) -> None:
        """Add the numbers of a row to the counters."""
        for name, add in self._adders(labels).items():
            if number := getattr(row, name):
                add(number)

    def _adders(self, labels: Labels) -> dict[str, Callable[[float], object]]:
        """Return the functions that add each number of a row to its counter, by the name of the number."""
        (route, outcome, _, cache, _), target, ended, known = labels
        requests = self._requests(route, outcome).inc
        adders: dict[str, Callable[[float], object]] = {
            "requests": (lambda number: (requests(number), self._cache(route, cache).inc(number))) if cache else requests,
            "rescues": lambda number: self._rescues(route).inc(number),
            "count": lambda number: self._attempts(target, ended).inc(number),
            "estimated_cost_usd": lambda number: self._estimated(route).inc(number),
            "rest_usd": lambda number: self._estimated(route).inc(number),
        }
        if known == "counted":  # the series of tokens are shown from the first count on, be it 0
            adders["input_tokens"], adders["output_tokens"] = (self._tokens(route, kind).inc for kind in ("input", "output"))
            for kind in ("cached", "cache_write", "reasoning"):
                adders[f"{kind}_tokens"] = self._parts(route, kind).inc
            adders["cost_usd"] = lambda number: self._cost(route).inc(number)
        return adders

    def turned(self, turn: RefusalChange) -> None:
        """Count a change by which a target begins to refuse every question, or does so for another reason. Ignore that it answers again."""
        if turn.refuses:
            self._refusals.labels(turn.target, turn.refusal.reason).inc()

    def text(self, reports: Iterable[Report]) -> bytes:
        """Return all metrics in Prometheus' text format, with gauges of the workers' present state. `reports`: those of all workers."""
        for numbers, values in list(self._counted):
            for number, value in zip(numbers, values, strict=True):
                value.set(number)
        counted = self._registry if self._folder is None else MultiProcessCollector(None, str(self._folder))
        return prometheus.generate_latest(_Page(counted, tuple(reports)))


Series = Callable[..., list[float]]
"""Route → the numbers of a histogram, made at the first call: its sum, then those of its buckets.

A request adds to plain numbers: the library takes a lock and a call for each, and another lock to look its series up.
"""


class _Stored(list[float]):
    """Zeros. What is added to one of them is added to the library's number at once, which it keeps in a file: any worker sums them up."""

    def __init__(self, values: Sequence[Any]) -> None:
        super().__init__([0.0] * len(values))
        self._adders = [value.inc for value in values]

    def __setitem__(self, place: Any, added: Any) -> None:
        self._adders[place](added)


class _Page(Collector):
    """A collector of all metrics: the counters and histograms in `counted`, and gauges made from the reports of all workers.

    The count of Redis' departures is left out unless a Redis is declared.
    """

    def __init__(self, counted: Collector, reports: Sequence[Report]) -> None:
        self._counted = counted
        self._reports = reports

    def collect(self) -> Iterator[Metric]:
        reports = self._reports
        shared = [one["redis"] for one in reports if one["redis"] is not None]
        yield from (metric for metric in self._counted.collect() if shared or metric.name != DEPARTURES)
        yield GaugeMetricFamily(
            "router_open_streams",
            "Running answers, including those that continue after their client left",
            sum(one["open"] for one in reports),
        )
        yield GaugeMetricFamily(
            "router_generations", "Configurations in use, summed over all workers", sum(one["generations"] for one in reports)
        )
        yield GaugeMetricFamily("router_workers", "Processes that serve", len(reports))
        generation = GaugeMetricFamily("router_generation_info", "Number of workers that run this configuration", labels=["generation"])
        for digest in sorted({one["generation"] for one in reports}):
            generation.add_metric([digest], sum(one["generation"] == digest for one in reports))
        yield generation
        failed = any(one["failed"] for one in reports)
        yield GaugeMetricFamily("router_reload_failed", "Whether the files on disk are invalid", int(failed))
        if shared:
            yield GaugeMetricFamily(
                "router_redis_up", "Whether every worker reaches the shared Redis", int(all(one["here"] for one in shared))
            )
        if labels := sorted({label for one in reports for label in one["tool_servers"]}):
            up = GaugeMetricFamily("router_tool_server_up", "Whether every worker reaches this MCP server", labels=["server"])
            for label in labels:
                up.add_metric([label], int(all(one["tool_servers"].get(label, True) for one in reports)))
            yield up
        breaker = GaugeMetricFamily("router_breaker_state", "0 closed, 1 half open, 2 open", labels=["target"])
        busy = GaugeMetricFamily("router_target_busy", "Questions that a target is answering now", labels=["target"])
        drained = GaugeMetricFamily("router_target_drained", "Whether an operator has taken it out", labels=["target"])
        refusing = GaugeMetricFamily("router_target_refusing", "Whether a target refuses every question", labels=["target", "reason"])
        by_name: dict[str, list[TargetReport]] = {}
        for target in (target for one in reports for target in one["targets"]):
            by_name.setdefault(target["name"], []).append(target)
        for name, states in sorted(by_name.items()):
            breaker.add_metric([name], max(BREAKER[target["breaker"]] for target in states))
            busy.add_metric([name], sum(target["busy"] for target in states))
            drained.add_metric([name], int(any(target["state"] != "auto" for target in states)))
            refusal = refused(states)["refusing"]
            refusing.add_metric([name, refusal["reason"] if refusal else "none"], int(refusal is not None))
        yield from (breaker, busy, drained, refusing)
