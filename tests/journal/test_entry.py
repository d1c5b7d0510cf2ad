"""The record of one request: its usage, its estimate, its cost and its attempts."""

from typing import Any, cast

import pytest

from router.attempt import LET_GO, Attempt, Trail
from router.config.price import Price
from router.events import Cached, Failure, Finish, Start, Text
from router.journal.entry import Entry
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
    meter.usage, meter.final = Usage(1000, 100, 600), True
    meter.close()
    await entry.counted()
    entry.close()
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
    entry = Entry("id", "generation", trail=trail)
    for event in (Start("a", "m", cache="shared"), Text("One"), Start("a", "m", cache="shared"), Text("tw"), Text("o"), Finish("stop")):
        entry.see(event)
    entry.close()
    assert [one.as_json() for one in entry.seams] == [{"after_characters": 5, "from": "a", "to": "b"}]


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


def test_charges_use_the_prices_of_the_route_once_it_is_known() -> None:
    """Before the route of an entry is known its cost is None; afterwards it is computed with the prices of that route."""
    entry = Entry("id", "generation")
    entry.attempts = (COUNTED,)
    assert entry.charges.cost is None
    entry.takes("route", (), {}, PRICES, ())
    assert entry.charges.cost == pytest.approx(0.00146)
