"""A real Redis that goes away and returns: which commands wait, for how long, and how it is found again."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from router.config.values import Secret
from router.shared import Away, Mismatch, Redis, RedisTiming
from router.shared.redis import key
from tests.shared.conftest import PATIENT
from tests.support.redis_cli import redis_command, until
from tests.support.services import RedisServer, free_ports, program, redis_server, run

USUAL = RedisTiming()


@asynccontextmanager
async def link(url: str, timing: RedisTiming = USUAL) -> AsyncGenerator[Redis, None]:
    """Yield a connection to the Redis at this address."""
    redis = Redis(Secret(url), timing=timing)
    redis.hold()
    try:
        yield redis
    finally:
        redis.release()
        await redis.close()


@asynccontextmanager
async def linked(*options: str, timing: RedisTiming = USUAL) -> AsyncGenerator[tuple[RedisServer, Redis], None]:
    """Yield a Redis server with these options, and a connection to it that is open."""
    async with redis_server(*options) as server, link(server.url, timing) as redis:
        async with asyncio.timeout(240):
            await redis.back()
        yield server, redis


def refused_at_once(redis: Redis) -> None:
    """Check that a command raises Away without one turn of the event loop."""
    with pytest.raises(Away):
        redis.ask("GET", "a").send(None)


async def test_concurrent_commands_share_one_connection() -> None:
    """Five hundred concurrent commands each get their own answer over a single connection to Redis."""
    async with linked(timing=PATIENT) as (server, redis):
        await redis.ask("CONFIG", "RESETSTAT")
        await asyncio.gather(*(redis.ask("SET", f"k{number}", number) for number in range(500)))
        assert await asyncio.gather(*(redis.ask("GET", f"k{number}") for number in range(500))) == [b"%d" % one for one in range(500)]
        assert await redis.ask_all([("GET", "k1"), ("GET", "none"), ("EXISTS", "k2")]) == [b"1", None, 1]
        assert (await redis_command(server, "CLIENT", "LIST")).count(" name=") == 2  # ours, and the one that asks this


async def test_command_on_a_key_of_another_type_is_refused_alone() -> None:
    """A command on a key that holds another type gives Mismatch; other commands of its batch are answered, and Redis is not away."""
    async with linked(timing=PATIENT) as (_, redis):
        await redis.ask("RPUSH", "list", "x")
        wrong, right = await redis.ask_all([("GET", "list"), ("SET", "a", 1)])
        assert isinstance(wrong, Mismatch)
        assert right is True
        with pytest.raises(Mismatch):
            await redis.ask("XADD", "list", "*", "a", "b")
        assert redis.here


async def test_commands_fail_at_once_while_redis_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """Commands after the first failed one raise Away without waiting, and the log has one warning that Redis is away."""
    async with link(f"redis://127.0.0.1:{free_ports(1)[0]}/0") as redis:
        with pytest.raises(Away):
            await redis.ask("GET", "a")
        for _ in range(100):
            refused_at_once(redis)
    assert [record.message for record in caplog.records if record.name == "router.redis"] == ["redis is away: local from now on"]


@pytest.mark.parametrize(
    ("silences", "limit"),
    [((0.0, 0.0), 0.05), ((0.03,), 0.12), ((0.04, 0.15), 0.6), ((0.04, 0.15, 0.5), 1.0), ((0.04, 0.15, *[0.0] * 30), 0.05)],
)
def test_timeout_grows_with_slow_redis_answers_and_shrinks_again(silences: tuple[float, ...], limit: float) -> None:
    """The time limit becomes four times a slow answer's silence, at most 1 s, and after thirty quick answers 50 ms again."""
    found = USUAL.limit
    for silence in silences:
        found = USUAL.after(silence, found)
    assert found == pytest.approx(limit)


def test_timeout_stays_at_a_declared_limit_above_the_maximum() -> None:
    """A declared limit of 2 s, above the 1 s to which a limit can grow, is kept after a quick answer."""
    assert RedisTiming(limit=2.0).after(0.0, 2.0) == 2.0


async def test_timeout_is_adapted_after_each_answer() -> None:
    """The limit that RedisTiming.after returns applies to the next command: with 0, a paused Redis then counts as away."""

    class Strict(RedisTiming, frozen=True):
        def after(self, silence: float, limit: float) -> float:
            assert (silence, limit) >= (0.0, 0.0)
            return 0.0

    async with linked(timing=Strict(limit=1e9)) as (server, redis):
        await redis.ask("GET", "a")
        server.daemon.pause()
        try:
            with pytest.raises(Away):
                await redis.ask("GET", "a")
        finally:
            server.daemon.resume()


