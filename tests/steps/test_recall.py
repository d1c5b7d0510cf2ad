"""The step `recall`: keeping a model's reasoning state for the request that brings the results of client tools."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from router.cache import Memory
from router.chat import Ask, Call, Message, ReasoningState, Result, ToolSpec
from router.events import Event, Events, Finish, Start, Text, ToolCall, ToolResult
from router.steps.recall import recall
from router.value import replace

THEIRS = ToolSpec("look", "Look.", {"type": "object", "properties": {}})
ASKED = Message("user", ("Where?",))
STATE = ReasoningState("a=m", {"reasoning_content": "Hm."})
CALL = ToolCall("c1", "look", {})
RESULT = Message("tool", (Result("c1", "look", "x"),))


class Source:
    """A fake target that answers with these events and records the questions."""

    def __init__(self, *events: Event) -> None:
        self.events = events
        self.asked: list[Ask] = []

    async def answer(self, ask: Ask) -> Events:
        """Record the question and yield the events."""
        self.asked.append(ask)
        for event in self.events:
            yield event


async def heard(
    source: Source, memory: Memory, *messages: Message, tools: Sequence[ToolSpec] = (THEIRS,), caller: str = "", user: str = ""
) -> list[Event]:
    """Return the events of the answer through the recall step to these messages."""
    ask = Ask(model="m", messages=messages, tools=tuple(tools), caller=caller, user=user)
    return [event async for event in recall(memory=memory)(source.answer)(ask)]


def states(ask: Ask) -> list[tuple[ReasoningState, ...]]:
    """Return the reasoning states in each message with tool calls, after checking that they precede the calls."""
    found: list[tuple[ReasoningState, ...]] = []
    for message in ask.messages:
        if message.calls:
            kinds = [type(part) for part in message.parts if isinstance(part, ReasoningState | Call)]
            assert kinds == sorted(kinds, key=lambda kind: kind is Call)
            found.append(tuple(part for part in message.parts if isinstance(part, ReasoningState)))
    return found


ROUND: tuple[Event, ...] = (Start("a", "m"), Text("Let me see. "), STATE, CALL, Finish("tool-calls"))


async def test_reasoning_state_is_restored_with_tool_results_and_never_sent_to_clients() -> None:
    """Reasoning state is removed from the answer, and added before the tool call when the client sends back its result."""
    memory, source = Memory(), Source(*ROUND)
    seen = await heard(source, memory, ASKED)
    assert seen == [event for event in ROUND if event is not STATE]
    await heard(source, memory, ASKED, Message("assistant", (Call("c1", "look", {}),)), RESULT)
    assert states(source.asked[1]) == [(STATE,)]


async def test_reasoning_state_of_another_caller_is_not_restored() -> None:
    """Reasoning state stored for one caller is not added to the same conversation of another caller."""
    memory, source = Memory(), Source(*ROUND)
    await heard(source, memory, ASKED, caller="one")
    for caller, expected in (("two", ()), ("one", (STATE,))):
        await heard(source, memory, ASKED, Message("assistant", (Call("c1", "look", {}),)), RESULT, caller=caller)
        assert states(source.asked[-1]) == [expected]


async def test_each_round_of_a_turn_has_its_own_reasoning_state_though_ids_repeat() -> None:
    """Three rounds with the same tool call id and arguments each get back the reasoning state of their own round."""
    memory = Memory()
    messages: list[Message] = [ASKED]
    for count in range(3):
        state = ReasoningState("a=m", {"reasoning_content": f"{count}"})
        source = Source(Start("a", "m"), state, CALL, Finish("tool-calls"))
        await heard(source, memory, *messages)
        messages += [Message("assistant", (Call("c1", "look", {}),)), RESULT]
    await heard(source := Source(*ROUND), memory, *messages)
    assert [held[0].value["reasoning_content"] for held in states(source.asked[0])] == ["0", "1", "2"]


FIRST = ReasoningState("a=m", {"reasoning_content": "At first."}, after=7)
OURS: tuple[Event, ...] = (
    Start("a", "m"),
    FIRST,
    Text("First, "),
    ToolCall("o1", "ours", {"at": 1.0}),
    ToolResult("o1", "ours", {"found": 1.0}),
    Start("a", "m"),
    Text("then."),
    STATE,
    ToolCall("o2", "ours", {}),
    CALL,
    ToolResult("o2", "ours", "No.", is_error=True),
    Finish("tool-calls"),
)


async def test_reasoning_state_is_restored_for_a_client_that_saw_the_routes_calls() -> None:
    """A client that sends back the router's tool calls (with 1.0 as 1) has only the reasoning states added to its messages."""
    memory, source = Memory(), Source(*OURS)
    await heard(source, memory, ASKED)
    shown = (
        ASKED,
        Message("assistant", ("First, ", Call("o1", "ours", {"at": 1}))),
        Message("tool", (Result("o1", "ours", {"found": 1}),)),
        Message("assistant", ("then.", Call("o2", "ours", {}), Call("c1", "look", {}))),
        Message("tool", (Result("o2", "ours", "No.", is_error=True), Result("c1", "look", "x"))),
    )
    await heard(source, memory, *shown)
    assert states(source.asked[1]) == [(FIRST,), (STATE,)]
    assert [[part for part in message.parts if not isinstance(part, ReasoningState)] for message in source.asked[1].messages] == [
        list(message.parts) for message in shown
    ]


