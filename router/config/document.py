"""Reading of YAML: text → a tree of nodes with their places.

The tree is made from libyaml's events, not by its constructor. A plain scalar therefore stays a text (`no`, `012`, `1:30`) until the
declaration says which type is wanted. Duplicate keys are errors, and an alias cannot multiply.
"""

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, cast

import yaml
from yaml import AliasEvent, DocumentEndEvent, DocumentStartEvent, MappingEndEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent

from router.config.syntax import explained
from router.errors import Complaint, Place
from router.value import Value, replace

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 32
MAX_ALIASES = 1_000
"""Most nodes that aliases may add to a document, in total; more of them are an error."""


class Scalar(Value, frozen=True, gc=False):
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


class Listing(Value, frozen=True, gc=False):
    """A YAML sequence, as a node of the tree."""

    place: Place
    items: tuple["Node", ...]


class Table(Value, frozen=True, gc=False):
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
        return _NodeReader(yaml.CSafeLoader(text).get_event, file, complain).document()


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
    """A reader of a document's nodes. All nodes of a collection are made in one loop: a large file has a hundred thousand scalars."""

    def __init__(self, next_event: Callable[[], Any], file: str, complain: Callable[[Place, str], None]) -> None:
        self._next_event = next_event
        self._file = file
        self._complain = complain
        self._anchors: dict[str, Node] = {}
        self._aliased = 0

    def document(self) -> Node | None:
        nodes: list[Node] = []
        while (event := self._next_event()) is not None:
            if type(event) is DocumentStartEvent and nodes:
                self._complain(self._place(event), "a second document begins here: take this `---` away, it may stand at the top only")
                break
            if type(event) is DocumentStartEvent:
                self._read(nodes, 0)
        return nodes[0] if nodes else None

    def _read(self, nodes: list[Node], depth: int) -> None:
        """Add the nodes up to the end of the collection or document that they stand in: keys and values of a mapping alternate."""
        next_event, file = self._next_event, self._file
        while True:
            event = next_event()
            kind = type(event)  # pyright: ignore[reportUnknownVariableType]
            if kind is ScalarEvent:  # most are
                mark, text = event.start_mark, event.value
                node: Node = Scalar(Place(file, mark.line + 1, mark.column + 1), text, event.implicit[0], text)
                if event.tag:
                    node = self._tagged(node, event)
            elif kind in ENDS:
                return
            else:
                node = self._other(event, depth)
            if event.anchor and kind is not AliasEvent:
                self._anchors[event.anchor] = node
            nodes.append(node)

    def _tagged(self, node: Scalar, event: ScalarEvent) -> Scalar:
        if event.implicit[1]:  # `!`, which says that it is a text
            return node
        advice = f"write ${{{node.text}}}" if VARIABLE.fullmatch(node.text) else "leave it out"
        self._complain(node.place, f"tags such as {event.tag} are not read here: {advice}")
        return replace(node, forgiven=True)

    def _other(self, event: Any, depth: int) -> Node:
        """Return the node of a mapping, a sequence or an alias."""
        mark = event.start_mark
        place = Place(self._file, mark.line + 1, mark.column + 1)
        if type(event) is AliasEvent:
            return self._alias(event.anchor or "", place)
        nodes: list[Node] = []
        read = self._read if depth < MAX_DEPTH else self._too_deep
        if type(event) is SequenceStartEvent:
            read(nodes, depth + 1)
            return Listing(place, tuple(nodes))
        try:
            read(nodes, depth + 1)
        finally:  # keys above an error of YAML have their complaints, too
            pairs = self._pairs(nodes)
        return Table(place, pairs)

    def _too_deep(self, nodes: list[Node], depth: int) -> None:  # noqa: ARG002 - as `_read`
        """Raise UnreadableYaml unless the collection is empty."""
        if type(event := self._next_event()) not in ENDS:
            raise UnreadableYaml(self._place(event), f"nested deeper than {MAX_DEPTH} levels")

    def _place(self, event: Any) -> Place:
        return Place(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _alias(self, anchor: str, place: Place) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            why = f"`*` begins an alias, and no anchor &{anchor} stands above: write `{anchor}` without it, or in quotes"
            raise UnreadableYaml(place, why)
        self._aliased += sum(1 + len(pairs_of(one)) for one in values_in(node))
        if self._aliased > MAX_ALIASES:
            raise UnreadableYaml(place, f"aliases repeat more than {MAX_ALIASES} nodes")
        return node

    def _pairs(self, nodes: list[Node]) -> tuple[tuple[Scalar, Node], ...]:
        """Return the (key, value) pairs of alternating keys and values. Complain of keys that are no words, or are there already."""
        keys, values = nodes[::2], nodes[1::2]
        if {Scalar}.issuperset(map(type, keys)) and len({"<<", *map(TEXT, keys)}) == len(keys) + 1:  # words, each there once
            return cast("tuple[tuple[Scalar, Node], ...]", tuple(zip(keys, values, strict=False)))
        pairs: list[tuple[Scalar, Node]] = []
        first: dict[str, Place] = {}
        for key, value in zip(keys, values, strict=False):
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
        return tuple(pairs)


TEXT = attrgetter("text")
ENDS = frozenset({MappingEndEvent, SequenceEndEvent, DocumentEndEvent})
"""The events that follow the last node of a collection or a document."""
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
