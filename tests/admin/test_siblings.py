"""Questions between the workers of one router over their sockets: answers, timeouts and workers that are gone."""

import asyncio
import fcntl
import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

from router.admin.siblings import SiblingJson, Siblings, SiblingTiming
from router.config import load
from router.generation import build
from tests.conftest import AS_OPERATOR, Workspace, routes, serving
from tests.support.process import process

HI = "a: {script: [{text: Hello}]}"


async def nothing(_: SiblingJson) -> SiblingJson:
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

    async def slow(question: SiblingJson) -> SiblingJson:
        await asyncio.sleep(0.3)
        return question

    with monkeypatch.context() as for_now:
        other = os.getppid()
        for_now.setattr("router.admin.siblings.os.getpid", lambda: other)
        sibling = Siblings(tmp_path, slow)
    async with sibling, Siblings(tmp_path, nothing, SiblingTiming(answer=0.05)) as siblings:
        assert await siblings.ask({"ask": "reload"}) == []
        assert await siblings.ask_each({"ask": "reload"}, 10.0) == {other: {"ask": "reload"}}


async def test_removed_shared_folder_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When the folder of the workers' sockets is removed, as by a cleaner of /tmp, its worker logs one error that names the remedy."""
    folder = tmp_path / "router-1"
    folder.mkdir()
    async with Siblings(folder, nothing, SiblingTiming(check=0.0)):
        await asyncio.sleep(0)
        assert caplog.records == []
        shutil.rmtree(folder)
        while not caplog.records:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
    (record,) = caplog.records
    assert (record.levelname, record.message) == ("ERROR", "the shared folder was removed")
    assert record.fields["folder"] == str(folder)  # type: ignore[attr-defined]
    assert record.fields["remedy"].startswith("restart")  # type: ignore[attr-defined]


async def test_shared_folder_is_locked_against_cleaners_of_tmp(workspace: Workspace, tmp_path: Path) -> None:
    """While workers run, their folder in TMPDIR has a BSD lock, which systemd-tmpfiles respects; afterwards the folder is gone."""
    workspace.write("routes.yaml", routes(HI))
    async with process(workspace.root, "--workers", "2", TMPDIR=str(tmp_path)) as router:
        (folder,) = tmp_path.glob("router-*")
        number = os.open(folder, os.O_RDONLY)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(number)
        assert await router.ended() == 0
    assert not folder.exists()


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
