"""The answer: its events, their order, and the types `Answer` and `Step`, of which routes are composed.

    (Start (Thought | Text | Source | Produced | ToolInput | ReasoningState | ToolCall)* (ToolProgress | ToolResult | Approval)*)*
    then Finish | Failure

A ToolResult follows the ToolCall with the same id, and no ToolProgress of that call comes after it. An Approval is of a call without a
result. A LateResult, of a call of an earlier answer, comes right after the first Start. There are fourteen event types. Add another only
if no wire can derive it from these: step marks are the Starts, message and part ids belong to the wire that needs them.
"""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import Any, Literal, Protocol, final

from router.attempt import Attempt
from router.chat import Ask, Json, JsonObject, ReasoningState
from router.usage import Meter, Usage
from router.value import Mutable, PartlyCompared, Value, field

Reason = Literal["stop", "length", "content-filter", "tool-calls", "other", "unknown"]
OutputWay = Literal["", "native", "json_schema", "json_object", "instruction"]
"""The way in which a target is asked for the form of an answer; empty where the question wants no form, or a script answers.

native: the provider guarantees the form: the answer is streamed
json_schema: the provider is sent the schema but does not guarantee it; the instruction contains it, too
json_object: the provider guarantees JSON (its JSON mode), the instruction contains the schema
instruction: only an instruction in the prompt
"""
Cached = Literal["", "hit", "miss", "shared", "bypass"]
"""The source of the answer of a route with a cache; empty where the route has none.
hit: a cached answer
miss: made for this request
shared: made for an earlier request, which is still running (request coalescing)
bypass: made for this request, which did not accept a cached answer
"""
FREE: frozenset[Cached] = frozenset({"hit", "shared"})
"""Cache states of answers that cost this request nothing: hits, and shared answers charged to another request."""


class Start(PartlyCompared, frozen=True):
    """The start of a model call: the target and its model that answer from here on.

    attempts: those of this model call so far, for a request that shares the answer; the request's own `Trail` has all
    used: usage of the model call before this one; None if there was none, or its provider did not report it
    cache: the source of the answer
    age: seconds since a cached answer was made; None for one that is being made
    omitted: parameters of the question that this target was not sent, because its model does not take them
    output: how the target was asked for the form of the answer, for failover and the log of this process
    meter: receives this call's usage from here on, for failover only
    """

    BESIDE = frozenset({"output", "meter"})
    target: str
    model: str
    attempts: tuple[Attempt, ...] = ()
    used: Usage | None = None
    cache: Cached = ""
    age: float | None = None
    omitted: tuple[str, ...] = ()
    output: OutputWay = ""
    meter: Meter | None = None


class Text(Value, frozen=True):
    """A piece of the answer's text. Never empty, never half a surrogate pair."""

    text: str


class Thought(Value, frozen=True):
    """A piece of the model's reasoning."""

    text: str


class Source(Value, frozen=True):
    """A page (`url`: http or https) or a document (`media_type`, no url) that the model cites, at this place of its text."""

    url: str
    title: str = ""
    media_type: str = ""


class Produced(Value, frozen=True):
    """A file that the model made, such as an image. `data`: its bytes, in base64."""

    media_type: str
    data: str


class ToolInput(Value, frozen=True):
    """A piece of a tool call's arguments (`part`), while the model writes them. The complete arguments come in the ToolCall."""

    call_id: str
    name: str
    part: str


class ToolCall(Value, frozen=True):
    """A complete tool call of the model. `malformed`: the arguments' text if it is not a JSON object; None otherwise."""

    call_id: str
    name: str
    arguments: JsonObject
    malformed: str | None = None


class ToolProgress(Value, frozen=True):
    """A preliminary output of a running tool, replaced by the next or by the result; with a `part`, a data part of that name for the page."""

    call_id: str
    name: str
    output: Json
    part: str = ""


class ToolResult(Value, frozen=True):
    """The result of a tool call, which the model reads next. `is_error`: True if it is a sentence on why the call failed."""

    call_id: str
    name: str
    result: Json
    is_error: bool = False


