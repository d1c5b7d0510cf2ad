"""Answers that can be found again: recorded as they come, read by as many viewers as there are, each at its own pace.

An answer that belongs to a chat runs in a task of its own and is recorded as events; whoever asked is its first viewer.
So a page that is opened again finds it, from its start and going on, in whatever dialect it speaks. It is kept for a while
after its end. Who may find it is who asked: recordings are keyed by the caller and its end user, and by the chat.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from router import relay
from router.answering.reply import Sink, conclude
from router.broadcast import Broadcast
from router.config.server import Resume
from router.errors import RouterError, Stopped, Stopping, TooLarge
from router.events import Failure, Finish
from router.journal.entry import Entry
from router.shared import Batch
from router.wire import Heading, Wire

POSTING_S = 2.0
"""The most that the first viewer of a response waits until other replicas can find it. As a rule its model takes longer."""


TOO_LONG = "The answer is longer than answers are kept here (server.resume.size)."


class Recording(Broadcast):
    """An answer, as far as it has come: a sink for its delivery, and the source of its viewers. It waits for its slowest viewer."""

    def __init__(
        self, entry: Entry, heading: Heading, wire: Wire, declared: Resume, asked: bytes | None = None, *, background: bool = False
    ) -> None:
        super().__init__(declared.size, "wait")
        self.entry = entry
        self.background = background
        """True if its client may never view it as it is made: whatever ends it is then an event."""
        self.heading = heading
        self.wire = wire
        """The dialect it was asked for in."""
        self.refused = ""
        """The code of what went wrong before its first event."""
        self.asked = asked
        """The request that it answers, as JSON, for a later one that continues it; None without one, or at another replica."""
        self.log = ""
        """Id among all replicas' recordings, where there are any."""
        self.posted: asyncio.Event | None = None
        """Set once other replicas can find it, or Redis is away; None where its first viewer does not wait for that."""
        self.shared = 0
        """Events of another replica's answer that were in Redis when it was last looked up."""
        self.head = b""
        """The head of its log: data for other replicas, from before its first event."""
        self._grants = declared.grace
        """Seconds that it goes on without a viewer; None where it does not."""
        self._grace: asyncio.TimerHandle | None = None
        self._until = 0.0
        """Time at which it ends, if nobody views it."""
        self._last: Finish | Failure | None = None
        self.expiry: asyncio.TimerHandle | None = None
        """Timer that forgets it, once it is over."""

    def run(self, delivery: Coroutine[object, object, None], ended: Callable[["Recording"], None]) -> None:
        """Run what delivers it, from now on, whoever views it; then call `ended`."""
        self.task = asyncio.create_task(self._run(delivery, ended))

        def done(task: asyncio.Task[None]) -> None:
            if not self.over:  # it was stopped before it took its first step
                delivery.close()
                self.over, self.complete = True, False
                self._tell()
                ended(self)
            if not task.cancelled():
                task.exception()  # it is raised to the viewers

        self.task.add_done_callback(done)

    def holds(self, leave: Callable[[], None]) -> None:
        """Leave the generation at the end of the answer, which may outlive its request."""
        assert self.task is not None
        self.task.add_done_callback(lambda _: leave())

    async def _run(self, delivery: Coroutine[object, object, None], ended: Callable[["Recording"], None]) -> None:
        try:
            await delivery
        except RouterError as error:
            self.refused = error.code
            raise
        except asyncio.CancelledError:
            if self.finished:
                return  # all of it was said: what is cut off comes after that
            if self._last is None:
                self.entry.outcome = "client_left"
                raise
            self.entry.outcome = "stopped" if isinstance(self._last, Finish) else self._last.code
            if not self.begun and not self.background:
                raise
            self.put(self._last)
        finally:
            self.over = True
            self._tell()
            ended(self)

    # What it is delivered to.

    @property
    def findable(self) -> bool:
        """Return whether the answer can be read from its start to its end."""
        return self.complete and (self.begun or not self.over)

    @property
    def held(self) -> int:
        """Bytes that it takes, roughly."""
        return self.size + len(self.asked or b"")

    @property
    def ending(self) -> str:
        """The code of the end, where no event says it; else empty."""
        return "" if self.finished else self.refused or Stopped.code

    def batches(self, start: int) -> Sequence[Batch]:
        """Return the events from this one on, as bytes."""
        made = relay.batches(*self.since(start))
        return [*made[:-1], replace(made[-1], note=self.heading.ending.note)] if made and self.finished else made

    async def _fit(self) -> None:
        if self.background and not self.finished:
            raise TooLarge(TOO_LONG)
        await super()._fit()

    def _finish(self) -> None:
        super()._finish()
        self.heading.ending.noted()

    async def close(self) -> None:
        """Record the end of the answer."""

    def hush(self) -> None:
        """A recording gives no signs of life: its viewers' replies do."""

    # What its viewers do.

    async def write_to(self, sink: Sink) -> None:
        """Write it to a viewer, from its start to its end. Raises what went wrong before its first event."""
        viewer = object()
        self._at[viewer] = 0
        loop = asyncio.get_running_loop()
        if self._grace is not None:
            self._grace.cancel()
        try:
            await self.found_elsewhere()
            while True:
                at = self._at[viewer]
                if events := self._events[at - self._first :]:
                    last = at + len(events)
                    for event in events:
                        sink.put(event)
                        at += 1
                        if at == last or sink.full:
                            self._at[viewer] = at
                            if self._full is not None:
                                self._make_room()
                            await sink.flush()
                elif self.over:
                    break
                else:
                    more = loop.create_future()  # as `_more`, without a call
                    self._waiting.append(more)
                    await more
            if not self.begun and self.task is not None:
                await self._outcome(self.task)
            if not self.finished:  # to close it properly would have it pass for a whole answer
                conclude(sink, Failure(RouterError.code, RouterError.sentence))
        finally:
            del self._at[viewer]
            self._viewer_left()
            sink.hush()
        await sink.close()

    async def found_elsewhere(self) -> None:
        """Wait until other replicas can find a response, for a while at most."""
        if self.posted is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(POSTING_S):
                    await self.posted.wait()

    async def caught_up(self, seconds: float) -> None:
        """Wait until an answer of another replica has the events that were in Redis when it was looked up, for so long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._first + len(self._events) < self.shared and not self.over:
                    await self._more()

    async def _outcome(self, task: asyncio.Task[None]) -> None:
        try:
            await task
        except asyncio.CancelledError:
            if task.cancelled():
                raise (Stopping if isinstance(self._last, Failure) else Stopped) from None
            raise

    async def ended(self) -> None:
        """Wait for its end, however it ends."""
        if self.task is not None:
            await asyncio.wait([self.task])

    def stop(self) -> None:
        """End it: whoever asked wants no more of it."""
        if not self.finished:
            self.heading.ending.stopped = True
        self._end(Finish("other"))

    def fail(self) -> None:
        """End it: the server ends."""
        self._end(Failure(Stopping.code, Stopping.sentence))

    def _end(self, last: Finish | Failure) -> None:
        if not self.over and self.task is not None:
            self._last = last
            self.task.cancel()

    def _viewer_left(self) -> None:
        """Make room where others view it; else end it after its grace."""
        if self._at or self.over or self.task is None:
            self._make_room()
            return
        if self._grants is not None and self.complete:
            self._until = max(self._until, asyncio.get_running_loop().time() + self._grants)
        self._lapse(self.task)

    def hold(self, seconds: float) -> None:
        """Somebody who is no viewer of ours waits for it: it goes on for so long at least, whoever leaves."""
        self._until = max(self._until, asyncio.get_running_loop().time() + seconds)

    def _lapse(self, task: "asyncio.Task[None]") -> None:
        """End an answer that has had no viewer for long enough."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._until:
            self._grace = loop.call_at(self._until, self._lapse, task)
        elif self._last is None:
            # Half of it is nothing to find again: from now on, for it may take a while to end.
            self.complete = self.complete and self.finished
            task.cancel()


