"""One answer for several: each gets all of it, at its own pace; what that costs is bounded; the last to leave stops it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import pytest

from router.broadcast import Broadcast, weight
from router.errors import Overtaken, Stopping, TargetDown
from router.events import Event, Events, Finish, Start, Text

PIECE = Text("x" * 1000)


class Source:
    """An answer whose pieces are given out by the test."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self.given = 0
        self.closed = False

    def give(self, *events: Event | Exception) -> None:
        """Say these."""
        for event in events:
            self.queue.put_nowait(event)

    async def answer(self) -> Events:
        """The answer."""
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
    """A follower that can be told to read so many events, or all."""

    def __init__(self, broadcast: Broadcast) -> None:
        self.events = broadcast.follow()
        self.seen: list[Event] = []

    async def read(self, count: int) -> None:
        """Read so many."""
        for _ in range(count):
            self.seen.append(await anext(self.events))

    async def rest(self) -> list[Event]:
        """Read to the end."""
        async with aclosing(self.events) as events:
            async for event in events:
                self.seen.append(event)
        return self.seen


@asynccontextmanager
async def running(size: int = 1_000_000) -> AsyncGenerator[tuple[Source, Broadcast], None]:
    """An answer under way."""
    source, broadcast = Source(), Broadcast(size)
    broadcast.start(broadcast.take(source.answer()))
    async with asyncio.timeout(240):
        yield source, broadcast


async def turns(count: int = 20) -> None:
    """Let everybody do what they can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_every_reader_gets_the_complete_answer() -> None:
    """Whoever comes in the middle, too; and whoever comes once it is over."""
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


async def test_the_last_to_leave_stops_it() -> None:
    """Not the one who began it. It is stopped when the leaving returns; and nobody can join it from then on."""
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


async def test_finished_answer_is_not_stopped_by_its_readers() -> None:
    """Its readers leave with its last event; what is to be done with the whole is done."""
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


async def test_slow_reader_holds_up_no_other() -> None:
    """Within the bound it misses nothing, however far it is behind."""
    async with running() as (source, broadcast):
        slow, quick = Reader(broadcast), Reader(broadcast)
        source.give(Start("a", "m"))
        await slow.read(1)
        source.give(*[PIECE] * 300, Finish("stop"))
        assert len(await quick.rest()) == 302
        assert len(slow.seen) == 1
        assert len(await slow.rest()) == 302


async def test_beyond_the_bound_it_is_overtaken() -> None:
    """The others go on, what is held is bounded; whoever is too late for the start is told so as well."""
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
async def test_answer_waits_when_all_readers_are_slow(readers: int) -> None:
    """It is read from its provider no faster than its quickest reader takes it; nobody is overtaken while none is ahead."""
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


async def test_leaving_reader_holds_up_no_other() -> None:
    """However far it was behind."""
    async with running(5 * weight(PIECE)) as (source, broadcast):
        slow, other = Reader(broadcast), Reader(broadcast)
        source.give(Start("a", "m"), *[PIECE] * 50, Finish("stop"))
        await asyncio.gather(slow.read(1), other.read(1))
        await turns()
        reading = asyncio.create_task(other.rest())
        await slow.events.aclose()
        assert len(await reading) == 52


@pytest.mark.parametrize("said", [0, 1])
async def test_failure_is_raised_to_every_reader(said: int) -> None:
    """Before the first event or after it; and also to whoever joins before it is forgotten."""
    async with running() as (source, broadcast):
        readers = [Reader(broadcast) for _ in range(3)]
        source.give(*[Start("a", "m")][:said], TargetDown("a", "status_503"))
        faults = await asyncio.gather(*(reader.rest() for reader in readers), return_exceptions=True)
        assert [type(fault) for fault in faults] == [TargetDown] * 3
        assert [len(reader.seen) for reader in readers] == [said] * 3
        with pytest.raises(TargetDown):
            await Reader(broadcast).rest()


async def test_answer_stopped_from_outside_ends_its_readers() -> None:
    """The process ends: whoever reads is not left waiting."""
    async with running() as (source, broadcast):
        reader = Reader(broadcast)
        source.give(Start("a", "m"))
        await reader.read(1)
        assert broadcast.task is not None
        broadcast.task.cancel()
        with pytest.raises(Stopping):
            await reader.rest()


async def test_an_answer_that_never_waits_lets_the_loop_turn() -> None:
    """Others get their turn while it is taken."""
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
