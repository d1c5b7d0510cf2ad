"""The record of a request: categories, counts and times, no words of the conversation.

The log line, the metrics, the admin pages and the traces are all made of it, once, when the request is over.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, get_args

from router.attempt import LET_GO, Attempt
from router.config.price import Price
from router.events import (
    FREE,
    Cached,
    Event,
    Failure,
    Finish,
    LateResult,
    Produced,
    Reason,
    Start,
    Text,
    Thought,
    ToolCall,
    ToolInput,
    ToolResult,
    Words,
)
from router.journal.attempts import Seam, seams, tried
from router.journal.charges import NO_CHARGES, Charges, charges
from router.usage import Usage
from router.value import Mutable, field, names, replace

problems = logging.getLogger("router.problems")

MAX_PAUSES = 10_000
"""Waits between two pieces of one answer that are remembered; more say nothing new."""
LATE = 10.0
"""Seconds after its end in which the count of an answer's tokens may come in; until then the request is not logged."""
DIGITS = 12
"""Digits of a dollar after the point: the cheapest token costs a billionth."""
FRACTION = 4
"""Digits of a second after the point."""
REASONS = frozenset({*get_args(Reason), "resumed", "counted", "embedded", "stop_asked", "deleted", "nothing_to_resume", "stopped"})
"""Outcomes that are no failure."""
CUT_SHORT = {"client_left": "client_left", "stopped": "stopped", "stopping": "stopping", "timeout": "timeout_total"}
"""The outcome of a request → that of a try which was let go with it; `abandoned` for all others."""
COUNTS = names(Usage)
_counts_of = attrgetter(*COUNTS)
ALWAYS = frozenset({"input_tokens", "output_tokens"})
"""Counts of a try that are logged also where they are 0."""
STRANGE = "other"
"""The name of a tool that the route does not grant: whatever the model made up goes nowhere."""


@dataclass(slots=True)
class Run:
    """A tool call. `began`: by the clock of time.monotonic; `seconds`: None where it did not end."""

    tool: str
    call_id: str
    began: float
    seconds: float | None = None
    is_error: bool = False


