"""Request coalescing (single flight): identical concurrent requests share one answer, here and between replicas."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from router import relay
from router.attempt import Attempt, Trail
from router.broadcast import Broadcast
from router.errors import ReplicaLost, RouterError, Stopping, Unanswered
from router.events import FREE, Cached, Events, Failure, Finish, Start
from router.shared import Batch
from router.value import Mutable, field, replace

MAX_FLIGHT_BYTES = 1024 * 1024
"""Bytes of one shared answer that are held while it is in progress. A longer answer is not cached, and has no further followers."""
LEFT_CHECK_INTERVAL_S = 1.0
"""Seconds between two checks whether an answer without readers at other replicas still has a follower here."""


class Flight(Mutable):
    """An answer in progress, shared by identical requests (its followers). One follower is charged for its attempts and its usage."""

    made: Broadcast
    trail: Trail = field(default_factory=Trail)
    charged: bool = False

    async def follow(self, how: Cached, trail: Trail) -> Events:
        """Yield the shared answer's events from its start to one follower. The first follower that reaches the end is charged for it.
        Only that follower gets the attempts in its `trail`. The Finish of all others, and of all here if another replica was charged, has
        `cache="shared"`: its usage is not charged to them. If no follower reaches the end, the last one to leave gets the attempts.
        how: the cache state of this follower's answer: `miss` or `bypass` for the request that began it, `shared` for the others
        """
        try:
            async with aclosing(self.made.follow()) as events:
                async for event in events:
                    match event:
                        case Start(cache=shared):
                            seen = shared or how
                            yield replace(event, cache=seen, attempts=() if seen == "shared" else event.attempts)
                        case Finish():
                            charged = event.cache not in FREE and self._charge(trail, event.attempts)
                            yield replace(event, cache="shared" if not charged else "miss" if how == "shared" else how)
                        case Failure():
                            self._charge(trail, event.attempts)
                            yield event
                        case _:
                            yield event
        except Unanswered:
            self._charge(trail)
            raise
        finally:
            if self.made.left:
                self._charge(trail)

    def _charge(self, trail: Trail, elsewhere: Sequence[Attempt] = ()) -> bool:
        """Add the attempts, and those `elsewhere`, to the trail unless another follower was charged; return whether this one is charged now."""
        if self.charged:
            return False
        self.charged = True
        trail.calls.extend([*self.trail.calls, [*elsewhere]] if elsewhere else self.trail.calls)
        return True


class Relayed(Broadcast):
    """A follower of a shared answer that offers its events as a log to other replicas.
    It stops once neither another replica nor a follower here reads the answer. Up to `MAX_FLIGHT_BYTES` of events wait for the log; then it
    reads no further (backpressure).
    """

    head = b"1"

    def __init__(self, flight: Flight) -> None:
        super().__init__(MAX_FLIGHT_BYTES, "wait")
        self.ending = ReplicaLost.code
        """The end that the log gets if the answer is left: a reader at another replica then asks again."""
        self._flight = flight
        self._until = 0.0
        self._at[self] = 0  # the log is its one follower

    @property
    def findable(self) -> bool:
        """True while no event was dropped: the answer can be read from its start."""
        return self.complete

    def batches(self, start: int) -> Sequence[Batch]:
        """Return the events from number `start` on. Those before it may be dropped from now on: they are in the log."""
        self._at[self] = start
        self._make_room()
        return relay.batches(*self.since(start))

    def hold(self, seconds: float) -> None:
        """Follow the answer for `seconds` more, because another replica reads it; with 0, only for followers here. Returns at once."""
        self._until = asyncio.get_running_loop().time() + seconds
        if self.task is None:
            self.task = asyncio.create_task(self._pass_on())
            self._check_readers(self.task)
        elif not seconds and self._flight.made.followers <= 1:
            self.task.cancel()

    def stop(self) -> None:
        """Stop following the answer, because this replica shuts down; the log then ends with `stopping`. Returns at once."""
        if self.task is not None:
            self.ending = self.ending and Stopping.code
            self.task.cancel()

    def _check_readers(self, task: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() >= self._until and self._flight.made.followers <= 1:
            task.cancel()
        elif not self.over:
            loop.call_at(max(self._until, loop.time() + LEFT_CHECK_INTERVAL_S), self._check_readers, task)

    async def _pass_on(self) -> None:
        trail = Trail()
        try:
            if not self._flight.made.open:
                raise ReplicaLost  # a request here would not be given it either
            async with aclosing(self._flight.follow("shared", trail)) as events:
                async for event in events:
                    self.put(replace(event, attempts=trail.attempts) if isinstance(event, Finish | Failure) else event)
                    await self.flush()
        except RouterError as error:
            self.ending = relay.ending(error)
        finally:
            if trail.calls and not self.finished:
                self._flight.charged = False  # no log has the attempts: the next follower is charged
            self.over = True
            self._wake()

    def _finish(self) -> None:
        super()._finish()
        self.ending = ""
