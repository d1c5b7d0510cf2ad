"""The codec of events: encoded events come back equal, and other bytes are refused as unreadable."""

import json
from contextlib import suppress
from typing import Any, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.attempt import Attempt
from router.codec import UnreadableEvents, decode, encode
from router.events import Event, Text, ToolResult
from router.usage import Meter
from router.value import names

TEXTS = st.text(st.characters())  # half surrogate pairs too: a tool may return one
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "arguments": st.dictionaries(TEXTS, JSON, max_size=3),
    "value": st.dictionaries(TEXTS, JSON, max_size=3),
    "after": st.integers(0, 10**6),
    "result": JSON,
    "output": JSON,
    "age": st.none() | st.floats(allow_nan=False),
    "attempts": st.deferred(lambda: st.lists(built(Attempt), max_size=2).map(tuple)),
    "seconds": st.floats(allow_nan=False),
    "began": st.floats(allow_nan=False),
    "first": st.none() | st.floats(allow_nan=False),
    "wait": st.none() | st.floats(allow_nan=False),
    "meter": st.none() | st.builds(Meter),
}
"""Name of a field → the values to generate for it; other fields get values of their declared types."""


def built(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Generate values of this type with every field set, so that a new field is tested as well."""
    held: dict[str, Any] = {}
    for name in names(kind):
        held[name] = FIELDS[name] if name in FIELDS else st.from_type(cast("type", kind.__annotations__[name]))
    return st.fixed_dictionaries(held).map(lambda values: kind(**values))


EVENTS: st.SearchStrategy[Event] = st.one_of(*(built(kind) for kind in get_args(Event)))


@given(st.lists(EVENTS, max_size=6))
def test_decoded_events_equal_the_encoded(given_events: list[Event]) -> None:
    """Decoding an encoded list of any events returns equal events in the same order."""
    assert decode(encode(given_events)) == given_events


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_events_or_unreadable(data: bytes) -> None:
    """Decoding arbitrary bytes or JSON returns events or raises UnreadableEvents, and no other error."""
    with suppress(UnreadableEvents):
        decode(data)


@given(JSON)
def test_event_with_arbitrary_fields_is_unreadable_or_survives_reencoding(value: Any) -> None:
    """An event with arbitrary JSON in its fields is unreadable, or decodes to events that encode and decode to equal ones."""
    for word in ("thought", "source", "file", "input", "call", "result", "state", "start", "finish", "failure"):
        for count in range(7):
            try:
                read = decode(json.dumps([5, [word, *[value] * count]]).encode())
            except UnreadableEvents:
                continue
            assert decode(encode(read)) == read


@pytest.mark.parametrize(
    "data",
    [
        b'[2,"Hi"]',
        b"[]",
        b"{}",
        b"null",
        b'[5,["unknown"]]',
        b"[5,5]",
        b'[5,["finish","never",null,[],""]]',
        b'[5,["finish","stop",null,[],"lost"]]',
        b"[" * 9999,
    ],
)
def test_bytes_of_another_format_are_unreadable(data: bytes) -> None:
    """Bytes of another format version, unknown event names, other JSON and endless nesting raise UnreadableEvents."""
    with pytest.raises(UnreadableEvents):
        decode(data)


def test_lone_surrogate_survives_encoding() -> None:
    """A lone surrogate in a tool result is the same after encoding and decoding."""
    result = ToolResult("c", "t", {"\ud83d": ["\udc00 北京"]})
    assert decode(encode([result, Text("北京")])) == [result, Text("北京")]


def test_non_ascii_text_is_encoded_as_utf_8() -> None:
    """Text outside of ASCII is encoded as UTF-8, not as JSON escapes."""
    assert encode([Text("北京")]) == '[5,"北京"]'.encode()
