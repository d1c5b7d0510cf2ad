"""The step of a route's `cache:`. Repeated questions get the cached answer, identical concurrent ones share one call (request coalescing).

The step stands below the pipeline's steps and above the tool loop. The cache key is therefore what a provider would see of the question.
An answer is cached with its reasoning, tool calls and results, and passes through the pipeline's other steps again on a hit.

A request that arrives while an identical one is being answered follows that answer from its start, even one that another replica makes.
The call runs in a task of its own and ends when its last client has left. Only complete answers are cached: see `Keeper.worth_it`.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing

from router.attempt import Attempt
from router.broadcast import Broadcast
from router.cache import MAX_FLIGHT_BYTES, Elsewhere, Flight, Lead, LocalStore, Shared, key
from router.chat import Ask
from router.codec import decode, encode
from router.config.declaration import Cache
from router.errors import ReplicaLost, Stopping
from router.events import Answer, Cached, Event, Events, Finish, LateResult, Start, Step, ToolCall, ToolProgress, ToolResult
from router.shared import Away
from router.value import Value, field, replace

AT_FIRST = 16
"""Number of cached events after which the step yields to the event loop once, so that the beginning is written sooner."""


def cache(*, declared: Cache, store: LocalStore, shared: Shared | None, made_by: str, last_resort: frozenset[str]) -> Step:
    """Return the cache step of one route.
    shared: the cache that replicas share; None without Redis
    made_by: a digest of the configuration that makes the route's answers
    last_resort: targets whose answers are not cached
    """
    return lambda answer: Keeper(answer, declared, store, shared, made_by, last_resort).answer


class CachedAnswer(Value, frozen=True):
    """An answer read from the cache. `age`: seconds since it was made."""

    events: Sequence[Event]
    age: float

    def replayed(self) -> Iterator[Event]:
        """Yield the events of the answer, with `cache` set to `hit` in Start and Finish, and the age in Start."""
        for event in self.events:
            match event:
                case Start():
                    yield replace(event, cache="hit", age=self.age)
                case Finish():
                    yield replace(event, cache="hit")
                case _:
                    yield event


class Keeper(Value, frozen=True, eq=False):
    """The cache of one route: reads and stores its answers, and holds the calls in flight that identical requests share."""

    _answer: Answer
    _declared: Cache
    _store: LocalStore
    _shared: Shared | None
    _made_by: str
    _last_resort: frozenset[str]
    _under_way: dict[str, Flight] = field(default_factory=dict[str, Flight])

    async def answer(self, ask: Ask) -> Events:
        """Yield the events of the cached answer; else of the identical question in flight; else, and for `max_age` 0, of a new call."""
        scope = self._declared.scope
        name = key(ask, self._made_by, ask.owner if scope == "user" else ask.caller if scope == "caller" else "")
        how: Cached = "bypass"
        flight: Flight | None = None
        found: Elsewhere | Lead | None = None
        if ask.cache.max_age > 0:
            how, flight = "shared", self._joined(name)
            if flight is None:
                kept, found = await self._looked(name, ask)
                if kept is not None:
                    for count, event in enumerate(kept.replayed(), 1):
                        yield event
                        if count == AT_FIRST:
                            await asyncio.sleep(0)
                    return
                flight = self._joined(name)  # another request may have begun it during the lookup
            if flight is None:
                how = "miss"
            elif isinstance(found, Lead):
                found.drop()
        if flight is None:
            flight = Flight(Broadcast(MAX_FLIGHT_BYTES))
            if ask.cache.store:
                self._under_way[name] = flight
            flight.made.start(self._make(name, replace(ask, trail=flight.trail), flight, found))
        async with aclosing(flight.follow(how, ask.trail)) as events:
            async for event in events:
                yield event

    def _joined(self, name: str) -> Flight | None:
        flight = self._under_way.get(name)
        return flight if flight is not None and flight.made.open else None

    async def _make(self, name: str, ask: Ask, flight: Flight, found: Elsewhere | Lead | None) -> None:
        made = flight.made
        try:
            while isinstance(found, Elsewhere):
                try:
                    return await made.take(found.follow())
                except (Away, ReplicaLost, Stopping):
                    if made.events or not made.complete:
                        raise
                found = await found.over(ask.until)
            if found is not None:
                found.offer(flight)
            await made.take(self._answer(ask))
            if ask.cache.store and made.complete and self.worth_it(made.events, flight.trail.attempts):
                value = _written(made.events)
                await self._store.put(name, value, self._declared.ttl)
                if self._shared is not None:
                    await self._shared.put(name, value, self._declared.ttl)
        finally:
            if self._under_way.get(name) is flight:
                del self._under_way[name]
            if isinstance(found, Lead):
                await found.free()

    async def _looked(self, name: str, ask: Ask) -> tuple[CachedAnswer | None, Elsewhere | Lead | None]:
        """Look a question up: return (cached answer that is fresh enough or None, Elsewhere or Lead or None).

        None in place of both: there is no shared cache, it is away, or it has an entry, which may be newer than the local one.
        A request with `store` off only reads entries: it neither follows another replica nor takes the lead.
        """
        found: bytes | Elsewhere | Lead | None = None
        if self._shared is not None:
            found = await (self._shared.look(name, ask.until) if ask.cache.store else self._shared.get(name))
        value = found if isinstance(found, bytes) else await self._store.get(name)
        kept = _read(value) if value is not None else None
        if kept is not None and kept.age >= min(ask.cache.max_age, self._declared.ttl):
            kept = None
        if isinstance(found, bytes):
            return kept, None
        if isinstance(found, Lead) and kept is not None:
            found.drop()
        return kept, found

    def worth_it(self, events: Sequence[Event], attempts: Sequence[Attempt]) -> bool:
        """Return True if the answer may be cached: all of the conditions below hold.

        - It ended with `stop`: not at max_tokens, not by a filter, not at max_steps.
        - No attempt that had sent text failed, and no target of last resort took part.
        - No tool call that the user had approved ran.
        - No tool was called; or the route declares `tools: keep`, no tool failed, and no call is left for the client to run.
        """
        if not events or not isinstance(end := events[-1], Finish) or end.reason != "stop":
            return False
        spoke = [attempt for attempt in attempts if attempt.first is not None]
        speakers = {event.target for event in events if isinstance(event, Start)} | {attempt.target for attempt in spoke}
        calls = sum(isinstance(event, ToolCall) for event in events)
        results = [event for event in events if isinstance(event, ToolResult)]
        return (
            all(attempt.outcome == "ok" for attempt in spoke)
            and speakers.isdisjoint(self._last_resort)
            and not any(isinstance(event, LateResult) for event in events)
            and (not calls or (self._declared.tools == "keep" and len(results) == calls))
            and not any(result.is_error for result in results)
        )


def _written(events: Sequence[Event]) -> bytes:
    """Return a cache entry: milliseconds since 1970, a line break, and the encoded events without attempts and tool progress."""
    stripped = [
        replace(event, attempts=()) if isinstance(event, Start | Finish) else event
        for event in events
        if not isinstance(event, ToolProgress)
    ]
    return b"%d\n" % (time.time() * 1000) + encode(stripped)


def _read(value: bytes) -> CachedAnswer | None:
    """Return the answer in a cache entry that `_written` made; None for other bytes or an incomplete answer."""
    made, _, data = value.partition(b"\n")
    try:
        age, events = max(0.0, time.time() - int(made) / 1000), decode(data)
    except (ValueError, OverflowError):
        return None
    complete = len(events) > 1 and isinstance(events[0], Start) and isinstance(events[-1], Finish)
    return CachedAnswer(events, age) if complete else None
