"""The tools that a client brings with a question and runs itself, for all APIs."""

import re
from collections.abc import Callable, Mapping, Sequence

from router.chat import AUTO, Choice, Json, JsonObject, ToolSpec
from router.errors import BadAsk
from router.intake.fields import Fields, listing, mapping, text

TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_TOOLS = 128
"""The most tools of one question."""
EMPTY: JsonObject = {"type": "object", "properties": {}}
"""The schema of a tool without parameters."""


def refuse_unserved(fields: Fields, meant: Mapping[str, tuple[Json, ...]]) -> None:
    """Raise BadAsk for a field that changes the answer and is not served: an answer that ignores it would look right.

    meant: each such field → its values that are harmless; null is always harmless
    """
    if meant.keys().isdisjoint(fields):
        return
    for name, harmless in meant.items():
        if (value := fields.get(name)) is not None and value not in harmless:
            raise BadAsk(f"{name}: this is not served here.")


def tools(value: Json, read: Callable[[Json, str], ToolSpec]) -> tuple[ToolSpec, ...]:
    """Return the tools in a list; none for an empty or missing one. BadAsk if it is no list, for too many tools, or for equal names.

    read: returns one tool, given its value and its path
    """
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
    """Return the tools in an object: name → {description, parameters}, as assistant-ui sends them, or `inputSchema` as in the AI SDK.

    An empty tuple if the value is not an object. BadAsk for too many tools or an invalid one.
    """
    fields = mapping(value) or {}
    if len(fields) > MAX_TOOLS:
        raise BadAsk(f"tools: at most {MAX_TOOLS} tools are taken.")
    return tuple(_named(name, one) for name, one in fields.items())


def _named(name: str, value: Json) -> ToolSpec:
    if not TOOL_NAME.fullmatch(name):
        raise BadAsk("tools: each name is made of letters, digits, _ and -, 64 at most.")
    path = f"tools.{name}"
    if (fields := mapping(value)) is None:
        raise BadAsk(f"{path}: an object with `parameters` is needed.")
    key = "inputSchema" if fields.get("parameters") is None and fields.get("inputSchema") is not None else "parameters"
    schema = mapping(fields.get(key) or EMPTY)
    schema = schema and mapping(schema.get("jsonSchema") or schema)  # the AI SDK's object around a schema
    if schema is None:
        raise BadAsk(f"{path}.{key}: a JSON schema is needed.")
    return ToolSpec(name, text(fields.get("description") or "", f"{path}.description"), schema)


def tool_name(value: Json, path: str) -> str:
    """Return a tool's name. BadAsk unless it has 1 to 64 letters, digits, _ and -."""
    name = text(value, path)
    if not TOOL_NAME.fullmatch(name):
        raise BadAsk(f"{path}: letters, digits, _ and -, 64 at most.")
    return name


def function(fields: Fields, path: str) -> ToolSpec:
    """Return a tool in the form of OpenAI's APIs: {name, description, parameters, strict}. BadAsk if it is invalid.

    Without parameters it gets an empty schema; without `strict`, false.
    """
    name = tool_name(fields.get("name"), f"{path}.name")
    schema = mapping(fields.get("parameters") or EMPTY)
    if schema is None:
        raise BadAsk(f"{path}.parameters: a JSON schema is needed.")
    strict = fields.get("strict")
    if not isinstance(strict, bool | None):
        raise BadAsk(f"{path}.strict: true or false is needed.")
    return ToolSpec(name, text(fields.get("description") or "", f"{path}.description"), schema, strict is True)


def choice(value: Json, own: Sequence[ToolSpec], named: Callable[[Fields], Fields]) -> Choice:
    """Return the Choice that a `tool_choice` in OpenAI's form stands for; AUTO if it is None. BadAsk if invalid or of no tool in `own`.

    own: the tools that the client brings
    named: returns, of a choice of one function, the object with its name
    """
    if value is None:
        return AUTO
    if value in ("auto", "none", "required"):
        return Choice(value)
    fields = mapping(value) or {}
    name = named(fields).get("name")
    if fields.get("type") != "function" or not isinstance(name, str) or name not in {tool.name for tool in own}:
        raise BadAsk("tool_choice: auto, none, required, or a function among the tools is needed.")
    return Choice("named", name)
