"""Entries of a mapping of mappings, such as `routes`: many checks look for a few keys in every entry."""

from collections.abc import Mapping

from router.config.document import Node, Scalar, Table, pairs_of

Row = tuple[Scalar, Node, Mapping[str, Node]]
"""(Name of an entry, the entry, its key → value); an entry that is not a mapping has no keys."""


def rows_of(node: Node | None) -> list[Row]:
    """Return the rows of a mapping, in order; none for any other node."""
    return [(name, one, {key.text: value for key, value in one.pairs} if isinstance(one, Table) else {}) for name, one in pairs_of(node)]


def having(node: Node | None, name: str) -> list[tuple[Scalar, Table, Node]]:
    """Return (name of an entry, the entry, its value under this key) for the entries of a mapping that have the key, in order."""
    return [(of, one, value) for of, one in pairs_of(node) if isinstance(one, Table) for key, value in one.pairs if key.text == name]
