"""Broadcast: one answer for several followers, each at its own pace. Its buffer is bounded, and the last follower to leave stops it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import pytest

from router.broadcast import Broadcast, weight
from router.errors import Overtaken, Stopping, TargetDown
from router.events import Event, Events, Finish, Start, Text

PIECE = Text("x" * 1000)


class Source:
    """An answer whose events the test supplies one by one."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self.given = 0
        self.closed = False

    def give(self, *events: Event | Exception) -> None:
        """Supply these events, or an exception that the answer raises."""
        for event in events:
            self.queue.put_nowait(event)

    async def answer(self) -> Events:
        """Stream the supplied events. Counts those that were taken, and records that the stream was closed."""
        try:
            while True:
                event = await self.queue.get()
                if isinstance(event, Exception):
                    raise event
                self.given += 1
                yield event
        finally:
            self.closed = True


class Reader:
    """A follower of a broadcast that reads as many events as the test wants."""

    def __init__(self, broadcast: Broadcast) -> None:
        self.events = broadcast.follow()
        self.seen: list[Event] = []

    async def read(self, count: int) -> None:
        """Read this many events."""
        for _ in range(count):
            self.seen.append(await anext(self.events))

    async def rest(self) -> list[Event]:
        """Read to the end, and return all events read so far."""
        async with aclosing(self.events) as events:
            async for event in events:
                self.seen.append(event)
        return self.seen


@asynccontextmanager
async def running(size: int = 1_000_000) -> AsyncGenerator[tuple[Source, Broadcast], None]:
    """Yield a source and the broadcast of its answer, whose buffer holds `size` bytes."""
    source, broadcast = Source(), Broadcast(size)
    broadcast.start(broadcast.take(source.answer()))
    async with asyncio.timeout(240):
        yield source, broadcast


async def turns(count: int = 20) -> None:
    """Give all tasks this many turns of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_every_follower_gets_the_complete_answer() -> None:
    """Followers that join at the start, in the middle or after the end of an answer all get every event from the first on."""
    async with running() as (source, broadcast):
        first, second = Reader(broadcast), Reader(broadcast)
        source.give(Start("a", "m"), Text("One "))
        await first.read(2)
        middle = Reader(broadcast)
        await middle.read(2)
        source.give(Text("two"), Finish("stop"))
        whole = [Start("a", "m"), Text("One "), Text("two"), Finish("stop")]
        assert await asyncio.gather(first.rest(), second.rest(), middle.rest()) == [whole] * 3
        assert await Reader(broadcast).rest() == whole
        assert broadcast.complete


async def test_broadcast_stops_when_its_last_follower_leaves() -> None:
    """An unfinished answer goes on while it has a follower. When the last one leaves, its source is closed and `open` is false."""
    async with running() as (source, broadcast):
        first, second = Reader(broadcast), Reader(broadcast)
        source.give(Start("a", "m"))
        await asyncio.gather(first.read(1), second.read(1))
        await first.events.aclose()
        source.give(Text("One"))
        await second.read(1)
        assert not source.closed
        assert broadcast.open
        await second.events.aclose()
        assert source.closed
        assert not broadcast.open


async def test_finished_answer_is_not_stopped_when_its_followers_leave() -> None:
    """The task of an answer is not cancelled when its followers leave after the last event, and runs to its end."""
    broadcast, done = Broadcast(1000), asyncio.Event()

    async def work() -> None:
        await broadcast.take(answered())
        await asyncio.sleep(0)
        done.set()

    async def answered() -> Events:
        yield Start("a", "m")
        yield Finish("stop")
        await asyncio.sleep(0)  # a provider's stream that is closed

    broadcast.start(work())
    await Reader(broadcast).rest()
    async with asyncio.timeout(240):
        await done.wait()


async def test_slow_follower_delays_no_other_follower() -> None:
    """A fast follower reads to the end while another has read one event; within the buffer's bound the slow one misses nothing."""
    async with running() as (source, broadcast):
        slow, quick = Reader(broadcast), Reader(broadcast)
        source.give(Start("a", "m"))
        await slow.read(1)
        source.give(*[PIECE] * 300, Finish("stop"))
        assert len(await quick.rest()) == 302
        assert len(slow.seen) == 1
        assert len(await slow.rest()) == 302


