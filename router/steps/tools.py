"""The tool loop, from a route's `tools:` and `max_steps:`.

Each round asks the model, passes its events through and runs the called tools concurrently. Preliminary outputs and results are yielded as
they come, and the next round asks with all results appended. The loop ends when a model call asks for no tool. It ends with the finish reason
tool-calls after `max_steps` model calls, or when three in a row asked for the same and got the same. The loop looks at the
calls themselves, never at a finish reason: providers err there.

Tools that the caller brought are the caller's to run: an answer that calls one ends with the finish reason tool-calls, after the route's
own tools of that model call have run. `steps/recall.py` puts their results into the request that brings the caller's. The route's own
tool of the same name takes precedence.

A call that the user has to allow does not run: the answer ends with an Approval and the reason tool-calls. The request that brings the
decision has it run first, and its result is in the prompt. A client that cannot ask its user has the call refused, and the model goes on.
"""

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing

from router.cache import Approvals
from router.chat import AUTO, Ask, Call, Json, Message, ReasoningState, Result
from router.errors import InvalidOutput
from router.events import (
    Answer,
    Approval,
    Beside,
    Event,
    Events,
    EventStream,
    Failure,
    Finish,
    LateResult,
    Start,
    Step,
    Text,
    ToolCall,
    ToolInput,
    ToolProgress,
    ToolResult,
    Usage,
    Words,
)
from router.toolbox import Toolbox
from router.value import Mutable, field, replace


def tools(*, toolbox: Toolbox, max_steps: int, approvals: Approvals) -> Step:
    """Return the step that runs the tool loop over one toolbox, for at most `max_steps` model calls per answer."""

    def step(answer: Answer) -> Answer:
        async def looped(ask: Ask, turn: Turn, beside: Beside) -> Events:
            offered = await toolbox.offered()
            own = {spec.name for spec in offered}
            theirs = tuple(spec for spec in ask.tools if spec.name not in own)
            ask, turn.late = await _decided(replace(ask, tools=offered + theirs), toolbox, approvals)
            turn.theirs = frozenset(spec.name for spec in theirs)
            for count in range(1, max_steps + 1):
                turn.begin()
                async with aclosing(turn.spoken(beside.over(answer(ask)))) as events:
                    async for event in events:
                        yield event
                if turn.over:
                    return
                if not turn.calls:
                    yield turn.finish()
                    return
                asking = await _asking(toolbox, turn.own)
                waiting = [call for call in turn.own if ask.approvable and call.call_id in asking]
                if turn.leaves or waiting:
                    for state in turn.states:  # for the request that brings the caller's results
                        yield state
                for call in waiting:  # the user decides while the others run
                    allowed = approvals.request(ask.owner, ask.model, Call(call.call_id, call.name, call.arguments))
                    yield Approval(call.call_id, call.name, allowed)
                async with aclosing(_run(toolbox, ask, [call for call in turn.own if call not in waiting], asking)) as outputs:
                    async for output in outputs:
                        if isinstance(output, ToolResult):
                            turn.results[output.call_id] = output
                        yield output
                if (left := turn.leaves or bool(waiting)) or count == max_steps or turn.circles():
                    decided = left or ask.output is None
                    yield replace(turn.finish(), reason="tool-calls") if decided else Failure(InvalidOutput.code, UNDECIDED)
                    return
                ask = replace(ask.with_messages(*ask.messages, *turn.messages()), choice=AUTO)

        def fast(ask: Ask) -> Events:
            turn = Turn()
            beside = Beside(turn.words)
            return EventStream(looped(ask, turn, beside), beside.fast)

        return fast

    return step


UNDECIDED = "The model only called tools, and never gave the JSON that was asked for."
UNASKED = "Not run: the user has to allow this call, and this client cannot ask for it."
UNALLOWED = "Not run: nobody asked about this call, or its approval is over or was used before."
CIRCLE = 3
"""Number of identical model calls in a row, with identical results, after which the loop ends."""


