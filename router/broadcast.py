"""An answer that several read: made once, in a task of its own, followed by each at its own pace, from its start.

What it costs is bounded: so many bytes of it are held at once. While it is no longer than that, nobody waits for anybody. Beyond
that its start is let go as it is read: whoever is furthest behind is `Overtaken`, so long as somebody has read everything; where
nobody has, the answer waits. When the last follower leaves, nobody wants it any more, and it is stopped.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import aclosing

from router.errors import Overtaken, Stopping
from router.events import Event, Events, Failure, Finish, Text, Thought, ToolInput

TURN = 64 * 1024
"""Bytes after which the loop turns although the next event is at hand."""
FRAME = 256
"""Bytes an event takes beside its text, roughly."""


def weight(event: Event) -> int:
    """Bytes an event takes, roughly."""
    match event:
        case Text(text) | Thought(text) | ToolInput(_, _, text):
            return FRAME + 2 * len(text)
        case _:
            return FRAME + 2 * len(repr(event))


class Broadcast:
    """One answer, as far as it has come. `size`: bytes of it that are held at most, and one event."""

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
        """Whoever makes it, while there is no room."""
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    # What makes it.

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Make it from now on: `work` has it `take` an answer. It is not stopped once the answer has come to its end."""
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(self._done)

    async def take(self, events: Events) -> None:
        """Take a whole answer. What goes wrong is raised here, and to each follower."""
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
        """Let go of what everybody has read; of who is furthest behind; or wait until one of the two can be done."""
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
            task.exception()  # the followers hear of it

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    # What is known of it.

    @property
    def events(self) -> Sequence[Event]:
        """What is here of it."""
        return self._events

    @property
    def whole(self) -> bool:
        """Whether that is all, from its start."""
        return self._first == 0

    @property
    def open(self) -> bool:
        """Whether it is worth following: whole, and so far no failure."""
        failed = bool(self._events) and isinstance(self._events[-1], Failure)
        return self.whole and not self._stopped and not failed

    @property
    def ended(self) -> bool:
        """Whether it has come to its end, or to one that is none."""
        over = self._task is not None and self._task.done()
        return over or (bool(self._events) and isinstance(self._events[-1], Finish | Failure))

    @property
    def left(self) -> bool:
        """Whether nobody reads it any more, and no more is made of it."""
        return not self._next and self._task is not None and self._task.done()

    @property
    def followers(self) -> int:
        """How many read it just now."""
        return len(self._next)

    # Who reads it.

    async def follow(self) -> Events:
        """All of it, from its start to its end. Overtaken where its start is gone; else raises what it raised."""
        if not self.whole:
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
                    self._make_room()  # whoever is further behind holds up this one
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
        """One follower fewer. Whoever is the last to leave an answer that goes on stops it, and stays until that is done."""
        if not self._next and not self.ended and self._task is not None:
            self._stopped = True
            self._task.cancel()
            await asyncio.wait([self._task])


def _fault(task: asyncio.Task[None]) -> BaseException:
    """Why an answer has no end."""
    if task.cancelled():
        return Stopping()
    error = task.exception()
    assert error is not None, "an answer ended without its end"
    return error.with_traceback(None)  # each of its followers raises it