async def test_slow_follower_beyond_the_buffer_is_overtaken() -> None:
    """A follower that falls behind by more than the buffer holds gets Overtaken, as does a late joiner; the fast one reads on."""
    size = 20 * weight(PIECE)
    async with running(size) as (source, broadcast):
        slow, quick = Reader(broadcast), Reader(broadcast)
        source.give(Start("a", "m"))
        await slow.read(1)
        for _ in range(100):
            source.give(PIECE)
            await quick.read(1)
            assert sum(weight(event) for event in broadcast.events) <= size + weight(PIECE)
        assert not broadcast.open
        with pytest.raises(Overtaken):
            await slow.rest()
        with pytest.raises(Overtaken):
            await Reader(broadcast).rest()
        source.give(Finish("stop"))
        assert len(await quick.rest()) == 102


@pytest.mark.parametrize("readers", [1, 3])
async def test_source_waits_while_all_followers_are_slow(readers: int) -> None:
    """The source is read at most one buffer ahead of its followers, and none of them is overtaken."""
    size = 20 * weight(PIECE)
    async with running(size) as (source, broadcast):
        all_of_them = [Reader(broadcast) for _ in range(readers)]
        source.give(Start("a", "m"), *[PIECE] * 200, Finish("stop"))
        await asyncio.gather(*(reader.read(1) for reader in all_of_them))
        await turns()
        assert source.given <= 25
        for _ in range(20):
            await asyncio.gather(*(reader.read(1) for reader in all_of_them))
        await turns()
        assert 30 <= source.given <= 45
        assert [len(seen) for seen in await asyncio.gather(*(reader.rest() for reader in all_of_them))] == [202] * readers


async def test_follower_gets_the_whole_answer_after_a_slow_one_has_left() -> None:
    """A follower gets the whole answer although a slow one, far behind in a full buffer, has left."""
    async with running(5 * weight(PIECE)) as (source, broadcast):
        slow, other = Reader(broadcast), Reader(broadcast)
        source.give(Start("a", "m"), *[PIECE] * 50, Finish("stop"))
        await asyncio.gather(slow.read(1), other.read(1))
        await turns()
        reading = asyncio.create_task(other.rest())
        await slow.events.aclose()
        assert len(await reading) == 52


@pytest.mark.parametrize("said", [0, 1])
async def test_failure_is_raised_to_every_follower(said: int) -> None:
    """An error of the source, before or after the first event, is raised to every follower, and to one that joins afterwards."""
    async with running() as (source, broadcast):
        readers = [Reader(broadcast) for _ in range(3)]
        source.give(*[Start("a", "m")][:said], TargetDown("a", "status_503"))
        faults = await asyncio.gather(*(reader.rest() for reader in readers), return_exceptions=True)
        assert [type(fault) for fault in faults] == [TargetDown] * 3
        assert [len(reader.seen) for reader in readers] == [said] * 3
        with pytest.raises(TargetDown):
            await Reader(broadcast).rest()


async def test_cancelled_answer_raises_stopping_to_its_followers() -> None:
    """A follower gets Stopping when the task of the answer is cancelled from outside."""
    async with running() as (source, broadcast):
        reader = Reader(broadcast)
        source.give(Start("a", "m"))
        await reader.read(1)
        assert broadcast.task is not None
        broadcast.task.cancel()
        with pytest.raises(Stopping):
            await reader.rest()


async def test_broadcast_of_a_fast_answer_lets_other_tasks_run() -> None:
    """Other tasks of the event loop run while a broadcast takes 1,000 events from an answer that never has to wait."""
    broadcast, turned = Broadcast(10_000_000), 0

    async def answer() -> Events:
        yield Start("a", "m")
        for _ in range(1000):
            yield PIECE
        yield Finish("stop")

    async def counting() -> None:
        nonlocal turned
        while True:
            turned += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(counting())
    broadcast.start(broadcast.take(answer()))
    assert len(await Reader(broadcast).rest()) == 1002
    assert turned > 10
    counter.cancel()
