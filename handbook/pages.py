"""The pages that are made from the code, each by its path in the repository."""

from pathlib import Path

from handbook import decisions

ROOT = Path(__file__).parent.parent


def pages() -> dict[str, str]:
    """Return path → text of every page that is made."""
    return {"docs/decisions/README.md": decisions.index(ROOT / "docs" / "decisions")}