async def test_tool_calls_of_the_route_are_restored_for_a_client_that_saw_none() -> None:
    """A client that sends back only its own tool call has the router's calls, results and reasoning states added."""
    memory, source = Memory(), Source(*OURS)
    await heard(source, memory, ASKED)
    brought = (ASKED, Message("assistant", ("First, then.", Call("c1", "look", {}))), RESULT)
    more = (*brought, Message("assistant", ("So.",)), Message("user", ("Sure?",)))
    restored = (
        ASKED,
        Message("assistant", (replace(FIRST, after=0), Call("o1", "ours", {"at": 1.0}))),
        Message("tool", (Result("o1", "ours", {"found": 1.0}),)),
        Message("assistant", ("First, then.", STATE, Call("o2", "ours", {}), Call("c1", "look", {}))),
        Message("tool", (Result("o2", "ours", "No.", is_error=True),)),
        RESULT,
    )
    await heard(source, memory, *brought)
    assert source.asked[1].messages == restored
    await heard(source, memory, *more)
    assert source.asked[2].messages == (*restored, *more[3:])


async def test_calls_of_the_route_are_kept_over_two_rounds_of_the_client() -> None:
    """The router's tool calls of two rounds are both restored in the third request, also at another replica."""
    shared = cast("Any", Shared())
    await heard(Source(*OURS), Memory(shared=shared), ASKED)
    called = (ASKED, Message("assistant", ("First, then.", Call("c1", "look", {}))), RESULT)
    again = Source(
        Start("a", "m"), ToolCall("o3", "ours", {}), ToolCall("c2", "look", {}), ToolResult("o3", "ours", "y"), Finish("tool-calls")
    )
    await heard(again, Memory(shared=shared), *called)
    more = (*called, Message("assistant", (Call("c2", "look", {}),)), Message("tool", (Result("c2", "look", "z"),)))
    await heard(source := Source(*ROUND), Memory(shared=shared), *more)
    assert [result.call_id for message in source.asked[0].messages for result in message.results] == ["o1", "o2", "c1", "o3", "c2"]
    assert [call.call_id for message in source.asked[0].messages for call in message.calls] == ["o1", "o2", "c1", "o3", "c2"]


async def test_tool_calls_of_the_route_are_not_restored_for_another_caller() -> None:
    """An equal conversation of another caller is sent on without the router's tool calls."""
    memory = Memory()
    await heard(Source(*OURS), memory, ASKED, caller="one")
    brought = (ASKED, Message("assistant", ("First, then.", Call("c1", "look", {}))), RESULT)
    await heard(source := Source(*ROUND), memory, *brought, caller="two")
    assert source.asked[0].messages == brought


async def test_stored_reasoning_state_overrides_the_clients_copy() -> None:
    """Stored reasoning state replaces the copy that a client sends back; it is bound to its target, and another target gets none of it."""
    memory, source = Memory(), Source(*ROUND)
    await heard(source, memory, ASKED)
    copy = ReasoningState("", {"reasoning_content": "Hm."})
    await heard(source, memory, ASKED, Message("assistant", (copy, Call("c1", "look", {}))), RESULT)
    assert states(source.asked[1]) == [(STATE,)]
    assert source.asked[1].messages[1].states("b=m") == ()
    assert source.asked[1].holder == "a"


async def test_reasoning_state_of_an_earlier_turn_is_restored() -> None:
    """Reasoning state of a tool call in an earlier turn is restored although a newer user message follows."""
    memory, source = Memory(), Source(*ROUND)
    await heard(source, memory, ASKED)
    turn = (ASKED, Message("assistant", (Call("c1", "look", {}),)), RESULT, Message("assistant", ("So.",)), Message("user", ("Sure?",)))
    await heard(source, memory, *turn)
    assert states(source.asked[1]) == [(STATE,)]
    assert source.asked[1].holder == ""


async def test_request_without_tools_and_calls_skips_reasoning_state() -> None:
    """A request without tools and tool calls is answered although every look-up of reasoning state would raise: none is made."""

    class Broken:
        async def get(self, *_: Any) -> Any:
            raise AssertionError

    source = Source(Start("a", "m"), Text("Hi"), Finish("stop"))
    broken: Any = Broken()
    assert await heard(source, broken, ASKED, tools=()) == list(source.events)


class Shared:
    """A fake Redis shared by two replicas."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    async def get(self, name: str) -> bytes | None:
        """Return the value of a key, or None."""
        return self.held.get(name)

    async def put(self, name: str, value: bytes, _: float) -> None:
        """Store a value."""
        self.held[name] = value


@pytest.mark.parametrize("replicas", [1, 2])
async def test_reasoning_state_belongs_to_one_user_of_a_caller(replicas: int) -> None:
    """Reasoning state is restored only for the same user of the same API key, at the same replica or another."""
    shared, source = cast("Any", Shared()), Source(*ROUND)
    memories = [Memory(shared=shared) for _ in range(replicas)]
    await heard(source, memories[0], ASKED, caller="key:webui", user="ann")
    brought = (ASKED, Message("assistant", (Call("c1", "look", {}),)), RESULT)
    for caller, user, found in (("key:webui", "ben", ()), ("key:webui", "", ()), ("key:other", "ann", ()), ("key:webui", "ann", (STATE,))):
        await heard(source, memories[-1], *brought, caller=caller, user=user)
        assert states(source.asked[-1]) == [found]
