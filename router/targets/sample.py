"""Sample values of a JSON schema, for the offline demo: the first possible value of each part. They may be invalid."""

from collections.abc import Callable, Mapping
from typing import cast

from router.chat import Json, JsonObject
from router.output import referred

MAX_LEVELS = 12
MAX_ITEMS = 20
MAX_VALUES = 2_000
SHALLOW = 4
"""Depth up to which objects get their optional properties; deeper ones get the required ones alone."""
FORMATS = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "email": "demo@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
Texts = Callable[[str], str]
"""A function that returns a text for a property, given the property's name."""


def sample(schema: JsonObject, texts: Texts) -> Json:
    """Return a sample value of a JSON schema; invalid beyond bounds of depth and size. `texts`: property name → text."""
    return _Sample(schema, texts).of(schema, "", 0)


class _Sample:
    """The maker of one sample value. It holds the root schema, and counts subschemas (MAX_VALUES), since a schema may refer to itself."""

    def __init__(self, root: JsonObject, texts: Texts) -> None:
        self._root = root
        self._texts = texts
        self._left = MAX_VALUES

    def of(self, schema: Json, name: str, level: int) -> Json:
        """Return a value for a subschema of the property `name`; None beyond the bounds, or for a schema that is not an object."""
        self._left -= 1
        if not isinstance(schema, Mapping) or level > MAX_LEVELS or self._left < 0:
            return None
        known = cast("JsonObject", schema)
        if isinstance(reference := known.get("$ref"), str):
            return self.of(referred(reference, self._root), name, level + 1)
        if "const" in known:
            return known["const"]
        for choice in ("enum", "anyOf", "oneOf", "allOf"):
            if isinstance(listed := known.get(choice), list) and listed:
                return listed[0] if choice == "enum" else self.of(listed[0], name, level + 1)
        return self._typed(known, name, level)

    def _typed(self, schema: JsonObject, name: str, level: int) -> Json:
        named = schema.get("type")
        kind = named[0] if isinstance(named, list) and named else named
        match kind or ("object" if "properties" in schema else "array" if "items" in schema else "string"):
            case "object":
                properties, required = schema.get("properties"), schema.get("required")
                table: JsonObject = properties if isinstance(properties, Mapping) else {}
                needed = [str(one) for one in required] if isinstance(required, list) else []
                wanted = needed if level > SHALLOW else [*table, *(one for one in needed if one not in table)]
                return {one: self.of(table.get(one), one, level + 1) for one in wanted[:MAX_VALUES]}
            case "array":
                count = min(_number(schema, "minItems", 1), _number(schema, "maxItems", MAX_ITEMS), MAX_ITEMS)
                return [self.of(schema.get("items"), name, level + 1) for _ in range(int(count))]
            case "integer" | "number":
                return _number(schema, "minimum", min(1, _number(schema, "maximum", 1)))
            case "boolean":
                return True
            case "null":
                return None
            case _:
                said = FORMATS.get(str(schema.get("format"))) or self._texts(name)
                return said[: int(_number(schema, "maxLength", len(said)))].ljust(int(min(_number(schema, "minLength", 0), 1_000)), ".")


def _number(schema: JsonObject, name: str, otherwise: float) -> float:
    value = schema.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else otherwise
