"""The pipeline step `history`: which messages of a long conversation are kept."""

import pytest

from router.chat import Ask, Call, Message, Result, TextMessages
from router.errors import Misfit
from router.events import Events, Finish
from router.steps.history import history, shortened

SYSTEM = Message("system", ("S",))
CALLS = Message("assistant", (Call("c", "t", {}),))
TOLD = Message("tool", (Result("c", "t", 1),))


def user(text: str) -> Message:
    """Return a user message."""
    return Message("user", (text,))


def said(text: str) -> Message:
    """Return an assistant message."""
    return Message("assistant", (text,))


def test_shortened_text_messages_stay_text_messages() -> None:
    """A shortened history of texts alone is known as such: what follows need not look for anything else in it."""
    assert type(shortened(TextMessages((user("1"), said("2"), user("3"))), 2)) is TextMessages
    assert type(shortened((user("1"), said("2"), user("3")), 2)) is tuple


KEPT: dict[str, tuple[list[Message], int, list[Message]]] = {
    "all of a short one": ([user("1"), said("2")], 2, [user("1"), said("2")]),
    "the last ones": ([user("1"), said("2"), user("3"), said("4"), user("5")], 3, [user("3"), said("4"), user("5")]),
    "system messages, uncounted": ([SYSTEM, user("1"), said("2"), user("3")], 1, [SYSTEM, user("3")]),
    "from a question on": ([user("1"), said("2"), user("3"), said("4"), user("5")], 2, [user("5")]),
    "no result without its call": ([user("1"), CALLS, TOLD, said("2"), user("3")], 3, [user("3")]),
    "the question of a long tool round": ([user("1"), CALLS, TOLD, CALLS, TOLD], 2, [user("1"), CALLS, TOLD, CALLS, TOLD]),
    "something, where nobody asked": ([said("1"), said("2")], 1, [said("2")]),
}


@pytest.mark.parametrize("what", KEPT)
def test_history_keeps_the_last_messages_from_a_question_on(what: str) -> None:
    """A shortened history has all system messages and the last `keep` messages at most, from a user's question on.
    The last question's tool round is kept whole, even above `keep`.
    """
    messages, keep, expected = KEPT[what]
    assert list(shortened(tuple(messages), keep)) == expected


def test_first_message_of_a_shortened_history_changes_in_steps() -> None:
    """A chat that grows beyond `keep` (40) is cut by ten messages at a time, so that its beginning is stable for prompt caches."""
    chat = tuple(message for turn in range(100) for message in (user(f"q{turn}"), said(f"a{turn}")))
    kept = [shortened(chat[:length], 40, 10) for length in range(1, 200, 2)]
    assert max(map(len, kept)) == 40 - 1  # a chat that ends with a question is odd
    assert all(len(one) >= 30 for one in kept[15:])
    firsts = [one[0].text for one in kept[20:]]
    assert all(firsts.count(first) == 5 for first in set(firsts[:-5]))
    assert [one[0].text for one in kept[:20]] == ["q0"] * 20


@pytest.mark.parametrize(("keep", "sent"), [(3, 3), (7, 7), (8, 7), (40, 31)])
async def test_history_with_a_keep_below_8_drops_one_message_at_a_time(keep: int, sent: int) -> None:
    """With `keep` 3 or 7, a longer conversation always has exactly `keep` messages; with 8 at least 7, and with 40 at least 31."""
    seen: list[Ask] = []

    async def answer(ask: Ask) -> Events:
        seen.append(ask)
        yield Finish("stop")

    for more in range(1, 40):
        messages = tuple(user(str(number)) for number in range(keep + more))
        async for _ in history(keep)(answer)(Ask(model="m", messages=messages)):
            pass
    assert {len(ask.messages) for ask in seen} == set(range(sent, keep + 1))


def test_history_step_that_keeps_no_message_is_refused() -> None:
    """A `history` step with `keep: 0` raises Misfit."""
    with pytest.raises(Misfit):
        history(0)
