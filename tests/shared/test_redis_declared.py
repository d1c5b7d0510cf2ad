"""`server.redis`: the declared Redis is opened, kept across edits, and closed when no generation declares it any more."""

import asyncio
import sys

import pytest

from router.config import load
from router.config.values import Secret
from router.errors import ConfigError
from router.generation import build
from router.shared import Redis
from tests.conftest import Workspace, routes, serving
from tests.support.redis_cli import keys, redis_command, until
from tests.support.services import redis_server

TARGET = "a: {script: [{text: Hello}]}"


def declared(workspace: Workspace, redis: str, keep_alive: str = "10s") -> Workspace:
    """Write a routes.yaml with this `server.redis`, and return the workspace."""
    return workspace.write("routes.yaml", routes(TARGET, more=f"server: {{keep_alive: {keep_alive}, redis: '{redis}'}}\n"))


def test_missing_redis_package_is_reported_where_a_redis_is_declared(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A declared Redis without the Python package is a ConfigError at its line that names the extra to install."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigError) as caught:
        declared(workspace, "redis://127.0.0.1:1/0").build()
    assert [f"{one.place}: {one.message}" for one in caught.value.complaints] == [
        "routes.yaml:8:34: `server.redis` needs a package that is not here: pip install 'pointsman[redis]'"
    ]
    workspace.write("routes.yaml", routes(TARGET)).build()


def test_redis_password_is_not_in_the_representation_of_the_configuration(workspace: Workspace) -> None:
    """The declared Redis address is a Secret, so that the repr of the configuration does not contain its password."""
    generation = declared(workspace, "${REDIS_URL}").build(REDIS_URL="redis://:canary@127.0.0.1:1/0")
    assert generation.kept.redis is not None
    assert generation.kept.redis.url == Secret("redis://:canary@127.0.0.1:1/0", "${REDIS_URL}")
    assert "canary" not in repr(generation.server)


async def test_metrics_show_whether_redis_is_up_and_count_its_outages(workspace: Workspace) -> None:
    """The metrics `router_redis_up` and `router_redis_departures_total` exist only with a declared Redis, and show an outage."""
    async with serving(workspace.write("routes.yaml", routes(TARGET)).build()) as client:
        assert b"router_redis" not in (await client.get("/metrics")).body
    async with redis_server() as server, serving(declared(workspace, server.url).build()) as client:
        redis = client.edge.live.generation.kept.redis
        assert redis is not None
        await until(lambda: redis.here)
        assert b"router_redis_up 1.0" in (await client.get("/metrics")).body
        await server.daemon.kill()
        async with asyncio.timeout(240):
            while redis.here:
                await client.post(id="chat-1", messages=[{"role": "user", "content": "Hi"}])
        told = (await client.get("/metrics")).body
        assert b"router_redis_up 0.0" in told
        assert b"router_redis_departures_total 1.0" in told


async def test_redis_connections_survive_edits_until_its_address_changes(workspace: Workspace) -> None:
    """Edits elsewhere keep the connection to Redis; an edit of its address opens a new one and closes the old."""
    file = workspace.root / "routes.yaml"
    async with redis_server() as one, redis_server() as other:
        declared(workspace, one.url)
        first = build(load(file))
        async with serving(first) as client:
            live = client.edge.live

            def edit(redis: str, keep_alive: str) -> Redis | None:
                declared(workspace, redis, keep_alive)
                generation = build(load(file), live.generation.kept)
                live.swap(generation)
                generation.start()
                return generation.kept.redis

            begun = first.kept.redis
            assert begun is not None
            await until(lambda: begun.here)
            assert edit(one.url, "20s") is begun
            await asyncio.sleep(0.05)
            assert begun.here
            moved = edit(other.url, "20s")
            assert moved is not None
            await until(lambda: moved.here and begun.closed)
            assert (await client.post(id="chat-1", messages=[{"role": "user", "content": "Hi"}])).status == 200
        assert moved.closed
        assert "pointsman" in "".join(await keys(other))
        assert (await redis_command(one, "CLIENT", "LIST")).count(" name=") == 1  # who asks this
