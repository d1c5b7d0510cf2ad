"""The chain of targets: each asked in order, one of them again where that may help."""

import asyncio
import logging
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal

from tenacity import AsyncRetrying, RetryCallState

from router.chat import Ask
from router.config.declaration import Hedge as Declared
from router.config.declaration import Retry, Timeout
from router.errors import (
    LET_GO,
    Attempt,
    Busy,
    ContentFiltered,
    ContextTooLong,
    FileAddress,
    FileRefused,
    Filtered,
    InvalidOutput,
    NoTarget,
    Overlong,
    ParameterMissed,
    RouterError,
    TargetDenied,
    TargetDown,
    TargetError,
    TargetRefused,
    TargetSilent,
    TimedOut,
    Unanswered,
    UnreadFile,
    UnsupportedParameter,
)
from router.events import CUT_SHORT, Answer, Event, Events, Failure, Finish, ToolCall
from router.failover.attempt import Opened, attempt, following
from router.failover.breaker import Clock
from router.failover.candidate import SKIPPED, Candidate, Pool
from router.failover.fault import broken
from router.failover.form import Form
from router.failover.hedge import Hedge, race
from router.failover.rescue import Diverged, Heard, prefilled, wished
from router.failover.watch import Watch
from router.usage import Usage

log = logging.getLogger("router.failover")


@dataclass(frozen=True, slots=True)
class Policy:
    """What a route says of failing: how long to wait, how often to ask, whom besides, and what follows a break."""

    timeout: Timeout
    retry: Retry
    rescue: Literal["continue", "fail"] = "continue"
    hedge: Declared | None = None


def failover(targets: Sequence[Candidate | Pool], policy: Policy, chance: random.Random | None = None) -> Answer:
    """The first of the targets that starts to speak; and, where it breaks off, those that can go on. `chance` says who of a
    pool is asked first, where nothing else does, and how long to wait before a second try.
    """
    pools = tuple(one if isinstance(one, Pool) else Pool((one,)) for one in targets)
    hedge = Hedge(policy.hedge) if policy.hedge else None
    chance = chance or random.Random()  # noqa: S311 - who of a pool comes first is no secret

    async def answer(ask: Ask) -> Events:
        session = _held_by(ask)
        taken = set[str]()
        asked = pools if ask.held is None else [kept for pool in pools if (kept := pool.among(ask.held, taken)).members]
        order = [candidate for pool in asked for candidate in pool.order(chance, session)]
        if not order:
            raise NoTarget
        chain = Chain(order, policy, hedge, ask, chance)
        async with Watch() as watch:
            opened: Opened | None = await chain.open(watch)
            error: type[RouterError] = Broken
            try:
                yield replace(opened.start, attempts=tuple(chain.attempts), meter=None)
                heard = Heard()
                form = None if ask.output is None else Form(ask.output, tools=bool(ask.tools) and ask.choice.kind != "none")
                while opened is not None:
                    told = _relayed(opened, chain, heard, watch)
                    async with aclosing(told if form is None else form.over(told, opened.start)) as events:
                        async for event in events:
                            yield event
                            if isinstance(event, Finish):
                                return
                    if heard.called:
                        # The calls are whole, only the end was lost: they can be run.
                        yield Finish("tool-calls", chain.total(None), tuple(chain.attempts))
                        return
                    if form is None:
                        opened = await chain.rescue(opened.candidate, heard, watch)
                    else:
                        opened, error = await chain.formed(opened, form, heard, watch), form.error or Broken
            finally:
                if opened is not None:
                    await chain.let_go(opened)  # a client may leave before the first event was passed on, or at any other
            yield Failure(error.code, error.sentence, tuple(chain.attempts))

    return answer


class Broken(Unanswered):
    """The answer broke off, and nobody can go on with it."""

    sentence = "The model's answer broke off. Please try again."


LONG = 2048
"""Characters of tools and conversation, 512 tokens: what is shorter is kept by no provider."""


