"""The cache key of a question: equal for equal questions, different for any difference that an answer depends on."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.cache import key
from router.chat import Ask, CacheControl, Call, Choice, File, Message, Part, Result, ToolSpec
from router.params import Params
from router.value import replace

TEXT = "What is the weather?"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}


def ask(*messages: Message, **more: Any) -> Ask:
    """Return a question with these messages, by default one about the weather."""
    return Ask(model="chat-model", messages=messages or (Message("user", (TEXT,)),), **more)


def of(one: Ask, made_by: str = "m", caller: str = "") -> str:
    """Return the cache key of a question. `made_by`: the configuration that would answer it."""
    return key(one, made_by, caller)


def with_part(part: Part) -> Ask:
    """Return a question with one assistant message of this one part."""
    return ask(Message("assistant", (part,)))


PROBES: dict[str, tuple[Ask, Ask]] = {
    "another text": (ask(), ask(Message("user", (TEXT + " ",)))),
    "another role": (ask(), ask(Message("system", (TEXT,)))),
    "a text cut elsewhere": (ask(Message("user", ("ab", "c"))), ask(Message("user", ("a", "bc")))),
    "two messages for one": (ask(Message("user", ("a", "b"))), ask(Message("user", ("a",)), Message("user", ("b",)))),
    "another order": (
        ask(Message("user", ("a",)), Message("user", ("b",))),
        ask(Message("user", ("b",)), Message("user", ("a",))),
    ),
    "a text that looks like a file": (with_part('["file","image/png","u",""]'), with_part(File("image/png", "u"))),
    "a file's name for its kind": (with_part(File("a", "u", "b")), with_part(File("b", "u", "a"))),
    "a call for a result": (with_part(Call("c", "t", {})), with_part(Result("c", "t", {}))),
    "an error for a result": (with_part(Result("c", "t", 1)), with_part(Result("c", "t", 1, is_error=True))),
    "a text for a number": (with_part(Result("c", "t", "1")), with_part(Result("c", "t", 1))),
    "true for one": (with_part(Result("c", "t", True)), with_part(Result("c", "t", 1))),
    "none for its name": (with_part(Result("c", "t", None)), with_part(Result("c", "t", "null"))),
    "half a pair for its escape": (with_part("\ud800"), with_part("\\ud800")),
    "half a pair for its replacement": (with_part("\ud800"), with_part("\ufffd")),
    "a parameter": (ask(), ask(params=Params(temperature=0))),
    "another parameter's value": (ask(params=Params(top_p=1)), ask(params=Params(temperature=1))),
    "a tool": (ask(), ask(tools=(ToolSpec("t", "d", SCHEMA),))),
    "a tool's words": (ask(tools=(ToolSpec("t", "d", SCHEMA),)), ask(tools=(ToolSpec("t", "e", SCHEMA),))),
    "a tool's schema": (ask(tools=(ToolSpec("t", "d", SCHEMA),)), ask(tools=(ToolSpec("t", "d", {"type": "object"}),))),
    "a choice": (ask(), ask(choice=Choice("none"))),
    "a tool that is chosen": (ask(choice=Choice("named", "a")), ask(choice=Choice("named", "b"))),
}


@pytest.mark.parametrize("name", PROBES)
def test_difference_that_a_provider_would_see_changes_the_cache_key(name: str) -> None:
    """Two questions that differ in a text, role, part, parameter, tool or tool choice have different keys."""
    one, other = PROBES[name]
    assert of(one) != of(other)


def test_cache_key_differs_by_configuration_and_caller() -> None:
    """A question has nine different keys for three configurations and three callers, the empty string among each."""
    keys = {of(ask(), made_by, caller) for made_by in ("a", "b", "") for caller in ("a", "b", "")}
    assert len(keys) == 9


def test_cache_key_ignores_fields_that_no_provider_receives() -> None:
    """Model name, body fields, deadline, caller and cache control of an Ask do not change its key."""
    other = replace(
        ask(), model="gpt-4", fields={"id": "chat-1"}, extra={"a": 1}, until=5.0, caller="me", cache=CacheControl(0, store=False)
    )
    assert of(other) == of(ask())


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab\ud800", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)


def turned(value: Any) -> Any:
    """Return the value with the keys of every object in reverse order."""
    if isinstance(value, dict):
        return {name: turned(inner) for name, inner in reversed(value.items())}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return [turned(inner) for inner in value] if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]


@given(st.dictionaries(st.text("ab", max_size=2), VALUES, max_size=4))
def test_cache_key_ignores_the_order_of_json_keys(value: dict[str, Any]) -> None:
    """Objects in arguments, results and schemas with their keys in reverse order give the same key."""

    def asking(one: dict[str, Any]) -> Ask:
        parts = (Call("c", "t", one), Result("c", "t", one))
        return ask(Message("assistant", parts), tools=(ToolSpec("t", "d", one),))

    assert of(asking(value)) == of(asking(turned(value)))


@given(VALUES, VALUES)
def test_cache_keys_of_two_json_values_are_equal_only_if_the_values_are(one: Any, other: Any) -> None:
    """Two random JSON values give equal keys if and only if their JSON texts with sorted keys are equal, so true differs from 1."""
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (of(with_part(Result("c", "t", one))) == of(with_part(Result("c", "t", other)))) == same
