"""The rows that finished requests are counted in, and what is added up from them."""

from dataclasses import fields

import pytest
from prometheus_client.parser import text_string_to_metric_families

from router.admin.hour import SLOT_SECONDS, Hour, summed
from router.attempt import Attempt, Trail
from router.config.price import Price
from router.journal.bill import Bill
from router.journal.entry import Entry
from router.journal.metrics import Metrics
from router.journal.ring import Ring
from router.journal.rows import KEPT_ROWS, MAX_ROWS, Labels, Row, StoredTries, Tries
from router.usage import Usage

PRICES = {"a": Price(input=1, output=10, cached=0.1), "b": Price(input=2, output=20)}


def samples(metrics: Metrics) -> dict[str, float]:
    """Return the value of each counter that is not zero, by its name and its labels in the order of their names."""
    families = text_string_to_metric_families(metrics.text(()).decode())
    counters = (sample for family in families if family.type == "counter" for sample in family.samples)
    return {" ".join((one.name, *(one.labels[name] for name in sorted(one.labels)))): one.value for one in counters if one.value}


def finished(metrics: Metrics, *attempts: Attempt, **fields: object) -> None:
    """Count a request with these attempts that has just ended."""
    entry = Entry("r", "g", route="r", outcome="stop", trail=Trail([[*attempts]]), prices=PRICES, observers=(metrics.count,))
    for name, value in fields.items():
        setattr(entry, name, value)
    entry.close()


def test_request_of_several_attempts_is_counted_once_and_each_attempt_for_its_target() -> None:
    """A rescued request is one request and two attempts: of the first tokens are estimated, of the second counted, also in the totals."""
    metrics = Metrics()
    bill = Bill(metrics.rows)
    broken = Attempt("a", "cut", 0.1, first=0.1, estimate=Usage(1000, 100))
    finished(metrics, broken, Attempt("b", "ok", 0.1, first=0.1, usage=Usage(2000, 200, 500, 0, 50)), cache="miss")
    metrics.rows.settle()
    assert samples(metrics) == {
        "router_requests_total stop r": 1,
        "router_rescues_total r": 1,
        "router_cache_total miss r": 1,
        "router_attempts_total cut a": 1,
        "router_attempts_total ok b": 1,
        "router_tokens_total input r": 2000,
        "router_tokens_total output r": 200,
        "router_token_parts_total cached r": 500,
        "router_token_parts_total reasoning r": 50,
        "router_cost_usd_total r": PRICES["b"].of(Usage(2000, 200, 500, 0, 50)),
        "router_estimated_cost_usd_total r": PRICES["a"].of(Usage(1000, 100)),
    }
    totals = bill.totals()
    assert {name: row["count"] for name, row in totals["targets"].items()} == {"a": 1, "b": 1}
    assert totals["routes"]["r"] == totals["callers"]["anonymous"]
    assert (totals["routes"]["r"]["count"], totals["routes"]["r"]["input_tokens"]) == (1, 3000)
    assert totals["routes"]["r"]["estimated_cost_usd"] == PRICES["a"].of(Usage(1000, 100))


def test_request_whose_last_attempt_used_no_tokens_is_in_the_totals() -> None:
    """A request is counted for its route if any of its attempts used tokens, although the last one was refused, and not counted twice."""
    metrics = Metrics()
    bill = Bill(metrics.rows)
    finished(metrics, Attempt("a", "cut", 0.1, estimate=Usage(10, 1)), Attempt("b", "status_400", 0.1), outcome="no_answer")
    finished(metrics, Attempt("b", "status_400", 0.1), outcome="no_answer")
    finished(metrics, outcome="unauthorized", route="")
    metrics.rows.settle()
    totals = bill.totals()
    assert ({name: row["count"] for name, row in totals["routes"].items()}, [*totals["targets"]]) == ({"r": 1}, ["a"])
    found = samples(metrics)
    assert (found["router_requests_total no_answer r"], found["router_requests_total unauthorized "]) == (2, 1)
    assert (found["router_attempts_total cut a"], found["router_attempts_total status_400 b"]) == (1, 2)


