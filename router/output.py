"""The form of an answer's text: JSON that matches a schema, found in the text and checked.

    admitted(schema)           check that the schema of a client or an operator can be used within bounds; else raise Misfit
    checked(text, output)      return the JSON that an answer's text holds, and its faults

A schema from outside may be hostile: it is bounded before and during its use. References to other documents are refused, so nothing is
fetched. Its regular expressions run on an engine with a time limit. The work of one check is counted, so references that multiply
end in a refusal. `format` is an annotation, as JSON Schema has it by default (2020-12, Validation, 7.2.1): it is not checked.
"""

import importlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import cache, lru_cache
from itertools import islice
from time import perf_counter
from typing import Any, cast
from urllib.parse import unquote

from router.chat import Json, JsonObject, OutputFormat, deeper, finite, no_constant, plain
from router.errors import Misfit
from router.threads import Turns
from router.value import Mutable, Value

MAX_SCHEMA_BYTES = 64 * 1024
MAX_SCHEMA_VALUES = 2_000
"""Values of a schema, at most; checking so many takes 0.2 s, in a thread."""
MAX_DEPTH = 64
"""Levels of nesting in a schema, at most."""
MAX_ANSWER_DEPTH = 100
"""Levels of nesting in an answer, at most."""
MAX_REFERENCES = 200
"""References within references that one check follows, at most."""
MAX_PATTERN = 1_000
"""Characters of a regular expression, at most."""
MAX_COMPLAINTS = 8
MAX_COMPLAINT_CHARS = 300
MAX_TRIES = 32
"""Places in a text at which JSON is searched, at most."""
ON_LOOP_CHARS = 16 * 1024
"""Characters of an answer and its schema up to which they are checked on the event loop: usually 2 ms of work."""


class CheckBounds(Value, frozen=True):
    """The limits of one check of an answer against a schema."""

    characters: int = 2 * 1024 * 1024
    """Characters of the answer, at most."""
    keywords: int = 200_000
    """Keywords of the schema that are applied, at most: half a second of work."""
    pattern_seconds: float = 0.5
    """Seconds in which all regular expressions together may search texts."""


BOUNDS = CheckBounds()


class Overworked(Exception):
    """The error of a check that exceeds its bounds."""


class Work(Mutable):
    """The work that one check may still do."""

    keywords: int
    """Keywords of the schema that may still be applied."""
    left: float
    """Seconds left for its regular expressions."""
    within: int = 0
    """References that are being followed, one within another."""


WORK: ContextVar[Work] = ContextVar("work")


class Checked(Value, frozen=True):
    """The result of a check.

    text: the JSON, as the model wrote it, without the text around it; empty if there is none
    wrong: its faults as sentences for the model, each with its place; empty if it is valid
    rules: the broken keywords of the schema, for the log; `json` without any JSON, `bounds` if the check was given up
    """

    text: str
    wrong: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


class Checker(Value, frozen=True):
    """A compiled schema that checks values."""

    _errors: Callable[[Json], Iterator[Any]]

    def complaints(self, value: Json, bounds: CheckBounds = BOUNDS) -> list[tuple[str, str]]:
        """Return up to eight faults of a value as (keyword, sentence); empty if it is valid.

        Raises Overworked if the check exceeds its bounds, or cannot be completed (a number or a nesting beyond Python's).
        """
        WORK.set(Work(bounds.keywords, bounds.pattern_seconds))
        try:
            found = list(islice(self._errors(value), MAX_COMPLAINTS))
        except (RecursionError, ArithmeticError):
            raise Overworked from None
        return [(str(one.validator), f"{one.json_path}: {one.message}"[:MAX_COMPLAINT_CHARS]) for one in found]


_turns = Turns()


async def admitted(schema: JsonObject) -> None:
    """Compile a schema in a thread, one schema after the other. Raises Misfit if it is invalid or beyond the bounds."""
    await _turns.take(lambda: compiled(schema), "schema")


