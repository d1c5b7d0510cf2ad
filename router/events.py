"""The answer: events, the order they come in, and the two shapes everything is made of.

    (Start (Thought | Text | ToolInput | ReasoningState | ToolCall)* ToolResult*)*   then exactly one of   Finish | Failure

A ToolResult follows the ToolCall whose id it bears. Nine types, closed: before a tenth, ask whether a wire
can derive it (step marks are the Starts; message and part ids belong to the wire that needs them).
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Literal

from router.chat import Ask, Json, JsonObject, ReasoningState
from router.errors import Attempt
from router.usage import Meter, Usage

Reason = Literal["stop", "length", "content-filter", "tool-calls", "other", "unknown"]
OutputWay = Literal["", "native", "json_schema", "json_object", "instruction"]
"""How a target is asked for the form of an answer that a question wants. Empty where the question wants none, or a script answers.

native: the provider keeps to it by itself: the answer is streamed
json_schema: the provider is sent the schema, and vouches for nothing; the instruction says it, too
json_object: the provider keeps to JSON (its JSON mode), the instruction says the schema
instruction: words alone
"""
Cached = Literal["", "hit", "miss", "shared", "bypass"]
"""Where the answer of a route with a cache comes from: it was kept; it is made for this request; it is made for another one as
well, that began before; it is made for this request, which wanted no other. Empty where the route has no cache.
"""
FREE: frozenset[Cached] = frozenset({"hit", "shared"})
"""Answers for which nothing was asked, run or spent that is not told to somebody else."""


@dataclass(frozen=True, slots=True)
class Start:
    """A model call begins: who speaks from here on, and what was tried before.

    `omitted`: parameters of the question that this target was not sent, because its model does not take them. `output`: how it was asked
    for the form of the answer: for failover and the log of this process.

    `used` is what the model call before this one used; None where there was none, or its provider did not say. `age`: seconds
    since a kept answer was made; None for one that is being made. `meter`: what the provider of this call counts, from here on: for
    failover, which asked it, and for nobody after.
    """

    target: str
    model: str
    attempts: tuple[Attempt, ...] = ()
    used: Usage | None = None
    cache: Cached = ""
    age: float | None = None
    omitted: tuple[str, ...] = ()
    output: OutputWay = field(default="", compare=False)
    meter: Meter | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer. Never empty, never half a surrogate pair."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """A piece of the model's reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolInput:
    """A piece of a call's arguments, while they stream. The whole comes in its ToolCall."""

    call_id: str
    name: str
    part: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool. `malformed` holds what it wrote where that was no JSON object."""

    call_id: str
    name: str
    arguments: JsonObject
    malformed: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a call."""

    call_id: str
    name: str
    result: Json
    is_error: bool = False


CUT_SHORT: frozenset[Reason] = frozenset({"length", "content-filter"})
"""Reasons for which a provider stops in the middle of a call: one whose arguments are `malformed` then was cut off."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is whole. `usage` is summed over its model calls, None where no provider said.

    `cache` says whether that was spent for this request: of several who share an answer, the first to come to its end is told so.
    `model`: what the provider calls the model of this call; of no account for what the answer is.
    """

    reason: Reason
    usage: Usage | None = None
    attempts: tuple[Attempt, ...] = ()
    cache: Cached = ""
    model: str = field(default="", compare=False)

    @property
    def spent(self) -> Usage | None:
        """What was used for this request, and is told to nobody else."""
        return None if self.cache in FREE else self.usage


@dataclass(frozen=True, slots=True)
class Failure:
    """The answer broke off after it had begun. `public` is safe to show."""

    code: str
    public: str
    attempts: tuple[Attempt, ...] = ()


Event = Start | Text | Thought | ToolInput | ToolCall | ToolResult | ReasoningState | Finish | Failure
"""A ReasoningState is for the step that makes the next request of the same turn; every wire passes it over."""

Events = AsyncGenerator[Event, None]
Answer = Callable[[Ask], Events]
"""What answers: a target is one, a target inside steps is one, a whole route is one."""

Step = Callable[[Answer], Answer]
"""What changes a question or watches an answer. One that loops over another's events does so in `aclosing`."""


State = Literal["idle", "speaking", "running", "over"]

ORDER: dict[tuple[State, type[Event]], State] = {
    ("idle", Start): "speaking",
    ("idle", Failure): "over",
    ("speaking", Start): "speaking",
    ("speaking", Text): "speaking",
    ("speaking", Thought): "speaking",
    ("speaking", ToolInput): "speaking",
    ("speaking", ToolCall): "speaking",
    ("speaking", ReasoningState): "speaking",
    ("speaking", ToolResult): "running",
    ("speaking", Finish): "over",
    ("speaking", Failure): "over",
    ("running", ToolResult): "running",
    ("running", Start): "speaking",
    ("running", Finish): "over",
    ("running", Failure): "over",
}


class Disorder(AssertionError):
    """Events came in an order that is none: a bug in whatever made them."""


class Order:
    """Watches one answer and objects to the first event out of order. For tests and drills: it costs a lookup per event."""

    def __init__(self) -> None:
        self._state: State = "idle"
        self._open: set[str] = set()
        self._seen: set[str] = set()

    def see(self, event: Event) -> Event:
        """The event itself, if it may come now."""
        state = ORDER.get((self._state, type(event)))
        if state is None:
            raise Disorder(f"{type(event).__name__} while {self._state}")
        self._state = state
        if isinstance(event, Text | Thought) and not event.text:
            raise Disorder(f"an empty {type(event).__name__}")
        if isinstance(event, ToolCall):
            if event.call_id in self._seen:
                raise Disorder("two calls with one id")
            self._seen.add(event.call_id)
            self._open.add(event.call_id)
        if isinstance(event, ToolResult):
            if event.call_id not in self._open:
                raise Disorder("a result without its call")
            self._open.remove(event.call_id)
        return event

    def end(self) -> None:
        """No more events will come."""
        if self._state != "over":
            raise Disorder(f"ended while {self._state}")