@pytest.mark.parametrize("how", ["killed", "paused"])
async def test_concurrent_commands_wait_for_one_timeout_together_when_redis_goes(
    how: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred waiting commands raise Away after one common time limit, later ones at once, and the connection is restored by itself."""
    caplog.set_level(logging.INFO, "router.redis")
    async with linked() as (server, redis):
        if how == "killed":
            await server.daemon.kill()
        else:
            server.daemon.pause()
        looks = 0
        looked = redis._check_silence

        def counted(last: float) -> None:
            nonlocal looks
            looks += 1
            looked(last)

        monkeypatch.setattr(redis, "_check_silence", counted)
        asked = await asyncio.gather(*(redis.ask("GET", "a") for _ in range(100)), return_exceptions=True)
        assert {type(one) for one in asked} == {Away}
        assert not redis.here
        assert looks <= USUAL.limit / USUAL.late + 1  # all of them together
        for _ in range(100):
            refused_at_once(redis)
        if how == "killed":
            await server.daemon.start()
        else:
            server.daemon.resume()
        await until(lambda: redis.here)
        assert await redis.ask("SET", "a", 1) is True
        assert redis.departures == 1
    told = [(record.levelname, record.message) for record in caplog.records if record.name == "router.redis"]
    assert told == [("WARNING", "redis is away: local from now on"), ("INFO", "redis is back: shared from now on")]


async def test_redis_restart_between_commands_is_not_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    """A Redis that was restarted between two commands answers the second, over a new connection, without a warning."""
    async with linked(timing=PATIENT) as (server, redis):
        await redis.ask("SET", "a", 1)
        await server.daemon.kill()
        await server.daemon.start()
        assert await redis.ask("GET", "a") is None
    assert not caplog.records


async def test_redis_without_memory_is_away_until_there_is_room() -> None:
    """A Redis server that refuses a write because its `maxmemory` is reached counts as away until that limit is lifted."""
    async with linked(timing=PATIENT) as (server, redis):
        await redis_command(server, "CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(Away):
            await redis.ask("SET", "a", "b")
        assert not redis.here
        await asyncio.sleep(0.5)
        assert not redis.here
        await redis_command(server, "CONFIG", "SET", "maxmemory", "0")
        await until(lambda: redis.here)


async def test_read_only_redis_replica_is_away() -> None:
    """A Redis that has become a read-only replica counts as away until it takes writes again."""
    async with linked(timing=PATIENT) as (server, redis):
        await redis_command(server, "REPLICAOF", "127.0.0.1", str(free_ports(1)[0]))
        with pytest.raises(Away):
            await redis.ask("SET", "a", "b")
        await redis_command(server, "REPLICAOF", "NO", "ONE")
        await until(lambda: redis.here)


async def test_redis_with_a_wrong_password_is_away_and_no_password_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    """A wrong password makes Redis count as away with the reason `denied`; neither password is in the log or in a representation."""
    async with redis_server("--requirepass", "sesame-canary") as server:
        wrong = server.url.replace("redis://", "redis://:mistaken-canary@")
        async with link(wrong, timing=PATIENT) as redis:
            with pytest.raises(Away):
                await redis.ask("GET", "a")
            assert "canary" not in repr(redis.url)
        async with link(server.url.replace("redis://", "redis://:sesame-canary@"), timing=PATIENT) as redis:
            assert await redis.ask("SET", "a", "b") is True
    assert "canary" not in caplog.text
    assert [vars(record)["fields"] for record in caplog.records if record.name == "router.redis"] == [{"why": "denied"}]


async def test_redis_over_tls_must_have_a_trusted_certificate(tmp_path: Path) -> None:
    """A `rediss://` address whose certificate is signed by no known authority counts as away unless `ssl_ca_certs` names it."""
    openssl, port = program("openssl"), free_ports(1)[0]
    key_file, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    await run(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, "-keyout", key_file, "-out", cert)
    files = ("--tls-cert-file", cert, "--tls-key-file", key_file, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
    async with redis_server("--tls-port", str(port), *files):
        async with link(f"rediss://localhost:{port}/0?ssl_ca_certs={cert}", timing=PATIENT) as redis:
            await redis.looked_for()
            assert await redis.ask("SET", "a", "b") is True
        async with link(f"rediss://localhost:{port}/0", timing=PATIENT) as redis:
            with pytest.raises(Away):
                await redis.ask("SET", "a", "b")


async def test_answer_of_a_cancelled_command_is_not_given_to_the_next() -> None:
    """The command after a cancelled one gets its own answer, not that of the cancelled one."""
    async with linked(timing=PATIENT) as (_, redis):
        for number in range(200):
            asked = asyncio.create_task(redis.ask("SET", "a", number))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert await redis.ask("ECHO", f"mine {number}") == f"mine {number}".encode()
        assert redis.here


async def test_busy_router_process_does_not_count_as_redis_silence() -> None:
    """Blocking this process's event loop for 0.3 s during a command does not make Redis count as away."""
    async with linked() as (_, redis):
        for _ in range(5):
            asked = asyncio.create_task(redis.ask("GET", "a"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            time.sleep(0.3)
            assert await asked is None
        assert redis.departures == 0


async def test_first_command_of_a_blocked_process_still_waits_for_redis() -> None:
    """The first command is answered although the process was blocked for 0.3 s while the connection was being opened."""
    async with redis_server() as server, link(server.url) as redis:
        asked = asyncio.create_task(redis.ask("GET", "a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(0.3)
        assert await asked is None
        assert redis.departures == 0


async def test_redis_stays_available_to_a_process_with_a_slow_event_loop() -> None:
    """Commands are answered, without an outage, in a process whose event loop takes 20 ms for each turn."""
    async with linked() as (_, redis), always_late(0.02):
        for number in range(10):
            assert await redis.ask("SET", "a", number) is True
        assert redis.departures == 0


async def test_silent_redis_is_found_away_by_a_process_with_a_slow_event_loop() -> None:
    """A paused Redis counts as away after a bounded number of turns in a process whose event loop takes 20 ms for each."""
    async with linked() as (server, redis):
        server.daemon.pause()
        async with always_late(0.02) as turns:
            with pytest.raises(Away):
                await redis.ask("GET", "a")
            assert redis.departures == 1
            assert len(turns) <= 4 * USUAL.limit / USUAL.late


@asynccontextmanager
async def always_late(seconds: float) -> AsyncGenerator[list[None], None]:
    """Block each turn of the event loop for so many seconds. Yields a list with one entry for each turn."""
    turns: list[None] = []
    loop = asyncio.get_running_loop()

    def turn() -> None:
        nonlocal handle
        time.sleep(seconds)
        turns.append(None)
        handle = loop.call_soon(turn)

    handle = loop.call_soon(turn)
    try:
        yield turns
    finally:
        handle.cancel()


async def test_redis_connection_is_closed_when_its_last_holder_releases_it() -> None:
    """The connection is closed after its last release: waiting and later commands raise Away, and no task is left."""
    async with redis_server() as server:
        redis = Redis(Secret(server.url), timing=PATIENT)
        redis.hold()
        redis.hold()
        await redis.back()
        redis.release()
        await redis.close()
        assert await redis.ask("SET", "a", "b") is True
        server.daemon.pause()
        asked = asyncio.create_task(redis.ask("GET", "a"))
        await asyncio.sleep(0)
        redis.release()
        await redis.close()
        with pytest.raises(Away):
            await asked
        for refused in (redis.ask("GET", "a"), redis.back()):
            with pytest.raises(Away):
                await refused
        assert len(asyncio.all_tasks()) == 1


async def test_waiting_commands_raise_away_when_the_connection_is_closed() -> None:
    """Commands that wait for a paused Redis raise Away when the connection is closed."""
    async with redis_server() as server:
        redis = Redis(Secret(server.url), timing=PATIENT)
        await redis.back()
        server.daemon.pause()
        asked = [asyncio.create_task(redis.ask("GET", "a")) for _ in range(3)]
        await until(lambda: bool(redis._under_way))
        await redis.close()
        async with asyncio.timeout(240):
            assert [type(one) for one in await asyncio.gather(*asked, return_exceptions=True)] == [Away] * 3


def test_redis_keys_begin_with_the_routers_prefix() -> None:
    """A Redis key begins with `pointsman:` and has its first part in braces, so that it decides the cluster slot."""
    assert key("abc", "log") == "pointsman:{abc}:log"
    assert key("abc") == "pointsman:{abc}"
