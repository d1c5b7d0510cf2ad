"""The HTTP server: request bodies become an Ask, events become response bytes."""

import gc
import logging
from pathlib import Path

from router.access.gate import Gate
from router.access.slowdown import Slowdown
from router.admin.hour import Hour
from router.admin.operations import Operations
from router.admin.siblings import Siblings
from router.admin.watchdog import Watchdog
from router.answering.chat import Chat
from router.callers import Callers
from router.config import COUNTERS, folder_from_environment, host_from_environment, load_live, routes_from_environment, run_key
from router.config.values import Secret
from router.garbage import STEADY
from router.generation import Generation, build
from router.journal.bill import Bill
from router.journal.log import line, to_stderr, turned
from router.journal.metrics import Metrics
from router.journal.ring import Ring
from router.journal.traces import Traces
from router.reload import Listeners, Live, Reload
from router.server.door import Door
from router.server.edge import Edge
from router.targets import forget_lookups

__all__ = ["Door", "Edge", "application", "create", "steady", "to_stderr", "warn_undeclared"]

messages = logging.getLogger("router.server")


def application(
    generation: Generation,
    routes: Path | None = None,
    host: str = "127.0.0.1",
    *,
    run_key: Secret | None = None,
    only: Callers | None = None,
    slowdown: Slowdown | None = None,
) -> Edge:
    """Return the ASGI application that serves a generation.

    routes: the file that the generation was loaded from, whose edits can go live; None if none can
    host: the address at which it is served
    run_key: an admin key that holds while none is declared
    only: the authentication to use in place of the declared one
    slowdown: the delays of refused operators' requests, whatever the reason; callers' requests have none
    """
    live = Live(generation)
    folder = folder_from_environment()
    ring, metrics, traces = Ring(), Metrics(folder and folder / COUNTERS), Traces(live)
    bill, hour = Bill(metrics.rows), Hour(metrics.rows, ring.running)
    # The ring comes last: it lets go of what it does not show.
    gate = Gate(live, metrics.admin_refused, run_key, only, slowdown)
    chat = Chat(live, gate, (line, metrics.count, traces.observe, ring.keep), (hour.begin,))
    generation.kept.departed.append(metrics.redis_departed)
    generation.kept.turned += (turned, metrics.turned)
    reload = Reload(live, routes, host, Listeners(metrics.reloaded, metrics.not_reloaded)) if routes is not None else None
    admin = Operations(live, reload, chat, ring, metrics, traces, bill, hour, watchdog=Watchdog(stalled=metrics.stalled))
    if folder is not None:
        admin.siblings = Siblings(folder, admin.answer)
    return Edge(admin, gate)


def create() -> Edge:
    """Return the application of a worker process, built from the routes file that the environment names. ConfigError if it is invalid."""
    to_stderr()
    routes = routes_from_environment()
    host = host_from_environment(routes)
    made = application(build(load_live(routes, host)), routes, host, run_key=run_key())
    steady()
    return made


def warn_undeclared(generation: Generation) -> None:
    """Log a warning if `server.auth` is undeclared: then only local requests are served, and some proxies look like local clients."""
    if generation.server.auth is None:
        unseen = "a proxy on this machine that speaks HTTP/1.1, rewrites Host and adds no header passes for a local client"
        fields = {"served": "this machine alone", "unseen": unseen, "remedy": "declare server.auth"}
        messages.warning("server.auth is not declared", extra={"fields": fields})


def steady() -> None:
    """Tune the garbage collector of a process that begins to serve: freeze what was loaded, and collect less often.

    This saves a tenth of the CPU of a short answer, and its longest pauses. There is no collection before: it would find 188 objects,
    for 30 ms, and as many in a second with 10,000 routes.
    """
    forget_lookups()
    gc.freeze()
    gc.set_threshold(*STEADY)
