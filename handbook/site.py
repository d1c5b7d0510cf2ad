"""Lays out the sources of the site for MkDocs: docs/ and the repository files that it links to.

A page of docs/ keeps its path. Linked files outside of docs/ are placed below `repository/`, and a linked folder becomes a page that lists
its files, so every link of the repository works on the site. Needs only the standard library: it runs in the environment of MkDocs.
"""

import argparse
import os
import re
import shutil
import sys
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent
PAGES = PurePosixPath("docs")
OTHERS = PurePosixPath("repository")
README, FIRST = PurePosixPath("README.md"), PurePosixPath("index.md")
"""The repository's first page and the site's first page, to which links to the former lead."""
DECISIONS = PAGES / "decisions"
LATE = "---\nsearch: {boost: 0.3}\n---\n"
"""Front matter that lowers a page's rank in the search, for decisions."""
SCRIPT = "assets/mermaid.min.js"
"""The path of the script that draws diagrams; without the file, the theme would load one from another host."""

CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<=\]\()(?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?(?=\))")


def place(path: PurePosixPath) -> PurePosixPath:
    """Return the path at which a file of the repository is published on the site."""
    if path == README:
        return FIRST
    return path.relative_to(PAGES) if path.is_relative_to(PAGES) else OTHERS / path


class Site:
    """The sources of a site, written into a folder. `drawn`: diagrams are drawn by a script; otherwise they stay text."""

    def __init__(self, root: Path, folder: Path, *, drawn: bool) -> None:
        self._root = root
        self._folder = folder
        self._drawn = drawn
        self._laid: set[PurePosixPath] = set()

    def lay(self) -> int:
        """Write every file of docs/ and all files that they link to; return their number."""
        ahead = {PurePosixPath(path.relative_to(self._root).as_posix()) for path in (self._root / PAGES).rglob("*") if path.is_file()}
        while ahead:
            path = ahead.pop()
            if path not in self._laid:
                self._laid.add(path)
                ahead |= self._lay(path)
        return len(self._laid)

    def _lay(self, path: PurePosixPath) -> set[PurePosixPath]:
        """Write one file or folder and return the files that it links to."""
        source, target = self._root / path, self._folder / place(path)
        if source.is_dir():
            files = sorted(
                PurePosixPath(one.relative_to(self._root).as_posix())
                for one in source.rglob("*")
                if one.is_file() and not one.name.startswith(".")
            )
            names = "".join(f"* [{one.relative_to(path)}]({one.relative_to(path)})\n" for one in files)
            _write(target / "index.md", f"# {path}/\n\nThe files of this folder in the repository.\n\n{names}")
            return set(files)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".md":
            shutil.copyfile(source, target)
            return set()
        text, linked = self.page(path, source.read_text(encoding="utf-8"))
        _write(target, (LATE if path.parent == DECISIONS else "") + text)
        return linked

    def page(self, path: PurePosixPath, text: str) -> tuple[str, set[PurePosixPath]]:
        """Return a page's text with its links rewritten for the site, and the repository files that it links to."""
        linked: set[PurePosixPath] = set()

        def moved(link: re.Match[str]) -> str:
            target = PurePosixPath(os.path.normpath(path.parent / link["path"]))
            if (self._root / target / "README.md").is_file():
                target /= "README.md"
            if target != README:
                linked.add(target)
            there = place(target)
            if (self._root / target).is_dir():
                there /= "index.md"
            return os.path.relpath(there, place(path).parent) + (link["anchor"] or "")

        parts = CODE.split(text)
        for number, part in enumerate(parts):
            parts[number] = self._code(part) if number % 2 else LINK.sub(moved, part)
        return "".join(parts), linked

    def _code(self, code: str) -> str:
        """Return code as MkDocs needs it: without backslashes before pipes, and with a diagram as text if no script draws it."""
        if code.startswith("```mermaid") and not self._drawn:
            return "```text" + code.removeprefix("```mermaid")
        return code if code.startswith("```") else code.replace(r"\|", "|")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main() -> int:
    """Lay out the sources of the documentation site in a folder, which is emptied first."""
    parser = argparse.ArgumentParser(prog="python -m handbook.site", description="Lay the sources of the site out for MkDocs.")
    parser.add_argument("folder", type=Path, help="where to: it is made anew")
    parser.add_argument("--script", type=Path, help="the script that draws diagrams; without it they stay text")
    given = parser.parse_args()
    shutil.rmtree(given.folder, ignore_errors=True)
    script: Path | None = given.script if given.script and given.script.is_file() else None
    laid = Site(ROOT, given.folder, drawn=script is not None).lay()
    _write(given.folder / SCRIPT, script.read_text(encoding="utf-8") if script else "// Diagrams stay text.\n")
    sys.stdout.write(f"{laid} files{'' if script else '; diagrams stay text'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
