"""Edits that cannot be served, or only later: the configuration before them still answers."""

import asyncio
import logging
import os
import sys
import threading

import pytest

from router.config import Declaration, Snapshot, declared
from router.reload import ReloadTiming
from router.targets.connections import head_of
from router.targets.table import entries
from tests.conftest import Workspace, routes
from tests.reload.following import HINTS_ALONE, complaints_of, following, in_place, recorded_reads, routes_answering, until, word
from tests.support.process import process


async def test_invalid_edit_is_logged_once_and_not_served(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """An edit with a mistake is logged once, with line and column, while the generation before it serves; the next valid edit goes live."""
    file = workspace.write("routes.yaml", routes_answering("one")).root / "routes.yaml"
    with caplog.at_level(logging.INFO, "router.reload"):
        async with following(workspace) as (live, reload):
            before = live.generation
            in_place(file, routes_answering("two").replace("pipeline: chat", "pipeline: chatt"))
            await until(lambda: reload.failed is not None)
            await reload.refresh()
            await reload.refresh()
            assert live.generation is before
            assert reload.failed is not None
            assert "routes.yaml:6:15" in str(reload.failed.error)
            in_place(file, routes_answering("three"))
            await until(lambda: word(live) == "three")
            assert reload.failed is None
    logged = [record.getMessage() for record in caplog.records if record.name == "router.reload"]
    assert logged == ["not reloaded", "reloaded"]


async def test_tool_file_that_hangs_on_load_blocks_neither_answers_nor_shutdown(workspace: Workspace) -> None:
    """A tool file that hangs when an edit loads it leaves the router answering, and SIGTERM still ends the process with exit code 0."""
    begun = workspace.root / "begun"
    workspace.write("routes.yaml", routes_answering("one"))
    async with process(workspace.root) as router:
        workspace.write("tools/hangs.py", f"import time\nopen({str(begun)!r}, 'w').close()\ntime.sleep(600)\n")
        workspace.write("routes.yaml", routes("a: {script: [{text: two}]}", "targets: [a]\n    tools: [hangs]"))
        await until(begun.exists)
        assert (await router.ask())[0] == 200
        assert await router.ended() == 0


async def test_edit_beyond_the_build_time_is_refused_and_the_next_goes_live(workspace: Workspace) -> None:
    """An edit that is not built within `ReloadTiming.build` is refused, and its late build is discarded; the next edit goes live."""
    workspace.write("routes.yaml", routes_answering("one"))
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
        workspace.write("routes.yaml", routes_answering("three"))
        await until(lambda: word(live) == "three")
        assert any(name.endswith(".waits") for name in list(sys.modules))
        goes_on.touch()
        await until(lambda: not any(name.endswith(".waits") for name in list(sys.modules)))


async def test_late_build_does_not_overwrite_the_state_of_a_later_edit(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that ends after its time limit does not change what `Reload` has recorded for the next edit (content, digest, secrets)."""
    goes_on, late = threading.Event(), list[threading.Thread]()

    def slow(snapshot: Snapshot, host: str) -> Declaration:
        if "text: two" in snapshot.texts["routes.yaml"]:
            late.append(threading.current_thread())
            goes_on.wait(60)
        return declared(snapshot, host)

    monkeypatch.setattr("router.reload.edits.declared", slow)
    workspace.write("routes.yaml", routes_answering("one"))
    async with following(workspace) as (live, reload):
        await until(lambda: reload._tried is not None)
        reload.timing = ReloadTiming(build=0.2)
        workspace.write("routes.yaml", routes_answering("two"))
        await until(lambda: reload.failed is not None)
        reload.timing = ReloadTiming()
        workspace.write("routes.yaml", routes_answering("three"))
        await until(lambda: word(live) == "three")
        known = (reload._tried, reload._digest, reload._secrets)
        goes_on.set()
        await until(lambda: not any(thread.is_alive() for thread in late))
        assert (reload._tried, reload._digest, reload._secrets) == known


async def test_named_pipe_is_refused_as_a_pipeline_or_secret_file(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """A named pipe as a pipeline or secret file is reported as `no file` and is not read, since a read would block."""
    workspace.write("routes.yaml", routes_answering("one"))
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
        workspace.write("routes.yaml", routes_answering("three"))
        await until(lambda: word(live) == "three")


async def test_files_that_serve_are_not_declared_again_when_the_router_starts(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are read again after the start, unchanged since the configuration was loaded, are not declared a second time.

    A change of a secret file, which was known from the load, goes live.
    """
    tried: list[Snapshot] = []

    def recording(snapshot: Snapshot, host: str) -> Declaration:
        tried.append(snapshot)
        return declared(snapshot, host)

    monkeypatch.setattr("router.reload.edits.declared", recording)
    reads = recorded_reads(monkeypatch)
    workspace.write("key.txt", "sk-one").write(".env", "NAME=openai/x\n")
    workspace.write("routes.yaml", routes("a: {model: '${NAME}', api_key: '${file:key.txt}'}"))
    async with following(workspace, check=0.02) as (_, reload):
        await until(lambda: len(reads) > 5)
        assert not tried
        workspace.write("key.txt", "sk-two")
        await until(lambda: reload.swaps == 1)


async def test_edit_and_return_free_what_their_build_looked_up(workspace: Workspace) -> None:
    """An edit, and a return to the configuration before it, leave no request head in memory, which holds a key, and no table of models."""
    first = routes("a: {model: openai/gpt-4o, api_base: 'http://localhost:1', api_key: '${KEY:-sk-one}'}")
    workspace.write("routes.yaml", first)
    async with following(workspace, HINTS_ALONE) as (live, reload):
        before = live.generation.digest
        workspace.write("routes.yaml", first.replace("one", "two"))
        await reload.refresh()
        for served in (live.generation.digest, before):
            assert await reload.go_back(served)
            assert live.generation.digest == served
            assert (head_of.cache_info().currsize, entries.cache_info().currsize) == (0, 0)


async def test_too_large_secret_file_is_refused_once_not_at_each_check(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret file that grows beyond 1 MiB is refused at the line that names it, and is not built again at each periodic check."""
    tried: list[Snapshot] = []

    def recording(snapshot: Snapshot, host: str) -> Declaration:
        tried.append(snapshot)
        return declared(snapshot, host)

    monkeypatch.setattr("router.reload.edits.declared", recording)
    workspace.write("key.txt", "sk-one").write("routes.yaml", routes("a: {model: openai/x, api_key: '${file:key.txt}'}"))
    async with following(workspace, check=0.02) as (_, reload):
        workspace.write("key.txt", "x" * 1_100_000)
        await until(lambda: reload.failed is not None)
        tried.clear()
        reads = recorded_reads(monkeypatch)
        await until(lambda: len(reads) > 5)
        assert not tried
        assert "routes.yaml:2:33: the secret file key.txt is larger than 1 MiB" in str(reload.failed.error if reload.failed else "")


async def test_edit_is_refused_when_a_drill_of_drills_yaml_fails(workspace: Workspace) -> None:
    """An edit of `drills.yaml` whose drill fails is refused at the drill's line and column, with `server.reload: {drills: true}`."""
    drill = "drills:\n  - {name: it, ask: {model: gpt-4}, expect: {fails: timeout}}\n"
    workspace.write("routes.yaml", routes_answering("one") + "server: {reload: {when: on, drills: true}}\n")
    async with following(workspace) as (_, reload):
        workspace.write("drills.yaml", drill)
        await until(lambda: reload.failed is not None)
        assert "drills.yaml:2:12: the drill `it` fails: " in complaints_of(reload)


async def test_missing_secret_file_is_reported_until_it_exists(workspace: Workspace) -> None:
    """An edit that names a missing secret file is refused until the file exists; a later deletion of the file is reported as well."""
    file = workspace.write("routes.yaml", routes_answering("one")).root / "routes.yaml"
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


async def test_refused_edit_is_tried_again_when_a_reload_is_requested(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A requested reload builds a refused edit again although its files are unchanged, since other files that it needs may exist now."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "needed"
    workspace.write("routes.yaml", routes_answering("one"))
    async with following(workspace) as (live, reload):
        workspace.write("tools/weather.py", f'open({str(elsewhere)!r}).close()\n\n\ndef rain() -> str:\n    """Rain."""\n    return "no"\n')
        workspace.write("routes.yaml", routes("a: {script: [{text: two}]}", "targets: [a]\n    tools: [weather]"))
        await until(lambda: reload.failed is not None)
        elsewhere.touch()
        await reload.refresh()
        assert (word(live), reload.failed) == ("two", None)


async def test_unexpected_exception_in_a_reload_is_logged_and_the_edit_tried_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected exception in a reload is logged by its class name, and the edit goes live at a later periodic check."""

    def broken(*_: object) -> object:
        raise ZeroDivisionError

    workspace.write("routes.yaml", routes_answering("one"))
    async with following(workspace, check=0.1) as (live, _):
        with monkeypatch.context() as for_now:
            for_now.setattr("router.reload.edits.declared", broken)
            workspace.write("routes.yaml", routes_answering("two"))
            await until(lambda: any(record.__dict__.get("fields", {}).get("error") == "ZeroDivisionError" for record in caplog.records))
        await until(lambda: word(live) == "two")


async def test_requested_reload_finishes_when_its_caller_is_cancelled(workspace: Workspace) -> None:
    """A requested reload goes live even if the task that requested it is cancelled."""
    workspace.write("routes.yaml", routes_answering("one"))
    async with following(workspace) as (live, reload):
        workspace.write("routes.yaml", routes_answering("two"))
        asked = asyncio.create_task(reload.refresh())
        await asyncio.sleep(0)
        asked.cancel()
        await until(lambda: word(live) == "two")
