"""The chain of targets: which target is asked, how often it is retried, and which error follows when no target answers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Literal, cast

import pytest

from router.attempt import Trail
from router.chat import Ask, Message, Result
from router.config.declaration import BreakerConfig, Retry, Timeout
from router.config.values import Span
from router.drill import VirtualLoop
from router.errors import (
    Busy,
    ContentFiltered,
    ContextTooLong,
    FileAddress,
    Filtered,
    NoTarget,
    Overlong,
    ParameterMissed,
    TargetDenied,
    TargetDown,
    TargetError,
    TargetRefused,
    TimedOut,
    Unanswered,
    UnsupportedParameter,
)
from router.events import Answer, Event, Events, Failure, Finish, Start, Text
from router.failover import Candidate, FailureRules, Pool, TargetHealth, failover
from router.failover.candidate import RESERVE
from router.params import Params
from router.value import replace
from tests.support.attempts import with_attempts
from tests.support.virtual import jumping, now

ASK = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))
QUICK = Timeout(connect=1, first_token=0.05, idle=0.05)
RETRY = Retry(attempts=2, backoff=Span(0.001, 0.002))
STOP = Finish("stop")


class Scripted:
    """A target that plays one turn for each call, and the last turn from then on. A turn raises, or yields events; None hangs."""

    def __init__(self, name: str, *turns: "Turn") -> None:
        self.name = name
        self.turns = list(turns)
        self.asked = 0
        self.closed = 0

    def answer(self) -> Answer:
        """Return the target as an Answer."""

        async def answer(_: Ask) -> Events:
            turn = self.turns[min(self.asked, len(self.turns) - 1)]
            self.asked += 1
            try:
                yield Start(self.name, f"model/{self.name}")
                for deed in [turn] if isinstance(turn, Exception) else turn:
                    if isinstance(deed, Exception):
                        raise deed
                    if deed is None:
                        await asyncio.Event().wait()
                    else:
                        yield deed
            finally:
                self.closed += 1

        return answer


def chain(
    *targets: Scripted,
    timeout: Timeout = QUICK,
    retry: Retry = RETRY,
    windows: dict[str, int] | None = None,
    rescue: Literal["continue", "fail"] = "fail",
) -> Answer:
    """Return one Answer over these targets. `windows`: target → its context window in tokens; it is unknown for all others."""
    known = windows or {}
    policy = FailureRules(timeout, retry, rescue)
    return failover([Candidate(one.name, one.answer(), reads(known.get(one.name))) for one in targets], policy)


def reads(window: int | None) -> Callable[[], Awaitable[int | None]]:
    """Return a lookup of a context window that gives this number of tokens."""

    async def known() -> int | None:
        return window

    return known


async def heard(answer: Answer, ask: Ask = ASK) -> list[Event]:
    """Return all events of one answer with its attempts, and assert that their order is valid."""
    return await with_attempts(answer, ask)


def outcomes(event: Event) -> list[tuple[str, str]]:
    """Return target and outcome of each attempt that this event lists."""
    assert isinstance(event, Start | Finish | Failure)
    return [(attempt.target, attempt.outcome) for attempt in event.attempts]


async def test_first_target_that_answers_is_the_only_one_asked() -> None:
    """Of two targets, a first one that answers is asked once and its stream closed once; the second is not asked."""
    good, spare = Scripted("a", [Text("Hi"), STOP]), Scripted("b", [Text("no"), STOP])
    seen = await heard(chain(good, spare))
    assert [type(event) for event in seen] == [Start, Text, Finish]
    assert outcomes(seen[-1]) == [("a", "ok")]
    assert (good.asked, spare.asked, good.closed) == (1, 0, 1)


Turn = Exception | Sequence[Event | Exception | None]
AGAIN: dict[str, tuple[list[Turn], int, int, list[tuple[str, str]]]] = {
    "down once, then well": ([TargetDown("a", "status_503"), [Text("Hi"), STOP]], 2, 0, [("a", "status_503"), ("a", "ok")]),
    "down": ([TargetDown("a", "status_503")], 2, 1, [("a", "status_503"), ("a", "status_503"), ("b", "ok")]),
    "malformed": ([TargetDown("a", "malformed")], 2, 1, [("a", "malformed"), ("a", "malformed"), ("b", "ok")]),
    "refused": ([TargetRefused("a", "status_400")], 1, 1, [("a", "status_400"), ("b", "ok")]),
    "denied": ([TargetDenied("a", "status_401")], 1, 1, [("a", "status_401"), ("b", "ok")]),
    "silent": ([[None]], 1, 1, [("a", "timeout_first_token"), ("b", "ok")]),
    "empty": ([[STOP]], 2, 1, [("a", "empty"), ("a", "empty"), ("b", "ok")]),
    "without an end": ([[]], 2, 1, [("a", "empty"), ("a", "empty"), ("b", "ok")]),
    "told to wait a little": (
        [TargetDown("a", "status_429", retry_after=0.001), [Text("Hi"), STOP]],
        2,
        0,
        [("a", "status_429"), ("a", "ok")],
    ),
    "told to wait for long": ([TargetDown("a", "status_429", retry_after=60)], 1, 1, [("a", "status_429"), ("b", "ok")]),
    "too long": ([ContextTooLong("a", "context_too_long")], 1, 1, [("a", "context_too_long"), ("b", "ok")]),
}


@pytest.mark.parametrize("how", AGAIN)
async def test_failure_before_the_first_event_decides_between_retry_and_next_target(how: str) -> None:
    """Each kind of failure before the first event leads to a retry of the same target or directly to the next one, as in the table."""
    turns, asked, spare_asked, expected = AGAIN[how]
    first, spare = Scripted("a", *turns), Scripted("b", [Text("Hi"), STOP])
    seen = await heard(chain(first, spare, windows={"a": 8000, "b": 16000}))
    assert (first.asked, spare.asked) == (asked, spare_asked)
    assert outcomes(seen[-1]) == expected
    assert outcomes(seen[0]) == expected[:-1]
    assert first.closed == asked


VERDICTS: dict[str, tuple[TargetError, type[Unanswered], int]] = {
    "down": (TargetDown("a", "status_500"), Unanswered, 502),
    "denied": (TargetDenied("a", "status_401"), Unanswered, 502),
    "too long": (ContextTooLong("a", "context_too_long"), Overlong, 400),
    "filtered": (ContentFiltered("a", "content_filter"), Filtered, 400),
    "a file at an address": (TargetRefused("a", "file_address"), FileAddress, 400),
    "a parameter that would be missed": (ParameterMissed("a", "logit_bias"), UnsupportedParameter, 400),
    "over its limits": (TargetDown("a", "status_429", retry_after=30), Busy, 503),
}


@pytest.mark.parametrize("how", VERDICTS)
async def test_error_of_a_failed_chain_has_the_status_of_the_failure_and_its_attempts(how: str) -> None:
    """A chain whose only target fails raises the exception, HTTP status and `retry_after` of its failure; its trail has the outcome."""
    error, kind, status = VERDICTS[how]
    ask = replace(ASK, trail=Trail())
    async with aclosing(chain(Scripted("a", error))(ask)) as events:
        with pytest.raises(Unanswered) as caught:
            await anext(events)
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert {attempt.outcome for attempt in ask.trail.attempts} == {error.outcome}
    assert getattr(caught.value, "retry_after", None) == error.retry_after


async def test_single_target_of_a_route_has_its_condition_and_an_induced_fault() -> None:
    """The one target of a route is not asked where its condition does not hold, and fails where the question has an induced fault."""
    target = Scripted("a", [Text("Hi"), STOP])
    answer = failover([Pool((Candidate("a", target.answer()),), places=(0,))], FailureRules(QUICK, RETRY, "fail"))
    for changed, error in (({"held": frozenset[int]()}, NoTarget), ({"fault": "429"}, Busy)):
        with pytest.raises(error):
            await heard(answer, replace(ASK, **changed))
    assert target.asked == 0
    for held in (None, frozenset([0])):
        assert isinstance((await heard(answer, replace(ASK, held=held)))[-1], Finish)
    assert target.asked == 2


async def test_silence_of_all_targets_raises_timed_out() -> None:
    """Two targets that send no first event are asked once each and closed, and the error is TimedOut."""
    first, second = Scripted("a", [None]), Scripted("b", [None])
    with pytest.raises(TimedOut):
        await heard(chain(first, second))
    assert (first.asked, second.asked, first.closed, second.closed) == (1, 1, 1, 1)


async def test_content_filter_refusal_ends_the_chain() -> None:
    """A question that a target's content filter refused raises Filtered, and the next target is not asked."""
    spare = Scripted("b", [Text("Hi"), STOP])
    with pytest.raises(Filtered):
        await heard(chain(Scripted("a", ContentFiltered("a", "content_filter")), spare))
    assert spare.asked == 0


