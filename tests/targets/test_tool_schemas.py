"""Tool schemas whose top has alternatives: they become one object, which OpenAI and Anthropic take."""

from typing import Any

import pytest

from router.chat import Ask, Message, ToolSpec
from router.targets.tool_schemas import REFUSED, flattened
from tests.support.provider import Reply, provider, text
from tests.targets import test_anthropic, test_openai
from tests.targets.test_anthropic import END

TEXT, NUMBER = {"type": "string"}, {"type": "number"}


def thing(*required: str, **properties: Any) -> dict[str, Any]:
    """Return the schema of an object."""
    return {"type": "object", "properties": properties, **({"required": [*required]} if required else {})}


SCHEMAS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "alternatives": ({"anyOf": [thing("a", "c", a=TEXT, c=TEXT), thing("b", "c", b=NUMBER, c=TEXT)]}, thing("c", a=TEXT, b=NUMBER, c=TEXT)),
    "a union by a tag": (
        {"oneOf": [thing("kind", kind={"const": "a"}), thing("kind", kind={"const": "b"})]},
        thing("kind", kind={"anyOf": [{"const": "a"}, {"const": "b"}]}),
    ),
    "one of two required (software-mansion/argent#773)": (
        {**thing(a=TEXT, b=TEXT), "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        thing(a=TEXT, b=TEXT),
    ),
    "all together": (
        {"allOf": [thing("a", a=TEXT), thing("b", b=TEXT)], "description": "Both."},
        {**thing("a", "b", a=TEXT, b=TEXT), "description": "Both."},
    ),
    "references": (
        {"oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}], "$defs": {"A": thing("a", a=TEXT), "B": thing("a", a=TEXT, b=TEXT)}},
        {**thing("a", a=TEXT, b=TEXT), "$defs": {"A": thing("a", a=TEXT), "B": thing("a", a=TEXT, b=TEXT)}},
    ),
    "a condition": ({**thing(a=TEXT), "not": {"required": ["a"]}}, thing(a=TEXT)),
    "two types": ({**thing("a", a=TEXT), "type": ["object", "null"]}, thing("a", a=TEXT)),
    "alternatives within each other": ({"anyOf": [{"allOf": [thing(a=TEXT)]}, thing(b=TEXT)]}, thing(a=TEXT, b=TEXT)),
    "a reference to itself": ({"anyOf": [{"$ref": "#"}, thing(a=TEXT)]}, thing(a=TEXT)),
    "nonsense": ({"anyOf": ["x", {"$ref": "#/none"}, {"properties": 1, "required": 2}]}, thing()),
}


@pytest.mark.parametrize("what", SCHEMAS)
def test_alternatives_at_the_top_become_one_object(what: str) -> None:
    """A schema with alternatives at its top becomes that of one object which permits each of them; a second run changes nothing."""
    before, after = SCHEMAS[what]
    made = flattened(before)
    assert made == after
    assert flattened(made) is made


@pytest.mark.parametrize("schema", [thing(a={"anyOf": [TEXT, NUMBER]}), {}, {"type": "string", "enum": ["a"]}])
def test_schema_without_alternatives_at_the_top_is_unchanged(schema: dict[str, Any]) -> None:
    """Alternatives within a property, an empty schema, and the schema of another type stay the same object."""
    assert flattened(schema) is schema


async def test_requests_to_openai_and_anthropic_have_no_alternatives_at_the_top() -> None:
    """A tool with alternatives at the top of its schema is sent to both providers without them, and with its properties."""
    tool = ToolSpec("look", "Looks.", {"anyOf": [thing("a", a=TEXT), thing("b", b=TEXT)]})
    ask = Ask(model="m", messages=(Message("user", ("Hi",)),), tools=(tool,))
    for lane, answer, at in (
        (test_openai, text("Hi."), ("function", "parameters")),
        (test_anthropic, test_anthropic.said(*END), ("input_schema",)),
    ):
        async with provider(Reply(answer)) as fake:
            await lane.heard(lane.declared(fake.base), ask)
        sent = fake.requests[0]["tools"][0]
        for name in at:
            sent = sent[name]
        assert (sent["type"], [*sent["properties"]], REFUSED & sent.keys()) == ("object", ["a", "b"], set())
