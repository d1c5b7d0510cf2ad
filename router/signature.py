"""Typed signatures as data: parameters become fields with shapes, the docstring their documentation.

Used for the parameters of a question, the options of a step in YAML, and routes.yaml itself, whose mappings are value types
(router/value.py). Tools are read elsewhere, by router/toolbox/parameters.py.

    def greeting(city: str, times: int = 1) -> str:
        '''A greeting from a city.

        city: the city's name, e.g. 北京
        '''
"""

import inspect
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Union, cast, get_args, get_origin, get_type_hints

from router.bounds import Bounds
from router.errors import Misfit
from router.value import NODEFAULT, PartlyCompared, Value, field, fields, force_setattr, names, replace


class Plain(Value, frozen=True):
    """A plain JSON scalar; a number may have bounds."""

    kind: Literal["string", "integer", "number", "boolean", "null"]
    bounds: Bounds | None = None


class OneOf(Value, frozen=True):
    """A choice of a few fixed strings."""

    values: tuple[str, ...]


class Spelled(Value, frozen=True):
    """A string with a grammar of its own, such as a duration.

    read: returns the value of a text, or raises Misfit
    write: returns the canonical text of a value; None if the type has none
    kind: the Python type of the value
    numbers: least and greatest whole number that is also such a text, since YAML reads it as a number without quotes
    """

    name: str
    read: Callable[[str], object]
    pattern: str
    example: str
    write: Callable[[Any], str] | None = None
    kind: object = str
    numbers: tuple[int, int] | None = None


class ListOf(Value, frozen=True):
    """A list of items of one shape."""

    item: "Shape"


class MapOf(Value, frozen=True):
    """A mapping from names to items of one shape. `key`: the form of the names; None if any name will do."""

    item: "Shape"
    key: Spelled | None = None


class Field(PartlyCompared, frozen=True, eq=False):
    """A named field of a record. `doc`: its line of documentation; `default`: None for a required field."""

    BESIDE: ClassVar = frozenset({"label", "usual"})  # they follow from `name` and `shape`

    name: str
    shape: "Shape"
    required: bool
    doc: str = ""
    default: object = None
    label: str = ""
    """The name in backticks, as complaints have it."""
    usual: "Shape | None" = None
    """The shape; of `X | None`, X."""

    def __post_init__(self) -> None:
        force_setattr(self, "label", f"`{self.name}`")
        force_setattr(self, "usual", _usual(self.shape))


class Record(PartlyCompared, frozen=True, eq=False):
    """A mapping with known keys, those of the function or value type `name`; `build(**values)` makes the value."""

    BESIDE: ClassVar = frozenset({"named", "required", "nests"})  # they follow from `fields`

    name: str
    doc: str
    """The docstring without the lines on parameters."""
    fields: tuple[Field, ...]
    build: Callable[..., object]
    named: Mapping[str, Field] = field(default_factory=dict[str, Field])
    """Name → its field."""
    required: frozenset[str] = frozenset()
    """The names of the required fields."""
    nests: bool = False
    """True if a field is a mapping from names to records."""

    def __post_init__(self) -> None:
        nests = any(isinstance(item.shape, MapOf) and isinstance(item.shape.item, Record) for item in self.fields)
        for name, value in (
            ("named", {item.name: item for item in self.fields}),
            ("required", frozenset(item.name for item in self.fields if item.required)),
            ("nests", nests),
        ):
            force_setattr(self, name, value)


class Either(Value, frozen=True):
    """A choice of several shapes: the first that accepts a value is used."""

    options: tuple["Shape", ...]


class Anything(Value, frozen=True):
    """Any value that JSON can hold."""


Shape = Plain | OneOf | Spelled | ListOf | MapOf | Record | Either | Anything


def _usual(shape: Shape) -> Shape:
    """Return X for `X | None`; any other shape as it is."""
    if isinstance(shape, Either) and len(shape.options) == 2 and shape.options[1] == Plain("null"):
        return shape.options[0]
    return shape


SCALARS: dict[object, Shape] = {
    str: Plain("string"),
    int: Plain("integer"),
    float: Plain("number"),
    bool: Plain("boolean"),
    type(None): Plain("null"),
    Any: Anything(),
    object: Anything(),
    dict: MapOf(Anything()),
    list: ListOf(Anything()),
}
LISTS = (list, tuple, Sequence, set, frozenset)
TABLES = (dict, Mapping)


