"""Limits and cached answers that workers and replicas share, over a real Redis."""

import asyncio
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from router.callers.keys import hashed, new
from router.config.limits import Limit, Rate
from router.config.values import Secret
from router.events import Usage
from router.quotas import BudgetUse, Local, Quota, RedisCounts
from router.shared import Redis
from tests.conftest import Client, Workspace, direct_target, routes, serving
from tests.support.process import Process, process
from tests.support.promises import timed, within
from tests.support.provider import Reply, provider, text
from tests.support.redis_cli import keys
from tests.support.redis_cli import redis_command as redis_said
from tests.support.services import RedisServer, redis_server

HI = "a: {script: [{text: Hello}]}"


def limited(url: str, limit: str) -> str:
    """Return a routes.yaml whose route has this limit, counted in this Redis."""
    return routes(HI, f"targets: [a]\n    limit: {{{limit}}}", f"server: {{redis: '{url}'}}\n")


async def statuses(routers: list[Process], count: int) -> list[int]:
    """Send `count` concurrent questions to these routers in turn, and return their statuses."""
    asked = [routers[number % len(routers)].ask("Hi", "gpt-4") for number in range(count)]
    return [status for status, _, _ in await asyncio.gather(*asked)]


PATIENCE = 240
"""Seconds to wait for something that usually takes milliseconds."""


@pytest.mark.parametrize(("replicas", "workers"), [(1, 4), (2, 1)], ids=["four workers", "two replicas"])
async def test_shared_limit_admits_exactly_its_number_over_all_processes(workspace: Workspace, replicas: int, workers: int) -> None:
    """A limit of 100 an hour answers 100 of 1,000 concurrent requests over four workers or two replicas; 900 get a 429."""
    async with redis_server() as redis, AsyncExitStack() as stack:
        workspace.write("routes.yaml", limited(redis.url, "requests: 100/hour"))
        folders = [workspace.root] if replicas == 1 else [copied(workspace, str(number)) for number in range(replicas)]
        running = [await stack.enter_async_context(process(folder, "--workers", str(workers))) for folder in folders]
        found = await statuses(running, 1000)
        assert not [line for router in running for line in router.printed.splitlines() if "redis is away" in line]
        assert (found.count(200), found.count(429)) == (100, 900)


def copied(workspace: Workspace, name: str) -> Path:
    """Copy the workspace into a folder of its own and return the path: each process writes its output there."""
    folder = workspace.root / name
    shutil.copytree(workspace.root, folder, ignore=shutil.ignore_patterns("[0-9]", "output.txt"), dirs_exist_ok=True)
    return folder


async def test_tokens_spent_at_one_replica_count_at_the_other(workspace: Workspace) -> None:
    """A token limit used up at one replica makes the other answer with a 429."""
    async with redis_server() as redis, provider(Reply(text("All of it."))) as good:
        target = direct_target(good.base)
        more = f"server: {{redis: '{redis.url}'}}\n"
        workspace.write("routes.yaml", routes(target, "targets: [a]\n    limit: {tokens: 10/hour}", more))
        async with serving(workspace.build()) as one, serving(workspace.build()) as other:
            assert (await one.ask()).status == 200
            async with asyncio.timeout(240):
                while (await other.ask()).status != 429:
                    await asyncio.sleep(0.01)
            assert (await one.ask()).status == 429


@timed
async def test_concurrency_slot_of_a_killed_replica_is_released_within_two_seconds(workspace: Workspace) -> None:
    """A slot of a shared concurrency limit is free for the other replica within 2 s of the kill of the replica that held it."""
    slow = "a: {script: [{text: So}, {pause: 60s}, {text: ' long'}]}"
    async with redis_server() as redis:
        text_ = routes(slow, "targets: [a]\n    limit: {concurrent: 1}\n    timeout: {idle: 90s}", f"server: {{redis: '{redis.url}'}}\n")
        workspace.write("routes.yaml", text_)
        async with process(workspace.root) as first, process(workspace.root) as second:
            held = asyncio.create_task(first.ask())
            async with asyncio.timeout(240):
                while "router_open_streams 1.0" not in (await first.get("/metrics"))[1]:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(3)  # longer than a place lasts that nobody says is taken
            assert (await second.ask())[0] == 429
            first.process.kill()
            with within(2):
                async with asyncio.timeout(PATIENCE):
                    await _free(second)
            await asyncio.gather(held, return_exceptions=True)


