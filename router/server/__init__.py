"""The HTTP edge: bodies → Ask, events → bytes."""

from router.config import load, routes_from_environment
from router.generation import Generation, build
from router.reload import Live
from router.server.edge import Edge
from router.server.log import to_stderr
from router.server.pages import pages

__all__ = ["application", "create", "to_stderr"]


def application(generation: Generation) -> Edge:
    """The ASGI application over a generation."""
    live = Live(generation)
    return Edge(live, pages(live))


def create() -> Edge:
    """The application a worker process runs: it builds its own generation."""
    to_stderr()
    return application(build(load(routes_from_environment())))
