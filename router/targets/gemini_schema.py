"""Conversion of a tool's JSON schema to the subset that Gemini's function declarations take.

Google refuses the whole request for one keyword it does not know (`Unknown name "additionalProperties" … Cannot find field`). What has
another form there is converted: references are inlined, `const` becomes `enum`, `oneOf` `anyOf`, a list with `null` a `nullable` type.
Other keywords are dropped: a model may then write arguments that the tool's own check refuses. The same schema gives the same bytes.

Source: https://ai.google.dev/api/caching#Schema; google-gemini/gemini-cli#13326, anomalyco/opencode#12911, NousResearch/hermes-agent#89673.
"""

from collections.abc import Mapping, Sequence
from typing import cast

from router.chat import Json, JsonObject
from router.targets.subset import json_type

KEPT = frozenset(
    [
        *("title", "description", "default", "minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength"),
        *("pattern", "minimum", "maximum", "propertyOrdering"),
    ]
)
"""Keywords with the same meaning in JSON Schema and at Google."""
FORMATS = {"string": frozenset({"date-time"}), "number": frozenset({"float", "double"}), "integer": frozenset({"int32", "int64"})}
"""Type → the formats that it may have: `only 'enum' and 'date-time' are supported for STRING type`."""
TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object"})
ANYTHING: JsonObject = {"type": "object"}
"""Placeholder for a schema that is cut off or cannot be resolved."""
MAX_DEPTH = 24
"""Limit of levels in a converted schema."""
MAX_NODES = 5_000
"""Limit of subschemas in one tool's converted schema: inlined references may multiply."""


def parameters(schema: JsonObject) -> dict[str, Json]:
    """Return `{"parameters": …}` for a function declaration; an empty dict for a tool without properties, which Google would refuse."""
    made = Converter(schema).converted(schema)
    if "anyOf" in made:
        made = _merged_objects(cast("list[dict[str, Json]]", made["anyOf"]))
    return {"parameters": made} if made.get("properties") else {}


class Converter:
    """A converter of one tool's schema, which holds its root and the number of converted subschemas (at most MAX_NODES)."""

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._nodes = 0

    def converted(self, schema: Json, within: tuple[str, ...] = ()) -> dict[str, Json]:
        """Return a schema in Google's form; ANYTHING if it is unresolvable or beyond a limit. `within`: references and levels above it."""
        self._nodes += 1
        found = self._resolved(dict(cast("JsonObject", schema)) if isinstance(schema, Mapping) else {}, within)
        if found is None or len(within) > MAX_DEPTH or self._nodes > MAX_NODES:
            return dict(ANYTHING)
        schema_found, within = found
        named, listed = _types(schema_found), [one for name in ("anyOf", "oneOf") for one in _list(schema_found.get(name))]
        types, choices = [one for one in named if one != "null"], [one for one in listed if not _is_null(one)]
        nullable = schema_found.get("nullable") is True or None in _list(schema_found.get("enum")) or (types, choices) != (named, listed)
        if choices and not (types and (types[0] not in ("object", "array") or schema_found.keys() & {"properties", "items"})):
            typed: dict[str, Json] = {"type": types[0]} if len(types) == 1 else {}
            branches = [self.converted({**typed, **one} if isinstance(one, Mapping) else one, (*within, "")) for one in choices]
        else:
            branches = [self._typed(one, schema_found, (*within, "")) for one in types or ["string"]]
        return _joined(branches, schema_found, nullable=nullable)

    def _resolved(self, schema: dict[str, Json], within: tuple[str, ...]) -> tuple[dict[str, Json], tuple[str, ...]] | None:
        """Return a schema with its `$ref` and `allOf` replaced by their content, and `within` extended by the references.
        None if its reference is recursive or unknown; such a part of `allOf` is left out.
        """
        while isinstance(reference := schema.pop("$ref", None), str):
            found = self._found(reference)
            if reference in within or found is None:
                return None
            within = (*within, reference)
            schema = {**found, **schema}
        for one in _list(schema.pop("allOf", None)):
            part = self._resolved(dict(one), within) if isinstance(one, Mapping) else None
            if part is not None:
                schema, within = _merged(part[0], schema), part[1]
        return schema, within

    def _found(self, reference: str) -> dict[str, Json] | None:
        """Return the schema that a reference within this document (`#/…`) refers to; None if there is none, or in another document."""
        at: Json = self._root
        if not reference.startswith("#"):
            return None
        for name in filter(None, reference[1:].split("/")):
            at = cast("JsonObject", at).get(name.replace("~1", "/").replace("~0", "~")) if isinstance(at, Mapping) else None
        return dict(cast("JsonObject", at)) if isinstance(at, Mapping) else None

    def _typed(self, kind: str, schema: JsonObject, within: tuple[str, ...]) -> dict[str, Json]:
        """Return a schema in Google's form for one of its types."""
        made: dict[str, Json] = {"type": kind, **{name: value for name, value in schema.items() if name in KEPT}}
        if (form := schema.get("format")) in FORMATS.get(kind, ()):
            made["format"] = form
        if kind == "array":
            made["items"] = self.converted(schema.get("items", next(iter(_list(schema.get("prefixItems"))), None)), within)
            return made
        return made | (self._object(schema, within) if kind == "object" else _values(kind, schema) | _bounds(kind, schema))

    def _object(self, schema: JsonObject, within: tuple[str, ...]) -> dict[str, Json]:
        """Return `properties`, converted, and those names of `required` that are properties; empty if the schema has no properties."""
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            return {}
        known = cast("JsonObject", properties)
        made: dict[str, Json] = {"properties": {name: self.converted(one, within) for name, one in known.items()}}
        required = [name for name in _list(schema.get("required")) if isinstance(name, str) and name in known]
        return {**made, "required": list(dict.fromkeys(required))} if required else made


