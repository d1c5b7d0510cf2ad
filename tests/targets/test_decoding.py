"""The bound on JSON documents of providers, so that parsing does not block the event loop."""

import json

import msgspec
import pytest

from router.targets import chat_chunks, decoding
from router.targets.decoding import MAX_VALUES


def test_document_with_too_many_values_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document with more than MAX_VALUES values is not parsed by either decoder; one below the bound is."""
    monkeypatch.setattr(json, "loads", lambda _: pytest.fail("parsed"))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    decoder = msgspec.json.Decoder(dict[str, list[list[int]]])
    for size, found in ((MAX_VALUES // 2 - 2, True), (MAX_VALUES, False)):
        data = b'{"a":[' + b"[]," * size + b"[]]}"
        assert (decoding.decoded(data, decoder) is not None) is found


def test_long_text_does_not_count_as_many_values() -> None:
    """A megabyte of prose in one JSON string is parsed, although it contains many commas."""
    said = "Well, then, so be it. " * 45_000
    body = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
    assert decoding.decoded(body, chat_chunks.DECODE) is not None


def test_half_a_surrogate_pair_in_a_field_of_another_type_is_skipped() -> None:
    """A field that has a text with half a surrogate pair in place of an object is skipped, and the rest of the document is read."""
    chunk = decoding.decoded(b'{"model": "m", "usage": "\\ud83d", "choices": [{"delta": {"content": "Hi"}}]}', chat_chunks.DECODE)
    assert chunk is not None
    assert chunk.model == "m"
    assert chunk.choices
