"""The values of a body, as far as they are of a kind."""

from collections.abc import Mapping, Sequence

from router.chat import Json

Fields = Mapping[str, Json]


def mapping(value: Json) -> Fields | None:
    """The value, if it is an object."""
    return value if isinstance(value, Mapping) else None


def listing(value: Json) -> Sequence[Json] | None:
    """The value, if it is a list."""
    return value if isinstance(value, list) else None
