"""A routes.yaml under construction: its sections, and the comments that belong to each."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from router.config.document import DOUBTFUL, NULLS, NUMBER, TRUTHS
from router.value import Mutable, field

YamlValue: TypeAlias = "str | int | float | bool | Sequence[YamlValue] | Mapping[str, YamlValue] | None"
LOST = "not carried over: "
WIDTH = 120


class Section(Mutable):
    """A mapping of the new routes.yaml, with its comments. Without keys only the comments are written."""

    keys: dict[str, YamlValue] = field(default_factory=dict[str, YamlValue])
    remarks: list[str] = field(default_factory=list[str])
    notes: dict[str, str] = field(default_factory=dict[str, str])  # key → a short comment after its value
    dropped: bool = False  # true if its keys cannot be served: they are written as comments too

    def note(self, text: str) -> None:
        """Add a comment about something that was carried over. It is one line: text from the LiteLLM config cannot end it."""
        self.remarks.append(" ".join(["#", *re.sub(r"[^\x20-\x7e\xa0-\ud7ff\uf900-\ufffd]+", " ", text).split()]))

    def lose(self, text: str) -> None:
        """Add a comment about something that was not carried over; it is written with the prefix LOST."""
        self.note(LOST + text)

    def lines(self, name: str, indent: str) -> Iterator[str]:
        """Yield the section as lines of YAML with this indent, its comments below its name. A dropped one is comments alone, those first.

        name: its key; not written if the section has no keys
        """
        first = f"{indent}# " if self.dropped else indent
        title = [f"{first}{scalar(name)}:"] if self.keys else []
        remarks = [f"{indent}{'  ' if self.keys and not self.dropped else ''}{remark}" for remark in self.remarks]
        yield from [*remarks, *title] if self.dropped else [*title, *remarks]
        for key, value in self.keys.items():
            lead, note = f"{first}  ", f"  # {self.notes[key]}" if key in self.notes else ""
            flow = f"{lead}{key}: {flowing(value, bare=True)}{note}"
            if len(flow) <= WIDTH or not isinstance(value, Sequence) or isinstance(value, str):
                yield flow
            else:
                yield f"{lead}{key}:{note}"
                yield from (f"{lead}  - {flowing(one, bare=True)}" for one in value)


class Page(Mutable):
    """The routes.yaml that is being made, by its sections."""

    head: list[str]
    targets: dict[str, Section] = field(default_factory=dict[str, Section])
    defaults: Section = field(default_factory=Section)
    routes: dict[str, Section] = field(default_factory=dict[str, Section])
    unrouted: Section = field(default_factory=Section)  # comments on models that no route answers for
    server: Section = field(default_factory=Section)
    rest: Section = field(default_factory=Section)  # comments that belong to no key of routes.yaml

    def text(self) -> str:
        """Return the whole file as YAML text."""
        parts = [
            [f"# {line}".rstrip() for line in self.head],
            _blocks("targets", self.targets),
            list(self.defaults.lines("defaults", "")),
            [*_blocks("routes", self.routes), *self.unrouted.lines("", "  ")],
            list(self.server.lines("server", "")),
            list(self.rest.lines("", "")),
        ]
        return "\n\n".join("\n".join(part) for part in parts if part) + "\n"

    def lost(self) -> tuple[tuple[int, str], ...]:
        """Return (line number in the file, comment without its prefix) for everything that was not carried over."""
        mark, lines = f"# {LOST}", enumerate(map(str.strip, self.text().split("\n")), 1)
        return tuple((number, line.removeprefix(mark)) for number, line in lines if line.startswith(mark))


def _blocks(name: str, sections: Mapping[str, Section]) -> list[str]:
    served = any(section.keys and not section.dropped for section in sections.values())
    return [f"{name}:" if served else f"{name}: {{}}", *(line for key, section in sections.items() for line in section.lines(key, "  "))]


PLAIN = re.compile(r"[A-Za-z0-9_/.+-](?:[A-Za-z0-9_/.+@:-]*[A-Za-z0-9_/.+@-])?")
BARE = re.compile(r"[A-Za-z0-9_/.+$-](?:[A-Za-z0-9_/.+@:${}-]*[A-Za-z0-9_/.+@${}-])?")
"""A text that needs no quotes outside of brackets: there also one with a reference `${…}`."""
DATE = re.compile(r"\d{4}-\d\d?-\d\d?")
"""A text that readers of YAML 1.1 take for a date."""
UNPRINTABLE = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def scalar(value: str | float | None, *, bare: bool = True) -> str:
    """Return a scalar as YAML text that every parser reads as the same value. `bare`: it stands outside of brackets."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(int(value)) if float(value).is_integer() else f"{value:.12f}".rstrip("0").rstrip(".")
    doubtful = DOUBTFUL.fullmatch(value) or DATE.fullmatch(value) or NUMBER.fullmatch(value) or value in NULLS or value in TRUTHS
    if (BARE if bare else PLAIN).fullmatch(value) and not doubtful and not value.startswith(("-", "---")):
        return value
    return UNPRINTABLE.sub(lambda hit: f"\\u{ord(hit[0]):04x}", json.dumps(value, ensure_ascii=False))


def flowing(value: YamlValue, *, bare: bool = False) -> str:
    """Return a value as YAML text on one line. `bare`: it stands outside of brackets, where references need no quotes."""
    match value:
        case str() | bool() | int() | float() | None:
            return scalar(value, bare=bare)
        case Mapping():
            return "{" + ", ".join(f"{scalar(key, bare=False)}: {flowing(one)}" for key, one in value.items()) + "}"
        case _:
            return "[" + ", ".join(flowing(one) for one in value) + "]"
