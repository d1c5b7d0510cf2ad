"""The application, for an ASGI server of one's own choice and for another application to mount.

    ROUTER_ROUTES=/etc/router/routes.yaml uvicorn router.asgi:app --no-proxy-headers

`app` is made when it is first asked for: to import this module reads no file and changes nothing.
"""

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
    """Return the application over a routes file, which is `ROUTER_ROUTES` unless given, else ./routes.yaml; its edits go live.

    ConfigError where it cannot be served.

    An application that mounts it enters `started()` in its own lifespan: a mounted application has none.
    """
    path = routes_from_environment() if routes is None else Path(routes)
    host = host_from_environment(path)
    generation = build(load(path, host))
    warn_undeclared(generation)
    return application(generation, path, host)


@cache
def _app() -> Edge:
    """The application of a process that serves nothing else: its log goes to stderr, as under `router serve`."""
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
