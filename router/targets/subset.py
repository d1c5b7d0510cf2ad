"""Narrowing of a JSON schema to the subset that a provider's constrained decoding takes: all values of the result are valid for it.

Providers refuse or ignore keywords that they do not take. So a schema is sent with all of its constraints, or not at all. Annotations
(titles, defaults, formats) are dropped where they are not taken. An object without `additionalProperties` is closed, as OpenAI
and Anthropic want it.

Source: OpenAI's and Azure's guides to structured outputs, "Supported schemas"; Groq's and Cerebras's of the same name; Anthropic's,
"JSON Schema limitations"; https://ai.google.dev/gemini-api/docs/structured-output.
"""

from collections.abc import Mapping, Sequence
from typing import cast

from router.chat import Json, JsonObject
from router.output import referred
from router.value import Value

SCHEMA = "json_schema"
OBJECT = "json_object"
"""OpenAI's names of two output formats. SCHEMA: JSON by a given schema. OBJECT: any JSON object."""
NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
ITEMS = frozenset({"minItems", "maxItems"})
MAX_PROPERTIES = 1_000
MAX_LEVELS = 10
MAX_CHOICES = 500
"""OpenAI's limits of properties in all, levels, and enum values in one place; some providers have lower ones."""


class Subset(Value, frozen=True):
    """The parts of a schema that a kind of provider takes, beside types, properties, items, enums, `anyOf` and references.

    binds: constraint keywords for numbers, texts and arrays
    optional: true if a property may be missing from `required`
    recursive: true if a reference may be recursive
    listed: true if `type` may be a list
    formats: the values of `format` that it takes
    """

    binds: frozenset[str] = frozenset()
    optional: bool = True
    recursive: bool = True
    listed: bool = True
    formats: frozenset[str] = frozenset()


