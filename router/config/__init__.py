"""YAML → a frozen declaration; every mistake with its line and column. The environment is read here and nowhere else."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from router.config.declaration import Declaration, Reloading, declare
from router.config.env_file import EnvFile, read_env_file
from router.config.environment import secret
from router.config.snapshot import Snapshot, keep, kept, read
from router.config.values import Secret
from router.config.watched import Watched, watched

__all__ = [
    "COUNTERS",
    "FOLDER_VARIABLE",
    "HOST_VARIABLE",
    "PORT_VARIABLES",
    "RELOAD_VARIABLE",
    "ROUTES_VARIABLE",
    "Declaration",
    "EnvFile",
    "Snapshot",
    "Watched",
    "admin_key",
    "as_written",
    "declare",
    "declared",
    "env_file_of",
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
    "variable",
    "watched",
    "without_environment",
]

ROUTES_VARIABLE = "ROUTER_ROUTES"
"""Names the routes file to commands that are not told which, and to the workers of `router serve --workers`."""
HOST_VARIABLE = "ROUTER_HOST"
"""Names the address to serve at, to both as well."""
PORT_VARIABLES = ("ROUTER_PORT", "PORT")
"""Name the port, the first that is set; the second is what platforms set that run a container."""
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
    """What was read before, declared with this process's environment and with the `.env` beside the routes file as it is now."""
    return declare(snapshot, os.environ, host, beside=read_env_file(snapshot.root, os.environ))


def without_environment(routes: Path) -> Declaration:
    """What is on disk now, whatever variables and secret files it lacks: to be checked where they are not, never to be served. See
    `Complaints.lacking`.
    """
    snapshot = read(routes)
    return declare(snapshot, os.environ, lacking="noted", beside=read_env_file(snapshot.root, os.environ))


def load_live(routes: Path, host: str = "127.0.0.1") -> Declaration:
    """What the workers of this server serve; where there are none yet, what is on disk. A worker that takes the place of one that
    died does as the others do, whatever has been written since: it may be broken, or not to go live yet.
    """
    folder = folder_from_environment()
    live = kept(folder / LIVE) if folder is not None else None
    return declared(live or read(routes), host)


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


def admin_key(routes: Path) -> str:
    """The key that operators' commands show to a running server; empty where none is set."""
    return variable("ROUTER_ADMIN_KEY", env_file_of(routes))


def routes_from_environment() -> Path:
    """The routes file that a command reads and a worker serves."""
    return Path(os.environ.get(ROUTES_VARIABLE) or "routes.yaml")


def host_from_environment(routes: Path) -> str:
    """The address at which a worker serves this routes file. An empty one is every address, as for a server that is told so."""
    return os.environ[HOST_VARIABLE] if HOST_VARIABLE in os.environ else variable(HOST_VARIABLE, env_file_of(routes)) or "127.0.0.1"


def env_file_of(routes: Path) -> EnvFile:
    """The `.env` beside a routes file, as it is now."""
    return read_env_file(routes.absolute().parent, os.environ)


def variable(name: str, env_file: EnvFile) -> str:
    """A variable of the environment, or else of `.env`; empty where neither has it."""
    return os.environ.get(name, env_file.variables.get(name, ""))


def folder_from_environment() -> Path | None:
    """The folder in which the workers of this server meet; None where there is one worker."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else None


def reloads(declaration: Declaration) -> bool:
    """Whether an edit goes live by itself: as the command line says; else as declared; else unless ROUTER_ENV says that this is production."""
    server = declaration.routes.server
    declared = server.reload.when if isinstance(server.reload, Reloading) else server.reload
    when = os.environ.get(RELOAD_VARIABLE) or declared
    return when == "on" or (when == "auto" and not production(declaration))


def production(declaration: Declaration) -> bool:
    """Whether ROUTER_ENV says that this is production, in the environment or in `.env`."""
    return variable("ROUTER_ENV", declaration.env_file) == "production"


def secrets(root: Path, paths: Iterable[str]) -> Mapping[str, str | None]:
    """What stands in secret files now; None where one cannot be read."""
    return {path: secret(root / path)[0] for path in paths}
