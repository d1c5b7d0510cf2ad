"""CONTRIBUTING.md, followed literally: its commands succeed, and each example change passes the tests that it names."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.handbook.followed import STEP, apply, follow, run

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COPIED = ("bench", "docs", "handbook", "pipelines", "router", "tests", "tools")
SECTIONS = ("Your first tool", "Your first step", "Your first wire")


def section(title: str) -> str:
    """Return the text below a heading of CONTRIBUTING.md, up to the next heading of level two."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the repository that uses this environment."""
    root = tmp_path / "pointsman"
    root.mkdir()
    for name in COPIED:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("node_modules", "__pycache__", ".venv", ".peers"))
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, root)
    (root / ".venv-dev").symlink_to(sys.prefix)
    return root


@pytest.mark.parametrize("title", SECTIONS)
def test_first_change_of_contributing_works_as_described(title: str, copy: Path) -> None:
    """The files, diffs and commands of each `Your first …` section of CONTRIBUTING.md work in order, without an error."""
    kinds = follow(section(title), copy, lambda commands, folder: run(commands, folder, PYTHONPATH=str(copy)))
    assert kinds == {"diff", "python", "sh"}


def test_commands_in_the_rest_of_contributing_exist() -> None:
    """Each command of CONTRIBUTING.md outside the `Your first …` sections is a make target or an existing program."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    rest = PAGE
    for title in SECTIONS:
        rest = rest.replace(section(title), "")
    commands = [line.partition("#")[0].split() for block in STEP.finditer(rest) for line in block["text"].splitlines()]
    assert commands
    for program, *words in commands:
        if program == "make":
            assert all(re.search(rf"^[^\t\n]*{re.escape(word)}\b.*:", makefile, re.MULTILINE) for word in words), words
        else:
            assert (ROOT / program).exists() or (Path(sys.prefix) / "bin" / Path(program).name).exists(), program


def test_diff_whose_old_lines_are_gone_is_not_applied(tmp_path: Path) -> None:
    """A diff whose old lines are not in the file raises AssertionError, and a matching diff is applied."""
    (tmp_path / "a.py").write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="has not once"):
        apply("+++ a.py\n@@\n three\n+four\n", tmp_path)
    apply("+++ a.py\n@@\n-two\n+2\n", tmp_path)
    assert (tmp_path / "a.py").read_text(encoding="utf-8") == "one\n2\n"