def _held_by(ask: Ask) -> str:
    """The session by which a pool chooses; empty for a short question that belongs to no chat as far as is known: it goes by balance."""
    if ask.chat or any(message.role == "assistant" for message in ask.messages):
        return ask.session
    size = ask.size + sum(len(tool.description) + len(str(tool.parameters)) for tool in ask.tools)
    return ask.session if size >= LONG else ""


async def _relayed(opened: Opened, chain: "Chain", heard: Heard, watch: Watch) -> Events:
    """What one target says, joined to what was heard before. Without a Finish at its end it broke off, which was noted.

    Its calls are passed on with what follows them: where the provider stopped in the middle of one, none of them is.
    """
    event: Event | None = opened.first
    calls: list[ToolCall] = []
    try:
        while event is not None:
            opened.heard(event)
            if isinstance(event, ToolCall):
                calls.append(event)
            else:
                if _cut_off(event, calls):
                    fields = {"target": opened.candidate.name, "calls": [call.name for call in calls]}
                    log.info("calls cut off at the limit are left out", extra={"fields": fields})
                    calls.clear()
                for call in _released(calls, heard):
                    yield call
                if isinstance(event, Finish):
                    if (rest := heard.rest()) is not None:
                        yield rest
                    chain.finished(opened, event)
                    yield replace(event, usage=chain.total(event.usage), attempts=tuple(chain.attempts))
                    return
                if (seen := heard.see(event)) is not None:
                    yield seen
            event = await following(opened.events, watch, chain.timeout.idle, opened.candidate.name, "timeout_idle")
        chain.broke(opened, "cut", heard)
        for call in _released(calls, heard):
            yield call
    except TargetError as error:
        chain.broke(opened, error.outcome, heard, error.used)
        for call in _released(calls, heard):
            yield call
    except Diverged:
        chain.note(replace(opened.ended("diverged"), said=len(heard.text)))
    finally:
        await chain.let_go(opened)


def _cut_off(event: Event, calls: Sequence[ToolCall]) -> bool:
    """Whether the provider stopped in the middle of these calls: half a call is neither run nor asked for again with the same limit."""
    return isinstance(event, Finish) and event.reason in CUT_SHORT and any(call.malformed is not None for call in calls)


def _released(calls: list[ToolCall], heard: Heard) -> list[ToolCall]:
    """The calls that were held, which are none any more."""
    released = list(calls)
    calls.clear()
    for call in released:
        heard.see(call)
    return released


BUSY = frozenset({"status_429", "breaker_open", "drained"})
"""Outcomes after which it is worth coming back, and when."""
PASSED_OVER = frozenset({"breaker_open", "drained", "skipped_window", *SKIPPED.values()})
"""Outcomes of targets that were not asked at all."""
UNHEARD = frozenset({"connection", "proxy_connection", "breaker_open"})
"""Outcomes that cost nothing but time: the next target is asked rather than the same one waited for."""


ROUNDED = 1e-6
"""Seconds by which a time that was added and subtracted again may differ from itself."""


async def pause(seconds: float, clock: Clock) -> None:
    """Wait until the clock of the breakers says that the time is over. A timer may fire a millisecond early, and a breaker that
    opens just then would refuse the question that waited for it.
    """
    until = math.nextafter(clock() + seconds, math.inf)  # the sum may be rounded to below the breaker's time
    while (left := until - clock()) > 0:  # noqa: ASYNC110 - nothing but the clock says when
        await asyncio.sleep(left)


def delay(retry: Retry, error: BaseException | None, tries: int, chance: random.Random) -> float:
    """Seconds before the same target is asked again: as it said itself, else by the backoff, after so many tries."""
    told = error.retry_after if isinstance(error, TargetDown) else None
    if told is not None:
        return told
    backoff = retry.backoff
    return max(backoff.least, chance.uniform(0, min(backoff.most, backoff.least * 2**tries)))


