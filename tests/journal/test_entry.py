"""The record of one request: its usage, its estimate, its cost and its attempts."""

import time
from typing import Any, cast

import pytest

from router.attempt import LET_GO, Attempt, Trail
from router.config.price import Price
from router.events import Cached, Event, Failure, Finish, Produced, Source, Start, Text, Thought, ToolCall, ToolInput
from router.journal.charges import charges
from router.journal.entry import MAX_PAUSES, NO_MOMENTS, Entry, GuardedObservers
from router.usage import Meter, Usage

PRICES = {"a": Price(input=1, output=10, cached=0.1), "b": Price(input=2, output=20)}
COUNTED = Attempt("a", "ok", 0.1, usage=Usage(1000, 100, 600))
RESCUED = Attempt("a", "cut", 0.1, estimate=Usage(900, 50))
RESCUER = Attempt("b", "ok", 0.1, usage=Usage(950, 50))
HEDGED = Attempt("b", "abandoned", 0.1, estimate=Usage(900, 0))
REFUSED = Attempt("b", "status_400", 0.1)
FREE_OF_CHARGE = Attempt("script", "ok", 0.1, usage=Usage(10, 10))


@pytest.mark.parametrize(
    ("attempts", "usage", "estimate", "cost", "guessed"),
    [
        ((), None, None, None, None),
        ((REFUSED,), None, None, None, None),
        ((REFUSED, COUNTED), Usage(1000, 100, 600), None, 0.00146, None),
        ((RESCUED, RESCUER), Usage(950, 50), Usage(900, 50), 0.0029 + 0.0014, 0.0014),
        ((HEDGED, COUNTED), Usage(1000, 100, 600), Usage(900, 0), 0.00146 + 0.0018, 0.0018),
        ((COUNTED, RESCUER, COUNTED), Usage(2950, 250, 1200), None, 2 * 0.00146 + 0.0029, None),
        ((RESCUED,), None, Usage(900, 50), 0.0014, 0.0014),
        ((FREE_OF_CHARGE,), Usage(10, 10), None, None, None),
        ((COUNTED, FREE_OF_CHARGE), Usage(1010, 110, 600), None, 0.00146, None),
    ],
    ids=["nothing", "refused", "counted", "rescued", "hedged", "tool loop over two targets", "cut", "no price", "one price"],
)
def test_each_call_costs_once_at_the_price_of_its_own_target(
    attempts: tuple[Attempt, ...], usage: Usage | None, estimate: Usage | None, cost: float | None, guessed: float | None
) -> None:
    """The cost is the sum over all attempts at their targets' prices; the estimated part is listed apart and included in it."""
    entry = Entry("id", "generation", prices=PRICES, trail=Trail([[*attempts]]))
    entry.see(Start("a", "m"))
    entry.see(Finish("stop", Usage(7, 7)))
    entry.close()
    assert (entry.charges.usage, entry.charges.estimate) == (usage, estimate)
    told = entry.explained()
    assert told["cost_usd"] == pytest.approx(cost)
    assert (told["estimated"], told["estimated_cost_usd"]) == (estimate is not None, pytest.approx(guessed))
    tries = cast("list[dict[str, Any]]", told["attempts"])
    assert sum(one.get("cost_usd", 0.0) for one in tries) == pytest.approx(cost or 0.0)
    assert [bool(one.get("estimated")) for one in tries] == [one.estimate is not None for one in attempts]


async def test_late_usage_replaces_the_estimate() -> None:
    """An entry whose meter is open is pending with an estimate; the usage that the meter then gets replaces the estimate."""
    meter = Meter()
    meter.wait()
    attempt = Attempt("a", "ok", 0.1, estimate=Usage(900, 90), meter=meter)
    entry = Entry("id", "generation", prices=PRICES, trail=Trail([[attempt]]))
    entry.see(Finish("stop"))
    assert (entry.pending, entry.charges.used) == (True, Usage(900, 90))
    assert (entry.close(), entry.running) == (False, True)
    meter.usage, meter.final = Usage(1000, 100, 600), True
    meter.close()
    await entry.counted()
    assert entry.close(counted=True)
    assert (entry.pending, entry.charges.usage, entry.charges.estimate) == (False, Usage(1000, 100, 600), None)


async def test_usage_that_never_comes_stays_an_estimate() -> None:
    """An entry whose meter is closed without a usage keeps its estimate."""
    meter = Meter()
    meter.wait()
    attempt = Attempt("a", "ok", 0.1, estimate=Usage(900, 90), meter=meter)
    entry = Entry("id", "generation", prices=PRICES, trail=Trail([[attempt]]))
    entry.see(Finish("stop"))
    meter.close()
    await entry.counted()
    entry.close()
    assert (entry.charges.usage, entry.charges.estimate) == (None, Usage(900, 90))


