"""nginx before two real routers: streams through a reload, through a router that ends, and one that is killed; without a Redis and with one.

The routers are processes of their own. Who answered is told by `x-router-generation`: the two configurations differ in a comment.
"""

import asyncio
import json
import resource
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import Answered, parsed_lines
from tests.deploy.edge import PATIENCE, Edge, edge
from tests.support.process import Process, process
from tests.support.promises import timed, within
from tests.support.provider import Provider, Reply, provider, text
from tests.support.redis_cli import keys
from tests.support.services import RedisServer, program, redis_server

ROUTES = """
targets:
  model: {{model: openai/fake, api_base: '{base}', api_key: sk-test}}
  paused: {{script: [{{text: one}}, {{pause: 1500ms}}, {{text: two}}]}}
  endless: {{script: [{{text: one}}, {{pause: 50s}}, {{text: two}}]}}
  talks: {{script: [{talk}]}}
defaults: {{timeout: {{first_token: 50s, idle: 55s}}, retry: {{attempts: 1}}}}
routes:
  chat-model: {{pipeline: chat, targets: [model]}}
  paused: {{pipeline: chat, targets: [paused]}}
  endless: {{pipeline: chat, targets: [endless]}}
  talks: {{pipeline: chat, targets: [talks]}}
  counted: {{pipeline: chat, targets: [model], limit: {{requests: 3/hour, per: ip}}}}
server: {{auth: none, drain: {drain}, proxies: [127.0.0.1]{more}}}
"""
WORDS = [f"word{number} " for number in range(50)]
TALK = ", ".join(f"{{text: '{word}'}}, {{pause: 100ms}}" for word in WORDS)
HOLDS = Reply(frames=text("one")[:2], hold=True)
MUTE = Reply(hold=True)


def ports(*routers: Process) -> list[int]:
    """Where these listen."""
    return [int(router.base.rpartition(":")[2]) for router in routers]


