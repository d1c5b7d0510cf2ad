"""Keeping state between a tool call that the client runs and the request with its result: the outermost step of every route.

A client that runs a call sends it back with its result in another request, and nothing else that belongs to it. Two things are kept until
then (`cache/states.py`), if a model call leaves tool calls to the client:

- reasoning state, which its provider wants back with the results;
- calls that the route ran itself, beside the client's or in the model calls before, with their results: the OpenAI wire and others
  do not show them to the client.

They are put back into the conversation where it repeats the client's calls. No ReasoningState leaves this step. A request without tools
and without calls passes it unchanged.
"""

from collections.abc import Iterator, Sequence
from contextlib import aclosing

from router.cache import ConversationHash, Memory, ModelCall, Recollection, conversation_hash
from router.chat import Ask, Call, Message, ReasoningState, Result, TextMessages
from router.events import Answer, Beside, Event, Events, EventStream, Finish, Start, Step, ToolCall, ToolResult
from router.value import Mutable, field, replace


def recall(*, memory: Memory) -> Step:
    """Return the step that stores in `memory` what clients do not send back (reasoning state, hidden calls), and restores it later."""

    def step(answer: Answer) -> Answer:
        def passed(ask: Ask) -> Events:
            if not ask.tools and (ask.messages.__class__ is TextMessages or not ask.has_calls):
                return answer(ask)
            beside = Beside()  # words do not matter here
            return EventStream(_watched(memory, answer, ask, beside), beside.fast)

        return passed

    return step


async def _watched(memory: Memory, answer: Answer, ask: Ask, beside: Beside) -> Events:
    rounds = Rounds(conversation_hash(ask.owner))
    names = rounds.hashed.follow(ask.messages)
    held = await memory.get(ask.caller, list(names.values()), ask.user)
    async with aclosing(beside.over(answer(_restored(ask, names, held)))) as events:
        async for event in events:
            rounds.see(event)
            if isinstance(event, Finish):
                before = {name: held[name] for name in names.values() if name in held}
                for kept in rounds.kept():
                    await memory.put(ask.caller, list(kept)[-1], {**before, **kept}, ask.user)
            if not isinstance(event, ReasoningState):
                yield event


def _restored(ask: Ask, names: dict[int, str], held: Recollection) -> Ask:
    """Return the question with stored reasoning state and the route's own calls and results put back. `names`: index → name of the call."""
    found = {index: held[name] for index, name in names.items() if held.get(name)}
    return ask.with_messages(*_messages(ask.messages, found)) if found else ask


def _messages(messages: Sequence[Message], found: dict[int, Sequence[ModelCall]]) -> Iterator[Message]:
    for index, message in enumerate(messages):
        if index not in found:
            yield message
            continue
        *hidden, last = found[index]
        for one in hidden:
            yield Message("assistant", (*(replace(state, after=0) for state in one.states), *one.calls))
            yield Message("tool", one.results)
        yield _with(message, last)
        if last.results:
            yield Message("tool", last.results)


def _with(message: Message, kept: ModelCall) -> Message:
    """Return the client's message, its calls as sent, with the other stored calls, and with the stored reasoning state in place of its own."""
    parts = [part for part in message.parts if not (kept.states and isinstance(part, ReasoningState))]
    first = next(index for index, part in enumerate(parts) if isinstance(part, Call))
    own = {call.call_id: call for call in message.calls}
    calls = [own.get(call.call_id, call) for call in kept.calls] or message.calls
    after = [part for part in parts[first:] if not isinstance(part, Call)]
    return replace(message, parts=(*parts[:first], *kept.states, *calls, *after))


class Rounds(Mutable):
    """A recorder of one answer's model calls: their reasoning state, tool calls and results."""

    hashed: ConversationHash
    """The conversation before the answer."""
    _states: list[ReasoningState] = field(default_factory=list[ReasoningState])
    _calls: list[Call] = field(default_factory=list[Call])
    _results: list[Result] = field(default_factory=list[Result])
    _before: list[ModelCall] = field(default_factory=list[ModelCall])
    """The earlier model calls of the answer, whose tools the route ran."""

    def see(self, event: Event) -> None:
        """Record reasoning state, a tool call or a tool result. A Start begins the next model call; other events are ignored."""
        match event:
            case Start():
                if self._results:
                    self._before.append(self._last)
                self._states, self._calls, self._results = [], [], []
            case ToolCall(call_id, name, arguments):
                self._calls.append(Call(call_id, name, arguments))
            case ToolResult(call_id, name, result, is_error):
                self._results.append(Result(call_id, name, result, is_error))
            case ReasoningState():
                self._states.append(event)
            case _:
                pass

    @property
    def _last(self) -> ModelCall:
        return ModelCall(tuple(self._states), tuple(self._calls), tuple(self._results))

    def kept(self) -> list[Recollection]:
        """Return what to store, one mapping for each form in which the client may send the calls back; [] if there is nothing to store.

        Some clients are shown the route's calls and send them along: they lack only the reasoning state. Others are shown only their
        own calls: they lack the rest, too. If the route ran calls, both forms are stored; the first only if there is reasoning state.
        """
        run = {result.call_id for result in self._results}
        left = [call for call in self._calls if call.call_id not in run]
        if not left:
            return []
        every = [*self._before, self._last]
        found: list[Recollection] = []
        if self._before or run:
            if any(one.states for one in every):
                shown = self.hashed.copy()
                repeated = [shown.follow([Message("assistant", one.calls), Message("tool", one.results)])[0] for one in every]
                found.append({name: [ModelCall(one.states)] for name, one in zip(repeated, every, strict=True)})
            last = self._last if run else replace(self._last, calls=())
            found.append({self.hashed.copy().called(left): [*self._before, last]})
        elif self._states:
            found.append({self.hashed.copy().called(left): [ModelCall(tuple(self._states))]})
        return found