Key = tuple[str, str]
"""Owner (`Caller.owner`) and chat of the recording."""


@dataclass(frozen=True, slots=True)
class RecordingBounds:
    """The most recordings that are kept at once, and the most bytes of all of them."""

    number: int = 1000
    size: int = 64 * 1024 * 1024


class Recordings:
    """The recordings that can be found. Bounded in number and in bytes: of those that are over the oldest go first."""

    def __init__(self, bounds: RecordingBounds = RecordingBounds()) -> None:
        self.bounds = bounds
        self._kept: dict[Key, Recording] = {}
        self._running: set[Recording] = set()
        self._bytes = 0
        """Bytes of the recordings that are kept and over."""

    def start(self, key: Key, recording: Recording, delivery: Coroutine[object, object, None], keep: float) -> None:
        """Run an answer.

        It is found by its key until so many seconds after its end; an earlier one of the same chat goes on for its viewers, and is found
        no more.
        """
        self._drop(key)
        self._kept[key] = recording
        self._running.add(recording)

        def ended(recording: Recording) -> None:
            self._running.discard(recording)
            if self._kept.get(key) is not recording:
                return
            self._bytes += recording.held
            self._bound()
            loop = asyncio.get_running_loop()
            recording.expiry = loop.call_later(keep if recording.complete else 0, self._forget, key, recording)

        recording.run(delivery, ended)

    def _bound(self) -> None:
        while len(self._kept) > self.bounds.number or self._bytes > self.bounds.size:
            oldest = next((key for key, one in self._kept.items() if one.over), None)
            if oldest is None:
                return
            self._drop(oldest)

    def _forget(self, key: Key, recording: Recording) -> None:
        if self._kept.get(key) is recording:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None and gone.over:
            self._bytes -= gone.held
            if gone.expiry is not None:
                gone.expiry.cancel()  # it would hold on to it

    def find(self, key: Key) -> Recording | None:
        """The recording of a chat, if this caller asked for it and all of it is there."""
        found = self._kept.get(key)
        return found if found is not None and found.findable else None

    def stop(self, key: Key) -> None:
        """End the answer of a chat, if this caller asked for it and it still runs."""
        if (found := self._kept.get(key)) is not None:
            found.stop()

    def delete(self, key: Key) -> bool:
        """Forget a recording, and end it if it still runs. Whether there was one."""
        found = self.find(key)
        if found is not None:
            found.stop()
            self._drop(key)
        return found is not None

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """Return the tasks that still run."""
        return {recording.task for recording in self._running if recording.task is not None}

    async def close(self) -> None:
        """The server ends: every answer that still runs is told so."""
        running = list(self._running)
        for recording in running:
            recording.fail()
        await asyncio.gather(*(recording.ended() for recording in running))
