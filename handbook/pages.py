"""The pages that are made from the code, each by its path in the repository."""

import re
import textwrap
from pathlib import Path

from handbook import decisions, reference, states

ROOT = Path(__file__).parent.parent
COLUMNS = 100
"""The width of a page's paragraphs."""
PARAGRAPH = re.compile(r"(?!```)[^|#<*>\s-]")
"""The start of a line that belongs to a paragraph."""


def pages() -> dict[str, str]:
    """Return path → text of every page that is generated from the code."""
    made = {
        "docs/decisions/README.md": decisions.index(ROOT / "docs" / "decisions"),
        "docs/reference/keys.md": reference.keys(),
        "docs/reference/commands.md": reference.commands(),
        "docs/reference/errors.md": reference.errors(),
        "docs/reference/metrics.md": reference.metrics(),
        "docs/reference/states.md": states.states(),
    }
    return {name: _wrapped(text) for name, text in made.items()}


def _wrapped(text: str) -> str:
    """Return a page with its paragraphs wrapped. Tables, headings, lists, HTML and code stay as they are."""
    lines: list[str] = []
    paragraph: list[str] = []
    code = False
    for line in text.split("\n"):
        code ^= line.startswith("```")
        if PARAGRAPH.match(line) and not code:
            paragraph.append(line)
        else:
            lines += textwrap.wrap(" ".join(paragraph), COLUMNS, break_long_words=False, break_on_hyphens=False)
            lines.append(line)
            paragraph.clear()
    return "\n".join(lines)