def compiled(schema: JsonObject) -> Checker:
    """Return the checker of a schema; the last 64 are cached. Raises Misfit if the schema is invalid or beyond the bounds."""
    if deeper(schema, MAX_DEPTH):
        raise Misfit(f"a schema is nested {MAX_DEPTH} levels deep at most")
    written = json.dumps(schema, default=dict)
    if len(written) > MAX_SCHEMA_BYTES:
        raise Misfit(f"a schema has {MAX_SCHEMA_BYTES // 1024} KiB at most")
    return _compiled(written)


@lru_cache(maxsize=64)
def _compiled(written: str) -> Checker:
    schema = cast("dict[str, Json]", json.loads(written))
    if len(_values(schema)) > MAX_SCHEMA_VALUES:
        raise Misfit(f"a schema has {MAX_SCHEMA_VALUES:,} values at most")
    keywords = {name for inner in _schemas(schema) for name in inner}
    anchors = [inner.get(name) for inner in _schemas(schema) for name in ("$anchor", "$dynamicAnchor")]
    for inner in _schemas(schema):
        if inner is not schema and isinstance(inner.get("$id"), str):
            raise Misfit("$id: a schema within the schema has none here")
        _check_references(inner, schema, anchors)
        _check_patterns(inner)
    if "patternProperties" in keywords and keywords & {"unevaluatedProperties", "unevaluatedItems"}:
        raise Misfit("patternProperties beside unevaluatedProperties is not served here")
    jsonschema = importlib.import_module("jsonschema")
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise Misfit(f"this is no JSON schema: at {error.json_path}, {error.message}"[:MAX_COMPLAINT_CHARS]) from None
    except RecursionError:
        raise Misfit("this is no JSON schema: it is nested too deeply") from None
    # An empty registry: only the schema itself is looked up, and nothing is fetched.
    checker = Checker(_bounded(kind)(schema, registry=importlib.import_module("referencing").Registry()).iter_errors)
    for probe in cast("tuple[Json, ...]", ({}, [], "", 0, None)):
        try:
            checker.complaints(probe)
        except Overworked:
            raise Misfit("the schema refers to itself without end, or multiplies what it refers to") from None
    return checker


DATA = frozenset({"const", "enum", "default", "examples", "example"})
"""Keywords whose values are data, not schemas."""
NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"})
"""Keywords whose values are schemas by name."""


def _schemas(schema: Json) -> Iterator[JsonObject]:
    """Yield a schema and each schema within it."""
    found: list[Json] = [schema]
    for one in found:  # which grows
        if isinstance(one, list):
            found += one
        elif isinstance(one, Mapping):
            yield (table := cast("JsonObject", one))
            for name, value in table.items():
                if name in NAMED and isinstance(value, Mapping):
                    found += cast("JsonObject", value).values()
                elif name not in DATA:
                    found.append(value)


def _values(value: Json) -> list[Json]:
    """Return a value and each value within it."""
    found = [value]
    for one in found:  # which grows
        found += cast("JsonObject", one).values() if isinstance(one, Mapping) else one if isinstance(one, list) else ()
    return found


def _check_references(schema: JsonObject, root: JsonObject, anchors: Collection[Json]) -> None:
    """Raise Misfit if a schema refers to another document, or to a place that does not exist."""
    for name in ("$ref", "$dynamicRef", "$recursiveRef"):
        reference = schema.get(name)
        if not isinstance(reference, str):
            continue
        if not reference.startswith("#"):
            raise Misfit(f"{name}: only what stands in the schema itself (`#/…`) is looked up")
        if reference[1:] not in anchors and referred(reference, root) is None:
            raise Misfit(f"{name}: there is no `{reference}` in the schema"[:MAX_COMPLAINT_CHARS])


