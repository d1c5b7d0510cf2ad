"""Typed functions and value types as JSON shapes: their schema, their documentation, and the check of values against them."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Optional, cast

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.bounds import Bounds
from router.config.values import Seconds
from router.errors import Misfit
from router.signature import (
    Anything,
    Either,
    ListOf,
    MapOf,
    OneOf,
    Plain,
    Record,
    Shape,
    Spelled,
    arguments,
    check,
    documentation,
    record_of,
    schema,
    shape_of,
)
from router.value import Value, field, fields

STRING, INTEGER, NUMBER, BOOLEAN, NULL = (
    Plain("string"),
    Plain("integer"),
    Plain("number"),
    Plain("boolean"),
    Plain("null"),
)
SHAPES: list[tuple[object, Shape]] = [
    (str, STRING),
    (int, INTEGER),
    (float, NUMBER),
    (bool, BOOLEAN),
    (None.__class__, NULL),
    (Any, Anything()),
    (object, Anything()),
    (list, ListOf(Anything())),
    (dict, MapOf(Anything())),
    (list[int], ListOf(INTEGER)),
    (tuple[str, ...], ListOf(STRING)),
    (Sequence[bool], ListOf(BOOLEAN)),
    (dict[str, float], MapOf(NUMBER)),
    (Mapping[str, list[int]], MapOf(ListOf(INTEGER))),
    (Literal["a", "b"], OneOf(("a", "b"))),
    (int | None, Either((INTEGER, NULL))),
    (Optional[str], Either((STRING, NULL))),  # noqa: UP045 - written so in older code
    (int | list[int], Either((INTEGER, ListOf(INTEGER)))),
    (Annotated[int, "a note"], INTEGER),
]


@pytest.mark.parametrize(("annotation", "shape"), SHAPES)
def test_annotation_becomes_its_shape(annotation: object, shape: Shape) -> None:
    """A type annotation that JSON can express becomes the corresponding shape."""
    assert shape_of(annotation) == shape


def test_annotated_duration_becomes_a_spelled_shape() -> None:
    """The annotated type `Seconds` becomes the shape `Spelled` with the name "duration", not that of its base type."""
    shape = shape_of(Seconds)
    assert isinstance(shape, Spelled)
    assert shape.name == "duration"


@pytest.mark.parametrize("annotation", [bytes, complex, Callable, Literal[1, 2], tuple[()], "int", type, ...])
def test_annotation_without_a_json_form_raises_typeerror(annotation: object) -> None:
    """A type that JSON cannot express, such as bytes, raises TypeError."""
    with pytest.raises(TypeError, match="is not a type that JSON has"):
        shape_of(annotation)


class Place(Value, frozen=True):
    """A place on a map.

    city: its name
    """

    city: str
    country: str = "CN"


class Trip(Value, frozen=True, kw_only=True):
    """A way through places.

    stops: in order
    """

    stops: list[Place]
    notes: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if not self.stops:
            raise Misfit("a trip has at least one stop", "stops")


def plan(
    trip: Trip,
    days: int = 1,
    pace: Literal["slow", "fast"] = "slow",
    budget: float | None = None,
    tags: Sequence[str] = (),
) -> str:
    """Plan a trip.

    It takes the weather into account.

    days: how many
    budget: in euros: no cents
    weather: this is no parameter
    """
    return f"{trip} {days} {pace} {budget} {tags}"


PLACE: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "its name"}, "country": {"type": "string"}},
    "additionalProperties": False,
    "required": ["city"],
}
PLAN: dict[str, object] = {
    "type": "object",
    "properties": {
        "trip": {
            "type": "object",
            "properties": {
                "stops": {"type": "array", "items": PLACE, "description": "in order"},
                "notes": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "additionalProperties": False,
            "required": ["stops"],
        },
        "days": {"type": "integer", "description": "how many"},
        "pace": {"type": "string", "enum": ["slow", "fast"]},
        "budget": {"type": ["number", "null"], "description": "in euros: no cents"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
    "required": ["trip"],
}


def test_schema_of_a_function_is_inline_with_parameter_descriptions() -> None:
    """The JSON schema of a function has value types inline, parameter descriptions from docstrings, and no additional properties."""
    made = schema(record_of(plan))
    assert made == PLAN
    jsonschema.Draft202012Validator.check_schema(made)


def test_schema_with_definitions_has_each_value_type_once() -> None:
    """A schema made with definitions refers to each value type by `$ref`, with descriptions and defaults, and without null types."""
    definitions: dict[str, object] = {}
    assert schema(record_of(plan), definitions) == {"$ref": "#/$defs/plan"}
    assert set(definitions) == {"plan", "Trip", "Place"}
    properties = {**cast("dict[str, Any]", PLACE["properties"]), "country": {"type": "string", "default": "CN"}}
    assert definitions["Place"] == {**PLACE, "properties": properties, "description": "A place on a map."}
    told = json.loads(json.dumps(definitions["plan"]))
    assert told["properties"]["trip"] == {"$ref": "#/$defs/Trip"}
    assert told["properties"]["budget"] == {"type": "number", "description": "in euros: no cents"}


ALTERNATIVES: list[tuple[object, dict[str, object]]] = [
    (int | str, {"type": ["integer", "string"]}),
    (int | None, {"type": ["integer", "null"]}),
    (Literal["a"] | None, {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]}),
    (list[int] | int, {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "integer"}]}),
    (object, {}),
    (dict[str, Any], {"type": "object"}),
]


@pytest.mark.parametrize(("annotation", "expected"), ALTERNATIVES)
def test_schema_of_a_union_is_a_list_of_types_or_anyof(annotation: object, expected: dict[str, object]) -> None:
    """A union of plain types becomes a list of types in the schema; any other union becomes `anyOf`."""
    assert schema(shape_of(annotation)) == expected


def test_docstring_line_that_starts_with_a_parameter_name_documents_it() -> None:
    """A docstring line `name: text` describes the parameter of that name; lines for other names belong to the function's description."""
    said, docs = documentation(plan)
    assert said == "Plan a trip.\n\nIt takes the weather into account.\n\nweather: this is no parameter"
    assert docs == {"days": "how many", "budget": "in euros: no cents"}


