"""Trouble around a process: a full disk, no file descriptors, clocks that jump, many scrapes, and clients that vanish."""

import asyncio
import json
import socket
import time
from itertools import cycle
from pathlib import Path
from statistics import median

import pytest

from router.server import Door
from tests.conftest import Workspace, direct_target, routes, serving
from tests.support.process import process
from tests.support.promises import hold, timed
from tests.support.provider import Reply, calls, chunk, provider, text
from tests.support.raw import connected, request
from tests.support.redis_cli import until

HI = "a: {script: [{text: Hello}]}"
TCP_REPAIR = 19
"""From linux/tcp.h: a socket that is closed in this state sends neither FIN nor RST."""
WITHIN = 0.25
"""Seconds in which a call or a tool that a client caused is closed after the client has disconnected."""


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"], ids=["a full disk", "nowhere"])
async def test_requests_are_answered_while_the_log_cannot_be_written(workspace: Workspace, redirection: str) -> None:
    """Requests are answered while stderr is closed or on a full disk, and SIGTERM still ends the process."""
    workspace.write("routes.yaml", routes(HI))
    async with process(workspace.root, through=("sh", "-c", f'exec "$0" "$@" {redirection}')) as router:
        for _ in range(50):
            status, _, body = await router.ask()
            assert (status, b"Hello" in body) == (200, True)
        assert (await router.ask("Hi", "nobody"))[0] == 404
        assert await router.ended() in (0, 120)  # Python's own word for words that it could not write


async def test_fifty_concurrent_metrics_scrapes_cut_no_answer(workspace: Workspace) -> None:
    """Twenty streams arrive complete and within their timeouts while fifty scrapes of `/metrics` at a time run beside them."""
    script = ", ".join("{text: 'word '}, {pause: 10ms}" for _ in range(50))
    workspace.write("routes.yaml", routes(f"a: {{script: [{script}]}}", "targets: [a]\n    timeout: {idle: 5s, total: 50s}"))
    async with serving(workspace.build()) as client:
        answers = [asyncio.create_task(client.ask()) for _ in range(20)]
        pages = 0
        while not all(answer.done() for answer in answers):
            found = await asyncio.gather(*(client.get("/metrics") for _ in range(50)))
            assert {page.status for page in found} == {200}
            pages += len(found)
        for answer in answers:
            assert answer.result().text == "word " * 50
        assert pages >= 100


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the wall clock jump a day back or forward at each reading."""
    days, wall = cycle((-86_400.0, 86_400.0)), time.time
    monkeypatch.setattr(time, "time", lambda: wall() + next(days))


@pytest.mark.usefixtures("jumping")
async def test_jump_of_the_wall_clock_changes_no_timeout_or_limit(workspace: Workspace) -> None:
    """Timeouts and rate limits stay exact while the wall clock jumps by a day, since they use a monotonic clock."""
    limits = "timeout: {first_token: 2s, idle: 2s, total: 60s}\n    retry: {attempts: 1}\n    limit: {requests: 3/hour}"
    async with provider(Reply(text("So ", "far.")), Reply((), hold=True), Reply((chunk({"content": "So"}),), hold=True)) as upstream:
        workspace.write("routes.yaml", routes(direct_target(upstream.base), f"targets: [a]\n    {limits}"))
        async with serving(workspace.build()) as client:
            assert (await client.ask()).text == "So far."
            began = time.monotonic()
            assert (await client.ask()).status == 504
            assert (await client.ask()).codes.endswith("3d")
            assert time.monotonic() - began > 3.9
            refused = await client.ask()
            assert (refused.status, 3500 < int(refused.headers["retry-after"]) <= 3600) == (429, True)


async def test_server_out_of_descriptors_serves_open_connections_and_recovers(workspace: Workspace) -> None:
    """A server without free file descriptors still answers on an open connection, and accepts new ones once others are closed."""
    workspace.write("routes.yaml", routes(HI))
    async with process(workspace.root, through=("sh", "-c", 'ulimit -n 100; exec "$0" "$@"')) as router:
        host, port = "127.0.0.1", int(router.base.rpartition(":")[2])
        reader, writer = await asyncio.open_connection(host, port)
        held: list[socket.socket] = []
        async with asyncio.timeout(240):
            while "Too many open files" not in router.printed and "EMFILE" not in router.printed:
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex((host, port))
                held.append(one)
                await asyncio.sleep(0.002)
                assert len(held) < 2000, router.printed
        writer.write(request("POST /api/chat", json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}).encode()))
        async with asyncio.timeout(240):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        for one in held:
            one.close()
        writer.close()
        async with asyncio.timeout(240):
            assert (await router.ask())[0] == 200


@timed
@pytest.mark.parametrize(
    "reply", [Reply((), hold=True), Reply((chunk({"content": "So "}),), hold=True)], ids=["before the first event", "in mid-answer"]
)
async def test_provider_call_is_closed_quickly_when_its_client_disconnects(workspace: Workspace, reply: Reply) -> None:
    """The provider's call is closed within 0.25 s (median of nine) after its client has disconnected, before or during the answer."""
    async with provider(reply) as upstream:
        workspace.write("routes.yaml", routes(direct_target(upstream.base)))
        async with serving(workspace.build()) as client:
            times: list[float] = []
            for _ in range(9):
                asking = asyncio.create_task(client.ask())
                await upstream.until(lambda: upstream.open == 1)
                began = time.monotonic()
                asking.cancel()
                await upstream.until(lambda: upstream.open == 0)
                times.append(time.monotonic() - began)
            hold(median(times), WITHIN)
            assert upstream.closed == len(times)


