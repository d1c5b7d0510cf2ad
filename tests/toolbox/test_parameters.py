"""Tool functions with typed parameters: their JSON schemas, as pydantic makes them, and the errors for wrong arguments."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel, ConfigDict

from router.errors import Misfit
from router.toolbox import Toolbox, load

TYPES = '''
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

from pydantic import BaseModel, Field
from typing_extensions import NotRequired, TypedDict


class Unit(Enum):
    celsius = "C"
    fahrenheit = "F"


class Level(IntEnum):
    low = 1
    high = 2


@dataclass
class Address:
    """Where a parcel goes."""

    street: str
    country: str = "DE"


class Item(BaseModel):
    sku: str = Field(pattern="^[A-Z]-[0-9]+$")
    count: int = Field(1, ge=1, le=99)


class Order(BaseModel):
    items: list[Item] = Field(min_length=1)
    address: Address


class Filter(TypedDict):
    field: str
    value: NotRequired[int]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool


class Folder(BaseModel):
    name: str
    inner: "list[Folder]" = []
'''
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("city: str, days: int = 1", {"city": "Rome", "days": "3"}, "days: a whole number is needed"),
    ("days: Annotated[int, Field(ge=1, le=14)] = 3", {"days": 15}, "days: it must be less than or equal to 14"),
    ("text: Annotated[str, Field(min_length=1, max_length=5)]", {"text": ""}, "text: String should have at least 1 character"),
    ("share: Annotated[float, Field(gt=0, lt=1)]", {"share": "0.5"}, "share: a number is needed"),
    ("unit: Unit = Unit.celsius", {"unit": "K"}, "unit: 'C' or 'F' is needed"),
    ("level: Level", {"level": 3}, "level: 1 or 2 is needed"),
    ('order: Literal["new", "old", 1] = "new"', {"order": "newest"}, "order: 'new', 'old' or 1 is needed"),
    ("at: datetime", {"at": "tomorrow"}, "at: a date and time such as 2026-01-31T09:30:00Z is needed"),
    ("day: date, at: time | None = None", {"day": "31.1.2026"}, "day: a date such as 2026-01-31 is needed"),
    ("lasts: timedelta", {"lasts": 90}, "lasts: a duration such as PT90M is needed"),
    ("number: UUID, price: Decimal | None = None", {"number": "A-1"}, "number: a UUID is needed"),
    ("which: int | list[int]", {"which": "all"}, "which: a whole number or a list is needed"),
    ("spot: tuple[int, str]", {"spot": [1, 2]}, "spot[1]: a text is needed"),
    ("tags: set[str], more: Sequence[str] = ()", {"tags": ["a", 1]}, "tags[1]: a text is needed"),
    ("counts: dict[str, int], notes: Mapping[str, Any] | None = None", {"counts": {"a": "1"}}, "counts.a: a whole number is needed"),
    (
        "address: Address",
        {"address": {"stret": "x"}},
        "address.street: it is needed but missing; address.stret: there is no such parameter",
    ),
    (
        "order: Order",
        {"order": {"items": [{"sku": "A-1", "count": 0}], "address": {"street": "x"}}},
        "order.items[0].count: it must be greater",
    ),
    ("filters: list[Filter]", {"filters": [{"field": "a", "value": "1"}]}, "filters[0].value: a whole number is needed"),
    (
        'pet: Annotated[Cat | Dog, Field(discriminator="kind")]',
        {"pet": {"kind": "cat", "lives": "9"}},
        "pet.lives: a whole number is needed",
    ),
    (
        "schema: Folder, copy: Optional[bool] = None",
        {"schema": {"name": "a", "inner": [{"name": 1}]}},
        "schema.inner[0].name: a text is needed",
    ),
]


def file_of(signatures: list[str]) -> str:
    """Return the text of a tool file with a function for each signature."""
    return TYPES + "".join(
        f'\n\ndef tool_{count}({one}) -> str:\n    """Do it."""\n    return "done"\n' for count, one in enumerate(signatures)
    )


def untitled(schema: Any, *, named: bool = False) -> Any:
    """Return a schema without the titles that pydantic generates. `named`: its keys are names of properties or definitions."""
    if isinstance(schema, list):
        return [untitled(one) for one in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    known = cast("dict[str, Any]", schema)
    return {key: untitled(one, named=key in ("properties", "$defs")) for key, one in known.items() if named or key != "title"}


def model_of(signature: str) -> type[BaseModel]:
    """Return the pydantic model with the parameters of this signature as its fields."""
    space: dict[str, Any] = {"__name__": __name__}
    exec(TYPES, space)  # noqa: S102 - this file's own text
    space["ConfigDict"] = ConfigDict
    body = "\n    ".join(split(signature))
    exec(f'class Model(BaseModel):\n    model_config = ConfigDict(extra="forbid", protected_namespaces=())\n    {body}\n', space)  # noqa: S102
    space["Model"].model_rebuild(_types_namespace=space)
    return space["Model"]


def split(signature: str) -> list[str]:
    """Return the parameters of a signature as separate texts."""
    found: list[str] = []
    depth = start = 0
    for at, letter in enumerate(signature):
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and depth == 0:
            found.append(signature[start:at].strip())
            start = at + 1
    return [*found, signature[start:].strip()]


SIGNATURES = [signature for signature, _, _ in CASES]
TOOLS = load("twenty", file_of(SIGNATURES), Path("tools/twenty.py"), "twenty").tools


@pytest.mark.filterwarnings("ignore:Field name .* shadows an attribute:UserWarning")
@pytest.mark.parametrize("count", range(len(CASES)), ids=SIGNATURES)
def test_tool_schema_equals_that_of_the_pydantic_model_without_titles(count: int) -> None:
    """The parameter schema of a tool equals that of a pydantic model with the same fields, without generated titles."""
    assert TOOLS[count].spec.parameters == untitled(model_of(SIGNATURES[count]).model_json_schema())


@pytest.mark.parametrize("count", range(len(CASES)), ids=SIGNATURES)
async def test_wrong_tool_argument_gives_an_error_with_its_path_and_the_expected_type(count: int) -> None:
    """A tool call with a wrong argument returns an error result that names the argument's path and what is needed there."""
    said, is_error = await Toolbox(TOOLS, 5).run(f"tool_{count}", CASES[count][1])
    assert is_error
    assert isinstance(said, str)
    assert said.startswith(f"Invalid arguments: {CASES[count][2]}")
    assert len(said) < 2_000


