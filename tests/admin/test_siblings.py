"""Workers ask each other: who answers, who takes long, who has gone."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from router.admin.siblings import Siblings, SiblingTiming, Told
from router.config import load
from router.generation import build
from tests.conftest import AS_OPERATOR, Workspace, routes, serving

HI = "a: {script: [{text: Hello}]}"


async def nothing(_: Told) -> Told:
    """An answer that says nothing."""
    return {}


async def test_worker_socket_is_removed_only_once_its_worker_is_gone(tmp_path: Path) -> None:
    """A worker that is just starting refuses connections, too: it has a name, and does not listen yet."""
    starting = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    path = tmp_path / f"{starting.pid}.sock"
    with socket.socket(socket.AF_UNIX) as unheard:
        unheard.bind(str(path))
        async with Siblings(tmp_path, nothing) as siblings:
            assert await siblings.ask_each({"ask": "report"}, 1.0) == {starting.pid: None}
            assert await siblings.ask({"ask": "report"}) == []
            assert path.exists()
            starting.kill()
            await starting.wait()
            assert await siblings.ask_each({"ask": "report"}, 1.0) == {}
            assert not path.exists()


async def test_worker_that_answers_too_late_is_left_out_unless_more_time_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default a slow worker is left out; the worker that asks may allow more time."""

    async def slow(question: Told) -> Told:
        await asyncio.sleep(0.3)
        return question

    with monkeypatch.context() as for_now:
        other = os.getppid()
        for_now.setattr("router.admin.siblings.os.getpid", lambda: other)
        sibling = Siblings(tmp_path, slow)
    async with sibling, Siblings(tmp_path, nothing, SiblingTiming(answer=0.05)) as siblings:
        assert await siblings.ask({"ask": "reload"}) == []
        assert await siblings.ask_each({"ask": "reload"}, 10.0) == {other: {"ask": "reload"}}


async def test_a_reload_names_the_workers_that_did_not_answer(workspace: Workspace, tmp_path: Path) -> None:
    """The configuration that those workers serve is not known."""
    file = workspace.write("routes.yaml", routes(HI)).root / "routes.yaml"
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / f"{os.getppid()}.sock"))
        deaf.listen()
        async with serving(build(load(file)), file) as client, Siblings(tmp_path, nothing, SiblingTiming(rebuild=0.05)) as siblings:
            client.edge.admin.siblings = siblings
            async with client.session.post(f"{client.base}/admin/reload", headers=AS_OPERATOR) as response:
                told = await response.json()
    live = client.edge.live.generation.digest
    assert told == {"generation": live, "workers": {str(os.getpid()): live}, "silent": [os.getppid()]}
