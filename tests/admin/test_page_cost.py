"""The cost of the operator's pages: work in proportion to the number of targets, and little of it on the event loop."""

import asyncio
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from types import FrameType
from typing import Any

import prometheus_client
import pytest

import router
from router.journal.report import TURN, targets
from router.threads import Turns
from tests.conftest import CHAT, Workspace, serving
from tests.endurance.page import Round, difference, growth
from tests.endurance.probed import Probe, lateness

PAGES = (
    "/metrics",
    "/admin/targets",
    "/admin/config",
    "/admin/requests",
    "/admin/hour",
    "/admin/edit",
    "/api/models",
    "/v1/models",
    "/readyz",
    "/healthz",
)
OURS = (str(Path(router.__file__).parent), str(Path(prometheus_client.__file__).parent))


@contextmanager
def steps() -> Generator[Counter[int], None, None]:
    """Count the executed bytecodes of this package and of the Prometheus client by thread: thread id → number."""
    found: Counter[int] = Counter()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if event == "opcode":
            found[threading.get_ident()] += 1
        elif event == "call":
            if not frame.f_code.co_filename.startswith(OURS):
                return None
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        return trace

    threading.settrace(trace)
    sys.settrace(trace)
    try:
        yield found
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]


def many(count: int) -> str:
    """Return a configuration of `count` targets, with a route for each and one route with all of them."""
    targets = "".join(f"  t{index}: {{script: [{{text: Hello}}]}}\n" for index in range(count))
    routes = "".join(f"  r{index}: {{aliases: [a{index}], pipeline: chat, targets: [t{index}]}}\n" for index in range(count))
    whole = f"  all: {{pipeline: chat, breaker: {{failures: 9}}, targets: [{', '.join(f't{index}' for index in range(count))}]}}\n"
    return f"targets:\n{targets}routes:\n{whole}{routes}"


async def costs_with(folder: Path, count: int) -> dict[str, Counter[int]]:
    """Return page → thread id → executed bytecodes of the second GET of the page, with this many targets."""
    found: dict[str, Counter[int]] = {}
    workspace = Workspace(folder).write("pipelines/chat.yaml", CHAT).write("routes.yaml", many(count))
    async with serving(workspace.build()) as client:
        for page in PAGES:
            assert (await client.get(page)).status == 200  # once, for what is made at first
            with steps() as found[page]:
                answer = await client.get(page)
            assert answer.status == 200
    return found


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Counter[int]], dict[str, Counter[int]]]:
    """Return page → thread id → executed bytecodes of a GET, for 100 and for 200 targets."""
    few, twice = (asyncio.run(costs_with(tmp_path_factory.mktemp("pages"), count)) for count in (100, 200))
    return few, twice


@pytest.mark.parametrize("page", PAGES)
def test_work_of_each_page_is_linear_in_the_targets(costs: tuple[dict[str, Counter[int]], dict[str, Counter[int]]], page: str) -> None:
    """Each page takes at most 2.2 times as many bytecodes with 200 targets as with 100."""
    few, twice = (counted[page] for counted in costs)
    assert few.total() > 0
    assert twice.total() <= 2.2 * few.total()


@pytest.mark.parametrize("page", PAGES)
def test_each_page_does_little_work_on_the_event_loop(costs: tuple[dict[str, Counter[int]], dict[str, Counter[int]]], page: str) -> None:
    """Each further target costs a page fewer than 600 bytecodes on the event loop's thread."""
    here = threading.get_ident()
    few, twice = (counted[page] for counted in costs)
    assert (twice[here] - few[here]) / 100 < 600


async def test_report_yields_to_the_event_loop_after_every_turn_of_targets(workspace: Workspace) -> None:
    """A report of 3 × TURN targets lets another task of the event loop run at least three times."""
    generation = workspace.write("routes.yaml", many(3 * TURN)).build()
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    assert len(await targets(generation)) == 3 * TURN
    beside.cancel()
    assert turns >= 3


async def test_operators_pages_are_built_one_at_a_time() -> None:
    """Five pages that are requested at once are built in threads one after the other."""
    turns, go = Turns(), threading.Event()
    running, most = 0, 0

    def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        go.wait(20)
        running -= 1

    pages = [asyncio.create_task(turns.take(work, "page")) for _ in range(5)]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*pages)
    assert most == 1


@pytest.mark.parametrize(("late", "holds"), [((2.0, 2.5, 2.5, 2.8), True), ((2.0, 4.0, 2.5, 4.4), False)])
def test_page_load_verdict_allows_for_the_noise_between_rounds(late: tuple[float, ...], holds: bool) -> None:
    """With a noise of 0.5 ms between rounds, pages that add 0.4 ms to the p99 pass, and pages that add 2 ms fail."""
    rounds = [Round(watched=index % 2 == 1, p50=1.0, p99=p99, cpu=0.5, chunks=5000) for index, p99 in enumerate(late)]
    found = difference(rounds, lambda one: one.p99)
    assert found.noise == 0.5
    assert found.holds is holds


def test_growth_compares_the_last_third_to_the_first() -> None:
    """The growth of a series is 0 with single outliers, and 1 where its last third has twice the median of its first."""
    assert growth([2.0, 2.0, 9.0, 2.0, 2.0, 2.0, 2.0, 2.0, 9.0]) == 0
    assert growth([2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0, 4.0, 4.0]) == 1


async def test_probe_records_how_late_the_event_loop_is(tmp_path: Path) -> None:
    """A block of the event loop for 50 ms is recorded as a lag of 50 ms or more, and only within the time span asked for."""
    began = time.monotonic()
    with FileIO(tmp_path / "lag", "w") as file:
        probe = Probe(file, pause=0.0, each=2)
        probe.look()
        time.sleep(0.05)
        async with asyncio.timeout(20):
            while (tmp_path / "lag").stat().st_size < 32:
                await asyncio.sleep(0)
        probe.close()
    assert lateness(tmp_path / "lag", began, time.monotonic())[-1] >= 50
    assert lateness(tmp_path / "lag", 0, began - 1) == []