def shape_of(annotation: object) -> Shape:
    """Return the shape that a type annotation describes. Raises TypeError if JSON has no such type."""
    if isinstance(annotation, Spelled):
        return annotation
    if (known := SCALARS.get(annotation)) is not None:
        return known
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        if spelled := next((note for note in arguments[1:] if isinstance(note, Spelled)), None):
            return replace(spelled, kind=arguments[0])
        shape = shape_of(arguments[0])
        bounds = next((note for note in arguments[1:] if isinstance(note, Bounds)), None)
        return replace(shape, bounds=bounds) if bounds and isinstance(shape, Plain) else shape
    if origin is Literal and all(isinstance(value, str) for value in arguments):
        return OneOf(tuple(arguments))
    if origin in (Union, types.UnionType):
        return Either(tuple(shape_of(option) for option in arguments))
    if origin in LISTS and arguments:
        return ListOf(shape_of(arguments[0]))
    if origin in TABLES and arguments:
        key = shape_of(arguments[0])
        return MapOf(shape_of(arguments[1]), key if isinstance(key, Spelled) else None)
    if isinstance(annotation, type) and issubclass(annotation, Value):
        return record_of(annotation)
    raise TypeError(f"{annotation!r} is not a type that JSON has")


@cache
def record_of(function: Callable[..., object]) -> Record:
    """Return a function's parameters, or the fields of a value type, as a Record. A function's keyword-only parameters are left out.

    Raises TypeError if a parameter is variadic or has no usable annotation.
    """
    summary, docs = documentation(function)
    found = _fields(function, docs) if isinstance(function, type) else _parameters(function, docs)
    return Record(function.__name__, summary, tuple(found), function)


def _fields(kind: type, docs: Mapping[str, str]) -> Iterator[Field]:
    for one in fields(kind):
        default = None if one.required else one.default if one.default_factory is NODEFAULT else one.default_factory()
        yield Field(one.name, shape_of(one.type), one.required, docs.get(one.name, ""), default)


def _parameters(function: Callable[..., object], docs: Mapping[str, str]) -> Iterator[Field]:
    hints = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{function.__name__} takes *{parameter.name}: name each parameter")
        if parameter.name not in hints:
            raise TypeError(f"parameter {parameter.name} of {function.__name__} has no type annotation")
        required = parameter.default is parameter.empty
        default = None if required else parameter.default
        yield Field(parameter.name, shape_of(hints[parameter.name]), required, docs.get(parameter.name, ""), default)


def documentation(function: Callable[..., object]) -> tuple[str, dict[str, str]]:
    """Return (description, parameter → its text) of a function's docstring: a line `name: text` documents that parameter."""
    # `fields` would evaluate the annotations, which takes 0.1 ms.
    known = names(cast("type[Value]", function)) if isinstance(function, type) else inspect.signature(function).parameters
    said: list[str] = []
    docs: dict[str, str] = {}
    for line in (inspect.getdoc(function) or "").splitlines():
        hit = re.match(r"\s*(\w+):\s+(.+)", line)
        if hit and hit[1] in known:
            docs[hit[1]] = hit[2].strip()
        else:
            said.append(line)
    return "\n".join(said).strip(), docs


def schema(shape: Shape, definitions: dict[str, object] | None = None) -> dict[str, object]:
    """Return the JSON schema of a shape. With `definitions`, the schemas of records are added there and referred to by name.

    Without `definitions` (as for a request body), records are written out, null stays a choice, and defaults are left out.
    """
    match shape:
        case Plain(kind, bounds):
            return {"type": kind, **(bounds.schema() if bounds else {})}
        case OneOf(values):
            return {"type": "string", "enum": list(values)}
        case Spelled(_, _, pattern, example, numbers=(least, most)):
            return {"type": ["string", "integer"], "pattern": pattern, "minimum": least, "maximum": most, "examples": [example]}
        case Spelled(_, _, pattern, example):
            return {"type": "string", "pattern": pattern, "examples": [example]}
        case ListOf(item):
            return {"type": "array", "items": schema(item, definitions)}
        case MapOf(item=Anything()):
            return {"type": "object"}
        case MapOf(item):
            return {"type": "object", "additionalProperties": schema(item, definitions)}
        case Record() if definitions is not None:
            if shape.name not in definitions:
                definitions[shape.name] = {}  # a record may contain itself
                definitions[shape.name] = _record_schema(shape, definitions)
            return {"$ref": f"#/$defs/{shape.name}"}
        case Record():
            return _record_schema(shape, None)
        case Either(options):
            # In YAML an unwanted value is left out; in JSON a model may write null.
            shown = [schema(option, definitions) for option in options if definitions is None or option != Plain("null")]
            if len(shown) == 1:
                return shown[0]
            typed = all(set(option) == {"type"} for option in shown)
            return {"type": [option["type"] for option in shown]} if typed else {"anyOf": shown}
        case Anything():
            return {}


