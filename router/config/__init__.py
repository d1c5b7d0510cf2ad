"""YAML → a frozen declaration; every mistake with its line and column. The environment is read here and nowhere else."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from router.config.declaration import Declaration, Reloading, Server, declare
from router.config.environment import secret
from router.config.snapshot import Snapshot, keep, kept, read
from router.config.values import Secret
from router.config.watched import Watched, watched

__all__ = [
    "COUNTERS",
    "FOLDER_VARIABLE",
    "HOST_VARIABLE",
    "RELOAD_VARIABLE",
    "ROUTES_VARIABLE",
    "Declaration",
    "Snapshot",
    "Watched",
    "admin_key",
    "as_written",
    "declare",
    "declared",
    "folder_from_environment",
    "host_from_environment",
    "keep_live",
    "keep_run_key",
    "load",
    "load_live",
    "production",
    "read",
    "reloads",
    "routes_from_environment",
    "run_key",
    "secrets",
    "watched",
    "without_environment",
]

ROUTES_VARIABLE = "ROUTER_ROUTES"
"""Names the routes file to the workers of `router serve --workers`."""
HOST_VARIABLE = "ROUTER_HOST"
"""Tells them the address they serve at."""
RELOAD_VARIABLE = "ROUTER_RELOAD"
"""Tells them what the command line says of edits: on or off; empty where it says nothing."""
FOLDER_VARIABLE = "ROUTER_FOLDER"
"""Names the folder in which they meet."""
COUNTERS = "counters"
"""The folder in that where each keeps what it counted."""
RUN_KEY = "admin.key"
"""The file in it with an admin key that was made for this run: not a variable, which programs that are started would be given."""
LIVE = "live.json"
"""The file in it with the configuration that they serve."""


def load(routes: Path, host: str = "127.0.0.1") -> Declaration:
    """What is on disk now, declared with this process's environment. `host`: the address it is to be served at."""
    return declared(read(routes), host)


def declared(snapshot: Snapshot, host: str = "127.0.0.1") -> Declaration:
    """What was read before, declared with this process's environment."""
    return declare(snapshot, os.environ, host)


def without_environment(routes: Path) -> Declaration:
    """What is on disk now, whatever variables and secret files it lacks: to be checked where they are not, never to be served. See
    `Complaints.lacking`.
    """
    return declare(read(routes), os.environ, lacking="noted")


def load_live(routes: Path, host: str = "127.0.0.1") -> Declaration:
    """What the workers of this server serve; where there are none yet, what is on disk. A worker that takes the place of one that
    died does as the others do, whatever has been written since: it may be broken, or not to go live yet.
    """
    folder = folder_from_environment()
    live = kept(folder / LIVE) if folder is not None else None
    return declare(live or read(routes), os.environ, host)


def keep_live(declaration: Declaration) -> None:
    """This is served from now on, and by workers that are still to come."""
    if (folder := folder_from_environment()) is not None:
        keep(declaration.snapshot, folder / LIVE)


def keep_run_key(folder: Path, key: Secret) -> None:
    """Leave an admin key for the workers that meet in this folder, for its owner's eyes alone."""
    descriptor = os.open(folder / RUN_KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.value)


def run_key() -> Secret | None:
    """The admin key that was made for this run; None where none was."""
    folder = folder_from_environment()
    try:
        return Secret((folder / RUN_KEY).read_text(encoding="ascii")) if folder is not None else None
    except FileNotFoundError:
        return None


def as_written(snapshot: Snapshot) -> Declaration:
    """What a snapshot says, whatever `${…}` stands for in it: to be described, not to be built."""
    return declare(snapshot, None)


def admin_key() -> str:
    """The key that operators' commands show to a running server; empty where none is set."""
    return os.environ.get("ROUTER_ADMIN_KEY", "")


def routes_from_environment() -> Path:
    """The routes file this worker serves."""
    return Path(os.environ.get(ROUTES_VARIABLE, "routes.yaml"))


def host_from_environment() -> str:
    """The address this worker serves at."""
    return os.environ.get(HOST_VARIABLE, "127.0.0.1")


def folder_from_environment() -> Path | None:
    """The folder in which the workers of this server meet; None where there is one worker."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else None


def reloads(server: Server) -> bool:
    """Whether an edit goes live by itself: as the command line says; else as declared; else unless ROUTER_ENV says that this is production."""
    declared = server.reload.when if isinstance(server.reload, Reloading) else server.reload
    when = os.environ.get(RELOAD_VARIABLE) or declared
    return when == "on" or (when == "auto" and not production())


def production() -> bool:
    """Whether ROUTER_ENV says that this is production."""
    return os.environ.get("ROUTER_ENV") == "production"


def secrets(root: Path, paths: Iterable[str]) -> Mapping[str, str | None]:
    """What stands in secret files now; None where one cannot be read."""
    return {path: secret(root / path)[0] for path in paths}
