"""Recordings of answers that can be resumed: each is recorded as it comes, and read by any number of clients at their own pace.

An answer that belongs to a chat runs in a task of its own; the client that asked is its first reader. A page that is opened again gets it
from its beginning and live, in any wire. Its key has the caller with its end user: another caller does not find it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress

from router import relay
from router.answering.reply import Sink, conclude
from router.broadcast import FRAME, Broadcast
from router.config.server import Resume
from router.errors import RouterError, Stopped, Stopping, TooLarge
from router.events import Failure, Finish, Words
from router.journal.entry import Entry
from router.shared import Batch
from router.value import replace
from router.wire import Heading, Wire

POSTING_S = 2.0
"""Seconds that the first reader of a response waits at most until other replicas can find it. The model usually takes longer."""
TOO_LONG = "The answer is longer than answers are kept here (server.resume.size)."


class Recording(Broadcast):
    """The events of an answer so far: a sink for its delivery and a source for its readers.

    Beyond `declared.size` bytes, events that all readers have read are dropped (without a reader, all), and the delivery waits for the
    slowest reader. A background response fails with TooLarge instead.
    """

    def __init__(
        self, entry: Entry, heading: Heading, wire: Wire, declared: Resume, asked: bytes | None = None, *, background: bool = False
    ) -> None:
        super().__init__(declared.size, "wait")
        self.entry = entry
        self.background = background
        """True for a background response: every error is recorded as an event, since no client may be reading."""
        self.heading = heading
        self.wire = wire
        """The wire of the request that asked."""
        self.refused = ""
        """Code of the error before the first event; empty without one."""
        self.asked = asked
        """The input items of its request as JSON, for a request that continues it; None if not stored, and for another replica's answer."""
        self.log = ""
        """Id of its log in Redis; empty without a Redis."""
        self.posted: asyncio.Event | None = None
        """Set once other replicas can find it, or Redis is away; None if its first reader does not wait for that."""
        self.shared = 0
        """Number of another replica's events that were in Redis at the last look-up; 0 for this replica's own answer."""
        self.head = b""
        """The head of its log: packed data for other replicas, written before the first event."""
        self._grants = declared.grace
        """Seconds that it goes on without a reader (`resume.grace`); None for not at all."""
        self._grace: asyncio.TimerHandle | None = None
        self._until = 0.0
        """Loop time until which it goes on without a reader."""
        self._last: Finish | Failure | None = None
        self._idle: dict[object, tuple[Sink, asyncio.Future[bool]]] = {}
        """Reader → its sink, and the future for which its task waited last; its result is true if words that came meanwhile are unsent."""
        self.expiry: asyncio.TimerHandle | None = None
        """Timer that deletes the recording after its end: in `keep` seconds, or at once if it is incomplete."""

    def run(self, delivery: Coroutine[object, object, None], ended: Callable[["Recording"], None]) -> None:
        """Start the task that delivers the answer, which needs no reader, and return at once. The task calls `ended` at its end."""
        self.task = asyncio.create_task(self._run(delivery, ended))

        def done(task: asyncio.Task[None]) -> None:
            if not self.over:  # it was stopped before it took its first step
                delivery.close()
                self.over, self.complete = True, False
                self._wake()
                ended(self)
            if not task.cancelled():
                task.exception()  # it is raised to the viewers

        self.task.add_done_callback(done)

    def holds(self, leave: Callable[[], object]) -> None:
        """Have `leave` called at the end of the answer, which may outlive its request; return at once."""
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
            self._wake()
            ended(self)

    @property
    def findable(self) -> bool:
        """Return whether all events from the first are there and the answer did not fail before its first one."""
        return self.complete and (self.begun or not self.over)

    @property
    def held(self) -> int:
        """Bytes of its events and its request, roughly."""
        return self.size + len(self.asked or b"")

    @property
    def ending(self) -> str:
        """Return the code of an answer that ended without a Finish or Failure: that of its error, or `stopped`. Empty with one of them."""
        return "" if self.finished else self.refused or Stopped.code

    def batches(self, start: int) -> Sequence[Batch]:
        """Return the events from number `start` on, packed for its log. Once the answer is over, the last batch has the note of its end."""
        made = relay.batches(*self.since(start))
        return [*made[:-1], replace(made[-1], note=self.heading.ending.note)] if made and self.finished else made

    async def _fit(self) -> None:
        if self.background and not self.finished:
            raise TooLarge(TOO_LONG)
        await super()._fit()

    def _finish(self) -> None:
        super()._finish()
        self.heading.ending.noted()

    def pass_on(self, words: Sequence[Words]) -> bool:
        """Record words, and write them to the readers that wait for them; False if `flush` has to bring the buffer within its bound.

        A reader's task sleeps on if its client takes the words at once. Other readers are woken.
        """
        end = self._first + len(self._events)
        self._events += words
        for word in words:
            self.size += FRAME + 2 * len(word.text)
        for reader, (sink, more) in self._idle.items():
            if more.done():
                continue
            try:
                if self._at[reader] == end:
                    self._at[reader] = end + len(words)
                    if sink.pass_on(words):
                        continue
                more.set_result(True)
            except Exception as error:  # noqa: BLE001 - the reader's task raises it
                more.set_exception(error)
        if self._waiting:
            self._wake()
        elif self.news is not None:
            self.news()
        return self.size <= self._bound

    def _wake(self) -> None:
        super()._wake()
        for _, more in self._idle.values():
            if not more.done():
                more.set_result(False)

    async def close(self) -> None:
        """Do nothing: the end is recorded by its event."""

    def hush(self) -> None:
        """Do nothing: a recording sends no keep-alives; its readers' replies do."""

    async def write_to(self, sink: Sink) -> None:
        """Write the answer to one reader, from its beginning to its end, and close the sink.

        Raises the error that came before the first event, which is Stopped or Stopping if the answer was cancelled. An answer that breaks
        off later without its last event ends with an internal Failure for the reader.
        """
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
                    more = loop.create_future()
                    self._idle[viewer] = (sink, more)
                    if await more:
                        await sink.flush()
            if not self.begun and self.task is not None:
                try:
                    await self.task
                except asyncio.CancelledError:
                    if self.task.cancelled():
                        raise (Stopping if isinstance(self._last, Failure) else Stopped) from None
                    raise
            if not self.finished:  # to close it properly would have it pass for a whole answer
                conclude(sink, Failure(RouterError.code, RouterError.sentence))
        finally:
            del self._at[viewer]
            self._idle.pop(viewer, None)
            self._viewer_left()
            sink.hush()
        await sink.close()

    async def found_elsewhere(self) -> None:
        """Wait until other replicas can find the response, for POSTING_S seconds at most; return at once if it is not shared."""
        if self.posted is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(POSTING_S):
                    await self.posted.wait()

    async def caught_up(self, seconds: float) -> None:
        """Wait, `seconds` at most, until this copy of another replica's answer has the number of events in `shared`, or has ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._first + len(self._events) < self.shared and not self.over:
                    await self._more()

    async def ended(self, within: float | None = None) -> None:
        """Wait until the answer has ended, in whatever way, for `within` seconds at most; its error is not raised."""
        if self.task is not None:
            await asyncio.wait([self.task], timeout=within)

    def stop(self) -> None:
        """Have the answer ended with Finish("other"), since its client stopped it; return at once. No effect on an ended answer.

        Before its first event there is no Finish: its readers get Stopped. A background response has its Finish in any case.
        """
        if not self.finished:
            self.heading.ending.stopped = True
        self._end(Finish("other"))

    def fail(self) -> None:
        """End the answer as `stop` does, but with a Failure (Stopping before the first event), since the server is shutting down."""
        self._end(Failure(Stopping.code, Stopping.sentence))

    def _end(self, last: Finish | Failure) -> None:
        if not self.over and self.task is not None:
            self._last = last
            self.task.cancel()

    def _viewer_left(self) -> None:
        """Release events that only the reader that left needed. If no reader is left, the answer is ended after its grace."""
        if self._at or self.over or self.task is None:
            self._make_room()
            return
        if self._grants is not None and self.complete:
            self._until = max(self._until, asyncio.get_running_loop().time() + self._grants)
        self._lapse(self.task)

    def hold(self, seconds: float) -> None:
        """Keep the answer running for this many seconds at least, for a reader at another replica."""
        self._until = max(self._until, asyncio.get_running_loop().time() + seconds)

    def _lapse(self, task: "asyncio.Task[None]") -> None:
        """Cancel an answer without a reader once its grace is over. Unless it is finished, new readers do not find it from then on."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._until:
            self._grace = loop.call_at(self._until, self._lapse, task)
        elif self._last is None:
            # Half of it is nothing to find again: from now on, for it may take a while to end.
            self.complete = self.complete and self.finished
            task.cancel()


