"""Edits that cannot be served."""

import asyncio
import logging
import os
import sys
import threading
from pathlib import Path

import pytest

from router.config import Declaration, Snapshot, declared, read
from router.reload import ReloadTiming
from tests.conftest import Workspace, routes
from tests.reload.following import complaints_of, following, in_place, says, until, word
from tests.support.process import process


async def test_a_bad_edit_changes_nothing(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """It is complained about once, with its place; the old generation serves; and a good one after it goes live."""
    file = workspace.write("routes.yaml", says("one")).root / "routes.yaml"
    with caplog.at_level(logging.INFO, "router.reload"):
        async with following(workspace) as (live, reload):
            before = live.generation
            in_place(file, says("two").replace("pipeline: chat", "pipeline: chatt"))
            await until(lambda: reload.failed is not None)
            await reload.refresh()
            await reload.refresh()
            assert live.generation is before
            assert reload.failed is not None
            assert "routes.yaml:6:15" in str(reload.failed.error)
            in_place(file, says("three"))
            await until(lambda: word(live) == "three")
            assert reload.failed is None
    told = [record.getMessage() for record in caplog.records if record.name == "router.reload"]
    assert told == ["not reloaded", "reloaded"]


async def test_an_edit_that_never_comes_to_an_end_holds_nobody_up(workspace: Workspace) -> None:
    """A file of tools that hangs when it is run: what serves goes on, and ends when it is told to."""
    begun = workspace.root / "begun"
    workspace.write("routes.yaml", says("one"))
    async with process(workspace.root) as router:
        workspace.write("tools/hangs.py", f"import time\nopen({str(begun)!r}, 'w').close()\ntime.sleep(600)\n")
        workspace.write("routes.yaml", routes("a: {script: [{text: two}]}", "targets: [a]\n    tools: [hangs]"))
        await until(begun.exists)
        assert (await router.ask())[0] == 200
        assert await router.ended() == 0


async def test_an_edit_that_takes_too_long_is_not_the_last(workspace: Workspace) -> None:
    """It is complained of, the next one goes live, and what comes of it at last is let go."""
    workspace.write("routes.yaml", says("one"))
    goes_on = workspace.root / "goes_on"
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(goes_on)!r}).exists():\n    time.sleep(0.01)\n"
    workspace.write("tools/waits.py", waits + 'def f() -> str:\n    """F."""\n')
    async with following(workspace) as (live, reload):
        await until(lambda: reload._tried is not None)
        reload.timing = ReloadTiming(build=0.5)
        workspace.write("routes.yaml", routes("a: {script: [{text: two}]}", "targets: [a]\n    tools: [waits]"))
        await until(lambda: reload.failed is not None)
        reload.timing = ReloadTiming()
        assert str(reload.failed and reload.failed.error).startswith("routes.yaml:1:1: the configuration takes longer than 0.5 s to build")
        workspace.write("routes.yaml", says("three"))
        await until(lambda: word(live) == "three")
        assert any(name.endswith(".waits") for name in sys.modules)
        goes_on.touch()
        await until(lambda: not any(name.endswith(".waits") for name in sys.modules))


