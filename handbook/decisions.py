"""The index of the decisions: docs/decisions/README.md, from the title and the status line of each."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TITLE = re.compile(r"# (?P<number>\d+)[.:] (?P<title>.+)")
STATUS = re.compile(
    r"Status: (?P<word>accepted|superseded by|superseded in part by)(?: \[\d+\]\((?P<file>[\w-]+\.md)\)(?:: (?P<part>.+))?)?\."
)

HEAD = """\
# Decisions

Each page says what was decided, why, and what follows. They are for those who change the router: read the page before you change
what it decided.

A decision is not rewritten when a later one overtakes it. It gets a new status line, and the later one says what holds now.
`make pages` writes this index. [How to add one](../../CONTRIBUTING.md#decisions).

| number | decision | status |
|---|---|---|
"""


@dataclass(frozen=True)
class Decision:
    """A design decision: its number, title and status, as the first lines of its page state them.

    status: the status in Markdown, with a link to the decision that superseded it
    successor: the file of that decision; empty without one
    """

    number: int
    title: str
    file: str
    status: str
    successor: str


def decisions(folder: Path) -> Iterator[Decision]:
    """Yield every decision of a folder, by number. Raises ValueError, with the file's name, for a page without a title or a status line."""
    for path in sorted(folder.glob("[0-9]*.md")):
        first, blank, status, *_ = path.read_text(encoding="utf-8").split("\n")
        title, known = TITLE.fullmatch(first), STATUS.match(status)
        if not title or blank or not known or (known["word"] == "accepted") is bool(known["file"]):
            raise ValueError(
                f"{path.name}: its first lines must be `# NUMBER. Title`, a blank one, and `Status: accepted.`, "
                "`Status: superseded by [NUMBER](FILE).` or `Status: superseded in part by [NUMBER](FILE): what of it.`"
            )
        yield Decision(int(title["number"]), title["title"], path.name, _shown(known), known["file"] or "")


def _shown(status: re.Match[str]) -> str:
    """Return the status of a decision as a cell of the index table."""
    if not status["file"]:
        return "accepted"
    part = f": {status['part']}" if status["part"] else ""
    return f"{status['word']} [{int(status['file'][:4])}]({status['file']}){part}"


def index(folder: Path) -> str:
    """Return the index of a folder of decisions."""
    return HEAD + "".join(f"| {one.number} | [{one.title}]({one.file}) | {one.status} |\n" for one in decisions(folder))