@pytest.mark.parametrize(
    ("cache", "left", "tried"),
    [
        ("", [], [("a", "status_503")]),
        ("miss", [], []),
        ("miss", [[Attempt("a", "status_503", 0.1), Attempt("b", LET_GO, 0.2)]], [("a", "status_503"), ("b", "client_left")]),
    ],
)
def test_attempts_of_a_shared_answer_are_logged_once(cache: Cached, left: list[list[Attempt]], tried: list[tuple[str, str]]) -> None:
    """A follower that leaves a shared answer early records no attempts; the last one records them all, running ones as `client_left`."""
    entry = Entry("id", "generation", trail=Trail(left))
    entry.see(Start("b", "m", (Attempt("a", "status_503", 0.1),), cache=cache))
    entry.outcome = "client_left"
    entry.close()
    assert [(one.target, one.outcome) for one in entry.attempts] == tried


@pytest.mark.parametrize(
    ("later", "tried"),
    [
        ([COUNTED], ["ok"]),
        ([COUNTED, Attempt("b", LET_GO, 0.2)], ["ok", "abandoned"]),
        ([COUNTED, HEDGED], ["ok", "abandoned"]),
        ([Attempt("a", LET_GO, 0.1)], ["abandoned"]),
        ([RESCUED], ["cut"]),
    ],
    ids=["same", "one is running", "one more has ended", "let go", "another"],
)
def test_attempts_that_the_trail_gets_after_the_end_of_the_answer_are_recorded(later: list[Attempt], tried: list[str]) -> None:
    """A closed entry has the attempts of its trail, also those that came or changed after its Finish had taken them over."""
    trail = Trail([[COUNTED]])
    entry = Entry("id", "generation", prices=PRICES, trail=trail)
    entry.see(Start("a", "m"))
    entry.see(Finish("stop"))
    trail.calls[:] = [later]
    assert entry.close()
    assert [one.outcome for one in entry.attempts] == tried
    assert len(entry.sums.costs) == len(tried)


@pytest.mark.parametrize("code", ["no_answer", "timeout", "internal"])
def test_follower_that_is_not_charged_records_no_attempt_of_an_answer_that_fails(code: str) -> None:
    """A follower of a failed shared answer with an empty trail, as another is charged, has no attempt in its record."""
    entry = Entry("id", "generation")
    entry.see(Start("b", "m", (Attempt("a", "status_503", 0.1),), cache="miss"))
    entry.see(Failure(code, "The answer broke off."))
    entry.close()
    assert entry.attempts == ()


def test_seams_of_a_shared_answer_count_the_text_of_its_earlier_model_calls() -> None:
    """A follower of a shared answer that is charged for two model calls records the seam in the second one behind the first one's text."""
    trail = Trail([[COUNTED], [Attempt("a", "cut", 0.1, first=0.1, said=2), Attempt("b", "ok", 0.1, first=0.1)]])
    entry = Entry("id", "generation", granted=("get_weather",), trail=trail)
    for event in (Start("a", "m", cache="shared"), Text("O"), Thought("Hm")):
        entry.see(event)
    entry.hears([Text("n"), Thought("Hm"), Text("e")])
    for event in (Start("a", "m", cache="shared"), Text("tw"), Text("o"), Finish("stop")):
        entry.see(event)
    entry.close()
    assert [one.as_json() for one in entry.seams] == [{"after_characters": 5, "from": "a", "to": "b"}]


def test_seam_of_a_route_without_tools_needs_no_count_of_its_text() -> None:
    """On a route without tools, which asks a model once, the text is not counted, and a seam is where the attempt that broke off ended."""
    trail = Trail([[Attempt("a", "cut", 0.1, first=0.1, said=2), Attempt("b", "ok", 0.1, first=0.1)]])
    entry = Entry("id", "generation", trail=trail)
    for event in (Start("a", "m"), Text("tw"), Text("o"), Finish("stop")):
        entry.see(event)
    entry.close()
    assert (entry.texts, [one.as_json() for one in entry.seams]) == ([], [{"after_characters": 2, "from": "a", "to": "b"}])
    assert (entry.rescues, entry.explained()["rescues"]) == (1, 1)


def _pauses(entry: Entry) -> int:
    """Return how many pauses a record has once it is over."""
    entry.close()
    assert all(pause >= 0 for pause in entry.pauses)
    return len(entry.pauses)


@pytest.mark.parametrize(
    "piece", [Text("One"), Thought("Hm"), ToolInput("call_1", "get_weather", "{")], ids=["text", "thought", "tool input"]
)
def test_pause_is_recorded_between_two_pieces_of_a_model_call(piece: Event) -> None:
    """A wait for a piece is recorded, but not the wait for the first one of a model call, and not the time between an event and a piece."""
    entry = Entry("id", "generation", granted=("get_weather",))
    for event in (Start("a", "m"), piece, piece, Source("https://example.org")):
        entry.waits()
        entry.see(event)
    time.sleep(0.05)  # a flush
    for _ in range(2):
        entry.see(piece)  # it was there already: the wait for the event before it counts, once
    entry.waits()
    entry.see(ToolCall("call_1", "get_weather", {}))
    for event in (Start("a", "m"), piece, piece):
        entry.see(event)
        entry.waits()
    assert _pauses(entry) == 3
    assert max(entry.pauses) < 0.05