def referred(reference: str, root: JsonObject) -> JsonObject | bool | None:
    """Return the schema that the reference `#/…` points to; None if there is none, or for an anchor (`#name`)."""
    at: Json = root
    for name in reference.removeprefix("#").split("/")[1:]:
        key = unquote(name).replace("~1", "/").replace("~0", "~")
        if isinstance(at, Mapping):
            at = cast("JsonObject", at).get(key)
        else:
            at = cast("list[Json]", at)[int(key)] if isinstance(at, list) and key.isdecimal() and int(key) < len(at) else None
    return cast("JsonObject", at) if isinstance(at, Mapping | bool) and reference[1:2] in ("", "/") else None


def _check_patterns(schema: JsonObject) -> None:
    """Raise Misfit if a regular expression of this schema is invalid or too long."""
    named = schema.get("patternProperties")
    written = [schema.get("pattern"), *(cast("JsonObject", named) if isinstance(named, Mapping) else ())]
    for pattern in (one for one in written if isinstance(one, str)):
        if len(pattern) > MAX_PATTERN:
            raise Misfit(f"pattern: {MAX_PATTERN:,} characters at most")
        try:
            _pattern(pattern)
        except importlib.import_module("regex").error as error:
            raise Misfit(f"pattern: `{pattern}` is no regular expression: {error}"[:MAX_COMPLAINT_CHARS]) from None


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> Any:
    return importlib.import_module("regex").compile(pattern)


def _matches(pattern: str, text: str) -> bool:
    """Return whether a regular expression matches somewhere in a text. Raises Overworked if the check's time for expressions is used up."""
    work, began = WORK.get(), perf_counter()
    try:
        found = _pattern(pattern).search(text, timeout=max(work.left, 1e-3), concurrent=True)
    except TimeoutError:
        raise Overworked from None
    work.left -= perf_counter() - began
    if work.left <= 0:
        raise Overworked
    return found is not None


Keyword = Callable[[Any, Any, Any, Any], Any]
"""A keyword's check, as `jsonschema` has it: (validator, the keyword's value, instance, schema) → errors."""


