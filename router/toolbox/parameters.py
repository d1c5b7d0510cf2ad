"""The parameters of a tool, by pydantic: their JSON schema, the check of the arguments that a model writes, and the values it returns.
The check is strict: a text is not a number, a number is not a text, `1` is not `true`. A date is a text that spells one.
"""

import ast
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Annotated, Any, Literal, NoReturn, cast, get_type_hints
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from router.chat import JsonObject, repaired
from router.errors import Misfit, Place
from router.toolbox.misfits import explained
from router.toolbox.routes import Supplied, supplied_type
from router.value import Value

CONFIG = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""Configuration of the parameters, and of the dataclasses and TypedDicts among them. A pydantic model decides itself about unknown keys."""


class Parameters(Value, frozen=True):
    """The compiled parameters of one tool. `schema`: their JSON schema, as shown to a model."""

    schema: JsonObject
    _model: type[BaseModel]
    _names: tuple[tuple[str, str], ...]
    """Pairs of a parameter and the field of the model that reads it."""
    supplied: tuple[tuple[str, Supplied], ...] = ()
    """Pairs of a parameter that the router fills in and its type. The schema does not show them."""

    def read(self, text: str) -> dict[str, object]:
        """Return the keyword arguments in a JSON text, with defaults for absent ones. Raises Misfit with the place of each mistake."""
        try:
            made = self._model.model_validate_json(repaired(text).encode(), strict=True)
        except ValidationError as error:
            raise Misfit(explained(error.errors(include_url=False, include_input=False), json.loads(text))) from None
        return {name: getattr(made, field) for name, field in self._names}


def parameters_of(function: Callable[..., object], descriptions: Mapping[str, str]) -> Parameters:
    """Compile the parameters of a function. Raises Misfit, with its name as `field`, if no JSON schema describes the type of one."""
    signature = inspect.signature(function)
    # A field of a parameter's own name could be one that BaseModel has (`schema`, `copy`): the name is its alias.
    hints = {name: _hint(function, parameter) for name, parameter in signature.parameters.items()}
    supplied = tuple((name, kind) for name, hint in hints.items() if (kind := supplied_type(hint)))
    names = tuple((name, f"p{count}") for count, name in enumerate(hints) if name not in dict(supplied))
    fields = {field: _field(hints[name], signature.parameters[name], descriptions.get(name, "")) for name, field in names}
    try:
        return Parameters(*_compiled(function.__name__, fields), names, supplied)
    except REFUSALS:
        for name, field in names:
            try:
                _compiled(function.__name__, {field: fields[field]})
            except REFUSALS as error:
                raise _unfit(name, fields[field][0], error) from None
        raise


def place_of(text: str, function: Callable[..., object], parameter: str, file: str) -> Place:
    """Return the place of a function's parameter in its file's text; the place of the function, if that is unknown."""
    line = inspect.unwrap(function).__code__.co_firstlineno
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and line in (node.lineno, *(one.lineno for one in node.decorator_list)):
            every = node.args
            for found in filter(None, (*every.posonlyargs, *every.args, every.vararg, *every.kwonlyargs, every.kwarg)):
                if found.arg == parameter:
                    before = text.splitlines()[found.lineno - 1].encode()[: found.col_offset]
                    return Place(file, found.lineno, len(before.decode(errors="replace")) + 1)
    return Place(file, line, 1)


def _hint(function: Callable[..., object], parameter: inspect.Parameter) -> object:
    """Return the type of a parameter. Raises Misfit if it has none that can be read, and for `*args` and `**kwargs`."""
    name = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise Misfit(f"{function.__name__} takes *{name}: name each parameter", name)
    if parameter.annotation is parameter.empty:
        raise Misfit(f"parameter {name} of {function.__name__} has no type annotation", name)
    alone = SimpleNamespace(__annotations__={name: parameter.annotation})
    try:
        return get_type_hints(alone, inspect.unwrap(function).__globals__, include_extras=True)[name]
    except (TypeError, NameError, AttributeError, SyntaxError) as error:  # an annotation may be any text
        raise Misfit(str(error), name) from None


def _field(hint: Any, parameter: inspect.Parameter, description: str) -> tuple[object, object]:
    """Return a parameter as a field of a model: (annotation, default). Raises Misfit if pydantic cannot read its type."""
    name = parameter.name
    required = parameter.default is parameter.empty
    try:
        said = FieldInfo.from_annotation(hint) if required else FieldInfo.from_annotated_attribute(hint, parameter.default)
    except (TypeError, AttributeError, PydanticUserError):
        raise _unfit(name, hint) from None
    own: dict[str, Any] = {} if said.alias else {"alias": name}
    if description and not said.description:
        own["description"] = description
    return (Annotated[hint, Field(**own)] if own else hint), ... if required else parameter.default


def _compiled(name: str, fields: Mapping[str, tuple[object, object]]) -> tuple[JsonObject, type[BaseModel]]:
    """Return (JSON schema, pydantic model that reads them) of these fields: name → (annotation, default)."""
    model = create_model(name, __config__=CONFIG, **cast("dict[str, Any]", dict(fields)))
    return model.model_json_schema(schema_generator=_Schema), model


def _unfit(name: str, hint: Any, error: Exception | None = None) -> Misfit:
    shown = hint.__origin__ if getattr(hint, "__metadata__", None) else hint
    why = error.message if isinstance(error, PydanticUserError) and error.code in ADVICE else ""
    return Misfit(f"{shown!r} is not a type that JSON has" + (f" ({why})" if why else ""), name)


REFUSALS = (PydanticUserError, TypeError, AttributeError, NameError, RecursionError)
"""Exceptions of pydantic for a type that it has no schema for."""
ADVICE = frozenset({"typed-dict-version", "class-not-fully-defined", "undefined-annotation"})
"""Errors of pydantic whose sentence advises what to write instead."""


class _Schema(GenerateJsonSchema):
    """A generator of JSON schemas without the titles that pydantic makes of names, which cost tokens and add nothing.
    It refuses types whose schema would describe texts that no model can write.
    """

    ignored_warning_kinds = frozenset({"non-serializable-default"})  # pyright: ignore[reportAssignmentType, reportIncompatibleVariableOverride]

    def generate(self, schema: Any, mode: Literal["validation", "serialization"] = "validation") -> JsonSchemaValue:
        made = super().generate(schema, mode)
        made.pop("title", None)
        for name, one in made.get("$defs", {}).items():
            if one.get("title") == name:
                del one["title"]
        return made

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's own signature
        return False

    def emit_warning(self, kind: str, detail: str) -> None:
        if kind == "skipped-choice":  # one of several types has no schema: the schema would show only the others
            raise TypeError(detail)

    def _refused(self, schema: object) -> NoReturn:
        raise TypeError(schema)

    bytes_schema = complex_schema = is_subclass_schema = _refused
    generator_schema = _refused  # its items would be checked only when the function takes them


VALUES = BaseModel, date, time, timedelta, Decimal, Enum, UUID
"""Types that a tool may return besides JSON and dataclasses."""
ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


def plain(value: object) -> object:
    """Return the JSON form of a dataclass or a value of VALUES. Raises TypeError for any other value: a tool may not return it."""
    if isinstance(value, VALUES) or (is_dataclass(value) and not isinstance(value, type)):
        return ANYTHING.dump_python(value, mode="json")
    raise TypeError(type(value).__name__)
