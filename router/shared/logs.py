"""Logs: answers that one replica writes as they come, and any other replica reads from the start and follows.

    pointsman:{<name>}:now          the id of the log last begun under this name, where readers find it by the name
    pointsman:{<name>}:<id>         a stream: 0-1 the head, then n-0 for each batch, where n counts the events written up to its end
    pointsman:{<name>}:<id>:asked   its attachment: the question, if a later one may continue from it; written before the head
    pointsman:{<replica>}:alive     exists while this replica is alive
    pointsman:{<replica>}:inbox     a stream: messages of other replicas

No request waits for a write. Events stay with their source until Redis has them. The stream shows which: no event is in it twice. One
read waits for all streams that are followed. An offered log is written only once another replica asks for it.
"""

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import cast

from router.errors import ReplicaLost
from router.shared.follower import Deleted, Follower, Found, LogEnd, entry
from router.shared.redis import Away, Command, Mismatch, Redis, key, milliseconds
from router.shared.written_log import ATTACHMENT, GONE, Batch, EventSource, WrittenLog

log = logging.getLogger("router.redis")

BEAT, LEASE = 0.3, 1.2
"""Seconds between two signs of life of a replica, and seconds for which one is valid."""
LIVENESS_CHECK_S = 0.25
"""Seconds between two checks whether the replicas whose logs are read here are alive."""
ABSENT, MISSED = 2, 2
"""Checks in a row at which a replica, and a stream, may be missing before it is lost: a busy machine sends and checks late."""
WRITE_INTERVAL_S = 0.05
"""Seconds between two writes, while all that is to be written goes out at once."""
HOLD_S = 3.0
"""Seconds for which a reader's message that it reads a log counts. It is repeated three times in that time."""
PATIENCE, LAST = 5.0, 0.5
"""Seconds that a reader waits for a Redis that is away, and that a replica has for its last writes when it ends."""
ROOM = 64
"""Batches that may wait for their reader; a stream with more is not read for now."""
AT_ONCE = 32
"""Logs that are written in one round: after an outage Redis gets them bit by bit, and requests have their turn in between."""
SETTLE = 3.0
"""Seconds after Redis lost this replica's sign of life in which no other replica counts as lost: each reconnects in its own time."""
WAITING = 1000
"""Messages that an inbox may hold, roughly."""

DELETED = "~"
"""A value in place of a log's id, sorted after all ids: the name was deleted, and nothing is found under it."""


