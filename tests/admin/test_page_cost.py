"""What the pages cost: steps in proportion to the targets, and none of the loop's but for the answer's own."""

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import prometheus_client
import pytest

import router
from router.journal.report import TURN, targets
from router.threads import Turns
from tests.conftest import Workspace, serving

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
    """Count the bytecodes of this package and of the Prometheus client that run, by thread: those of a comprehension, too."""
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
    """As many targets, in a route each, and all in one more."""
    targets = "".join(f"  t{index}: {{script: [{{text: Hello}}]}}\n" for index in range(count))
    routes = "".join(f"  r{index}: {{aliases: [a{index}], pipeline: chat, targets: [t{index}]}}\n" for index in range(count))
    whole = f"  all: {{pipeline: chat, breaker: {{failures: 9}}, targets: [{', '.join(f't{index}' for index in range(count))}]}}\n"
    return f"targets:\n{targets}routes:\n{whole}{routes}"


async def cost(workspace: Workspace, count: int, page: str) -> Counter[int]:
    """The steps of a page with this many targets."""
    async with serving(workspace.write("routes.yaml", many(count)).build()) as client:
        assert (await client.get(page)).status == 200  # once, for what is made at first
        with steps() as found:
            answer = await client.get(page)
        assert answer.status == 200
    return found


@pytest.mark.parametrize("page", PAGES)
async def test_work_of_the_targets_page_is_linear_in_the_targets(workspace: Workspace, page: str) -> None:
    """Twice the targets take twice the steps, besides a small constant."""
    few, twice = await cost(workspace, 100, page), await cost(workspace, 200, page)
    assert few.total() > 0
    assert twice.total() <= 2.2 * few.total()


@pytest.mark.parametrize("page", PAGES)
async def test_targets_page_does_little_work_on_the_event_loop(workspace: Workspace, page: str) -> None:
    """On the event loop only the report of each target is made; the page is built from it in a thread."""
    here = threading.get_ident()
    few, twice = await cost(workspace, 100, page), await cost(workspace, 200, page)
    assert (twice[here] - few[here]) / 100 < 600


async def test_report_leaves_the_loop_after_every_so_many_targets(workspace: Workspace) -> None:
    """However many targets there are, the loop is held for as long as TURN of them take."""
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
    """However many are asked for at once, the event loop shares the interpreter with one thread."""
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
