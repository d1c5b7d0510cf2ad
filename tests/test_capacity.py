"""The page on capacity agrees with its charts and results, and costs that may grow at most linearly are counted without a clock."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.by_hand import counted
from bench.capacity import results
from bench.capacity.charts import Chart, Line, drawn
from bench.capacity.growth import LINEAR, exponent
from bench.capacity.measures import MEASURES
from router.config import declare, read
from router.generation import build
from tests.conftest import ROOT, Workspace

WRITTEN = results.read()
PAGE = results.PAGE.read_text(encoding="utf-8")


def test_every_capacity_measure_has_committed_results() -> None:
    """The committed results hold exactly the measures of `bench.capacity`, none of them empty."""
    assert set(WRITTEN) == set(MEASURES)
    assert all(WRITTEN.values())


def test_capacity_page_has_the_tables_of_the_results() -> None:
    """The tables of the page are those that `bench.capacity` makes from the committed results."""
    assert results.filled(PAGE, WRITTEN) == PAGE, "run `python -m bench.capacity --draw`"


@pytest.mark.parametrize("name", results.charts(WRITTEN))
def test_chart_is_drawn_from_the_results(name: str) -> None:
    """Each committed SVG chart equals the one drawn from the results, and has a title and a description for screen readers."""
    text = (results.FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert text == drawn(results.charts(WRITTEN)[name]), "run `python -m bench.capacity --draw`"
    tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(text)}  # noqa: S314 - our own file
    assert {"title", "desc", "style"} <= tags


def test_capacity_page_shows_exactly_the_existing_charts() -> None:
    """The page, the folder of charts and the results name the same charts."""
    assert set(re.findall(r"\(capacity/(\w+)\.svg\)", PAGE)) == set(results.charts(WRITTEN))
    assert {path.stem for path in results.FOLDER.glob("*.svg")} == set(results.charts(WRITTEN))


def test_committed_results_grow_at_most_linearly() -> None:
    """Committed costs grow at most linearly with their causes: the fitted exponents are 1.15 or less."""
    assert results.faster(WRITTEN) == {}


@pytest.mark.parametrize("bound", results.BOUNDS, ids=lambda bound: bound.words)
def test_committed_results_meet_their_bounds(bound: results.Bound) -> None:
    """A cost that has a bound at one size keeps it in the committed results."""
    assert bound.value(WRITTEN) <= bound.most


@pytest.mark.parametrize(("power", "found"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (2.0, 2.0)])
def test_fitted_exponent_ignores_a_constant_cost(power: float, found: float) -> None:
    """The fitted exponent of the cost 100 + cause^power is `power`: the constant part does not flatten it."""
    points = [(1.0, 100.0), *((cause, 100 + (cause**power if power else 0)) for cause in (10.0, 100.0, 1000.0))]
    assert exponent(points) == pytest.approx(found, abs=0.05)


def test_growth_within_the_noise_of_a_measure_counts_little() -> None:
    """A linear cost stays linear where a small size took 0.6 % more than the smallest, and not the 3 % that it should."""
    assert exponent([(10, 0.291), (100, 0.293), (1000, 0.388), (10_000, 1.33)]) == pytest.approx(1.0, abs=0.05)


def test_growth_that_only_the_largest_size_shows_is_found() -> None:
    """A quadratic cost is found although no size but the largest rises by more than 1 %."""
    assert exponent([(cause, 300 + 3e-6 * cause**2) for cause in (10, 100, 1000, 10_000)]) > 1.9


def test_quadratic_growth_is_found() -> None:
    """A cost that grows with the square of the number of routes is reported as faster than linear."""
    made = {**WRITTEN, "routes": [{**row, "check_s": row["at"] ** 2} for row in WRITTEN["routes"]]}
    assert results.faster(made)["CPU of `router check` by routes"] > LINEAR


def test_chart_keeps_within_its_frame() -> None:
    """All points of a chart's lines lie within its axes, for values from 0.003 to 70,000."""
    text = drawn(Chart("Title", "cause", "cost", (Line("a", [(1, 0.003), (4000, 70_000)]), Line("b", [(1, 5), (4000, 6)]))))
    for line in re.findall(r'points="([^"]+)"', text):
        for pair in line.split():
            x, y = map(float, pair.split(","))
            assert 64 <= x <= 490
            assert 40 <= y <= 252


def many(count: int, *, warned: bool = False) -> str:
    """Return a configuration of `count` routes, each with a target of its own. `warned`: each route causes a warning."""
    targets = "".join(
        f"  t{index}: {{model: openai/m{index}, api_base: 'http://127.0.0.1:9/v1', api_key: sk-test}}\n" for index in range(count)
    )
    limit = ", limit: {requests: 5/hour, per: ip}" if warned else ""
    routes = "".join(f"  r{index}: {{pipeline: chat, targets: [t{index}]{limit}}}\n" for index in range(count))
    return f"targets:\n{targets}routes:\n{routes}"


def loaded(workspace: Workspace, text: str) -> int:
    """Return the number of Python and C calls that it takes to declare and build this configuration."""
    workspace.write("routes.yaml", text)
    snapshot = read(Path(workspace.root, "routes.yaml"))
    with counted() as counts:
        build(declare(snapshot, {})).discard()
    return sum(counts.totals)


@pytest.mark.parametrize(("warned", "most"), [(False, 1300), (True, 1550)], ids=["well", "warned"])
def test_load_takes_calls_in_proportion_to_routes(workspace: Workspace, *, warned: bool, most: int) -> None:
    """A configuration of 100 routes loads with at most 2.1 times the function calls of one of 50, with or without a warning per route."""
    loaded(workspace, many(5))  # tables and records that are made once
    few, twice = loaded(workspace, many(50, warned=warned)), loaded(workspace, many(100, warned=warned))
    assert twice <= 2.1 * few
    assert (twice - few) / 50 < most, "a route and its target took 1,204 calls, with a warning 1,459"


def test_makefile_has_the_capacity_target() -> None:
    """The Makefile has the target `capacity`."""
    assert re.search(r"^capacity:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