async def test_error_about_wrong_tool_arguments_is_shorter_than_2000_characters() -> None:
    """The error about thousands of wrong arguments, or about very long names, is shorter than 2,000 characters."""
    box = Toolbox(TOOLS, 5)
    for given in ({"counts": {str(one): "x" for one in range(3_000)}}, {"counts": {"k" * 60_000: "x"}}, {"x" * 60_000: 1}):
        said, is_error = await box.run("tool_14", given)
        assert is_error
        assert len(str(said)) < 2_000


STYLES = {
    "Google": "Args:\n    city (str): the city,\n        e.g. Rome\n    days: how many\n\nReturns:\n    The weather.",
    "NumPy": "Parameters\n----------\ncity : str\n    the city,\n    e.g. Rome\ndays : int\n    how many\n\nReturns:\n    The weather.",
    "reST": ":param city: the city,\n    e.g. Rome\n:type city: str\n:param int days: how many\n\nReturns:\n    The weather.",
    "plain": "city: the city, e.g. Rome\ndays: how many\n\nReturns:\n    The weather.",
}


@pytest.mark.parametrize("style", STYLES)
def test_tool_docstring_in_each_style_describes_the_parameters(style: str) -> None:
    """A docstring in Google, NumPy, reST or plain style gives each parameter its description; the rest describes the tool."""
    doc = textwrap.indent(f"Tell the weather.\n\n{STYLES[style]}\n", "    ")
    code = f'def tell(city: str, days: int = 1) -> str:\n    """{doc.lstrip()}    """\n    return city\n'
    (tool,) = load("mine", code, Path("tools/mine.py"), "test").tools
    shown = cast("dict[str, dict[str, Any]]", tool.spec.parameters["properties"])
    assert {name: one["description"] for name, one in shown.items()} == {"city": "the city, e.g. Rome", "days": "how many"}
    assert tool.spec.description == "Tell the weather.\n\nReturns:\n    The weather."


@pytest.mark.parametrize(
    "written",
    ["bytes", "complex", "int | bytes", "type[int]", "__import__('socket').socket", "__import__('collections').abc.Iterable[int]"],
)
def test_tool_parameter_of_a_type_without_a_json_form_is_refused_with_its_place(written: str) -> None:
    """A tool file with a parameter whose type JSON does not have raises `Misfit` with the line and column of that parameter."""
    with pytest.raises(Misfit, match="is not a type that JSON has") as caught:
        load(
            "mine",
            f'def find(\n    text: str,\n    what: {written},\n) -> str:\n    """Find."""\n    return text\n',
            Path("tools/mine.py"),
            "test",
        )
    assert caught.value.place is not None
    assert (caught.value.place.line, caught.value.place.column) == (3, 5)


async def test_async_generator_tool_reports_each_value_and_returns_the_last() -> None:
    """A tool that is an async generator reports each value that it yields, and its last value is the result."""
    code = 'async def count(most: int):\n    """Count."""\n    for one in range(most):\n        yield {"done": one}\n'
    (tool,) = load("mine", code, Path("tools/mine.py"), "test").tools
    reported: list[object] = []

    async def report(value: object, part: str) -> None:
        assert not part
        reported.append(value)

    assert await Toolbox([tool], 5).run("count", {"most": 3}, report) == ({"done": 2}, False)
    assert reported == [{"done": 0}, {"done": 1}, {"done": 2}]