def test_embeddings_counted_in_part_keep_their_estimate_apart() -> None:
    """Of an attempt with counted and with estimated tokens, the hour has both, and the metrics have the cost of each."""
    metrics, ring = Metrics(clock=lambda: 3_000_000.0), Ring()
    hour = Hour(metrics.rows, ring.running, lambda: 3_000_000.0)
    hour.begin(Entry("r", "g"))
    finished(metrics, Attempt("a", "connection", 0.1, usage=Usage(1000), estimate=Usage(500)), outcome="embedded")
    metrics.rows.settle()
    found = samples(metrics)
    assert (found["router_tokens_total input r"], found["router_cost_usd_total r"]) == (1000, 0.001)
    assert found["router_estimated_cost_usd_total r"] == 0.0005
    slot = summed([hour.report()], 3_000_000.0)["slots"][-1]
    assert (slot["input_tokens"], slot["cost_usd"], slot["failures"]) == (1500, 0.0015, 0)


def test_requests_count_in_the_slot_in_which_they_ended() -> None:
    """The rows of a slot are added to it when the first request of the next slot begins or ends, or a page is read, however late."""
    now = [2_000_000.0]
    metrics, ring = Metrics(clock=lambda: now[0]), Ring()
    hour = Hour(metrics.rows, ring.running, lambda: now[0])
    for answers in (3, 2):
        hour.begin(Entry("r", "g", at=now[0]))
        for _ in range(answers):
            finished(metrics, Attempt("a", "ok", 0.1, first=0.1, usage=Usage(10, 1)))
        now[0] += SLOT_SECONDS
    now[0] += SLOT_SECONDS
    metrics.rows.settle()
    slots = summed([hour.report()], now[0])["slots"]
    assert [(one["answers"], one["input_tokens"], one["open"]) for one in slots[-4:]] == [(3, 30, 1), (2, 20, 2), (0, 0, 0), (0, 0, 0)]


def test_rows_are_added_up_beyond_their_bound() -> None:
    """Labels beyond MAX_ROWS have the oldest rows added up, a few in one request: their number is bounded, and no request is lost."""
    metrics = Metrics()
    for number in range(3 * MAX_ROWS):
        finished(metrics, Attempt("a", "ok", 0.1, usage=Usage(10, 1)), caller=f"user-{number}")
        assert min(number, KEPT_ROWS) <= len(metrics.rows) < MAX_ROWS
    metrics.rows.settle()
    assert samples(metrics)["router_requests_total stop r"] == 3 * MAX_ROWS
    assert not metrics.rows


def test_sink_that_fails_costs_no_other_its_rows() -> None:
    """If a sink raises, the sinks after it get all rows, further requests are counted, and one of these raises the error once."""
    metrics = Metrics()

    def failing(labels: Labels, row: Tries) -> None:
        raise RuntimeError(f"{labels} {row}")

    metrics.rows.sinks.insert(0, failing)
    bill = Bill(metrics.rows)
    finished(metrics, Attempt("a", "ok", 0.1, usage=Usage(10, 1)), caller="ada")
    finished(metrics, Attempt("a", "ok", 0.1, usage=Usage(10, 1)), caller="bob")
    metrics.rows.settle()
    assert samples(metrics)["router_requests_total stop r"] == 2
    with pytest.raises(RuntimeError):
        finished(metrics, Attempt("a", "ok", 0.1, usage=Usage(10, 1)))
    metrics.rows.sinks.remove(failing)
    finished(metrics, Attempt("a", "ok", 0.1, usage=Usage(10, 1)))
    metrics.rows.settle()
    assert samples(metrics)["router_requests_total stop r"] == 4
    assert {name: row["count"] for name, row in bill.totals()["callers"].items()} == {"ada": 1, "bob": 1, "anonymous": 2}


def test_sum_of_rows_has_the_usage_of_each() -> None:
    """Each field of usage and cost of a row is added to another; the count is the one that is given."""
    names = [one.name for one in fields(Row) if one.name != "count"]
    total = Row()
    for _ in range(2):
        total.add(Tries(**dict.fromkeys(names, 3)), 1)  # type: ignore[arg-type]
    assert (total.count, {getattr(total, name) for name in names}) == (2, {6})


def test_stored_attempts_report_what_is_added_to_each_number() -> None:
    """Each amount but 0 added to a number with an adder is reported at once, once, and kept in the row, as all numbers are.
    An adder that fails costs its own number alone.
    """
    reported: list[float] = []

    def failing(added: float) -> None:
        raise OSError(f"no space for {added}")

    row = StoredTries(adders={"input_tokens": reported.append, "count": failing})
    row.count += 1
    row.input_tokens += 10
    row.input_tokens += 0  # else a series of 0 would be shown
    row.input_tokens += 5
    row.output_tokens += 7
    assert (reported, row.count, row.input_tokens, row.output_tokens) == ([10, 5], 1, 15, 7)
    assert [str(error) for error in row.failed] == ["no space for 1"]
