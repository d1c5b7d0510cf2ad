"""Writing of new files by commands, and the check that none of them exists already."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from router.errors import RouterError


class Unwritten(RouterError, code="unwritten"):
    """The error of files that were not written, with the reason."""


def write(texts: Mapping[Path, str]) -> None:
    """Write each text to its path, overwriting files and creating folders. Raises Unwritten at the first that cannot be written."""
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Unwritten(f"{path} cannot be written: {error.strerror}") from None


def refuse(paths: Iterable[Path], advice: str) -> None:
    """Raise Unwritten if one of these paths exists, also as a dangling link. `advice`: the end of the error's sentence."""
    if there := [str(path) for path in paths if os.path.lexists(path)]:
        raise Unwritten(f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} there already; {advice}")
