"""The chain of targets: each asked in order, one of them again where that may help."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Literal

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from router.chat import Ask
from router.config.declaration import Breaker as Declared
from router.config.declaration import Retry, Timeout
from router.errors import (
    Attempt,
    Busy,
    ContentFiltered,
    ContextTooLong,
    Filtered,
    Overlong,
    TargetDenied,
    TargetDown,
    TargetError,
    TargetRefused,
    TargetSilent,
    TimedOut,
    Unanswered,
)
from router.events import Answer, Event, Events, Failure, Finish, Start
from router.failover.breaker import Breaker
from router.failover.rescue import WISH, Diverged, Heard, prefilled, wished
from router.failover.watch import Watch


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target as the chain sees it. `window`: tokens it can read, None where nobody said."""

    name: str
    answer: Answer
    window: int | None = None
    prefill: bool = False
    """Whether it goes on from the assistant's last words, if it is given any."""
    breaker: Breaker = field(default_factory=lambda: Breaker(Declared()))


@dataclass(frozen=True, slots=True)
class Policy:
    """What a route says of failing: how long to wait, how often to ask, and what follows a break."""

    timeout: Timeout
    retry: Retry
    rescue: Literal["continue", "fail"] = "continue"


def failover(candidates: Sequence[Candidate], policy: Policy) -> Answer:
    """The first of the candidates that starts to speak; and, where it breaks off, those that can go on."""

    async def answer(ask: Ask) -> Events:
        chain = Chain(candidates, policy, ask)
        async with Watch() as watch:
            opened: Opened | None = await chain.open(watch)
            try:
                yield replace(opened.start, attempts=tuple(chain.attempts))
                heard = Heard()
                while opened is not None:
                    async with aclosing(_relayed(opened, chain, heard, watch)) as events:
                        async for event in events:
                            yield event
                            if isinstance(event, Finish):
                                return
                    if heard.called:
                        # The calls are whole, only the end was lost: they can be run.
                        yield Finish("tool-calls", None, tuple(chain.attempts))
                        return
                    opened = await chain.rescue(opened.candidate, heard, watch)
            finally:
                if opened is not None:
                    await opened.events.aclose()  # a client may leave before the first event was passed on
            yield Failure(Unanswered.code, "The model's answer broke off. Please try again.", tuple(chain.attempts))

    return answer