class Approval(Value, frozen=True):
    """A request to the user to allow a tool call. `approval_id`: signed; the client sends it back with the decision."""

    call_id: str
    name: str
    approval_id: str


class LateResult(PartlyCompared, frozen=True):
    """The result of a tool call of an earlier answer, which the user has since allowed. `seconds`: the run time of the tool."""

    BESIDE = frozenset({"seconds"})
    call_id: str
    name: str
    arguments: JsonObject
    result: Json
    is_error: bool = False
    seconds: float = 0.0


CUT_SHORT: frozenset[Reason] = frozenset({"length", "content-filter"})
"""Finish reasons that may cut off a tool call; a call with `malformed` arguments then was cut off."""


class Finish(PartlyCompared, frozen=True):
    """The end of a complete answer.

    usage: the sum over its model calls; None if no provider reported it
    attempts: those of all its model calls, for another replica that shares the answer; the request's own `Trail` has them
    cache: the source of the answer; with one of FREE, the usage is not charged to this request
    model: the model of this call, as the provider names it; ignored when two ends are compared
    """

    BESIDE = frozenset({"model"})
    reason: Reason
    usage: Usage | None = None
    attempts: tuple[Attempt, ...] = ()
    cache: Cached = ""
    model: str = ""

    @property
    def spent(self) -> Usage | None:
        """The usage charged to this request; None for a cached answer, for one charged to another request, or without a report."""
        return None if self.cache in FREE else self.usage


class Failure(Value, frozen=True):
    """The end of an answer that broke off after its start. `public`: a sentence that is safe to show; `attempts`: as in a Finish."""

    code: str
    public: str
    attempts: tuple[Attempt, ...] = ()


Words = Text | Thought
WORDS = (Text, Thought)
"""The classes of Words."""
ToolEvent = ToolInput | ToolCall | ToolProgress | ToolResult | Approval | LateResult
Event = Start | Words | Source | Produced | ToolEvent | ReasoningState | Finish | Failure
"""An event of an answer. A ReasoningState is for the step that makes the turn's next request; every wire passes it over."""
Events = AsyncGenerator[Event, None]
Answer = Callable[[Ask], Events]
"""A function from a question to its events: a target, a target inside steps, or a whole route."""

Step = Callable[[Answer], Answer]
"""A function that wraps an answer, to change its question or its events. One that loops over another's events does so in `aclosing`."""


Onward = Callable[[bytes], bool]
"""Passes on the words of bytes from a provider, without waiting. Returns False if their reader has to be woken for the next step."""


class FastPath(Protocol):
    """The interface of a shortcut for text and thoughts: from a provider's connection to the client, past the generators between them.

    After a generator has yielded words, its reader takes the next words here. It waits here, too, while none have come.
    The generator is resumed only when something other than words has come.
    """

    @abstractmethod
    def wait(self, onward: Onward) -> asyncio.Future[None] | None:
        """Return a future that is done once words can be taken or the generator must be resumed; None if that is so now.

        onward: called with the bytes of each read from the provider; the future is done only if it returns False
        """

    @abstractmethod
    def take(self, piece: bytes = b"") -> Sequence[Words] | None:
        """Return the words of a piece that was read, or of all that waits to be read; perhaps none. None if the generator must be resumed."""

    def without_thoughts(self) -> "FastPath":
        """Return this path without the thoughts."""
        return FilteredPath(self, spoken)


class FilteredPath(FastPath):
    """A fast path whose words go through a function, `words`, which changes or records each batch."""

    def __init__(self, path: FastPath, words: Callable[[Sequence[Words]], Sequence[Words]]) -> None:
        self._path, self._words = path, words

    def wait(self, onward: Onward) -> asyncio.Future[None] | None:
        """Return the future of the path below."""
        return self._path.wait(onward)

    def take(self, piece: bytes = b"") -> Sequence[Words] | None:
        """Return the words of the path below, as the function returns them; None if the generator must be resumed."""
        words = self._path.take(piece)
        return self._words(words) if words else words


def spoken(words: Sequence[Words]) -> Sequence[Words]:
    """Return the words that are no thoughts."""
    return [word for word in words if word.__class__ is not Thought]