def new_id() -> str:
    """Return a new id of a log: unique, and in the order of time over all replicas, as far as their clocks agree."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


def _log_if_failed(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the resume log has stopped", exc_info=error)


class Logs:
    """The logs of answers in Redis: those that this process writes for other replicas, and those of other replicas that it reads.
    Two tasks in the background write and read; they start at the first use.
    `hold`: seconds for which a reader's message that it reads a log counts; the reader repeats it in time.
    """

    def __init__(self, redis: Redis, hold: float = HOLD_S) -> None:
        self._held_for = hold
        self.id = secrets.token_hex(8)  # the id of this replica: new at each start of a process
        self._redis = redis
        self._tasks: list[asyncio.Task[None]] = []
        self._offered: dict[str, WrittenLog] = {}  # id → log that is written once another replica asks for it
        self._written: dict[str, WrittenLog] = {}
        self._behind = False  # true if the last round left logs unwritten
        self._dirty: OrderedDict[WrittenLog, None] = OrderedDict()  # logs with something to write, in the order it came
        self._late_at = 0.0
        self._news = asyncio.Event()
        self._departures = 0
        self._beat_at = 0.0
        self._settled_at = 0.0
        self._followers: list[Follower] = []
        self._inbox_last = "0-0"
        self._look_at = 0.0
        self._absent: dict[str, int] = {}  # replica → checks in a row at which it was missing
        self._hold_at = 0.0

    @property
    def closed(self) -> bool:
        """Return whether the connection to Redis is closed."""
        return self._redis.closed

    # Writing.

    def write(self, name: str, source: EventSource, *, lasts: float, keep: float, attachment: bytes = b"") -> WrittenLog:
        """Return a new log of this source at once. It is written in the background, and becomes the log that is found under this name.
        lasts: seconds that it can take at most, and be found if this replica is lost
        keep: seconds that it is found after its end
        attachment: bytes stored beside the log for as long as it is kept; other replicas read them by `attachment`
        """
        self._start()
        pointer, number = key(name, "now"), new_id()
        made = WrittenLog(self.id, self.wake, name, number, source, lasts=lasts, keep=keep, pointer=pointer, attachment=attachment)
        self._begin(made)
        return made

    def offer(self, name: str, number: str, source: EventSource, *, lasts: float) -> WrittenLog:
        """Return a log of this source at once. It is written only after another replica asks for its id; `source.hold` is called then.
        number: the log's id. lasts: seconds that it can take at most
        """
        self._start()
        made = self._offered[number] = WrittenLog(self.id, self.wake, name, number, source, lasts=lasts)
        return made

    def withdraw(self, number: str) -> None:
        """Withdraw the offered log with this id; without effect once it is being written."""
        self._offered.pop(number, None)

    def _begin(self, written: WrittenLog) -> None:
        """Start writing a log, ahead of the logs that wait already."""
        self._written[written.id] = written
        self._dirty[written] = None
        self._dirty.move_to_end(written, last=False)
        self._news.set()

    def wake(self, written: WrittenLog) -> None:
        """Schedule the writing of a log that has more events, or its end; ignored once the log is complete or given up. Returns at once."""
        if not written.done:
            self._dirty[written] = None
            self._news.set()

    def _start(self) -> None:
        if not self._tasks:
            self._departures = self._redis.departures
            self._tasks = [asyncio.create_task(self._keep_writing()), asyncio.create_task(self._keep_reading())]
            for task in self._tasks:
                task.add_done_callback(_log_if_failed)

    async def _keep_writing(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._redis.closed:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._beat_at):
                    await self._news.wait()
            self._news.clear()
            try:
                await self._write_round()
            except Away:
                self._behind = False
                self._beat_at = loop.time() + BEAT
                for one in self._written.values():
                    one.posted.set()
                await self._until_back(BEAT)
            self._forget_late()
            # Logs left over have waited a turn already: at a fixed pace a busy replica would fall further behind with each.
            await asyncio.sleep(0 if self._behind else WRITE_INTERVAL_S)

    async def _write_round(self) -> None:
        """Renew this replica's sign of life if it is due, and write up to AT_ONCE of the logs that have news. Raises Away."""
        now = asyncio.get_running_loop().time()
        if self._departures != self._redis.departures:
            departures = self._redis.departures
            if not await self._redis.ask("EXISTS", key(self.id, "alive")):
                self._settled_at = now + SETTLE
            self._departures, self._beat_at = departures, now
            for one in self._written.values():
                one.doubt()
        if now >= self._beat_at:
            await self._redis.ask("SET", key(self.id, "alive"), 1, "PX", milliseconds(LEASE))
            self._beat_at = now + BEAT
        # A log that got news while its last events were being written is here again.
        dirty: list[WrittenLog] = []
        while self._dirty and len(dirty) < AT_ONCE:
            one, _ = self._dirty.popitem(last=False)
            if not one.done:
                dirty.append(one)
        behind = bool(self._dirty)
        ends = await asyncio.gather(*(one.sync(self._redis) for one in dirty), return_exceptions=True)
        for one, end in zip(dirty, ends, strict=True):
            if isinstance(end, Away):
                self.wake(one)
                continue
            if isinstance(end, Exception):  # a log that cannot be written must not keep the others from it
                log.warning("a log is written no more", extra={"fields": {"error": type(end).__name__}})
                one.done = True
                one.posted.set()
            elif isinstance(end, BaseException):
                raise end
            if one.done:
                del self._written[one.id]
        if any(isinstance(end, Away) for end in ends):
            raise Away
        self._behind = behind
        if self._behind:
            self._news.set()

    def _forget_late(self) -> None:
        """Give up logs that Redis still lacks in part `keep` seconds after their answer ended: they could not be found any more.
        All are looked at every BEAT seconds only: rounds of a replica that is behind follow each other at once.
        """
        now = asyncio.get_running_loop().time()
        if now < self._late_at:
            return
        self._late_at = now + BEAT
        for one in [one for one in self._written.values() if one.source.over]:
            if one.over_at is None:
                one.over_at = now
            elif now - one.over_at > one.keep:
                one.done = True  # later news of it has no effect
                self._dirty.pop(one, None)
                del self._written[one.id]

    # Finding and reading.

    async def find(self, name: str) -> Found | None:
        """Return the newest log under this name, of any replica; None without one, or if its head is missing.
        Raises Away if Redis is away, Mismatch if another kind of value is there, and Deleted if the log was deleted.
        """
        self._start()
        number = await self._redis.ask("GET", key(name, "now"))
        if not isinstance(number, bytes):
            return None
        if (found := number.decode("ascii", "replace")) == DELETED:
            raise Deleted
        stream = key(name, found)
        answers = await self._redis.ask_all([("XRANGE", stream, "0-1", "0-1"), ("XREVRANGE", stream, "+", "-", "COUNT", 1)])
        if any(isinstance(answer, Mismatch) for answer in answers):
            raise Mismatch
        first, last = cast("list[list[tuple[bytes, dict[bytes, bytes]]]]", answers)
        if not first or not first[0][1].keys() >= {b"h", b"r"}:
            return None
        fields, count = first[0][1], int(last[0][0].partition(b"-")[0]) if last else 0
        return Found(name, found, fields[b"r"].decode("ascii", "replace"), fields[b"h"], count)

    async def attachment(self, found: Found) -> bytes | None:
        """Return the attachment of a log; None if it has none, or it is no longer kept. Raises Away if Redis is away."""
        value = await self._redis.ask("GET", key(found.name, found.id, ATTACHMENT))
        return value if isinstance(value, bytes) else None

    async def read(self, found: Found) -> AsyncGenerator[Batch | LogEnd, None]:
        """Yield the batches of a log from its start and as they come, and its LogEnd, if it has one. A batch may repeat earlier events.
        The generator does not end by itself: its reader closes it. It raises ReplicaLost if events are missing, or if no more can come
        because the writer or Redis is gone. It raises Away if Redis goes away before the first read.

        The read of an offered log (`Found.head` is empty) has its writer begin to write it. Its first batch is empty and says that it was
        begun. Until the first event the reader does not wait for an absent Redis; after that it waits PATIENCE seconds.
        """
        self._start()
        offered = not found.head
        follower = Follower(key(found.name, found.id), found.replica, (0, 0 if offered else 1), 0.0 if offered else PATIENCE)
        self._followers.append(follower)
        count = 0
        try:
            await self._send([*self._message(self.id, ""), *self._message(found.replica, f"hold {found.id}")])
            while True:
                while follower.waiting:
                    batch = follower.waiting.popleft()
                    if len(follower.waiting) == ROOM - 1:
                        await self._send(self._message(self.id, ""))  # ends the running read: the next one has this stream again
                    if isinstance(batch, Batch):
                        if batch.first > count:
                            raise ReplicaLost
                        count = max(count, batch.after)
                        if count:
                            follower.patience = PATIENCE
                    yield batch
                if follower.lost:
                    raise ReplicaLost if follower.looked else Away
                follower.news.clear()
                await follower.news.wait()
        finally:
            self._followers.remove(follower)
            if offered and all(one.stream != follower.stream for one in self._followers):
                await self._send(self._message(found.replica, f"leave {found.id}"))

    async def ask_again(self, found: Found) -> bool:
        """Send the writer of a log another message that it is read. Return whether the writer's sign of life is in Redis. Raises Away."""
        alive, *_ = await self._redis.ask_all([("EXISTS", key(found.replica, "alive")), *self._message(found.replica, f"hold {found.id}")])
        return bool(alive)

    async def stop(self, found: Found) -> None:
        """Send the replica that writes the log a request to stop its source; does not wait for that. Raises Away if Redis is away."""
        await self._redis.ask_all(self._message(found.replica, f"stop {found.id}"))

    async def delete(self, name: str, found: Found | None, keep: float) -> None:
        """Mark the name as deleted for `keep` seconds: `find` raises Deleted meanwhile. Raises Away if that is not certain.
        found: the log to delete too, with its attachment; present readers may read it for GONE seconds more. None: only the name
        """
        commands: list[Command] = [("SET", key(name, "now"), DELETED, "PX", milliseconds(keep))]
        if found is not None:
            commands += [("PEXPIRE", key(name, found.id), milliseconds(GONE)), ("DEL", key(name, found.id, ATTACHMENT))]
        await self._redis.ask_all(commands)

    async def _send(self, messages: Sequence[Command]) -> None:
        with suppress(Away):
            await self._redis.ask_all(messages)

    def _message(self, replica: str, text: str) -> tuple[Command, Command]:
        inbox = key(replica, "inbox")
        return ("XADD", inbox, "MAXLEN", "~", WAITING, "*", "m", text, "r", self.id), ("PEXPIRE", inbox, milliseconds(60))

    async def _keep_reading(self) -> None:
        try:
            while not self._redis.closed:
                try:
                    await self._check_writers()
                    await self._read_streams()
                except Mismatch:
                    await self._lose_wrong_keys()
                    await asyncio.sleep(LIVENESS_CHECK_S)
                except Away:
                    for follower in self._followers:
                        if not follower.looked or self._redis.away_for > follower.patience:
                            self._lose(follower)
                    await self._until_back(LIVENESS_CHECK_S)
                    await asyncio.sleep(WRITE_INTERVAL_S)
        finally:
            for follower in self._followers:
                self._lose(follower)

    async def _check_writers(self) -> None:
        """Check that the replicas whose logs are read here are alive, and renew the message to them that their logs are read."""
        now = asyncio.get_running_loop().time()
        if not self._followers or now < self._look_at:
            return
        self._look_at = now + LIVENESS_CHECK_S
        replicas = list(dict.fromkeys(follower.replica for follower in self._followers))
        commands: list[Command] = [("EXISTS", key(replica, "alive")) for replica in replicas]
        begun = [follower for follower in self._followers if follower.last > (0, 0)]
        commands += [("EXISTS", follower.stream) for follower in begun]
        if now >= self._hold_at:
            self._hold_at = now + self._held_for / 3
            for one in self._followers:
                commands += self._message(one.replica, f"hold {one.stream.rpartition(':')[2]}")
        answers = await self._redis.ask_all(commands)
        settled = now > self._settled_at and self._departures == self._redis.departures
        missing = [replica for replica, alive in zip(replicas, answers, strict=False) if alive == 0 and settled]
        self._absent = {replica: self._absent.get(replica, 0) + 1 for replica in missing}
        gone = {replica for replica, looks in self._absent.items() if looks > ABSENT}
        # A replica that has yet to begin a log may have just started. A stream that Redis has lost is written anew, if it goes on.
        for follower, there in zip(begun, answers[len(replicas) :], strict=False):
            follower.missed = follower.missed + 1 if there == 0 and settled else 0
            follower.doomed = follower.replica in gone or follower.missed > MISSED

    async def _read_streams(self) -> None:
        """Wait for new entries: queue those of followed streams for followers with room, and carry out those of this replica's inbox."""
        inbox = key(self.id, "inbox")
        reading = [one for one in self._followers if len(one.waiting) < ROOM]
        last: dict[str, tuple[int, int]] = {}
        for one in reading:  # several may follow one stream: it is read from the earliest on
            last[one.stream] = min(one.last, last.get(one.stream, one.last))
        asked = {stream: f"{count}-{kind}" for stream, (count, kind) in last.items()}
        wait = 0.001 if any(one.doomed for one in reading) else LIVENESS_CHECK_S if self._followers else 2 * BEAT
        found = dict(await self._redis.listen({inbox: self._inbox_last, **asked}, wait))
        for number, fields in found.pop(inbox, ()):
            self._inbox_last = number
            self._carry_out(*(fields.get(name, b"").decode("ascii", "replace") for name in (b"m", b"r")))
        for one in reading:
            one.looked = True
            for number, fields in found.get(one.stream, ()):
                count, _, kind = number.partition("-")
                if (place := (int(count), int(kind))) > one.last:
                    one.last = place
                    one.waiting.append(entry(place[0], fields))
                    one.news.set()
            if one.doomed and one.stream not in found:
                self._lose(one)

    def _carry_out(self, message: str, reader: str) -> None:
        """Carry out a replica's message about a log: `hold` keeps the answer running for a time, and begins the log if it is only offered.
        `leave` withdraws that replica's hold, and `stop` stops the answer. An unknown log or word is passed over.
        """
        word, _, number = message.partition(" ")
        if word == "hold" and (offered := self._offered.pop(number, None)) is not None:
            self._begin(offered)
        if (written := self._written.get(number)) is None:
            return
        now = asyncio.get_running_loop().time()
        if word == "stop":
            written.source.stop()
        elif word == "hold":
            written.readers[reader] = now + self._held_for
            written.source.hold(self._held_for)
        elif word == "leave":
            written.readers.pop(reader, None)
            written.source.hold(max(0.0, max(written.readers.values(), default=now) - now))

    def _lose(self, follower: Follower) -> None:
        follower.lost = True
        follower.news.set()

    async def _lose_wrong_keys(self) -> None:
        """Mark the followers of keys that are not streams as lost, and delete this replica's inbox if it is not a stream."""
        with suppress(Away):
            streams = (key(self.id, "inbox"), *(one.stream for one in self._followers))
            inbox, *others = await self._redis.ask_all([("XLEN", stream) for stream in streams])
            for follower, answer in zip(list(self._followers), others, strict=False):
                if isinstance(answer, Mismatch):
                    follower.looked = True
                    self._lose(follower)
            if isinstance(inbox, Mismatch):
                await self._redis.ask("DEL", key(self.id, "inbox"))

    async def _until_back(self, seconds: float) -> None:
        with suppress(TimeoutError, Away):
            async with asyncio.timeout(seconds):
                await self._redis.back()

    async def close(self) -> None:
        """Stop the tasks and all sources, and write the rest of the logs, for LAST seconds at most; what is left then is lost."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in self._written.values():
            one.source.stop()
            self.wake(one)
        with suppress(Away, TimeoutError):
            async with asyncio.timeout(LAST):
                while self._written:
                    self._news.clear()
                    await self._write_round()
                    if self._written and not self._dirty:
                        await self._news.wait()  # a stopped source has yet to come to its end
        with suppress(Away):
            if self._tasks:
                await self._redis.ask("DEL", key(self.id, "alive"), key(self.id, "inbox"))
