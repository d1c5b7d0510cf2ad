"""What has to be watched for an edit to be heard of: folders, and the names in them that count.

A watch of a file is blind once another takes its place, so its folder is watched; and that of each link on the way to it, for it may be
turned. What is not there is waited for where it would come to be.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from router.config.snapshot import DRILLS, FOLDERS, walked

MOST_LINKS = 40
"""Links on the way to one file, as the kernel counts."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Folders to watch, none with what is below it. All are named without links, as whoever watches will call what it sees."""

    folders: frozenset[tuple[str, int, int]]
    """Path, device and number: a folder that took the place of another is not the one that was watched."""
    names: frozenset[str]
    """What counts in them, and they themselves."""
    whole: frozenset[str]
    """Those in which everything does."""

    @property
    def paths(self) -> frozenset[str]:
        """The folders by their paths."""
        return frozenset(path for path, *_ in self.folders)

    def counts(self, _: object, path: str) -> bool:
        """Whether a change of this may be an edit."""
        return path in self.names or str(Path(path).parent) in self.whole


def watched(routes: Path, others: Iterable[Path]) -> Watched:
    """What decides what stands in the routes file, in drills.yaml, pipelines/ and tools/ beside it, and in these other files."""
    root = routes.absolute().parent
    whole: set[str] = set()
    files = [routes.absolute(), root / DRILLS, *others, *(root / folder for folder in FOLDERS)]
    for folder in FOLDERS:
        for parent, names in walked(root / folder):
            whole.add(os.path.realpath(parent))
            files += [path for name in names if (path := Path(parent, name)).is_symlink()]
    names = {Path(os.path.realpath(part.parent), part.name) for file in files for part in _way(file)}
    folders = {*whole, *(str(name.parent) for name in names)}
    return Watched(frozenset(_known(folders)), frozenset({*map(str, names), *folders}), frozenset(whole))


def _way(path: Path) -> Iterator[Path]:
    """Each thing on the way to a file that another may take the place of: links, itself, or the first that is not there."""
    for _ in range(MOST_LINKS):
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
        try:
            found = Path(path).stat()
        except (OSError, ValueError):
            continue  # it went meanwhile: the next look finds where it would be
        yield path, found.st_dev, found.st_ino
