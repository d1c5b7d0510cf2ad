"""Checked access to JSON values of a body."""

from collections.abc import Mapping, Sequence

from router.chat import Json, repaired
from router.errors import BadAsk

Fields = Mapping[str, Json]


def mapping(value: Json) -> Fields | None:
    """Return the value if it is an object, else None."""
    # Of a parsed body it is a dict or nothing, which is seen in a tenth of the time.
    return value if value is None or isinstance(value, dict | Mapping) else None


def listing(value: Json) -> Sequence[Json] | None:
    """Return the value if it is a list, else None."""
    return value if isinstance(value, list) else None


def text(value: Json, path: str) -> str:
    """Return a text, with lone surrogates replaced. BadAsk with the path if the value is not a text."""
    if not isinstance(value, str):
        raise BadAsk(f"{path}: a text is needed.")
    return repaired(value)


def refusal_of(part: Fields, path: str) -> str:
    """Return the field `refusal` of a part or message of OpenAI's. BadAsk with the path if there is none."""
    return text(part.get("refusal"), f"{path}.refusal")


def text_of(part: Fields, path: str) -> str:
    """Return the field `text` of a part. BadAsk with the path if it is missing or not a text."""
    return text(part.get("text"), f"{path}.text")