@pytest.mark.parametrize("left", [False, True], ids=["finished", "left"])
def test_pauses_between_the_reads_of_the_fast_path_are_recorded(*, left: bool) -> None:
    """Each read of the fast path ends a pause, also where the client leaves after it. The time of a flush between two reads is left out."""
    entry = Entry("id", "generation")
    entry.see(Start("a", "m"))
    entry.see(Text("One"))
    entry.waits()
    entry.hears([Text("two"), Thought("Hm")])
    entry.hears([Text("three")])
    time.sleep(0.05)  # a flush
    entry.waits()
    entry.hears([Text("four")])
    if not left:
        entry.see(Finish("stop"))
    assert _pauses(entry) == 3
    assert max(entry.pauses) < 0.05
    assert not NO_MOMENTS


def test_pauses_of_one_answer_are_bounded() -> None:
    """No more than MAX_PAUSES pauses are recorded, on the fast path and beside it."""
    entry = Entry("id", "generation")
    entry.see(Start("a", "m"))
    for _ in range(4):
        entry.waits()
        entry.see(Text("One"))
    entry.waits()
    for _ in range(MAX_PAUSES + 10):
        entry.hears([Text("two")])
    assert len(entry._moments) == MAX_PAUSES + 1
    entry.waits()
    entry.see(Text("three"))
    assert _pauses(entry) == MAX_PAUSES


def test_piece_beside_the_fast_path_does_not_exceed_the_bound_of_pauses() -> None:
    """An answer that leaves the fast path and takes it again goes on after MAX_PAUSES pauses, of which none is added."""
    entry = Entry("id", "generation")
    entry.see(Start("a", "m"))
    entry.see(Text("One"))
    entry.waits()
    for _ in range(MAX_PAUSES):
        entry.hears([Text("two")])
    for _ in range(2):
        entry.see(Text("three"))
        assert len(entry.pauses) == MAX_PAUSES
        entry.waits()
        for _ in range(3):
            entry.hears([Text("four")])
    entry.see(Finish("stop"))
    assert _pauses(entry) == MAX_PAUSES


def test_first_piece_is_text_a_thought_or_a_file() -> None:
    """The time of the first piece is that of the first text, thought or file; tool input does not count."""
    for first in (Text("One"), Thought("Hm"), Produced("image/png", "")):
        entry = Entry("id", "generation")
        entry.see(ToolInput("call_1", "get_weather", "{"))
        assert entry.first is None
        entry.see(first)
        assert entry.first is not None


def test_observer_is_logged_again_after_it_has_recovered(caplog: pytest.LogCaptureFixture) -> None:
    """The first of an observer's exceptions in a row is logged; one after a success is logged again. Other observers get each request."""
    seen: list[str] = []

    def fails(entry: Entry) -> None:
        if entry.request_id != "2":
            raise ValueError(entry.request_id)

    observers = GuardedObservers((fails, lambda entry: seen.append(entry.request_id)))
    for request_id in ("0", "1", "2", "3"):
        observers(Entry(request_id, "generation"))
    logged = [record.__dict__["fields"]["request_id"] for record in caplog.records if record.name == "router.problems"]
    assert (logged, seen) == (["0", "3"], ["0", "1", "2", "3"])


def test_charges_are_computed_once_for_each_state_of_the_attempts() -> None:
    """`charges` returns the same object until the attempts change, and then new sums."""
    entry = Entry("id", "generation", prices=PRICES, trail=Trail([[COUNTED]]))
    assert entry.charges is entry.charges
    entry.see(Finish("stop", Usage(7, 7)))
    sums = entry.charges
    assert (sums.usage, sums.cost) == (COUNTED.usage, pytest.approx(0.00146))
    entry.explained()
    assert entry.charges is sums
    entry.attempts = (COUNTED, RESCUER)
    assert entry.charges.used == Usage(1950, 150, 600)


def test_single_attempt_counted_in_part_is_charged_for_count_and_estimate() -> None:
    """Of embeddings in several calls, some are counted and one may be estimated: the sums of their single attempt have both."""
    sums = charges((Attempt("a", "connection", 0.1, usage=Usage(1000), estimate=Usage(500)),), PRICES)
    assert (sums.usage, sums.estimate, sums.used) == (Usage(1000), Usage(500), Usage(1500))
    assert (sums.counted_cost, sums.estimated_cost, sums.cost) == pytest.approx((0.001, 0.0005, 0.0015))


def test_charges_use_the_prices_of_the_route_once_it_is_known() -> None:
    """Before the route of an entry is known its cost is None; afterwards it is computed with the prices of that route."""
    entry = Entry("id", "generation")
    entry.attempts = (COUNTED,)
    assert entry.charges.cost is None
    entry.takes("route", (), {}, PRICES, ())
    assert entry.charges.cost == pytest.approx(0.00146)
