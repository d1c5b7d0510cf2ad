"""Complaints: the mistakes of a load, each with its place and its line, secrets left out."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from router.config.remedies import Advice
from router.config.secrecy import without_secret_queries
from router.errors import Complaint, Place

LITERAL_SECRET = re.compile(
    r"""(?i)((?:(?<![a-z0-9])keys?|(?<!first_)token|secret|password|authorization|api_?k\w*|cookie|(?<=\w-)(?:auth|bearer|code|credential|jwt|passwd|pwd|sas|sig|signature|subscription))["']?\s*[:=：]\s*|://(?=[^\s/]*@))(?!["']?\$\{(?!\w+:-)|\d{1,3}(?:ms|s|m|h)?\s*[,}\n]|\d{1,3}(?:ms|s|m|h)?\s*$)[^\s,}].*"""
)
"""A secret written out in a file, also in an address or as a default: the line is quoted without it. Times and numbers are not secrets."""
SECRET_BELOW = re.compile(
    r"""(?i)(?:(?<![a-z0-9])keys?|(?<!first_)token|secret|password|authorization|api_?k\w*|cookie|(?<=\w-)(?:auth|bearer|code|credential|jwt|passwd|pwd|sas|sig|signature|subscription))["']?\s*:\s*[|>]?[-+]?\s*(?:#.*)?$"""
)
"""A line whose secret stands on the next line: that next line is not quoted at all."""


@dataclass(frozen=True, slots=True)
class Complaints:
    """A collector of the complaints of one load, over all its files: mistakes (`found`) and warnings.

    Missing variables and secret files are mistakes, too; with `without_environment` they are collected apart (`lacking`).
    """

    texts: Mapping[str, str]
    """File name → its text: complaints quote the line."""
    found: list[Complaint] = field(default_factory=list[Complaint])
    warnings: list[Complaint] = field(default_factory=list[Complaint])
    """Settings that are valid, but rarely intended."""
    lacking: list[Complaint] = field(default_factory=list[Complaint])
    """Missing variables and secret files, recorded here instead of in `found` if `without_environment` is set."""
    without_environment: bool = False
    noted: set[Complaint] = field(default_factory=set[Complaint])
    """The members of `found`, to skip a repetition."""
    noted_beside: set[Complaint] = field(default_factory=set[Complaint])
    """The members of `warnings` and `lacking`, to skip a repetition; no complaint belongs to both."""
    lines: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """File name → its lines, filled when the first complaint about the file is recorded."""
    advice: Advice = field(default_factory=lambda: Advice({}))

    def trial(self) -> "Complaints":
        """Return a collector for trying whether a node fits a shape: it begins empty, and its mistakes do not reach this one.

        It shares `warnings` and `lacking` with this one.
        """
        beside = self.warnings, self.lacking, self.without_environment
        return Complaints(self.texts, [], *beside, set(), self.noted_beside, self.lines, self.advice)

    def add(self, place: Place, message: str) -> None:
        """Record a mistake with the text of its line, secrets masked. A repetition is ignored."""
        self._note(self.noted, self.found, place, message)

    def warn(self, place: Place, message: str) -> None:
        """Record a warning with the text of its line, secrets masked. A repetition is ignored."""
        self._note(self.noted_beside, self.warnings, place, message)

    def lack(self, place: Place, message: str) -> None:
        """Record a missing variable or secret file: in `lacking` if the load is `without_environment`, else as a mistake."""
        if self.without_environment:
            self._note(self.noted_beside, self.lacking, place, message)
        else:
            self._note(self.noted, self.found, place, message)

    def _note(self, noted: set[Complaint], found: list[Complaint], place: Place, message: str) -> None:
        lines = self._lines_of(place.file)
        line = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
        before = (lines[index] for index in range(min(place.line - 1, len(lines)) - 1, -1, -1))
        above = next((one for one in before if not re.match(r"\s*(#|$)", one)), "")
        line = "" if SECRET_BELOW.search(above) else without_secret_queries(LITERAL_SECRET.sub(r"\1***", line))
        complaint = Complaint(place, message, line)
        if complaint not in noted:
            noted.add(complaint)
            found.append(complaint)

    def _lines_of(self, file: str) -> list[str]:
        if file not in self.lines:
            self.lines[file] = self.texts.get(file, "").splitlines()
        return self.lines[file]

    def in_order(self) -> tuple[Complaint, ...]:
        """Return the mistakes (`found`), sorted by file, line and column."""
        return self.sorted(self.found)

    def sorted(self, found: Iterable[Complaint]) -> tuple[Complaint, ...]:
        """Return these complaints sorted by file (in the order of the load), line and column."""
        files = list(self.texts)
        order = {name: index for index, name in enumerate(files)}
        return tuple(
            sorted(found, key=lambda one: (order.get(one.place.file, len(files)), one.place.file, one.place.line, one.place.column))
        )
