"""The JSON texts that the router writes itself."""

import json

import pytest

from router.jsontext import quoted


def test_text_is_quoted_as_the_json_module_quotes_it() -> None:
    """Every code point is escaped as `json.dumps` escapes it, or is written as it is; a surrogate cannot be written."""
    for first in range(0, 0x110000, 0x100):
        text = "".join(map(chr, range(first, first + 0x100)))
        if 0xD800 <= first < 0xE000:
            with pytest.raises(UnicodeEncodeError):
                quoted(text)
        else:
            assert quoted(text) == json.dumps(text, ensure_ascii=False).encode()
