"""The JSON schema of routes.yaml says of each key what the declaration does: its default, and the range of a number."""

from collections.abc import Iterator
from typing import Any, cast

import pytest

from router.config.binding import bind
from router.config.complaints import Complaints
from router.config.declaration import Defaults, Route, RoutesFile
from router.config.document import Scalar as Written
from router.config.document import parse
from router.config.scalars import UNFIT
from router.config.schema import routes_schema
from router.errors import Place
from router.signature import Either, Field, ListOf, MapOf, Plain, Record, Shape, Spelled, record_of


def records(shape: Shape, seen: dict[str, Record]) -> dict[str, Record]:
    """Every mapping with known keys, by its name in the schema."""
    match shape:
        case Record():
            if shape.name not in seen:
                seen[shape.name] = shape
                for item in shape.fields:
                    records(item.shape, seen)
        case ListOf(item) | MapOf(item):
            records(item, seen)
        case Either(options):
            for option in options:
                records(option, seen)
        case _:
            pass
    return seen


DEFINITIONS = cast("dict[str, dict[str, dict[str, dict[str, Any]]]]", routes_schema()["$defs"])
FIELDS = {f"{name}.{item.name}": (name, item) for name, record in records(record_of(RoutesFile), {}).items() for item in record.fields}
INHERITED = {f"{record_of(Route).name}.{item.name}" for item in record_of(Defaults).fields}


def bound(shape: Shape, text: str) -> tuple[object, list[str]]:
    """What a plain scalar is bound to, and the complaints about it."""
    complaints = Complaints({})
    value = bind(Written(Place("f", 1, 1), text, plain=True, source=text), shape, complaints, "`key`")
    return value, [one.message for one in complaints.found]


def scalars(shape: Shape) -> Iterator[Plain]:
    """The plain scalars among what a key takes."""
    for option in shape.options if isinstance(shape, Either) else (shape,):
        if isinstance(option, Plain):
            yield option


@pytest.mark.parametrize("key", FIELDS)
def test_a_default_of_the_schema_is_the_declarations(key: str) -> None:
    """Written into the file, it is bound to what the declaration has where nothing is written; every default is there."""
    name, item = FIELDS[key]
    shown = DEFINITIONS[name]["properties"][item.name]
    if key in INHERITED or item.required:
        assert "default" not in shown
        return
    assert ("default" in shown) == _is_shown(item)
    if "default" in shown:
        default = shown["default"]
        text = str(default).lower() if isinstance(default, bool) else str(default)
        complaints = Complaints({})
        node = parse(text, "f", complaints.add)
        assert node is not None
        assert bind(node, item.shape, complaints, "`key`") in (item.default, default)
        assert complaints.found == []


def _is_shown(item: Field) -> bool:
    """Whether a default can be written on one line: it is no mapping with defaults of its own, and no absence."""
    spelled = isinstance(item.shape, Spelled) and item.shape.write is not None
    return item.default is not None and (spelled or isinstance(item.default, str | int | float | tuple | dict))


BOUNDED = {key: scalar for key, (_, item) in FIELDS.items() for scalar in scalars(item.shape) if scalar.bounds is not None}


@pytest.mark.parametrize("key", BOUNDED)
def test_a_range_of_the_schema_is_the_declarations(key: str) -> None:
    """Its ends are taken; what is beyond them is refused with both ends in the sentence."""
    name, item = FIELDS[key]
    shown = DEFINITIONS[name]["properties"][item.name]
    step = 1 if shown["type"] == "integer" else 0.5
    least, most = shown.get("minimum"), shown.get("maximum")
    for end, beyond in ((least, -step), (most, step)):
        if end is None:
            continue
        value, complaints = bound(item.shape, f"{end}")
        assert (value, complaints) == (end, [])
        value, (complaint,) = bound(item.shape, f"{end + beyond}")
        assert value is UNFIT
        assert complaint.startswith("key must be ")
        assert str(end) in complaint
    if (above := shown.get("exclusiveMinimum")) is not None:
        assert bound(item.shape, f"{above}")[0] is UNFIT
        assert bound(item.shape, f"{above + 0.001}")[1] == []


def test_numbers_with_a_range_have_it_in_the_schema() -> None:
    """The keys whose numbers the pages bound: none has lost its range."""
    assert set(BOUNDED) >= {
        *("Retry.attempts", "BreakerConfig.failures", "Member.weight", "Route.max_steps", "Route.max_output", "Limit.concurrent"),
        *(
            "RequestBounds.messages",
            "RequestBounds.depth",
            "Server.max_streams",
            *(f"Price.{one}" for one in ("input", "output", "cached", "cache_write", "cache_write_1h", "reasoning")),
            "DrillAsk.times",
        ),
        *("Params.temperature", "Params.top_p", "Params.max_tokens", "Params.presence_penalty", "Params.frequency_penalty"),
    }