async def _free(router: Process) -> None:
    """Ask again and again until an answer has status 200."""
    while True:
        body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}
        async with router.session.post(f"{router.base}/api/chat", json=body) as response:
            if response.status == 200:
                return
        await asyncio.sleep(0.05)


async def test_shared_limit_windows_follow_the_clock_of_redis() -> None:
    """The time until a spent limit has room is computed from Redis' clock: full until the window turns, then fading over the next."""
    async with redis_server() as server:
        redis = Redis(Secret(server.url))
        counts = RedisCounts(redis, Local())
        counts.spend("s", 10, 3600)
        async with asyncio.timeout(240):
            while (await counts.spent("s", 3600)).after() != 10:
                await asyncio.sleep(0.01)
        (window,) = (await counts.spent("s", 3600)).windows
        now = await redis.ask("TIME")
        match now:
            case (int(seconds), int()):
                assert window.turns == pytest.approx(3600 - seconds % 3600, abs=5)
            case _:
                pytest.fail("Redis tells no time")
        assert (await counts.spent("s", 3600)).until(4) == pytest.approx(window.turns + 3600 * 0.6, abs=5)
        await redis.close()


async def test_largest_share_of_a_user_includes_spending_at_other_replicas() -> None:
    """The largest share of a per-user limit counts, for the users of this replica, what they spent at all replicas."""
    async with redis_server() as server:
        redis, others = Redis(Secret(server.url)), Redis(Secret(server.url))
        one, other = (Quota("a", Limit(tokens=Rate(100, 3600), per="user"), RedisCounts(each, Local())) for each in (redis, others))
        (await one.admit("alice")).settle(Usage(10, 0), None)
        (await one.admit("bob")).settle(Usage(20, 0), None)
        (await other.admit("alice")).settle(Usage(40, 0), None)
        async with asyncio.timeout(240):
            while (found := await one.uses_of_each(await one.store.crowds())) != [BudgetUse("tokens", "100/hour", None, 2, 0.5)]:
                assert found[0].subjects == 2
                await asyncio.sleep(0.01)
        (elsewhere,) = await other.uses_of_each(await other.store.crowds())
        assert (elsewhere.subjects, elsewhere.largest) == (1, 0.5)
        for each in (redis, others):
            await each.close()


async def test_concurrency_slots_are_registered_again_after_a_redis_restart() -> None:
    """Slots taken before and during an outage of Redis are registered again after it, so that no other replica gets them."""
    async with redis_server() as server:
        redis, others = Redis(Secret(server.url)), Redis(Secret(server.url))
        one, other = RedisCounts(redis, Local()), RedisCounts(others, Local())
        await redis.looked_for()
        assert await one.enter("k", 2)
        await server.daemon.stop()
        assert await one.enter("k", 2)
        assert not await one.enter("k", 2)
        await server.daemon.start()
        await places(server, 2)
        await others.looked_for()
        assert not await other.enter("k", 2)
        for _ in range(2):
            one.leave("k")
        await places(server, 0)
        assert await other.enter("k", 2)
        for each in (redis, others):
            await each.close()


async def test_concurrency_slot_lost_by_redis_is_registered_again() -> None:
    """A held slot that Redis has forgotten is registered again, each time it happens."""
    async with redis_server() as server:
        redis = Redis(Secret(server.url))
        counts = RedisCounts(redis, Local())
        await redis.looked_for()
        assert await counts.enter("k", 2)
        for _ in range(2):
            await redis_said(server, "FLUSHALL")
            await places(server, 1)
        counts.leave("k")
        await places(server, 0)
        await redis.close()