async def _relayed(opened: "Opened", chain: "Chain", heard: Heard, watch: Watch) -> Events:
    """What one target says, joined to what was heard before. Without a Finish at its end it broke off, which was noted."""
    began = time.monotonic()
    event: Event | None = opened.first
    try:
        while event is not None:
            if isinstance(event, Finish):
                if (rest := heard.rest()) is not None:
                    yield rest
                chain.finished(opened, time.monotonic() - began)
                yield replace(event, attempts=tuple(chain.attempts))
                return
            if (seen := heard.see(event)) is not None:
                yield seen
            event = await following(opened.events, watch, chain.timeout.idle, opened.candidate.name, "timeout_idle")
        chain.broke(opened, "cut", time.monotonic() - began)
    except TargetError as error:
        chain.broke(opened, error.outcome, time.monotonic() - began)
    except Diverged:
        chain.note(opened.candidate.name, "diverged", time.monotonic() - began)
    finally:
        await opened.events.aclose()


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream whose first event is here, and whose it is."""

    candidate: Candidate
    start: Start
    first: Event
    events: AsyncGenerator[Event, None]


BUSY = frozenset({"status_429", "breaker_open"})
"""Outcomes after which it is worth coming back, and when."""


class Chain:
    """One question's way through the candidates; remembers what was tried."""

    def __init__(self, candidates: Sequence[Candidate], policy: Policy, ask: Ask) -> None:
        self._candidates = candidates
        self.timeout = policy.timeout
        self._retry = policy.retry
        self._rescues = len(candidates) if policy.rescue == "continue" else 0
        self._ask = ask
        self.attempts: list[Attempt] = []

    def note(self, target: str, outcome: str, seconds: float) -> None:
        """Remember how a try ended."""
        self.attempts.append(Attempt(target, outcome, round(seconds, 3)))

    def finished(self, opened: Opened, seconds: float) -> None:
        """A stream came to its end."""
        self.note(opened.candidate.name, "ok", seconds)
        opened.candidate.breaker.succeeded()

    def broke(self, opened: Opened, outcome: str, seconds: float) -> None:
        """A stream that had begun broke off."""
        self.note(opened.candidate.name, outcome, seconds)
        opened.candidate.breaker.failed()

    async def open(self, watch: Watch) -> Opened:
        """The first stream that starts. An Unanswered where none does."""
        failed: list[TargetError] = []
        window = 0
        for candidate in self._candidates:
            if window and (candidate.window or 0) <= window:
                self.note(candidate.name, "skipped_window", 0)
                continue
            try:
                return await self._candidate(candidate, watch)
            except ContextTooLong as error:
                failed.append(error)
                window = max(window, candidate.window or 1)
            except ContentFiltered as error:
                failed.append(error)
                break
            except TargetError as error:
                failed.append(error)
        raise self._verdict(failed)

    async def rescue(self, broken: Candidate, heard: Heard, watch: Watch) -> Opened | None:
        """A stream that goes on from what was heard: of the targets after the one that broke off, then of those before it,
        then of itself. None where nobody can, or it may not be.
        """
        after = list(self._candidates).index(broken) + 1
        said = heard.text
        ways: tuple[Callable[[Ask, str], Ask], ...] = (prefilled, wished) if said.strip() else (_anew,)
        for candidate in [*self._candidates[after:], *self._candidates[:after]]:
            for way in ways if candidate.prefill else ways[-1:]:
                if self._rescues <= 0:
                    return None
                try:
                    opened = await self._once(candidate, watch, way(self._ask, said))
                except TargetError as error:
                    if way is prefilled and isinstance(error, TargetRefused) and not isinstance(error, TargetDenied):
                        continue  # it takes no words of its own: it is asked in the other way
                    break
                self._rescues -= 1
                heard.continued()
                return opened
        return None

    async def _candidate(self, candidate: Candidate, watch: Watch) -> Opened:
        """One candidate, asked again while that may help. tenacity is entered after the first failure only: it costs 70 µs."""
        try:
            return await self._once(candidate, watch, self._ask)
        except TargetDown as error:
            if not self._worth_it(error):
                raise
            known = iter([error])

        async def again() -> Opened:
            if (error := next(known, None)) is not None:
                raise error
            return await self._once(candidate, watch, self._ask)

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._retry.attempts),
            wait=self._wait,
            retry=retry_if_exception(self._worth_it),
            reraise=True,
        )
        return await retrying(again)

    def _worth_it(self, error: BaseException) -> bool:
        """Whether the same target may be asked again: not one that was silent, not one that wants to be left alone for long."""
        if not isinstance(error, TargetDown) or isinstance(error, TargetSilent):
            return False
        return self._retry.attempts > 1 and (error.retry_after or 0) <= self._retry.backoff.most

    def _wait(self, state: RetryCallState) -> float:
        backoff = self._retry.backoff
        error = state.outcome.exception() if state.outcome else None
        told = error.retry_after if isinstance(error, TargetDown) else None
        if told is not None:
            return told
        return max(backoff.least, wait_random_exponential(multiplier=backoff.least * 2, max=backoff.most)(state))

    async def _once(self, candidate: Candidate, watch: Watch, ask: Ask) -> Opened:
        """Ask one target, up to its first event. The stream is closed on every other way out."""
        breaker = candidate.breaker
        if not breaker.admit():
            self.note(candidate.name, "breaker_open", 0)
            raise TargetSilent(candidate.name, "breaker_open", retry_after=breaker.wait())
        began = time.monotonic()
        events = candidate.answer(ask)
        opened = False
        try:
            start: Start | None = None
            left = self.timeout.first_token
            while True:
                event = await following(events, watch, left, candidate.name, "timeout_first_token")
                left = max(0.0, self.timeout.first_token - (time.monotonic() - began))
                if isinstance(event, Start):
                    start = event
                    continue
                if event is None or start is None or _is_empty(event, ask):
                    raise TargetDown(candidate.name, "empty")
                opened = True
                breaker.began()
                return Opened(candidate, start, event, events)
        except TargetError as error:
            self.note(candidate.name, error.outcome, time.monotonic() - began)
            if isinstance(error, TargetDenied):
                breaker.open()
            elif isinstance(error, TargetDown):
                breaker.failed()
            raise
        finally:
            if not opened:
                breaker.rest()  # where nothing else was said of it: whoever asked has gone
                await events.aclose()

    def _verdict(self, failed: Sequence[TargetError]) -> Unanswered:
        attempts = tuple(self.attempts)
        if any(isinstance(error, ContentFiltered) for error in failed):
            return Filtered(attempts=attempts)
        if failed and isinstance(failed[-1], ContextTooLong):
            return Overlong(attempts=attempts)
        waits = [error.retry_after for error in failed if error.outcome in BUSY and error.retry_after is not None]
        if failed and all(error.outcome in BUSY for error in failed):
            return Busy(attempts=attempts, retry_after=min(waits, default=None))
        if failed and all(isinstance(error, TargetSilent) for error in failed):
            return TimedOut(attempts=attempts)
        return Unanswered(attempts=attempts)


def _anew(ask: Ask, _: str) -> Ask:
    """Nothing was said yet (a thought at most): the question as it was."""
    return ask


def _is_empty(event: Event, ask: Ask) -> bool:
    """An answer with nothing in it is a failure; but after a tool's result, or its own words so far, a model may well have
    nothing to add.
    """
    if not isinstance(event, Finish) or event.reason in ("length", "content-filter"):
        return False
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
