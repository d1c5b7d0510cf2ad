"""Serve the routes over HTTP.

examples:
  router serve                                      ./routes.yaml on http://127.0.0.1:8000
  router serve --routes prod.yaml --port 80 --workers 4

exit codes:
  0 the server was stopped (SIGTERM, Ctrl-C)
  1 the configuration is invalid, or the server could not start (the port is in use, the first worker failed)
  2 the command line is wrong
"""

import argparse
import json
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from router import __version__
from router.callers import Known
from router.callers.keys import Keys, hashed
from router.commands import address
from router.commands.address import LOCAL, number
from router.commands.words import counted, expired, warned
from router.config import (
    COUNTERS,
    FOLDER_VARIABLE,
    HOST_VARIABLE,
    RELOAD_VARIABLE,
    ROUTES_VARIABLE,
    Declaration,
    keep_live,
    keep_run_key,
    load,
)
from router.config.keys import ApiKey
from router.config.values import Secret
from router.garbage import uncollected
from router.generation import Generation, build

if TYPE_CHECKING:
    import uvicorn


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    address.options(parser, f"{LOCAL}, which only this machine can reach; other addresses need a declared server.auth")
    parser.add_argument("--workers", type=number(1, 1024), default=1, help="number of processes; default: 1")
    help_ = "whether edits go live by themselves; default: as server.reload says"
    parser.add_argument("--reload", action=argparse.BooleanOptionalAction, help=help_)


def run(given: argparse.Namespace) -> int:
    """Serve until the process is told to end, and return the exit code."""
    address.settle(given, LOCAL)
    return serve(given)


def serve(given: argparse.Namespace, guest: Secret | None = None) -> int:
    """Serve until the process is told to end, and return the exit code: 0, or 1 if the server could not start.
    guest: the key of the only caller that is accepted, whatever is declared; None for the declared callers; see trial.py
    Raises ConfigError if the configuration is invalid.
    """
    _stand()
    for one in (signal.SIGTERM, signal.SIGINT):  # uvicorn ends on these and then raises the signal again: a stop is not a failure
        signal.signal(one, _end)
    # Blocked until it is handled: Python itself would end the process. Workers begin in the same way; see `Reload`.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    asked_at = given.host if guest is None else LOCAL  # with a guest, requests from other machines need its key
    generation = build(load(given.routes, asked_at))
    with uncollected():
        # Imported here: this takes longer than all other commands run.
        import uvicorn  # noqa: PLC0415

        from router.server import Door, application, steady, to_stderr, warn_undeclared  # noqa: PLC0415

    shows = sys.stderr is not None and sys.stderr.isatty()  # None: the process was started without one
    run_key = Secret(secrets.token_urlsafe(24)) if generation.server.admin.key is None and shows else None
    _announce(generation, given, run_key, guest)
    to_stderr()
    if guest is None:
        warn_undeclared(generation)
    os.environ[ROUTES_VARIABLE] = str(given.routes.absolute())
    os.environ[HOST_VARIABLE] = asked_at
    os.environ[RELOAD_VARIABLE] = {True: "on", False: "off", None: ""}[given.reload]
    many = given.workers > 1
    only = None if guest is None else Known(Keys({"guest": ApiKey(hash=hashed(guest.value))}), None)  # the log has this name
    config = uvicorn.Config(
        "router.server:create" if many else application(generation, given.routes, asked_at, run_key=run_key, only=only),
        factory=many,
        host=given.host,
        port=given.port,
        http=Door,
        ws="none",
        workers=given.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=10,  # running requests have been ended before: see server/shutdown.py
        timeout_keep_alive=75,
    )
    if many:
        return _run_workers(config, generation.declaration, run_key)
    steady()
    server = uvicorn.Server(config)
    try:
        server.run()
    except SystemExit as ended:  # uvicorn's own number for a port that is taken is 3
        return int(bool(ended.code))
    return int(not server.started)


def _end(*_: object) -> None:
    sys.exit(0)


def _run_workers(config: "uvicorn.Config", declaration: Declaration, run_key: Secret | None) -> int:
    from router.commands.workers import Workers  # noqa: PLC0415 - it imports uvicorn

    with tempfile.TemporaryDirectory(prefix="router-") as folder, _kept(folder):
        counters = Path(folder, COUNTERS)
        counters.mkdir()
        os.environ[FOLDER_VARIABLE] = folder
        keep_live(declaration)
        if run_key is not None:
            keep_run_key(Path(folder), run_key)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(counters)  # read by prometheus_client when a worker imports it
        try:
            workers = Workers(config, sockets=[config.bind_socket()])
        except SystemExit as ended:  # uvicorn's own: the port is taken
            return 1 if ended.code else 0
        workers.run()
    # A terminal's Ctrl-C may end workers that start before their supervisor has read its own.
    return 0 if workers.asked_to_end or {signal.SIGINT, signal.SIGTERM}.intersection(workers.signal_queue) else 1


@contextmanager
def _kept(folder: str) -> Generator[None]:
    """Keep a folder from the cleaners of temporary folders while entered: systemd-tmpfiles skips what is locked (tmpfiles.d(5), "Age")."""
    import fcntl  # noqa: PLC0415 - not there on Windows, which has no workers

    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_SH)
        yield
    finally:
        os.close(number)


def _announce(generation: Generation, given: argparse.Namespace, run_key: Secret | None, guest: Secret | None) -> None:
    """Print on stderr, for people, what is served, what is skipped and why, and the keys of this run. An unwritable stderr is ignored."""
    said = [f"Pointsman {__version__}: {counted(generation)}, generation {generation.digest}"]
    if names := generation.declaration.env_file.names:
        said.append(f"  from .env: {', '.join(names)}")
    said += [f"  skipped: target {name}: {why}" for name, why in generation.skipped.items()]
    said += [f"  expired: the key of {name}, {when}" for name, when in expired(generation.server).items()]
    said += [f"  warning: {one.place}: {one.message}" for one in warned(generation, given.workers)]
    if guest is None:
        base, page = f"http://{given.host}:{given.port}", generation.server.page == "on"
        said.append(f"  {base}/  (questions: /api/chat, documentation: /docs)" if page else f"  {base}/api/chat  (documentation: /docs)")
    else:
        body = json.dumps({"model": next(iter(generation.routes)), "messages": [{"role": "user", "content": "Hello"}]})
        said += [
            "  Only requests with the key of this run are answered:\n",
            f"  curl -N http://{LOCAL}:{given.port}/api/chat \\",
            f"    -H 'Authorization: Bearer {guest.value}' \\",
            f"    -H 'Content-Type: application/json' -d '{body}'\n",
        ]
    if run_key is not None:
        said.append(f"  admin key of this run: {run_key.value}  (changes below /admin: Authorization: Bearer …)")
    with suppress(OSError):  # a full disk must not keep the server from starting
        print("\n".join(said), file=sys.stderr)


def _stand() -> None:
    """Occupy the descriptors of closed standard streams: a socket with one would be written to, and libuv ends a process that closes it."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # stderr
        os.set_inheritable(number, True)  # noqa: FBT003 - the function's own form
    os.close(number)
