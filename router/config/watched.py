"""Folders to watch for edits of a configuration, and the names in them that count.

A watch of a file is blind once another file takes its place, so its folder is watched. So is the folder of each link on the way to it,
because the link may be turned. A missing file is waited for in the folder where it would appear.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from router.config.snapshot import DRILLS, FOLDERS, walked
from router.value import Value

MAX_LINKS = 40
"""Most symbolic links followed on the way to one file: the limit of the Linux kernel."""


class Watched(Value, frozen=True):
    """The folders to watch for edits, without their subfolders, and the paths in them whose changes count (`counts`).
    All paths have their links resolved, as the watcher reports them.
    """

    folders: frozenset[tuple[str, int, int]]
    """(Path, device, inode): a folder that took the place of another under the same path is a new one."""
    names: frozenset[str]
    """Paths whose changes count: files in the folders, and the folders themselves."""
    whole_folders: frozenset[str]
    """Folders in which the change of any file counts."""

    @property
    def paths(self) -> frozenset[str]:
        """The paths of the watched folders."""
        return frozenset(path for path, *_ in self.folders)

    def counts(self, _: object, path: str) -> bool:
        """Return True if a change of this path may be an edit. The first argument (the kind of change) is ignored."""
        return path in self.names or str(Path(path).parent) in self.whole_folders


def watched(routes: Path, others: Iterable[Path]) -> Watched:
    """Return the folders and names to watch for edits of the routes file, drills.yaml, pipelines/, tools/ and `others`, links followed."""
    root = routes.absolute().parent
    whole_folders: set[str] = set()
    files = [routes.absolute(), root / DRILLS, *others, *(root / folder for folder in FOLDERS)]
    for folder in FOLDERS:
        for parent, names in walked(root / folder):
            whole_folders.add(os.path.realpath(parent))
            files += [path for name in names if (path := Path(parent, name)).is_symlink()]
    names = {Path(os.path.realpath(part.parent), part.name) for file in files for part in _way(file)}
    folders = {*whole_folders, *(str(name.parent) for name in names)}
    return Watched(frozenset(_known(folders)), frozenset({*map(str, names), *folders}), frozenset(whole_folders))


def _way(path: Path) -> Iterator[Path]:
    """Yield each path on the way to a file that another file may replace: links, then the file itself or its first missing part."""
    for _ in range(MAX_LINKS):
        for part in (*reversed(path.parents), path):
            try:
                leads = part.readlink()
            except (OSError, ValueError):
                if os.path.lexists(part):
                    continue
                yield part
                return
            yield part
            path = part.parent / leads / path.relative_to(part)
            break
        else:
            yield path
            return


def _known(folders: Iterable[str]) -> Iterator[tuple[str, int, int]]:
    for path in folders:
        with suppress(OSError, ValueError):  # removed meanwhile: the next look finds where it would be
            found = Path(path).stat()
            yield path, found.st_dev, found.st_ino