async def test_conversation_too_long_goes_to_a_target_with_a_larger_window() -> None:
    """After ContextTooLong, a target whose window is not larger is skipped, and a known larger window is asked before an unknown one."""
    long = ContextTooLong("a", "context_too_long")
    small, unknown, large = (Scripted(name, [Text("Hi"), STOP]) for name in "bcd")
    seen = await heard(chain(Scripted("a", long), small, unknown, large, windows={"a": 8000, "b": 8000, "d": 100_000}))
    assert (small.asked, unknown.asked, large.asked) == (0, 0, 1)
    assert outcomes(seen[-1])[1:2] == [("b", "skipped_window")]


async def test_target_of_unknown_window_is_asked_when_no_known_window_is_larger() -> None:
    """After ContextTooLong, a target of unknown window is asked where all known windows are too small."""
    long = ContextTooLong("a", "context_too_long")
    small, unknown = (Scripted(name, [Text("Hi"), STOP]) for name in "bc")
    seen = await heard(chain(Scripted("a", long), small, unknown, windows={"a": 8000, "b": 8000}))
    assert (small.asked, unknown.asked) == (0, 1)
    assert isinstance(seen[-1], Finish)


def test_first_token_limit_covers_the_start_and_the_first_event_together() -> None:
    """With a limit of 10 s, a Start after 6 s and a text 6 s later time out; a text 3 s later is in time."""

    async def outcome(seconds: float) -> tuple[str, float]:
        async def answer(_: Ask) -> Events:
            await asyncio.sleep(6)
            yield Start("a", "m")
            await asyncio.sleep(seconds)
            yield Text("Hi")
            yield STOP

        ask, began = replace(ASK, trail=Trail()), now()
        candidate = Candidate("a", answer, health=TargetHealth(clock=now))
        with suppress(TimedOut):
            async with aclosing(failover([candidate], FailureRules(Timeout(first_token=10), RETRY, "fail"))(ask)) as events:
                _ = [event async for event in events]
        return ask.trail.attempts[0].outcome, now() - began

    assert jumping(outcome(6)) == ("timeout_first_token", pytest.approx(10))
    assert jumping(outcome(3)) == ("ok", pytest.approx(9))