WAITS = '''"""A tool that takes long, and says when it began and when it ended."""

import asyncio
from pathlib import Path

FILE = Path({path!r})


async def wait_long(text: str) -> str:
    """Wait."""
    FILE.touch()
    try:
        await asyncio.sleep(60)
    finally:
        FILE.unlink()
    return text
'''


@timed
async def test_running_tool_is_cancelled_when_its_client_disconnects(workspace: Workspace, tmp_path: Path) -> None:
    """A running tool is cancelled within 0.25 s (median of five) after its client has disconnected, and the model is not asked again."""
    runs = tmp_path / "runs"
    workspace.write("tools/waiting.py", WAITS.format(path=str(runs)))
    async with provider(Reply(calls(("c1", "wait_long", '{"text": "x"}')))) as upstream:
        workspace.write("routes.yaml", routes(direct_target(upstream.base), "targets: [a]\n    tools: [waiting]"))
        async with serving(workspace.build()) as client:
            times: list[float] = []
            for _ in range(5):
                asking = asyncio.create_task(client.ask())
                await until(runs.exists)
                began = time.monotonic()
                asking.cancel()
                await until(lambda: not runs.exists())
                times.append(time.monotonic() - began)
            hold(median(times), WITHIN)
            await until(lambda: not client.edge.admin.chat.running)
            assert len(upstream.requests) == len(times)


async def test_keep_alive_line_detects_a_client_whose_machine_restarted(workspace: Workspace) -> None:
    """A client that vanished without closing its connection is detected by a keep-alive line, and the provider call is closed."""
    async with provider(Reply((chunk({"content": "So "}),), hold=True)) as upstream:
        more = "server: {keep_alive: 1s}\n"
        workspace.write("routes.yaml", routes(direct_target(upstream.base), "targets: [a]\n    timeout: {idle: 60s}", more))
        async with serving(workspace.build()) as client, connected(client.base) as (reader, writer):
            question = json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}).encode()
            writer.write(request("POST /api/chat?protocol=ui-message-stream", question))
            await reader.readuntil(b"So ")
            vanish(writer)
            await upstream.until(lambda: upstream.closed == 1)


class Impatient(Door):
    """A door that resets a connection after one second without a TCP acknowledgement."""

    HEARD = 1.0


async def test_client_that_acknowledges_no_bytes_is_disconnected(workspace: Workspace) -> None:
    """The provider's call is closed when a client with a full receive buffer leaves sent bytes unacknowledged for the time HEARD."""
    words = chunk({"content": "word " * 6000})
    async with provider(Reply((words,), hold=True)) as upstream:
        workspace.write("routes.yaml", routes(direct_target(upstream.base), "targets: [a]\n    timeout: {idle: 60s}"))
        async with serving(workspace.build(), door=Impatient) as client:
            host, port = client.base.removeprefix("http://").split(":")
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                deaf.connect((host, int(port)))
                question = json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}).encode()
                deaf.sendall(request("POST /api/chat", question))
                await upstream.until(lambda: upstream.closed == 1)


def vanish(writer: asyncio.StreamWriter) -> None:
    """Close this end of a connection without sending FIN or RST, as a machine that loses power."""
    try:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    except PermissionError:
        pytest.skip("it takes CAP_NET_ADMIN to close a connection without a word")
    writer.transport.abort()