def test_function_without_a_docstring_has_no_description() -> None:
    """A function without a docstring has an empty description and no parameter descriptions."""

    def silent(a: int) -> int:
        return a

    assert documentation(silent) == ("", {})


def test_record_fields_have_their_defaults_or_are_required() -> None:
    """The fields of a function or value type have their default values; a field without one is required."""
    fields = {item.name: (item.required, item.default) for item in record_of(plan).fields}
    assert fields == {"trip": (True, None), "days": (False, 1), "pace": (False, "slow"), "budget": (False, None), "tags": (False, ())}
    assert {item.name: (item.required, item.default) for item in record_of(Trip).fields} == {"stops": (True, None), "notes": (False, {})}


def test_annotations_of_a_value_type_are_evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """`record_of` evaluates the annotations of a value type once: that takes 0.1 ms for each of 35 types at a start."""
    evaluated: list[str] = []

    def counted(kind: type[Value]) -> object:
        evaluated.append(kind.__name__)
        return fields(kind)

    class Stop(Value, frozen=True):
        """A stop.

        city: its name
        """

        city: str

    monkeypatch.setattr("router.signature.fields", counted)
    assert [(one.name, one.doc) for one in record_of(Stop).fields] == [("city", "its name")]
    assert evaluated == ["Stop"]


def test_keyword_only_parameters_of_a_function_are_not_fields() -> None:
    """The keyword-only parameters of a function are not among its fields; those of a value type are."""

    def step(keep: int, *, templates: dict[str, str]) -> int:
        return keep + len(templates)

    assert [item.name for item in record_of(step).fields] == ["keep"]
    assert record_of(step).named.get("templates") is None
    assert [item.name for item in record_of(Trip).fields] == ["stops", "notes"]


def test_untyped_or_variadic_parameter_raises_typeerror() -> None:
    """A parameter without an annotation, `*args` or `**kwargs` raises a TypeError that names the function."""

    def untyped(a) -> int:  # type: ignore[no-untyped-def]  # noqa: ANN001  # pyright: ignore[reportUnknownParameterType, reportMissingParameterType]
        return a  # pyright: ignore[reportUnknownVariableType]

    def many(*words: str) -> int:
        return len(words)

    def named(**words: str) -> int:
        return len(words)

    with pytest.raises(TypeError, match="parameter a of untyped has no type annotation"):
        record_of(untyped)  # pyright: ignore[reportUnknownArgumentType]
    for function in (many, named):
        with pytest.raises(TypeError, match=f"{function.__name__} takes \\*words: name each parameter"):
            record_of(function)


FITS: list[tuple[object, object, object]] = [
    (str, "5", "5"),
    (int, 5, 5),
    (int, -(10**18), -(10**18)),
    (float, 5, 5.0),
    (float, 0.5, 0.5),
    (bool, True, True),
    (bool, False, False),
    (int | None, None, None),
    (int | str, "5", "5"),
    (Literal["a", "b"], "b", "b"),
    (list[int], [], []),
    (list[int], [1, 2], [1, 2]),
    (list[list[int]], [[1], []], [[1], []]),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (dict[str, Any], {"a": [None, {}]}, {"a": [None, {}]}),
    (object, [1, "a", None], [1, "a", None]),
    (Place, {"city": "北京"}, Place("北京")),
    (list[Place] | Place, {"city": "A", "country": "B"}, Place("A", "B")),
    (Trip, {"stops": [{"city": "A"}]}, Trip(stops=[Place("A")])),
    (Seconds, "250ms", 0.25),
]


@pytest.mark.parametrize(("annotation", "value", "expected"), FITS)
def test_valid_value_is_converted_to_its_annotated_type(annotation: object, value: object, expected: object) -> None:
    """A JSON value that fits an annotation becomes a value of exactly that type, such as a value type or a float."""
    made = check(shape_of(annotation), value)
    assert made == expected
    assert type(made) is type(expected)


