"""The ASGI application, for any ASGI server and for mounting in another application.

    ROUTER_ROUTES=/etc/router/routes.yaml uvicorn router.asgi:app --no-proxy-headers

`app` is made on first access: importing this module reads no file and changes nothing.
"""

import gc
import sys
from functools import cache
from os import PathLike
from pathlib import Path

from router.config import host_from_environment, load, routes_from_environment
from router.errors import ConfigError
from router.generation import build
from router.server import Edge, application, steady, to_stderr, warn_undeclared

__all__ = ["create_app"]


def create_app(routes: str | PathLike[str] | None = None) -> Edge:
    """Return the application for a routes file: `routes`, else `ROUTER_ROUTES`, else ./routes.yaml. Edits of the file go live.
    Raises ConfigError if the configuration is invalid.

    An application that mounts this one has to enter its `started()` in its own lifespan: a mounted application gets no lifespan events.
    """
    path = routes_from_environment() if routes is None else Path(routes)
    host = host_from_environment(path)
    generation = build(load(path, host))
    warn_undeclared(generation)
    return application(generation, path, host)


@cache
def _app() -> Edge:
    """Return the application for `router.asgi:app`, made at the first call; its log goes to stderr. Exits with 1 if it is invalid."""
    gc.collect()  # `steady` freezes all garbage, and the program that serves this may have some
    to_stderr()
    try:
        made = create_app()
    except ConfigError as error:
        sys.exit(str(error))
    steady()
    return made


def __getattr__(name: str) -> Edge:
    if name == "app":
        return _app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