class Turn(Mutable):
    """The state of one answer in the tool loop: the present model call, and the usage of all its model calls."""

    theirs: frozenset[str] = frozenset()
    """Names of the tools that the client runs."""
    late: list[LateResult] = field(default_factory=list[LateResult])
    """Results of approved calls of an earlier answer, sent after the first Start."""
    usage: Usage | None = None
    over: bool = False
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    results: dict[str, ToolResult] = field(default_factory=dict[str, ToolResult])
    states: list[ReasoningState] = field(default_factory=list[ReasoningState])
    _said: list[str] = field(default_factory=list[str])
    _last: Finish | None = None
    _used: Usage | None = None
    _taken: set[str] = field(default_factory=set[str])
    _renamed: dict[str, str] = field(default_factory=dict[str, str])
    _rounds: deque[str] = field(default_factory=lambda: deque[str](maxlen=CIRCLE))

    def begin(self) -> None:
        """Begin the next model call: forget the calls, results and texts of the last one. Usage and used call ids stay."""
        self._used = self._last.usage if self._last else None
        self.calls, self.results, self._said, self.states, self._last = [], {}, [], [], None
        self._taken |= set(self._renamed.values())
        self._renamed = {}

    def words(self, words: Sequence[Words]) -> Sequence[Words]:
        """Record the texts among these Text and Thought events, and return all of them unchanged."""
        for word in words:
            if word.__class__ is Text:
                self._said.append(word.text)
        return words

    async def spoken(self, events: Events) -> Events:
        """Record the events of a model call, and yield what `see` returns for each. Results of approved calls follow the first Start."""
        async with aclosing(events):
            async for event in events:
                if (seen := self.see(event)) is not None:
                    yield seen
                if isinstance(event, Start):
                    for one in self.late:
                        yield one
                    self.late = []

    def see(self, event: Event) -> Event | None:
        """Record an event, and return what the client gets of it; None for reasoning state and for a Finish, which may not be the last.

        A call id that an earlier model call used is replaced; a Start gets the usage of the model call before it.
        """
        match event:
            case Text(text):
                self._said.append(text)
            case ToolInput():
                return replace(event, call_id=self._unique(event.call_id))
            case ToolCall():
                event = replace(event, call_id=self._unique(event.call_id))
                self.calls.append(event)
            case ReasoningState():
                self.states.append(replace(event, call_id=self._unique(event.call_id) if event.call_id else ""))
                return None
            case Finish():
                self._last = event
                if event.usage:
                    self.usage = event.usage + (self.usage or Usage())
                return None
            case Start():
                return replace(event, used=self._used)
            case Failure():
                self.over = True
            case _:
                pass
        return event

    def _unique(self, call_id: str) -> str:
        """Return this call id, or a new one if an earlier model call of this answer used it: some providers count from call_0 each time."""
        if call_id not in self._renamed:
            self._renamed[call_id] = f"call_{secrets.token_hex(8)}" if call_id in self._taken else call_id
        return self._renamed[call_id]

    @property
    def leaves(self) -> bool:
        """Return whether this model call has a tool call that the client has to run."""
        return any(call.name in self.theirs for call in self.calls)

    @property
    def own(self) -> list[ToolCall]:
        """Return the calls, in this model call, of tools that the route runs."""
        return [call for call in self.calls if call.name not in self.theirs]

    def circles(self) -> bool:
        """Record this model call. Return whether the last `CIRCLE` ones had the same calls (tool, arguments, order) and results."""
        given = [(call.name, call.arguments, call.malformed, self.results[call.call_id].result) for call in self.calls]
        self._rounds.append(json.dumps(given, sort_keys=True, default=repr))
        return len(self._rounds) == CIRCLE and len(set(self._rounds)) == 1

    def finish(self) -> Finish:
        """Return the Finish of the whole answer, with the usage of all its model calls, and the last one's reason; `unknown` if it gave none."""
        reason = self._last.reason if self._last else "unknown"
        # The calls were run, or there were none: "tool-calls" would ask the client to run them.
        return Finish("stop" if reason == "tool-calls" else reason, self.usage)

    def messages(self) -> tuple[Message, Message]:
        """Return this model call as two messages for the next one: the assistant's with its calls, and the one with the tools' results."""
        text = "".join(self._said)
        calls = [Call(call.call_id, call.name, call.arguments) for call in self.calls]
        results = _results(self.results[call.call_id] for call in self.calls)
        return Message("assistant", (*([text] if text else []), *self.states, *calls)), results


def _results(given: Iterable[ToolResult | LateResult]) -> Message:
    return Message("tool", tuple([Result(one.call_id, one.name, one.result, one.is_error) for one in given]))


MAX_HELD = 64 * 1024
"""Characters of waiting data parts at which a tool that yields another has to wait; one part may exceed it."""


