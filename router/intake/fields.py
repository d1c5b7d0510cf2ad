"""Checked access to JSON values of a body."""

from collections.abc import Mapping, Sequence

from router.chat import Json, repaired
from router.errors import BadAsk, TooLarge

Fields = Mapping[str, Json]


def mapping(value: Json) -> Fields | None:
    """Return the value if it is an object, else None."""
    # Of a parsed body it is a dict or nothing, which is seen in a tenth of the time.
    return value if value is None or isinstance(value, dict | Mapping) else None


def listing(value: Json) -> Sequence[Json] | None:
    """Return the value if it is a list, else None."""
    return value if isinstance(value, list) else None


def needed(value: Json, path: str, what: str = "an object") -> Fields:
    """Return an object. BadAsk with the path, and with what is needed, if the value is not one."""
    if (found := mapping(value)) is None:
        raise BadAsk(f"{path}: {what} is needed.")
    return found


def filled(value: Json, path: str, most: int, what: str = "a list with at least one message", of: str = "") -> Sequence[Json]:
    """Return a list. BadAsk with the path, and with what is needed, if it is empty or no list; TooLarge for more than `most` values."""
    if not isinstance(value, list) or not value:
        raise BadAsk(f"{path}: {what} is needed.")
    if len(value) > most:
        raise TooLarge(f"{path}: {most}{of} at most.")
    return value


def flag(value: Json, path: str, *, usual: bool = False) -> bool:
    """Return true or false; `usual` for null. BadAsk with the path for any other value."""
    if not isinstance(value, bool | None):
        raise BadAsk(f"{path}: true or false is needed.")
    return usual if value is None else value


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
