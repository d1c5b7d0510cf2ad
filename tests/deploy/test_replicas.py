"""nginx in front of two real routers: streams during a reload of nginx, a shutdown and a crash, with and without a shared Redis.

The routers are processes of their own, whose configurations differ in a comment: `x-router-generation` shows which one answered.
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
    """Return the ports of these routers."""
    return [int(router.base.rpartition(":")[2]) for router in routers]


@dataclass(frozen=True)
class Site:
    """A running nginx, two routers, and the model that both of them ask."""

    edge: Edge
    routers: tuple[Process, Process]
    generations: tuple[str, str]
    model: Provider
    session: aiohttp.ClientSession

    @property
    def ports(self) -> list[int]:
        """Return the ports of the routers."""
        return ports(*self.routers)

    @asynccontextmanager
    async def stream(self, model: str = "chat-model", chat: str | None = None, **headers: str) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Yield the response of a question to nginx at `/api/chat`. `chat`: the `id` in the body, under which the answer can be resumed."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **({"id": chat} if chat else {})}
        async with self.session.post(f"{self.edge.base}/api/chat", json=body, headers=headers) as response:
            yield response

    async def ask(self, model: str = "chat-model") -> Answered:
        """Return a complete answer. Raises if the connection breaks."""
        async with self.stream(model) as response:
            return Answered(response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read())

    async def resumed(self, chat: str) -> bytes:
        """Return the answer of a chat from its start, once it is found; 204 responses are retried."""
        async with asyncio.timeout(PATIENCE):
            while True:
                async with self.session.get(f"{self.edge.base}/api/chat/{chat}/stream") as response:
                    if response.status == 200:
                        return await response.read()
                    assert response.status == 204
                await asyncio.sleep(0.05)

    async def begun(self, model: str, count: int) -> list["Begun"]:
        """Return this many streams whose first line has arrived; fails unless each router has some of them."""
        made = await asyncio.gather(*(Begun.of(self, model) for _ in range(count)))
        assert {one.router for one in made} == {0, 1}
        return list(made)

    def who(self, answer: Answered) -> int:
        """Return the index of the router that gave this answer."""
        return self.generations.index(answer.headers["x-router-generation"])

    async def until_refusing(self, router: int) -> None:
        """Wait until this router, which is draining, is not ready any more."""
        async with asyncio.timeout(240):
            while (await self.routers[router].get("/readyz"))[0] != 503:
                await asyncio.sleep(0.01)


@dataclass
class Begun:
    """A stream whose first line has arrived."""

    router: int
    first: bytes
    rest: "asyncio.Task[bytes]"

    @classmethod
    async def of(cls, site: Site, model: str, chat: str | None = None) -> "Begun":
        """Send a request, and return the stream once its first line has arrived."""
        stack = AsyncExitStack()
        response = await stack.enter_async_context(site.stream(model, chat))
        assert response.status == 200
        first = await response.content.readuntil(b"\n")

        async def rest() -> bytes:
            async with stack:
                return await response.content.read()

        return cls(site.generations.index(response.headers["x-router-generation"]), first, asyncio.create_task(rest()))

    async def complete_text(self) -> str:
        """Return the text of the stream after its end; fails unless it finished with `stop`."""
        lines = parsed_lines(self.first + await self.rest)
        assert lines[-1][1]["finishReason"] == "stop"
        return "".join(value["textDelta"] for code, value in lines if code == "0")


@asynccontextmanager
async def site(folder: Path, *script: Reply, drain: str = "30s", redis: RedisServer | None = None) -> AsyncGenerator[Site, None]:
    """Yield an nginx that forwards to two routers, which share a Redis if one is given."""
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
    """Yield an nginx that forwards to two routers, whose model answers at once."""
    async with site(tmp_path) as made:
        yield made


async def test_first_line_reaches_the_client_before_the_model_has_finished(tmp_path: Path) -> None:
    """The first line reaches the client while the model still answers, and the model's stream is closed when the client disconnects."""
    body = json.dumps({"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    async with site(tmp_path, HOLDS) as made:
        async with made.edge.request("POST /api/chat", body) as reader:
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"content-encoding" not in head.lower()
            await reader.readuntil(b'0:{"type":"text-delta","textDelta":"one"}\n')
            assert made.model.closed == 0
        await made.model.until(lambda: made.model.closed == 1)


async def test_nginx_spreads_requests_over_both_routers(running: Site) -> None:
    """Twenty concurrent requests are answered by both routers, with one question to the model for each."""
    answers = await asyncio.gather(*(running.ask() for _ in range(20)))
    assert {answer.text for answer in answers} == {"Hi"}
    assert {running.who(answer) for answer in answers} == {0, 1}
    assert len(running.model.requests) == 20


async def test_rate_limit_by_ip_uses_the_address_from_nginx_not_a_forged_header(running: Site) -> None:
    """A client that forges twelve addresses gets three answers from each of two routers, then 429 (security.md 31)."""
    statuses: list[int] = []
    for number in range(12):
        forged = {"x-forwarded-for": f"192.0.2.{number}", "forwarded": f"for=192.0.2.{number}", "x-real-ip": f"192.0.2.{number}"}
        async with running.stream("counted", **forged) as response:
            statuses.append(response.status)
    assert sorted(statuses) == [200] * 6 + [429] * 6


async def test_nginx_reload_that_removes_a_router_breaks_no_stream(running: Site) -> None:
    """A router that a reload removes from nginx finishes its streams; new requests go to the other router."""
    streams = await running.begun("paused", 20)
    running.edge.route_to(running.ports[1])
    running.edge.nginx.reload()
    async with asyncio.timeout(240):
        while {running.who(answer) for answer in await asyncio.gather(*(running.ask() for _ in range(4)))} != {1}:
            await asyncio.sleep(0.01)
    assert not any(one.rest.done() for one in streams)
    assert {await one.complete_text() for one in streams} == {"onetwo"}
    assert {running.who(await running.ask()) for _ in range(10)} == {1}
    assert "[emerg]" not in running.edge.nginx.errors()


async def test_router_that_shuts_down_loses_no_request(running: Site) -> None:
    """A router that gets SIGTERM finishes its streams and exits with 0; the other router answers all new requests."""
    streams = await running.begun("paused", 20)
    asked = len(running.model.requests)
    running.routers[0].process.send_signal(signal.SIGTERM)
    await running.until_refusing(0)
    answers = await asyncio.gather(*(running.ask() for _ in range(40)))
    assert {(answer.status, running.who(answer)) for answer in answers} == {(200, 1)}
    assert not any("x-accel-redirect" in answer.headers for answer in answers)
    assert len(running.model.requests) - asked == 40
    assert {await one.complete_text() for one in streams} == {"onetwo"}
    assert await running.routers[0].process.wait() == 0
    after = [await running.ask() for _ in range(10)]
    assert {(answer.status, running.who(answer)) for answer in after} == {(200, 1)}


async def test_answer_beyond_the_drain_ends_with_a_readable_error(tmp_path: Path) -> None:
    """A stream that outlasts `drain` at a stopping router ends with an error line and a finish.

    The endless streams of the other router are still open when the first router's process has ended.
    """
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


async def test_request_is_503_stopping_when_all_routers_are_draining(running: Site) -> None:
    """A new request gets a router's own 503 with code `stopping` when both routers drain; running streams are completed."""
    streams = await running.begun("paused", 8)
    for number, router in enumerate(running.routers):
        router.process.send_signal(signal.SIGTERM)
        await running.until_refusing(number)
    answer = await running.ask()
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "stopping", "1")
    assert "x-accel-redirect" not in answer.headers
    assert {await one.complete_text() for one in streams} == {"onetwo"}


@timed
async def test_streams_of_a_killed_router_break_visibly_and_others_continue(running: Site) -> None:
    """Streams of a killed router break with a connection error; the other router's streams finish, and it answers all new requests."""
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
            assert await one.complete_text() == "onetwo"


async def test_answer_of_a_killed_router_is_found_at_the_other_through_redis(tmp_path: Path) -> None:
    """Streams of a killed router break; resumed at the other one, each repeats its text so far and ends with an error."""
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
            assert {await one.complete_text() for one in streams if one.router == 1} == {"".join(WORDS)}


async def test_request_that_a_killed_router_had_begun_is_not_retried(tmp_path: Path) -> None:
    """A request whose router is killed after it asked the model gets a 503 and is not sent to the other router."""
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


async def test_nginx_uses_a_restarted_router_again(running: Site, tmp_path: Path) -> None:
    """A killed router gets requests again after it was restarted on its port; meanwhile the other answers all."""
    await running.routers[0].ended(signal.SIGKILL)
    assert {running.who(await running.ask()) for _ in range(5)} == {1}
    async with process(tmp_path / "a", port=running.ports[0]) as back, asyncio.timeout(240):
        assert (await back.get("/readyz"))[1]["generation"] == running.generations[0]
        while running.who(await running.ask()) != 0:
            await asyncio.sleep(0.05)


@timed
async def test_routers_out_of_file_descriptors_answer_503_and_recover(running: Site) -> None:
    """Routers out of file descriptors give 503 within 5 s, and answer again when clients have disconnected (faults.md 45)."""
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


async def test_stream_of_a_killed_router_is_reset_over_http_2(running: Site) -> None:
    """Over HTTP/2, curl exits with 0 for a completed stream and fails for a stream whose router is killed."""
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
    """Return a command's exit code and its output."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()
