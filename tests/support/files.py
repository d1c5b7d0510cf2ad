"""Files of this project, without what is installed beside them."""

from collections.abc import Iterator
from pathlib import Path

INSTALLED = frozenset({"node_modules", ".venv", ".peers", "__pycache__"})
"""Folders of packages: thousands of files, none of which is the project's."""


def files_below(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield the files below a folder whose name ends in `suffix`, without those of installed packages."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if path.name not in INSTALLED:
                yield from files_below(path, suffix)
        elif path.name.endswith(suffix):
            yield path
