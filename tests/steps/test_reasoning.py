"""The step `reasoning: hide`: Thought events are dropped, all others passed on."""

import pytest

from router.chat import Ask, Message
from router.events import Event, Events, Failure, Finish, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.steps.reasoning import reasoning

ASK = Ask(model="m", messages=(Message("user", ("?",)),))
START = Start("a", "m")
SPOKEN: dict[str, list[Event]] = {
    "thoughts before the words": [START, Thought("Hm. "), Thought("So."), Text("Hi"), Finish("stop", Usage(1, 2))],
    "thoughts between the words": [START, Text("Hi"), Thought("Hm."), Text(" there"), Finish("stop")],
    "nothing but thoughts": [START, Thought("Hm."), Finish("length")],
    "no thoughts": [START, Text("Hi"), Finish("stop")],
    "a tool round": [
        START,
        Thought("Hm."),
        ToolInput("c", "t", "{}"),
        ToolCall("c", "t", {}),
        ToolResult("c", "t", 1),
        START,
        Thought("Ah."),
        Text("Hi"),
        Finish("stop"),
    ],
    "a failure": [START, Thought("Hm."), Failure("no_answer", "Sorry.")],
}


@pytest.mark.parametrize("what", SPOKEN)
async def test_hidden_reasoning_leaves_the_other_events_in_order(what: str) -> None:
    """An answer through the step has all its events in order but the Thought events."""
    asked: list[Ask] = []

    async def answer(ask: Ask) -> Events:
        asked.append(ask)
        for event in SPOKEN[what]:
            yield event

    seen = [event async for event in reasoning()(answer)(ASK)]
    assert seen == [event for event in SPOKEN[what] if not isinstance(event, Thought)]
    assert asked == [ASK]
