"""A docstring as shown to a model: a description of the tool, and one of each parameter.
The readable styles are those of Google (`Args:`), NumPy (`Parameters` over a line of dashes), reST (`:param name:`), and `name: text`.
Text about parameters is taken out of the description; all else stays, such as the return value.
"""

import inspect
import re
from collections.abc import Collection, Iterator

from router.value import Mutable, field

GOOGLE = re.compile(r"(?:Args|Arguments|Parameters|Params):\s*$")
GOOGLE_ENTRY = re.compile(r"\*{0,2}(?P<names>\w+)\s*(?:\(.*?\))?\s*:(?:\s+(?P<text>.*)|$)")
NUMPY = re.compile(r"(?:Other )?Parameters\s*$")
NUMPY_ENTRY = re.compile(r"(?P<names>\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$")
DASHES = re.compile(r"-{3,}\s*$")
REST_ENTRY = re.compile(r":(?:param|parameter|arg|argument)\s+(?:[^:]*\s)?\*{0,2}(?P<names>\w+)\s*:\s*(?P<text>.*)")
REST_TYPE = re.compile(r":type\s+\w+\s*:")
PLAIN_ENTRY = re.compile(r"\s*(?P<names>\w+):\s+(?P<text>.+)")


def documentation(function: object, names: Collection[str]) -> tuple[str, dict[str, str]]:
    """Return (the description of a function, parameter → its description) from its docstring. `names`: its parameters."""
    reader = _DocstringReader((inspect.getdoc(function) or "").splitlines(), frozenset(names))
    reader.read()
    description = re.sub(r"\n{3,}", "\n\n", "\n".join(reader.rest)).strip()
    return description, {name: " ".join(text.split()) for name, text in reader.found.items() if text.strip()}


class _DocstringReader(Mutable):
    """A parser of one docstring: `rest` gets the lines of the description, `found` the text of each parameter.
    It knows the styles of Google, NumPy and Sphinx (`:param name:`), and a plain line `name: text` for one of `names`.
    """

    lines: list[str]
    names: frozenset[str]
    rest: list[str] = field(default_factory=list[str])
    found: dict[str, str] = field(default_factory=dict[str, str])
    _at: int = 0

    def read(self) -> None:
        while self._at < len(self.lines):
            line = self.lines[self._at]
            below = self.lines[self._at + 1] if self._at + 1 < len(self.lines) else ""
            self._at += 1
            if NUMPY.match(line) and DASHES.match(below):
                self._at += 1
                self._numpy()
            elif GOOGLE.match(line.strip()) and _indent(below) > _indent(line):
                self._google(_indent(line), _indent(below))
            elif hit := REST_ENTRY.match(line.strip()):
                self._note(hit["names"], [hit["text"], *self._deeper(_indent(line))])
            elif REST_TYPE.match(line.strip()):
                list(self._deeper(_indent(line)))
            elif (hit := PLAIN_ENTRY.match(line)) and hit["names"] in self.names:
                self._note(hit["names"], [hit["text"]])
            else:
                self.rest.append(line)

    def _google(self, header: int, entry: int) -> None:
        """Record the texts of the parameters in a Google section. `header`, `entry`: the indents of its header and of its entries."""
        while self._at < len(self.lines) and (not self.lines[self._at].strip() or _indent(self.lines[self._at]) > header):
            hit = GOOGLE_ENTRY.match(self.lines[self._at].strip())
            self._at += 1
            text = list(self._deeper(entry))
            if hit:
                self._note(hit["names"], [hit["text"] or "", *text])

    def _numpy(self) -> None:
        """Record the parameters' texts in a NumPy section: a line `name : type`, then deeper lines. Any other line ends the section."""
        while self._at < len(self.lines):
            line = self.lines[self._at]
            ends = self._at + 1 < len(self.lines) and DASHES.match(self.lines[self._at + 1])
            hit = NUMPY_ENTRY.match(line.strip())
            if line.strip() and (ends or hit is None or not any(name.strip(" *") in self.names for name in hit["names"].split(","))):
                return
            self._at += 1
            if hit:
                self._note(hit["names"], list(self._deeper(_indent(line))))

    def _deeper(self, indent: int) -> Iterator[str]:
        """Consume and yield the next lines that are indented deeper than `indent`, and single blank lines between them."""
        while self._at < len(self.lines):
            line = self.lines[self._at]
            if line.strip() and _indent(line) <= indent:
                return
            if not line.strip() and not any(_indent(one) > indent for one in self.lines[self._at + 1 : self._at + 2]):
                return
            self._at += 1
            yield line

    def _note(self, names: str, text: list[str]) -> None:
        for name in re.split(r"\s*,\s*", names):
            if name.lstrip("*") in self.names:
                self.found[name.lstrip("*")] = "\n".join(text)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
