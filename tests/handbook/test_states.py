"""The state diagrams of the documentation match the behaviour of the code."""

from collections.abc import Callable
from typing import get_args

import pytest

from handbook.states import BREAKER_STATES, EVENT_STATES, breaker_arrows, event_arrows, states
from router.events import ORDER, Event
from router.events import State as EventState
from router.failover.breaker import Breaker, Permit
from router.failover.breaker import State as BreakerState


def test_breaker_diagram_shows_each_state() -> None:
    """The breaker diagram contains every breaker state, and each state can be entered and left."""
    arrows = breaker_arrows()
    assert set(get_args(BreakerState)) <= set(BREAKER_STATES)
    assert {after for _, after in arrows} == {before for before, _ in arrows} == set(BREAKER_STATES)


def test_breaker_diagram_shows_probe_and_trial() -> None:
    """In the diagram only an open breaker becomes half-open, a probe's first token begins a trial, and one failure ends the trial."""
    arrows = breaker_arrows()
    assert [before for before, after in arrows if after == "half_open"] == ["open"]
    assert arrows["half_open", "trial"] == ["first word"]
    assert "one failure" in arrows["trial", "open"]
    assert "one failure" not in arrows.get(("closed", "open"), [])


def test_breaker_diagram_is_generated_from_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the breaker's code patched to open at every failure, the diagram has arrows, but none that leaves `closed`."""
    failed: Callable[[Breaker, Permit], None] = Breaker.failed

    def opens(breaker: Breaker, permit: Permit) -> None:
        failed(breaker, permit)
        breaker.open()

    monkeypatch.setattr(Breaker, "failed", opens)
    assert breaker_arrows() != {}
    assert "closed" not in {before for before, _ in breaker_arrows()}


def test_event_diagram_shows_every_row_of_the_order_table() -> None:
    """The event diagram has one arrow per row of `ORDER`, and every event class and state appears."""
    drawn = {(before, name, after) for (before, after), names in event_arrows().items() for name in names}
    assert drawn == {(before, kind.__name__, after) for (before, kind), after in ORDER.items()}
    assert {name for _, name, _ in drawn} == {kind.__name__ for kind in get_args(Event)}
    assert set(EVENT_STATES) == set(get_args(EventState))


def test_states_page_has_two_diagrams_and_two_tables() -> None:
    """The generated page of states has two Mermaid diagrams and two tables of arrows."""
    page = states()
    assert page.count("```mermaid") == 2
    assert page.count("| from | to | on |") == 2
