"""The values of a body, as far as they are of a kind."""

import re
from collections.abc import Mapping, Sequence

from router.chat import Json

Fields = Mapping[str, Json]
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The name of a tool that a client brings."""
MAX_TOOLS = 128
"""Tools that a client brings with one question."""


def mapping(value: Json) -> Fields | None:
    """The value, if it is an object."""
    return value if isinstance(value, Mapping) else None


def listing(value: Json) -> Sequence[Json] | None:
    """The value, if it is a list."""
    return value if isinstance(value, list) else None
