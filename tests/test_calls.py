"""The number of Python and C calls that a unit of work takes: a count that depends on no machine's speed. `make calls` lists them."""

import sys

import pytest

from bench.calls import UNITS, calls_of

BOUNDS: dict[str, tuple[int, int]] = {
    "paced": (10, 13),
    "recorded": (11, 17),
    "burst": (188, 178),
    "short": (172, 177),
    "line": (185, 178),
}
"""Unit of work → the most (Python calls, C calls) that it may take with the default settings. Lower them with each improvement."""

COUNTED = {"admin/hour.Hour.begin": 1}
"""Calls that a request makes for the operators' page at `/`: the last hour is counted although no browser shows it."""


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not there on Windows")
@pytest.mark.parametrize("unit", BOUNDS)
def test_unit_of_work_stays_within_its_call_bounds(unit: str) -> None:
    """Each unit of work, such as one chunk, takes no more Python calls and C calls than BOUNDS allows."""
    python, c = calls_of(unit).totals
    most_python, most_c = BOUNDS[unit]
    assert python <= most_python, "`make calls` lists them"
    assert c <= most_c, "`make calls` lists them"


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not there on Windows")
@pytest.mark.parametrize("unit", BOUNDS)
def test_unit_of_work_raises_no_errors(unit: str) -> None:
    """No exception passes a Python function in a usual unit of work: each costs as much as 150 bytecode instructions."""
    assert not calls_of(unit, instructions=True).errors


def test_every_unit_of_work_has_a_bound() -> None:
    """Every unit of work that `bench.calls` counts has an entry in BOUNDS."""
    assert set(BOUNDS) == set(UNITS)


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not there on Windows")
@pytest.mark.parametrize(("unit", "counted"), [("paced", {}), ("short", COUNTED)])
def test_unopened_operators_page_costs_only_the_count_of_the_last_hour(unit: str, counted: dict[str, int]) -> None:
    """While no browser shows the operators' page, a chunk calls none of its code, and a request only the code that counts the last hour."""
    for server in ("", "  page: off\n"):
        made = calls_of(unit, server).python
        operators = {callee for _, callee in made if callee.startswith("admin/") and not callee.startswith("admin/routed.")}
        assert {one: sum(count for (_, callee), count in made.items() if callee == one) for one in operators} == counted
