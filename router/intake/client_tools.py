"""The tools that a client brings with a question and runs itself, for all APIs."""

import re
from collections.abc import Callable, Mapping, Sequence

from router.chat import AUTO, Choice, Json, JsonObject, ToolSpec
from router.errors import BadAsk
from router.intake.fields import Fields, flag, listing, mapping, needed, text

TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_TOOLS = 128
"""The most tools of one question."""
EMPTY: JsonObject = {"type": "object", "properties": {}}
"""The schema of a tool without parameters."""
SCHEMA = "a JSON schema"


Harmless = Mapping[str, tuple[Json, ...]]
"""Name of a field → its values that are harmless; null is always harmless."""


def meant(fields: Fields, known: Harmless) -> tuple[str, ...]:
    """Return the names of the known fields that have a value which is not harmless."""
    if known.keys().isdisjoint(fields):
        return ()
    return tuple(name for name, harmless in known.items() if (value := fields.get(name)) is not None and value not in harmless)


def refuse_unserved(fields: Fields, unserved: Harmless) -> None:
    """Raise BadAsk for a field that changes the answer and is not served: an answer that ignores it would look right."""
    for name in meant(fields, unserved):
        raise BadAsk(f"{name}: this is not served here.")


def tools(value: Json, read: Callable[[Json, str], ToolSpec]) -> tuple[ToolSpec, ...]:
    """Return the tools in a list, as `read` makes each of its value and path. BadAsk for another value, too many tools, or equal names."""
    if not value:
        return ()
    listed = listing(value)
    if listed is None or len(listed) > MAX_TOOLS:
        raise BadAsk(f"tools: a list of at most {MAX_TOOLS} tools is needed.")
    made = tuple(read(one, f"tools[{index}]") for index, one in enumerate(listed))
    if len({tool.name for tool in made}) != len(made):
        raise BadAsk("tools: two of them have the same name.")
    return made


def named(value: Json) -> tuple[ToolSpec, ...]:
    """Return the tools in an object (none otherwise): name → {description, parameters}, in the AI SDK `inputSchema`. BadAsk if invalid."""
    fields = mapping(value) or {}
    if len(fields) > MAX_TOOLS:
        raise BadAsk(f"tools: at most {MAX_TOOLS} tools are taken.")
    return tuple(_named(name, one) for name, one in fields.items())


def _named(name: str, value: Json) -> ToolSpec:
    if not TOOL_NAME.fullmatch(name):
        raise BadAsk("tools: each name is made of letters, digits, _ and -, 64 at most.")
    path = f"tools.{name}"
    fields = needed(value, path, "an object with `parameters`")
    key = "inputSchema" if fields.get("parameters") is None and fields.get("inputSchema") is not None else "parameters"
    schema = needed(fields.get(key) or EMPTY, f"{path}.{key}", SCHEMA)
    schema = needed(schema.get("jsonSchema") or schema, f"{path}.{key}", SCHEMA)  # the AI SDK's object around a schema
    return ToolSpec(name, text(fields.get("description") or "", f"{path}.description"), schema)


def tool_name(value: Json, path: str) -> str:
    """Return a tool's name. BadAsk unless it has 1 to 64 letters, digits, _ and -."""
    name = text(value, path)
    if not TOOL_NAME.fullmatch(name):
        raise BadAsk(f"{path}: letters, digits, _ and -, 64 at most.")
    return name


def function(fields: Fields, path: str) -> ToolSpec:
    """Return a tool of OpenAI's APIs: {name, description, parameters, strict}, of which only the name is required. BadAsk if invalid."""
    name = tool_name(fields.get("name"), f"{path}.name")
    schema = needed(fields.get("parameters") or EMPTY, f"{path}.parameters", SCHEMA)
    strict = flag(fields.get("strict"), f"{path}.strict")
    return ToolSpec(name, text(fields.get("description") or "", f"{path}.description"), schema, strict)


def served_function(value: Json, path: str) -> ToolSpec:
    """Return a tool as `function` does. BadAsk also for a tool of another type, which a provider would run."""
    fields = mapping(value) or {}
    if fields.get("type") != "function":
        raise BadAsk(f"{path}.type: tools that a provider runs are not served here; functions are.")
    return function(fields, path)


def choice(value: Json, own: Sequence[ToolSpec], *, nested: bool) -> Choice:
    """Return the Choice that a `tool_choice` in OpenAI's form stands for; AUTO if it is None. BadAsk if invalid or of no tool in `own`.

    nested: whether the name of a function stands in an object `function`, as in chat completions
    """
    if value is None:
        return AUTO
    if value in ("auto", "none", "required"):
        return Choice(value)
    fields = mapping(value) or {}
    name = (mapping(fields.get("function")) or {} if nested else fields).get("name")
    if fields.get("type") != "function" or not isinstance(name, str) or name not in {tool.name for tool in own}:
        raise BadAsk("tool_choice: auto, none, required, or a function among the tools is needed.")
    return Choice("named", name)


def typed_choice(value: Json, own: Sequence[ToolSpec], path: str, required: str, key: str) -> Choice:
    """Return the Choice that an object with a type stands for; AUTO for any other value. BadAsk if it is invalid or of no tool in `own`.

    required: the type that requires a call of some tool
    key: the field with the tool's name, in an object of type `tool`
    """
    fields = mapping(value)
    if fields is None or (kind := fields.get("type")) == "auto":
        return AUTO
    if kind in ("none", required):
        return Choice("none" if kind == "none" else "required")
    name = fields.get(key)
    if kind != "tool" or not isinstance(name, str) or name not in {tool.name for tool in own}:
        first, second = sorted((required, "none"))
        raise BadAsk(f"{path}.type: auto, {first}, {second}, or tool with the name of one of the tools is needed.")
    return Choice("named", name)
