"""The delivery of one answer: its events go into a sink, until its end or its failure.

While only text arrives, the answer's task sleeps: a read from the provider passes its text on to the client by itself, as long as the
client reads as fast as it comes.
"""

import asyncio

from router.answering.ahead import Ahead
from router.answering.reply import Sink, conclude
from router.chat import Ask
from router.errors import RouterError, TimedOut
from router.events import WORDS, Answer, Events, EventStream, Failure, FastPath, Thought
from router.failover.watch import CURRENT
from router.journal.entry import Entry
from router.journal.log import problems
from router.lifecycle import Deadline


async def deliver(answer: Answer, ask: Ask, deadline: Deadline, entry: Entry, sink: Sink, *, background: bool = False) -> None:
    """Run an answer into a sink until its end, record its events in the entry, and close the sink.

    deadline: that of the whole answer; TimedOut after it
    background: make every error a Failure, since no client waits for a status

    An error before the first event is raised; a later one becomes a Failure in the sink.
    """
    try:
        with deadline:
            await _Delivery(answer(ask), entry, sink)
    except Exception as error:
        if not sink.begun and not background:
            if isinstance(error, TimeoutError):
                raise TimedOut from None
            raise
        match error:
            case TimeoutError():
                failure = Failure(TimedOut.code, TimedOut.sentence)
            case RouterError():
                failure = Failure(error.code, error.public)
            case _:
                problems.exception("an answer failed", extra={"fields": {"request_id": entry.request_id}})
                failure = Failure(RouterError.code, RouterError.sentence)
        if conclude(sink, failure):
            entry.see(failure)
    finally:
        sink.hush()
    await sink.close()


class _Delivery(Ahead):
    """The way of an answer's events into a sink and a request's record, up to their end or an error, which is raised."""

    def __init__(self, events: Events, entry: Entry, sink: Sink) -> None:
        self._events, self._entry, self._sink = events, entry, sink

    async def work(self) -> None:
        """Run the answer, and close its generator at the end."""
        events, sink, see, put, fast, hidden = self._events, self._sink, self._entry.see, self._sink.put, None, None
        ended = False
        if type(events) is EventStream:
            fast, hidden = events.fast, Thought if events.spoken else None
            events = events.source
        try:
            while (event := await anext(events, None)) is not None:  # at its end `async for` would raise an error here
                if event.__class__ is hidden:
                    continue
                see(event)
                put(event)
                if sink.full:
                    self.unsent = False
                    await sink.flush()
                    await asyncio.sleep(0)  # a stream that never waits must not hold the loop
                if fast is not None and event.__class__ in WORDS and (path := fast()) is not None:
                    await self._pass_on(path)
                self.unsent = True
            ended = True
        finally:
            self.unsent = False
            if not ended:
                await events.aclose()

    async def flush(self) -> None:
        """Write what the sink has collected. A client that reads slowly is no provider that is silent."""
        watch = CURRENT.get()
        if watch is not None:
            watch.pause()
        try:
            await self._sink.flush()
        finally:
            if watch is not None:
                watch.resume()
        self._entry.waits()

    async def _pass_on(self, path: FastPath) -> None:
        """Pass on the text of a fast path until it ends. The text of one read is sent before the next read is waited for."""
        self.unsent = False
        passing = _Passing(path, self._entry, self._sink)
        while not passing.over:
            if passing.unsent:
                passing.unsent = False
                await self.flush()
            if (arrival := path.wait(passing)) is not None:
                await arrival
            if not passing.woke:
                passing()  # after a timeout, the end of the body, or text that was there already
            passing.woke = False
            if passing.error is not None:
                error, passing.error = passing.error, None  # its traceback has this frame: the two would hold each other
                raise error


class _Passing:
    """Passes on the words of a fast path within the read that brought them, while the answer's task sleeps.

    unsent: True if the sink has words for the task to flush
    over: True if the path has ended, and the generator must be resumed
    error: what went wrong within a read, for the task to raise
    woke: True if the task has to go on because of one of these
    """

    __slots__ = ("__weakref__", "_hears", "_pass_on", "_take", "error", "over", "unsent", "woke")

    def __init__(self, path: FastPath, entry: Entry, sink: Sink) -> None:
        self._take, self._hears, self._pass_on = path.take, entry.hears, sink.pass_on
        self.unsent = True
        self.over = self.woke = False
        self.error: Exception | None = None

    def __call__(self, piece: bytes = b"") -> bool:
        """Pass on the words of a piece of the body, or of what has arrived. Return False if the task has to go on; True if it may sleep."""
        try:
            if words := self._take(piece):
                self._hears(words)
                if self._pass_on(words):
                    return True
                self.unsent = True
            elif words is None:
                self.over = True
            else:
                return True
        except Exception as error:  # noqa: BLE001 - the task raises it
            self.error = error
        self.woke = True
        return False