Key = tuple[str, str]
"""Key of a recording: owner (`Caller.owner`) and the id of the chat or response."""


class Recordings:
    """The recordings of this process that can be found by their key. Beyond the bounds the oldest ended ones are dropped first.

    number: how many recordings can be found, running ones included; those are never dropped, so they alone may exceed it
    size: approximate bytes of those that have ended
    """

    def __init__(self, number: int = 1000, size: int = 64 * 1024 * 1024) -> None:
        self.number, self.size = number, size
        self._kept: dict[Key, Recording] = {}
        self._running: set[Recording] = set()
        self._ended: OrderedDict[Key, None] = OrderedDict()
        """Keys of the kept recordings that have ended, in the order of their ends."""
        self._bytes = 0
        """Bytes of the kept recordings that have ended."""

    def start(self, key: Key, recording: Recording, delivery: Coroutine[object, object, None], keep: float) -> None:
        """Start an answer in a task of its own and record it under its key; return at once.

        It can be found until `keep` seconds after its end; only until its end if it is incomplete by then. A full store drops it earlier.
        An earlier recording of the same key goes on for its readers, but is not found.
        """
        self._drop(key)
        self._kept[key] = recording
        self._running.add(recording)

        def ended(recording: Recording) -> None:
            self._running.discard(recording)
            if self._kept.get(key) is not recording:
                return
            self._bytes += recording.held
            self._ended[key] = None
            recording.expiry = asyncio.get_running_loop().call_later(keep if recording.complete else 0, self._drop, key)
            while self._ended and (len(self._kept) > self.number or self._bytes > self.size):
                self._drop(next(iter(self._ended)))

        recording.run(delivery, ended)

    def _drop(self, key: Key) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None and key in self._ended:
            del self._ended[key]
            self._bytes -= gone.held
            if gone.expiry is not None:
                gone.expiry.cancel()  # it would hold on to it

    def find(self, key: Key) -> Recording | None:
        """Return the recording of this key, if it can be read from its first event; else None."""
        return found if (found := self._kept.get(key)) is not None and found.findable else None

    def stop(self, key: Key) -> None:
        """Have the answer of this key stopped, if there is one and it is running; do not wait for its end."""
        if (found := self._kept.get(key)) is not None:
            found.stop()

    def delete(self, key: Key) -> None:
        """Delete the recording of this key, if it can be found, and have it stopped if it is running; do not wait for its end."""
        if (found := self.find(key)) is not None:
            found.stop()
            self._drop(key)

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """Return the tasks of the running answers."""
        return {recording.task for recording in self._running if recording.task is not None}

    async def close(self) -> None:
        """End every running answer with an error, and wait for their ends: the server is shutting down."""
        for recording in (running := list(self._running)):
            recording.fail()
        await asyncio.gather(*(recording.ended() for recording in running))