async def test_late_build_changes_nothing_of_the_edits_after_it(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its thread finds out after its time is over is returned to nobody."""
    goes_on, late = threading.Event(), list[threading.Thread]()

    def slow(snapshot: Snapshot, host: str) -> Declaration:
        if "text: two" in snapshot.texts["routes.yaml"]:
            late.append(threading.current_thread())
            goes_on.wait(60)
        return declared(snapshot, host)

    monkeypatch.setattr("router.reload.edits.declared", slow)
    workspace.write("routes.yaml", says("one"))
    async with following(workspace) as (live, reload):
        await until(lambda: reload._tried is not None)
        reload.timing = ReloadTiming(build=0.2)
        workspace.write("routes.yaml", says("two"))
        await until(lambda: reload.failed is not None)
        reload.timing = ReloadTiming()
        workspace.write("routes.yaml", says("three"))
        await until(lambda: word(live) == "three")
        known = (reload._tried, reload._digest, reload._secrets)
        goes_on.set()
        await until(lambda: not any(thread.is_alive() for thread in late))
        assert (reload._tried, reload._digest, reload._secrets) == known


async def test_a_pipe_is_no_file(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """To read one is to wait for whoever writes into it: it is a mistake, and so it is among the secrets."""
    workspace.write("routes.yaml", says("one"))
    async with following(workspace) as (live, reload):
        os.mkfifo(workspace.root / "pipelines/pipe.yaml")
        await until(lambda: reload.failed is not None)
        assert str(reload.failed and reload.failed.error) == "pipelines/pipe.yaml:1:1: this is no file"
        (workspace.root / "pipelines/pipe.yaml").unlink()
        os.mkfifo(workspace.root / "secret")
        workspace.write("routes.yaml", routes("a: {model: openai/a, api_key: '${file:secret}'}"))
        await until(
            lambda: reload.failed is not None and "the secret file secret cannot be read: it is no file" in str(reload.failed.error)
        )
        workspace.write("routes.yaml", says("three"))
        await until(lambda: word(live) == "three")


async def test_a_secret_file_that_is_too_large_is_an_edit_like_any_other(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried once, not at each look."""
    tried: list[Snapshot] = []

    def told(snapshot: Snapshot, host: str) -> Declaration:
        tried.append(snapshot)
        return declared(snapshot, host)

    monkeypatch.setattr("router.reload.edits.declared", told)
    workspace.write("key.txt", "sk-one").write("routes.yaml", routes("a: {model: openai/x, api_key: '${file:key.txt}'}"))
    looks = 0

    def looked(routes: Path) -> Snapshot:
        nonlocal looks
        looks += 1
        return read(routes)

    async with following(workspace, check=0.02) as (_, reload):
        workspace.write("key.txt", "x" * 1_100_000)
        await until(lambda: reload.failed is not None)
        tried.clear()
        monkeypatch.setattr("router.reload.reload.read", looked)
        await until(lambda: looks > 5)
        assert not tried
        assert "routes.yaml:2:33: the secret file key.txt is larger than 1 MiB" in str(reload.failed.error if reload.failed else "")


async def test_drill_file_that_fails_keeps_an_edit_from_going_live(workspace: Workspace) -> None:
    """`server.reload: {drills: true}` holds for the drills of either file."""
    drill = "drills:\n  - {name: it, ask: {model: gpt-4}, expect: {fails: timeout}}\n"
    workspace.write("routes.yaml", says("one") + "server: {reload: {when: on, drills: true}}\n")
    async with following(workspace) as (_, reload):
        workspace.write("drills.yaml", drill)
        await until(lambda: reload.failed is not None)
        assert "drills.yaml:2:12: the drill `it` fails: " in complaints_of(reload)


async def test_a_secret_file_that_is_missing_changes_nothing_until_it_is_there(workspace: Workspace) -> None:
    """One that an edit names, and one that is taken away: the complaint has its place, and no other edit is needed when it comes."""
    file = workspace.write("routes.yaml", says("one")).root / "routes.yaml"
    keyed = routes("a: {script: [{text: two}]}\nb: {model: openai/x, api_key: '${file:keys/b}'}", "targets: [a, b]")
    async with following(workspace) as (live, reload):
        first = live.generation
        in_place(file, keyed)
        await until(lambda: reload.failed is not None)
        assert live.generation is first
        assert reload.failed is not None
        assert "routes.yaml:3:33: the secret file keys/b cannot be read" in str(reload.failed.error)
        workspace.write("keys/b", "sk-b")
        await until(lambda: live.generation is not first)
        second = live.generation
        assert reload.failed is None
        (workspace.root / "keys/b").unlink()
        await until(lambda: reload.failed is not None)
        workspace.write("keys/b", "sk-b")
        await until(lambda: reload.failed is None)
        assert live.generation is second
        assert (reload.swaps, reload.failures) == (1, 2)


async def test_configuration_that_lacked_something_is_tried_again_on_request(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The files are as they were, and what they need from elsewhere is there now."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "needed"
    workspace.write("routes.yaml", says("one"))
    async with following(workspace) as (live, reload):
        workspace.write("tools/weather.py", f'open({str(elsewhere)!r}).close()\n\n\ndef rain() -> str:\n    """Rain."""\n    return "no"\n')
        workspace.write("routes.yaml", routes("a: {script: [{text: two}]}", "targets: [a]\n    tools: [weather]"))
        await until(lambda: reload.failed is not None)
        elsewhere.touch()
        await reload.refresh()
        assert (word(live), reload.failed) == ("two", None)


async def test_an_edit_that_fails_as_nobody_foresaw_is_not_the_last(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told of, and looked at again."""

    def broken(*_: object) -> object:
        raise ZeroDivisionError

    workspace.write("routes.yaml", says("one"))
    async with following(workspace, check=0.1) as (live, _):
        with monkeypatch.context() as for_now:
            for_now.setattr("router.reload.edits.declared", broken)
            workspace.write("routes.yaml", says("two"))
            await until(lambda: any(record.__dict__.get("fields", {}).get("error") == "ZeroDivisionError" for record in caplog.records))
        await until(lambda: word(live) == "two")


async def test_an_edit_is_finished_where_whoever_asked_for_it_leaves(workspace: Workspace) -> None:
    """Half of it would be lost: what was tried is not tried again."""
    workspace.write("routes.yaml", says("one"))
    async with following(workspace) as (live, reload):
        workspace.write("routes.yaml", says("two"))
        asked = asyncio.create_task(reload.refresh())
        await asyncio.sleep(0)
        asked.cancel()
        await until(lambda: word(live) == "two")