@dataclass(frozen=True)
class Site:
    """nginx, two routers, and the model that both of them ask."""

    edge: Edge
    routers: tuple[Process, Process]
    generations: tuple[str, str]
    model: Provider
    session: aiohttp.ClientSession

    @property
    def ports(self) -> list[int]:
        """Where the routers listen."""
        return ports(*self.routers)

    @asynccontextmanager
    async def stream(self, model: str = "chat-model", chat: str | None = None, **headers: str) -> AsyncGenerator[aiohttp.ClientResponse]:
        """An answer as it comes. One that is to be found again belongs to a chat."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **({"id": chat} if chat else {})}
        async with self.session.post(f"{self.edge.base}/api/chat", json=body, headers=headers) as response:
            yield response

    async def ask(self, model: str = "chat-model") -> Answered:
        """A whole answer. Raises where it breaks off."""
        async with self.stream(model) as response:
            return Answered(response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read())

    async def resumed(self, chat: str) -> bytes:
        """The answer of a chat, from its start, once it is found. Where Redis was slow for a moment it is not, at first."""
        async with asyncio.timeout(PATIENCE):
            while True:
                async with self.session.get(f"{self.edge.base}/api/chat/{chat}/stream") as response:
                    if response.status == 200:
                        return await response.read()
                    assert response.status == 204
                await asyncio.sleep(0.05)

    async def begun(self, model: str, count: int) -> list["Begun"]:
        """So many streams of which the first line is here. Both routers give some of them."""
        made = await asyncio.gather(*(Begun.of(self, model) for _ in range(count)))
        assert {one.router for one in made} == {0, 1}
        return list(made)

    def who(self, answer: Answered) -> int:
        """Which router gave it."""
        return self.generations.index(answer.headers["x-router-generation"])

    async def until_refusing(self, router: int) -> None:
        """Wait until a router that was told to end takes nothing new."""
        async with asyncio.timeout(240):
            while (await self.routers[router].get("/readyz"))[0] != 503:
                await asyncio.sleep(0.01)


@dataclass
class Begun:
    """A stream whose first line is here."""

    router: int
    first: bytes
    rest: "asyncio.Task[bytes]"

    @classmethod
    async def of(cls, site: Site, model: str, chat: str | None = None) -> "Begun":
        """Ask, and wait for the first line."""
        stack = AsyncExitStack()
        response = await stack.enter_async_context(site.stream(model, chat))
        assert response.status == 200
        first = await response.content.readuntil(b"\n")

        async def rest() -> bytes:
            async with stack:
                return await response.content.read()

        return cls(site.generations.index(response.headers["x-router-generation"]), first, asyncio.create_task(rest()))

    async def whole(self) -> str:
        """Its text, once it has ended as it should."""
        lines = parsed_lines(self.first + await self.rest)
        assert lines[-1][1]["finishReason"] == "stop"
        return "".join(value["textDelta"] for code, value in lines if code == "0")


@asynccontextmanager
async def site(folder: Path, *script: Reply, drain: str = "30s", redis: RedisServer | None = None) -> AsyncGenerator[Site, None]:
    """Two routers behind nginx, and over a Redis that they share where there is one."""
    more = f", redis: '{redis.url}', resume: {{grace: 30s}}" if redis else ""
    async with AsyncExitStack() as stack:
        program("nginx")
        model = await stack.enter_async_context(provider(*(script or (Reply(frames=text("Hi")),))))
        roots = [folder / name for name in ("a", "b")]
        for root in roots:
            (root / "pipelines").mkdir(parents=True)
            (root / "pipelines" / "chat.yaml").write_text("steps:\n  - history: {keep: 40}\n")
            (root / "routes.yaml").write_text(f"# {root.name}\n{ROUTES.format(base=model.base, drain=drain, talk=TALK, more=more)}")
        one, two = await asyncio.gather(*(stack.enter_async_context(process(root)) for root in roots))
        running = await stack.enter_async_context(edge(*ports(one, two)))
        generations = [(await router.get("/readyz"))[1]["generation"] for router in (one, two)]
        connector = aiohttp.TCPConnector(ssl=running.trust, limit=0, force_close=True)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        yield Site(running, (one, two), (generations[0], generations[1]), model, session)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Site]:
    """Two routers behind nginx, before a model that answers at once."""
    async with site(tmp_path) as made:
        yield made


async def test_first_line_reaches_the_client_before_the_model_has_finished(tmp_path: Path) -> None:
    """When the client then disconnects, the model's stream is closed: nothing unread is paid for."""
    body = json.dumps({"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    async with site(tmp_path, HOLDS) as made:
        async with made.edge.request("POST /api/chat", body) as reader:
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"content-encoding" not in head.lower()
            await reader.readuntil(b'0:{"type":"text-delta","textDelta":"one"}\n')
            assert made.model.closed == 0
        await made.model.until(lambda: made.model.closed == 1)


async def test_nginx_spreads_requests_over_both_routers(running: Site) -> None:
    answers = await asyncio.gather(*(running.ask() for _ in range(20)))
    assert {answer.text for answer in answers} == {"Hi"}
    assert {running.who(answer) for answer in answers} == {0, 1}
    assert len(running.model.requests) == 20


async def test_address_of_a_client_comes_from_nginx_alone(running: Site) -> None:
    """Security.md 31: each address may send three requests an hour to each router; a forged header does not change the address."""
    statuses: list[int] = []
    for number in range(12):
        forged = {"x-forwarded-for": f"192.0.2.{number}", "forwarded": f"for=192.0.2.{number}", "x-real-ip": f"192.0.2.{number}"}
        async with running.stream("counted", **forged) as response:
            statuses.append(response.status)
    assert sorted(statuses) == [200] * 6 + [429] * 6


async def test_nginx_reload_that_removes_a_router_breaks_no_stream(running: Site) -> None:
    """The removed router finishes its streams; new requests go to the other one."""
    streams = await running.begun("paused", 20)
    running.edge.route_to(running.ports[1])
    running.edge.nginx.reload()
    async with asyncio.timeout(240):
        while {running.who(answer) for answer in await asyncio.gather(*(running.ask() for _ in range(4)))} != {1}:
            await asyncio.sleep(0.01)
    assert not any(one.rest.done() for one in streams)
    assert {await one.whole() for one in streams} == {"onetwo"}
    assert {running.who(await running.ask()) for _ in range(10)} == {1}
    assert "[emerg]" not in running.edge.nginx.errors()


async def test_router_that_shuts_down_loses_no_request(running: Site) -> None:
    """It finishes its answers; the other router answers new requests, and no model is asked twice."""
    streams = await running.begun("paused", 20)
    asked = len(running.model.requests)
    running.routers[0].process.send_signal(signal.SIGTERM)
    await running.until_refusing(0)
    answers = await asyncio.gather(*(running.ask() for _ in range(40)))
    assert {(answer.status, running.who(answer)) for answer in answers} == {(200, 1)}
    assert not any("x-accel-redirect" in answer.headers for answer in answers)
    assert len(running.model.requests) - asked == 40
    assert {await one.whole() for one in streams} == {"onetwo"}
    assert await running.routers[0].process.wait() == 0
    after = [await running.ask() for _ in range(10)]
    assert {(answer.status, running.who(answer)) for answer in after} == {(200, 1)}


async def test_answer_beyond_the_drain_ends_with_a_readable_error(tmp_path: Path) -> None:
    async with site(tmp_path, drain="300ms") as made:
        streams = await made.begun("endless", 10)
        made.routers[0].process.send_signal(signal.SIGTERM)
        for one in [one for one in streams if one.router == 0]:
            lines = parsed_lines(one.first + await one.rest)
            assert [code for code, _ in lines] == ["0", "3", "d"]
            assert lines[-1][1]["finishReason"] == "error"
        assert await made.routers[0].process.wait() == 0
        assert not any(one.rest.done() for one in streams if one.router == 1)
        for one in streams:
            one.rest.cancel()


async def test_refusal_comes_from_the_routers_when_all_are_draining(running: Site) -> None:
    streams = await running.begun("paused", 8)
    for number, router in enumerate(running.routers):
        router.process.send_signal(signal.SIGTERM)
        await running.until_refusing(number)
    answer = await running.ask()
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "stopping", "1")
    assert "x-accel-redirect" not in answer.headers
    assert {await one.whole() for one in streams} == {"onetwo"}


@timed
async def test_streams_of_a_killed_router_break_visibly_and_others_continue(running: Site) -> None:
    """Its streams never look complete; the other's go on; all that is asked is answered at once, by the other."""
    streams = await running.begun("paused", 20)
    await running.routers[0].ended(signal.SIGKILL)
    with within(1):
        answers = await asyncio.gather(*(running.ask() for _ in range(40)))
    assert {(answer.status, running.who(answer)) for answer in answers} == {(200, 1)}
    assert len(running.model.requests) == 40
    for one in streams:
        if one.router == 0:
            with pytest.raises(aiohttp.ClientPayloadError):
                await one.rest
        else:
            assert await one.whole() == "onetwo"


async def test_answer_of_a_killed_router_is_found_at_the_other_through_redis(tmp_path: Path) -> None:
    """A hundred streams: none ends silently. Each of the killed router's breaks off visibly, and whoever then asks nginx for it gets it
    from the other, from its first word, each word once, to an error that says what became of it; the other's go on to their end.
    """
    async with redis_server() as server, site(tmp_path, redis=server) as made:
        chats = [f"chat-{number}" for number in range(100)]
        streams = await asyncio.gather(*(Begun.of(made, "talks", chat) for chat in chats))
        assert {one.router for one in streams} == {0, 1}
        async with asyncio.timeout(PATIENCE):
            while sum(name.endswith(":now") for name in await keys(server)) < len(chats):  # nobody waited for it to be written
                await asyncio.sleep(0.01)
        assert not any(one.rest.done() for one in streams)
        await made.routers[0].ended(signal.SIGKILL)

        async def found(chat: str, one: Begun) -> None:
            with pytest.raises(aiohttp.ClientPayloadError):
                await one.rest
            lines = parsed_lines(await made.resumed(chat))
            assert [code for code, _ in lines[-2:]] == ["3", "d"]
            assert "gone" in lines[-2][1]["error"]
            assert lines[-1][1]["finishReason"] == "error"
            said = [value["textDelta"] for code, value in lines if code == "0"]
            assert said
            assert said == WORDS[: len(said)]

        async with asyncio.timeout(2 * PATIENCE):
            await asyncio.gather(*(found(chat, one) for chat, one in zip(chats, streams, strict=True) if one.router == 0))
            assert {await one.whole() for one in streams if one.router == 1} == {"".join(WORDS)}


async def test_request_that_a_killed_router_had_begun_is_not_retried(tmp_path: Path) -> None:
    """The model was asked and had sent nothing: the client gets an error, though the other router is there."""
    async with site(tmp_path, MUTE) as made:
        asked = [asyncio.create_task(made.ask()) for _ in range(8)]
        await made.model.until(lambda: made.model.open == 8)
        await made.routers[0].ended(signal.SIGKILL)
        await made.model.until(lambda: made.model.closed > 0)
        async with asyncio.timeout(240):
            while sum(one.done() for one in asked) < made.model.closed:
                await asyncio.sleep(0.01)
        for answer in [one.result() for one in asked if one.done()]:
            assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "unavailable", "1")
        assert len(made.model.requests) == 8
        for one in asked:
            one.cancel()


