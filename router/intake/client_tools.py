"""The tools that a client brings with a question and runs itself, whichever API it speaks."""

import re
from collections.abc import Callable, Mapping

from router.chat import Json, ToolSpec
from router.errors import BadAsk
from router.intake.fields import Fields, listing
from router.intake.messages import text

TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_TOOLS = 128
"""Tools of one question."""


def refuse_unserved(fields: Fields, meant: Mapping[str, tuple[Json, ...]]) -> None:
    """Refuse fields that change the answer and are not served: an answer that ignores them would look right. `meant`: each of them → the
    values that ask for nothing.
    """
    for name, harmless in meant.items():
        if (value := fields.get(name)) is not None and value not in harmless:
            raise BadAsk(f"{name}: this is not served here.")


def tools(value: Json, read: Callable[[Json, str], ToolSpec]) -> tuple[ToolSpec, ...]:
    """A body's tools. `read`: one of them, at its place."""
    listed = listing(value or [])
    if listed is None or len(listed) > MAX_TOOLS:
        raise BadAsk(f"tools: a list of at most {MAX_TOOLS} tools is needed.")
    made = tuple(read(one, f"tools[{index}]") for index, one in enumerate(listed))
    if len({tool.name for tool in made}) != len(made):
        raise BadAsk("tools: two of them have the same name.")
    return made


def tool_name(value: Json, path: str) -> str:
    """A tool's name."""
    name = text(value, path)
    if not TOOL_NAME.fullmatch(name):
        raise BadAsk(f"{path}: letters, digits, _ and -, 64 at most.")
    return name
