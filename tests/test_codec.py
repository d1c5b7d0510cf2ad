"""Events as bytes and back: whatever they hold, and whatever else the bytes may be."""

import json
from contextlib import suppress
from typing import Any, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.attempt import Attempt
from router.codec import UnreadableEvents, decode, encode
from router.events import Event, Text, ToolResult
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
}
"""What the fields of these names hold; what all others hold, their types say."""


def built(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Values of this type, every field given: one that is added to it is tried, too."""
    held: dict[str, Any] = {}
    for name in names(kind):
        held[name] = FIELDS[name] if name in FIELDS else st.from_type(cast("type", kind.__annotations__[name]))
    return st.fixed_dictionaries(held).map(lambda values: kind(**values))


EVENTS: st.SearchStrategy[Event] = st.one_of(*(built(kind) for kind in get_args(Event)))


@given(st.lists(EVENTS, max_size=6))
def test_decoded_events_equal_the_encoded(given_events: list[Event]) -> None:
    """Each event equal to the one that went in, in their order."""
    assert decode(encode(given_events)) == given_events


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_events_or_unreadable(data: bytes) -> None:
    """Nothing else is raised, whatever lies there."""
    with suppress(UnreadableEvents):
        decode(data)


@given(JSON)
def test_fields_of_another_kind_are_unreadable_or_read_as_what_they_say(value: Any) -> None:
    """A field that does not fit is no event with a wrong field in it: it could be written again as it was read."""
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
def test_another_release_is_unreadable(data: bytes) -> None:
    """As are what is no list, a word that is none, and what is nested without end."""
    with pytest.raises(UnreadableEvents):
        decode(data)


def test_half_a_surrogate_pair_is_kept() -> None:
    """A tool may return one; it is for the wires to mend."""
    result = ToolResult("c", "t", {"\ud83d": ["\udc00 北京"]})
    assert decode(encode([result, Text("北京")])) == [result, Text("北京")]


def test_text_is_written_as_it_is() -> None:
    """A character outside of ASCII takes its bytes, not an escape of six."""
    assert encode([Text("北京")]) == '[5,"北京"]'.encode()
