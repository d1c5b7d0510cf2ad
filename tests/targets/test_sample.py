"""Sample values of JSON schemas, which the offline demo returns."""

import json
import random
from typing import Any

import jsonschema
import pytest

from router.targets.sample import sample
from tests.support.schemas import schema_of


def words(name: str) -> str:
    """Return a text for a property."""
    return f"about {name}"


@pytest.mark.parametrize("seed", range(100))
def test_sample_is_valid_for_its_schema(seed: int) -> None:
    """A sample of a random schema, as clients write them, is valid for it."""
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
def test_sample_of_a_hostile_schema_is_bounded(schema: dict[str, Any]) -> None:
    """A sample of a schema that refers to itself, or asks for a billion items, is below 100,000 characters, and may be invalid."""
    assert len(json.dumps(sample(schema, words))) < 100_000
