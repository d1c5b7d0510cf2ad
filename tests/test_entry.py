"""What is remembered of a request: what it took, as far as anybody counted."""

import pytest

from router.errors import LET_GO, Attempt
from router.events import Cached, Event, Failure, Finish, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.server.entry import Entry

ASKED = 400
FIRST = (Start("a", "m"), Thought("x" * 40), ToolInput("c", "f", "y" * 40), ToolCall("c", "f", {}), ToolResult("c", "f", 1))


@pytest.mark.parametrize(
    ("events", "usage", "estimate"),
    [
        ((Start("a", "m"), Text("Hello"), Finish("stop", Usage(5, 2))), Usage(5, 2), None),
        ((Start("a", "m"), Text("Hello"), Finish("stop")), None, Usage(100, 2)),
        ((Start("a", "m"), Text("Hello"), Failure("no_answer", "")), None, Usage(100, 2)),
        ((Start("a", "m"), Text("Hel"), Text("lo")), None, Usage(100, 2)),
        ((Start("a", "m"),), None, None),
        ((), None, None),
        ((*FIRST, Start("a", "m", used=Usage(9, 9)), Text("x" * 40)), Usage(9, 9), Usage(120, 10)),
        ((*FIRST, Start("a", "m", used=Usage(9, 9)), Text("x" * 40), Finish("stop", Usage(19, 19))), Usage(19, 19), None),
        ((*FIRST, Start("a", "m", used=Usage(9, 9))), Usage(9, 9), None),
        ((*FIRST, Start("a", "m"), Text("x" * 40)), None, Usage(100 + 120, 20 + 10)),
        ((*FIRST, Start("a", "m")), None, Usage(100, 20)),
        (FIRST, None, Usage(100, 20)),
        ((Start("a", "m", cache="hit"), Text("Hello"), Finish("stop", Usage(5, 2), cache="hit")), None, None),
        ((Start("a", "m", cache="shared"), Text("Hello")), None, None),
        ((Start("a", "m", cache="shared"), Text("Hello"), Finish("stop", Usage(5, 2), cache="miss")), Usage(5, 2), None),
        ((Start("a", "m", cache="miss"), Text("Hello"), Finish("stop", Usage(5, 2), cache="shared")), None, None),
    ],
)
def test_what_nobody_counted_is_estimated(events: tuple[Event, ...], usage: Usage | None, estimate: Usage | None) -> None:
    """A token for every four characters of what was asked and said in the model calls that nobody told of."""
    entry = Entry("id", "generation", asked=ASKED)
    for event in events:
        entry.see(event)
    assert (entry.usage, entry.estimate) == (usage, estimate)
    assert entry.used == (usage if estimate is None else estimate + (usage or Usage()))
    assert entry.explained()["estimated"] == (estimate is not None)


@pytest.mark.parametrize(
    ("cache", "left", "tried"),
    [
        ("", [], [("a", "status_503")]),
        ("miss", [], []),
        ("miss", [[Attempt("a", "status_503", 0.1), Attempt("b", LET_GO, 0.2)]], [("a", "status_503"), ("b", "client_left")]),
    ],
)
def test_what_was_tried_for_a_shared_answer_is_told_once(cache: Cached, left: list[list[Attempt]], tried: list[tuple[str, str]]) -> None:
    """Who leaves it is not told of what another will be told, but for the last."""
    entry = Entry("id", "generation", tried=left)
    entry.see(Start("b", "m", (Attempt("a", "status_503", 0.1),), cache=cache))
    entry.outcome = "client_left"
    entry.close()
    assert [(one.target, one.outcome) for one in entry.attempts] == tried
