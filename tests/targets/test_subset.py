"""Narrowing of a JSON schema to a provider's subset: values of the narrowed schema are valid for the client's."""

import json
import random
from typing import Any

import jsonschema
import pytest

from router.targets.subset import CLAUDE, GEMINI, GUIDED, OPENAI, STRICT, Subset, narrowed
from tests.answering.test_structured import strict_fault
from tests.support.schemas import instance, schema_of

STRING: dict[str, Any] = {"type": "string"}


def of(**properties: Any) -> dict[str, Any]:
    """Return a closed object schema with these properties, all of them required."""
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


@pytest.mark.parametrize("subset", [OPENAI, STRICT, GUIDED, CLAUDE, GEMINI])
def test_value_of_a_narrowed_schema_is_valid_for_the_clients(subset: Subset) -> None:
    """Random values of a narrowed schema are valid for the client's schema, and OpenAI's rules accept the schema narrowed for it."""
    said = 0
    for seed in range(200):
        chance = random.Random(seed)
        schema = schema_of(chance)
        if (made := narrowed(schema, subset)) is None:
            continue
        said += 1
        assert subset is not OPENAI or strict_fault(made) == ""
        for _ in range(5):
            jsonschema.validate(instance(made, chance), schema)
    assert said >= 15


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        ({"type": "object", "properties": {"a": STRING}, "required": ["a"]}, of(a=STRING)),
        (of(a={"const": "x", "default": "x", "examples": ["x"]}), of(a={"type": "string", "enum": ["x"]})),
        (of(a={"enum": ["x", None]}), of(a={"type": ["string", "null"], "enum": ["x", None]})),
        (of(a={"type": "string", "format": "email", "title": "Mail"}), of(a={"type": "string", "format": "email", "title": "Mail"})),
        (of(a={"type": "string", "format": "colour"}), of(a=STRING)),
        (
            of(a={"type": ["object", "null"], **{k: v for k, v in of(b=STRING).items() if k != "type"}}),
            of(a={"anyOf": [of(b=STRING), {"type": "null"}]}),
        ),
        (
            of(a={"oneOf": [of(kind={"const": "x"}), of(kind={"const": "y"})]}),
            of(a={"anyOf": [of(kind={"type": "string", "enum": ["x"]}), of(kind={"type": "string", "enum": ["y"]})]}),
        ),
        (
            {
                **of(a={"$ref": "#/definitions/b"}),
                "definitions": {"b": of(next={"anyOf": [{"$ref": "#/definitions/b"}, {"type": "null"}]})},
            },
            {**of(a={"$ref": "#/$defs/b"}), "$defs": {"b": of(next={"anyOf": [{"$ref": "#/$defs/b"}, {"type": "null"}]})}},
        ),
    ],
)
def test_schema_is_narrowed_for_openai(schema: dict[str, Any], made: dict[str, Any]) -> None:
    """For OpenAI, unsupported annotations go, constants become enums, `oneOf` becomes `anyOf`, and open objects are closed."""
    assert narrowed(schema, OPENAI) == made


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": STRING},
        {"anyOf": [of(a=STRING), of(b=STRING)]},
        {"type": "object"},
        {"type": "object", "properties": {"a": STRING}},
        {**of(a=STRING), "additionalProperties": STRING},
        {**of(a=STRING), "minProperties": 1},
        {**of(a=STRING), "allOf": [{"required": ["b"]}]},
        of(a={}),
        of(a={"type": "string", "minLength": 1}),
        of(a={"type": "string", "pattern": "(?=x)"}),
        of(a={"type": "array"}),
        of(a={"type": "array", "items": STRING, "uniqueItems": True}),
        of(a={"oneOf": [STRING, {"type": "integer"}]}),
        of(a={"$ref": "#/properties/b"}, b=STRING),
        of(a={"enum": [{"x": 1}]}),
        of(a={"not": {"type": "null"}}),
    ],
)
def test_schema_beyond_openais_subset_is_not_narrowed(schema: dict[str, Any]) -> None:
    """A schema that OpenAI cannot enforce, such as a constraint, an open object or an array as root, is not narrowed (None)."""
    assert narrowed(schema, OPENAI) is None


def test_providers_differ_in_optional_bounded_and_recursive_schemas() -> None:
    """Each of five schema subsets takes an optional property, a bound or recursion as the table says, and else gives None."""
    optional = {"type": "object", "properties": {"a": STRING, "b": STRING}, "required": ["a"]}
    bounded = of(a={"type": "integer", "minimum": 1})
    recursive = {**of(a={"$ref": "#/$defs/b"}), "$defs": {"b": {"type": "object", "properties": {"b": {"$ref": "#/$defs/b"}}}}}
    takes = {
        name: [narrowed(one, subset) is not None for one in (optional, bounded, recursive)]
        for name, subset in {"openai": OPENAI, "strict": STRICT, "guided": GUIDED, "claude": CLAUDE, "gemini": GEMINI}.items()
    }
    assert takes == {
        "openai": [False, True, False],
        "strict": [False, False, False],
        "guided": [True, False, True],
        "claude": [True, False, False],
        "gemini": [True, True, False],
    }


def test_deep_or_wide_references_are_narrowed_within_bounds() -> None:
    """A chain of 600 references is not narrowed (None); a schema with 2^40 reference paths gives None or less than 20,000 characters."""
    chain = {f"d{at}": of(a={"$ref": f"#/$defs/d{at + 1}"}) for at in range(600)}
    assert narrowed({**of(a={"$ref": "#/$defs/d0"}), "$defs": {**chain, "d600": STRING}}, GUIDED) is None
    steps = {f"d{at}": of(a={"$ref": f"#/$defs/d{at + 1}"}, b={"$ref": f"#/$defs/d{at + 1}"}) for at in range(40)}
    schema = {**of(a={"$ref": "#/$defs/d0"}), "$defs": {**steps, "d40": STRING}}
    made = narrowed(schema, GUIDED)
    assert made is None or len(json.dumps(made)) < 20_000
