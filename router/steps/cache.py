"""Answer what was answered before, and ask once what several ask at once: a route's `cache:`.

It stands below the pipeline's steps and above the tool loop. So a question is told by what a provider would see of it, whatever
the pipeline made of the body; and an answer is kept as it came, thoughts, calls and results included, and goes through the
pipeline's other steps again, as a new one would.

Whoever asks while the same is being answered follows that answer, from its start. The call runs in a task of its own: it is nobody's
who asked, and ends when the last of them has left. Kept are only whole answers: see `Keeper.worth_it`.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from router.broadcast import Broadcast
from router.cache import Store, key
from router.chat import Ask
from router.codec import decode, encode
from router.config.declaration import Cache
from router.errors import Attempt, RouterError
from router.events import Answer, Cached, Event, Events, Failure, Finish, Start, Step, ToolCall, ToolResult

MOST = 1024 * 1024
"""Bytes of one answer that are held while it is made. A longer one is not kept, and can no longer be joined."""

AT_FIRST = 16
"""Events of a kept answer that are passed on before the rest is looked at: a client sees the beginning of a long one sooner."""


def cache(*, declared: Cache, store: Store, made_by: str, last_resort: frozenset[str]) -> Step:
    """The cache of one route. `made_by`: a digest of what makes its answers; `last_resort`: targets whose answers are not kept."""

    def step(answer: Answer) -> Answer:
        return Keeper(answer, declared, store, made_by, last_resort).answer

    return step


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that was kept. `age`: seconds since it was made."""

    events: Sequence[Event]
    age: float

    def told(self) -> Iterator[Event]:
        """It, as it is given again."""
        for event in self.events:
            match event:
                case Start():
                    yield replace(event, cache="hit", age=self.age)
                case Finish():
                    yield replace(event, cache="hit")
                case _:
                    yield event


@dataclass(slots=True, eq=False)
class Flight:
    """An answer that is being made, for whoever asks meanwhile. What was tried and spent for it is told once."""

    made: Broadcast
    tried: list[list[Attempt]] = field(default_factory=list[list[Attempt]])
    """What was tried for it so far."""
    _told: bool = False

    async def told(self, how: Cached, ask: Ask) -> Events:
        """It, for one of them. Whoever comes to its end first is told what it took: who began it may have left long before. Where
        nobody comes to its end, that is the last to leave.
        """
        try:
            async with aclosing(self.made.follow()) as events:
                async for event in events:
                    match event:
                        case Start():
                            yield replace(event, cache=how, attempts=() if how == "shared" else event.attempts)
                        case Finish():
                            if self._first():
                                yield replace(event, cache="miss" if how == "shared" else how)
                            else:
                                yield replace(event, cache="shared", attempts=())
                        case Failure():
                            yield event if self._first() else replace(event, attempts=())
                        case _:
                            yield event
        except RouterError as error:
            if not error.attempts or self._first():
                raise
            raise error.for_another() from None
        finally:
            if self.made.left and self._first():
                ask.tried.extend(self.tried)

    def _first(self) -> bool:
        first, self._told = not self._told, True
        return first


class Keeper:
    """The answers of one route: those that are kept, and those that are being made."""

    def __init__(self, answer: Answer, declared: Cache, store: Store, made_by: str, last_resort: frozenset[str]) -> None:
        self._answer = answer
        self._declared = declared
        self._store = store
        self._made_by = made_by
        self._last_resort = last_resort
        self._under_way: dict[str, Flight] = {}

    async def answer(self, ask: Ask) -> Events:
        """One that is kept, one that is under way, or a new one."""
        name = key(ask, self._made_by, ask.caller if self._declared.scope == "caller" else "")
        how: Cached = "bypass"
        flight: Flight | None = None
        if ask.cache.max_age > 0:
            how, flight = "shared", self._joined(name)
            if flight is None and (kept := await self._kept(name, ask.cache.max_age)) is not None:
                for count, event in enumerate(kept.told(), 1):
                    yield event
                    if count == AT_FIRST:
                        await asyncio.sleep(0)
                return
            if flight is None:
                flight = self._joined(name)  # another may have begun while the store was asked
            if flight is None:
                how = "miss"
        if flight is None:
            flight = self._begun(name, ask)
        async with aclosing(flight.told(how, ask)) as events:
            async for event in events:
                yield event

    def _joined(self, name: str) -> "Flight | None":
        flight = self._under_way.get(name)
        return flight if flight is not None and flight.made.open else None

    def _begun(self, name: str, ask: Ask) -> "Flight":
        flight = Flight(Broadcast(MOST))
        if ask.cache.store:
            self._under_way[name] = flight
        flight.made.start(self._make(name, replace(ask, tried=flight.tried), flight))
        return flight

    async def _make(self, name: str, ask: Ask, flight: "Flight") -> None:
        made = flight.made
        try:
            await made.take(self._answer(ask))
            if ask.cache.store and made.whole and self.worth_it(made.events):
                await self._store.put(name, _written(made.events), self._declared.ttl)
        finally:
            if self._under_way.get(name) is flight:
                del self._under_way[name]

    async def _kept(self, name: str, max_age: float) -> Kept | None:
        value = await self._store.get(name)
        kept = _read(value) if value is not None else None
        return kept if kept is not None and kept.age < min(max_age, self._declared.ttl) else None

    def worth_it(self, events: Sequence[Event]) -> bool:
        """Whether an answer may be given again: it came to its own end (a cut at max_tokens, a filter's or max_steps' is not that);
        no model broke off in it; no tool failed, and none ran unless that is declared to be kept; no call is left to the caller;
        and it is none of a target of last resort.
        """
        end = events[-1] if events else None
        if not isinstance(end, Finish) or end.reason != "stop":
            return False
        spoke = [attempt for attempt in end.attempts if attempt.first is not None]
        if any(attempt.outcome != "ok" for attempt in spoke):
            return False
        speakers = {event.target for event in events if isinstance(event, Start)} | {attempt.target for attempt in spoke}
        calls = [event for event in events if isinstance(event, ToolCall)]
        results = [event for event in events if isinstance(event, ToolResult)]
        ran = not calls or (self._declared.tools == "keep" and len(results) == len(calls))
        return ran and not any(result.is_error for result in results) and speakers.isdisjoint(self._last_resort)


def _written(events: Sequence[Event]) -> bytes:
    """An answer as it is kept: when it was made, in milliseconds since 1970, a line break, and its events, without what was tried."""
    told = [replace(event, attempts=()) if isinstance(event, Start | Finish) else event for event in events]
    return b"%d\n" % (time.time() * 1000) + encode(told)


def _read(value: bytes) -> Kept | None:
    """What `_written` wrote; None where this is something else."""
    made, _, data = value.partition(b"\n")
    try:
        age, events = max(0.0, time.time() - int(made) / 1000), decode(data)
    except (ValueError, OverflowError):
        return None
    whole = len(events) > 1 and isinstance(events[0], Start) and isinstance(events[-1], Finish)
    return Kept(events, age) if whole else None