class _Outputs(Mutable):
    """A buffer of running tools' outputs: data parts in order, the newest preliminary output of each call, and results."""

    _some: asyncio.Event = field(default_factory=asyncio.Event)
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    _held: int = 0
    _parts: list[ToolProgress] = field(default_factory=list[ToolProgress])
    _progress: dict[str, ToolProgress] = field(default_factory=dict[str, ToolProgress])
    _ended: list[asyncio.Task[ToolResult]] = field(default_factory=list[asyncio.Task[ToolResult]])

    async def report(self, progress: ToolProgress) -> None:
        """Replace the preliminary output of a call at once. A data part is added once fewer than MAX_HELD characters wait (backpressure)."""
        if progress.part:
            while self._held >= MAX_HELD:
                self._room.clear()
                await self._room.wait()
            self._parts.append(progress)
            self._held += len(progress.output) if isinstance(progress.output, str) else len(repr(progress.output))
        else:
            self._progress[progress.call_id] = progress
        self._some.set()

    def end(self, task: asyncio.Task[ToolResult]) -> None:
        """Add the finished task of a tool, whose result is an output, and wake the reader of the outputs."""
        self._ended.append(task)
        self._some.set()

    async def come(self) -> list[ToolProgress | ToolResult]:
        """Wait for outputs, then remove and return them: data parts, preliminary outputs of running tools, and results as they ended."""
        await self._some.wait()
        self._some.clear()
        results = [task.result() for task in self._ended]
        for result in results:
            self._progress.pop(result.call_id, None)
        found = [*self._parts, *self._progress.values(), *results]
        self._held, self._parts, self._progress, self._ended = 0, [], {}, []
        self._room.set()
        return found


async def _asking(toolbox: Toolbox, calls: Sequence[ToolCall]) -> frozenset[str]:
    """Return the ids of the calls that need the user's approval. Calls with malformed arguments do not: they are refused anyway."""
    if not toolbox.may_ask:
        return frozenset()
    readable = [call for call in calls if call.malformed is None]
    asked = await asyncio.gather(*(toolbox.asks(call.name, call.arguments) for call in readable))
    return frozenset(call.call_id for call, asks in zip(readable, asked, strict=True) if asks)


async def _run(
    toolbox: Toolbox, ask: Ask, calls: list[ToolCall], asking: frozenset[str]
) -> AsyncGenerator[ToolProgress | ToolResult, None]:
    """Run the tools concurrently, and yield their outputs as they come. Closing the generator cancels the tools.

    asking: ids of calls that need an approval which the client cannot ask for: they do not run, and their result says so
    """
    outputs = _Outputs()
    running = [asyncio.create_task(_result(toolbox, ask, call, outputs.report, refused=call.call_id in asking)) for call in calls]
    for task in running:
        task.add_done_callback(outputs.end)
    left = len(running)
    try:
        while left:
            for output in await outputs.come():
                left -= isinstance(output, ToolResult)
                yield output
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _result(
    toolbox: Toolbox, ask: Ask, call: ToolCall, report: Callable[[ToolProgress], Awaitable[None]], *, refused: bool
) -> ToolResult:
    if refused or call.malformed is not None:
        wrong = UNASKED if call.malformed is None else "Invalid arguments: they must be one JSON object."
        return ToolResult(call.call_id, call.name, wrong, is_error=True)

    async def reported(output: Json, part: str) -> None:
        await report(ToolProgress(call.call_id, call.name, output, part))

    value, is_error = await toolbox.run(call.name, call.arguments, reported, ask)
    return ToolResult(call.call_id, call.name, value, is_error)


async def _decided(ask: Ask, toolbox: Toolbox, approvals: Approvals) -> tuple[Ask, list[LateResult]]:
    """Run the calls that the user has approved since the last answer. Return (the question with their results, those results).

    A call whose approval is invalid, expired or used does not run: its result is an error. Without approved calls: the same question, [].
    """
    at = next((index for index in reversed(range(len(ask.messages))) if ask.messages[index].role in ("assistant", "user")), 0)
    message = ask.messages[at]
    allowed = [call for call in message.calls if call.approval]
    if message.role != "assistant" or not allowed:
        return ask, []
    late = await asyncio.gather(*(_late(ask, call, toolbox, approvals) for call in allowed))
    settled = replace(message, parts=tuple(replace(part, approval="") if isinstance(part, Call) else part for part in message.parts))
    return ask.with_messages(*ask.messages[:at], settled, _results(late), *ask.messages[at + 1 :]), list(late)


async def _late(ask: Ask, call: Call, toolbox: Toolbox, approvals: Approvals) -> LateResult:
    if not await approvals.take(ask.owner, ask.model, call):
        return LateResult(call.call_id, call.name, call.arguments, UNALLOWED, is_error=True)
    began = time.monotonic()
    value, is_error = await toolbox.run(call.name, call.arguments, ask=ask)
    return LateResult(call.call_id, call.name, call.arguments, value, is_error, time.monotonic() - began)
