"""`history`: what is kept of a long conversation."""

import pytest

from router.chat import Call, Message, Result
from router.errors import Misfit
from router.steps.history import history, shortened

SYSTEM = Message("system", ("S",))
CALLS = Message("assistant", (Call("c", "t", {}),))
TOLD = Message("tool", (Result("c", "t", 1),))


def user(text: str) -> Message:
    """A user's turn."""
    return Message("user", (text,))


def said(text: str) -> Message:
    """An assistant's turn."""
    return Message("assistant", (text,))


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
def test_what_is_kept(what: str) -> None:
    """The last `keep`, beginning with a question."""
    messages, keep, expected = KEPT[what]
    assert list(shortened(tuple(messages), keep)) == expected


def test_keeping_nothing_is_refused() -> None:
    """A conversation without a message is no question."""
    with pytest.raises(Misfit):
        history(0)
