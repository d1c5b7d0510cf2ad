"""Documents of a provider, as far as they may hold up the loop."""

import json

import msgspec
import pytest

from router.targets import http, openai
from router.targets.http import MAX_VALUES


def test_document_with_too_many_values_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither decoder is given it: each would hold the interpreter's lock until it is done, the lenient one for seconds."""
    monkeypatch.setattr(json, "loads", lambda _: pytest.fail("parsed"))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    decoder = msgspec.json.Decoder(dict[str, list[list[int]]])
    for size, found in ((MAX_VALUES // 2 - 2, True), (MAX_VALUES, False)):
        data = b'{"a":[' + b"[]," * size + b"[]]}"
        assert (http.decoded(data, decoder) is not None) is found


def test_long_text_is_no_crowd_of_values() -> None:
    """A megabyte of prose, or of a picture, has far fewer commas and brackets than the bound."""
    said = "Well, then, so be it. " * 45_000
    body = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
    assert http.decoded(body, openai.DECODE) is not None
