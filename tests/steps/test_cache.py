"""The cache step of a route: hits and misses, answers that are not cached, and concurrent requests that share one call."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing

import pytest

from router.attempt import LET_GO, Attempt, Trail
from router.cache import LocalStore
from router.chat import Ask, CacheControl, Message
from router.config.declaration import Cache
from router.errors import RouterError, TargetDown, Unanswered
from router.events import Answer, Event, Events, Failure, Finish, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.steps.cache import cache
from router.value import replace

ASK = Ask(model="m", messages=(Message("user", ("?",)),))
OK = Attempt("a", "ok", 0.2, first=0.1)
WHOLE: tuple[Event, ...] = (Start("a", "x/a"), Thought("Hm."), Text("One "), Text("two"), Finish("stop", Usage(11, 3)))
TOOLS: tuple[Event, ...] = (
    Start("a", "x/a"),
    ToolInput("c", "t", "{}"),
    ToolCall("c", "t", {}),
    ToolResult("c", "t", {"celsius": 25}),
    Start("a", "x/a", used=Usage(5, 1)),
    Text("Done."),
    Finish("stop", Usage(16, 4)),
)


class Model:
    """A fake route that counts its calls.

    attempts: those that it adds to the trail of each question
    hold: an event that it waits for after each of its events
    """

    def __init__(self, *events: Event | RouterError, attempts: Sequence[Attempt] = (OK,)) -> None:
        self.events: Sequence[Event | RouterError] = events or WHOLE
        self.attempts = attempts
        self.asked = 0
        self.closed = 0
        self.hold: asyncio.Event | None = None
        self.speaks = asyncio.Event()

    async def answer(self, ask: Ask) -> Events:
        """Count the call and its attempts, and yield the scripted events, or raise the scripted error."""
        self.asked += 1
        ask.trail.calls.append([*self.attempts])
        try:
            for event in self.events:
                if isinstance(event, RouterError):
                    raise event
                yield event
                if self.hold is not None:
                    self.speaks.set()
                    await self.hold.wait()
        finally:
            self.closed += 1


def kept(
    model: Model,
    store: LocalStore | None = None,
    *,
    made_by: str = "m",
    last_resort: frozenset[str] = frozenset(),
    declared: Cache | None = None,
) -> Answer:
    """Return the answer of this model behind a cache step."""
    store = store or LocalStore(1_000_000)
    return cache(declared=declared or Cache(ttl=60), store=store, shared=None, made_by=made_by, last_resort=last_resort)(model.answer)


async def read(answer: Answer, ask: Ask = ASK) -> list[Event]:
    """Return all events of an answer."""
    async with asyncio.timeout(240), aclosing(answer(ask)) as events:
        return [event async for event in events]


def bare(events: Sequence[Event]) -> list[Event]:
    """Return the events without cache marks and ages."""
    made: list[Event] = []
    for event in events:
        match event:
            case Start():
                made.append(replace(event, cache="", age=None))
            case Finish():
                made.append(replace(event, cache=""))
            case _:
                made.append(event)
    return made


def how(events: Sequence[Event]) -> str:
    """Return the cache mark of an answer's Start: hit, miss, shared or bypass."""
    (told,) = {event.cache for event in events if isinstance(event, Start)}
    return told


def fresh() -> Ask:
    """Return the question with a trail of its own."""
    return replace(ASK, trail=Trail())


def asking(**more: object) -> Ask:
    """Return the question with these Cache-Control wishes."""
    return replace(ASK, cache=CacheControl(**more))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_second_identical_request_is_a_cache_hit_without_attempts_or_cost() -> None:
    """A hit has the events of the first answer and its age, without a call to the target and without attempts or cost."""
    model = Model()
    answer = kept(model)
    asks = [fresh(), fresh()]
    first, second = [await read(answer, ask) for ask in asks]
    assert (how(first), how(second), model.asked) == ("miss", "hit", 1)
    assert [ask.trail.attempts for ask in asks] == [(OK,), ()]
    assert bare(second) == bare(WHOLE)
    assert first[-1] == replace(WHOLE[-1], cache="miss")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    start, finish = second[0], second[-1]
    assert isinstance(start, Start)
    assert isinstance(finish, Finish)
    assert start.age is not None
    assert 0 <= start.age < 5
    assert (finish.usage, finish.spent) == (Usage(11, 3), None)


async def test_cache_misses_for_another_question_configuration_or_caller() -> None:
    """A repeated question is a hit; another question, another configuration (`made_by`) or another caller is a miss."""
    store, model = LocalStore(1_000_000), Model()
    await read(kept(model, store))
    assert how(await read(kept(model, store), ASK.with_messages(Message("user", ("!",))))) == "miss"
    assert how(await read(kept(model, store, made_by="n"))) == "miss"
    assert how(await read(kept(model, store), replace(ASK, caller="other"))) == "miss"
    assert how(await read(kept(model, store))) == "hit"