async def places(server: RedisServer, count: int) -> None:
    """Wait until Redis holds this number of taken entries of all limits."""
    async with asyncio.timeout(240):
        while True:
            names = [name for name in await keys(server) if name.endswith(":quota") and await redis_said(server, "TYPE", name) == "zset"]
            if sum([int(await redis_said(server, "ZCARD", name)) for name in names]) == count:
                return
            await asyncio.sleep(0.01)


async def test_concurrency_slot_granted_by_redis_counts_during_an_outage() -> None:
    """A slot that Redis granted stays taken in its process during an outage of Redis and is free after `leave`."""
    async with redis_server() as server:
        redis = Redis(Secret(server.url))
        counts = RedisCounts(redis, Local())
        await redis.looked_for()
        assert await counts.enter("k", 1)
        await server.daemon.stop()
        assert not await counts.enter("k", 1)
        counts.leave("k")
        assert await counts.enter("k", 1)
        await redis.close()


async def test_returned_request_of_a_limit_is_free_again_once() -> None:
    """A request given back to its limit is free again in Redis and locally; a second return of it changes nothing."""
    async with redis_server() as server:
        redis = Redis(Secret(server.url))
        local = Local()
        one, other = RedisCounts(redis, local), RedisCounts(redis, Local())
        taken = await one.take("k", 2, 60)
        assert (await other.take("k", 2, 60)).allowed
        assert not (await other.take("k", 2, 60)).allowed
        one.give_back("k", taken)
        one.give_back("k", taken)
        assert (await local.take("k", 1, 60)).allowed
        async with asyncio.timeout(240):
            while not (await other.take("k", 2, 60)).allowed:
                await asyncio.sleep(0.01)
        assert not (await other.take("k", 2, 60)).allowed
        await redis.close()


async def test_limits_count_locally_while_redis_is_away() -> None:
    """While Redis is away, a process counts requests, slots and spending itself, on top of the requests it admitted before."""
    async with redis_server() as server:
        redis = Redis(Secret(server.url))
        counts = RedisCounts(redis, Local())
        await redis.looked_for()
        assert (await counts.take("k", 2, 60)).left == 1
        await server.daemon.stop()
        assert [(await counts.take("k", 2, 60)).allowed for _ in range(3)] == [True, False, False]
        assert await counts.enter("e", 1)
        assert not await counts.enter("e", 1)
        counts.leave("e")
        assert await counts.enter("e", 1)
        counts.spend("s", 5, 60)
        async with asyncio.timeout(240):
            while (await counts.spent("s", 60)).after() != 5:
                await asyncio.sleep(0.01)
        await redis.close()


async def test_requests_admitted_without_redis_are_reported_when_it_is_back() -> None:
    """Requests admitted during an outage of Redis count for all replicas after it, without those given back meanwhile."""
    async with redis_server() as server:
        redis, others = Redis(Secret(server.url)), Redis(Secret(server.url))
        one, other = RedisCounts(redis, Local()), RedisCounts(others, Local())
        await redis.looked_for()
        await server.daemon.stop()
        taken = [await one.take("k", 3, 3600) for _ in range(3)]
        assert [each.allowed for each in taken] == [True] * 3
        one.give_back("k", taken[0])
        await server.daemon.start()
        await others.looked_for()
        await places(server, 2)
        assert [(await other.take("k", 3, 3600)).allowed for _ in range(2)] == [True, False]
        for each in (redis, others):
            await each.close()


async def test_number_of_requests_to_report_to_redis_is_bounded() -> None:
    """Of five requests admitted without Redis, at most `max_owed` (3) are reported once it is back."""
    async with redis_server() as server:
        redis = Redis(Secret(server.url))
        counts = RedisCounts(redis, Local(), max_owed=3)
        await redis.looked_for()
        await server.daemon.stop()
        for number in range(5):
            assert (await counts.take(f"k{number}", 9, 3600)).allowed
        await server.daemon.start()
        await places(server, 3)
        await redis.close()


