"""Logs of answers in a real Redis, through outages: one replica writes, other replicas read."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import pytest

from router.config.values import Secret
from router.errors import ReplicaLost
from router.shared import Batch, Found, LogEnd, Logs, Redis, new_id
from router.shared.logs import ABSENT, HOLD_S
from router.shared.redis import Command, key
from tests.shared.conftest import PATIENT
from tests.support.redis_cli import keys, redis_command, until
from tests.support.services import RedisServer, redis_server


class Counting:
    """A source of a log whose events are the numbers from 0. It records the calls of `hold` and `stop`."""

    head = b"head"

    def __init__(self) -> None:
        self.count = 0
        self.first = 0
        """Number of the first event that is still held."""
        self.over = False
        self.findable = True
        self.ending = ""
        self.held: list[float] = []
        self.stopped = False

    def batches(self, start: int) -> Sequence[Batch]:
        """Return the numbers from `start` on, or from the first that is left, in batches of three."""
        first = max(start, self.first)
        return [
            Batch(at, after := min(at + 3, self.count), b" ".join(b"%d" % one for one in range(at, after)))
            for at in range(first, self.count, 3)
        ]

    def hold(self, seconds: float) -> None:
        """Record that the log asked to keep the source's events for this many seconds."""
        self.held.append(seconds)

    def stop(self) -> None:
        """Record the call."""
        self.stopped = True


@asynccontextmanager
async def logs(server: RedisServer, url: str = "") -> AsyncGenerator[tuple[Logs, Redis], None]:
    """Yield the logs of one replica, and its connection to Redis."""
    redis = Redis(Secret(url or server.url), timing=PATIENT)
    redis.hold()
    await redis.looked_for()
    made = Logs(redis)
    try:
        yield made, redis
    finally:
        await made.close()
        redis.release()
        await redis.close()


@asynccontextmanager
async def two() -> AsyncGenerator[tuple[RedisServer, Logs, Logs], None]:
    """Yield a Redis server and the logs of two replicas that share it."""
    async with AsyncExitStack() as open_ones:
        server = await open_ones.enter_async_context(redis_server())
        one, _ = await open_ones.enter_async_context(logs(server))
        other, _ = await open_ones.enter_async_context(logs(server))
        yield server, one, other


async def found(where: Logs, name: str = "n") -> Found:
    """Return the log under this name as soon as it can be found."""
    async with asyncio.timeout(240):
        while (one := await where.find(name)) is None:
            await asyncio.sleep(0.01)
    return one


async def read(where: Logs, what: Found, most: int = 10**9) -> list[int]:
    """Return the numbers of a log, up to its end or `most` of them. Fails if one is missing or comes twice."""
    numbers: list[int] = []
    async with asyncio.timeout(240), aclosing(where.read(what)) as batches:
        async for batch in batches:
            if isinstance(batch, LogEnd):
                break
            assert batch.first <= len(numbers)
            numbers += [int(one) for one in batch.data.split()][len(numbers) - batch.first :]
            assert len(numbers) == batch.after
            if len(numbers) >= most:
                break
    return numbers


async def test_shared_log_is_read_in_order_and_each_event_once() -> None:
    """Two readers of a log, one from its beginning and one after its end, each get all 1,400 events in order and once."""
    async with two() as (_, one, other):
        source = Counting()
        written = one.write("n", source, lasts=60, keep=60)
        log = await found(other)
        assert log.head == b"head"
        early = asyncio.create_task(read(other, log))
        for _ in range(200):
            source.count += 7
            written.news()
            if source.count % 70 == 0:
                await asyncio.sleep(0.01)
        source.over, source.ending = True, "stopped"
        written.news()
        assert await early == await read(other, log) == list(range(1400))


