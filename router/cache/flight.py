"""An answer that is being made, for whoever asks meanwhile: here, and at other replicas."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from router import relay
from router.broadcast import Broadcast, weight
from router.errors import Attempt, ReplicaLost, RouterError, Stopping
from router.events import FREE, Cached, Event, Events, Failure, Finish, Start
from router.shared import Batch

MOST = 1024 * 1024
"""Bytes of one answer that are held while it is made. A longer one is not kept, and can no longer be joined."""
LOOK = 1.0
"""Seconds between two looks at whether an answer that nobody reads elsewhere any more is read here."""


@dataclass(slots=True, eq=False)
class Flight:
    """One of them. What was tried and spent for it is told once."""

    made: Broadcast
    tried: list[list[Attempt]] = field(default_factory=list[list[Attempt]])
    """What was tried for it so far."""
    _told: bool = False

    async def told(self, how: Cached, tried: list[list[Attempt]] | None = None) -> Events:
        """It, for one of them. Whoever comes to its end first is told what it took: who began it may have left long before. What another
        replica makes says itself whom it is told to: it was told to that one as to any other. Where nobody comes to its end, the last to
        leave has what was `tried`, if it asks for that.
        """
        try:
            async with aclosing(self.made.follow()) as events:
                async for event in events:
                    match event:
                        case Start(cache=shared):
                            seen = shared or how
                            yield replace(event, cache=seen, attempts=() if seen == "shared" else event.attempts)
                        case Finish():
                            if event.cache not in FREE and self._first():
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
            if tried is not None and self.made.left and self._first():
                tried.extend(self.tried)

    def untold(self) -> None:
        """Whoever was told what it took is none who counts it: the next one is told."""
        self._told = False

    def _first(self) -> bool:
        first, self._told = not self._told, True
        return first


def _nobody() -> None:
    """Nobody is told."""


class Relayed:
    """A flight as other replicas read it: one follower more, from when the first of them asks, whose events go to a log.

    It counts as one until none of them has asked for a while. What is not yet in the log is held up to `MOST`, then it reads no further.
    """

    head = b"1"

    def __init__(self, flight: Flight) -> None:
        self.over = False
        self.findable = True
        self.ending = ReplicaLost.code
        """Also where it is left: whoever reads it all the same asks anew."""
        self.news: Callable[[], None] = _nobody
        self._flight = flight
        self._events: list[Event] = []
        self._first = 0
        """The number of the first event that is still here."""
        self._held = 0
        self._room = asyncio.Event()
        self._until = 0.0
        self._task: asyncio.Task[None] | None = None

    def batches(self, start: int) -> Sequence[Batch]:
        """The events from this one on. Of one that cannot be read from its start any more, those before are let go."""
        if not self.findable:
            past = max(0, start - self._first)
            self._held -= sum(weight(event) for event in self._events[:past])
            del self._events[:past]
            self._first += past
            self._room.set()
        first = max(start, self._first)
        return relay.batches(first, self._events[first - self._first :])

    def hold(self, seconds: float) -> None:
        """Another replica reads it, for so long at least; for no time at all: none does any more."""
        self._until = asyncio.get_running_loop().time() + seconds
        if self._task is None:
            self._task = asyncio.create_task(self._follow())
            self._look(self._task)
        elif not seconds and self._flight.made.followers <= 1:
            self._task.cancel()

    def stop(self) -> None:
        """This replica ends."""
        if self._task is not None:
            self.ending = self.ending and Stopping.code
            self._task.cancel()

    def _look(self, task: asyncio.Task[None]) -> None:
        """Leave, once nobody wants it any more."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._until and self._flight.made.followers <= 1:
            task.cancel()
        elif not self.over:
            loop.call_at(max(self._until, loop.time() + LOOK), self._look, task)

    async def _follow(self) -> None:
        try:
            if not self._flight.made.open:
                raise ReplicaLost  # who asks here would not be given it either
            async with aclosing(self._flight.told("shared")) as events:
                async for event in events:
                    await self._put(event)
        except RouterError as error:
            if error.attempts:  # no log has them
                self._flight.untold()
            self.ending = relay.ending(error)
        finally:
            self.over = True
            self.news()

    async def _put(self, event: Event) -> None:
        self._events.append(event)
        self._held += weight(event)
        if isinstance(event, Finish | Failure):
            self.ending = ""
        self.news()
        while self._held > MOST:
            self.findable = False
            self._room.clear()
            self.news()  # what is written by now is told when more is asked for
            await self._room.wait()