async def test_cached_answer_of_one_replica_is_a_hit_at_the_other(workspace: Workspace) -> None:
    """Two replicas with one Redis make one provider call for a cached answer; without Redis, a replica serves its own hits."""
    async with redis_server() as redis, provider(Reply(text("Kept."))) as good:
        more = f"server: {{redis: '{redis.url}'}}\n"
        workspace.write("routes.yaml", routes(direct_target(good.base), "targets: [a]\n    cache: {ttl: 1h}", more))
        async with serving(workspace.build()) as one, serving(workspace.build()) as other:
            assert (await one.ask()).headers["x-router-cache"] == "miss"
            again = await hit(other)
            assert again == "Kept."
            assert len(good.requests) == 1
            await redis.daemon.stop()
            assert (await one.ask()).headers["x-router-cache"] == "hit"
            assert (await one.ask("Another")).headers["x-router-cache"] == "miss"
            assert (await one.ask("Another")).headers["x-router-cache"] == "hit"


async def hit(client: Client) -> str:
    """Ask until the answer is a cache hit, and return its text."""
    async with asyncio.timeout(240):
        while (answer := await client.ask()).headers["x-router-cache"] != "hit":
            await asyncio.sleep(0.01)
    return answer.text


WEBUI = new()
"""The API key that all users of a front end share."""


def users_of_one_key(url: str, route: str) -> str:
    """Return a routes.yaml, with this Redis, whose one API key names its end user in a header."""
    user = "user: {header: X-OpenWebUI-User-Id}"
    return routes(
        HI, f"targets: [a]\n    {route}", f"server: {{redis: '{url}', auth: {{keys: {{webui: {{hash: '{hashed(WEBUI)}', {user}}}}}}}}}\n"
    )


def of_user(user: str) -> dict[str, str]:
    """Return the headers of a request for this end user."""
    return {"authorization": f"Bearer {WEBUI}", "x-openwebui-user-id": user}


async def test_limit_per_user_counts_over_four_workers(workspace: Workspace) -> None:
    """A limit `per: user` of three an hour over four workers answers three of one user's ten requests and one each of 1,999 others."""
    async with redis_server() as redis:
        workspace.write("routes.yaml", users_of_one_key(redis.url, "limit: {requests: 3/hour, per: user}"))
        async with process(workspace.root, "--workers", "4") as running:
            body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}

            async def asked(user: str) -> tuple[str, int]:
                async with running.session.post(f"{running.base}/api/chat", json=body, headers=of_user(user)) as response:
                    await response.read()
                    return user, response.status

            users = [f"user-{number}" for number in range(2000)] + ["user-7"] * 9
            found = await asyncio.gather(*(asked(user) for user in users))
            assert not [line for line in running.printed.splitlines() if "redis is away" in line]
            assert sorted(status for user, status in found if user == "user-7") == [200] * 3 + [429] * 7
            assert {status for user, status in found if user != "user-7"} == {200}


async def test_user_cannot_resume_or_share_answers_of_another_user_of_the_key(workspace: Workspace) -> None:
    """A user of an API key gets a 204 and a cache miss for another user's answer; Redis keys contain neither user nor chat id."""
    async with redis_server() as redis:
        workspace.write("routes.yaml", users_of_one_key(redis.url, "cache: {ttl: 1h}"))
        async with serving(workspace.build()) as one, serving(workspace.build()) as other:
            body = {"id": "chat-1", "model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}
            async with one.session.post(f"{one.base}/api/chat", json=body, headers=of_user("ann-canary")) as response:
                assert response.headers["x-router-cache"] == "miss"
                whole = await response.read()

            async def resumed(user: str) -> tuple[int, bytes]:
                async with other.session.get(f"{other.base}/api/chat/chat-1/stream", headers=of_user(user)) as response:
                    return response.status, await response.read()

            async with asyncio.timeout(240):
                while (found := await resumed("ann-canary"))[0] != 200:
                    await asyncio.sleep(0.01)
            assert found == (200, whole)
            assert await resumed("ben") == (204, b"")
            async with other.session.post(f"{other.base}/api/chat", json=body, headers=of_user("ben")) as response:
                assert response.headers["x-router-cache"] == "miss"
            assert not [name for name in await keys(redis) if "canary" in name or "chat-1" in name]
