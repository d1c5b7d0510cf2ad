"""Decoding of a provider's JSON documents: the few fields that a lane uses, and those even from documents that are not quite valid."""

import json
from functools import cache
from typing import Any, TypeVar, cast, get_args, get_origin

import msgspec
from msgspec.structs import fields

from router.chat import separators

T = TypeVar("T")

MAX_VALUES = 100_000
"""Limit of JSON values in one document: parsing more would block the event loop. Commas and brackets within texts are counted too."""
SMALL = 64 * 1024
"""Bytes up to which a document is parsed without counting its values."""


def decoded(data: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """Decode the used fields of a JSON document, except those of a wrong type. None if it is invalid, too deep or has too many values."""
    if len(data) > SMALL and separators(data) >= MAX_VALUES:
        return None
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    except RecursionError:
        return None
    try:
        # The standard library also lets half a surrogate pair and control characters through, which this decoder refuses.
        return _fitting(json.loads(_text(data), strict=False), decoder.type)
    except (ValueError, RecursionError):
        return None


def arguments_text(arguments: object) -> str:
    """Return the arguments of a call as a text of JSON; empty if there are none. Some gateways send that text, others an object."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False) if arguments else ""


def _text(data: bytes) -> str:
    """Decode a document as UTF-8, with surrogates as they are; otherwise invalid bytes become U+FFFD (WHATWG HTML, 9.2.6)."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


_fields = cache(fields)
"""Cached `fields`: the look-up of types by their names takes longer than the rest of a lenient decoding (14 µs)."""


def _fitting(value: Any, kind: Any) -> Any:
    """Convert the parts of a value that match a type; numbers in quotes match too. Raises ValidationError if no part matches."""
    for one in get_args(kind) or (kind,):
        if isinstance(value, dict) and isinstance(one, type) and issubclass(one, msgspec.Struct):
            found = {field.name: _kept(value[name], field.type) for field in _fields(one) if (name := field.encode_name) in value}
            return one(**{name: held[0] for name, held in found.items() if held})
        if isinstance(value, list) and get_origin(one) is list:
            return [held[0] for each in cast("list[Any]", value) if (held := _kept(each, get_args(one)[0]))]
    return msgspec.convert(value, kind, strict=not isinstance(value, str))


def _kept(value: Any, kind: Any) -> tuple[Any] | None:
    """Return what `_fitting` returns in a one-element tuple; None if no part of the value matches."""
    try:
        return (_fitting(value, kind),)
    except (msgspec.ValidationError, UnicodeEncodeError):  # the latter for half a surrogate pair in a value of another type
        return None