class Chain:
    """One question's way through the candidates; remembers what was tried."""

    def __init__(self, order: Sequence[Candidate], policy: Policy, hedge: Hedge | None, ask: Ask, chance: random.Random) -> None:
        # A target that issued the reasoning state of this turn goes on with it: for all others that is lost. Who has been slow, or whom
        # another replica leaves alone, comes after all others, and is asked all the same where nobody else answers.
        # A file goes to those that are known to read it before those of which nobody knows.
        holder = ask.holder
        self._shows = shows = ask.shows

        def place(candidate: Candidate) -> tuple[bool, int, bool]:
            standing = candidate.standing
            late = standing.pace.slow or standing.breaker.hint.warned
            return candidate.name != holder or candidate.left_alone, candidate.doubt(shows) if shows else 0, late

        everybody = sorted(order, key=place)
        if ask.fault is not None:
            everybody = broken(everybody, ask.fault, shows)
        self._everybody = everybody
        self._waiting = deque(everybody)
        self._order = [one for one in everybody if not one.lacks(shows)] if shows else everybody
        """Those that may be asked this."""
        self._clock = order[0].standing.clock
        self._chance = chance
        self._hedge = hedge
        self.timeout = policy.timeout
        self._retry = policy.retry
        self._rescues = len(order) if policy.rescue == "continue" else 0
        self._ask = ask
        self._failed: list[TargetError] = []
        self._window = 0
        """Tokens of the largest window that was too small."""
        self._used: Usage | None = None
        self.attempts: list[Attempt] = []
        ask.tried.append(self.attempts)

    def note(self, attempt: Attempt) -> None:
        """Remember how a try ended."""
        self.attempts.append(attempt)

    async def let_go(self, opened: Opened) -> None:
        """Nobody waits for more of a stream."""
        if not opened.over:
            self.note(opened.ended(LET_GO))
        await opened.close()

    async def _unheard(self, opened: Opened) -> None:
        """A stream began, and nobody gets to hear it."""
        self.note(replace(opened.ended(LET_GO), first=None))
        await opened.close()

    def finished(self, opened: Opened, end: Finish) -> None:
        """A stream came to its end."""
        self.note(replace(opened.ended("ok", end.usage), model=end.model))
        opened.candidate.standing.breaker.succeeded(opened.admission)
        opened.candidate.standing.retries.earn()

    def broke(self, opened: Opened, outcome: str, heard: Heard, used: Usage | None = None) -> None:
        """A stream that had begun broke off. `heard`: what clients have of it; `used`: tokens it had cost, where its provider said."""
        self.note(replace(opened.ended(outcome, used if opened.start.meter is None else None), said=len(heard.text)))
        opened.candidate.standing.breaker.failed(opened.admission)
        if used is not None:
            self._used = self.total(used)

    def total(self, usage: Usage | None) -> Usage | None:
        """This, and what those used who broke off before."""
        return usage + self._used if usage and self._used else usage or self._used

    async def open(self, watch: Watch) -> Opened:
        """The first stream that starts. An Unanswered where none does."""
        opened = await self._in_turn(watch) if self._hedge is None else await self._hedged(self._hedge, watch)
        if opened is None:
            raise self._verdict()
        return opened

    async def rescue(self, broken: Candidate, heard: Heard, watch: Watch) -> Opened | None:
        """A stream that goes on from what was heard: of the targets after the one that broke off, then of those before it,
        then of itself. None where nobody can, or it may not be. Who was asked already is asked out of its second tries.
        """
        if self._rescues <= 0:
            return None
        after = self._order.index(broken) + 1
        said = heard.text
        ways: tuple[Callable[[Ask, str], Ask], ...] = (prefilled, wished) if said.strip() else (_anew,)
        for candidate in [*self._order[after:], *self._order[:after]]:
            if candidate.lacks(self._shows):
                continue  # it has refused the file since
            if self._was_asked(candidate) and not candidate.left_alone and not candidate.standing.retries.spend():
                continue
            for way in ways if candidate.prefill else ways[-1:]:
                try:
                    opened = await self._ask_once(candidate, way(self._ask, said), watch)
                except TargetError as error:
                    if way is prefilled and isinstance(error, TargetRefused) and not isinstance(error, TargetDenied):
                        continue  # it takes no words of its own: it is asked in the other way
                    break
                self._rescues -= 1
                heard.continued()
                return opened
        return None

    async def formed(self, opened: Opened, form: Form, heard: Heard, watch: Watch) -> Opened | None:
        """The next stream of an answer that must have a form, where the last one broke off or is wrong; None where there is none.

        What is wrong is corrected by the target that said it. What broke off is asked for anew, as long as no word of it was passed on:
        no target goes on in the middle of another's JSON.
        """
        heard.forget()
        if form.wrong is not None:
            return await self._correct(opened, form, watch)
        return None if form.sent else await self.rescue(opened.candidate, heard, watch)

    async def _correct(self, opened: Opened, form: Form, watch: Watch) -> Opened | None:
        """The answer of the same target once it is told what is wrong with its last one."""
        assert form.wrong is not None
        name, fields = opened.candidate.name, {"output": opened.start.output, "rules": list(form.wrong.rules)}
        log.warning("an answer is not of the form that was asked for", extra={"fields": {"target": name, **fields, "sent": form.sent}})
        self.attempts[-1] = replace(self.attempts[-1], outcome=(form.error or InvalidOutput).code)
        self._used = self.total(self.attempts[-1].usage)
        if form.error is not None:
            return None
        try:
            return await self._ask_once(opened.candidate, form.correction(self._ask), watch)
        except TargetError:
            form.error = InvalidOutput
            return None

    def _was_asked(self, candidate: Candidate) -> bool:
        return any(one.target == candidate.name and one.outcome not in PASSED_OVER for one in self.attempts)

    async def _in_turn(self, watch: Watch) -> Opened | None:
        """One after the other, until one starts. None where none does."""
        while (candidate := await self._next()) is not None:
            try:
                return await self._ask_candidate(candidate, watch)
            except TargetError as error:
                await self._failing(candidate, error)
        return None

    async def _hedged(self, hedge: Hedge, watch: Watch) -> Opened | None:
        """One after the other; and one of them beside the first while that is late."""
        hedge.earn()
        delay = hedge.delay(self._order[0].standing.load) if self._order else None
        if delay is None:
            return await self._in_turn(watch)

        async def first() -> Opened | None:
            async with Watch() as own:
                return await self._in_turn(own)

        async def second() -> Opened | None:
            if not self._waiting or not hedge.spend() or (candidate := await self._next()) is None:
                return None
            async with Watch() as own:
                try:
                    return await self._ask_once(candidate, self._ask, own)
                except TargetError as error:
                    await self._failing(candidate, error)
            return None

        won = await race(first(), second, delay, self._unheard)
        # Whoever was let go till now was slower than another.
        self.attempts[:] = [replace(one, outcome="abandoned") if one.outcome == LET_GO else one for one in self.attempts]
        return won

    async def _next(self) -> Candidate | None:
        """Who is asked next; those that are known not to read the files, or whose window is known to be too small, are passed over."""
        while self._waiting:
            candidate = self._waiting.popleft()
            if lacks := candidate.lacks(self._shows) or self._unfit(candidate):
                self.note(Attempt(candidate.name, lacks, 0, began=self._clock()))
                continue
            if not self._window or (window := await candidate.window()) is None or window > self._window:
                return candidate
            self.note(Attempt(candidate.name, "skipped_window", 0, began=self._clock()))
        return None

    async def _failing(self, candidate: Candidate, error: TargetError) -> None:
        """What a failure says of those who were not asked yet."""
        self._failed.append(error)
        if isinstance(error, ContextTooLong):
            self._window = max(self._window, await candidate.window() or 1)
            # One whose window nobody knows may be large enough: it is asked after those that are known to be.
            unknown = {one.name for one in list(self._waiting) if await one.window() is None}
            self._waiting = deque(sorted(self._waiting, key=lambda one: one.name in unknown))
        if isinstance(error, ContentFiltered):
            self._waiting.clear()

    async def _ask_candidate(self, candidate: Candidate, watch: Watch) -> Opened:
        """One candidate, asked again while that may help. tenacity is entered after the first failure only: it costs 70 µs."""
        try:
            return await self._ask_once(candidate, self._ask, watch)
        except TargetDown as error:
            if not self._worth_it(candidate, error):
                raise
            known = iter([error])

        async def again() -> Opened:
            if (error := next(known, None)) is not None:
                raise error
            return await self._ask_once(candidate, self._ask, watch)

        def allowed(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            if state.attempt_number >= self._retry.attempts or not isinstance(error, TargetDown) or not self._worth_it(candidate, error):
                return False
            return error.outcome in PASSED_OVER or candidate.standing.retries.spend()

        return await AsyncRetrying(retry=allowed, wait=self._wait, sleep=self._sleep, reraise=True)(again)

    async def _sleep(self, seconds: float) -> None:
        await pause(seconds, self._clock)

    async def _ask_once(self, candidate: Candidate, ask: Ask, watch: Watch) -> Opened:
        return await attempt(candidate, ask, watch, self.timeout.first_token, self.note)

    def _worth_it(self, candidate: Candidate, error: TargetDown) -> bool:
        """Whether the same target may be asked again: not one that was silent, nor one that will be left alone when its wait is over."""
        told = error.retry_after or 0
        if isinstance(error, TargetSilent) or candidate.off or candidate.standing.breaker.wait() > told + ROUNDED:
            return False
        longest = self._retry.backoff.most
        if any(not one.left_alone and not one.lacks(self._shows) for one in self._waiting):
            if error.outcome in UNHEARD:
                return False
        else:
            # Nobody else can be asked: whoever waits for a first word would as well wait for this one.
            longest = max(longest, self.timeout.first_token)
        return self._retry.attempts > 1 and told <= min(longest, self._ask.until - self._clock())

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return delay(self._retry, error, state.attempt_number, self._chance)

    def _unfit(self, candidate: Candidate) -> str:
        """The outcome of a script that stands in for models which all refused to read a file, or cannot: its answer would look as if one
        had read it. Empty where it may be asked, also because one of them only failed.
        """
        if not candidate.stand_in or not self._shows or not all(map(_of_this_question, self._failed)):
            return ""
        return SKIPPED[max(self._shows)] if self._failed or self.attempts else ""

    @property
    def _unread(self) -> bool:
        """Whether the question shows a file that each target so far was known not to read, or refused."""
        if not self._shows or any(not isinstance(error, FileRefused) for error in self._failed):
            return False
        return bool(self._failed) or any(one.outcome in SKIPPED.values() for one in self.attempts)

    def _verdict(self) -> Unanswered:
        attempts, failed = tuple(self.attempts), self._failed
        if self._unread:
            everybody = self._everybody
            alone = [sort for sort in self._shows if all(one.stand_in or one.takes(sort) is False for one in everybody)]
            return UnreadFile(alone or ["both"], attempts=attempts)
        if any(isinstance(error, ContentFiltered) for error in failed):
            return Filtered(attempts=attempts)
        if failed and isinstance(failed[-1], ContextTooLong):
            return Overlong(attempts=attempts)
        if failed and all(error.outcome == FileAddress.code for error in failed):
            return FileAddress(attempts=attempts)
        if failed and isinstance(missed := failed[-1], ParameterMissed) and all(isinstance(error, ParameterMissed) for error in failed):
            return UnsupportedParameter(missed.parameter, attempts=attempts)
        waits = [error.retry_after for error in failed if error.outcome in BUSY and error.retry_after is not None]
        if failed and all(error.outcome in BUSY for error in failed):
            return Busy(attempts=attempts, retry_after=min(waits, default=None))
        if failed and all(isinstance(error, TargetSilent) for error in failed):
            return TimedOut(attempts=attempts)
        return Unanswered(attempts=attempts)


def _of_this_question(error: TargetError) -> bool:
    """Whether the question was refused, and no other would be: by a model that is well."""
    return isinstance(error, TargetRefused) and not isinstance(error, TargetDenied | ContextTooLong | ContentFiltered)


def _anew(ask: Ask, _: str) -> Ask:
    """Nothing was said yet (a thought at most): the question as it was."""
    return ask
