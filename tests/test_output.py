"""Structured output: JSON is found in an answer's text and checked against its schema within bounds."""

import json
import random
from typing import Any

import jsonschema
import pytest

from router import output
from router.chat import OutputFormat
from router.errors import Misfit
from router.output import CheckBounds, admitted, check, checked, compiled
from tests.support.schemas import instance, schema_of, spoiled

A: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', '{"a": 1}'),
        (' \n{"a": 1}\n', '{"a": 1}'),
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('```\n{"a": 1}\n```\nThat is all.', '{"a": 1}'),
        ('```{"a": 1}```', '{"a": 1}'),
        ('Here you are: {"a": 1}. Anything else?', '{"a": 1}'),
        ('<think>Perhaps {"a": "x"}?</think>{"a": 1}', '{"a": 1}'),
        ('Not {"b": 1, "c": 2}, but {"a": 1}', '{"a": 1}'),
        ('{"a": 1} and once more {"a": 1, "longer": true}', '{"a": 1}'),
    ],
)
def test_json_is_extracted_from_surrounding_text(text: str, found: str) -> None:
    """The JSON value that fits the schema is extracted unchanged from an answer with code fences, other words or earlier drafts."""
    made = check(text, OutputFormat(A))
    assert (made.text, made.wrong) == (found, ())


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", ("json",)),
        ("I cannot.", ("json",)),
        ('{"a": 1', ("json",)),
        ('{"a": NaN}', ("json",)),
        ('{"a": 1e999}', ("json",)),
        ('{"a": "1"}', ("type",)),
        ("{}", ("required",)),
        ('{"a": 1, "b": 2}', ("additionalProperties",)),
        ('[{"a": 1}]', ("type",)),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", ("bounds",)),
        ('{"a": ' + "[" * 100_000, ("json",)),
    ],
)
def test_mistake_in_an_output_names_the_violated_keyword(text: str, rules: tuple[str, ...]) -> None:
    """Each mistake in an output is reported by the violated keyword and by a sentence that begins with its JSON path."""
    made = check(text, OutputFormat(A))
    assert made.rules == rules
    assert all(one.startswith("$") for one in made.wrong)


@pytest.mark.parametrize("seed", range(200))
def test_output_check_agrees_with_jsonschema(seed: int) -> None:
    """The check accepts and refuses valid and spoiled values of 200 random schemas exactly as the jsonschema library does."""
    chance = random.Random(seed)
    schema = schema_of(chance)
    for value in (instance(schema, chance), spoiled(instance(schema, chance), chance)):
        right = jsonschema.Draft202012Validator(schema).is_valid(value)  # pyright: ignore[reportUnknownMemberType]
        assert (not check(json.dumps(value), OutputFormat(schema)).wrong) == right


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        ({"type": "array", "uniqueItems": True}, {"[1, 2]": True, "[1, 1.0]": False, "[1, true]": True, '[{"a": 1}, {"a": 1.0}]': False}),
        (
            {"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False},
            {'{"xa": 1}': True, '{"xa": "1"}': False, '{"y": 1}': False},
        ),
        ({"patternProperties": {"^x": True}, "additionalProperties": {"type": "null"}}, {'{"xa": 1, "y": null}': True, '{"y": 1}': False}),
        ({"type": "string", "pattern": "^a+$"}, {'"aaa"': True, '"ab"': False}),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "null"}]}, {"[null]": True, "[1]": False}),
        ({"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"type": "null"}}}, {"null": True, "1": False}),
        ({"$ref": "#here", "$defs": {"a": {"$anchor": "here", "type": "null"}}}, {"null": True, "1": False}),
    ],
)
def test_reimplemented_json_schema_keywords_follow_the_standard(schema: dict[str, Any], values: dict[str, bool]) -> None:
    """The keywords that the router implements itself (patterns, references, `uniqueItems`) accept and refuse values as JSON Schema says."""
    assert {text: not check(text, OutputFormat(schema)).wrong for text in values} == values


