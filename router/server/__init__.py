"""The HTTP edge: bodies → Ask, events → bytes."""

import gc
from pathlib import Path

from router.config import COUNTERS, folder_from_environment, host_from_environment, load_live, routes_from_environment
from router.generation import Generation, build
from router.reload import Listeners, Live, Reload
from router.server.admin import Admin
from router.server.chat import Chat
from router.server.door import Door
from router.server.edge import Edge
from router.server.log import line, to_stderr, turned
from router.server.metrics import Metrics
from router.server.pages import pages
from router.server.ring import Ring
from router.server.siblings import Siblings
from router.server.traces import Traces
from router.server.watchdog import Watchdog

__all__ = ["Door", "application", "create", "steady", "to_stderr"]


def application(generation: Generation, routes: Path | None = None, host: str = "127.0.0.1") -> Edge:
    """The ASGI application over a generation; with the routes file it came from, edits of that can go live. `host`: the address it
    is served at.
    """
    live = Live(generation)
    folder = folder_from_environment()
    ring, metrics, traces = Ring(), Metrics(folder and folder / COUNTERS), Traces(live)
    # The ring comes last: it lets go of what it does not show.
    chat = Chat(live, (line, metrics.count, traces.observe, ring.keep))
    generation.kept.departed.append(metrics.redis_departed)
    generation.kept.turned += (turned, metrics.turned)
    reload = Reload(live, routes, host, Listeners(metrics.reloaded, metrics.not_reloaded)) if routes is not None else None
    admin = Admin(live, reload, chat, ring, metrics, traces, watchdog=Watchdog(stalled=metrics.stalled))
    if folder is not None:
        admin.siblings = Siblings(folder, admin.answer)
    return Edge(admin, pages(admin))


def create() -> Edge:
    """The application a worker process runs: it builds its own generation."""
    to_stderr()
    routes, host = routes_from_environment(), host_from_environment()
    made = application(build(load_live(routes, host)), routes, host)
    steady()
    return made


def steady() -> None:
    """Call it once the process serves: what it has made until then stays, so the garbage collector passes it over from now on,
    and comes less often. A tenth of the CPU of a short answer, and its longest pauses.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 3)
