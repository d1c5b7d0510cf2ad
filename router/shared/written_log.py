"""A log that this replica writes: which of its events Redis has, and the commands that add the rest."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from router.shared.redis import FREE, Command, Mismatch, Redis, key, milliseconds
from router.value import Value

log = logging.getLogger("router.redis")

WINDOW = 256
"""Batches that Redis keeps, roughly, of a log whose start is dropped: for its present readers."""
GONE = 10.0
"""Seconds for which a log that can no longer be found stays in Redis, for its present readers."""
ROUND = 256 * 1024
"""Bytes of one log that are written at once, plus one batch."""
ATTACHMENT = "asked"
"""Last part of the key of a log's attachment."""

POINT = """
local now = redis.call('GET', KEYS[1])
if now and now > ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
"""The Redis script that points a name at this log, unless at a newer one (a greater id). Returns 1 if it did, else 0."""


class Batch(Value, frozen=True):
    """Encoded events of a log, from number `first` up to but not including `after`. An empty batch has no data.
    note: data about the answer's end beside its last event, in the last batch; else empty
    """

    first: int
    after: int
    data: bytes
    note: bytes = b""


class EventSource(Protocol):
    """The interface of a running answer whose events are written to a log."""

    @property
    def head(self) -> bytes:
        """Return the data about the answer that is known before its first event, encoded."""
        ...

    @property
    def over(self) -> bool:
        """True once no more events will come."""
        ...

    @property
    def findable(self) -> bool:
        """Return whether the log holds the answer from its first event; readers can find it by its name only then."""
        ...

    @property
    def ending(self) -> str:
        """The code of the end that no event describes; empty if an event does. It counts only once the source is over.
        Until then it may hold the code that the log would get if the source was left or stopped now.
        """
        ...

    def batches(self, start: int) -> Sequence[Batch]:
        """Return the events from number `start` on that exist so far, in batches."""
        ...

    def hold(self, seconds: float) -> None:
        """Keep the answer running for `seconds` more, because another replica reads its log; 0: no other replica reads it any more."""

    def stop(self) -> None:
        """Begin to stop the answer, because the caller cancelled it or this replica ends."""


class WrittenLog:
    """A running answer that this replica writes to a stream in Redis, and how much of it is there. Made by `Logs`.
    The source's owner calls `news` whenever the source has more events, or is over; `wake` then schedules a write.

    lasts, keep: seconds that it may take, and seconds that it can be found after its end
    pointer: the key that holds its id, under which readers find it; empty if readers have the id from elsewhere
    attachment: the question that the log answers; empty if no later question may continue from it
    """

    def __init__(
        self,
        replica: str,
        wake: Callable[["WrittenLog"], None],
        name: str,
        number: str,
        source: EventSource,
        *,
        lasts: float,
        keep: float = GONE,
        pointer: str = "",
        attachment: bytes = b"",
    ) -> None:
        self._lasts, self.keep, self._pointer, self._attachment = lasts, keep, pointer, attachment
        self.id = number
        self.name = name
        self.source = source
        self.done = False  # true once the log is complete in Redis, or was given up
        self.over_at: float | None = None
        self.readers: dict[str, float] = {}  # replica that reads the log → time until which its last message counts
        self.posted = asyncio.Event()  # set once the log can be found in Redis, or Redis is away or refuses it
        self._attached_to = key(name, number, ATTACHMENT)
        self._attached = 0  # bytes of the attachment that are in Redis
        self._replica, self._wake = replica, wake
        self._stream = key(name, self.id)
        self._count = 0  # events that are in Redis
        self._headed = self._pointed = self._ended = False
        self._doubt = False  # true if the state in Redis has to be looked up
        self._refusals = 0

    def news(self) -> None:
        """Schedule the writing of what the source has new: more events, or its end. Returns at once."""
        self._wake(self)

    def doubt(self) -> None:
        """Note that Redis may have lost the log: the next write first looks up what is there."""
        self._doubt = True
        self.news()

    async def sync(self, redis: Redis) -> None:
        """Write about ROUND bytes of what Redis lacks of the log: attachment, head, events, end. If more is left, schedule another write.
        Raises Away if the outcome is not certain. If Redis refuses the log three times, it is given up.
        """
        if self._doubt:
            await self._look_up(redis)
        if not self._headed and len(self._attachment) - self._attached > ROUND:
            await self._attach(redis)
            return
        over = self.source.over  # read before the events: any that come after this are for the next time
        commands = self._opening()
        count, size, more = self._count, 0, False
        for batch in self.source.batches(self._count):
            if more := size > ROUND:
                break
            noted = ("z", batch.note) if batch.note else ()
            commands.append(self._append(f"{batch.after}-0", "f", batch.first, "e", batch.data, *noted))
            count, size = batch.after, size + len(batch.data)
        if over and not more:
            commands += self._closing(count)
        elif self._pointed and not self.source.findable:
            commands += self._unpoint()
        self._doubt = True
        answers = await redis.ask_all(commands)
        # An append without an answer: its stream is gone.
        self._doubt = any(answer is None or isinstance(answer, Mismatch) for answer in answers)
        if self._doubt:
            self._refused()
            return
        self._refusals = 0
        self._count, self._headed, self.done = count, True, over and not more
        self.posted.set()
        if more:
            self.news()

    async def _attach(self, redis: Redis) -> None:
        self._doubt = True
        answers = await redis.ask_all(self._attaching())
        if any(isinstance(answer, Mismatch) for answer in answers):
            self._refused()
            return
        self._doubt = False
        self._attached += ROUND
        self.news()

    def _attaching(self) -> list[Command]:
        """Return the commands that write the next ROUND bytes of the attachment; an empty list once all of it is in Redis."""
        piece = self._attachment[self._attached : self._attached + ROUND]
        if not piece:
            return []
        return [("SETRANGE", self._attached_to, self._attached, piece), ("PEXPIRE", self._attached_to, milliseconds(self._lasts))]

    def _opening(self) -> list[Command]:
        if self._headed:
            return []
        return [
            *self._attaching(),
            ("XADD", self._stream, "0-1", "h", self.source.head, "r", self._replica),
            ("PEXPIRE", self._stream, milliseconds(self._lasts)),
            *(self._point(self._lasts) if self.source.findable else ()),
        ]

    def _append(self, number: str, *fields: str | bytes | int) -> Command:
        bound = () if self.source.findable or self.source.over else ("MAXLEN", "~", WINDOW)
        return ("XADD", self._stream, "NOMKSTREAM", *bound, number, *fields)

    def _closing(self, count: int) -> list[Command]:
        keep = self.keep if self.source.findable else GONE
        made = [self._append(f"{count}-2", "x", code)] if (code := self.source.ending) and not self._ended else []
        made += self._point(keep) if self.source.findable else self._unpoint()
        made.append(("PEXPIRE", self._stream, milliseconds(keep)))
        if self._attachment:
            made.append(("PEXPIRE", self._attached_to, milliseconds(keep)))
        return made

    def _point(self, seconds: float) -> Sequence[Command]:
        self._pointed = bool(self._pointer)
        return [("EVAL", POINT, 1, self._pointer, self.id, milliseconds(seconds))] if self._pointer else []

    def _unpoint(self) -> Sequence[Command]:
        self._pointed = False
        return [("EVAL", FREE, 1, self._pointer, self.id)] if self._pointer else []

    async def _look_up(self, redis: Redis) -> None:
        """Read from Redis which events, head and end of the log are there; the attachment is written anew."""
        try:
            found = cast("list[tuple[bytes, object]]", await redis.ask("XREVRANGE", self._stream, "+", "-", "COUNT", 1))
        except Mismatch:
            self._refused()
            found = []
        last, _, kind = found[0][0].decode().partition("-") if found else ("0", "", "")
        self._count, self._headed, self._ended = int(last), bool(found), kind == "2"
        self._attached = 0

    def _refused(self) -> None:
        """Count a refusal by Redis, and schedule another write after the first two; the third gives the log up, with a warning."""
        self._refusals += 1
        if self._refusals < 3:
            self.news()
            return
        self.done = True
        self.posted.set()
        log.warning("an answer is not shared: redis refuses it", extra={"fields": {"needs": "Redis 6.2 or newer, and its own keys"}})