def _multiplying(levels: int) -> dict[str, Any]:
    steps: dict[str, Any] = {f"d{at}": {"allOf": [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**steps, f"d{levels}": {"type": "string"}}}


def _nested(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        made = {"properties": {"a": made}}
    return made


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "http://169.254.169.254/latest"}, "$ref: only what stands in the schema itself (`#/…`) is looked up"),
        ({"$ref": "file:///etc/passwd"}, "$ref: only what stands in the schema itself (`#/…`) is looked up"),
        ({"properties": {"a": {"$dynamicRef": "//other/#a"}}}, "$dynamicRef: only what stands in the schema itself (`#/…`) is looked up"),
        ({"$ref": "#/$defs/none"}, "$ref: there is no `#/$defs/none` in the schema"),
        ({"$defs": {"a": {"$id": "http://other/", "$ref": "#"}}}, "$id: a schema within the schema has none here"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
            "the schema refers to itself without end, or multiplies what it refers to",
        ),
        (_multiplying(30), "the schema refers to itself without end, or multiplies what it refers to"),
        (_nested(40), "a schema is nested 64 levels deep at most"),
        ({"enum": list(range(3_000))}, "a schema has 2,000 values at most"),
        ({"title": "x" * 70_000}, "a schema has 64 KiB at most"),
        ({"pattern": "("}, "pattern: `(` is no regular expression"),
        ({"pattern": "a" * 1_001}, "pattern: 1,000 characters at most"),
        ({"type": "wish"}, "this is no JSON schema: at $.type"),
        ({"properties": []}, "this is no JSON schema: at $.properties"),
        ({"patternProperties": {"a": True}, "unevaluatedProperties": False}, "patternProperties beside unevaluatedProperties"),
    ],
)
async def test_hostile_schema_is_refused_before_it_is_used(schema: dict[str, Any], said: str) -> None:
    """A schema with outside references, endless references, too many values or too much nesting is refused with its reason."""
    with pytest.raises(Misfit) as refused:
        await admitted(schema)
    assert refused.value.message.startswith(said)


def test_property_or_constant_named_ref_is_not_followed() -> None:
    """A property named `$ref`, and a constant that contains one, are not treated as references."""
    schema: dict[str, Any] = {"properties": {"$ref": {"type": "string"}}, "const": {"$ref": "http://other/"}}
    assert check('{"$ref": "http://other/"}', OutputFormat(schema)).wrong == ()


@pytest.mark.parametrize("pattern", ["(a|aa)+$", "(a*)*b", "^(([a-z])+.)+[A-Z]([a-z])+$"])
async def test_catastrophic_regular_expression_is_stopped(pattern: str) -> None:
    """A regular expression that takes exponential time is stopped after its time limit, and the answer is reported as invalid."""
    schema = OutputFormat({"type": "string", "pattern": pattern})
    made = await checked(json.dumps("a" * 5_000 + "!"), schema, CheckBounds(pattern_seconds=0.05))
    assert made.rules in (("bounds",), ("pattern",))


async def test_output_check_is_stopped_after_its_bound_of_keywords() -> None:
    """The check of a large answer under a multiplying schema is stopped after 10,000 evaluated keywords, and the answer is invalid."""
    schema = {"type": "array", "items": {"anyOf": [*[{"minLength": 9}] * 20, {"type": "string"}]}}
    made = await checked(json.dumps(["short"] * 5_000), OutputFormat(schema), CheckBounds(keywords=10_000))
    assert made.rules == ("bounds",)


async def test_output_format_without_a_schema_accepts_any_object() -> None:
    """An output format without a schema (`json_object`) accepts any JSON object and no other JSON value."""
    assert (await checked('{"anything": [1]}', OutputFormat())).wrong == ()
    assert (await checked("[1]", OutputFormat())).rules == ("type",)


async def test_answer_beyond_the_character_bound_is_refused_unread() -> None:
    """An answer with more characters than the bound is reported as invalid because of its length alone."""
    assert (await checked('{"a": 1234567}', OutputFormat(A), CheckBounds(characters=10))).rules == ("bounds",)


async def test_large_answer_is_checked_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large answer, or one checked with regular expressions, is checked in a thread; a small one on the event loop."""
    taken: list[str] = []

    async def take(work: Any, name: str) -> Any:
        taken.append(name)
        return work()

    monkeypatch.setattr(output._turns, "take", take)
    await checked('{"a": 1}', OutputFormat(A))
    await checked('"x"', OutputFormat({"pattern": "x"}))
    await checked(json.dumps(["x" * 20_000]), OutputFormat({"type": "array"}))
    assert taken == ["output", "output"]


def test_equal_schemas_are_compiled_once() -> None:
    """A schema that equals an earlier one, as another object, gets the same compiled schema."""
    assert compiled(A) is compiled(json.loads(json.dumps(A)))
