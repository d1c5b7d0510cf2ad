"""The chain of targets for one request: which target is asked next, when it is retried, and the error if no target answers."""

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Literal

from tenacity import AsyncRetrying, RetryCallState

from router import errors
from router.attempt import LET_GO, Attempt
from router.chat import Ask, FileSort
from router.config.declaration import HedgeConfig as Declared
from router.config.declaration import Retry, Timeout
from router.errors import ContentFiltered, ContextTooLong, TargetDenied, TargetDown, TargetError, TargetRefused, TargetSilent
from router.events import Failure, Finish
from router.failover.attempt import Opened, attempt
from router.failover.breaker import Clock
from router.failover.candidate import SKIPPED, Candidate
from router.failover.fault import broken
from router.failover.form import Form
from router.failover.hedge import Hedge, race
from router.failover.rescue import Diverged, Transcript, prefilled, wished
from router.failover.watch import Watch, watch_here
from router.usage import Usage
from router.value import Mutable, Value, field, replace

log = logging.getLogger("router.failover")


class FailureRules(Value, frozen=True):
    """A route's rules for failures: deadlines, retries, hedging, and whether another target continues an answer that breaks off."""

    timeout: Timeout
    retry: Retry
    rescue: Literal["continue", "fail"] = "continue"
    hedge: Declared | None = None


BUSY = frozenset({"status_429", "breaker_open", "drained"})
"""Outcomes of a target that is only unavailable for now: if no other kind occurred, the error is Busy."""
PASSED_OVER = frozenset({"breaker_open", "drained", "skipped_window", *SKIPPED.values()})
"""Outcomes of targets that were not asked at all."""
UNHEARD = frozenset({"connection", "proxy_connection", "breaker_open"})
"""Outcomes of a target that no request reached: the next target, if there is any, is asked instead of retrying this one."""

BROKE_OFF: dict[type[BaseException], str] = {StopAsyncIteration: "cut", Diverged: "diverged"}
"""Error of a stream that had begun → outcome of its attempt. A TargetError has its own; any other is a timeout."""

ROUNDED = 1e-6
"""Seconds of rounding error after a time was added and subtracted again."""


class Broken(errors.Unanswered):
    """The error in the Failure that ends an answer which broke off and which no target can continue. It is not raised."""

    sentence = "The model's answer broke off. Please try again."


async def pause(seconds: float, clock: Clock) -> None:
    """Wait until so many seconds have passed by the breakers' clock.
    A timer may fire a millisecond early, and a breaker that opens just then would refuse the question that waited for it.
    """
    until = math.nextafter(clock() + seconds, math.inf)  # the sum may be rounded to below the breaker's time
    while (left := until - clock()) > 0:  # noqa: ASYNC110 - nothing but the clock says when
        await asyncio.sleep(left)


def delay(retry: Retry, error: BaseException | None, tries: int, chance: random.Random) -> float:
    """Return the seconds before the same target is retried: its `Retry-After`, else a random back-off.
    The back-off lies between `backoff.least` and `backoff.least` × 2^`tries`, at most `backoff.most`.
    """
    if isinstance(error, TargetDown) and error.retry_after is not None:
        return error.retry_after
    backoff = retry.backoff
    return max(backoff.least, chance.uniform(0, min(backoff.most, backoff.least * 2**tries)))


def worth_retrying(candidate: Candidate, error: TargetDown, tries: int, policy: FailureRules, *, others: bool, until: float) -> bool:
    """Return whether the same target may be retried after this error of that many tries. False in these cases:
    - after the last try, or a timeout
    - if an operator has taken the target out, or it is still unavailable after its `Retry-After`
    - if its `Retry-After` ends after the deadline, or is longer than the longest back-off; without another target, than `first_token`
    - if no request reached it (UNHEARD), and another target can be asked
    others: whether another target can be asked instead
    until: the deadline of the request, by the target's clock
    """
    retry_after = error.retry_after or 0
    if tries >= policy.retry.attempts or isinstance(error, TargetSilent) or candidate.off:
        return False
    if candidate.health.breaker.wait() > retry_after + ROUNDED:
        return False
    longest = policy.retry.backoff.most
    if not others:
        # A client that waits for a first word would as well wait for this target.
        longest = max(longest, policy.timeout.first_token)
    elif error.outcome in UNHEARD:
        return False
    return retry_after <= min(longest, until - candidate.health.clock())