def test_time_to_first_token_excludes_the_wait_until_a_target_is_ready() -> None:
    """The 30 s for which `ready` imports a library cause no timeout, and are not in the attempt's seconds."""

    async def ready() -> None:
        await asyncio.sleep(30)

    async def run() -> None:
        good = Scripted("a", [Text("Hi"), STOP])
        candidate = Candidate("a", good.answer(), health=TargetHealth(clock=now), ready=ready)
        seen = await heard(failover([candidate], FailureRules(QUICK, RETRY, "fail")))
        assert isinstance(seen[-1], Finish)
        (tried,) = seen[-1].attempts
        assert (tried.outcome, tried.seconds, tried.first) == ("ok", 0, 0)
        assert now() >= 30

    jumping(run())


async def test_empty_answer_is_valid_for_a_question_with_stop_texts() -> None:
    """An answer without text is passed on if the question has `stop` texts; without them its attempt has the outcome `empty`."""
    stopped = replace(ASK, params=Params(stop=("END",)))
    seen = await heard(chain(Scripted("a", [STOP]), Scripted("b", [Text("Hi"), STOP])), stopped)
    assert [type(event) for event in seen] == [Start, Finish]
    seen = await heard(chain(Scripted("a", [STOP]), Scripted("b", [Text("Hi"), STOP])), ASK)
    assert outcomes(seen[-1])[0] == ("a", "empty")


async def test_empty_answer_is_valid_after_a_tool_result() -> None:
    """If the last message is a tool's result, a single target's answer without text reaches the client as Start and Finish.
    It does not count as a failure.
    """
    told = ASK.with_messages(*ASK.messages, Message("tool", (Result("c1", "get_time", "12:00"),)))
    seen = await heard(chain(Scripted("a", [STOP])), told)
    assert [type(event) for event in seen] == [Start, Finish]


DEFAULTS = FailureRules(Timeout(), Retry())


async def timed(*candidates: Candidate, policy: FailureRules = DEFAULTS, ask: Ask = ASK) -> tuple[float, list[tuple[str, str]]]:
    """Return the seconds that one answer took by the loop's clock, and target and outcome of each attempt."""
    began = now()
    seen = await heard(failover(candidates, policy), ask)
    return round(now() - began, 3), outcomes(seen[-1])


