"""YAML of other programs → values with their places, read as PyYAML reads them.

So: YAML 1.1's booleans and numbers, `<<`, aliases, the last of equal keys. `document.py` reads the router's own files more strictly.
"""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import yaml

from router.config.document import MAX_DEPTH, UnreadableYaml, yaml_errors
from router.errors import Place
from router.value import Value

Plain: TypeAlias = "str | int | float | bool | None"
TYPED = frozenset({"tag:yaml.org,2002:null", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})
"""Tags of scalars that are read as other than text. Dates stay texts: no code calculates with them."""
MERGE = "tag:yaml.org,2002:merge"


class Located(Value, frozen=True):
    """A value and its place: a scalar, a tuple of Located, or a mapping of text → Located."""

    place: Place
    value: "Plain | tuple[Located, ...] | Mapping[str, Located]"

    @property
    def table(self) -> "Mapping[str, Located]":
        """The value if it is a mapping, else an empty mapping."""
        return self.value if isinstance(self.value, Mapping) else {}

    @property
    def items(self) -> "tuple[Located, ...]":
        """The value if it is a list, else an empty tuple."""
        return self.value if isinstance(self.value, tuple) else ()


def understood(text: str, file: str) -> Located | None:
    """Return the root of a YAML text as a Located; None for an empty text. Raises UnreadableYaml if it is broken, too large or too deep."""
    with yaml_errors(text, file):
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    return None if root is None else _ForeignReader(file).located(root, 0)


class _ForeignReader:
    def __init__(self, file: str) -> None:
        self._file = file
        self._known: dict[int, Located] = {}
        """Nodes that were read already: an alias is the same node again, however often it is repeated."""
        self._constructor = yaml.constructor.SafeConstructor()

    def located(self, node: yaml.Node, depth: int) -> Located:
        if depth > MAX_DEPTH:
            raise UnreadableYaml(self._place(node), f"nested deeper than {MAX_DEPTH} levels")
        if id(node) not in self._known:
            match node:
                case yaml.MappingNode():
                    value = dict(self._pairs(node, depth))
                case yaml.SequenceNode():
                    value = tuple(self.located(item, depth + 1) for item in node.value)
                case _:
                    value = self._scalar(node)
            self._known[id(node)] = Located(self._place(node), value)
        return self._known[id(node)]

    def _pairs(self, node: yaml.MappingNode, depth: int) -> Iterator[tuple[str, Located]]:
        """Yield (key, value) of a mapping: those of `<<` first, so that the mapping's own replace them."""
        for key, value in node.value:
            if key.tag == MERGE:
                merged = reversed(value.value) if isinstance(value, yaml.SequenceNode) else [value]
                for one in merged:
                    if not isinstance(one, yaml.MappingNode):
                        raise UnreadableYaml(self._place(one), "`<<` takes a mapping, or a list of them")
                    yield from self.located(one, depth + 1).table.items()
        for key, value in node.value:
            if key.tag != MERGE:
                if not isinstance(key, yaml.ScalarNode):
                    raise UnreadableYaml(self._place(key), "a key must be a plain word")
                yield key.value, self.located(value, depth + 1)

    def _scalar(self, node: yaml.Node) -> Plain:
        if node.tag not in TYPED:
            return node.value
        try:
            value: object = self._constructor.construct_object(node)  # pyright: ignore[reportUnknownMemberType] - the stubs do not say
        except (ValueError, OverflowError):
            return node.value
        return value if isinstance(value, bool | int | float) else None

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._file, node.start_mark.line + 1, node.start_mark.column + 1)