async def test_cache_with_scope_route_is_shared_by_all_callers() -> None:
    """With `scope: route`, an answer made for one caller is a hit for every other caller."""
    answer = kept(Model(), declared=Cache(ttl=60, scope="route"))
    assert [how(await read(answer, replace(ASK, caller=caller))) for caller in ("one", "two", "")] == ["miss", "hit", "hit"]


def ended(*events: Event, reason: str = "stop") -> tuple[Event, ...]:
    """Return an answer of one model call: a Start, these events, and a Finish with this reason."""
    return (Start("a", "x/a"), *events, Finish(reason, Usage(1, 1)))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


CUT = Attempt("a", "cut", 1.0, first=0.1)
NOT_KEPT: dict[str, tuple[Event | RouterError, ...]] = {
    "a failure": (Start("a", "x/a"), Text("Half"), Failure("no_answer", "It broke off.")),
    "an error after its first words": (Start("a", "x/a"), Text("Half"), TargetDown("a", "cut")),
    "an error before them": (Unanswered(),),
    "cut at max_tokens": ended(Text("Half"), reason="length"),
    "filtered": ended(Text("Half"), reason="content-filter"),
    "stopped at max_steps": ended(Text("Half"), reason="tool-calls"),
    "another end": ended(Text("Half"), reason="other"),
    "an end that nobody said": ended(Text("Half"), reason="unknown"),
    "rescued": ended(Text("One two")),
    "tools ran": TOOLS,
    "a call that is the caller's": ended(ToolCall("c", "t", {})),
    "of last resort": (Start("demo", "script/demo"), Text("Hello"), Finish("stop")),
    "of last resort, in its second half": ended(Text("One")),
}
ATTEMPTS: dict[str, tuple[Attempt, ...]] = {
    "rescued": (CUT, Attempt("b", "ok", 1.0, first=0.1)),
    "of last resort, in its second half": (Attempt("demo", "ok", 1.0, first=0.1),),
}
"""Answer of NOT_KEPT → its attempts; OK for all others."""


@pytest.mark.parametrize("name", NOT_KEPT)
async def test_incomplete_answer_is_not_cached(name: str) -> None:
    """After an answer that failed, was cut, rescued, filtered, made with tools or by a last-resort target, the next request is a miss."""
    model = Model(*NOT_KEPT[name], attempts=ATTEMPTS.get(name, (OK,)))
    answer = kept(model, last_resort=frozenset({"demo"}))
    if any(isinstance(event, RouterError) for event in NOT_KEPT[name]):
        with pytest.raises(RouterError):
            await read(answer)
    else:
        assert how(await read(answer)) == "miss"
    model.events, model.attempts = WHOLE, (OK,)
    again = await read(answer)
    assert how(again) == "miss"
    assert bare(again) == bare(WHOLE)
    assert model.asked == 2


async def test_answer_with_tool_calls_is_cached_only_with_tools_keep() -> None:
    """With `tools: keep`, an answer with tool calls is cached unless a call failed or is left for the client to run.
    For the default, without `tools: keep`, see `test_incomplete_answer_is_not_cached`.
    """
    declared = Cache(ttl=60, tools="keep")
    answer = kept(Model(*TOOLS), declared=declared)
    assert how(await read(answer)) == "miss"
    again = await read(answer)
    assert how(again) == "hit"
    assert bare(again) == bare(TOOLS)
    failed = [replace(event, is_error=True) if isinstance(event, ToolResult) else event for event in TOOLS]
    left = ended(ToolCall("c", "t", {}))
    for events in (failed, left):
        answer = kept(Model(*events), declared=declared)
        assert [how(await read(answer)) for _ in range(2)] == ["miss", "miss"]


async def test_answer_is_cached_although_an_earlier_target_failed() -> None:
    """An answer is cached if earlier attempts failed before their first token or were abandoned as a slower hedge."""
    tried = (Attempt("a", "status_429", 0.1), Attempt("b", "abandoned", 0.3), OK)
    answer = kept(Model(*ended(Text("One")), attempts=tried))
    assert [how(await read(answer)) for _ in range(2)] == ["miss", "hit"]


async def test_answer_abandoned_by_its_client_is_not_cached() -> None:
    """The call of an answer whose only client leaves is closed at once, and the next identical request is a miss."""
    model = Model()
    model.hold = asyncio.Event()
    answer = kept(model)
    async with aclosing(answer(ASK)) as events:
        await anext(events)
    assert model.closed == 1
    model.hold = None
    assert how(await read(answer)) == "miss"
    assert model.asked == 2


