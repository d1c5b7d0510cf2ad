"""Conversion of a tool's JSON schema for Gemini: each schema becomes one that Google accepts."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.targets.gemini_schema import MAX_DEPTH, MAX_NODES, parameters
from tests.support import google

ITEM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"], "additionalProperties": False}


def converted(schema: Any, **root: Any) -> Any:
    """Return what a property with this schema becomes."""
    made: Any = parameters({"type": "object", "properties": {"a": schema}, **root})
    return made["parameters"]["properties"]["a"]


def objections(made: Any) -> list[tuple[int, str]]:
    """Return Google's objections to a function's parameters, as (status, message)."""
    declared = {"functionDeclarations": [{"name": "f", "description": "F.", **made}]}
    body = {"contents": [{"role": "user", "parts": [{"text": "?"}]}], "tools": [declared]}
    found = google.objection({"x-goog-api-key": "k"}, "/v1beta/models/m:streamGenerateContent?alt=sse", body)
    return [found] if found else []


NAMED = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
CASES: dict[str, tuple[Any, Any]] = {
    "a plain type": ({"type": "string", "description": "A.", "minLength": 1}, {"type": "string", "description": "A.", "minLength": 1}),
    "keywords that there are not": (
        {"type": "array", "items": {"type": "integer", "multipleOf": 2}, "uniqueItems": True, "$comment": "x"},
        {"type": "array", "items": {"type": "integer"}},
    ),
    "additionalProperties": (ITEM, NAMED),
    "a map": ({"type": "object", "additionalProperties": {"type": "string"}}, {"type": "object"}),
    "a reference": ({"$ref": "#/$defs/Item"}, NAMED),
    "a reference with a description": ({"$ref": "#/$defs/Item", "description": "One."}, {**NAMED, "description": "One."}),
    "a reference to a reference": ({"$ref": "#/definitions/Alias"}, NAMED),
    "a reference to nothing": ({"$ref": "#/$defs/Nobody"}, {"type": "object"}),
    "a reference to elsewhere": ({"$ref": "https://a.example/s"}, {"type": "object"}),
    "allOf": (
        {"allOf": [{"$ref": "#/$defs/Item"}, {"properties": {"n": {"type": "integer"}}, "required": ["n"]}]},
        {"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}, "required": ["n", "name"]},
    ),
    "a text or nothing": ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
    "nothing or a text": ({"anyOf": [{"type": "null"}, {"type": "string"}], "default": None}, {"type": "string", "nullable": True}),
    "two types": ({"type": ["string", "integer"]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
    "oneOf": (
        {"oneOf": [{"type": "string"}, {"$ref": "#/$defs/Item"}], "description": "Either."},
        {"anyOf": [{"description": "Either.", "type": "string"}, {"description": "Either.", **NAMED}]},
    ),
    "one of several objects": (
        {"type": "object", "oneOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"b": {"type": "string"}}}]},
        {
            "anyOf": [
                {"type": "object", "properties": {"a": {"type": "string"}}},
                {"type": "object", "properties": {"b": {"type": "string"}}},
            ]
        },
    ),
    "an object that has one of two": (
        {"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"type": "object", "properties": {"a": {"type": "string"}}},
    ),
    "const": ({"const": "fixed"}, {"type": "string", "enum": ["fixed"]}),
    "constants": (
        {"anyOf": [{"const": "a"}, {"const": "b"}]},
        {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "string", "enum": ["b"]}]},
    ),
    "an enum with nothing": ({"enum": ["a", None]}, {"type": "string", "enum": ["a"], "nullable": True}),
    "an enum with an empty text": ({"type": "string", "enum": ["", "a"]}, {"type": "string", "enum": ["a"]}),
    "an enum of numbers": ({"type": "integer", "enum": [1, 2]}, {"type": "integer", "description": "One of: 1, 2."}),
    "a constant flag": ({"const": True, "description": "Yes."}, {"type": "boolean", "description": "Yes. One of: true."}),
    "a format that there is": ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
    "a format that there is not": ({"type": "string", "format": "uri"}, {"type": "string"}),
    "exclusive bounds": (
        {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10},
        {"type": "integer", "minimum": 1, "maximum": 9},
    ),
    "an array of nothing said": ({"type": "array"}, {"type": "array", "items": {"type": "string"}}),
    "a tuple": (
        {"type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}]},
        {"type": "array", "items": {"type": "number"}},
    ),
    "required names that are no properties": ({**NAMED, "required": ["name", "other", "name"]}, NAMED),
    "required names without properties": ({"type": "object", "required": ["a"]}, {"type": "object"}),
    "properties without a type": ({"properties": {"a": True}}, {"type": "object", "properties": {"a": {"type": "string"}}}),
    "anything": ({}, {"type": "string"}),
    "a type that there is not": ({"type": "file"}, {"type": "string"}),
}


@pytest.mark.parametrize("name", CASES)
def test_json_schema_is_converted_for_gemini(name: str) -> None:
    """A JSON schema becomes Gemini's form: unsupported keywords go, references are inlined, and Google has no objection."""
    schema, wanted = CASES[name]
    root = {"$defs": {"Item": ITEM}, "definitions": {"Alias": {"$ref": "#/$defs/Item"}}}
    made = converted(schema, **root)
    made.pop("default", None)
    assert made == wanted
    assert objections({"parameters": {"type": "object", "properties": {"a": made}}}) == []


