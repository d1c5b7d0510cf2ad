"""The JSON schema of routes.yaml has the same defaults and number ranges as the declaration classes."""

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
    """Return name in the schema → each mapping with fixed keys that a shape contains, itself included."""
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
    """Return the value that a plain YAML scalar has for a shape (UNFIT if it has none), and the complaints about it."""
    complaints = Complaints({})
    value = bind(Written(Place("f", 1, 1), text, plain=True, source=text), shape, complaints, "`key`")
    return value, [one.message for one in complaints.found]


def scalars(shape: Shape) -> Iterator[Plain]:
    """Yield the plain scalars among the options of a shape."""
    for option in shape.options if isinstance(shape, Either) else (shape,):
        if isinstance(option, Plain):
            yield option


@pytest.mark.parametrize("key", FIELDS)
def test_schema_default_of_a_key_equals_that_of_the_declaration(key: str) -> None:
    """The schema has the declaration's default of each key whose default fits on a line, unless routes inherit it from `defaults`."""
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
        assert not complaints.found


def _is_shown(item: Field) -> bool:
    """Return whether a default fits on one line: it is neither None nor a mapping with defaults of its own."""
    spelled = isinstance(item.shape, Spelled) and item.shape.write is not None
    return item.default is not None and (spelled or isinstance(item.default, str | int | float | tuple | dict))


BOUNDED = {key: scalar for key, (_, item) in FIELDS.items() for scalar in scalars(item.shape) if scalar.bounds is not None}


@pytest.mark.parametrize("key", BOUNDED)
def test_schema_range_of_a_number_equals_that_of_the_declaration(key: str) -> None:
    """Both ends of a number's range in the schema are accepted, and a number beyond an end gives a complaint that names this end."""
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


def test_declaration_keeps_the_documented_number_ranges() -> None:
    """The numeric keys with a documented range, such as `retry.attempts`, have a range in their declaration."""
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
