"""The decision pages: each has a number and a status line, and the index is generated from them."""

from pathlib import Path

import pytest

from handbook.decisions import Decision, decisions, index
from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "decisions"
KNOWN = list(decisions(FOLDER))


def test_decision_number_is_unique_and_equals_its_file_name() -> None:
    """Each decision's title has the number of its file name, and no number occurs twice."""
    assert [one.number for one in KNOWN] == [int(one.file[:4]) for one in KNOWN]
    assert len({one.number for one in KNOWN}) == len(KNOWN)


@pytest.mark.parametrize("one", [one for one in KNOWN if one.successor], ids=lambda one: str(one.number))
def test_superseded_decision_and_its_successor_link_to_each_other(one: Decision) -> None:
    """A superseded decision links to a decision with a higher number, which links back."""
    later = (FOLDER / one.successor).read_text(encoding="utf-8")
    assert int(one.successor[:4]) > one.number
    assert f"]({one.file}" in later


@pytest.mark.parametrize(
    "status", ["", "Status: open.", "Status: superseded.", "Status: accepted", "Status: accepted [2](0002-b.md).", "Accepted."]
)
def test_decision_without_a_known_status_is_refused(tmp_path: Path, status: str) -> None:
    """A decision page with a missing or unknown status line raises ValueError with the file name and the expected first lines."""
    (tmp_path / "0001-a.md").write_text(f"# 1. A\n\n{status}\n\n## Context\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"0001-a\.md: its first lines must be"):
        index(tmp_path)


def test_decision_index_shows_number_title_and_status(tmp_path: Path) -> None:
    """Each row of the index has the number, a link to the decision, and its status with a link to the later decision."""
    (tmp_path / "0001-a.md").write_text("# 1. A\n\nStatus: superseded in part by [2](0002-b.md): the wait.\n", encoding="utf-8")
    (tmp_path / "0002-b.md").write_text("# 0002: B\n\nStatus: accepted.\n", encoding="utf-8")
    rows = index(tmp_path).splitlines()[-2:]
    assert rows == ["| 1 | [A](0001-a.md) | superseded in part by [2](0002-b.md): the wait |", "| 2 | [B](0002-b.md) | accepted |"]
