"""Loading of a configuration: YAML → a frozen declaration, or every mistake with its place. Only this package reads the environment."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from router.config.declaration import Declaration
from router.config.env_file import EnvFile, read_env_file
from router.config.environment import secret
from router.config.reader import declare
from router.config.server import Reloading
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
"""Variable with the routes file, for commands without `--routes` and for the workers of `router serve --workers`."""
HOST_VARIABLE = "ROUTER_HOST"
"""Variable with the address to serve at, for the same commands and workers."""
PORT_VARIABLES = ("ROUTER_PORT", "PORT")
"""Variables with the port; the first that is set counts. Container platforms set the second."""
RELOAD_VARIABLE = "ROUTER_RELOAD"
"""Variable with the workers' `--reload`: on or off; empty where the command line does not say."""
FOLDER_VARIABLE = "ROUTER_FOLDER"
"""Variable with the folder that the workers of one server share."""
COUNTERS = "counters"
"""Folder in the shared one where each worker keeps its counters."""
RUN_KEY = "admin.key"
"""File in the shared folder with the admin key made for this run. A variable would be passed on to the programs that workers start."""
LIVE = "live.json"
"""File in the shared folder with the configuration that the workers serve."""


def load(routes: Path, host: str = "127.0.0.1") -> Declaration:
    """Load the configuration on disk with this process's environment. `host`: the address it is to be served at."""
    return declared(read(routes), host)


def declared(snapshot: Snapshot, host: str = "127.0.0.1") -> Declaration:
    """Declare a snapshot with this process's environment and with the current `.env` beside the routes file."""
    return declare(snapshot, os.environ, host, beside=read_env_file(snapshot.root, os.environ))


def without_environment(routes: Path) -> Declaration:
    """Load the configuration on disk although variables and secret files are missing: to be checked, never to be served.

    The missing ones are listed in `Complaints.lacking`.
    """
    snapshot = read(routes)
    return declare(snapshot, os.environ, lacking="noted", beside=read_env_file(snapshot.root, os.environ))


def load_live(routes: Path, host: str = "127.0.0.1") -> Declaration:
    """Load the configuration that the workers of this server serve; without workers yet, the one on disk.

    A worker that replaces a dead one serves the same as the others. Edits made since may be broken, or not meant to go live yet.
    """
    folder = folder_from_environment()
    live = kept(folder / LIVE) if folder is not None else None
    return declared(live or read(routes), host)


def keep_live(declaration: Declaration) -> None:
    """Record the configuration as the one that is served, for workers that start later."""
    if (folder := folder_from_environment()) is not None:
        keep(declaration.snapshot, folder / LIVE)


def keep_run_key(folder: Path, key: Secret) -> None:
    """Write the admin key of this run into the shared folder, readable by its owner alone (mode 0600)."""
    descriptor = os.open(folder / RUN_KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.value)


def run_key() -> Secret | None:
    """Return the admin key that was made for this run; None where none was."""
    folder = folder_from_environment()
    try:
        return Secret((folder / RUN_KEY).read_text(encoding="ascii")) if folder is not None else None
    except FileNotFoundError:
        return None


def as_written(snapshot: Snapshot) -> Declaration:
    """Declare a snapshot without resolving `${…}`: to be described, not to be built."""
    return declare(snapshot, None)


def admin_key(routes: Path) -> str:
    """Return ROUTER_ADMIN_KEY, which commands send to a running server; empty if it is not set."""
    return variable("ROUTER_ADMIN_KEY", env_file_of(routes))


def routes_from_environment() -> Path:
    """Return the routes file that ROUTER_ROUTES names, else routes.yaml."""
    return Path(os.environ.get(ROUTES_VARIABLE) or "routes.yaml")


def host_from_environment(routes: Path) -> str:
    """Return the address at which a worker serves this routes file. Empty means every address of this machine."""
    return os.environ[HOST_VARIABLE] if HOST_VARIABLE in os.environ else variable(HOST_VARIABLE, env_file_of(routes)) or "127.0.0.1"


def env_file_of(routes: Path) -> EnvFile:
    """Read the `.env` beside a routes file."""
    return read_env_file(routes.absolute().parent, os.environ)


def variable(name: str, env_file: EnvFile) -> str:
    """Return a variable of the environment, or else of `.env`; empty where neither has it."""
    return os.environ.get(name, env_file.variables.get(name, ""))


def folder_from_environment() -> Path | None:
    """Return the folder that the workers of this server share; None where there is one worker."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else None


def reloads(declaration: Declaration) -> bool:
    """Return True if an edit goes live by itself: by the command line, else as declared, else unless ROUTER_ENV is production."""
    server = declaration.routes.server
    declared = server.reload.when if isinstance(server.reload, Reloading) else server.reload
    when = os.environ.get(RELOAD_VARIABLE) or declared
    return when == "on" or (when == "auto" and not production(declaration))


def production(declaration: Declaration) -> bool:
    """Return True if ROUTER_ENV is production, in the environment or in `.env`."""
    return variable("ROUTER_ENV", declaration.env_file) == "production"


def secrets(root: Path, paths: Iterable[str]) -> Mapping[str, str | None]:
    """Return the current texts of secret files; None for a file that cannot be read."""
    return {path: secret(root / path)[0] for path in paths}