MISFITS: list[tuple[object, object, str]] = [
    (str, 5, "a text is needed"),
    (str, None, "a text is needed"),
    (int, True, "a whole number is needed"),
    (int, "5", "a whole number is needed"),
    (int, 5.0, "a whole number is needed"),
    (float, False, "a number is needed"),
    (float, "0.5", "a number is needed"),
    (float, float("nan"), "a finite number is needed"),
    (float, float("inf"), "a finite number is needed"),
    (float, float("-inf"), "a finite number is needed"),
    (float, 10**400, "a finite number is needed"),
    (bool, 1, "true or false is needed"),
    (bool, "true", "true or false is needed"),
    (None.__class__, 0, "null is needed"),
    (Literal["a", "b"], "c", "one of a, b is needed"),
    (Literal["a", "b"], ["a"], "one of a, b is needed"),
    (list[int], "12", "a list is needed"),
    (list[int], {"0": 1}, "a list is needed"),
    (list[int], [1, "2"], "[1]: a whole number is needed"),
    (dict[str, int], [], "an object is needed"),
    (dict[str, int], {"a": "1"}, "a: a whole number is needed"),
    (Seconds, 3, "a duration such as 10s is needed"),
    (int | None, "5", "a whole number is needed"),
    (Place, "北京", "an object is needed"),
    (Place, {}, "city: it is needed but missing"),
    (Place, {"city": "A", "zip": 1}, "zip: there is no such parameter"),
    (Place, {"city": "A", "country": None}, "country: a text is needed"),
    (Trip, {"stops": []}, "a trip has at least one stop"),
    (Trip, {"stops": [{"city": "A"}, {"city": 5}]}, "stops[1].city: a text is needed"),
    (Trip, {"stops": [{"city": "A"}], "notes": {"b": 1}}, "notes.b: a text is needed"),
    (int | list[Place], [{"city": 5}], "[0].city: a text is needed"),
]


@pytest.mark.parametrize(("annotation", "value", "told"), MISFITS)
def test_invalid_value_raises_misfit_with_its_path_and_the_expected_type(annotation: object, value: object, told: str) -> None:
    """A JSON value of the wrong type raises `Misfit` with its path and the needed type; texts and numbers are not converted."""
    with pytest.raises(Misfit) as caught:
        check(shape_of(annotation), value)
    assert caught.value.message == told


def test_arguments_contain_only_the_given_parameters_as_typed_values() -> None:
    """The checked arguments of a function contain the parameters that were given, as typed values, and no defaults."""
    given_ = arguments(record_of(plan), {"trip": {"stops": [{"city": "A"}]}, "budget": None, "tags": ["x"]})
    assert given_ == {"trip": Trip(stops=[Place("A")]), "budget": None, "tags": ["x"]}
    assert plan(**given_).endswith(" 1 slow None ['x']")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("value", [None, [], "a", 5])
def test_arguments_that_are_not_a_json_object_raise_misfit(value: object) -> None:
    """Arguments that are null, a list, a text or a number raise `Misfit`."""
    with pytest.raises(Misfit, match="an object is needed"):
        arguments(record_of(plan), value)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["city", "country", "stops", "a"]), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([annotation for annotation, _ in SHAPES] + [Place, Trip, list[Place] | int]), JSON)
def test_value_that_passes_the_check_is_valid_by_the_json_schema(annotation: object, value: Any) -> None:
    """An arbitrary JSON value that passes the check of a shape is valid by that shape's JSON schema."""
    shape = shape_of(annotation)
    validator: Any = jsonschema.Draft202012Validator(schema(shape))
    valid = validator.is_valid(value)
    try:
        check(shape, value)
    except Misfit:
        return
    assert valid


def test_record_finds_a_field_by_its_name() -> None:
    """`Record.named` has each field, with shape, description and `required`, under its name, and nothing under another name."""
    record = record_of(Place)
    assert isinstance(record, Record)
    found = record.named.get("city")
    assert found is not None
    assert (found.shape, found.doc, found.required) == (STRING, "its name", True)
    assert record.named.get("town") is None


def test_bounds_of_a_parameter_are_in_the_schema_and_checked() -> None:
    """The bounds in a parameter's annotation are in its JSON schema, and a number beyond them raises `Misfit`."""

    def brew(cups: Annotated[int, Bounds(1, 12)], heat: Annotated[float, Bounds(above=0)] | None = None) -> str:
        return f"{cups} at {heat}"

    record = record_of(brew)
    made = cast("dict[str, dict[str, Any]]", schema(record)["properties"])
    assert made["cups"] == {"type": "integer", "minimum": 1, "maximum": 12}
    assert made["heat"]["anyOf"][0] == {"type": "number", "exclusiveMinimum": 0}
    assert check(record, {"cups": 12, "heat": 0.5}) == "12 at 0.5"
    for given_arguments, told in (({"cups": 13}, "cups must be from 1 to 12"), ({"cups": 1, "heat": 0}, "heat must be above 0")):
        with pytest.raises(Misfit) as caught:
            check(record, given_arguments)
        assert caught.value.message == told
