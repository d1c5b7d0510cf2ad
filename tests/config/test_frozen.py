"""Frozen dataclasses of the configuration: they behave as those of `dataclass(frozen=True, slots=True)`."""

import dataclasses
import inspect
import pickle
from dataclasses import dataclass, field, replace
from typing import Any, get_type_hints

import pytest

from router.config.frozen import frozen
from router.errors import Misfit


@frozen(kw_only=True)
class Made:
    """A class made by `frozen`."""

    name: str
    tags: list[str] = field(default_factory=list[str])
    secret: str = field(default="", repr=False)
    place: "int | None" = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.name:
            raise Misfit("a name is needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """A class with the same fields, made by `dataclass`."""

    name: str
    tags: list[str] = field(default_factory=list[str])
    secret: str = field(default="", repr=False)
    place: "int | None" = field(default=None, compare=False)


@frozen
class One:
    """A class with one field, given by position."""

    value: int = 3


@frozen
class More(One):
    """A class that inherits a field."""

    other: str = "x"


def test_frozen_class_shows_compares_and_hashes_as_a_dataclass() -> None:
    """Values have the text, equality and hash of a dataclass's; a field with `compare=False` does not count."""
    made, usual = Made(name="a", secret="s", place=1), Usual(name="a", secret="s", place=1)
    assert repr(made) == repr(usual).replace("Usual", "Made")
    assert made == Made(name="a", secret="s", place=2)
    assert made != Made(name="a", secret="t")
    assert made != usual
    assert One(4) == One(4) != One(5)
    assert hash(One(4)) == hash(One(4))
    assert One(4) != More(4)
    assert (More(4, "y").value, More(4, "y").other) == (4, "y")
    with pytest.raises(TypeError, match="unhashable"):
        hash(made)


def test_frozen_value_refuses_changes() -> None:
    """Neither a field nor any other attribute can be set or deleted, and there is no `__dict__`."""
    made: Any = Made(name="a")
    for name in ("name", "other"):
        with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot assign to field '{name}'"):
            setattr(made, name, "b")
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'name'"):
        del made.name
    assert not hasattr(made, "__dict__")


def test_frozen_class_is_a_dataclass() -> None:
    """`fields`, `replace`, `pickle`, the signature and the type hints work as for a dataclass; defaults are made anew."""
    made = Made(name="a", tags=["b"])
    assert [one.name for one in dataclasses.fields(made)] == [one.name for one in dataclasses.fields(Usual)]
    assert replace(made, name="c") == Made(name="c", tags=["b"])
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - its own bytes
    assert get_type_hints(Made.__init__) == get_type_hints(Usual.__init__)
    ours, theirs = inspect.signature(Made).parameters, inspect.signature(Usual).parameters
    assert [(one.name, one.kind) for one in ours.values()] == [(one.name, one.kind) for one in theirs.values()]
    assert Made(name="a").tags is not Made(name="a").tags
    with pytest.raises(Misfit, match="a name is needed"):
        Made(name="")
    with pytest.raises(TypeError, match=r"Made.__init__\(\) missing 1 required keyword-only argument: 'name'"):
        Made()  # type: ignore[call-arg]