async def test_offered_log_is_written_to_redis_when_a_replica_begins_to_read_it() -> None:
    """An offered log is written to Redis only when another replica reads it; the reader then gets all of it."""
    async with two() as (server, one, other):
        source = Counting()
        source.count = 100
        number = new_id()
        written = one.offer("n", number, source, lasts=60)
        one.write("other", Counting(), lasts=60, keep=60)
        await found(other, "other")
        assert not [name for name in await keys(server) if number in name]
        assert source.held == []
        reading = asyncio.create_task(read(other, Found("n", number, one.id)))
        await until(lambda: len(source.held) > 0)
        source.count, source.over, source.ending = 200, True, "stopped"
        written.news()
        assert await reading == list(range(200))
        assert not [name for name in await keys(server) if name.endswith("{n}:now")]


async def test_withdrawn_log_is_not_written_for_its_reader() -> None:
    """A reader of a log whose offer was withdrawn gets nothing, and the source's `hold` is not called."""
    async with two() as (_, one, other):
        source = Counting()
        one.offer("n", number := new_id(), source, lasts=60)
        one.withdraw(number)
        log = other.read(Found("n", number, one.id))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await anext(log)
        assert source.held == []


async def test_source_of_an_offered_log_is_released_when_its_last_reader_leaves() -> None:
    """The source of a log is released with `hold(0)` when the last of two reading replicas leaves, and not before."""
    async with two() as (server, one, other), logs(server) as (third, _):
        source = Counting()
        source.count = 3
        one.offer("n", number := new_id(), source, lasts=60)
        readings = [asyncio.create_task(read(where, Found("n", number, one.id))) for where in (other, third)]
        await until(lambda: len(source.held) > 1)
        readings[0].cancel()
        await until(lambda: 0 < source.held[-1] < HOLD_S)
        readings[1].cancel()
        await until(lambda: source.held[-1] == 0)
        await asyncio.gather(*readings, return_exceptions=True)


async def test_reader_of_a_deleted_redis_stream_gets_replica_lost() -> None:
    """When the stream of a log without new events is deleted from Redis, its reader gets ReplicaLost, although the writer is alive."""
    async with two() as (server, one, other):
        source = Counting()
        source.count = 3
        written = one.write("n", source, lasts=60, keep=60)
        log = await found(other)
        reading = asyncio.create_task(read(other, log))
        await until(lambda: bool(source.held))
        await redis_command(server, "DEL", key("n", written.id))
        with pytest.raises(ReplicaLost):
            await reading


async def test_log_that_cannot_be_written_does_not_block_others(caplog: pytest.LogCaptureFixture) -> None:
    """A log whose source raises an exception is given up with a warning in the log; other logs are still written."""

    class Broken(Counting):
        def batches(self, start: int) -> Sequence[Batch]:
            raise ValueError(start)

    async with two() as (_, one, other):
        one.write("broken", Broken(), lasts=60, keep=60)
        await until(lambda: "a log is written no more" in caplog.text)
        source = Counting()
        source.count, source.over, source.ending = 9, True, "stopped"
        one.write("n", source, lasts=60, keep=60)
        assert await read(other, await found(other)) == list(range(9))


async def test_repeated_end_of_a_source_does_not_stop_the_log_writer() -> None:
    """Sources that report their end many times do not keep other logs from being written."""
    async with two() as (_, one, other):
        for number in range(30):
            source = Counting()
            source.count, source.over, source.ending = 5, True, "stopped"
            written = one.write(f"n{number}", source, lasts=60, keep=60)
            for _ in range(20):
                written.news()
                await asyncio.sleep(0.001)
        assert await read(other, await found(other, "n29")) == list(range(5))


async def test_late_news_of_an_abandoned_log_does_not_stop_the_log_writer() -> None:
    """News of a log that was dropped while Redis was away does not keep a later log from being written."""
    async with two() as (server, one, other):
        source = Counting()
        source.count = 5
        written = one.write("late", source, lasts=60, keep=0.01)
        await found(other, "late")
        await server.daemon.kill()
        source.over = True
        written.news()
        await until(lambda: written.id not in one._written)
        written.news()
        await server.daemon.start()
        await asyncio.gather(one._redis.back(), other._redis.back())
        source = Counting()
        source.count, source.over, source.ending = 5, True, "stopped"
        one.write("next", source, lasts=60, keep=60)
        assert await read(other, await found(other, "next")) == list(range(5))


