"""JSON texts as `json.dumps` writes them, by writers that are made once: it makes an encoder for each text."""

from collections.abc import Callable, Iterable
from json import JSONEncoder, encoder
from typing import Any

import msgspec

written: Callable[[object], bytes] = msgspec.json.Encoder().encode
"""Returns a value without floats as JSON in UTF-8, as `json.dumps` does with compact separators and without `ensure_ascii`.

Raises UnicodeEncodeError for a text with a surrogate: see `repaired`. A text in it is a `str`, not an instance of a subclass.
"""
quoted: Callable[[str], bytes] = written
"""Returns a text as a JSON string in UTF-8; raises as `written`."""
ascii_quoted: Callable[[str], str] = encoder.encode_basestring_ascii
"""Returns a text as a JSON string in ASCII, as `json.dumps` writes it."""
DELETE = 0x7F
_make_encoder: Any = getattr(encoder, "c_make_encoder", None)
"""The encoder in C behind `json.dumps`; None on an interpreter that has none."""


def writer(
    default: Callable[[Any], object], *, ascii_only: bool = True, separators: tuple[str, str] = (", ", ": "), sort_keys: bool = False
) -> Callable[[object], str]:
    """Return a function that writes a value as `json.dumps` would with these options.
    It raises RecursionError for a value that contains itself (ValueError where Python lacks its C encoder).
    """
    if _make_encoder is None:
        return JSONEncoder(ensure_ascii=ascii_only, separators=separators, sort_keys=sort_keys, default=default).encode
    pieces: Callable[[object, int], Iterable[str]] = _make_encoder(
        markers=None,
        default=default,
        encoder=encoder.encode_basestring_ascii if ascii_only else encoder.encode_basestring,
        indent=None,
        key_separator=separators[1],
        item_separator=separators[0],
        sort_keys=sort_keys,
        skipkeys=False,
        allow_nan=True,
    )
    join = "".join
    return lambda value: join(pieces(value, 0))


def plainly(value: object) -> str | None:
    """Return a value as `json.dumps` writes it, made in C throughout; None if it has a text that is not printable ASCII.

    A float is the same number, if not always the same digits (`1e-6` for `1e-06`); NaN and infinity are null. Types must be those of JSON.
    """
    try:
        made = msgspec.json.format(written(value), indent=0)
    except (ValueError, TypeError, OverflowError):  # a surrogate, a subclass of `str`, a number above 64 bits
        return None
    return made.decode() if made.isascii() and DELETE not in made else None
