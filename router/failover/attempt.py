"""An attempt at a target: from the question until its first event, and the open stream after that."""

import asyncio
from collections.abc import Callable, Sequence

from router.attempt import LET_GO, Attempt, in_ms
from router.chat import Ask
from router.errors import FileRefused, TargetDenied, TargetDown, TargetError, TargetRefused, TargetSilent
from router.events import Event, Events, EventStream, FastPath, Finish, Start
from router.failover.breaker import Permit
from router.failover.candidate import Candidate
from router.failover.rescue import WISH
from router.failover.watch import Watch
from router.usage import Meter, Usage, tokens_in
from router.value import Mutable, field, replace


class Opened(Mutable):
    """An open stream of a target: its Start and the first event after that have arrived. Its holder closes it (`Chain.let_go`).
    began: when the target was asked, by the clock of the breakers
    took: seconds from then until the first event after the Start
    """

    candidate: Candidate
    permit: Permit
    start: Start
    first: Event
    events: Events
    fast: Callable[[], FastPath | None] | None
    """Returns the fast path of the events, if they have one now; None if they never have."""
    began: float
    took: float
    ask: Ask
    """The question that the target was asked."""
    over: bool = False
    """True once the outcome of the attempt is recorded."""
    finished: bool = False
    """True once the target's Finish has come."""
    said: list[str] = field(default_factory=list[str])
    """All that the target wrote, in pieces: the list of the answer's text itself (`Relay.said`) as long as that is the same.
    The cost is estimated from it if the provider reports no usage.
    """
    closed: bool = False
    """True once the stream is closed, or being closed."""

    def ended(self, outcome: str, usage: Usage | None = None, model: str = "", said: int = 0) -> Attempt:
        """Mark the attempt as over, and return it with this outcome, its tokens and its time. The caller records it.
        The token count, if the provider reported one, is also stored as the last one of the chat (`Prefixes`).
        usage: tokens that the provider counted, for the whole answer or for the part that was sent
        model: the provider's name of the model that answered; empty if it is not known
        said: characters that the client had when the answer broke off; 0 otherwise
        """
        self.over = True
        candidate, start, meter = self.candidate, self.start, self.start.meter
        health = candidate.health
        clock = health.clock
        now = clock()
        if meter is not None and meter.final:
            usage, meter = meter.usage, None
        if usage is not None:
            health.prefixes.counted(self.ask, usage, now)
        return Attempt(
            candidate.name,
            outcome,
            in_ms(now - self.began),
            first=in_ms(self.took),
            began=self.began,
            omitted=start.omitted,
            output=start.output,
            model=model,
            usage=usage,
            estimate=None if usage is not None else estimated(candidate, self.ask, self.said, meter),
            said=said,
            meter=meter if meter is not None and meter.pending else None,
        )


def tried(candidate: Candidate, began: float, outcome: str, wait: float | None = None) -> Attempt:
    """Return the attempt at a target that was asked at `began` and has just ended. `wait`: the seconds of its `Retry-After`, if any."""
    seconds = candidate.health.clock() - began
    return Attempt(candidate.name, outcome, in_ms(seconds), wait=None if wait is None else in_ms(wait), began=began)


def charged(attempt: Attempt, candidate: Candidate, ask: Ask, meter: Meter | None, *, usage: Usage | None = None) -> Attempt:
    """Return the attempt with either `usage`, which the provider counted, or `estimate`. A final count of the meter comes before `usage`."""
    if meter is not None and meter.final:
        usage = meter.usage
    return replace(attempt, usage=usage, estimate=estimated(candidate, ask, (), meter) if usage is None else None)


def estimated(candidate: Candidate, ask: Ask, said: Sequence[str], meter: Meter | None) -> Usage:
    """Return the estimated tokens of a call, from the question and the text so far (`said`, in pieces).
    Where the meter counted some of it, its input tokens replace the estimated ones; its output tokens do so where they are more.
    """
    guess = replace(candidate.health.prefixes.guess(ask) or Usage(ask.tokens), output_tokens=tokens_in("".join(said)))
    if meter is not None and meter.usage is not None:
        return replace(meter.usage, output_tokens=max(guess.output_tokens, meter.usage.output_tokens))
    return guess


TAKEN_UP = frozenset({"cut", "empty", "content_filter"})
"""Outcomes of calls that cost something although no text arrived: the provider had worked on them."""


def _failed(candidate: Candidate, permit: Permit, began: float, ask: Ask, error: TargetError, *, start: Start | None) -> Attempt:
    """Report the error of an attempt that ended before its first word, and return the attempt, with the tokens that it cost, if any.
    It cost some if the answer had a Start, and the provider counted tokens, timed out, or ended it with an outcome in TAKEN_UP.
    """
    if isinstance(error, FileRefused) and error.sort in ask.shows:
        candidate.refused(error.sort)
    report(candidate, permit, began, error, ask.owner)
    ended = tried(candidate, began, error.outcome, error.retry_after if isinstance(error, TargetDown) else None)
    if start is None:
        return ended
    meter = start.meter  # it has the count, and knows whether it is final; the error has it where there is no meter
    counted = error.used if meter is None else meter.usage
    if counted is None and not isinstance(error, TargetSilent) and error.outcome not in TAKEN_UP:
        return ended
    return charged(ended, candidate, ask, meter, usage=counted if meter is None else None)


