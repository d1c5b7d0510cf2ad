"""Give a model its reasoning back with the results of tools that the client ran: every route has it, outermost.

A provider wants the reasoning that led to a call back with the call's result (see `ReasoningState`). Where the client runs the tool, the
next request brings the result, and no reasoning: it was never sent to the client. So it is kept here for a while, and found again by
the caller and the conversation up to the call. A call's id alone would not do: some providers count from `call_0` each time.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import cast

from router.cache import LocalStore
from router.chat import Ask, Call, Json, Message, ReasoningState
from router.events import Answer, Events, Finish, Start, Step, ToolCall, ToolResult
from router.shared import RedisStore

KEPT = 3600.0
"""Seconds for which the client has to bring its results."""
MAX_BYTES = 32 * 1024 * 1024
"""Of all that is kept in this process; beyond it what was used longest ago goes first."""
MAX_STATE_BYTES = 512 * 1024
"""Of one model call. More is not kept: the model then thinks anew."""
MAX_CALLS_BACK = 16
"""Model calls of one turn whose reasoning is looked for."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Where reasoning is kept. `shared`: for all replicas, where there is a Redis."""

    local: LocalStore = field(default_factory=lambda: LocalStore(MAX_BYTES))
    shared: RedisStore | None = None

    async def get(self, name: str) -> bytes | None:
        """What is kept under this name, here or by another replica."""
        found = await self.local.get(name)
        return await self.shared.get(name) if found is None and self.shared is not None else found

    async def put(self, name: str, value: bytes) -> None:
        """Keep it, here and for every replica."""
        await self.local.put(name, value, KEPT)
        if self.shared is not None:
            await self.shared.put(name, value, KEPT)


def recall(*, memory: Memory) -> Step:
    """Keep and return the reasoning of calls that the client runs."""

    def step(answer: Answer) -> Answer:
        async def recalled(ask: Ask) -> Events:
            asked = await _remembered(ask, memory)
            kept = _Reasoned()
            async with aclosing(answer(asked)) as events:
                async for event in events:
                    match event:
                        case ReasoningState():
                            kept.states.append(event)
                            continue
                        case Start():
                            kept = _Reasoned()
                        case ToolCall(call_id, name, arguments):
                            kept.calls[call_id] = Call(call_id, name, arguments)
                        case ToolResult(call_id):
                            kept.calls.pop(call_id, None)
                        case Finish() if kept.states and kept.calls:
                            await kept.keep(ask, memory)
                        case _:
                            pass
                    yield event

        def spoken(ask: Ask) -> Events:
            # Without tools of the client's there is nothing to keep: the tool loop takes in the reasoning of its own calls.
            return recalled(ask) if ask.tools or _turn(ask) else answer(ask)

        return spoken

    return step


@dataclass(slots=True)
class _Reasoned:
    """One model call: its reasoning, and the calls that have no result."""

    states: list[ReasoningState] = field(default_factory=list[ReasoningState])
    calls: dict[str, Call] = field(default_factory=dict[str, Call])

    async def keep(self, ask: Ask, memory: Memory) -> None:
        """Keep the reasoning for the request that brings the results."""
        states = [one for one in self.states if not one.call_id or one.call_id in self.calls]
        value = json.dumps([[one.issuer, one.value, one.call_id, one.after] for one in states], default=dict).encode()
        if states and len(value) <= MAX_STATE_BYTES:
            await memory.put(_name(ask.caller, ask.messages, tuple(self.calls.values())), value)


def _turn(ask: Ask) -> list[int]:
    """Where the calls of this turn stand: those after the last word of the user's."""
    asked = max((at for at, message in enumerate(ask.messages) if message.role == "user"), default=-1)
    found = [at for at, message in enumerate(ask.messages) if at > asked and message.calls]
    return found[-MAX_CALLS_BACK:]


async def _remembered(ask: Ask, memory: Memory) -> Ask:
    """The question, with the reasoning that led to the calls of this turn."""
    places = _turn(ask)
    names = [_name(ask.caller, ask.messages[:at], ask.messages[at].calls) for at in places]
    found = await asyncio.gather(*map(memory.get, names))
    messages = list(ask.messages)
    for at, value in zip(places, found, strict=True):
        if value is not None:
            parts = messages[at].parts
            first = next(index for index, part in enumerate(parts) if isinstance(part, Call))
            messages[at] = replace(messages[at], parts=(*parts[:first], *_states(value), *parts[first:]))
    return ask.with_messages(*messages) if any(found) else ask


def _states(value: bytes) -> tuple[ReasoningState, ...]:
    """The reasoning that was kept; what another release wrote is passed over."""
    try:
        found = cast("Sequence[Json]", json.loads(value))
    except ValueError:
        return ()
    states: list[ReasoningState] = []
    for one in found:
        match one:
            case [str(issuer), dict(held), str(call_id), int(after)]:
                states.append(ReasoningState(issuer, held, call_id, after))
            case _:
                pass
    return tuple(states)


def _name(caller: str, before: Sequence[Message], calls: Sequence[Call]) -> str:
    """The name of a model call: whose it is, the conversation before it as the client sends it, and what it called. Its own text is left
    out, and so is the system's: a client may join the texts of several calls, and bring another prompt.
    """
    told: Json = {
        "caller": caller,
        "before": [_plain(message) for message in before if message.role != "system"],
        "calls": sorted([call.call_id, call.name, _sorted(call.arguments)] for call in calls),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=dict).encode()).hexdigest()


def _plain(message: Message) -> Json:
    calls: list[Json] = [[call.call_id, call.name, _sorted(call.arguments)] for call in message.calls]
    results: list[Json] = [[result.call_id, result.text] for result in message.results]
    return [message.role, message.text.strip(), calls, results]


def _sorted(arguments: Mapping[str, Json]) -> str:
    return json.dumps(arguments, sort_keys=True, default=dict)
