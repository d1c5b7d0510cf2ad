"""The form of an answer: JSON found in a text, and checked within bounds."""

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
def test_json_is_taken_out_of_what_stands_around_it(text: str, found: str) -> None:
    """Fences, words before and after it, and drafts that are not of the schema go; the JSON stays as it was written."""
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
def test_mistake_in_an_output_is_named_by_its_rule(text: str, rules: tuple[str, ...]) -> None:
    """Each mistake has the keyword that it breaks, and a sentence with its place, which the model is told."""
    made = check(text, OutputFormat(A))
    assert made.rules == rules
    assert all(one.startswith("$") for one in made.wrong)


@pytest.mark.parametrize("seed", range(200))
def test_verdict_is_that_of_jsonschema(seed: int) -> None:
    """Right values and wrong ones of 200 schemas are judged as the library does by itself."""
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
def test_reimplemented_json_schema_keywords_judge_as_the_standard_says(schema: dict[str, Any], values: dict[str, bool]) -> None:
    """Those that run regular expressions, follow references or compare items with items are replaced or counted."""
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
    """What leaves the schema, has no end, multiplies or is too large is refused by name; the guard of the tests sees no connection."""
    with pytest.raises(Misfit) as refused:
        await admitted(schema)
    assert refused.value.message.startswith(said)


def test_names_and_data_that_look_like_references_are_none() -> None:
    """A property called `$ref`, and constants that hold one, are not followed."""
    schema: dict[str, Any] = {"properties": {"$ref": {"type": "string"}}, "const": {"$ref": "http://other/"}}
    assert check('{"$ref": "http://other/"}', OutputFormat(schema)).wrong == ()


@pytest.mark.parametrize("pattern", ["(a|aa)+$", "(a*)*b", "^(([a-z])+.)+[A-Z]([a-z])+$"])
async def test_catastrophic_pattern_is_given_up(pattern: str) -> None:
    """An expression that takes exponential time is stopped, and the answer counts as wrong: that is found out, or given up."""
    schema = OutputFormat({"type": "string", "pattern": pattern})
    made = await checked(json.dumps("a" * 5_000 + "!"), schema, CheckBounds(pattern_seconds=0.05))
    assert made.rules in (("bounds",), ("pattern",))


async def test_work_of_one_check_is_bounded() -> None:
    """A large answer under a schema that multiplies is given up after so many keywords."""
    schema = {"type": "array", "items": {"anyOf": [*[{"minLength": 9}] * 20, {"type": "string"}]}}
    made = await checked(json.dumps(["short"] * 5_000), OutputFormat(schema), CheckBounds(keywords=10_000))
    assert made.rules == ("bounds",)


async def test_answer_without_a_schema_is_any_object() -> None:
    """`json_object` wants an object, and nothing of it."""
    assert (await checked('{"anything": [1]}', OutputFormat())).wrong == ()
    assert (await checked("[1]", OutputFormat())).rules == ("type",)


async def test_too_long_an_answer_is_not_looked_at() -> None:
    """Its length alone says that it is wrong."""
    assert (await checked('{"a": 1234567}', OutputFormat(A), CheckBounds(characters=10))).rules == ("bounds",)


async def test_large_answer_is_checked_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is small is checked on the loop; what is large, or runs expressions, in a thread that has its turn."""
    taken: list[str] = []

    async def take(work: Any, name: str) -> Any:
        taken.append(name)
        return work()

    monkeypatch.setattr(output._turns, "take", take)
    await checked('{"a": 1}', OutputFormat(A))
    await checked('"x"', OutputFormat({"pattern": "x"}))
    await checked(json.dumps(["x" * 20_000]), OutputFormat({"type": "array"}))
    assert taken == ["output", "output"]


def test_schema_is_made_ready_once() -> None:
    """The same schema, in another object, is looked up."""
    assert compiled(A) is compiled(json.loads(json.dumps(A)))