class Chain(Mutable):
    """The targets of one model call in their order, with its attempts so far. It decides which target is asked next."""

    policy: FailureRules
    hedge: Hedge | None
    _ask: Ask
    _chance: random.Random
    _shows: frozenset[FileSort]
    """The sorts of files in the question."""
    _everybody: Sequence[Candidate]
    """The targets, in the order in which the question asks them."""
    _waiting: Sequence[Candidate]
    """The targets that were not asked yet."""
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    """The attempts that have ended."""
    _failed: tuple[TargetError, ...] = ()
    _window: int = 0
    """Tokens of the largest context window that was too small; 0 while none was."""
    _used: Usage | None = None
    """Usage of the streams that broke off or were corrected."""
    _rescues: int = 0
    """Streams that continued the answer."""

    def let_go(self, opened: Opened) -> Awaitable[object]:
        """Record a stream's attempt as still running (LET_GO) if it is not recorded yet; close the stream once the result is awaited.
        A second call does nothing. A stream with a fast path that has finished is read to its end: to close it would raise an error in it.
        """
        if not opened.over:
            self.attempts.append(opened.ended(LET_GO))
        if not opened.closed:
            opened.closed = True
            opened.candidate.health.load.busy -= 1
        return anext(opened.events, None) if opened.finished and opened.fast is not None else opened.events.aclose()

    async def _unheard(self, opened: Opened) -> None:
        """Close a stream that started but lost a race, and record it without a time to first token: the client gets none of it."""
        self.attempts.append(replace(opened.ended(LET_GO), first=None))
        await self.let_go(opened)

    def finished(self, opened: Opened, end: Finish) -> Finish:
        """Record a stream that completed, in the attempts, the breaker and the retry budget. Return its end with the usage of all streams."""
        health = opened.candidate.health
        opened.finished = True
        self.attempts.append(opened.ended("ok", end.usage, end.model))
        if health.breaker.recovering:
            health.breaker.succeeded(opened.permit)
        if not health.retries.full:
            health.retries.earn()
        return end if self._used is None else replace(end, usage=self.total(end.usage))

    def broke(self, opened: Opened, error: BaseException, transcript: Transcript, watch: Watch) -> bool:
        """Record a stream that broke off after it had begun, in the attempts and as a failure in the breaker.
        Return False, with nothing recorded, for a cancellation that is not the watch's own.
        error: the error of the wait for its next event; Diverged, which is no failure for the breaker, if its text could not be joined
        transcript: the text that was sent to the client
        """
        if isinstance(error, asyncio.CancelledError) and not watch.late():
            return False
        watch.waiting = watch.overdue = False
        used = error.used if isinstance(error, TargetError) else None
        outcome = error.outcome if isinstance(error, TargetError) else BROKE_OFF.get(type(error), "timeout_idle")
        self.attempts.append(opened.ended(outcome, used if opened.start.meter is None else None, said=len(transcript.text)))
        if not isinstance(error, Diverged):
            opened.candidate.health.breaker.failed(opened.permit)
        if used is not None:
            self._used = self.total(used)
        return True

    def end(self, form: Form | None, transcript: Transcript) -> Finish | Failure:
        """Return the end of an answer that no target goes on with: a Finish if it has complete tool calls, which can be run."""
        if transcript.called:
            return Finish("tool-calls", self.total(None))
        error = Broken if form is None else form.error or Broken
        return Failure(error.code, error.sentence)

    def total(self, usage: Usage | None) -> Usage | None:
        """Return this usage plus that of the earlier streams that broke off or were corrected; None if neither is known."""
        return usage + self._used if usage and self._used else usage or self._used

    async def _rescue(self, broken: Candidate, transcript: Transcript, watch: Watch) -> Opened | None:
        """Return a stream that continues the transcript. None if no target can, the route forbids it, or all rescues are used up.
        An answer has as many rescues as targets. Asked are the targets after the one that broke off, those before it, then that one again.
        Asking a target a second time takes a token of its retry budget; without one it is passed over. Without text it is asked anew.
        """
        everybody = self._everybody
        if self.policy.rescue != "continue" or self._rescues >= len(everybody):
            return None
        after = everybody.index(broken) + 1
        said = transcript.text
        ways: tuple[Callable[[Ask, str], Ask], ...] = (prefilled, wished) if said.strip() else (lambda ask, _: ask,)
        for candidate in [*everybody[after:], *everybody[:after]]:
            if candidate.lacks(self._shows):
                continue  # it does not read the question's files
            again = any(one.target == candidate.name and one.outcome not in PASSED_OVER for one in self.attempts)
            if again and not candidate.left_alone and not candidate.health.retries.spend():
                continue
            for way in ways if candidate.prefill else ways[-1:]:
                try:
                    opened = await attempt(candidate, way(self._ask, said), watch, self.policy.timeout.first_token, self.attempts)
                except TargetError as error:
                    if way is prefilled and isinstance(error, TargetRefused) and not isinstance(error, TargetDenied):
                        continue  # the model takes no prefill: it is asked in the other way
                    break
                self._rescues += 1
                transcript.continued()
                return opened
        return None

    async def another(self, opened: Opened, form: Form | None, transcript: Transcript, watch: Watch) -> Opened | None:
        """Close a stream that broke off, or whose text was not of the required form; return the next one.
        None if there is none, or if the stream has called tools: the answer ends then.
        An invalid answer is corrected by its target. One that broke off is asked for anew, unless some was sent: no JSON is continued.
        """
        await self.let_go(opened)
        if transcript.called:
            return None  # only the end was lost
        if form is None:
            return await self._rescue(opened.candidate, transcript, watch)
        transcript.forget()
        if form.wrong is not None:
            return await self._correct(opened, form, watch)
        return None if form.sent else await self._rescue(opened.candidate, transcript, watch)

    async def _correct(self, opened: Opened, form: Form, watch: Watch) -> Opened | None:
        """Ask the same target again with the errors of its last answer; return that stream, or None if it cannot be corrected.
        Without a stream `form.error` is the reason.
        """
        assert form.wrong is not None
        name, fields = opened.candidate.name, {"output": opened.start.output, "rules": list(form.wrong.rules)}
        log.warning("an answer is not of the form that was asked for", extra={"fields": {"target": name, **fields, "sent": form.sent}})
        self.attempts[-1] = replace(self.attempts[-1], outcome=(form.error or errors.InvalidOutput).code)
        self._used = self.total(self.attempts[-1].usage)
        if form.error is not None:
            return None
        try:
            return await attempt(opened.candidate, form.correction(self._ask), watch, self.policy.timeout.first_token, self.attempts)
        except TargetError:
            form.error = errors.InvalidOutput
            return None

    async def in_turn(self, watch: Watch, *, once: bool = False) -> Opened | None:
        """Ask one target after the other until one starts; return its stream, or None if none does.
        once: ask the next target alone, and do not retry it
        """
        while waiting := self._waiting:
            candidate, self._waiting = waiting[0], waiting[1:]
            if (self._shows or self._window) and await self._passed_over(candidate):
                continue
            try:
                try:
                    return await attempt(candidate, self._ask, watch, self.policy.timeout.first_token, self.attempts)
                except TargetDown as error:
                    if once or not self._worth_it(candidate, error):
                        raise
                    return await self._ask_again(candidate, error, watch)
            except TargetError as error:
                await self._failing(candidate, error)
            if once:
                break
        return None

    async def hedged(self, hedge: Hedge, watch: Watch) -> Opened | None:
        """Ask the targets in turn; if none has started after the hedge delay, ask the next one beside them, if the hedge's budget allows.
        Return the stream that starts first; None if no target starts. Without a hedge delay the targets are asked in turn alone.
        """
        hedge.earn()
        load = next((one.health.load for one in self._everybody if not one.lacks(self._shows)), None)
        delay = None if load is None else hedge.delay(load)
        if delay is None:
            return await self.in_turn(watch)

        async def first() -> Opened | None:
            with closing(watch_here()) as own:
                return await self.in_turn(own)

        async def second() -> Opened | None:
            if not self._waiting or not hedge.spend():
                return None
            with closing(watch_here()) as own:
                return await self.in_turn(own, once=True)

        won = await race(first(), second, delay, self._unheard)
        # The attempts that were let go so far were slower than another.
        self.attempts[:] = [replace(one, outcome="abandoned") if one.outcome == LET_GO else one for one in self.attempts]
        return won

    async def _passed_over(self, candidate: Candidate) -> bool:
        """Return whether a target is not asked, and record it then as skipped.
        That is a target known not to read the files, one whose window is too small, and a script that must not stand in.
        """
        outcome = (candidate.lacks(self._shows) or self._unfit(candidate)) if self._shows else ""
        if not outcome and self._window and (window := await candidate.window()) is not None and window <= self._window:
            outcome = "skipped_window"
        if outcome:
            self.attempts.append(Attempt(candidate.name, outcome, 0, began=candidate.health.clock()))
        return bool(outcome)

    async def _failing(self, candidate: Candidate, error: TargetError) -> None:
        """Record a target's error, and drop or reorder the targets not asked yet.
        After ContextTooLong only larger or unknown windows are asked, the unknown ones last; after ContentFiltered, no other target.
        """
        self._failed += (error.with_traceback(None),)  # its frames hold the question, and this holds it: a reference cycle
        if isinstance(error, ContextTooLong):
            self._window = max(self._window, await candidate.window() or 1)
            # An unknown window may be large enough: such a target is asked after those that are known to be.
            unknown = {one.name for one in list(self._waiting) if await one.window() is None}
            self._waiting = sorted(self._waiting, key=lambda one: one.name in unknown)
        if isinstance(error, ContentFiltered):
            self._waiting = ()

    async def _ask_again(self, candidate: Candidate, failed: TargetDown, watch: Watch) -> Opened:
        """Retry a target that has just failed while that may help, and return its stream. Raises the TargetError of the last try."""
        known = iter([failed])

        async def again() -> Opened:
            if (error := next(known, None)) is not None:
                raise error
            return await attempt(candidate, self._ask, watch, self.policy.timeout.first_token, self.attempts)

        def allowed(state: RetryCallState) -> bool:
            error = state.outcome and state.outcome.exception()
            if not isinstance(error, TargetDown) or not self._worth_it(candidate, error, state.attempt_number):
                return False
            return error.outcome in PASSED_OVER or candidate.health.retries.spend()

        def wait(state: RetryCallState) -> float:
            return delay(self.policy.retry, state.outcome and state.outcome.exception(), state.attempt_number, self._chance)

        return await AsyncRetrying(retry=allowed, wait=wait, sleep=partial(pause, clock=candidate.health.clock), reraise=True)(again)

    def _worth_it(self, candidate: Candidate, error: TargetDown, tries: int = 1) -> bool:
        others = any(not one.left_alone and not one.lacks(self._shows) for one in self._waiting)
        return worth_retrying(candidate, error, tries, self.policy, others=others, until=self._ask.until)

    def _unfit(self, candidate: Candidate) -> str:
        """Return the outcome to record for a stand-in script that must not answer; empty if it may.
        Where every model refused or cannot read the question's file, a script's answer would look as if one had read it.
        """
        others = TargetDenied | ContextTooLong | ContentFiltered
        alone = all(isinstance(error, TargetRefused) and not isinstance(error, others) for error in self._failed)  # of this question
        return SKIPPED[max(self._shows)] if candidate.stand_in and alone and (self._failed or self.attempts) else ""

    def verdict(self) -> errors.Unanswered:
        """Return the error for a question that no target answered."""
        if not self._everybody:
            return errors.NoTarget()
        refused = self._shows and all(isinstance(error, errors.FileRefused) for error in self._failed)
        if refused and (self._failed or any(one.outcome in SKIPPED.values() for one in self.attempts)):
            # No target so far read the file: each refused it, or was skipped as known not to read it.
            alone = [sort for sort in self._shows if all(one.stand_in or one.takes(sort) is False for one in self._everybody)]
            return errors.UnreadFile(alone or ["all" if "audio" in self._shows else "both"])
        if self._failed and all(error.outcome == errors.FileAddress.code for error in self._failed):
            return errors.FileAddress()
        return unanswered(self._failed)


