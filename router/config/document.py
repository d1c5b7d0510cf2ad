"""Reading of YAML: text → a tree of nodes with their places.

The tree is made from libyaml's events, not by its constructor. A plain scalar therefore stays a text (`no`, `012`, `1:30`) until the
declaration says which type is wanted. Duplicate keys are errors, and an alias cannot multiply.
"""

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import yaml

from router.config.syntax import explained
from router.errors import Complaint, Place
from router.value import Value, replace

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 32
MAX_ALIASES = 1_000
"""Most nodes that aliases may add to a document, in total; more of them are an error."""


class Scalar(Value, frozen=True):
    """A YAML scalar, as a node of the tree.

    text: its value; references in it are resolved after parsing
    source: the text as written, still with `${VAR}`
    plain: True if it stood without quotes
    """

    place: Place
    text: str
    plain: bool
    source: str = ""
    unset: str = ""
    """The missing variable or secret file, as a sentence; empty where none is missing."""
    forgiven: bool = False
    """True if no further complaint is made: the target is optional, variables are not read, or the scalar is malformed (complained of)."""


class Listing(Value, frozen=True):
    """A YAML sequence, as a node of the tree."""

    place: Place
    items: tuple["Node", ...]


class Table(Value, frozen=True):
    """A YAML mapping, as a node of the tree. Its keys are scalars, each there once."""

    place: Place
    pairs: tuple[tuple[Scalar, "Node"], ...]

    def get(self, name: str) -> "Node | None":
        """Return the value under a key; None without that key."""
        for key, value in self.pairs:
            if key.text == name:
                return value
        return None

    def having(self, name: str, node: "Node") -> "Table":
        """Return a copy with this node as the value of a key; unchanged if the mapping does not have the key."""
        return replace(self, pairs=tuple((key, node if key.text == name else value) for key, value in self.pairs))


Node = Scalar | Listing | Table


def at(node: Node | None, *path: str) -> Node | None:
    """Return the node under a path of keys in nested mappings; None if there is none."""
    for name in path:
        node = node.get(name) if isinstance(node, Table) else None
    return node


def pairs_of(node: Node | None) -> tuple[tuple[Scalar, Node], ...]:
    """Return the (key, value) pairs of a mapping; none for any other node."""
    return node.pairs if isinstance(node, Table) else ()


def items_of(node: Node | None) -> tuple[Node, ...]:
    """Return the items of a list; none for any other node."""
    return node.items if isinstance(node, Listing) else ()


def values_in(node: Node) -> Iterator[Node]:
    """Yield a node and all values and items below it."""
    yield node
    for inner in (*items_of(node), *(value for _, value in pairs_of(node))):
        yield from values_in(inner)


def with_scalars(node: Node, change: Callable[[Scalar], Scalar]) -> Node:
    """Return the tree with each scalar replaced by what `change` returns for it; keys stay as they are."""
    match node:
        case Scalar():
            return change(node)
        case Listing():
            return Listing(node.place, tuple([with_scalars(item, change) for item in node.items]))
        case Table():
            return Table(node.place, tuple([(key, with_scalars(value, change)) for key, value in node.pairs]))


class UnreadableYaml(Exception):
    """The error of a text that is not YAML, or is too large, too deep, or has refused aliases or keys. It holds one complaint."""

    def __init__(self, place: Place, message: str) -> None:
        self.complaint = Complaint(place, message)
        super().__init__(str(self.complaint))


def parse(text: str, file: str, complain: Callable[[Place, str], None]) -> Node | None:
    """Return the tree of a text's first document; None for an empty text. Raise UnreadableYaml if there is no usable tree.

    complain: receives place and sentence of each mistake that still leaves a tree: a repeated key, a tag, a second document
    """
    with yaml_errors(text, file):
        return _NodeReader(file, complain).document(iter(yaml.CSafeLoader(text).get_event, None))


