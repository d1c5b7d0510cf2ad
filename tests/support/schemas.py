"""Random JSON schemas, values that fit them, and values with mistakes that models make."""

import random
from typing import Any, cast

WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")


def schema_of(chance: random.Random) -> dict[str, Any]:
    """Return a random object schema, sometimes with optional properties, bounds, `oneOf`, references or free keys."""
    made = _object(chance, 0)
    if chance.random() < 0.2:
        made["$defs"] = {
            "node": {
                "type": "object",
                "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                "required": ["next"],
            }
        }
        made["properties"]["chain"] = {"$ref": "#/$defs/node"}
        made["required"] = [*made.get("required", ()), "chain"]
    return made


def _object(chance: random.Random, depth: int) -> dict[str, Any]:
    names = chance.sample(WORDS, chance.randint(1, 4))
    made: dict[str, Any] = {"type": "object", "properties": {name: _any(chance, depth + 1) for name in names}}
    made["required"] = names if chance.random() < 0.7 else names[:1]
    if chance.random() < 0.6:
        made["additionalProperties"] = False
    if chance.random() < 0.2:
        made["description"] = "An object."
    return made


def _any(chance: random.Random, depth: int) -> dict[str, Any]:
    kinds = ("string", "integer", "number", "boolean", "enum", "const", "nullable", "bounded", "text", "union")
    match chance.choice((*kinds, *(("object", "array", "array") if depth < 3 else ()))):
        case "object":
            return _object(chance, depth)
        case "array":
            bounds: dict[str, Any] = {"minItems": 1, "maxItems": 3} if chance.random() < 0.4 else {}
            return {"type": "array", "items": _any(chance, depth + 1), **bounds}
        case "enum":
            return {"type": "string", "enum": ["red", "green", "blue"]}
        case "const":
            return {"const": chance.choice(("on", 7, True))}
        case "nullable":
            return {"type": ["string", "null"]}
        case "bounded":
            return {"type": "integer", "minimum": 3, "maximum": 9}
        case "text":
            return {"type": "string", "minLength": 2, "maxLength": 12, "default": "none"}
        case "union":
            first: dict[str, Any] = {
                "type": "object",
                "properties": {"kind": {"const": "a"}, "size": {"type": "integer"}},
                "required": ["kind", "size"],
            }
            second: dict[str, Any] = {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]}
            return {chance.choice(("anyOf", "oneOf")): [first, second]}
        case kind:
            return {"type": kind}


def instance(schema: dict[str, Any], chance: random.Random, root: dict[str, Any] | None = None) -> Any:
    """Return a random value that fits a schema of `schema_of`."""
    root = root or schema
    if "$ref" in schema:
        return {"next": None}
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return chance.choice(schema["enum"])
    for name in ("anyOf", "oneOf"):
        if name in schema:
            return instance(chance.choice(schema[name]), chance, root)
    kind: Any = schema["type"]
    match chance.choice(cast("list[str]", kind)) if isinstance(kind, list) else kind:
        case "object":
            required = schema.get("required", ())
            return {
                name: instance(one, chance, root) for name, one in schema["properties"].items() if name in required or chance.random() < 0.5
            }
        case "array":
            return [instance(schema["items"], chance, root) for _ in range(chance.randint(1, 3))]
        case "integer":
            return chance.randint(schema.get("minimum", 0), schema.get("maximum", 99))
        case "number":
            return round(chance.random() * 10, 2)
        case "boolean":
            return chance.random() < 0.5
        case "null":
            return None
        case _:
            return "".join(chance.choice("abc ") for _ in range(6))


def spoiled(value: dict[str, Any], chance: random.Random) -> Any:
    """Return the value with one mistake: a missing or null property, a wrong type, or a list around it."""
    made = dict(value)
    name = chance.choice([*made] or ["alpha"])
    match chance.randrange(4):
        case 0:
            made.pop(name, None)
        case 1:
            made[name] = {"surprise": [None]}
        case 2:
            return [made]
        case _:
            made[name] = None
    return made