async def test_nginx_uses_a_router_again_within_two_seconds_of_its_return(running: Site, tmp_path: Path) -> None:
    """A router that refused a connection is left alone for two seconds."""
    await running.routers[0].ended(signal.SIGKILL)
    assert {running.who(await running.ask()) for _ in range(5)} == {1}
    async with process(tmp_path / "a", port=running.ports[0]) as back, asyncio.timeout(240):
        assert (await back.get("/readyz"))[1]["generation"] == running.generations[0]
        while running.who(await running.ask()) != 0:
            await asyncio.sleep(0.05)


@timed
async def test_routers_out_of_file_descriptors_answer_503_and_recover(running: Site) -> None:
    """faults.md 45: what they cannot take is a 503 within seconds, not a wait; when clients leave, all is as before.

    Both failed many questions: the lines in upstream.conf that end in `backup` are why nginx does not leave both alone for it.
    """
    for router in running.routers:
        resource.prlimit(router.process.pid, resource.RLIMIT_NOFILE, (48, 48))
    body = json.dumps({"model": "endless", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    async with AsyncExitStack() as stack:

        async def status() -> bytes:
            reader = await stack.enter_async_context(running.edge.request("POST /api/chat", body))
            return (await reader.readline()).split()[1]

        with within(5):
            statuses = await asyncio.gather(*(status() for _ in range(80)))
        assert set(statuses) == {b"200", b"503"}
        assert statuses.count(b"200") >= 20
    async with asyncio.timeout(240):
        while {answer.status for answer in await asyncio.gather(*(running.ask() for _ in range(10)))} != {200}:
            await asyncio.sleep(0.05)


async def test_over_http_2_a_killed_routers_stream_is_reset(running: Site) -> None:
    """Curl speaks it: a stream that ended as it should is exit code 0, one that was reset or cut is not."""
    curl = program("curl")
    if "HTTP2" not in (await _output(curl, "--version"))[1]:
        pytest.skip("this curl does not speak HTTP/2")
    await running.routers[0].ended(signal.SIGKILL)
    command = [curl, "-sN", "--http2", "--cacert", str(running.edge.nginx.folder / "tls.crt"), f"{running.edge.base}/api/chat"]
    body = ["-w", "\n%{http_version}", "-H", "content-type: application/json", "-d"]
    code, said = await _output(*command, *body, '{"model": "paused", "messages": [{"role": "user", "content": "Hi"}]}')
    assert (code, said.rpartition("\n")[2]) == (0, "2")
    assert parsed_lines(said.rpartition("\n")[0].encode())[-1][0] == "d"

    cut = asyncio.create_task(_output(*command, *body, '{"model": "endless", "messages": [{"role": "user", "content": "Hi"}]}'))
    async with asyncio.timeout(240):
        while "router_open_streams 1.0" not in (await running.routers[1].get("/metrics"))[1]:
            await asyncio.sleep(0.02)
    running.routers[1].process.kill()
    code, said = await cut
    assert code != 0
    assert "\nd:" not in said


async def _output(*command: str) -> tuple[int, str]:
    """A command's exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()
