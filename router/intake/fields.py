"""The values of a body, as far as they are of a kind."""

from collections.abc import Mapping, Sequence

from router.chat import Json, repaired
from router.errors import BadAsk

Fields = Mapping[str, Json]


def mapping(value: Json) -> Fields | None:
    """The value, if it is an object."""
    # Of a parsed body it is a dict or nothing, which is seen in a tenth of the time.
    return value if value is None or isinstance(value, dict | Mapping) else None


def listing(value: Json) -> Sequence[Json] | None:
    """The value, if it is a list."""
    return value if isinstance(value, list) else None


def text(value: Json, path: str) -> str:
    """A text, its surrogate pairs whole."""
    if not isinstance(value, str):
        raise BadAsk(f"{path}: a text is needed.")
    return repaired(value)
