"""An answer for several readers: made once, in a task of its own, and followed by each reader at its own pace, from its start.

Its buffer is bounded in bytes. While the answer fits, no reader waits for another. A longer answer loses its start as it is read
(backpressure): the slowest follower is `Overtaken`, as long as another has read everything; if none has, the answer waits. When the last
follower leaves, the answer is stopped.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import aclosing

from router.errors import Overtaken, Stopping
from router.events import Event, Events, Failure, Finish, Produced, Text, Thought, ToolInput

TURN = 64 * 1024
"""Bytes after which the loop gets a turn although the next event is at hand."""
FRAME = 256
"""Bytes an event takes beside its text, roughly."""


def weight(event: Event) -> int:
    """Return the bytes that an event takes, roughly."""
    match event:
        case Text(text) | Thought(text) | ToolInput(_, _, text):
            return FRAME + 2 * len(text)
        case Produced(_, data):
            return FRAME + len(data)
        case _:
            return FRAME + 2 * len(repr(event))


class Broadcast:
    """An answer as far as it has come. `size`: bytes of it that are held at most, and one event."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held = 0
        self._events: list[Event] = []
        self._first = 0
        """The number of the first event that is still here."""
        self._next: dict[object, int] = {}
        """Each follower's next event, by number."""
        self._waiting: list[asyncio.Future[None]] = []
        """Followers that have read everything."""
        self._full: asyncio.Future[None] | None = None
        """Completed once there is room; set while the answer waits for it."""
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    # Its source.

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Start `work`, which has this Broadcast `take` an answer. Once the answer is complete it is not stopped any more."""
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(self._done)

    async def take(self, events: Events) -> None:
        """Take a complete answer. An error is raised here, and to each follower."""
        since = 0
        async with aclosing(events):
            async for event in events:
                taken = weight(event)
                self._events.append(event)
                self._held += taken
                since += taken
                self._tell()
                while self._held > self._size:
                    await self._room()
                if since > TURN:
                    since = 0
                    await asyncio.sleep(0)

    async def _room(self) -> None:
        """Drop events that every follower has read; else drop the slowest follower; else wait until one of the two is possible."""
        slowest = min(self._next, key=self._next.__getitem__, default=None)
        if read := self._next.get(slowest, self._first) - self._first:
            self._held -= sum(weight(event) for event in self._events[:read])
            del self._events[:read]
            self._first += read
        elif self._first + len(self._events) in self._next.values():
            self._next.pop(slowest)
        else:
            self._full = asyncio.get_running_loop().create_future()
            await self._full
            self._full = None

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tell()
        if not task.cancelled():
            task.exception()  # it is raised to the followers

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    # Its state.

    @property
    def events(self) -> Sequence[Event]:
        """The events that are held."""
        return self._events

    @property
    def complete_so_far(self) -> bool:
        """True while the start of the answer is still held."""
        return self._first == 0

    @property
    def open(self) -> bool:
        """True while the answer is worth following: its start is held, and it has not failed."""
        failed = bool(self._events) and isinstance(self._events[-1], Failure)
        return self.complete_so_far and not self._stopped and not failed

    @property
    def ended(self) -> bool:
        """True once the answer has finished, failed or was stopped."""
        over = self._task is not None and self._task.done()
        return over or (bool(self._events) and isinstance(self._events[-1], Finish | Failure))

    @property
    def left(self) -> bool:
        """True once the answer has no followers and is made no more."""
        return not self._next and self._task is not None and self._task.done()

    @property
    def followers(self) -> int:
        """The number of current followers."""
        return len(self._next)

    # Its followers.

    async def follow(self) -> Events:
        """Stream the answer from its start to its end. Overtaken if its start is gone; otherwise raises the error that ended it."""
        if not self.complete_so_far:
            raise Overtaken
        follower = object()
        self._next[follower] = 0
        try:
            while True:
                number = self._next.get(follower)
                if number is None:
                    raise Overtaken
                if number < self._first + len(self._events):
                    event = self._events[number - self._first]
                    self._next[follower] = number + 1
                    self._make_room()
                    yield event
                    if isinstance(event, Finish | Failure):
                        return
                elif self._task is not None and self._task.done():
                    break
                else:
                    self._make_room()  # a slower follower may hold up this one
                    await self._more()
            raise _fault(self._task)
        finally:
            self._next.pop(follower, None)
            await self._left()

    async def _more(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def _make_room(self) -> None:
        if self._full is not None and not self._full.done():
            self._full.set_result(None)

    async def _left(self) -> None:
        """Stop an unfinished answer if the last follower has left, and wait until it has stopped."""
        if not self._next and not self.ended and self._task is not None:
            self._stopped = True
            self._task.cancel()
            await asyncio.wait([self._task])


def _fault(task: asyncio.Task[None]) -> BaseException:
    """Return the error of an answer that has no end."""
    if task.cancelled():
        return Stopping()
    error = task.exception()
    assert error is not None, "an answer ended without its end"
    return error.with_traceback(None)  # each of its followers raises it
