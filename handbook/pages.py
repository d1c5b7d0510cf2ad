"""The pages that are made from the code, each by its path in the repository."""

from pathlib import Path

from handbook import decisions, reference, states

ROOT = Path(__file__).parent.parent


def pages() -> dict[str, str]:
    """Return path → text of every page that is generated from the code."""
    return {
        "docs/decisions/README.md": decisions.index(ROOT / "docs" / "decisions"),
        "docs/reference/keys.md": reference.keys(),
        "docs/reference/commands.md": reference.commands(),
        "docs/reference/errors.md": reference.errors(),
        "docs/reference/metrics.md": reference.metrics(),
        "docs/reference/states.md": states.states(),
    }
