"""Metrics in Prometheus' text format, by its client library.

Counters and histograms are the library's own. With several workers its multiprocess mode keeps them in `folder`, so that any worker
returns the sums of all, also of those that have ended. Gauges (open streams, breakers, generations) are made from the reports of all
workers when the page is read.

Labels are bounded: routes and targets are those of the configuration, outcomes and results are small closed sets.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import prometheus_client as prometheus
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from router.failover import RefusalChange
from router.journal.entry import Entry
from router.journal.report import Report, TargetReport, refused

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FIRST = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
BETWEEN = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
WHOLE = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
OVERHEAD = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
DEPARTURES = "router_redis_departures"
BREAKER = {"closed": 0, "half_open": 1, "open": 2}


class Metrics:
    """The metrics of this process. `folder`: where several workers store theirs together; None with one worker."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        # Else each counter would come with the time it was made at: as many series again, and of no use.
        prometheus.disable_created_metrics()
        self._registry = registry = prometheus.CollectorRegistry()

        def counter(name: str, words: str, *labels: str) -> Series[Add]:
            return Series(prometheus.Counter(name, words, labels, registry=registry), lambda one: one._value.inc)  # noqa: SLF001

        def histogram(name: str, words: str, buckets: Sequence[float], *labels: str) -> Series[Buckets]:
            metric = prometheus.Histogram(name, words, labels, registry=registry, buckets=buckets)
            return Series(metric, lambda one: (one._sum.inc, one._upper_bounds, [each.inc for each in one._buckets]))  # noqa: SLF001

        self._requests = counter("router_requests", "Requests that ended", "route", "outcome")
        self._seconds = histogram("router_request_seconds", "Seconds from a request's arrival to its end", WHOLE, "route")
        self._first = histogram(
            "router_time_to_first_token_seconds", "Seconds from a request's arrival to its first text, thought or file", FIRST, "route"
        )
        self._between = histogram("router_time_between_tokens_seconds", "Seconds between two pieces of a model's text", BETWEEN, "route")
        self._overhead = histogram(
            "router_overhead_seconds", "Seconds that the router adds to the first target's time to first token", OVERHEAD
        )[()]
        self._attempts = counter("router_attempts", "Tries of a target, and times that it was not asked", "target", "outcome")
        self._refusals = counter(
            "router_target_refusals", "Times that a target began to refuse every question, or that its reason changed", "target", "reason"
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
        self._admin_refusals = counter("router_admin_refusals", "Requests for operators' pages that were refused", "reason")
        self.stalled = partial(
            counter("router_loop_stalls", "Times that the event loop of a worker stood still for more than a second")[()], 1
        )
        """A function without arguments that counts one stall; the three below count one reload, failed reload or departure of Redis."""
        self.reloaded = partial(counter("router_reloads", "Edits that went live, counted by each worker")[()], 1)
        self.not_reloaded = partial(counter("router_reload_failures", "Edits that failed, counted by each worker")[()], 1)
        self.redis_departed = partial(counter(DEPARTURES, "Times that a worker lost the connection to the shared Redis")[()], 1)

    def admin_refused(self, reason: str) -> None:
        """Count a request for an operators' page that was refused."""
        self._admin_refusals[(reason,)](1)

    def count(self, entry: Entry) -> None:
        """Add a finished request to all metrics: counts, times, tokens, cost, attempts and tool runs."""
        route = entry.route
        self._requests[route, entry.outcome](1)
        times = [(self._seconds[(route,)], [entry.ended - entry.began])]
        if entry.first is not None:
            times.append((self._first[(route,)], [entry.first - entry.began]))
        if entry.opened is not None and entry.attempts and (first := entry.attempts[0].first) is not None:
            times.append((self._overhead, [max(0.0, entry.opened - entry.began - first)]))
        if entry.pauses:
            times.append((self._between[(route,)], entry.pauses))
        for (add, bounds, buckets), seconds in times:
            for one in seconds:
                add(one)
                buckets[bisect_left(bounds, one)](1)
        for attempt in entry.attempts:
            self._attempts[attempt.target, attempt.outcome](1)
        if entry.target in entry.stand_ins:
            self._scripts[route, entry.target](1)
        if len(entry.attempts) > 1 and (rescues := entry.rescues):
            self._rescues[(route,)](rescues)
        if entry.cache:
            self._cache[route, entry.cache](1)
        sums = entry.sums
        if (usage := sums.usage) is not None:
            for add, count in (
                (self._tokens[route, "input"], usage.input_tokens),
                (self._tokens[route, "output"], usage.output_tokens),
                (self._parts[route, "cached"], usage.cached_tokens),
                (self._parts[route, "cache_write"], usage.cache_write_tokens),
                (self._parts[route, "reasoning"], usage.reasoning_tokens),
            ):
                if count:  # one that has counted none stands in the text all the same
                    add(count)
        if cost := sums.counted_cost:
            self._cost[(route,)](cost)
        if cost := sums.estimated_cost:
            self._estimated[(route,)](cost)
        for run in entry.tools:
            result = "abandoned" if run.seconds is None else "error" if run.is_error else "ok"
            self._tools[run.tool, result](1)

    def turned(self, turn: RefusalChange) -> None:
        """Count a change by which a target begins to refuse every question, or does so for another reason. Ignore that it answers again."""
        if turn.refuses:
            self._refusals[turn.target, turn.refusal.reason](1)

    def text(self, reports: Iterable[Report]) -> bytes:
        """Return all metrics in Prometheus' text format, with gauges of the workers' present state. `reports`: those of all workers."""
        counted = self._registry if self._folder is None else MultiProcessCollector(None, str(self._folder))
        return prometheus.generate_latest(_Page(counted, tuple(reports)))


Add = Callable[[float], None]
"""Adds to a number of a time series."""
Buckets = tuple[Add, Sequence[float], Sequence[Add]]
"""A time series of a histogram: adds to its sum; the upper bounds of its buckets; adds to each of them.
To observe a value is to add it to the sum, and 1 to the first bucket whose bound it does not exceed.
"""
Made = TypeVar("Made")


class Series(dict[tuple[str, ...], Made]):
    """Label values of a metric → what adds to that time series (Add or Buckets). `made`: returns it for a time series of the library.

    The library looks a series up with a lock and a copy of its labels, and asks each time whether it has them all; here that happens once
    for each. The only series of a metric without labels is under ().
    """

    def __init__(self, metric: prometheus.Counter | prometheus.Histogram, made: Callable[[Any], Made]) -> None:
        super().__init__()
        self._metric = metric
        self._made = made

    def __missing__(self, labels: tuple[str, ...]) -> Made:
        self[labels] = made = self._made(self._metric.labels(*labels) if labels else self._metric)
        return made


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
