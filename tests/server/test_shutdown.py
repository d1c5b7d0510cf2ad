"""Shutdown of a router in a process of its own, from SIGTERM to the exit code."""

import asyncio
import contextlib
import json
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import Workspace
from tests.support.process import Process, process
from tests.support.promises import timed, within
from tests.support.provider import Reply, provider, text
from tests.wire import readers

TARGETS = """
targets:
  quick: {script: [{text: one}, {pause: 700ms}, {text: two}]}
  slow: {script: [{text: one}, {pause: 200s}, {text: two}]}
  mute: {script: [{pause: 200s}, {text: late}]}
defaults: {timeout: {first_token: 300s, idle: 300s}}
routes:
  quick: {pipeline: chat, targets: [quick]}
  slow: {pipeline: chat, targets: [slow]}
  mute: {pipeline: chat, targets: [mute]}
server: {drain: 1500ms}
"""
DIALECTS = ["line", "data-stream", "ui-message-stream", "openai"]


async def stream(router: Process, model: str, protocol: str, **more: Any) -> tuple[int, bytes]:
    """Return the status and body of one complete answer. Raises if the connection breaks."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **more}
    async with router.session.post(f"{router.base}/api/chat?protocol={protocol}", json=body) as response:
        return response.status, await response.read()


async def until_open(router: Process, count: int) -> None:
    """Wait until so many answers are streaming."""
    async with asyncio.timeout(240):
        while f"router_open_streams {count}.0" not in (await router.get("/metrics"))[1]:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
async def test_sigterm_during_100_streams_ends_each_with_a_finish_or_an_error(workspace: Workspace, workers: int) -> None:
    """After SIGTERM, streams that finish within `drain` are complete, others end with an error of their protocol; the exit code is 0."""
    gate = asyncio.Event()
    async with provider(Reply(text("one", "two"), gate=gate)) as held:
        # Its first frame says nothing, the next ones are held back until the router was told to end.
        quickly = f"quick: {{model: openai/fake, api_base: '{held.base}', api_key: sk-test}}"
        script = "quick: {script: [{text: one}, {pause: 700ms}, {text: two}]}"
        workspace.write("routes.yaml", TARGETS.replace(script, quickly).replace("1500ms", "6s"))
        await _ended_under_100_streams(workspace, workers, gate)


async def _ended_under_100_streams(workspace: Workspace, workers: int, gate: asyncio.Event) -> None:
    async with process(workspace.root, "--workers", str(workers)) as router:
        # Two of three belong to a chat, and so run in a task of their own.
        chats = [{"id": f"c{number}"} if number % 3 else {} for number in range(50)]
        slow = [asyncio.create_task(stream(router, "slow", DIALECTS[number % 4], **chat)) for number, chat in enumerate(chats)]
        await until_open(router, 50)
        quick = [asyncio.create_task(stream(router, "quick", DIALECTS[number % 4])) for number in range(50)]
        await until_open(router, 100)
        began = time.monotonic()
        router.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(240):
            while router.printed.count('"event": "stopping"') < workers:
                await asyncio.sleep(0.01)
        gate.set()
        async with asyncio.timeout(240):
            assert await router.process.wait() == 0
        assert time.monotonic() - began > 5.9  # for the slow ones it waits as long as is declared
        for number, (status, body) in enumerate(await asyncio.gather(*quick)):
            assert status == 200
            assert outcome(DIALECTS[number % 4], body) == ("onetwo", True, False)
        for number, (status, body) in enumerate(await asyncio.gather(*slow)):
            assert status == 200
            assert outcome(DIALECTS[number % 4], body) == ("one", False, True)
        lines = [json.loads(line) for line in router.printed.splitlines() if '"router.access"' in line]
        outcomes = [line["outcome"] for line in lines]
        assert (outcomes.count("stop"), outcomes.count("stopping")) == (50, 50)


async def test_draining_server_is_not_ready_and_refuses_new_requests(workspace: Workspace) -> None:
    """A draining server answers 503 to new requests, and to one that has no event yet once `drain` is over; `/healthz` stays 200."""
    workspace.write("routes.yaml", TARGETS.replace("1500ms", "6s"))
    async with process(workspace.root) as router:
        mute = asyncio.create_task(stream(router, "mute", "line"))
        await until_open(router, 1)
        router.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(240):
            while (await router.get("/readyz"))[0] != 503:
                await asyncio.sleep(0.01)
        status, headers, body = await router.ask("Hi", "quick")
        assert (status, json.loads(body)["code"]) == (503, "stopping")
        assert (headers["retry-after"], headers["connection"]) == ("1", "close")
        assert (await router.get("/healthz"))[0] == 200
        status, body = await mute
        assert (status, json.loads(body)["code"]) == (503, "stopping")
        async with asyncio.timeout(240):
            assert await router.process.wait() == 0


@timed
async def test_idle_server_exits_at_once_on_sigterm(workspace: Workspace) -> None:
    """An idle server exits with 0 within 5 s of SIGTERM although a keep-alive connection is open and `drain` is 300 s."""
    workspace.write("routes.yaml", TARGETS.replace("1500ms", "300s"))
    async with process(workspace.root) as router, aiohttp.ClientSession() as kept:
        async with kept.get(f"{router.base}/healthz") as response:
            assert response.status == 200
        with within(5):
            assert await router.ended() == 0


@timed
async def test_second_sigint_ends_the_process_before_its_drain_time(workspace: Workspace) -> None:
    """A second SIGINT (Ctrl-C) ends running answers with an error, and the process exits without waiting for `drain`."""
    workspace.write("routes.yaml", TARGETS.replace("1500ms", "300s"))
    async with process(workspace.root) as router:
        slow = asyncio.create_task(stream(router, "slow", "line"))
        await until_open(router, 1)
        router.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(240):
            while (await router.get("/readyz"))[0] != 503:
                await asyncio.sleep(0.01)
        with within(5):
            router.process.send_signal(signal.SIGINT)
            async with asyncio.timeout(240):
                await router.process.wait()
        assert outcome("line", (await slow)[1]) == ("one", False, True)


READERS = {
    "line": readers.line,
    "data-stream": readers.data_stream,
    "ui-message-stream": readers.ui_message_stream,
    "openai": readers.openai,
}


def outcome(protocol: str, body: bytes) -> tuple[str, bool, bool]:
    """Return (text, true if it finished with `stop`, true if it has an error) of a stream, as the strict reader of its dialect reads it."""
    heard = READERS[protocol](body)
    return heard.text, heard.finish == "stop", heard.error is not None


def workers_of(root: Path) -> list[int]:
    """Return the process ids of the workers that serve the configuration in a folder."""
    found: list[int] = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"ROUTER_ROUTES={root}/".encode() in environment.read_bytes():
                found.append(int(environment.parent.name))
    return found


async def test_workers_drain_and_exit_when_their_supervisor_is_killed(workspace: Workspace) -> None:
    """Workers finish a running answer and exit after their supervising process was killed."""
    workspace.write("routes.yaml", TARGETS)
    async with process(workspace.root, "--workers", "4") as router:
        asked = asyncio.create_task(stream(router, "quick", "line"))
        await until_open(router, 1)
        router.process.kill()
        assert outcome("line", (await asked)[1]) == ("onetwo", True, False)
        async with asyncio.timeout(240):
            while workers_of(workspace.root):
                await asyncio.sleep(0.05)
