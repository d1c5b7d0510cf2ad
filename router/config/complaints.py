"""Complaints: the mistakes of a load, each with its place and its line, secrets left out."""

import re
from collections.abc import Collection, Iterable, Mapping

from router.config.meant import did_you_mean, file_meant
from router.config.remedies import Advice
from router.config.secrecy import without_secret_queries
from router.errors import Complaint, Place
from router.value import Value, field

SENSITIVE = (
    r"""(?:(?<![a-z0-9])keys?|(?<!first_)token|secret|password|authorization|api_?k\w*|cookie"""
    r"""|(?<=\w-)(?:auth|bearer|code|credential|jwt|passwd|pwd|sas|sig|signature|subscription))["']?\s*"""
)
NUMBER = r"\d{1,3}(?:ms|s|m|h)?\s*"
LITERAL_SECRET = re.compile(rf"""(?i)({SENSITIVE}[:=：]\s*|://(?=[^\s/]*@))(?!["']?\$\{{(?!\w+:-)|{NUMBER}[,}}\n]|{NUMBER}$)[^\s,}}].*""")
"""A secret written out in a file, also in an address or as a default: the line is quoted without it. Times and numbers are not secrets."""
SECRET_BELOW = re.compile(rf"(?i){SENSITIVE}:\s*[|>]?[-+]?\s*(?:#.*)?$")
"""A line whose secret stands on the next line: that next line is not quoted at all."""

MAX_COMPARED = 200_000
"""Comparisons of an unknown word with a known one in a load, roughly: they take 0.7 s. Later mistakes have no hint."""


class Complaints(Value, frozen=True):
    """A collector of the complaints of one load, over all its files: mistakes (`found`) and warnings.

    Missing variables and secret files are mistakes, too; with `without_environment` they are collected apart (`lacking`).
    """

    texts: Mapping[str, str]
    """File name → its text: complaints quote the line."""
    found: dict[Complaint, None] = field(default_factory=dict[Complaint, None])
    """A dict as an ordered set, like the two below: a repetition changes nothing."""
    warnings: dict[Complaint, None] = field(default_factory=dict[Complaint, None])
    """Settings that are valid, but rarely intended."""
    lacking: dict[Complaint, None] = field(default_factory=dict[Complaint, None])
    """Missing variables and secret files, recorded here instead of in `found` if `without_environment` is set."""
    without_environment: bool = False
    lines: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """File name → its lines, filled when the first complaint about the file is recorded."""
    quoted: dict[tuple[str, int], str] = field(default_factory=dict[tuple[str, int], str])
    """(File name, number of a line) → the line, secrets masked: all complaints about a line quote the same text."""
    most_compared: int = MAX_COMPARED
    advice: Advice = field(default_factory=lambda: Advice(dict))

    def add(self, place: Place, message: str) -> None:
        """Record a mistake with the text of its line, secrets masked. A repetition is ignored."""
        self.found[self._quoted(place, message)] = None

    def warn(self, place: Place, message: str) -> None:
        """Record a warning with the text of its line, secrets masked. A repetition is ignored."""
        self.warnings[self._quoted(place, message)] = None

    def lack(self, place: Place, message: str) -> None:
        """Record a missing variable or secret file: in `lacking` if the load is `without_environment`, else as a mistake."""
        (self.lacking if self.without_environment else self.found)[self._quoted(place, message)] = None

    def meant(self, word: str, known: Collection[str]) -> str:
        """Return the hint of `did_you_mean` for an unknown word; an empty text if mistakes are so many that hints take too long."""
        return did_you_mean(word, known) if len(self.found) * len(known) < self.most_compared else ""

    def file_meant(self, word: str, folder: str, ending: str) -> str:
        """Return the hint of `file_meant` for an unknown file of the load; an empty text as `meant` does."""
        return file_meant(word, self.texts, folder, ending) if len(self.found) * len(self.texts) < self.most_compared else ""

    def _quoted(self, place: Place, message: str) -> Complaint:
        if (line := self.quoted.get((place.file, place.line))) is None:
            line = self.quoted[place.file, place.line] = self._line(place)
        return Complaint(place, message, line)

    def _line(self, place: Place) -> str:
        """Return the line of a place, secrets masked; empty without such a line, and for a secret that stands below its key."""
        if (lines := self.lines.get(place.file)) is None:
            lines = self.lines[place.file] = self.texts.get(place.file, "").splitlines()
        line = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
        before = (lines[index] for index in range(min(place.line - 1, len(lines)) - 1, -1, -1))
        above = next((one for one in before if not re.match(r"\s*(#|$)", one)), "")
        return "" if SECRET_BELOW.search(above) else without_secret_queries(LITERAL_SECRET.sub(r"\1***", line))

    def in_order(self, found: Iterable[Complaint] | None = None) -> tuple[Complaint, ...]:
        """Return these complaints, by default the mistakes, sorted by file (in the order of the load), line and column."""
        order = {name: index for index, name in enumerate(self.texts)}

        def position(one: Complaint) -> tuple[int, str, int, int]:
            return order.get(one.place.file, len(order)), one.place.file, one.place.line, one.place.column

        return tuple(sorted(self.found if found is None else found, key=position))