async def attempt(candidate: Candidate, ask: Ask, watch: Watch, first_token: float, attempts: list[Attempt]) -> Opened:
    """Ask one target once, and return its stream as soon as an event after its Start arrives.
    Raises a TargetError if the target may not be asked now, fails, is silent, or gives an empty answer. The stream is then closed.
    first_token: seconds to wait for that event at most; most probes of a silent target wait at most for the breaker's `open`
    attempts: the attempt is appended if it failed or was cancelled
    """
    if candidate.ready is not None:
        await candidate.ready()
    health, answer, clock = candidate.health, candidate.answer, candidate.health.clock
    began = clock()
    permit = None if candidate.switches.moved and candidate.off else health.breaker.admit()
    if permit is None:
        raise left_alone(candidate, began, attempts)
    health.load.busy += 1
    start: Start | None = None
    opened = events = fast = None
    try:
        events = answer(ask)
        if type(events) is EventStream:
            events, fast = events.source, events.fast
        watch.wait(min(first_token, permit.patience) if permit.probes else first_token)
        try:
            event = await events.__anext__()
            while event.__class__ is Start:
                start = event  # pyright: ignore[reportAssignmentType] - that is its class
                event = await events.__anext__()
        except StopAsyncIteration:
            raise _empty(candidate) from None
        except asyncio.CancelledError:
            if watch.late():
                raise TargetSilent(candidate.name, "timeout_first_token") from None
            raise
        finally:
            watch.waiting = False
        if start is None or (type(event) is Finish and _is_empty(event, ask)):
            raise _empty(candidate, event)
        opened = Opened(candidate, permit, start, event, events, fast, began, health.started(permit, began), ask)
    except TargetError as error:
        attempts.append(_failed(candidate, permit, began, ask, error, start=start))
        raise
    except asyncio.CancelledError:
        # Another target was quicker, or the client left: the provider was working on it.
        attempts.append(charged(tried(candidate, began, LET_GO), candidate, ask, start.meter if start else None))
        health.pace.abandoned(clock() - began)
        raise
    else:
        return opened
    finally:
        if opened is None:
            health.load.busy -= 1
            health.breaker.rest(permit)  # no effect unless nothing was reported: the client left
            if events is not None:
                await events.aclose()


def report(candidate: Candidate, permit: Permit, began: float, error: TargetError, owner: str) -> None:
    """Report an error of the target to its breaker and its refusals. A refusal of the question alone does not count at the breaker.
    `began`: when the target was asked. `owner`: the caller and end user for whom it was asked (`Ask.owner`).
    """
    breaker = candidate.health.breaker
    if isinstance(error, TargetRefused):
        candidate.health.refusals.refused(began, error)
    if isinstance(error, TargetDenied):
        if error.certain:
            breaker.denied(permit)
        else:
            breaker.doubted(permit, owner)
    elif isinstance(error, TargetSilent):
        breaker.fell_silent(permit)
    elif isinstance(error, TargetDown):
        breaker.failed(permit)
        if error.retry_after is not None:
            breaker.leave(error.retry_after)


def left_alone(candidate: Candidate, began: float, attempts: list[Attempt]) -> TargetDown:
    """Record that the target was not asked (`drained` or `breaker_open`), and return the error to raise.
    It is TargetDown, which may be retried, if only the target's own `Retry-After` forbids it; else TargetSilent, which is not retried.
    """
    breaker, switched = candidate.health.breaker, candidate.off
    wait, outcome = (None, "drained") if switched else (breaker.wait(), "breaker_open")
    attempts.append(tried(candidate, began, outcome, wait))
    kind = TargetDown if breaker.waits_for_retry_after and not switched else TargetSilent
    return kind(candidate.name, outcome, retry_after=wait)


def _empty(candidate: Candidate, end: Event | None = None) -> TargetDown:
    """Return the error for an answer that has no event but this end, if any, after its Start."""
    error = TargetDown(candidate.name, "empty")
    error.used = end.usage if isinstance(end, Finish) else None
    return error


def _is_empty(end: Finish, ask: Ask) -> bool:
    """Return whether an answer that has nothing but this Finish is empty, which is a failure.
    An empty answer is valid in these cases, but never with the finish reason `unknown`:
    - it ended at a token limit or a content filter
    - it follows a tool's result, or the model's own words so far
    - the question has `stop` texts, and the finish reason is `stop`
    """
    if end.reason == "unknown":
        return True
    if end.reason in ("length", "content-filter"):
        return False
    if end.reason == "stop" and ask.params.stop:
        return False  # OpenAI's wire says `stop` of both ends
    last = ask.messages[-1]
    return last.role not in ("assistant", "tool") and last.text != WISH
