"""The JSON texts that the router writes itself."""

import json

import pytest

from router.jsontext import plainly, quoted


def test_text_is_quoted_as_the_json_module_quotes_it() -> None:
    """Every code point is escaped as `json.dumps` escapes it, or is written as it is; a surrogate cannot be written."""
    for first in range(0, 0x110000, 0x100):
        text = "".join(map(chr, range(first, first + 0x100)))
        if 0xD800 <= first < 0xE000:
            with pytest.raises(UnicodeEncodeError):
                quoted(text)
        else:
            assert quoted(text) == json.dumps(text, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "value",
    [
        {"a": "b", "list": [1, -2, 0.5, True, False, None], "deep": {"empty": {}, "none": []}},
        'quotes " and \\ and / and \t\r\n\b\f\x00\x1b\x1f',
        ["", 0, 0.1321, 1234.5, 9_007_199_254_740_993],
    ],
)
def test_plain_value_is_written_as_the_json_module_writes_it(value: object) -> None:
    """A value of JSON types whose texts are printable ASCII, but for escaped characters, becomes what `json.dumps` makes of it."""
    assert plainly(value) == json.dumps(value)


@pytest.mark.parametrize("value", ["é", "\x7f", "\u2028", "\x9b31m", "\ud83d", {"key \U0001f600": 1}, type("Word", (str,), {})("a")])
def test_value_that_is_not_plain_is_left_to_the_json_module(value: object) -> None:
    """A text that is not printable ASCII, which could forge a line or steer a terminal, and a value of another type, give None."""
    assert plainly(value) is None
    json.dumps(value)