def known(target: Scripted, breaker: BreakerConfig | None = None, retry: Retry | None = None) -> Candidate:
    """Return the target as a candidate whose health is the same for several questions."""
    return Candidate(target.name, target.answer(), health=TargetHealth(breaker, retry, clock=now))


WELL: Turn = [Text("Hi"), STOP]


def test_refused_connection_leads_to_the_next_target_at_once() -> None:
    """After a refused connection the next target is asked at once.

    The first target is retried, after a back-off, only if it is alone or the other's breaker is open.
    """

    async def run() -> None:
        dead, spare = known(Scripted("a", TargetDown("a", "connection"))), known(Scripted("b", WELL))
        assert await timed(dead, spare) == (0, [("a", "connection"), ("b", "ok")])
        spare.health.breaker.open()
        restarted = known(Scripted("a", TargetDown("a", "connection"), WELL))
        seconds, tried = await timed(restarted, spare)
        assert tried == [("a", "connection"), ("a", "ok")]
        assert 0.25 <= seconds <= 0.5
        assert (await timed(known(Scripted("a", TargetDown("a", "connection"), WELL))))[1] == [("a", "connection"), ("a", "ok")]

    jumping(run())


def test_failure_that_opens_the_breaker_is_not_retried() -> None:
    """A failure that opens the breaker, also of a probe, leads to the next target at once and takes nothing from the retry budget."""

    async def run() -> None:
        down = known(Scripted("a", TargetDown("a", "status_503")), BreakerConfig(failures=3))
        spare = known(Scripted("b", WELL))
        assert (await timed(down, spare))[1] == [("a", "status_503"), ("a", "status_503"), ("b", "ok")]
        assert await timed(down, spare) == (0, [("a", "status_503"), ("b", "ok")])
        await asyncio.sleep(4)
        assert await timed(down, spare) == (0, [("a", "status_503"), ("b", "ok")])
        assert [down.health.retries.spend() for _ in range(10)].count(True) == RESERVE - 1

    jumping(run())


async def test_answer_forgets_earlier_failures_and_earns_a_retry() -> None:
    """Failures with an answer between them do not open the breaker, and each answer adds its share to a retry budget that is not full."""
    shaky = known(Scripted("a", *[TargetDown("a", "status_503"), WELL] * 3), BreakerConfig(failures=2), Retry(attempts=1, budget=0.5))
    answer = failover([shaky], FailureRules(DEFAULTS.timeout, Retry(attempts=1)))
    for _ in range(3):
        with suppress(Unanswered):
            await heard(answer)
        assert shaky.health.breaker.recovering
        assert shaky.health.retries.spend()
        assert isinstance((await heard(answer))[-1], Finish)
        assert not shaky.health.breaker.recovering
    assert shaky.health.breaker.state == "closed"
    assert [shaky.health.retries.spend() for _ in range(10)].count(True) == 8


@pytest.mark.parametrize("seconds", [0.5, 6, 9.5])
def test_retry_after_of_the_only_target_is_waited_for(seconds: float) -> None:
    """Without another target to ask, a `Retry-After` within the first-token timeout is waited for, also by a question that comes later."""

    async def run() -> None:
        only = known(Scripted("a", TargetDown("a", "status_429", retry_after=seconds), WELL))
        async with asyncio.TaskGroup() as asking:
            first = asking.create_task(timed(only))
            await asyncio.sleep(0.25)
            second = asking.create_task(timed(only))
        assert first.result() == (seconds, [("a", "status_429"), ("a", "ok")])
        assert second.result() == (seconds - 0.25, [("a", "breaker_open"), ("a", "ok")])

    jumping(run())


def test_retry_after_beyond_the_requests_deadline_is_an_error_at_once() -> None:
    """A `Retry-After` that ends after the request's deadline raises Busy at once, with the rest of it as `retry_after`."""

    async def run() -> None:
        limited = Scripted("a", TargetDown("a", "status_429", retry_after=6))
        only, began = known(limited), now()
        with pytest.raises(Busy) as caught:
            await timed(only, ask=replace(ASK, until=began + 5))
        assert (now(), caught.value.retry_after) == (began, 6)
        await asyncio.sleep(2)
        with pytest.raises(Busy) as caught:
            await timed(only, ask=replace(ASK, until=now() + 3))
        assert (limited.asked, now(), caught.value.retry_after) == (1, began + 2, 4)

    jumping(run())