async def test_identical_concurrent_requests_share_one_upstream_call() -> None:
    """100 identical concurrent requests make one call and get all its events; only one gets its usage and attempts."""
    model = Model()
    model.hold = asyncio.Event()
    answer = kept(model)
    asks = [fresh() for _ in range(100)]
    reading = [asyncio.create_task(read(answer, ask)) for ask in asks[:50]]
    await model.speaks.wait()
    reading += [asyncio.create_task(read(answer, ask)) for ask in asks[50:]]
    await asyncio.sleep(0)
    model.hold.set()
    answers = await asyncio.gather(*reading)
    assert model.asked == 1
    assert [how(one) for one in answers] == ["miss"] + ["shared"] * 99
    assert all(bare(one) == bare(WHOLE) for one in answers)
    ends = [one[-1] for one in answers]
    assert [end.spent for end in ends if isinstance(end, Finish) and end.spent is not None] == [Usage(11, 3)]
    assert [ask.trail.attempts for ask in asks if ask.trail.attempts] == [(OK,)]


async def test_attempts_are_reported_to_the_last_follower_that_leaves() -> None:
    """The attempts of a shared call that all its followers leave early are reported once, to the last of them."""
    running = Attempt("a", LET_GO, 0.1)
    model = Model(attempts=(running,))
    model.hold = asyncio.Event()
    answer = kept(model)
    began, joined = fresh(), fresh()
    async with aclosing(answer(joined)) as last:
        async with aclosing(answer(began)) as first:
            await anext(first)
            await anext(last)
        assert (began.trail.calls, joined.trail.calls) == ([], [])
    assert (began.trail.calls, joined.trail.calls) == ([], [[running]])


async def test_cost_of_a_shared_call_is_reported_although_its_first_caller_left() -> None:
    """Usage and attempts of a shared call are reported to a follower that reads to the end if the first caller has left."""
    model = Model()
    model.hold = asyncio.Event()
    answer = kept(model)
    began, later = fresh(), fresh()
    async with aclosing(answer(began)) as events:
        await anext(events)
        joined = asyncio.create_task(read(answer, later))
        await asyncio.sleep(0)
    model.hold.set()
    whole = await joined
    assert model.asked == 1
    assert bare(whole) == bare(WHOLE)
    finish = whole[-1]
    assert isinstance(finish, Finish)
    assert (finish.spent, began.trail.attempts, later.trail.attempts) == (Usage(11, 3), (), (OK,))


async def test_error_of_a_shared_call_reaches_all_its_followers() -> None:
    """All five requests that share a failed call get its error, one of them with the attempts, and the next request is a miss."""
    model = Model(Unanswered(), attempts=(Attempt("a", "status_503", 0.1),))
    answer = kept(model)
    asks = [fresh() for _ in range(5)]
    faults = await asyncio.gather(*(read(answer, ask) for ask in asks), return_exceptions=True)
    assert all(type(fault) is Unanswered for fault in faults)
    assert [len(ask.trail.attempts) for ask in asks] == [1, 0, 0, 0, 0]
    assert model.asked == 1
    model.events = WHOLE
    assert how(await read(answer)) == "miss"


async def test_requests_of_different_callers_share_a_call_only_with_scope_route() -> None:
    """Concurrent requests of three callers make three calls with `scope: caller` and one with `scope: route`."""
    asked: list[int] = []
    for scope in ("caller", "route"):
        model = Model()
        answer = kept(model, declared=Cache(ttl=60, scope=scope))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await asyncio.gather(*(read(answer, replace(ASK, caller=str(number))) for number in range(3)))
        asked.append(model.asked)
    assert asked == [3, 1]


async def test_request_with_no_cache_calls_the_target_and_replaces_the_cached_answer() -> None:
    """A request with `max_age` 0 bypasses the cached answer and any call in flight, and its answer replaces the cached one."""
    model = Model()
    answer = kept(model)
    await read(answer)
    model.events = ended(Text("Other"))
    renewed = await read(answer, asking(max_age=0.0))
    assert how(renewed) == "bypass"
    again = await read(answer)
    assert how(again) == "hit"
    assert bare(again) == bare(renewed) == bare(ended(Text("Other")))
    await asyncio.gather(read(answer, asking(max_age=0.0)), read(answer, asking(max_age=0.0)))
    assert model.asked == 4


