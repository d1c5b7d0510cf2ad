"""YAML → a frozen declaration; every mistake with its line and column. The environment is read here and nowhere else."""

import os
from pathlib import Path

from router.config.declaration import Declaration, declare
from router.config.snapshot import read

__all__ = ["ROUTES_VARIABLE", "Declaration", "declare", "load", "read", "routes_from_environment"]

ROUTES_VARIABLE = "ROUTER_ROUTES"
"""Names the routes file to the workers of `router serve --workers`."""


def load(routes: Path) -> Declaration:
    """What is on disk now, declared with this process's environment."""
    return declare(read(routes), os.environ)


def routes_from_environment() -> Path:
    """The routes file this worker serves."""
    return Path(os.environ.get(ROUTES_VARIABLE, "routes.yaml"))
