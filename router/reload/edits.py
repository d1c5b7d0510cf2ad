"""Edits: the content of the files, what serving it would change, and the generation that it becomes."""

from collections.abc import Mapping
from pathlib import Path

from router.config import Snapshot, declared, read
from router.config.declaration import Declaration
from router.config.server import Reloading
from router.description import changes, describe, sentences
from router.drill import drilled
from router.errors import Complaint, ConfigError
from router.generation import Generation, build
from router.targets import forget_lookups
from router.value import Value


class FileContents(Value, frozen=True):
    """The content of the files at one moment. `snapshot`: None if unreadable (`complaints` says why); `secrets`: file → text or None."""

    snapshot: Snapshot | None
    secrets: Mapping[str, str | None]
    complaints: tuple[Complaint, ...] = ()


class FailedEdit(Value, frozen=True):
    """An edit that cannot be served. `at`: seconds since 1970. `digest`: None if it cannot be read, or takes too long to build."""

    error: ConfigError
    digest: str | None
    at: float


class PendingEdit(Value, frozen=True):
    """The difference between the configuration on disk and the one that serves.

    digest: of the configuration on disk; None if it could not be read
    changes: the effects of serving it, in sentences; empty if it already serves
    complaints: the reasons that it cannot be served, in reading order; reasons that only building shows are missing
    """

    digest: str | None
    changes: tuple[str, ...] = ()
    complaints: tuple[Complaint, ...] = ()


def edit_built(content: FileContents, now: Generation, host: str) -> tuple[Declaration | None, Generation | ConfigError | None]:
    """Return (declaration if there is one, outcome): a generation, not yet started, or an error; None if the edit changes nothing.

    Runs the drills if that is configured: a failed one is an error. Blocks for seconds. `now`: the generation that serves, at `host`.
    """
    if content.snapshot is None:
        return None, ConfigError(content.complaints)
    declaration: Declaration | None = None
    try:
        declaration = declared(content.snapshot, host)
        if declaration.digest == now.digest and not declaration.complaints.found:
            return declaration, None
        generation = build(declaration, now.kept)
        reload = declaration.routes.server.reload
        drills = drilled(declaration) if isinstance(reload, Reloading) and reload.drills else ()
        if failed := tuple(one.complaint(declaration.snapshot.routes) for one in drills if one.faults):
            generation.discard()
            return declaration, ConfigError(failed)
    except ConfigError as error:
        return declaration, error
    finally:
        forget_lookups()
    return declaration, generation


def rebuilt(before: Declaration, now: Generation, host: str) -> Generation:
    """Return the generation, not yet started, of a configuration that served before. Raises ConfigError if it cannot be served any more.

    Blocks. `now`: the generation that serves, at `host`.
    """
    try:
        return build(declared(before.snapshot, host), now.kept)
    finally:
        forget_lookups()


def pending_edit(routes: Path, now: Generation, host: str) -> PendingEdit:
    """Read and declare the files on disk, and return how they differ from the serving configuration. Nothing is built. Blocks."""
    try:
        snapshot = read(routes)
        after = declared(snapshot, host)
    except ConfigError as error:
        return PendingEdit(None, (), error.complaints)
    said = () if after.digest == now.digest else tuple(sentences(changes(describe(now.declaration), describe(after))))
    return PendingEdit(after.digest, said, after.complaints.in_order())
