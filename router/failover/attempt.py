"""One try at one target: up to its first event, and then event by event."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace

from router.chat import Ask
from router.errors import LET_GO, Attempt, FileRefused, TargetDenied, TargetDown, TargetError, TargetRefused, TargetSilent
from router.events import Event, Finish, Start, Text, Thought, ToolInput
from router.failover.breaker import Admission
from router.failover.candidate import Candidate
from router.failover.rescue import WISH
from router.failover.watch import Watch
from router.usage import Meter, Usage, tokens_in

Note = Callable[[Attempt], None]
"""Remembers how a try ended."""


@dataclass(slots=True, eq=False)
class Opened:
    """A stream whose first event is here, and whose it is. Whoever has it closes it. `began`: when it was asked; `took`: seconds
    until that event.
    """

    candidate: Candidate
    admission: Admission
    start: Start
    first: Event
    events: AsyncGenerator[Event, None]
    began: float
    took: float
    ask: Ask
    """What it was asked."""
    over: bool = False
    """Whether it was said how it ended."""
    said: list[str] = field(default_factory=list[str])
    """All that it wrote, in pieces: what it cost is estimated by that where nobody counts."""
    _closed: bool = False

    def heard(self, event: Event) -> Event:
        """The event, noted."""
        if piece := _written(event):
            self.said.append(piece)
        return event

    def ended(self, outcome: str, usage: Usage | None = None) -> Attempt:
        """The try that ends now. `usage`: what its provider counted for the whole answer, or for as much as there was of it."""
        self.over = True
        meter = self.start.meter
        made = Attempt(
            self.candidate.name,
            outcome,
            round(self.candidate.standing.clock() - self.began, 3),
            first=round(self.took, 3),
            began=self.began,
            omitted=self.start.omitted,
            output=self.start.output,
            meter=meter if meter is not None and meter.pending else None,
        )
        made = charged(made, self.candidate, self.ask, self.said, meter, usage=usage)
        if made.usage is not None:
            self.candidate.standing.prefixes.counted(self.ask, made.usage)
        return made

    async def close(self) -> None:
        """Let go of the stream."""
        if not self._closed:
            self._closed = True
            self.candidate.standing.load.busy -= 1
            await self.events.aclose()


def charged(
    attempt: Attempt, candidate: Candidate, ask: Ask, said: Sequence[str], meter: Meter | None, *, usage: Usage | None = None
) -> Attempt:
    """A try with what it cost: `usage`, which its provider counted in the end, or an estimate by what was asked and said. What the meter
    counted till then stands in place of the estimated input, and of the estimated output where it is more.
    """
    if meter is not None and meter.final:
        usage = meter.usage
    if usage is not None:
        return replace(attempt, usage=usage)
    guess = replace(candidate.standing.prefixes.guess(ask) or Usage(ask.tokens), output_tokens=tokens_in("".join(said)))
    if meter is not None and meter.usage is not None:
        guess = replace(meter.usage, output_tokens=max(guess.output_tokens, meter.usage.output_tokens))
    return replace(attempt, estimate=guess)


TAKEN_UP = frozenset({"cut", "empty", "content_filter"})
"""Outcomes of a call whose provider was at work on it, although it said nothing."""


def _failed(tried: Attempt, candidate: Candidate, ask: Ask, start: Start | None, error: TargetError) -> Attempt:
    """A try that ended before its first word, with what it cost. A question that was refused costs nothing, also where a 200 said so; one
    that was taken up costs, also where nothing came of it.
    """
    if start is None:
        return tried
    told = start.meter.usage if start.meter is not None else error.used
    taken_up = told is not None or isinstance(error, TargetSilent) or error.outcome in TAKEN_UP
    return charged(tried, candidate, ask, (), start.meter, usage=_counted(error, start)) if taken_up else tried


def _counted(error: TargetError, start: Start) -> Usage | None:
    """What an error says that the answer before it cost. Where there is a meter, that has it, and knows whether it is all."""
    return error.used if start.meter is None else None


def _written(event: Event) -> str:
    match event:
        case Text(text) | Thought(text) | ToolInput(_, _, text):
            return text
        case _:
            return ""


async def attempt(candidate: Candidate, ask: Ask, watch: Watch, first_token: float, note: Note) -> Opened:
    """Ask one target, up to its first event (`first_token`: seconds). The stream is closed on every other way out."""
    if candidate.ready is not None:
        await candidate.ready()
    standing = candidate.standing
    breaker = standing.breaker
    clock = standing.clock
    began = clock()

    def ended(outcome: str, wait: float | None = None) -> Attempt:
        seconds = clock() - began
        return Attempt(candidate.name, outcome, round(seconds, 3), wait=None if wait is None else round(wait, 3), began=began)

    admission = breaker.admit() if not candidate.off else None
    if admission is None:
        raise left_alone(candidate, ended, note)
    standing.load.busy += 1
    events: AsyncGenerator[Event, None] | None = None
    opened: Opened | None = None
    start: Start | None = None
    try:
        events = candidate.answer(ask)
        limit = left = min(first_token, admission.patience)
        while True:
            event = await following(events, watch, left, candidate.name, "timeout_first_token")
            took = clock() - began
            left = max(0.0, limit - took)
            if isinstance(event, Start):
                start = event
                continue
            if event is None or start is None or _is_empty(event, ask):
                raise _empty(candidate.name, event)
            breaker.began(admission)
            standing.refusals.answers(began)
            standing.load.started(took)
            standing.pace.started(took)
            opened = Opened(candidate, admission, start, event, events, began, took, ask)
            return opened
    except TargetError as error:
        tried = ended(error.outcome, error.retry_after if isinstance(error, TargetDown) else None)
        note(_failed(tried, candidate, ask, start, error))
        _told(candidate, admission, began, error, ask)
        raise
    except asyncio.CancelledError:
        # Another target was quicker, or nobody waits any more: its provider was at work on it.
        note(charged(ended(LET_GO), candidate, ask, (), start.meter if start else None))
        standing.pace.abandoned(clock() - began)
        raise
    finally:
        if opened is None:
            standing.load.busy -= 1
            breaker.rest(admission)  # where nothing else was said of it: whoever asked has gone
            if events is not None:
                await events.aclose()


def _told(candidate: Candidate, admission: Admission, began: float, error: TargetError, ask: Ask) -> None:
    """Report what an error says of the target, and of the files that it reads."""
    if isinstance(error, FileRefused) and error.sort in ask.shows:
        candidate.refused(error.sort)
    report(candidate, admission, began, error, ask.owner)


def report(candidate: Candidate, admission: Admission, began: float, error: TargetError, owner: str) -> None:
    """Report to the breaker and to the refusals what an error says of the target. `owner`: for whom it was asked."""
    standing = candidate.standing
    breaker = standing.breaker
    if isinstance(error, TargetRefused):
        standing.refusals.refused(began, error)
    if isinstance(error, TargetDenied):
        if error.certain:
            breaker.denied(admission)
        else:
            breaker.doubted(admission, owner)
    elif isinstance(error, TargetSilent):
        breaker.fell_silent(admission)
    elif isinstance(error, TargetDown):
        breaker.failed(admission)
        if error.retry_after is not None:
            breaker.leave(error.retry_after)


def _empty(target: str, event: Event | None) -> TargetDown:
    """The error of an answer with nothing in it."""
    error = TargetDown(target, "empty")
    error.used = event.usage if isinstance(event, Finish) else None
    return error


def left_alone(candidate: Candidate, ended: Callable[[str, float | None], Attempt], note: Note) -> TargetDown:
    """Why it may not be asked now; noted. Only one that said itself for how long is worth waiting for."""
    breaker, switched = candidate.standing.breaker, candidate.off
    wait = None if switched else breaker.wait()
    outcome = "drained" if switched else "breaker_open"
    note(ended(outcome, wait))
    kind = TargetDown if breaker.by_its_word and not switched else TargetSilent
    return kind(candidate.name, outcome, retry_after=wait)


def _is_empty(event: Event, ask: Ask) -> bool:
    """An answer with nothing in it is a failure; but after a tool's result, or its own words so far, a model may well have
    nothing to add, and the question's own `stop` may stand at its very beginning.
    """
    if not isinstance(event, Finish) or event.reason in ("length", "content-filter"):
        return False
    if event.reason == "unknown":
        return True  # no word, and no reason either
    if event.reason == "stop" and ask.params.stop:
        return False  # OpenAI's wire says `stop` of both ends
    last = ask.messages[-1]
    return last.role not in ("assistant", "tool") and last.text != WISH


async def following(events: AsyncGenerator[Event, None], watch: Watch, limit: float, target: str, outcome: str) -> Event | None:
    """The next event, None at the end; TargetSilent with this outcome where it does not come within the limit (seconds)."""
    watch.wait(limit)
    try:
        return await anext(events, None)
    except asyncio.CancelledError:
        if watch.late():
            raise TargetSilent(target, outcome) from None
        raise
    finally:
        watch.rest()