FORMATS = frozenset({"date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
OPENAI = Subset(NUMBERS | ITEMS | {"pattern"}, optional=False, formats=FORMATS)
STRICT = Subset(optional=False)
"""The subset of Azure, Groq, Cerebras, and gateways that may lead to them."""
GUIDED = Subset()
"""The subset of servers that compile a schema to a grammar (vLLM, SGLang, llama.cpp), and of their hosts."""
CLAUDE = Subset(recursive=False, listed=False, formats=FORMATS)
GEMINI = Subset(ITEMS | {"minimum", "maximum"}, recursive=False, listed=False)

BINDS = frozenset((
    "allOf", "not", "if", "then", "else", "dependentSchemas", "dependentRequired", "dependencies", "$dynamicRef", "$recursiveRef",
    "properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties", "maxProperties",
    "unevaluatedProperties", "unevaluatedItems", "items", "prefixItems", "additionalItems", "contains", "minContains", "maxContains",
    "minItems", "maxItems", "uniqueItems", "minLength", "maxLength", "pattern", *NUMBERS, "oneOf", "anyOf", "enum", "const", "type",
))  # fmt: skip
"""Constraint keywords; all others are annotations."""
OF_TYPE = {"object": frozenset({"properties", "required", "additionalProperties"}), "array": frozenset({"items"})}
BOUND: dict[str, frozenset[str]] = {"array": ITEMS, "string": frozenset({"pattern"}), "number": NUMBERS, "integer": NUMBERS}
SCALARS = frozenset({"string", "number", "integer", "boolean", "null"})


class Unenforceable(Exception):
    """The error for a schema that cannot be expressed in the provider's subset."""


def narrowed(schema: JsonObject, subset: Subset) -> dict[str, Json] | None:
    """Return the schema in a provider's subset, perhaps narrower; None if that cannot enforce all of it, or its root is not an object."""
    work = _Narrowing(schema, subset)
    try:
        made = work.narrow(schema, 0)
    except (Unenforceable, RecursionError):
        return None
    return None if made.get("type") != "object" else {**made, "$defs": work.defined} if work.defined else made


class _Narrowing:
    """The work of one `narrowed` call: definitions narrowed so far, references being narrowed, and number of properties."""

    def __init__(self, root: JsonObject, subset: Subset) -> None:
        self._root = root
        self._subset = subset
        self.defined: dict[str, Json] = {}
        self._open: list[str] = []
        """References whose definitions are just being narrowed, the outermost first: another one to them is recursive."""
        self._properties = 0

    def narrow(self, schema: Json, level: int) -> dict[str, Json]:
        """Return a schema or subschema in the subset. Raises Unenforceable if the subset cannot express it."""
        if not isinstance(schema, Mapping) or level > MAX_LEVELS:
            raise Unenforceable
        known = cast("JsonObject", schema)
        said = self._annotations(known)
        bound = BINDS.intersection(known)
        if isinstance(reference := known.get("$ref"), str):
            if bound:
                raise Unenforceable
            return {**said, "$ref": self._referred(reference, level)}
        if "enum" in bound or "const" in bound:
            return said | self._values(known, bound)
        if "anyOf" in bound or "oneOf" in bound:
            return {**said, "anyOf": self._choices(known, bound, level)}
        types = _types(known, bound)
        if len(types) == 1:
            return said | self._typed(types[0], known, bound, level)
        if SCALARS.issuperset(types) and not bound - {"type"} and self._subset.listed:
            return {**said, "type": list(types)}
        theirs = {one: OF_TYPE.get(one, frozenset()) | BOUND.get(one, frozenset()) for one in types}
        if bound - {"type"} - frozenset().union(*theirs.values()):
            raise Unenforceable
        return {**said, "anyOf": [self._typed(one, known, bound & theirs[one], level) for one in types]}

    def _annotations(self, schema: JsonObject) -> dict[str, Json]:
        said: dict[str, Json] = {name: value for name in ("title", "description") if isinstance(value := schema.get(name), str)}
        form = schema.get("format")
        return {**said, "format": form} if form in self._subset.formats and schema.get("type") == "string" else said

    def _referred(self, reference: str, level: int) -> str:
        """Return the reference's new form, and narrow its definition into `$defs` at the first use.
        Raises Unenforceable for an unknown reference, or a recursive one if the subset allows none.
        """
        if reference == "#" and self._subset.recursive:
            return "#"
        name, found = reference.rpartition("/")[2], referred(reference, self._root)
        if reference not in (f"#/$defs/{name}", f"#/definitions/{name}") or not isinstance(found, Mapping):
            raise Unenforceable
        if reference in self._open and not self._subset.recursive:
            raise Unenforceable
        if name not in self.defined:
            self.defined[name] = {}
            self._open.append(reference)
            self.defined[name] = self.narrow(found, level)
            self._open.pop()
        return f"#/$defs/{name}"

    def _choices(self, schema: JsonObject, bound: frozenset[str], level: int) -> list[Json]:
        name = "anyOf" if "anyOf" in bound else "oneOf"
        listed = schema[name]
        if bound - {name, "type"} or not isinstance(listed, list) or not listed:
            raise Unenforceable
        if "type" in bound and not all(isinstance(one, Mapping) and one.get("type") == schema["type"] for one in listed):
            raise Unenforceable
        if name == "oneOf" and not _disjoint(listed):
            raise Unenforceable
        return [self.narrow(one, level) for one in listed]

    def _typed(self, kind: str, schema: JsonObject, bound: frozenset[str], level: int) -> dict[str, Json]:
        """Return the narrowed schema of one type. Raises Unenforceable if the subset lacks the type, or a constraint in `bound`."""
        binds = BOUND.get(kind, frozenset()) & self._subset.binds & bound
        if bound - {"type"} - OF_TYPE.get(kind, frozenset()) - binds:
            raise Unenforceable
        made: dict[str, Json] = {"type": kind, **{name: schema[name] for name in sorted(binds)}}
        if "(?" in str(made.get("pattern", "")):
            raise Unenforceable  # lookaround, which no grammar can express
        if kind == "object":
            made |= self._object(schema, level)
        elif kind == "array":
            made["items"] = self.narrow(schema.get("items"), level + 1)
        elif kind not in SCALARS:
            raise Unenforceable
        return made

    def _object(self, schema: JsonObject, level: int) -> dict[str, Json]:
        properties, required = schema.get("properties"), schema.get("required", [])
        if not isinstance(properties, Mapping) or not properties or not isinstance(required, list):
            raise Unenforceable
        if schema.get("additionalProperties", False) is not False:
            raise Unenforceable
        known = cast("JsonObject", properties)
        self._properties += len(known)
        names = {str(one) for one in required}
        if self._properties > MAX_PROPERTIES or names - set(known) or (not self._subset.optional and len(names) < len(known)):
            raise Unenforceable
        return {
            "properties": {name: self.narrow(one, level + 1) for name, one in known.items()},
            "required": [name for name in known if name in names],
            "additionalProperties": False,
        }

    def _values(self, schema: JsonObject, bound: frozenset[str]) -> dict[str, Json]:
        """Return an `enum` schema for the listed values or the one constant.
        Raises Unenforceable if they do not fit a `type` beside them, have other constraints, or are not taken by the subset.
        """
        listed = schema["enum"] if "enum" in bound else [schema["const"]]
        if bound - {"enum", "const", "type"} or {"enum", "const"} <= bound or not isinstance(listed, list):
            raise Unenforceable
        values: list[Json] = listed
        kinds = list(dict.fromkeys(map(json_type, values)))
        if not values or len(values) > MAX_CHOICES or not set(kinds) <= SCALARS or (len(kinds) > 1 and not self._subset.listed):
            raise Unenforceable
        if "type" in bound:
            types = _types(schema, bound)
            if not set(kinds) <= {*types, *(("integer",) if "number" in types else ())}:
                raise Unenforceable
        return {"type": kinds[0] if len(kinds) == 1 else list(kinds), "enum": values}


JSON_TYPES = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (type(None), "null"))


def json_type(value: Json) -> str:
    """Return the type of a JSON value as a schema names it; `other` for an object or an array."""
    return next((name for kind, name in JSON_TYPES if isinstance(value, kind)), "other")


def _types(schema: JsonObject, bound: frozenset[str]) -> Sequence[str]:
    """Return the types that a schema names, or `object` if it names none but has properties. Raises Unenforceable otherwise."""
    named = schema.get("type")
    found = [named] if isinstance(named, str) else named
    if isinstance(found, list) and found and all(isinstance(one, str) for one in cast("list[Json]", found)):
        return cast("list[str]", found)
    if "properties" in bound:
        return ["object"]
    raise Unenforceable


def _disjoint(choices: Sequence[Json]) -> bool:
    """Return True if all schemas require one common property, each with another text constant: a value is valid for at most one."""
    tables = [cast("JsonObject", one) for one in choices if isinstance(one, Mapping)]
    if len(tables) < len(choices):
        return False
    names = [set(cast("list[str]", one.get("required") or ())) for one in tables]
    marked = ([_mark(one, name) for one in tables] for name in set[str].intersection(*names))
    return any(None not in marks and len(set(marks)) == len(marks) for marks in marked)


def _mark(schema: JsonObject, name: str) -> str | None:
    """Return the `const` of a property; None if it has none, or one that is not a text."""
    properties = schema.get("properties")
    inner = cast("JsonObject", properties).get(name) if isinstance(properties, Mapping) else None
    value = cast("JsonObject", inner).get("const") if isinstance(inner, Mapping) else None
    return value if isinstance(value, str) else None
