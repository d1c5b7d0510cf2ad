"""Value types: frozen and compared by their fields like frozen dataclasses, but implemented in C (msgspec).

A frozen dataclass sets each field with a call of its own: 4.6 µs for an Ask, and 3.7 µs for a changed copy; a value takes 0.1 µs.
To define a dataclass, Python writes and compiles source text: 0.9 ms, a value type 0.02 ms. This is why configuration uses them, too.
"""

from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from msgspec import NODEFAULT, Struct, to_builtins
from msgspec.structs import asdict, fields, force_setattr, replace

__all__ = [
    "NODEFAULT", "Mutable", "PartlyCompared", "PartlyShown", "Value", "asdict", "field", "fields", "force_setattr", "names", "replace",
    "to_builtins",
]  # fmt: skip

if TYPE_CHECKING:
    from msgspec import field
else:

    def field(**options: Any) -> Any:
        """Return msgspec's field, in which `default_factory=list[int]` is `list`: the former takes 0.25 µs for each list, to note its type."""
        factory = options.get("default_factory")
        if isinstance(factory, GenericAlias):
            options["default_factory"] = factory.__origin__
        return msgspec.field(**options)


class Value(Struct, frozen=True):
    """A frozen value type. A subclass repeats `frozen=True`, for the type checker."""


class Mutable(Struct, eq=False):
    """A record (no dataclass) that changes while a request fills it in. Two records are never equal, even with equal fields."""


class PartlyShown(Value, frozen=True):
    """A value whose repr leaves out the fields named in HIDDEN, such as secrets. They are compared."""

    HIDDEN: ClassVar[frozenset[str]]

    def __repr__(self) -> str:
        return _shown(self, self.__rich_repr__())

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the fields that `rich` shows in tracebacks and logs: it does not use the repr. msgspec's own returns all fields."""
        return [(name, value) for name, value in asdict(self).items() if name not in self.HIDDEN]


class PartlyCompared(Value, frozen=True, eq=False):
    """A value in which the fields named in BESIDE count neither for equality and hash nor for the repr."""

    BESIDE: ClassVar[frozenset[str]]

    def _compared(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__struct_fields__ if name not in self.BESIDE}

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(tuple(self._compared().values()))

    def __repr__(self) -> str:
        return _shown(self, self.__rich_repr__())

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the fields that `rich` shows: those of the repr."""
        return list(self._compared().items())


def _shown(value: Value, fields: list[tuple[str, Any]]) -> str:
    return f"{type(value).__name__}({', '.join(f'{name}={one!r}' for name, one in fields)})"


def names(kind: type[Value]) -> tuple[str, ...]:
    """Return the names of a value type's fields, in order."""
    return kind.__struct_fields__