def ranked(order: Sequence[Candidate], ask: Ask, shows: frozenset[FileSort]) -> Sequence[Candidate]:
    """Return the targets in the order in which this question, with files of these sorts, asks them, and with its induced fault, if any.
    The target that issued the reasoning state of this turn comes first: for all others the state is lost. Targets that have been
    slow, or whose breaker is open at another replica, come after all others; they are still asked if no other answers.
    A file goes to targets that are known to read it before those of which that is unknown.
    """
    holder = ask.holder if len(order) > 1 else ""

    def place(candidate: Candidate) -> tuple[bool, int, bool]:
        health = candidate.health
        late = health.pace.slow or health.breaker.hint.warned
        return candidate.name != holder or candidate.left_alone, candidate.doubt(shows) if shows else 0, late

    everybody = sorted(order, key=place)
    return everybody if ask.fault is None else broken(everybody, ask.fault, shows)


def unanswered(failed: Sequence[TargetError], overlong: str | None = None) -> errors.Unanswered:
    """Return the error for a question that no target answered: Unanswered, or its subclass for what all errors have in common.
    failed: the errors of the targets, oldest first; one ContentFiltered suffices for Filtered, a ContextTooLong at the end for Overlong
    overlong: the sentence of Overlong, if it is not the usual one
    """
    last = failed[-1] if failed else None
    if any(isinstance(error, ContentFiltered) for error in failed):
        return errors.Filtered()
    if isinstance(last, ContextTooLong):
        return errors.Overlong(overlong)
    if isinstance(last, errors.ParameterMissed) and all(isinstance(error, errors.ParameterMissed) for error in failed):
        return errors.UnsupportedParameter(last.parameter)
    if last and all(error.outcome in BUSY for error in failed):
        return errors.Busy(retry_after=min((one.retry_after for one in failed if one.retry_after is not None), default=None))
    return errors.TimedOut() if last and all(isinstance(error, TargetSilent) for error in failed) else errors.Unanswered()
