"""An answer for several readers (followers): produced once, in a task of its own, and read by each follower from its start.

The buffer is bounded in bytes. While the answer fits, no follower waits for another. Events of a longer answer are dropped once all
followers have read them. The source then waits for its slowest follower (backpressure), or drops that follower, as its `Rule` says.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Literal

from router.errors import Overtaken, Stopping
from router.events import Event, Events, Failure, Finish, Produced, Text, Thought, ToolInput

TURN = 64 * 1024
"""Bytes put since the last wake-up above which `full` is true, and bytes read after which `take` gives other tasks a turn."""
FRAME = 256
"""Bytes an event takes beside its text, roughly."""

Rule = Literal["wait", "overtake"]
"""The rule for an answer that does not fit into its buffer.

wait: its source waits for the slowest follower; without a follower the buffer is dropped
overtake: the slowest follower is removed (`Overtaken`) once another has read everything; without a follower the source waits for one
"""


def weight(event: Event) -> int:
    """Return the approximate bytes of memory that an event takes."""
    match event:
        case Text(text) | Thought(text) | ToolInput(_, _, text):
            return FRAME + 2 * len(text)
        case Produced(_, data):
            return FRAME + len(data)
        case _:
            return FRAME + 2 * len(repr(event))


class Broadcast:
    """A running answer: the buffer of its events, and the position of each follower.

    bound: approximate bytes above which `take` and `flush` drop events, drop a follower or wait; `put` alone never checks it
    """

    def __init__(self, bound: int, rule: Rule = "overtake") -> None:
        self.size: int = 0
        """Bytes in the buffer, roughly."""
        self.complete = True
        """True while the buffer has the answer from its start: false once an event was dropped, or with `wait` once over its bound."""
        self.finished = False
        """True once a Finish or Failure was put."""
        self.over = False
        """True once no more events will come, as the owner of the answer sets it, for the log of the answer."""
        self.news: Callable[[], None] | None = None
        """Called whenever the followers are woken, and when the source waits for room; None for no call."""
        self.task: asyncio.Task[None] | None = None
        self._bound, self._rule = bound, rule
        self._events: list[Event] = []
        self._first = 0
        """The number of the first event in the buffer."""
        self._at: dict[object, int] = {}
        """Follower → number of its next event."""
        self._waiting: list[asyncio.Future[None]] = []
        """Futures of followers that have read everything and wait for more."""
        self._full: asyncio.Future[None] | None = None
        """Future that is completed once there may be room; None unless the source waits for that."""
        self._unpublished = 0
        """Bytes put since the followers were last woken."""
        self._stopped = False

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Start `work`, which calls `take`, as the task of this answer. It is cancelled if the last follower leaves before the answer's end."""
        self.task = asyncio.create_task(work)
        self.task.add_done_callback(self._done)

    async def take(self, events: Events) -> None:
        """Publish the events of a source to the followers until it ends. While the buffer exceeds its bound, do as `flush` does."""
        since = 0
        async with aclosing(events):
            async for event in events:
                self.put(event)
                since += self._unpublished
                self._wake()
                if self.size > self._bound:
                    await self._fit()
                if since > TURN:
                    since = 0
                    await asyncio.sleep(0)

    def put(self, event: Event) -> None:
        """Append an event to the buffer, without waking the followers. After a Finish or Failure the answer is `finished`."""
        self._events.append(event)
        match event:
            case Text(text):
                taken = FRAME + 2 * len(text)  # as nearly always, without a call
            case _:
                taken = weight(event)
                if isinstance(event, Finish | Failure):
                    self._finish()
        self.size += taken
        self._unpublished += taken

    def _finish(self) -> None:
        self.finished = True

    async def flush(self) -> None:
        """Wake the followers, and bring the buffer within its bound: drop events, drop a follower, or wait, as the rule says."""
        self._wake()
        if self.size > self._bound:
            await self._fit()

    async def _fit(self) -> None:
        """Bring the buffer within its bound: see `Rule`."""
        while self.size > self._bound:
            end = self._first + len(self._events)
            read = min(self._at.values(), default=self._first if self._rule == "overtake" else end) - self._first
            if read or self._rule == "wait":
                self.complete = False
            if read:
                self.size -= sum(weight(event) for event in self._events[:read])
                del self._events[:read]
                self._first += read
            elif self._rule == "overtake" and end in self._at.values():
                del self._at[min(self._at, key=self._at.__getitem__)]
            else:
                if self.news is not None:
                    self.news()
                self._full = asyncio.get_running_loop().create_future()
                await self._full
                self._full = None

    def _done(self, task: asyncio.Task[None]) -> None:
        self._wake()
        if not task.cancelled():
            task.exception()  # it is raised to the followers

    def _wake(self) -> None:
        self._unpublished = 0
        if self.news is not None:
            self.news()
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    @property
    def events(self) -> Sequence[Event]:
        """The events still in the buffer, oldest first, without those that were dropped."""
        return self._events

    @property
    def begun(self) -> bool:
        """True once the first event was put."""
        return self._first > 0 or bool(self._events)

    @property
    def full(self) -> bool:
        """True if `flush` is due: over 64 KiB came since the followers were woken, or the buffer exceeds its bound."""
        return self._unpublished > TURN or self.size > self._bound

    @property
    def open(self) -> bool:
        """True while a new follower can get the whole answer: its start is held, and it was not stopped and has not failed."""
        return self.complete and not self._stopped and not isinstance(self._events[-1] if self._events else None, Failure)

    @property
    def left(self) -> bool:
        """True if there is no follower and the task has ended; False if it was never started."""
        return not self._at and self.task is not None and self.task.done()

    @property
    def followers(self) -> int:
        """The number of current followers."""
        return len(self._at)

    def since(self, number: int) -> tuple[int, list[Event]]:
        """Return (number of the first returned event, events): those from `number` on; fewer if the buffer begins later."""
        first = max(number, self._first)
        return first, self._events[first - self._first :]

    async def follow(self) -> Events:
        """Stream the answer from its start up to and including its Finish or Failure. The last follower to leave cancels an unfinished answer.

        Raises Overtaken if its start was dropped or this follower fell too far behind.
        If the answer ends without a Finish or Failure, the error of its task is raised; Stopping if the task was cancelled.
        """
        if not self.complete:
            raise Overtaken
        follower = object()
        self._at[follower] = 0
        try:
            while True:
                number = self._at.get(follower)
                if number is None:
                    raise Overtaken
                if number < self._first + len(self._events):
                    event = self._events[number - self._first]
                    self._at[follower] = number + 1
                    self._make_room()
                    yield event
                    if isinstance(event, Finish | Failure):
                        return
                elif self.task is not None and self.task.done():
                    if self.task.cancelled():
                        raise Stopping
                    error = self.task.exception()
                    assert error is not None, "an answer ended without its end"
                    raise error.with_traceback(None)  # each of its followers raises it
                else:
                    self._make_room()  # a slower follower may hold up this one
                    await self._more()
        finally:
            self._at.pop(follower, None)
            if not self._at and not self.finished and self.task is not None and not self.task.done():
                self._stopped = True
                self.task.cancel()
                await asyncio.wait([self.task])

    async def _more(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def _make_room(self) -> None:
        if self._full is not None and not self._full.done():
            self._full.set_result(None)