class Entry(Mutable):
    """The record of a request, filled in while it runs."""

    request_id: str
    generation: str
    began: float = field(default_factory=time.monotonic)
    at: float = field(default_factory=time.time)
    """Time of arrival: seconds since 1970."""
    caller: str = ""
    """The name of who asked; empty where nobody said."""
    owner: str = ""
    """The caller and its end user, under one name: see `Caller.owner`. They alone may ask for this record without the admin key."""
    user: str = ""
    """The end user for whom the caller asked; empty where none is named. Never a label of a metric."""
    route: str = ""
    operation: Literal["chat", "embeddings"] = "chat"
    """Operation, by the words of OpenTelemetry's `gen_ai.operation.name`."""
    stream: bool | None = None
    """None where the body was refused before that was known."""
    status: int = 0
    outcome: str = ""
    """The finish reason, or the code of what went wrong, or `client_left`."""
    reason: str = ""
    """Reason of a refusal, in a sentence of ours without a word of the client's; empty without a refusal."""
    target: str = ""
    cache: Cached = ""
    """Source of the answer, where the route has a cache."""
    age: float | None = None
    """Seconds since a kept answer was made."""
    steps: int = 0
    granted: Container[str] = ()
    """Names of the route's own tools."""
    models: Mapping[str, str] = field(default_factory=dict[str, str])
    """Models of the route's targets: target → its LiteLLM model name."""
    prices: Mapping[str, Price] = field(default_factory=dict[str, Price])
    """Prices of the targets, as far as they are known."""
    stand_ins: Container[str] = ()
    """Scripts that the route asks only after a model."""
    fault: str = ""
    """Fault with which the request had its provider broken; empty without one."""
    traceparent: str = ""
    """The trace that the client is in (W3C Trace Context); empty where it named none."""
    tools: list[Run] = field(default_factory=list[Run])
    attempts: tuple[Attempt, ...] = ()
    """Attempts as far as the events reported them; all of them, once the request is over."""
    tried: list[list[Attempt]] = field(default_factory=list[list[Attempt]])
    """Attempts of its `Ask`, which has them sooner, and also where no event reports them."""
    said: int = 0
    """Characters of this model call."""
    texts: list[int] = field(default_factory=list[int])
    """Characters of text of each model call."""
    seams: tuple[Seam, ...] = ()
    """Places where other targets continued; known once the request is over."""
    requested: str = ""
    """The model id that the client asked for, as it wrote it: a route's id or an alias."""
    omitted: tuple[str, ...] = ()
    """Parameters of the question that the target which answers was not sent."""
    output: str = ""
    """Way in which the answering target was asked for the output form, as `Start.output`."""
    opened: float | None = None
    """Time at which the first target began to speak; as `began`."""
    first: float | None = None
    """Time of the first piece of the answer; as `began`."""
    ended: float = 0.0
    pauses: list[float] = field(default_factory=list[float])
    """Seconds waited between two pieces."""
    observers: Sequence["Observer"] = ()
    _summed: tuple[Attempt, ...] = ()
    _charges: Charges = NO_CHARGES
    """Sums of those attempts."""
    _rest: float | None = None
    _waited: float | None = None
    """Seconds until what came last."""

    def takes(
        self,
        route: str,
        granted: Container[str],
        models: Mapping[str, str],
        prices: Mapping[str, Price],
        *,
        stand_ins: Container[str] = (),
    ) -> None:
        """Record the route that the request takes, with its granted tools, models, prices and stand-ins."""
        self.route, self.granted, self.models, self.prices, self.stand_ins = route, granted, models, prices, stand_ins
        self._summed, self._charges = (), NO_CHARGES  # at other prices

    @property
    def tries(self) -> tuple[Attempt, ...]:
        """The attempts so far, with the one that answers now if its question was changed for it.

        Changed: parameters were left out, or the output form was asked for in another way than the provider's own.
        """
        shown = self.omitted or self.output not in ("", "native")
        if not shown or any(one.target == self.target and (one.omitted or one.output) for one in self.attempts):
            return self.attempts
        return (*self.attempts, Attempt(self.target, "answering", 0.0, omitted=self.omitted, output=self.output))

    def see(self, event: Event) -> None:
        """Record an event that came: how long it was waited for, text length, tools, usage, attempts, and the end."""
        if self._rest is not None:
            self._waited = time.monotonic() - self._rest
            self._rest = None
        match event:
            case Text(text) | Thought(text):
                if self.texts and isinstance(event, Text):
                    self.texts[-1] += len(text)
                if self._waited is not None:
                    self._paused(self._waited)
                self.said += len(text)
                if self.first is None:
                    self.first = time.monotonic()
            case Produced():
                if self.first is None:
                    self.first = time.monotonic()
            case ToolInput(_, _, part):
                if self._waited is not None:
                    self._paused(self._waited)
                self.said += len(part)
            case Start(target, _, attempts, _, cache, age, omitted, output):
                self.target, self.cache, self.age, self.omitted, self.output = target, cache, age, omitted, output
                if cache in FREE:
                    return  # nobody was asked for this request
                if self.opened is None:
                    self.opened = time.monotonic()
                self.steps += 1
                self.attempts = attempts
                self._waited = None
                self.said = 0
                self.texts.append(0)
            case ToolCall(call_id, name) if self.cache not in FREE:
                self.tools.append(Run(name if name in self.granted else STRANGE, call_id, time.monotonic()))
            case ToolResult(call_id, _, _, is_error):
                self._ran(call_id, is_error=is_error)
            case LateResult(call_id, name, _, _, is_error, seconds) if self.cache not in FREE:
                granted = name if name in self.granted else STRANGE
                self.tools.append(Run(granted, call_id, time.monotonic() - seconds, seconds, is_error=is_error))
            case Finish(reason, _, attempts):
                self.outcome, self.attempts = reason, attempts
                if attempts:
                    last = attempts[-1]  # another may have gone on where the one that began broke off
                    if last.route:  # a tool's answer was the last
                        last = next((one for one in reversed(attempts) if not one.route), last)
                    self.target = last.target
            case Failure(code, _, attempts):
                self.outcome, self.attempts = code, attempts or self.attempts
            case _:
                pass

    def hears(self, words: Sequence[Words]) -> None:
        """Record text pieces that arrived together: their length, and how long they were waited for."""
        if self._rest is not None:
            self.pauses.append(time.monotonic() - self._rest)
        self._rest = self._waited = None
        for word in words:
            size = len(word.text)
            self.said += size
            if self.texts and word.__class__ is Text:
                self.texts[-1] += size

    def _ran(self, call_id: str, *, is_error: bool) -> None:
        for run in self.tools:
            if run.call_id == call_id and run.seconds is None:
                run.seconds, run.is_error = time.monotonic() - run.began, is_error

    def waits(self) -> None:
        """Start to wait for the next piece of this model call: all pieces so far were passed on."""
        self._rest = time.monotonic() if self.said and len(self.pauses) < MAX_PAUSES else None

    def _paused(self, seconds: float) -> None:
        """Record the pause before the next piece of the answer."""
        self.pauses.append(seconds)
        self._waited = None

    @property
    def charges(self) -> Charges:
        """Return usage and cost of the attempts as they stand: the same object until another attempt is known."""
        if self._summed != self.attempts:
            self._summed, self._charges = self.attempts, charges(self.attempts, self.prices)
        return self._charges

    @property
    def usage(self) -> Usage | None:
        """Return the usage of the model calls, as their providers counted it; None without a count."""
        return self.charges.usage

    @property
    def estimate(self) -> Usage | None:
        """Return the estimated usage of calls whose providers did not count, or not to the end. None if all is counted."""
        return self.charges.estimate

    @property
    def used(self) -> Usage | None:
        """Return the usage that limits are charged: the providers' counts, and the estimate of the rest."""
        return self.charges.used

    def cost_of(self, attempt: Attempt) -> float | None:
        """Return the cost of an attempt; None where no price is known, or nothing was used."""
        price, used = self.prices.get(attempt.target), attempt.usage or attempt.estimate
        return None if price is None or used is None else price.of(used)

    @property
    def failed(self) -> bool:
        """Return whether the client got an error, or half an answer."""
        return self.outcome not in REASONS

    @property
    def rescues(self) -> int:
        """Count the rescues: another target went on where one had broken off."""
        if len(self.attempts) < 2:
            return 0
        spoke = [attempt for attempt in self.attempts if attempt.first is not None and not attempt.route]
        return sum(one.outcome != "ok" for one in spoke[:-1])

    @property
    def overhead(self) -> float | None:
        """Seconds until the first target began to speak, without its own; None where others were waited for before it."""
        first = self.attempts[0].first if self.attempts else None
        if self.opened is None or first is None:
            return None
        return max(0.0, self.opened - self.began - first)

    def tally(self) -> None:
        """Note the outcome, and with it how the tries ended that were let go with it.

        Of an answer that it shared and did not hear to its end, another is told what was tried, unless it was the last.
        """
        self.seams = seams(self.tried, self.texts)
        why = CUT_SHORT.get(self.outcome, "abandoned")
        tried = tuple([replace(one, outcome=why) if one.outcome == LET_GO else one for call in self.tried for one in call])
        if tried or (self.cache and self.outcome in CUT_SHORT):
            self.attempts = tried

    @property
    def pending(self) -> bool:
        """Return whether the count of a model call may still come in, although the answer has ended."""
        return bool([one for one in self.attempts if one.meter is not None and one.meter.pending])

    async def counted(self) -> None:
        """Wait for the counts that may still come in, for as long as that may take."""
        meters = [one.meter for one in self.attempts if one.meter is not None]
        with suppress(TimeoutError):
            async with asyncio.timeout(LATE):
                await asyncio.gather(*(meter.closed() for meter in meters))

    def close(self) -> None:
        """Close the record of a finished request, and pass it to the observers."""
        self.tally()
        self.conclude()

    def conclude(self) -> None:
        """Close a record whose outcome is noted."""
        self.attempts = tuple([one if one.meter is None else one.settled for one in self.attempts])
        self.tried = []
        self.ended = time.monotonic()
        for observe in self.observers:
            observe(self)

    def explained(self) -> dict[str, object]:
        """Return the whole record, for the log and the admin pages."""
        sums = self.charges
        used = sums.used
        return {
            "request_id": self.request_id,
            "generation": self.generation,
            "caller": self.caller,
            "user": self.user or None,
            "route": self.route,
            "stream": self.stream,
            "status": self.status,
            "outcome": self.outcome,
            "reason": self.reason or None,
            "target": self.target,
            "cache": self.cache or None,
            "fault": self.fault or None,
            "steps": self.steps,
            "tools": [{"tool": run.tool, "seconds": rounded(run.seconds), "is_error": run.is_error} for run in self.tools],
            "attempts": self.tried_so_far,
            "rescues": self.rescues,
            "seams": [one.as_json() for one in self.seams],
            "input_tokens": used.input_tokens if used else None,
            "output_tokens": used.output_tokens if used else None,
            "cached_tokens": used.cached_tokens if used else None,
            "cache_write_tokens": used.cache_write_tokens if used else None,
            "reasoning_tokens": used.reasoning_tokens if used else None,
            "cost_usd": dollars(sums.cost),
            "estimated": sums.estimate is not None,
            "estimated_cost_usd": dollars(sums.estimated_cost),
            "first_token_seconds": round(self.first - self.began, FRACTION) if self.first else None,
            "seconds": round((self.ended or time.monotonic()) - self.began, FRACTION),
        }

    @property
    def running(self) -> bool:
        """Return whether the request is not over yet."""
        return not self.ended

    @property
    def known(self) -> tuple[Attempt, ...]:
        """Return its attempts: all of them once it is over, till then those that have ended."""
        return tuple([one for call in self.tried for one in call]) if self.tried and self.running else self.attempts

    @property
    def tried_so_far(self) -> list[dict[str, object]]:
        """Return the attempts as they are logged."""
        return list(map(self._tried, self.known))

    def _tried(self, attempt: Attempt) -> dict[str, object]:
        """Return an attempt for the log, with its usage and cost."""
        made = tried(attempt)
        if (used := attempt.usage or attempt.estimate) is not None:
            made |= {name: count for name, count in zip(COUNTS, _counts_of(used), strict=True) if count or name in ALWAYS}
            if (cost := dollars(self.cost_of(attempt))) is not None:
                made["cost_usd"] = cost
            if attempt.usage is None:
                made["estimated"] = True
        return made


def dollars(cost: float | None) -> float | None:
    """Return a sum of dollars as it is logged."""
    return None if cost is None else round(cost, DIGITS)


Observer = Callable[[Entry], None]
"""Observer that is shown each request when it is over."""


class GuardedObservers:
    """Observers whose failure harms neither the request nor the other ones: logged once, and again after the observer has worked."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)
        self._failing = set[Observer]()

    def __call__(self, entry: Entry) -> None:
        """Pass the request to each observer, and log its first failure."""
        for observer in self._observers:
            try:
                observer(entry)
            except Exception:  # noqa: BLE001 - whatever an observer does
                if observer not in self._failing:
                    name = getattr(observer, "__qualname__", type(observer).__name__)
                    fields = {"request_id": entry.request_id, "observer": name}
                    problems.exception("an observer of requests fails", extra={"fields": fields})
                self._failing.add(observer)
            else:
                if self._failing:
                    self._failing.discard(observer)


def rounded(seconds: float | None) -> float | None:
    """Return a duration rounded to a tenth of a millisecond."""
    return None if seconds is None else round(seconds, FRACTION)
