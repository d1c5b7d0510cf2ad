"""Questions between the workers of one router over their sockets: answers, timeouts and workers that are gone."""

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
    """Answer any question with an empty object."""
    return {}


async def test_worker_socket_is_removed_only_once_its_worker_is_gone(tmp_path: Path) -> None:
    """The socket of a live worker that does not listen yet is kept and gets no answer; after the worker has ended it is removed."""
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


async def test_worker_that_answers_late_is_left_out_unless_given_more_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that answers after 0.3 s is left out with a limit of 0.05 s, and included with a limit of 10 s."""

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


async def test_reload_lists_the_workers_that_did_not_answer_as_silent(workspace: Workspace, tmp_path: Path) -> None:
    """The answer of /admin/reload maps each worker to its generation, and lists workers that did not answer under `silent`."""
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
