"""Messages that are known to be one text each: what is not looked for in them would not be found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import Ask, File, Message, Role, TextMessages
from router.targets.files import has_address

HI = Message("user", ("Hi",))
SHOWN = Message("user", ("Look", File("image/png", "https://example.com/a.png")))
SAID = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.sampled_from(["Hi", " "])), min_size=1, max_size=4)


@given(SAID)
def test_text_messages_have_the_properties_of_equal_messages(said: list[tuple[Role, str]]) -> None:
    """Messages known to be texts are equal to the same messages of no known kind, and a search in them finds the same."""
    messages = tuple(Message(role, (text,)) for role, text in said)
    known, other = Ask(model="m", messages=TextMessages(messages)), Ask(model="m", messages=messages)
    assert known == other
    assert hash(known.messages) == hash(other.messages)
    for name in ("has_calls", "text_alone", "shows", "holder", "tokens"):
        assert getattr(known, name) == getattr(other, name)
    assert has_address(known) is has_address(other) is False


def test_file_is_found_in_other_messages() -> None:
    """Messages of no known kind are searched for files."""
    ask = Ask(model="m", messages=(HI, SHOWN))
    assert ask.shows == {"image"}
    assert has_address(ask)


@pytest.mark.parametrize(("text", "kind"), [("Be brief.", TextMessages), ("", tuple)])
def test_system_message_before_text_messages_keeps_them_such_unless_it_is_empty(text: str, kind: type) -> None:
    """With a system message of text, messages known to be texts still are; an empty one makes them a tuple of messages."""
    ask = Ask(model="m", messages=TextMessages((HI,))).with_system(text)
    assert [message.role for message in ask.messages] == ["system", "user"]
    assert type(ask.messages) is kind
    assert type(Ask(model="m", messages=(HI,)).with_system(text).messages) is tuple
