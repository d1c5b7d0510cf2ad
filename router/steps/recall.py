"""Reasoning state over calls that the client runs: the outermost step of every route.

The provider wants its state back with the results, which come in another request. If a model call leaves tool calls to the client,
its state is kept (`cache/states.py`). It is put back into the assistant message that repeats the calls.
No ReasoningState leaves this step. A request without tools and without calls passes it unchanged.
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from router.cache import Memory, States, Trail, trail
from router.chat import Ask, Call, Message, Part, ReasoningState, Result
from router.events import Answer, Beside, Event, Events, EventStream, Finish, Start, Step, ToolCall, ToolResult
from router.steps.tools import LEFT


def recall(*, memory: Memory) -> Step:
    """Keep the reasoning state of calls that are left to the client, and put it back."""

    def step(answer: Answer) -> Answer:
        async def watched(ask: Ask, beside: Beside) -> Events:
            rounds = Rounds(trail(ask.owner, _is_left))
            names = rounds.trail.follow(ask.messages)
            held = await memory.get(ask.caller, list(names.values()), ask.user)
            async with aclosing(beside.over(answer(_restored(ask, names, held)))) as events:
                async for event in events:
                    rounds.see(event)
                    if isinstance(event, Finish):
                        for name in rounds.names():
                            await memory.put(ask.caller, name, {**_up_to(names, held), name: rounds.states}, ask.user)
                    if not isinstance(event, ReasoningState):
                        yield event

        def passed(ask: Ask) -> Events:
            if not ask.tools and not any(message.calls for message in ask.messages):
                return answer(ask)
            beside = Beside()  # words do not matter here
            return EventStream(watched(ask, beside), beside.fast)

        return passed

    return step


def _is_left(result: Result) -> bool:
    return result.is_error and result.value == LEFT


def _up_to(names: dict[int, str], held: States) -> States:
    """Return the states of this conversation's model calls, in their order."""
    return {name: held[name] for name in names.values() if name in held}


def _restored(ask: Ask, names: dict[int, str], held: States) -> Ask:
    """Return the question with the kept state of its model calls. State that the client sent for such a call is left out."""
    found = {index: held[name] for index, name in names.items() if held.get(name)}
    if not found:
        return ask
    return ask.with_messages(*(_with(one, found[index]) if index in found else one for index, one in enumerate(ask.messages)))


def _with(message: Message, states: Sequence[ReasoningState]) -> Message:
    parts: list[Part] = [part for part in message.parts if not isinstance(part, ReasoningState)]
    first = next(index for index, part in enumerate(parts) if isinstance(part, Call))
    return replace(message, parts=(*parts[:first], *states, *parts[first:]))


@dataclass(slots=True)
class Rounds:
    """The model calls of one answer, as far as it has come."""

    trail: Trail
    """The conversation before it."""
    states: list[ReasoningState] = field(default_factory=list[ReasoningState])
    """Reasoning states of the last model call."""
    _calls: list[Call] = field(default_factory=list[Call])
    _results: list[Result] = field(default_factory=list[Result])
    _before: list[Message] = field(default_factory=list[Message])
    """The model calls before it, whose tools the route ran."""

    def see(self, event: Event) -> None:
        """Record the parts of an event that matter here."""
        match event:
            case Start():
                if self._calls:
                    self._before += [Message("assistant", tuple(self._calls)), Message("tool", tuple(self._results))]
                self._calls, self._results, self.states = [], [], []
            case ToolCall(call_id, name, arguments):
                self._calls.append(Call(call_id, name, arguments))
            case ToolResult(call_id, name, result, is_error):
                self._results.append(Result(call_id, name, result, is_error))
            case ReasoningState():
                self.states.append(event)
            case _:
                pass

    def names(self) -> list[str]:
        """Return the names under which the client may return the calls that are left to it; empty without such a call or without state.

        Some clients are shown the route's own rounds and send them along, others are not.
        """
        run = {result.call_id for result in self._results}
        left = [call for call in self._calls if call.call_id not in run]
        if not left or not self.states:
            return []
        shown = self.trail.copy()
        shown.follow(self._before)
        return list(dict.fromkeys([self.trail.copy().called(left), shown.called(left)]))