async def test_latest_log_of_a_name_is_found() -> None:
    """The log that was begun last under a name is the one that is found, even if Redis gets it before an older one."""
    async with two() as (server, one, other):
        first = one.write("n", Counting(), lasts=60, keep=60)
        await found(other)
        await asyncio.sleep(0.002)
        second = other.write("n", Counting(), lasts=60, keep=60)
        async with asyncio.timeout(240):
            while (await found(one)).id != second.id:
                await asyncio.sleep(0.01)
        await server.daemon.kill()
        await server.daemon.start()
        for written in (second, first):
            written.doubt()
        async with asyncio.timeout(240):
            while len([name for name in await keys(server) if first.id in name or second.id in name]) < 2:
                await asyncio.sleep(0.01)
        assert (await found(one)).id == second.id


@pytest.mark.parametrize("what", ["restarted", "paused", "full", "key deleted"])
async def test_reader_of_a_log_misses_no_event_over_a_redis_outage(what: str) -> None:
    """A reader gets each of 3,000 events once, in order, although Redis is restarted, paused or full, or the log's key is deleted."""
    async with two() as (server, one, other):
        source = Counting()
        written = one.write("n", source, lasts=60, keep=60)
        log = await found(other)
        reading = asyncio.create_task(read(other, log, 3000))
        for number in range(300):
            source.count += 10
            written.news()
            await asyncio.sleep(0.005)
            if number == 100:
                match what:
                    case "restarted":
                        await server.daemon.kill()
                        await server.daemon.start()
                    case "paused":
                        server.daemon.pause()
                    case "full":
                        await redis_command(server, "CONFIG", "SET", "maxmemory", "1")
                    case _:
                        await redis_command(server, "DEL", key("n", written.id))
            elif number == 200:
                server.daemon.resume()
                await redis_command(server, "CONFIG", "SET", "maxmemory", "0")
        assert await reading == list(range(3000))


async def test_unfinished_log_of_a_stopped_replica_raises_replica_lost() -> None:
    """A reader of a log that has no end gets ReplicaLost after the writing replica has stopped."""
    async with redis_server() as server, logs(server) as (other, _):
        async with logs(server) as (one, _):
            source = Counting()
            written = one.write("n", source, lasts=60, keep=60)
            log = await found(other)
            assert log.replica == one.id
            source.count = 5000
            written.news()
            reading = asyncio.create_task(read(other, log))
            await asyncio.sleep(0)
        with pytest.raises(ReplicaLost):
            await reading


