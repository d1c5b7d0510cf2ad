"""Loading of a configuration: YAML → a frozen declaration with every mistake and its place. Only this package reads the environment."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from router.config.declaration import Declaration
from router.config.environment import EnvFile, read_env_file, secret
from router.config.reader import declare
from router.config.server import Reloading
from router.config.snapshot import Snapshot, read
from router.config.values import Secret
from router.config.watched import Watched, watched

__all__ = [
    "COUNTERS", "FOLDER_VARIABLE", "HOST_VARIABLE", "PORT_VARIABLES", "RELOAD_VARIABLE", "ROUTES_VARIABLE", "Declaration", "EnvFile",
    "Snapshot", "Watched", "as_written", "declare", "declared", "env_file_of", "folder_from_environment",
    "host_from_environment", "keep_live", "keep_run_key", "load", "load_live", "production", "read", "reloads",
    "routes_from_environment", "run_key", "secrets", "variable", "watched", "without_environment",
]  # fmt: skip

ROUTES_VARIABLE = "ROUTER_ROUTES"
"""Environment variable with the routes file, for commands without `--routes` and for the workers of `router serve --workers`."""
HOST_VARIABLE = "ROUTER_HOST"
"""Variable with the address to serve at, for commands without `--host` and for workers; of the environment, else of `.env`."""
PORT_VARIABLES = ("ROUTER_PORT", "PORT")
"""Variables with the port, of the environment, else of `.env`; the first with a value counts. Container platforms set the second."""
RELOAD_VARIABLE = "ROUTER_RELOAD"
"""Environment variable that passes `--reload` to the workers: on or off; empty if the command line has neither."""
FOLDER_VARIABLE = "ROUTER_FOLDER"
"""Environment variable with the path of the shared folder: the workers of one server share it."""
COUNTERS = "counters"
"""Folder in the shared one where each worker keeps its counters."""
RUN_KEY = "admin.key"
"""File in the shared folder with the admin key made for this run. A variable would be passed on to the programs that workers start."""
LIVE = "live.json"
"""File in the shared folder with the texts of the configuration that the workers serve, as JSON."""


def load(routes: Path, host: str = "127.0.0.1") -> Declaration:
    """Load the configuration on disk, to be served at `host`. Mistakes are in its `complaints`; an unreadable file raises ConfigError."""
    return declared(read(routes), host)


def declared(snapshot: Snapshot, host: str = "127.0.0.1") -> Declaration:
    """Declare a snapshot, to be served at `host`, with this process's environment and current `.env`. Mistakes are in its `complaints`."""
    return declare(snapshot, os.environ, host, beside=read_env_file(snapshot.root, os.environ))


def without_environment(routes: Path) -> Declaration:
    """Load the configuration to be checked, not served: missing variables and files are in `lacking`. Raises ConfigError as `load` does."""
    snapshot = read(routes)
    return declare(snapshot, os.environ, lacking="noted", beside=read_env_file(snapshot.root, os.environ))


def load_live(routes: Path, host: str = "127.0.0.1") -> Declaration:
    """Load the configuration that the workers of this server serve, as `keep_live` recorded it; the one on disk if none is recorded.

    Environment and `.env` are read anew. Raises ConfigError if the files on disk are needed and cannot be read.
    """
    folder = folder_from_environment()
    try:
        found = json.loads((folder / LIVE).read_text(encoding="utf-8")) if folder is not None else None
    except OSError:
        found = None
    return declared(Snapshot(Path(found["root"]), found["routes"], found["texts"]) if found else read(routes), host)


def keep_live(declaration: Declaration) -> None:
    """Record the texts of the served configuration in the shared folder, for workers that start later. Without that folder do nothing."""
    if (folder := folder_from_environment()) is not None:
        snapshot, beside = declaration.snapshot, folder / f"live.{os.getpid()}"
        texts = {"root": str(snapshot.root), "routes": snapshot.routes, "texts": dict(snapshot.texts)}
        beside.write_text(json.dumps(texts), encoding="utf-8")
        beside.rename(folder / LIVE)  # other processes never read half of it


def keep_run_key(folder: Path, key: Secret) -> None:
    """Write the admin key of this run into a new file of the shared folder (mode 0600). Raises FileExistsError if there is one already."""
    descriptor = os.open(folder / RUN_KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.value)


def run_key() -> Secret | None:
    """Return the admin key in the shared folder; None if there is no shared folder, or no key in it."""
    folder = folder_from_environment()
    try:
        return Secret((folder / RUN_KEY).read_text(encoding="ascii")) if folder is not None else None
    except FileNotFoundError:
        return None


def as_written(snapshot: Snapshot) -> Declaration:
    """Declare a snapshot without the environment: `${…}` stays as it is written. The declaration is to be described, not to be built."""
    return declare(snapshot, None)


def routes_from_environment() -> Path:
    """Return the routes file that ROUTER_ROUTES names, else routes.yaml."""
    return Path(os.environ.get(ROUTES_VARIABLE) or "routes.yaml")


def host_from_environment(routes: Path) -> str:
    """Return the address at which a worker serves: ROUTER_HOST of the environment (empty: every address) or of `.env`, else 127.0.0.1."""
    return os.environ[HOST_VARIABLE] if HOST_VARIABLE in os.environ else variable(HOST_VARIABLE, env_file_of(routes)) or "127.0.0.1"


def env_file_of(routes: Path) -> EnvFile:
    """Return the content of the `.env` beside a routes file; a missing or unreadable one has no variables."""
    return read_env_file(routes.absolute().parent, os.environ)


def variable(name: str, env_file: EnvFile) -> str:
    """Return a variable of the environment, else of `.env`; empty if neither has it. A variable set to nothing hides that of `.env`."""
    return os.environ.get(name, env_file.variables.get(name, ""))


def folder_from_environment() -> Path | None:
    """Return the folder that the workers of this server share; None if ROUTER_FOLDER is not set, as for a server with one worker."""
    return Path(named) if (named := os.environ.get(FOLDER_VARIABLE)) else None


def reloads(declaration: Declaration) -> bool:
    """Return True if edits go live by themselves: as `--reload` says, else `server.reload`; for `auto`, unless ROUTER_ENV is production."""
    declared = declaration.routes.server.reload
    when = os.environ.get(RELOAD_VARIABLE) or (declared.when if isinstance(declared, Reloading) else declared)
    return when == "on" or (when == "auto" and not production(declaration))


def production(declaration: Declaration) -> bool:
    """Return True if ROUTER_ENV is production, in the environment or in `.env`."""
    return variable("ROUTER_ENV", declaration.env_file) == "production"


def secrets(root: Path, paths: Iterable[str]) -> Mapping[str, str | None]:
    """Return path (relative to `root`) → the secret file's text; None if it is missing, unreadable, not UTF-8 or over 1 MiB."""
    return {path: secret(root / path)[0] for path in paths}
