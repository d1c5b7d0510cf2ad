"""Tool schemas in the form that OpenAI and Anthropic take at their top: one object with properties, and no alternatives.

OpenAI: `schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level`
(langchain-ai/langchainjs#9804, nspady/google-calendar-mcp#39). Anthropic: `input_schema does not support oneOf, allOf, or anyOf at the
top level` (anthropics/claude-code#5973, makenotion/notion-mcp-server#341). One such tool makes them refuse each question of its route.
"""

from collections.abc import Iterator, Mapping
from typing import cast

from router.chat import Json, JsonObject

ALTERNATIVES = ("anyOf", "oneOf")
REFUSED = frozenset({*ALTERNATIVES, "allOf", "not", "enum", "const"})
"""Keywords that are refused at the top of a schema. Below it they are taken."""
MAX_DEPTH = 8
"""Limit of references and alternatives within each other."""


def flattened(schema: JsonObject) -> JsonObject:
    """Return the schema of an object that permits whatever `schema` does, without a keyword of REFUSED at its top.
    Its properties are those of all alternatives; those are required which each alternative requires. The same object if nothing changes.
    """
    types = schema.get("type", "object")
    is_object = "object" in types if isinstance(types, list) else types == "object"
    if not is_object or (REFUSED.isdisjoint(schema) and not isinstance(types, list)):
        return schema
    properties, required = _merged(schema, schema, MAX_DEPTH)
    made = {name: value for name, value in schema.items() if name not in REFUSED and name != "required"}
    made |= {"type": "object", "properties": properties}
    return {**made, "required": list[Json](required)} if required else made


def _merged(schema: JsonObject, root: JsonObject, depth: int) -> tuple[dict[str, Json], tuple[str, ...]]:
    """Return the properties of a schema and all its alternatives, and the names that are required whichever of them holds."""
    properties = dict(_object(schema.get("properties")))
    required = dict.fromkeys(_names(schema.get("required")))
    if depth:
        for one in _within(schema.get("allOf"), root):
            theirs, needed = _merged(one, root, depth - 1)
            _add(properties, theirs)
            required |= dict.fromkeys(needed)
        for keyword in ALTERNATIVES:
            each = [_merged(one, root, depth - 1) for one in _within(schema.get(keyword), root)]
            for theirs, _ in each:
                _add(properties, theirs)
            if each:
                required |= dict.fromkeys(name for name in each[0][1] if all(name in needed for _, needed in each))
    return properties, tuple(name for name in required if name in properties)


def _add(properties: dict[str, Json], more: Mapping[str, Json]) -> None:
    """Add properties; one that is there with another schema becomes an alternative of both."""
    for name, schema in more.items():
        if (known := properties.setdefault(name, schema)) != schema:
            before = _object(known).get("anyOf") if list(_object(known)) == ["anyOf"] else None
            listed = before if isinstance(before, list) else [known]
            properties[name] = {"anyOf": [*listed, *([] if schema in listed else [schema])]}


def _within(listed: Json, root: JsonObject) -> Iterator[JsonObject]:
    """Yield the objects in a list of schemas; for a reference within the root, the schema that it refers to."""
    for one in listed if isinstance(listed, list) else ():
        found: Json = one
        for _ in range(MAX_DEPTH):
            reference = _object(found).get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#/"):
                break
            found = root
            for step in reference[2:].split("/"):
                found = _object(found).get(step.replace("~1", "/").replace("~0", "~"))
        if isinstance(found, Mapping):
            yield found


def _object(value: Json) -> JsonObject:
    """Return a value that is an object; an empty one in place of any other."""
    return value if isinstance(value, Mapping) else {}


def _names(value: Json) -> list[str]:
    """Return the texts in a list; none in place of any other value."""
    return [one for one in cast("list[object]", value) if isinstance(one, str)] if isinstance(value, list) else []