def written(shape: Shape, value: object) -> object:
    """Return a default as the value that YAML would have for it: a scalar, a duration as text, an empty list or mapping; else None."""
    match shape:
        case Spelled():
            return shape.write(value) if shape.write is not None and value is not None else None
        case Plain() | OneOf():
            return value
        case ListOf() if value == ():
            return []
        case MapOf() if value == {}:
            return {}
        case Either(options):
            return next((made for option in options if (made := written(option, value)) is not None), None) if value is not None else None
        case _:
            return None


def _record_schema(record: Record, definitions: dict[str, object] | None) -> dict[str, object]:
    properties: dict[str, object] = {}
    for item in record.fields:
        properties[item.name] = shown = dict(schema(item.shape, definitions))
        if definitions is not None and not item.required and (default := written(item.shape, item.default)) is not None:
            shown["default"] = default
        if item.doc:
            shown["description"] = item.doc
    made: dict[str, object] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required := [item.name for item in record.fields if item.required]:
        made["required"] = required
    if record.doc and definitions is not None:
        made["description"] = record.doc
    return made


KINDS: dict[str, type | tuple[type, ...]] = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
WORDS = {"string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false", "null": "null"}


def check(shape: Shape, value: object, path: str = "") -> object:
    """Return the value that a JSON value stands for in a shape. Raises Misfit, with `path` as its place, if it does not strictly fit.

    `true` and `"5"` are not numbers. `path`: empty for the outermost value.
    """
    match shape:
        case Plain(kind, bounds):
            if not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "boolean"):
                raise _misfit(path, f"{WORDS[kind]} is needed")
            if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:  # NaN, infinity, an int of 400 digits
                raise _misfit(path, "a finite number is needed")
            if bounds is not None and not bounds.hold(cast("float", value)):
                raise Misfit(f"{path or 'this'} must be {bounds}", path or None)
            return float(cast("float", value)) if kind == "number" else value
        case OneOf(values):
            if value not in values:
                raise _misfit(path, f"one of {', '.join(values)} is needed")
            return value
        case Spelled(name, read, _, example):
            if not isinstance(value, str):
                raise _misfit(path, f"a {name} such as {example} is needed")
            return read(value)
        case ListOf(item):
            if not isinstance(value, list):
                raise _misfit(path, "a list is needed")
            return [check(item, entry, f"{path}[{index}]") for index, entry in enumerate(cast("list[object]", value))]
        case MapOf(item):
            return {key: check(item, entry, _at(path, key)) for key, entry in _mapping(value, path).items()}
        case Record():
            return shape.build(**arguments(shape, value, path))
        case Either(options):
            complaints: list[Misfit] = []
            for option in options:
                try:
                    return check(option, value, path)
                except Misfit as misfit:
                    complaints.append(misfit)
            # The complaint that got deepest into the value is about the option that was meant.
            raise max(complaints, key=lambda misfit: len(misfit.field or ""))
        case Anything():
            return value


def arguments(record: Record, value: object, path: str = "") -> dict[str, object]:
    """Return the keyword arguments that a JSON object gives for a record's function. Raises Misfit if it does not fit, below `path`."""
    given = _mapping(value, path)
    for name in given:
        if name not in record.named:
            raise _misfit(_at(path, name), "there is no such parameter")
    for item in record.fields:
        if item.required and item.name not in given:
            raise _misfit(_at(path, item.name), "it is needed but missing")
    return {item.name: check(item.shape, given[item.name], _at(path, item.name)) for item in record.fields if item.name in given}


def _mapping(value: object, path: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _misfit(path, "an object is needed")
    return cast("dict[str, object]", value)


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _misfit(path: str, message: str) -> Misfit:
    return Misfit(f"{path}: {message}" if path else message, path or None)
