"""The HTTP edge: bodies → Ask, events → bytes."""

import gc
from pathlib import Path

from router.config import load, reloads, routes_from_environment
from router.generation import Generation, build
from router.reload import Live, Reload
from router.server.edge import Edge
from router.server.log import to_stderr
from router.server.pages import pages

__all__ = ["application", "create", "steady", "to_stderr"]


def application(generation: Generation, routes: Path | None = None) -> Edge:
    """The ASGI application over a generation; with the routes file it came from, it follows that file's edits."""
    live = Live(generation)
    reload = Reload(live, routes) if routes is not None and reloads(generation.server) else None
    return Edge(live, pages(live), reload)


def create() -> Edge:
    """The application a worker process runs: it builds its own generation."""
    to_stderr()
    routes = routes_from_environment()
    made = application(build(load(routes)), routes)
    steady()
    return made


def steady() -> None:
    """Call it once the process serves: what it has made until then stays, so the garbage collector passes it over from now on,
    and comes less often. A tenth of the CPU of a short answer, and its longest pauses.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
