"""The record of a request: categories, counts and times, without any text of the conversation.

The log line, the metrics, the admin pages and the traces are made from it when the request is over.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from operator import sub
from time import monotonic, time
from types import SimpleNamespace
from typing import Literal, get_args

from router.attempt import LET_GO, Attempt, Trail
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
from router.journal.attempts import COUNTS, DIGITS, Seam, rescues, seams, tried
from router.journal.charges import NO_CHARGES, Charges, charges
from router.journal.fields import OwnFields, SharedFields
from router.value import Mutable, asdict, field, replace

problems = logging.getLogger("router.problems")

MAX_PAUSES = 10_000
"""Pauses between two pieces of one answer that are recorded at most."""
NO_MOMENTS: deque[float] = deque(maxlen=0)
"""The moments of a request whose pauses are not measured yet, or any more: none can be added."""
NO_TRAIL = Trail()
"""The trail of each request that is over: nothing is added to it."""
LATE = 10.0
"""Seconds after the end of an answer for which its usage is awaited; the request is logged after that."""
REASONS = frozenset({*get_args(Reason), "resumed", "counted", "embedded", "stop_asked", "deleted", "nothing_to_resume", "stopped"})
"""Outcomes of requests that did not fail."""
CUT_SHORT = {"client_left": "client_left", "stopped": "stopped", "stopping": "stopping", "timeout": "timeout_total"}
"""Outcome of a request → outcome of an attempt that was still running at its end; `abandoned` for all others."""
UNKNOWN = SimpleNamespace(**dict.fromkeys(COUNTS))
"""Token counts of a request that used none, or of which none is known: each is None."""
WRITTEN: frozenset[type[Event]] = frozenset({Text, Thought, ToolInput})
"""Events that a model writes piece by piece."""
STRANGE = "other"
"""The recorded name of a tool that the route does not grant: a name that the model made up is not recorded."""


class Run(Mutable):
    """A run of a tool. `began`: by the clock of time.monotonic; `seconds`: None where it did not end."""

    tool: str
    call_id: str
    began: float
    seconds: float | None = None
    is_error: bool = False

    def as_json(self) -> dict[str, object]:
        """Return the fields for the log and the pages."""
        return {"tool": self.tool, "seconds": rounded(self.seconds), "is_error": self.is_error}


class Entry(Mutable):
    """The record of a request, filled in while it runs."""

    request_id: str
    generation: str
    began: float = field(default_factory=monotonic)
    at: float = field(default_factory=time)
    """Time of arrival: seconds since 1970."""
    caller: str = ""
    """The caller's name; empty for an anonymous one."""
    owner: str = ""
    """The caller and its end user as one text (`Caller.owner`). They alone may read this record without the admin key."""
    user: str = ""
    """The end user of the request; empty without one. Never a label of a metric."""
    route: str = ""
    operation: Literal["chat", "embeddings"] = "chat"
    """Operation, by the words of OpenTelemetry's `gen_ai.operation.name`."""
    stream: bool | None = None
    """True if the client asked for a stream; None where the body was refused before that was known."""
    status: int = 0
    outcome: str = ""
    """The finish reason, the code of the error, or another word, such as `client_left` or `resumed`; empty before the end."""
    reason: str = ""
    """Reason of a refusal, in a sentence of ours without a word of the client's; empty without a refusal."""
    target: str = ""
    cache: Cached = ""
    """Source of the answer, as `Start.cache`; empty where the route has no cache."""
    age: float | None = None
    """Seconds since a cached answer was made; None without one."""
    steps: int = 0
    granted: Container[str] = ()
    """Names of the route's own tools."""
    models: Mapping[str, str] = {}
    """Models of the route's targets: target → its LiteLLM model name."""
    prices: Mapping[str, Price] = {}
    """Prices of the targets, as far as they are known."""
    stand_ins: Container[str] = ()
    """Scripts that the route asks only after a model."""
    fault: str = ""
    """The fault that the request injected (X-Router-Fault); empty without one."""
    traceparent: str = ""
    """The client's trace context (W3C `traceparent`); empty without one."""
    tools: tuple[Run, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    """Attempts before the latest Start; all of them at the end of the answer, and once the request is over."""
    trail: Trail = field(default_factory=Trail)
    """Collects the attempts at targets while the request runs, as the trail of its `Ask`."""
    texts: list[int] = field(default_factory=list[int])
    """Characters of text that each model call has written, on a route with tools; no other asks a model twice."""
    seams: tuple[Seam, ...] = ()
    """Places where other targets continued; known once the request is over."""
    rescues: int = 0
    """Number of times that another attempt took over the answer (see `rescues`); known once the request is over."""
    requested: str = ""
    """The model id that the client asked for, as it wrote it: a route's id or an alias."""
    omitted: tuple[str, ...] = ()
    """Parameters of the question that the answering target was not sent."""
    output: str = ""
    """Way in which the answering target was asked for the output form, as `Start.output`."""
    opened: float | None = None
    """Time of the first Start, by the clock of `began`; None before."""
    first: float | None = None
    """Time of the first piece of the answer, by the clock of `began`; None before."""
    ended: float = 0.0
    pauses: list[float] = field(default_factory=list[float])
    """Seconds of each pause between two pieces of the answer."""
    observers: Sequence["Observer"] = ()
    sums: Charges = NO_CHARGES
    """The sums over the attempts, once the request is over; before, `charges` returns them."""
    _summed: tuple[Attempt, ...] = ()
    """The attempts that `sums` is of."""
    _written: bool = False
    """True once the present model call has written text, a thought or tool input."""
    _waited: float | None = None
    """Seconds until the last event; None once they are recorded as a pause."""
    _moments: deque[float] = NO_MOMENTS
    """Time at which the last wait began, then that of each read since, by the clock of `began`; empty while no pause is measured."""

    def takes(
        self, route: str, granted: Container[str], models: Mapping[str, str], prices: Mapping[str, Price], stand_ins: Container[str]
    ) -> None:
        """Set the route that the request takes, with its granted tools, models, prices and stand-in scripts."""
        self.route, self.granted, self.models, self.prices, self.stand_ins = route, granted, models, prices, stand_ins
        if self._summed:
            self._summed, self.sums = (), NO_CHARGES  # at other prices

    def tries(self) -> tuple[Attempt, ...]:
        """Return the attempts so far. The answering target is added as `answering` if the question was changed for it.
        Changed: parameters were left out, or the output form was asked for in another way than the provider's own.
        """
        shown = self.omitted or self.output not in ("", "native")
        if not shown or any(one.target == self.target and (one.omitted or one.output) for one in self.attempts):
            return self.attempts
        return (*self.attempts, Attempt(self.target, "answering", 0.0, omitted=self.omitted, output=self.output))

    def see(self, event: Event) -> None:
        """Update the record by an event: the pause before it, text length, tools, usage, attempts, and the outcome."""
        if self._moments:
            self._waited = monotonic() - self._moments[-1]
            self._rested()
        if event.__class__ in WRITTEN:
            self._written = True
            if self._waited is not None:
                if len(self.pauses) < MAX_PAUSES:
                    self.pauses.append(self._waited)
                self._waited = None
            if self.first is None and event.__class__ is not ToolInput:
                self.first = monotonic()
            if self.texts and type(event) is Text:
                self.texts[-1] += len(event.text)
        elif type(event) is Start:
            self.target, attempts = event.target, event.attempts
            # To set a field that has the value already would cost as much as ten conditions.
            if event.cache or self.cache:
                self.cache, self.age = event.cache, event.age
            if event.output or event.omitted or self.output or self.omitted:
                self.omitted, self.output = event.omitted, event.output
            if self.granted:  # only the tool loop asks a model again, or another route
                self.texts.append(0)
                attempts = self.trail.attempts or attempts
            if event.cache in FREE:
                return  # nobody was asked for this request
            if self.opened is None:
                self.opened = monotonic()
            self.steps += 1
            if attempts or self.attempts:
                self.attempts = attempts
            if self._written:  # else no pause is measured, either
                self._written, self._waited = False, None
        elif type(event) is Finish:
            self.outcome = event.reason
            self.attempts = attempts = (*chain.from_iterable(self.trail.calls),)
            if attempts:
                last = attempts[-1]  # another may have gone on where the one that began broke off
                if last.route:  # a tool's answer was the last
                    last = next((one for one in reversed(attempts) if not one.route), last)
                self.target = last.target
        else:
            self._sees_other(event)

    def _sees_other(self, event: Event) -> None:
        """Update the record by an event that few answers have: a file, a tool's call or result, or a failure."""
        match event:
            case Produced() if self.first is None:
                self.first = monotonic()
            case ToolCall(call_id, name) if self.cache not in FREE:
                self.tools += (Run(name if name in self.granted else STRANGE, call_id, monotonic()),)
            case ToolResult(call_id, _, _, is_error):
                for run in self.tools:
                    if run.call_id == call_id and run.seconds is None:
                        run.seconds, run.is_error = monotonic() - run.began, is_error
            case LateResult(call_id, name, _, _, is_error, seconds) if self.cache not in FREE:
                granted = name if name in self.granted else STRANGE
                self.tools += (Run(granted, call_id, monotonic() - seconds, seconds, is_error=is_error),)
            case Failure(code):
                self.outcome = code
                self.attempts = self._over() or self.attempts
            case _:
                pass

    def hears(self, words: Sequence[Words]) -> None:
        """Record the time of pieces of text that arrived together, and their length where a seam may need it.
        The next pause begins now, or at `waits`, which is called before the first such pieces.
        """
        self._moments.append(monotonic())
        if self.texts:
            self.texts[-1] += sum([len(word.text) for word in words if word.__class__ is Text])

    def waits(self) -> None:
        """Begin to measure the pause before the next piece, as all pieces so far were passed on; returns at once.
        Nothing is measured before the model call's first piece, and beyond MAX_PAUSES.
        """
        if self._moments:
            self._rested()
        if self._written and len(self.pauses) < MAX_PAUSES:
            if self._moments is NO_MOMENTS:
                self._moments = deque(maxlen=MAX_PAUSES + 1)
            self._moments.append(monotonic())

    def _rested(self) -> None:
        """Record the pauses between the moments, MAX_PAUSES in all, and forget the moments."""
        if len(self._moments) > 1:
            pauses = map(sub, islice(self._moments, 1, None), self._moments)
            self.pauses.extend(islice(pauses, MAX_PAUSES - len(self.pauses)))
        self._moments.clear()

    @property
    def charges(self) -> Charges:
        """Return usage and cost of the present attempts. The object stays the same until the attempts change."""
        if self._summed != self.attempts:
            self._summed, self.sums = self.attempts, charges(self.attempts, self.prices)
        return self.sums

    @property
    def failed(self) -> bool:
        """Return whether a finished request got an error, its answer broke off, or its client left early.
        An answer that reached its length limit, or that its client asked to stop, did not fail.
        """
        return self.outcome not in REASONS

    def _over(self) -> tuple[Attempt, ...]:
        """Return the attempts of the trail. Those still running get an outcome derived from the request's."""
        attempts = (*chain.from_iterable(self.trail.calls),)
        for one in attempts:
            if one.outcome == LET_GO:
                outcome = CUT_SHORT.get(self.outcome, "abandoned")
                return tuple([replace(each, outcome=outcome) if each.outcome == LET_GO else each for each in attempts])
        return attempts

    def tally(self) -> None:
        """Set the final attempts once the outcome is known (see `_over`).

        Of the followers of a shared answer one alone has attempts: the first that reached its end, or else the last one to leave.
        """
        ended = self._over()
        if len(ended) > 1:
            self.seams = seams(self.trail.calls, self.texts)
            self.rescues = rescues(ended)
        if ended or self.cache:
            self.attempts = ended

    @property
    def pending(self) -> bool:
        """Return whether the usage of an attempt may still arrive, although the answer has ended."""
        for one in self.attempts:  # noqa: SIM110 - any() resumes a generator for each
            if one.meter is not None and one.meter.pending:
                return True
        return False

    async def counted(self) -> None:
        """Wait until the usage that may still arrive has come, at most LATE seconds. `close` then takes it over."""
        meters = [one.meter for one in self.attempts if one.meter is not None]
        with suppress(TimeoutError):
            async with asyncio.timeout(LATE):
                await asyncio.gather(*(meter.closed() for meter in meters))

    def close(self, *, counted: bool = False) -> bool:
        """Complete the record of a finished request, and pass it to the observers; not while usage of an attempt may still arrive.
        Return False in that case: it must be closed again once `counted` has returned, or need not be awaited any more.
        """
        attempts = self.attempts
        # In the usual case a Finish has taken the one attempt from the trail, and nothing is lacking.
        if len(attempts) != 1 or (one := attempts[0]).outcome != "ok" or one.meter is not None or self.trail.calls != [[one]]:
            if not counted:
                self.tally()
                if self.pending:
                    return False
            self.attempts = tuple([one.settled for one in self.attempts])
        if self._moments is not NO_MOMENTS:
            self._rested()  # the last pieces may have taken the fast path
            self._moments = NO_MOMENTS
        if self._summed is not self.attempts:
            self.sums = self.charges
        self.trail = NO_TRAIL
        self.ended = monotonic()
        for observe in self.observers:
            observe(self)
        return True

    def explained(self) -> dict[str, object]:
        """Return the record, so far if the request runs, as JSON for the log and the admin pages."""
        return {"request_id": self.request_id, **asdict(self.shared()), **asdict(self.own())}

    def shared(self) -> SharedFields:
        """Return the first fields of the record, after the request's id."""
        return SharedFields(
            self.generation,
            self.caller,
            self.user or None,
            self.route,
            self.stream,
            self.status,
            self.outcome,
            self.reason or None,
            self.target,
            self.cache or None,
            self.fault or None,
            self.steps,
        )

    def own(self) -> OwnFields:
        """Return the other fields of the record, so far if the request runs."""
        if self.ended:
            attempts, sums, rescued = self.attempts, self.sums, self.rescues
            costs = sums.costs
        else:
            attempts, sums, rescued = self.known, self.charges, rescues(self.attempts)
            costs = charges(attempts, self.prices).costs
        used = sums.used or UNKNOWN
        return OwnFields(
            [run.as_json() for run in self.tools] if self.tools else [],
            [*map(tried, attempts, costs)],
            rescued,
            [one.as_json() for one in self.seams] if self.seams else [],
            used.input_tokens,
            used.output_tokens,
            used.cached_tokens,
            used.cache_write_tokens,
            used.reasoning_tokens,
            sums.cost and round(sums.cost, DIGITS),
            sums.estimate is not None,
            sums.estimated_cost and round(sums.estimated_cost, DIGITS),
            rounded(self.first - self.began) if self.first else None,
            rounded((self.ended or monotonic()) - self.began),
        )

    @property
    def running(self) -> bool:
        """Return whether the request is not over yet."""
        return not self.ended

    @property
    def known(self) -> tuple[Attempt, ...]:
        """Return all attempts of a finished request; of a running one those that have ended."""
        return self.trail.attempts or self.attempts if self.running else self.attempts


Observer = Callable[[Entry], None]
"""Receives each request when it is over."""


class GuardedObservers:
    """Observers whose exception harms neither the request nor other observers. Of an observer's exceptions in a row the first is logged."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)
        self._failing: tuple[Observer, ...] = ()
        """The observers that failed at the last request."""

    def __call__(self, entry: Entry) -> None:
        """Pass the request to each observer; log an observer's exception if its call before was a success."""
        failing: tuple[Observer, ...] = ()
        for observer in self._observers:
            try:
                observer(entry)
            except Exception:  # noqa: BLE001 - whatever an observer does
                if observer not in self._failing:
                    name = getattr(observer, "__qualname__", type(observer).__name__)
                    fields = {"request_id": entry.request_id, "observer": name}
                    problems.exception("an observer of requests fails", extra={"fields": fields})
                failing += (observer,)
        self._failing = failing


def rounded(seconds: float | None) -> float | None:
    """Return a duration in seconds, rounded to a tenth of a millisecond as `in_ms` rounds; None stays None.
    So does an infinite one and NaN, as another replica may report: no request is left out of the log because of it.
    """
    try:
        return None if seconds is None else int(seconds * 10_000 + 0.5) / 10_000
    except (OverflowError, ValueError):
        return seconds
