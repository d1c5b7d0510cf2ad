"""The diagrams of the state machines show what the code does."""

from collections.abc import Callable
from typing import get_args

import pytest

from handbook.states import BREAKER_STATES, EVENT_STATES, breaker_arrows, event_arrows, states
from router.events import ORDER, Event
from router.events import State as EventState
from router.failover.breaker import Breaker, Permit
from router.failover.breaker import State as BreakerState


def test_breaker_diagram_shows_each_state() -> None:
    """Each state that a breaker can be in is reached, and can be left again."""
    arrows = breaker_arrows()
    assert set(get_args(BreakerState)) <= set(BREAKER_STATES)
    assert {after for _, after in arrows} == {before for before, _ in arrows} == set(BREAKER_STATES)


def test_breaker_diagram_shows_the_way_through_a_probe() -> None:
    """An open breaker becomes half-open by time alone, a probe's first word is on trial, and one failure there opens it again."""
    arrows = breaker_arrows()
    assert [before for before, after in arrows if after == "half_open"] == ["open"]
    assert arrows["half_open", "trial"] == ["first word"]
    assert "one failure" in arrows["trial", "open"]
    assert "one failure" not in arrows.get(("closed", "open"), [])


def test_breaker_diagram_is_generated_from_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A breaker that opens at its first failure is drawn so: no arrow is written by hand."""
    failed: Callable[[Breaker, Permit], None] = Breaker.failed

    def opens(breaker: Breaker, permit: Permit) -> None:
        failed(breaker, permit)
        breaker.open()

    monkeypatch.setattr(Breaker, "failed", opens)
    assert breaker_arrows() != {}
    assert "closed" not in {before for before, _ in breaker_arrows()}


def test_event_diagram_shows_the_whole_table() -> None:
    """Each row of ORDER is an arrow, and each event and each state of the table is on one."""
    drawn = {(before, name, after) for (before, after), names in event_arrows().items() for name in names}
    assert drawn == {(before, kind.__name__, after) for (before, kind), after in ORDER.items()}
    assert {name for _, name, _ in drawn} == {kind.__name__ for kind in get_args(Event)}
    assert set(EVENT_STATES) == set(get_args(EventState))


def test_diagram_is_followed_by_its_table() -> None:
    """A reader without the script that draws, or without eyes, reads the same as rows."""
    page = states()
    assert page.count("```mermaid") == 2
    assert page.count("| from | to | on |") == 2
