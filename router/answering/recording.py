"""Answers that can be found again: recorded as they come, read by as many viewers as there are, each at its own pace.

An answer that belongs to a chat runs in a task of its own and is recorded as events; whoever asked is its first viewer.
So a page that is opened again finds it, from its start and going on, in whatever dialect it speaks. It is kept for a while
after its end. Who may find it is who asked: recordings are keyed by the caller and its end user, and by the chat.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass

from router.answering.reply import Sink, conclude
from router.config.server import Resume
from router.errors import RouterError, Stopped, Stopping
from router.events import Event, Failure, Finish, Text, Thought, ToolInput
from router.journal.entry import Entry
from router.wire import Heading, Wire

UNTOLD = 64 * 1024
"""Bytes after which viewers are told although the next event is at hand."""
FRAME = 256
"""Bytes an event takes beside its text, roughly."""


def weight(event: Event) -> int:
    """Bytes an event takes, roughly."""
    match event:
        case Text(text) | Thought(text) | ToolInput(_, _, text):
            return FRAME + 2 * len(text)
        case _:
            return FRAME + 2 * len(repr(event))


class Recording:
    """An answer, as far as it has come: a sink for its delivery, and the source of its viewers."""

    def __init__(self, entry: Entry, heading: Heading, wire: Wire, declared: Resume, asked: bytes | None = None) -> None:
        self.entry = entry
        self.heading = heading
        self.wire = wire
        """The dialect it was asked for in."""
        self.complete = True
        """True while all of it is there, from the start."""
        self.over = False
        self.finished = False
        """True once its last event ends it."""
        self.refused = ""
        """The code of what went wrong before its first event."""
        self.size = 0
        self.asked = asked
        """The request that it answers, as JSON, for a later one that continues it; None without one, or at another replica."""
        self.log = ""
        """Id among all replicas' recordings, where there are any."""
        self.news: Callable[[], None] | None = None
        """Told whenever its viewers are."""
        self._untold = 0
        self._declared = declared
        self._events: list[Event] = []
        self._first = 0
        """The number of the first event that is still here."""
        self._at: dict[object, int] = {}
        """Each viewer's next event, by number."""
        self._changed: list[asyncio.Future[None]] = []
        self.task: asyncio.Task[None] | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._until = 0.0
        """Time at which it ends, if nobody views it."""
        self._last: Finish | Failure | None = None
        self.expiry: asyncio.TimerHandle | None = None
        """Timer that forgets it, once it is over."""

    def start(self, delivery: Coroutine[object, object, None], ended: Callable[["Recording"], None]) -> None:
        """Run what delivers it, from now on, whoever views it; then tell."""
        self.task = asyncio.create_task(self._run(delivery, ended))

        def done(task: asyncio.Task[None]) -> None:
            if not self.over:  # it was stopped before it took its first step
                delivery.close()
                self.over, self.complete = True, False
                self._tell()
                ended(self)
            if not task.cancelled():
                task.exception()  # a viewer hears of it, by `follow`

        self.task.add_done_callback(done)

    def holds(self, pins: ExitStack) -> None:
        """Close these with the end of the answer: it may outlive its request, and needs its generation for as long."""
        assert self.task is not None
        self.task.add_done_callback(lambda _: pins.close())

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
            if not self.begun:
                raise
            self.put(self._last)
        finally:
            self.over = True
            self._tell()
            ended(self)

    # What it is delivered to.

    @property
    def begun(self) -> bool:
        """Return whether there was an event."""
        return self._first > 0 or bool(self._events)

    @property
    def findable(self) -> bool:
        """Return whether the answer can be read from its start to its end."""
        return self.complete and (self.begun or not self.over)

    @property
    def held(self) -> int:
        """Bytes that it takes, roughly."""
        return self.size + len(self.asked or b"")

    @property
    def full(self) -> bool:
        """Return whether viewers should be woken now, or no more should be taken."""
        return self._untold > UNTOLD or self.size > self._declared.size

    def since(self, number: int) -> tuple[int, list[Event]]:
        """The events from this one on, or from the first that is still here; and the number of the first of them."""
        first = max(number, self._first)
        return first, self._events[first - self._first :]

    def put(self, event: Event) -> None:
        """Take an event."""
        self._events.append(event)
        match event:
            case Text(text):
                taken = FRAME + 2 * len(text)  # as nearly always, without a call
            case Finish() | Failure():
                taken = weight(event)
                self.finished = True
                self.heading.ending.noted()
            case _:
                taken = weight(event)
        self.size += taken
        self._untold += taken

    async def flush(self) -> None:
        """Tell the viewers. One that is too long to be kept is let go from its start, as fast as its slowest viewer reads."""
        self._tell()
        while self.size > self._declared.size:
            self.complete = False
            read = min(self._at.values(), default=self._first + len(self._events)) - self._first
            self.size -= sum(weight(event) for event in self._events[:read])
            del self._events[:read]
            self._first += read
            if self.size > self._declared.size:
                await self._change()

    async def close(self) -> None:
        """Record the end of the answer."""

    def hush(self) -> None:
        """A recording gives no signs of life: its viewers' replies do."""

    # What its viewers do.

    async def follow(self, sink: Sink) -> None:
        """Write it to a viewer, from its start to its end. Raises what went wrong before its first event."""
        viewer = object()
        self._at[viewer] = 0
        loop = asyncio.get_running_loop()
        if self._grace is not None:
            self._grace.cancel()
        try:
            while True:
                at = self._at[viewer]
                if events := self._events[at - self._first :]:
                    last = at + len(events)
                    for event in events:
                        sink.put(event)
                        at += 1
                        if at == last or sink.full:
                            self._at[viewer] = at
                            if not self.complete:
                                self._tell()  # there is room now
                            await sink.flush()
                elif self.over:
                    break
                else:
                    change = loop.create_future()
                    self._changed.append(change)
                    await change
            if not self.begun and self.task is not None:
                await self._outcome(self.task)
            if not self.finished:  # to close it properly would have it pass for a whole answer
                conclude(sink, Failure(RouterError.code, RouterError.sentence))
        finally:
            del self._at[viewer]
            self._left()
            sink.hush()
        await sink.close()

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

    def _left(self) -> None:
        """A viewer is gone; nobody is left to be waited for, or there is room now."""
        if self._at or self.over or self.task is None:
            self._tell()
            return
        if self._declared.grace is not None and self.complete:
            self._until = max(self._until, asyncio.get_running_loop().time() + self._declared.grace)
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

    async def _change(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.append(future)
        await future

    def _tell(self) -> None:
        self._untold = 0
        if self.news is not None:
            self.news()
        changed, self._changed = self._changed, []
        for future in changed:
            if not future.done():
                future.set_result(None)


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

        recording.start(delivery, ended)

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