@cache
def _bounded(kind: Any) -> Any:
    """Return a subclass of a draft's validator that raises Overworked when its work exceeds a bound.

    Keywords that run expressions or compare all pairs are replaced.
    """
    jsonschema = importlib.import_module("jsonschema")
    error = jsonschema.ValidationError

    def pattern(_: Any, value: str, instance: Any, __: Any) -> Iterator[Any]:
        if isinstance(instance, str) and not _matches(value, instance):
            yield error(f"{instance!r} does not match {value!r}")

    def by_pattern(validator: Any, value: Mapping[str, Any], instance: Any, _: Any) -> Iterator[Any]:
        for expression, inner in value.items() if isinstance(instance, dict) else ():
            for name, held in cast("dict[str, Any]", instance).items():
                if _matches(expression, name):
                    yield from validator.descend(held, inner, path=name, schema_path=expression)

    def additional(validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
        if not isinstance(instance, dict):
            return
        known, expressions = schema.get("properties", {}), schema.get("patternProperties", {})
        for name, held in cast("dict[str, Any]", instance).items():
            if name in known or any(_matches(one, name) for one in expressions):
                continue
            if value is False:
                yield error(f"the property {name!r} is not allowed here")
            elif value is not True:
                yield from validator.descend(held, value, path=name)

    def unique(_: Any, value: Any, instance: Any, __: Any) -> Iterator[Any]:
        if value is True and isinstance(instance, list):
            items = cast("list[Json]", instance)
            if len({json.dumps(plain(one), sort_keys=True) for one in items}) < len(items):
                yield error("two of its items are the same")

    own: dict[str, Keyword] = {
        "pattern": pattern,
        "patternProperties": by_pattern,
        "additionalProperties": additional,
        "uniqueItems": unique,
    }
    known = cast("dict[str, Keyword]", kind.VALIDATORS)
    made = {name: _counted(own.get(name, check), follows=name.endswith("Ref") or name == "$ref") for name, check in known.items()}
    return jsonschema.validators.extend(kind, made)


def _counted(check: Keyword, *, follows: bool) -> Keyword:
    """Return a keyword's check that counts its work and raises Overworked beyond the limits. `follows`: True if it follows a reference."""

    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        work = WORK.get()
        work.keywords -= 1
        work.within += follows
        if work.keywords < 0 or work.within > MAX_REFERENCES:
            raise Overworked
        try:
            yield from check(validator, value, instance, schema) or ()
        finally:
            work.within -= follows

    return counted


async def checked(text: str, output: OutputFormat, bounds: CheckBounds = BOUNDS) -> Checked:
    """Return the JSON in a text and its faults. Large texts, and schemas with patterns, are checked in a thread.

    A text of more characters than `bounds` allows is not searched: its only fault is its length.
    """
    if len(text) > bounds.characters:
        return Checked("", (f"$: it is longer than {bounds.characters:,} characters",), ("bounds",))
    written = "" if output.schema is None else json.dumps(output.schema, default=dict)
    if len(text) + len(written) <= ON_LOOP_CHARS and '"pattern' not in written:
        return check(text, output, bounds)
    return await _turns.take(lambda: check(text, output, bounds), "output")


def check(text: str, output: OutputFormat, bounds: CheckBounds = BOUNDS) -> Checked:
    """Return the JSON in a text and its faults, checked on this thread.

    Of several JSON values the longest valid one is returned, else the longest. A text without JSON has one fault, with the rule `json`.
    """
    longest: Checked | None = None
    for written, value in sorted(_found(text), key=lambda one: -len(one[0])):
        if not (complaints := _complaints(value, output, bounds)):
            return Checked(written)
        rules, sentences = zip(*complaints, strict=True)
        longest = longest or Checked(written, sentences, tuple(dict.fromkeys(rules)))
    return longest or Checked("", ("$: it is no JSON",), ("json",))


def begins(text: str, output: OutputFormat) -> bool:
    """Return whether the first character of a text (not empty) can begin the required JSON: `{` for an object, else any JSON value."""
    kind = "object" if output.schema is None else output.schema.get("type")
    return text.startswith("{") if kind == "object" else text[0] in '{["-0123456789tfn'


def _complaints(value: Json, output: OutputFormat, bounds: CheckBounds) -> Sequence[tuple[str, str]]:
    if deeper([value], MAX_ANSWER_DEPTH):
        return [("bounds", "$: it is nested too deeply")]
    if output.schema is None:
        return [] if isinstance(value, Mapping) else [("type", "$: it must be a JSON object")]
    try:
        return compiled(output.schema).complaints(value, bounds)
    except Overworked:
        return [("bounds", "$: it is too large to be checked")]


def _found(text: str) -> list[tuple[str, Json]]:
    """Return (text, value) of the JSON in a text: of the whole text, else of a code fence, else of each object and list between words."""
    for written in (text.strip(), *_fenced(text)):
        with suppress(ValueError, RecursionError):
            return [(written, json.loads(written, parse_float=finite, parse_constant=no_constant))]
    found: list[tuple[str, Json]] = []
    decoder = json.JSONDecoder(parse_float=finite, parse_constant=no_constant)
    at = 0
    for _ in range(MAX_TRIES):
        at = min((place for sign in "{[" if (place := text.find(sign, at)) >= 0), default=-1)
        if at < 0:
            break
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        found.append((text[at:end], value))
        at = end
    return found


def _fenced(text: str) -> Iterator[str]:
    """Yield the contents of a text's code fences, the longest first, MAX_TRIES at most."""
    for piece in sorted(text.split("```")[1::2], key=len, reverse=True)[:MAX_TRIES]:
        head, line, rest = piece.partition("\n")
        yield (rest if line and head.strip().isalnum() else piece).strip()
