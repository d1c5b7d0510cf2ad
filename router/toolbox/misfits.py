"""Sentences on wrong arguments of a tool call, from which a model can correct them: the place, and what is expected there.
Pydantic names each alternative of a union that did not fit. Here only the likeliest alternative is named: the right kind of value, with the
fewest mistakes. If no alternative has that kind, all of them are named.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from router.chat import Json
from router.value import Value

MAX_MISFITS = 5
"""Maximum mistakes that are named; the others are only counted."""
MAX_CHARS = 300
"""Characters of one mistake."""
MAX_PATH = 120
"""Characters of the path to a value: its names were written by the model."""

NOUNS = {
    **dict.fromkeys(["string_type", "string_sub_type"], "a text"),
    **dict.fromkeys(["int_type", "int_parsing", "int_from_float"], "a whole number"),
    **dict.fromkeys(["float_type", "float_parsing"], "a number"),
    **dict.fromkeys(["bool_type", "bool_parsing"], "true or false"),
    **dict.fromkeys(["none_required"], "null"),
    **dict.fromkeys(["list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type", "named_tuple_type"], "a list"),
    **dict.fromkeys(["dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type", "typed_dict_type"], "an object"),
    **dict.fromkeys(["finite_number"], "a finite number"),
    **dict.fromkeys(["datetime_type", "datetime_parsing", "datetime_from_date_parsing"], "a date and time such as 2026-01-31T09:30:00Z"),
    **dict.fromkeys(["date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact"], "a date such as 2026-01-31"),
    **dict.fromkeys(["time_type", "time_parsing"], "a time such as 09:30:00"),
    **dict.fromkeys(["time_delta_type", "time_delta_parsing"], "a duration such as PT90M"),
    **dict.fromkeys(["uuid_type", "uuid_parsing"], "a UUID"),
    **dict.fromkeys(["decimal_type", "decimal_parsing"], "a decimal number"),
    **dict.fromkeys(["url_type", "url_parsing"], "a URL"),
}
"""Error of pydantic → the expected kind of value."""
SENTENCES = {
    **dict.fromkeys(["missing", "missing_argument", "missing_keyword_only_argument"], "it is needed but missing"),
    **dict.fromkeys(["extra_forbidden", "unexpected_keyword_argument"], "there is no such parameter"),
    "json_invalid": "they are nested too deeply",  # they were written as JSON here
}


class _Misfit(Value, frozen=True):
    """A mistake in a call's arguments. `branches`: (path, name) of the union alternatives that its value is in, outermost first."""

    path: str
    branches: tuple[tuple[str, str], ...]
    noun: str = ""
    """The expected kind of value, if the given one is of another kind."""
    sentence: str = ""

    def __str__(self) -> str:
        text = f"{_cut(self.noun, MAX_CHARS)} is needed" if self.noun else _cut(self.sentence, MAX_CHARS)
        return f"{_cut(self.path, MAX_PATH)}: {text}" if self.path else text


def explained(errors: Iterable[Mapping[str, Any]], given: Json) -> str:
    """Return one sentence with the mistakes that pydantic found in the given arguments: the first five, and the number of the others."""
    found = list(dict.fromkeys(map(str, _likeliest([_misfit(error, given) for error in errors]))))
    more = len(found) - MAX_MISFITS
    return "; ".join(found[:MAX_MISFITS]) + (f"; and {more} more" if more > 0 else "")


def _misfit(error: Mapping[str, Any], given: Json) -> _Misfit:
    kind, words = str(error["type"]), str(error["msg"])
    path, branches = _path_and_branches(error["loc"], given, missing=kind.startswith("missing"))
    if kind in ("enum", "literal_error"):
        return _Misfit(path, branches, str(error["ctx"]["expected"]))
    if kind in NOUNS:
        return _Misfit(path, branches, NOUNS[kind])
    for before, after in (("Input should be", "it must be"), ("Value error, ", ""), ("Assertion failed, ", "")):
        if words.startswith(before):
            words = after + words.removeprefix(before)
    return _Misfit(path, branches, sentence=SENTENCES.get(kind, words))


def _path_and_branches(parts: Sequence[str | int], given: Json, *, missing: bool) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return (the path to a value, the union alternatives on the way). A part that is neither a key nor an index names an alternative."""
    path, value = "", given
    branches: list[tuple[str, str]] = []
    for count, part in enumerate(parts, 1):
        match part, value:
            case int(), list() if part < len(value):
                path, value = f"{path}[{part}]", value[part]
            case str(), dict() if part in value or (missing and count == len(parts)):
                path, value = f"{path}.{part}" if path else part, value.get(part)
            case _:
                branches.append((path, str(part)))
    return path, tuple(branches)


def _likeliest(found: Sequence[_Misfit], level: int = 0) -> list[_Misfit]:
    """Return the mistakes; of each union only those of the alternative probably meant, or one that names all kinds if none is likely.
    level: enclosing unions decided already
    """
    meant: list[_Misfit] = []
    unions: dict[str, dict[str, list[_Misfit]]] = {}
    for one in found:
        if len(one.branches) <= level:
            meant.append(one)
        else:
            path, name = one.branches[level]
            unions.setdefault(path, {}).setdefault(name, []).append(one)
    for path, alternatives in unions.items():
        fit = [some for some in alternatives.values() if any(one.path != path or not one.noun for one in some)]
        if fit:
            meant += _likeliest(min(fit, key=len), level + 1)
        else:
            nouns = dict.fromkeys(one.noun for some in alternatives.values() for one in some)
            meant.append(_Misfit(path, (), " or ".join(nouns)))
    return meant


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