@final
class EventStream(Mutable):
    """The events of a generator that has a fast path: an async generator itself, which ends after its Finish without waiting.
    source: that generator
    fast: returns the path; None if the generator must be resumed
    spoken: returns the events of the source without the thoughts; None if thoughts are not dropped
    A reader may read the source and drop the thoughts itself. It then reads nothing else of this object, and closes the source.
    """

    source: Events
    fast: Callable[[], FastPath | None]
    spoken: Callable[[Events], Events] | None = None
    _generator: Events | None = None

    @property
    def generator(self) -> Events:
        """Return the generator of these events, the same each time."""
        if self._generator is None:
            self._generator = self.source if self.spoken is None else self.spoken(self.source)
        return self._generator

    def __aiter__(self) -> "EventStream":
        return self

    def __anext__(self) -> Coroutine[object, object, Event]:
        return self.generator.__anext__()

    def asend(self, value: None) -> Coroutine[object, object, Event]:
        """Return the next event of the generator."""
        return self.generator.asend(value)

    def athrow(self, *error: Any) -> Coroutine[object, object, Event]:
        """Raise an error in the generator."""
        return self.generator.athrow(*error)

    def aclose(self) -> Coroutine[object, object, None]:
        """Close the generator."""
        return self.generator.aclose()

    def fast_without_thoughts(self) -> FastPath | None:
        """Return the fast path without the thoughts; None if the generator must be resumed."""
        fast = self.fast
        path = fast()
        return None if path is None else path.without_thoughts()


def fast_path(events: Events) -> FastPath | None:
    """Return the fast path of a generator that has just yielded words; None if it has none now."""
    return events.fast() if type(events) is EventStream else None


class Beside:
    """The fast path through one step: that of the events below it. `words`: changes each batch of words; None if the step reads none."""

    def __init__(self, words: Callable[[Sequence[Words]], Sequence[Words]] | None = None) -> None:
        self._words = words
        self._below: Callable[[], FastPath | None] | None = None

    def over(self, events: Events) -> Events:
        """Set the events below the step, and return their generator for the step's loop."""
        if type(events) is not EventStream:
            self._below = None
            return events
        self._below = events.fast
        return events.generator

    def fast(self) -> FastPath | None:
        """Return a fast path through this step if the events below have one; None otherwise."""
        path = None if self._below is None else self._below()
        return path if path is None or self._words is None else FilteredPath(path, self._words)


State = Literal["idle", "speaking", "running", "over"]
OF_OPEN_CALL: dict[type[Event], str] = {
    ToolProgress: "progress of a call that does not run",
    Approval: "an approval of no open call",
    ToolResult: "a result without its call",
}
"""Event of an open call → the complaint if it comes for another one."""
ORDER: dict[tuple[State, type[Event]], State] = {
    ("idle", Start): "speaking",
    ("idle", Failure): "over",
    **{
        ("speaking", kind): "speaking" for kind in (Start, Text, Thought, Source, Produced, ToolInput, ToolCall, ReasoningState, LateResult)
    },
    **{("speaking", kind): "running" for kind in OF_OPEN_CALL},
    **{("speaking", kind): "over" for kind in (Finish, Failure)},
    **{("running", kind): "running" for kind in OF_OPEN_CALL},
    ("running", Start): "speaking",
    **{("running", kind): "over" for kind in (Finish, Failure)},
}


class Disorder(AssertionError):
    """The error of events in a wrong order: a bug in the code that made them."""


class Order(Mutable):
    """A checker of the order of one answer's events, for tests and drills: `see` and `end` raise Disorder."""

    _state: State = "idle"
    _open: set[str] = field(default_factory=set[str])
    _seen: set[str] = field(default_factory=set[str])

    def see(self, event: Event) -> Event:
        """Return the event. Raises Disorder if it may not come now."""
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
        if isinstance(event, ToolProgress | Approval | ToolResult) and event.call_id not in self._open:
            raise Disorder(OF_OPEN_CALL[type(event)])
        if isinstance(event, ToolResult):
            self._open.remove(event.call_id)
        return event

    def end(self) -> None:
        """Raise Disorder if the answer has no last event."""
        if self._state != "over":
            raise Disorder(f"ended while {self._state}")