async def test_replica_with_two_missing_heartbeats_in_a_row_is_not_counted_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log of a replica whose heartbeat is missing at ABSENT (two) checks in a row, again and again, is read to its end."""
    async with two() as (_, one, other):
        source = Counting()
        written = one.write("n", source, lasts=60, keep=60)
        ask_all, looks = other._redis.ask_all, [0]

        async def late(commands: Sequence[Command]) -> list[Any]:
            answers = [*await ask_all(commands)]
            if commands[0] == ("EXISTS", key(one.id, "alive")):
                looks[0] += 1
                answers[0] = int(looks[0] % (ABSENT + 1) == 0)
            return answers

        monkeypatch.setattr(other._redis, "ask_all", late)
        reading = asyncio.create_task(read(other, await found(other)))
        async with asyncio.timeout(240):
            while looks[0] < 3 * (ABSENT + 1) and not reading.done():
                source.count += 3
                written.news()
                await asyncio.sleep(0.05)
        source.over, source.ending = True, "stopped"
        written.news()
        assert await reading == list(range(source.count))


async def test_log_with_a_gap_or_unreadable_entry_raises_replica_lost() -> None:
    """A log without its start, an entry whose number is unreadable, and a key that is not a stream each raise ReplicaLost."""
    async with two() as (server, one, other):
        source = Counting()
        source.count, source.first, source.findable = 30, 9, True
        one.write("n", source, lasts=60, keep=60)
        with pytest.raises(ReplicaLost):
            await read(other, await found(other))
        await redis_command(server, "XADD", key("x", "0"), "3-0", "f", "zero", "e", "?")
        with pytest.raises(ReplicaLost):
            await read(other, Found("x", "0", one.id, b""))
        await redis_command(server, "SET", key("y", "0"), "no stream")
        still = asyncio.create_task(read(other, await found(other), 0))
        with pytest.raises(ReplicaLost):
            await read(other, Found("y", "0", one.id, b""))
        with pytest.raises(ReplicaLost):
            await still


async def test_log_that_dropped_its_start_serves_only_its_present_readers() -> None:
    """A log that drops its start is still read to its end by its present readers, but no new reader finds it."""
    async with two() as (server, one, other):
        source = Counting()
        written = one.write("n", source, lasts=60, keep=60)
        log = await found(other)
        reading = asyncio.create_task(read(other, log))
        source.findable = False
        for _ in range(100):
            source.count += 30
            written.news()
            await asyncio.sleep(0.01)
        async with asyncio.timeout(240):
            while await other.find("n") is not None:
                await asyncio.sleep(0.01)
        assert int(await redis_command(server, "XLEN", key("n", written.id))) < 1000
        source.over, source.ending = True, "stopped"
        written.news()
        assert await reading == list(range(3000))
        await until(lambda: written.done)
        assert 0 < int(await redis_command(server, "PTTL", key("n", written.id))) <= 10_000


async def test_remote_reader_holds_the_source_and_can_stop_it() -> None:
    """A reader at another replica makes the writing replica call the source's `hold`, and `Logs.stop` there its `stop`."""
    async with two() as (_, one, other):
        source = Counting()
        one.write("n", source, lasts=60, keep=60)
        log = await found(other)
        reading = asyncio.create_task(read(other, log))
        await until(lambda: bool(source.held))
        await other.stop(log)
        await until(lambda: source.stopped)
        source.over, source.ending = True, "stopped"
        reading.cancel()


async def test_log_whose_redis_key_was_overwritten_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """A log whose key was overwritten in Redis is given up with one warning; other logs are still written."""
    async with two() as (server, one, other):
        source = Counting()
        source.count = 5
        written = one.write("n", source, lasts=60, keep=60)
        await until(lambda: not one._dirty)
        await redis_command(server, "DEL", key("n", written.id))
        await redis_command(server, "SET", key("n", written.id), "mine")
        source.count = 10
        written.news()
        await until(lambda: written.done)
        assert await redis_command(server, "GET", key("n", written.id)) == "mine"
        right = Counting()
        right.count, right.over, right.ending = 5, True, "stopped"
        one.write("m", right, lasts=60, keep=60)
        assert await read(other, await found(other, "m")) == list(range(5))
    assert [record.message for record in caplog.records] == ["an answer is not shared: redis refuses it"]


async def test_logs_work_with_the_documented_redis_rights() -> None:
    """A Redis user with only the rights that docs/redis.md lists suffices to write, read and stop logs."""
    async with redis_server() as server:
        rights = ("~pointsman:*", "+@read", "+@write", "+@connection", "+@scripting")
        await redis_command(server, "ACL", "SETUSER", "app", "on", ">word", *rights)
        url = server.url.replace("redis://", "redis://app:word@")
        async with logs(server, url) as (one, _), logs(server, url) as (other, redis):
            source = Counting()
            source.count = 5
            written = one.write("n", source, lasts=60, keep=60)
            log = await found(other)
            reading = asyncio.create_task(read(other, log))
            await other.stop(log)
            await until(lambda: source.stopped)
            source.over, source.ending = True, "stopped"
            written.news()
            assert await reading == list(range(5))
            await until(lambda: written.done)
            assert redis.departures == 0