def _joined(branches: Sequence[dict[str, Json]], schema: JsonObject, *, nullable: bool) -> dict[str, Json]:
    """Return alternatives as one `anyOf`, or the only one itself. An `anyOf` among them is dissolved into its own alternatives.
    Each gets the title and description of `schema` if it lacks them, and `nullable: true` if `nullable` is set.
    """
    more: dict[str, Json] = {name: schema[name] for name in ("title", "description") if name in schema}
    flat = [one for branch in branches for one in cast("list[dict[str, Json]]", branch.get("anyOf", [branch]))]
    made = [{**more, **one, **({"nullable": True} if nullable else {})} for one in flat]
    return made[0] if len(made) == 1 else {"anyOf": made}


def _merged_objects(branches: Sequence[dict[str, Json]]) -> dict[str, Json]:
    """Merge object schemas into one with all their properties; those that each of them requires are required."""
    properties: dict[str, Json] = {}
    for one in branches:
        properties |= cast("JsonObject", one.get("properties") or {})
    common = [name for name in _list(branches[0].get("required")) if all(name in _list(one.get("required")) for one in branches)]
    return {"type": "object", "properties": properties, **({"required": common} if common else {})}


def _types(schema: JsonObject) -> list[str]:
    """Return the types that a schema names, or that its other keywords imply, `null` included; empty if there are none."""
    named = schema.get("type")
    found = [one.lower() for one in ([named] if isinstance(named, str) else _list(named)) if isinstance(one, str)]
    known = [one for one in found if one in TYPES or one == "null"]
    if not known and "properties" in schema:
        return ["object"]
    if not known and ("items" in schema or "prefixItems" in schema):
        return ["array"]
    return list(dict.fromkeys(known or map(_type_of, _allowed(schema))))


def _type_of(value: Json) -> str:
    kind = json_type(value)
    return "string" if kind == "other" else kind


def _allowed(schema: JsonObject) -> list[Json]:
    """Return the values of `const` or `enum`; empty if there are neither."""
    return [schema["const"]] if "const" in schema else _list(schema.get("enum"))


def _values(kind: str, schema: JsonObject) -> dict[str, Json]:
    """Return the values of `const` or `enum` as the keyword for one type; empty if none has that type.
    Texts become an `enum`. Values of other types are listed in the `description`, because Google takes no `enum` of them.
    """
    values = [one for one in _allowed(schema) if _type_of(one) == kind or (kind == "number" and _type_of(one) == "integer")]
    if kind == "string" or not values:
        texts = [one for one in values if one]
        return {"enum": texts} if texts else {}
    words = "One of: " + ", ".join(str(one).lower() if isinstance(one, bool) else str(one) for one in values) + "."
    said = schema.get("description")
    return {"description": f"{said} {words}" if isinstance(said, str) and said else words}


def _bounds(kind: str, schema: JsonObject) -> dict[str, Json]:
    """Return exclusive bounds of numbers, unless also stated as inclusive, as inclusive ones: the next integer, or the bound itself."""
    made: dict[str, Json] = {}
    for name, exclusive, step in (("minimum", "exclusiveMinimum", 1), ("maximum", "exclusiveMaximum", -1)):
        bound = schema.get(exclusive)
        if name not in schema and isinstance(bound, int | float) and not isinstance(bound, bool) and kind in ("integer", "number"):
            made[name] = bound + step if kind == "integer" else bound
    return made


def _merged(under: dict[str, Json], over: dict[str, Json]) -> dict[str, Json]:
    """Merge two schemas that must both hold. Properties and required names are united; for all else `over` takes precedence."""
    made = {**under, **over}
    first, second = under.get("properties"), over.get("properties")
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        made["properties"] = {**cast("JsonObject", first), **cast("JsonObject", second)}
    if required := [*_list(under.get("required")), *_list(over.get("required"))]:
        made["required"] = required
    return made


def _is_null(schema: Json) -> bool:
    return isinstance(schema, Mapping) and (schema.get("type") in ("null", ["null"]) or schema.get("const", ...) is None)


def _list(value: Json) -> list[Json]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
