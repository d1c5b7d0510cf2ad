"""The calls that a unit of work takes: counted, so no machine is too slow and none too busy. `make calls` lists them."""

import sys

import pytest

from bench.calls import UNITS, calls_of

BOUNDS: dict[str, tuple[int, int]] = {
    "paced": (25, 36),
    "recorded": (30, 42),
    "burst": (566, 940),
    "short": (543, 550),
}
"""Unit of work → the most Python calls and C calls that it may take, with all that is on by default. Lower them with each improvement."""

COUNTED = {"admin/hour.Hour.begin": 1, "admin/hour.Hour.count": 1, "admin/hour.Hour._now": 2, "admin/hour.bucket": 1}
"""Calls of a whole request that are made for the page at `/`: the last hour is counted whether anybody looks at it or not."""


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not there on Windows")
@pytest.mark.parametrize("unit", BOUNDS)
def test_unit_of_work_keeps_to_its_calls(unit: str) -> None:
    """A unit of work takes no more calls than are written down here."""
    python, c = calls_of(unit).totals
    most_python, most_c = BOUNDS[unit]
    assert python <= most_python, "`make calls` lists them"
    assert c <= most_c, "`make calls` lists them"


def test_every_unit_is_bounded() -> None:
    """A new unit of work needs a bound here."""
    assert set(BOUNDS) == set(UNITS)


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not there on Windows")
@pytest.mark.parametrize(("unit", "counted"), [("paced", {}), ("short", COUNTED)])
def test_request_calls_nothing_of_a_page_that_nobody_has_open(unit: str, counted: dict[str, int]) -> None:
    """A chunk takes no call of the operators' pages, a request those that count it, whether the page is served or not."""
    for server in ("", "  page: off\n"):
        made = calls_of(unit, server).python
        operators = {callee for _, callee in made if callee.startswith("admin/") and not callee.startswith("admin/routed.")}
        assert {one: sum(count for (_, callee), count in made.items() if callee == one) for one in operators} == counted