async def test_request_with_no_store_neither_stores_nor_shares() -> None:
    """An answer with `store=False` is neither cached nor shared with a concurrent request; a cached answer can be a hit for it."""
    model = Model()
    answer = kept(model)
    quiet = asking(store=False)
    assert [how(one) for one in await asyncio.gather(read(answer, quiet), read(answer))] == ["miss", "miss"]
    assert model.asked == 2
    assert how(await read(answer, quiet)) == "hit"
    model = Model()
    answer = kept(model)
    assert [how(await read(answer, one)) for one in (quiet, quiet, ASK, quiet)] == ["miss", "miss", "miss", "hit"]


async def test_cached_answer_older_than_max_age_or_an_edited_ttl_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached answer that is 30 s old is a hit with `max_age` 40, and a miss with `max_age` 20 or a `ttl` edited to 20.
    After the system clock was put back, the age of a hit is 0.
    """
    store, now = LocalStore(1_000_000), time.time()
    await read(kept(Model(), store))
    monkeypatch.setattr(time, "time", lambda: now + 30)
    aged = await read(kept(Model(), store))
    assert isinstance(aged[0], Start)
    assert aged[0].age == pytest.approx(30, abs=2)
    assert how(await read(kept(Model(), store), asking(max_age=40.0, store=False))) == "hit"
    assert how(await read(kept(Model(), store), asking(max_age=20.0, store=False))) == "miss"
    assert how(await read(kept(Model(), store, declared=Cache(ttl=20)), asking(store=False))) == "miss"
    monkeypatch.setattr(time, "time", lambda: now - 30)  # a clock that was put back
    early = await read(kept(Model(), store))
    assert isinstance(early[0], Start)
    assert early[0].age == 0


class Shelf(LocalStore):
    """A store that returns one value for every key and lets other tasks run first."""

    def __init__(self, value: bytes | None = None) -> None:
        super().__init__(0)
        self.value = value

    async def get(self, name: str) -> bytes | None:
        """Return the value, for any key."""
        del name
        await asyncio.sleep(0)
        return self.value

    async def put(self, name: str, value: bytes, ttl: float) -> None:
        """Replace the value."""
        del name, ttl
        await asyncio.sleep(0)
        self.value = value


async def test_unreadable_cache_entry_is_a_miss() -> None:
    """A cache entry that is empty, damaged, cut off or of another release is a miss, and the new answer replaces it."""
    shelf = Shelf()

    async def asked() -> str:
        told = how(await read(kept(Model(), shelf)))
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)  # what was read is put down
        return told

    await asked()
    good = shelf.value
    assert good is not None
    stamp = good.partition(b"\n")[0]
    for value in (
        b"",
        b"\n",
        b"x\n[1]",
        b"9" * 400 + good[len(stamp) :],
        stamp,
        stamp + b"\n[1]",
        stamp + b'\n[1,"Hi"]',
        stamp + b"\n[9]",
        b"nan" + good[len(stamp) :],
        good[:-2],
    ):
        shelf.value = value
        assert await asked() == "miss", value
        assert await asked() == "hit"


async def test_identical_requests_share_one_call_while_the_store_is_slow() -> None:
    """Twenty concurrent requests that wait for a slow store make one call: one miss, 19 shared."""
    model = Model()
    answer = kept(model, Shelf())
    answers = await asyncio.gather(*(read(answer) for _ in range(20)))
    assert model.asked == 1
    assert sorted(how(one) for one in answers) == ["miss"] + ["shared"] * 19


async def test_answer_over_the_size_limit_is_sent_but_not_cached() -> None:
    """An answer of 2 MB, over the size limit, is sent in full and not cached; a request that comes in mid-answer makes its own call."""
    pieces = [Text("x" * 10_000)] * 200
    model, shelf = Model(*ended(*pieces)), Shelf()
    answer = kept(model, shelf)
    async with aclosing(answer(ASK)) as events:
        seen = [await anext(events) for _ in range(150)]
        late = await read(answer)
        seen += [event async for event in events]
    assert bare(seen) == bare(late) == bare(ended(*pieces))
    assert how(late) == "miss"
    assert model.asked == 2
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)
    assert shelf.value is None


@pytest.mark.parametrize("leave", [lambda: asyncio.timeout(0.01), lambda: asyncio.timeout(0)])
async def test_cancelled_reader_leaves_no_task_or_call_behind(leave: Callable[[], asyncio.Timeout]) -> None:
    """A reader of an answer that is cancelled at once or after 10 ms leaves no running task and no open call to the model."""
    model = Model()
    model.hold = asyncio.Event()
    answer = kept(model)

    async def leaving() -> None:
        async with leave(), aclosing(answer(ASK)) as events:
            async for _ in events:
                pass

    with pytest.raises(TimeoutError):
        await leaving()
    assert model.closed == model.asked
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