@contextmanager
def yaml_errors(text: str, file: str) -> Generator[None, None, None]:
    """Raise a parser's error in the block as UnreadableYaml, with the place and, where known, the remedy; also one for too large a text."""
    if len(text) > MAX_BYTES:
        raise UnreadableYaml(Place(file, 1, 1), f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB")
    line, column = 1, 1
    try:
        yield
    except yaml.YAMLError as error:
        advice = str(error)
        if isinstance(error, yaml.MarkedYAMLError):
            line, column, advice = explained(error, text)
        elif isinstance(error, yaml.reader.ReaderError):
            before = text.encode()[: error.position].decode()
            line, column, advice = before.count("\n") + 1, len(before) - before.rfind("\n"), error.reason
        raise UnreadableYaml(Place(file, line, column), f"this is not YAML: {advice}") from None


class _NodeReader:
    def __init__(self, file: str, complain: Callable[[Place, str], None]) -> None:
        self._file = file
        self._complain = complain
        self._anchors: dict[str, Node] = {}
        self._aliased = 0

    def document(self, events: Iterator[yaml.Event]) -> Node | None:
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.NodeEvent):
                root = self._node(event, events, 0)
            elif isinstance(event, yaml.DocumentStartEvent) and root is not None:
                self._complain(self._place(event), "a second document begins here: take this `---` away, it may stand at the top only")
                break
        return root

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        place = self._place(event)
        if depth > MAX_DEPTH:
            raise UnreadableYaml(place, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.ScalarEvent):  # most nodes
            node: Node = self._scalar(event, place)
        elif isinstance(event, yaml.AliasEvent):
            return self._alias(event, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Listing(place, tuple(self._items(events, depth)))
        else:
            node = self._table(place, events, depth)
        if isinstance(event, yaml.NodeEvent) and event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> Scalar:
        text, plain = event.value, event.implicit[0]
        if not event.tag or event.implicit[1]:
            return Scalar(place, text, plain, text)
        advice = f"write ${{{text}}}" if VARIABLE.fullmatch(text) else "leave it out"
        self._complain(place, f"tags such as {event.tag} are not read here: {advice}")
        return Scalar(place, text, plain, text, forgiven=True)

    def _alias(self, event: yaml.AliasEvent, place: Place) -> Node:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            why = f"`*` begins an alias, and no anchor &{event.anchor} stands above: write `{event.anchor}` without it, or in quotes"
            raise UnreadableYaml(place, why)
        self._aliased += sum(1 + len(pairs_of(one)) for one in values_in(node))
        if self._aliased > MAX_ALIASES:
            raise UnreadableYaml(place, f"aliases repeat more than {MAX_ALIASES} nodes")
        return node

    def _items(self, events: Iterator[yaml.Event], depth: int) -> Iterator[Node]:
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            yield self._node(event, events, depth + 1)

    def _table(self, place: Place, events: Iterator[yaml.Event], depth: int) -> Table:
        pairs: list[tuple[Scalar, Node]] = []
        first: dict[str, Place] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._node(event, events, depth + 1)
            value = self._node(next(events), events, depth + 1)
            if not isinstance(key, Scalar):
                hint = '; a variable is written "${NAME}", not {{NAME}}' if isinstance(key, Table) else ""
                self._complain(key.place, f"a key must be a plain word{hint}")
            elif key.text == "<<":
                self._complain(key.place, "`<<` is not read here: write the keys out; what routes share stands under `defaults`")
            elif key.text in first:
                self._complain(key.place, f"`{key.text}` stands here twice, first in line {first[key.text].line}: put both into one")
            else:
                first[key.text] = key.place
                pairs.append((key, value))
        return Table(place, tuple(pairs))

    def _place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        return Place(self._file, mark.line + 1, mark.column + 1) if mark else Place(self._file, 1, 1)


VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
"""Usual names of environment variables, such as API_KEY: such a text is taken for a name, not for a value or a secret."""
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})(\.[0-9]+)?([eE][-+]?[0-9]{1,2})?")
NULLS = frozenset({"", "~", "null", "Null", "NULL"})
TRUTHS = {"true": True, "false": False}
DOUBTFUL = re.compile(r"(?i)y|n|yes|no|on|off|true|false|[-+]?0[0-9_]+|[-+]?[0-9]+(:[0-9]{1,2})+|0[xo][0-9a-f]+|[-+]?\.(inf|nan)")
"""Plain scalars, such as `yes` or `012`, that one YAML reader takes for a text and another for a number or a truth value."""


def is_null(node: Node) -> bool:
    """Return True for a scalar without quotes that is empty, `~`, `null`, `Null` or `NULL`."""
    return isinstance(node, Scalar) and node.plain and node.text in NULLS
