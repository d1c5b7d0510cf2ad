"""Snapshot of a configuration's files, read once and named by a hash."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from router.errors import Complaint, ConfigError, Place
from router.value import PartlyShown

FOLDERS = {"pipelines": (".yaml", ".j2", ".json"), "tools": (".py",)}
DRILLS = "drills.yaml"
"""The optional file of drills beside a routes file, whatever the name of that file."""
BEGIN = "; `router init DIR` writes a workspace that answers at once, and --routes FILE names a file elsewhere"
"""Advice, added to the complaint that there is no routes file."""
MAX_FILES = 2_000
MAX_BYTES = 8 * 1024 * 1024


class Snapshot(PartlyShown, frozen=True):
    """The texts of the routes file, of the drills.yaml beside it if there is one, and of the files in pipelines/ and tools/."""

    HIDDEN: ClassVar = frozenset({"texts"})

    root: Path
    routes: str
    """The name of the routes file."""
    texts: Mapping[str, str]
    """Path relative to the root, with `/`, → text. The routes file comes first, then drills.yaml."""

    def digest(self, secrets: Mapping[str, str]) -> str:
        """Return the hash of these texts and of the secrets (name → value): 12 hexadecimal digits."""
        total = hashlib.sha256()
        for name, text in [*sorted(self.texts.items()), *sorted(secrets.items())]:
            for part in (name, text):
                data = part.encode("utf-8", "surrogatepass")
                total.update(len(data).to_bytes(8, "big") + data)
        return total.hexdigest()[:12]


def read(routes: Path) -> Snapshot:
    """Read the routes file, drills.yaml, pipelines/ and tools/ from disk. All but the routes file are optional.

    Raises ConfigError for a file that cannot be read, is over 8 MiB, not UTF-8 or a link out of the folder, and for over 2,000 files.
    """
    routes = routes.absolute()
    root = routes.parent
    complaints: list[Complaint] = []
    texts: dict[str, str] = {}
    drills = root / DRILLS  # a dangling link counts: reading it is an error
    for path in [routes, *([drills] if drills != routes and os.path.lexists(drills) else []), *_beside(root, complaints)]:
        name, line, why = path.relative_to(root).as_posix(), 1, ""
        try:
            if not _resolved(path).is_relative_to(_resolved(root)) and not _same_mount(path, root):
                why = "this link leads out of the configuration's folder"
            elif not stat.S_ISREG((found := path.stat()).st_mode):  # reading a pipe would wait for its writer
                why = "this is no file"
            elif found.st_size > MAX_BYTES:
                why = f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB"
            else:
                texts[name] = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            hint = BEGIN if path == routes and isinstance(error, FileNotFoundError) else ""
            why = f"the file cannot be read: {error.strerror}{hint}"
        except UnicodeDecodeError as error:
            line, why = error.object[: error.start].count(b"\n") + 1, "the file is not UTF-8"
        if why:
            complaints.append(Complaint(Place(name, line, 1), why))
    if complaints:
        raise ConfigError(tuple(complaints))
    return Snapshot(root, routes.name, texts)


def walked(folder: Path, unread: Callable[[OSError], None] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Yield (folder, sorted file names) of a folder and those below, not hidden, `__…` and linked ones. `unread` receives errors."""
    for parent, folders, names in os.walk(folder, onerror=unread):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        yield parent, sorted(names)


def _beside(root: Path, complaints: list[Complaint]) -> list[Path]:
    found: list[Path] = []

    def unread(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):  # the folders are optional
            name = Path(error.filename).relative_to(root).as_posix()
            complaints.append(Complaint(Place(name, 1, 1), f"the folder cannot be read: {error.strerror}"))

    for folder, endings in FOLDERS.items():
        for parent, names in walked(root / folder, unread):
            found += [Path(parent, name) for name in names if name.endswith(endings) and not name.startswith(".")]
    if len(found) > MAX_FILES:
        raise ConfigError((Complaint(Place(str(root), 1, 1), f"more than {MAX_FILES} files in pipelines/ and tools/"),))
    return found


def _same_mount(path: Path, root: Path) -> bool:
    """Return True if a folder between `root` and the path is a link, and the resolved path is below its destination.

    So an operator may mount a whole folder from elsewhere. A Kubernetes ConfigMap mounts each file as a link into `..data`.
    """
    between = [root / one for one in path.relative_to(root).parents if one.name]
    return any(one.is_symlink() and _resolved(path).is_relative_to(_resolved(one)) for one in between)


def _resolved(path: Path) -> Path:
    """Return the path with its links resolved. A circle of links is left as it is: reading it raises an error."""
    return Path(os.path.realpath(path))
