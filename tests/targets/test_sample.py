"""Values of schemas, as the offline demo gives them."""

import json
import random
from typing import Any

import jsonschema
import pytest

from router.targets.sample import sample
from tests.support.schemas import schema_of


def words(name: str) -> str:
    """A text for a property."""
    return f"about {name}"


@pytest.mark.parametrize("seed", range(100))
def test_sample_keeps_to_its_schema(seed: int) -> None:
    """Of schemas as clients write them."""
    schema = schema_of(random.Random(seed))
    jsonschema.validate(sample(schema, words), schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {f"p{at}": {"$ref": "#"} for at in range(100)}, "required": [f"p{at}" for at in range(100)]},
        {"$ref": "#"},
        {"type": "array", "minItems": 10**9, "items": {"$ref": "#"}},
        {"type": "string", "minLength": 10**9},
    ],
)
def test_sample_of_a_hostile_schema_is_small(schema: dict[str, Any]) -> None:
    """A schema that refers to itself, or wants very much, gets little; whether that is right, is checked after."""
    assert len(json.dumps(sample(schema, words))) < 100_000