def test_target_with_retry_after_is_skipped_by_all_requests_until_then() -> None:
    """During a target's `Retry-After` of 30 s, each second's question is answered by the spare without asking the target; then it answers.
    With the spare's breaker open as well, the error is Busy (503) with the seconds until that breaker admits a probe.
    """

    async def run() -> None:
        limited = Scripted("a", TargetDown("a", "status_429", retry_after=30), WELL)
        first, spare = known(limited), known(Scripted("b", WELL))
        assert await timed(first, spare) == (0, [("a", "status_429"), ("b", "ok")])
        for _ in range(20):
            await asyncio.sleep(1)
            assert await timed(first, spare) == (0, [("a", "breaker_open"), ("b", "ok")])
        spare.health.breaker.open()
        with pytest.raises(Busy) as caught:
            await timed(first, spare, policy=FailureRules(Timeout(first_token=5), Retry()))
        assert (caught.value.status, caught.value.retry_after) == (503, 4)
        assert limited.asked == 1
        await asyncio.sleep(10)
        assert await timed(first, spare) == (0, [("a", "ok")])

    jumping(run())


class EarlyLoop(VirtualLoop):
    """An event loop with virtual time whose timers fire 0.9 ms early, as those of uvloop may by the breakers' clock."""

    EARLY = 0.0009

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]
            due: float = min(timer.when() for timer in self._scheduled if not timer.cancelled())  # type: ignore[attr-defined]
            # What is due sooner than that is waited for to the end: time goes on.
            now = cast("float", self._now)  # type: ignore[attr-defined]
            self._now = due - self.EARLY if due - now > 2 * self.EARLY else due  # pyright: ignore[reportUnknownMemberType]
            self._clock_resolution = due - self._now + 1e-9  # type: ignore[attr-defined]
        super()._run_once()


@pytest.mark.parametrize("told", [1.0, 0.1, 1 / 3, 2.7])
def test_retry_after_that_was_waited_for_is_not_refused_by_the_breaker(told: float) -> None:
    """A question that waits for `Retry-After` reaches the target also if its timer fires 0.9 ms before the breaker admits requests."""

    async def run() -> None:
        limited = Scripted("a", TargetDown("a", "status_429", retry_after=told), WELL)
        only = known(limited)
        assert (await timed(only))[1] == [("a", "status_429"), ("a", "ok")]

    async def second() -> None:
        limited = Scripted("a", TargetDown("a", "status_429", retry_after=told), WELL, WELL)
        only = known(limited)
        first = asyncio.create_task(timed(only))
        await asyncio.sleep(told / 2)
        tried = [(await one)[1] for one in (asyncio.create_task(timed(only)), first)]
        assert tried == [[("a", "breaker_open"), ("a", "ok")], [("a", "status_429"), ("a", "ok")]]

    for question in (run, second):
        for loop in (EarlyLoop, VirtualLoop):
            with asyncio.Runner(loop_factory=loop) as runner:
                runner.run(question())


def test_retry_after_of_a_day_keeps_requests_away_for_a_minute() -> None:
    """A target with a `Retry-After` of 86,400 s is asked again after 60 s."""

    async def run() -> None:
        limited = Scripted("a", TargetDown("a", "status_429", retry_after=86_400), WELL)
        first, spare = known(limited), known(Scripted("b", WELL))
        for _ in range(2):
            assert (await timed(first, spare))[1][-1] == ("b", "ok")
            await asyncio.sleep(30)
        assert (await timed(first, spare))[1] == [("a", "ok")]

    jumping(run())


def test_continuation_by_the_same_target_takes_from_its_retry_budget() -> None:
    """Of 100 answers that the only target breaks off, it is asked to continue ten; a continuation by another target takes no retry."""

    async def run() -> None:
        patient = BreakerConfig(failures=1000, within=0.001)
        cut = Scripted("a", [Text("Half"), TargetDown("a", "cut")])
        only = known(cut, patient)
        for _ in range(100):
            await heard(failover([only], DEFAULTS))
        assert cut.asked == 100 + RESERVE
        spare = Scripted("b", WELL)
        for _ in range(20):
            assert (await timed(only, known(spare, patient)))[1] == [("a", "cut"), ("b", "ok")]
        assert (cut.asked, spare.asked) == (120 + RESERVE, 20)

    jumping(run())