def test_gemini_tool_without_properties_has_no_parameters() -> None:
    """A tool whose schema has no properties is sent without `parameters`, since Google refuses an empty object."""
    empty: list[dict[str, Any]] = [
        {},
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"properties": {}, "additionalProperties": False},
    ]
    for schema in empty:
        assert parameters(schema) == {}


def test_alternative_objects_at_the_root_become_one_object() -> None:
    """A root `oneOf` becomes one object with all properties, of which those are required that each alternative requires."""
    one = {"type": "object", "properties": {"kind": {"const": "a"}, "a": {"type": "string"}}, "required": ["kind", "a"]}
    two = {"type": "object", "properties": {"kind": {"const": "b"}, "b": {"type": "string"}}, "required": ["kind"]}
    made: Any = parameters({"oneOf": [one, two]})
    assert objections(made) == []
    assert list(made["parameters"]["properties"]) == ["kind", "a", "b"]
    assert made["parameters"]["required"] == ["kind"]


def test_recursive_schema_is_cut_for_gemini() -> None:
    """A schema that refers to itself ends as a plain object at the inner reference."""
    tree: Any = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "inner": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
    }
    made = converted({"$ref": "#/$defs/Tree"}, **{"$defs": {"Tree": tree}})
    assert made["properties"]["inner"]["items"] == {"type": "object"}
    loop: Any = {"$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}}
    assert converted({"$ref": "#/$defs/A"}, **loop) == {"type": "object"}


def test_converted_gemini_schema_is_bounded_in_size_and_depth() -> None:
    """References that double at each level stop at MAX_NODES schemas, and nested arrays at MAX_DEPTH levels."""
    levels = {
        f"L{at}": {"type": "object", "properties": {side: {"$ref": f"#/$defs/L{at + 1}"} for side in "ab"}} for at in range(MAX_DEPTH - 4)
    }
    made: Any = parameters({"type": "object", "properties": {"a": {"$ref": "#/$defs/L0"}}, "$defs": levels})
    assert json.dumps(made).count('"type"') <= MAX_NODES * 3
    deep: Any = {"type": "string"}
    for _ in range(200):
        deep = {"type": "array", "items": deep}
    assert json.dumps(converted(deep)).count("items") <= MAX_DEPTH + 1
    assert objections(made) == []


LEAVES: st.SearchStrategy[Any] = st.sampled_from(
    [
        *({"type": "string"}, {"type": ["integer", "null"]}, {"const": 1}, {"const": None}, {"enum": ["a", "", 2, None]}, {}, True, 5),
        *({"type": "string", "format": "uuid"}, {"type": "number", "format": "int32", "exclusiveMinimum": 1.5}, {"$ref": "#/$defs/D"}),
        *({"type": "null"}, {"type": []}, {"enum": []}, {"$ref": "#"}, {"$ref": "#/properties/x"}, {"pattern": "a", "const": "a"}),
    ]
)


def _within(inner: Any) -> Any:
    some = st.lists(inner, max_size=3)
    properties = st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
    required = st.lists(st.sampled_from("xyzq"), max_size=3)
    kinds = st.sampled_from(["object", "array", ["object", "string"], "string", "nobody", None])
    return st.fixed_dictionaries(
        {},
        optional={
            "type": kinds,
            "properties": properties,
            "required": required,
            "items": inner,
            "prefixItems": some,
            "anyOf": some,
            "oneOf": some,
            "allOf": some,
            "additionalProperties": inner,
            "not": inner,
            "nullable": st.booleans(),
            "$ref": st.just("#/$defs/D"),
            "enum": st.lists(st.sampled_from(["a", 1, None, "", True]), max_size=3),
            "description": st.just("D."),
            "default": st.none(),
        },
    )


@given(schema=st.recursive(LEAVES, _within, max_leaves=12), shared=st.recursive(LEAVES, _within, max_leaves=6))
@example(
    schema={"anyOf": [{"anyOf": [{"type": "string"}, {"type": "integer"}], "description": "D."}, {"type": ["null", "boolean"]}]}, shared={}
)
def test_random_schema_is_accepted_by_google(schema: Any, shared: Any) -> None:
    """A random schema is converted to one that Google accepts, with the same result each time."""
    root: Any = {"type": "object", "properties": {"x": schema}, "$defs": {"D": shared}}
    made = parameters(root)
    assert objections(made) == []
    assert json.dumps(made) == json.dumps(parameters(root))
    lone: Any = {"allOf": [schema], "$defs": {"D": shared}}
    assert objections(parameters(lone)) == []
