"""Reload follows the files: edits go live however they are written, linked and new files are watched, and a storm of edits leaks nothing."""

import asyncio
import gc
import logging
import os
import shutil
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from router.config import Snapshot, load, read
from router.generation import Generation, build
from router.reload import Live, Reload, ReloadTiming
from tests.conftest import Workspace, routes
from tests.reload.following import (
    HINTS_ALONE,
    WRITERS,
    complaints_of,
    following,
    in_place,
    recorded_reads,
    renamed,
    routes_answering,
    until,
    word,
)


@pytest.mark.parametrize("how", WRITERS)
async def test_edit_goes_live_however_an_editor_writes_it(workspace: Workspace, how: str) -> None:
    """An edit goes live if it is written in place, renamed over the file, or written after the old file was moved away.
    Of three edits at once, the last one is served.
    """
    file = workspace.write("routes.yaml", routes_answering("one")).root / "routes.yaml"
    async with following(workspace) as (live, reload):
        for said in ("two", "three"):
            WRITERS[how](file, routes_answering(said))
            await until(lambda said=said: word(live) == said)
        for said in ("four", "five", "six"):
            WRITERS[how](file, routes_answering(said))
        await until(lambda: word(live) == "six")
        assert reload.failed is None


async def test_file_written_line_by_line_goes_live_complete(workspace: Workspace) -> None:
    """A routes.yaml that is written line by line, 10 ms apart, goes live with its last line and leaves no complaint."""
    file = workspace.write("routes.yaml", routes_answering("one")).root / "routes.yaml"
    whole = routes_answering("two") + "  second: {pipeline: chat, targets: [a]}\n"
    async with following(workspace) as (live, reload):
        with file.open("w", encoding="utf-8") as out:
            for line in whole.splitlines(keepends=True):
                out.write(line)
                out.flush()
                await asyncio.sleep(0.01)
        await until(lambda: "second" in live.generation.routes)
        assert word(live) == "two"
        assert reload.failed is None


async def test_settled_edit_is_served_although_the_next_one_begins(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit that was read twice unchanged is served even if the next, invalid edit begins at that moment."""
    file = workspace.write("routes.yaml", routes_answering("one")).root / "routes.yaml"
    seen: list[str] = []

    def looked(routes: Path) -> Snapshot:
        found = read(routes)
        seen.append(found.texts["routes.yaml"])
        if seen.count(routes_answering("two")) == 2:
            in_place(file, "targets:")
        return found

    async with following(workspace) as (live, reload):
        monkeypatch.setattr("router.reload.reload.read", looked)
        in_place(file, routes_answering("two"))
        await until(lambda: reload.failed is not None)
        assert (word(live), reload.swaps) == ("two", 1)


async def test_configmap_update_goes_live(workspace: Workspace) -> None:
    """An update of a Kubernetes ConfigMap, which only turns the link `..data` to another folder, goes live."""
    root = workspace.root

    def version(name: str, said: str) -> Path:
        folder = root / name
        (folder / "pipelines").mkdir(parents=True)
        shutil.copy(root / "pipelines/chat.yaml", folder / "chat.yaml")
        (folder / "routes.yaml").write_text(routes_answering(said), encoding="utf-8")
        return folder

    version("..2026_1", "one")
    (root / "..data").symlink_to("..2026_1")
    (root / "routes.yaml").symlink_to("..data/routes.yaml")
    async with following(workspace) as (live, _):
        version("..2026_2", "two")
        (root / "..data_tmp").symlink_to("..2026_2")
        (root / "..data_tmp").replace(root / "..data")
        await until(lambda: word(live) == "two")


async def test_edit_of_a_secret_pipeline_or_tool_file_goes_live(workspace: Workspace) -> None:
    """A changed secret file, a changed pipeline and a tools folder that was removed and made again each lead to a new generation."""
    root = workspace.write("key.txt", "sk-one").root
    workspace.write("routes.yaml", routes("a: {model: openai/x, api_key: '${file:key.txt}'}", "targets: [a]\n    tools: [weather]"))
    async with following(workspace) as (live, _):
        digests = [live.generation.digest]

        async def changed() -> None:
            await until(lambda: live.generation.digest not in digests)
            digests.append(live.generation.digest)

        workspace.write("key.txt", "sk-two")
        await changed()
        workspace.write("pipelines/chat.yaml", "steps:\n  - history: {keep: 7}\n")
        await changed()
        shutil.rmtree(root / "tools")
        workspace.write("tools/weather.py", 'async def get_rain() -> str:\n    """Rain."""\n    return "none"\n')
        await changed()
        assert live.generation.routes["chat-model"].toolbox.specs[0].name == "get_rain"


async def test_drill_file_is_followed(workspace: Workspace) -> None:
    """A `drills.yaml` that is created, changed or deleted while the router serves is an edit that the file watch alone finds."""
    drill = "drills:\n  - {name: NAME, ask: {model: gpt-4}, expect: {served_by: a}}\n"
    file = workspace.write("routes.yaml", routes_answering("one")).root / "drills.yaml"
    async with following(workspace, HINTS_ALONE) as (live, reload):

        def names() -> list[str]:
            return [str(one.name) for one in live.generation.declaration.routes.drills]

        await until(lambda: reload._watched is not None)
        for write in (in_place, renamed):
            write(file, drill.replace("NAME", "first"))
            await until(lambda: names() == ["first"])
            write(file, drill.replace("NAME", "second"))
            await until(lambda: names() == ["second"])
            file.unlink()
            await until(lambda: names() == [])
        assert reload.failed is None
        in_place(file, drill.replace("gpt-4", "gpt-5"))
        await until(lambda: reload.failed is not None)
        assert "drills.yaml:2:31: no route is named `gpt-5`" in complaints_of(reload)


async def test_env_file_is_followed_and_its_names_are_logged(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """A `.env` that is created, changed and deleted is an edit each time.
    After each of these edits the names of all variables that come from it are logged, if there are any, and never a value.
    """
    caplog.set_level(logging.INFO, "router.reload")
    target = "a: {script: [{text: hi}]}\nb: {model: openai/gpt-5.6, api_key: '${A_KEY_OF_THE_TESTS}', optional: true}"
    workspace.write("routes.yaml", routes(target, "targets: [b, a]"))
    file = workspace.root / ".env"
    file.touch()
    file.chmod(0o644)

    def logged(event: str, field: str) -> list[Any]:
        return [record.fields[field] for record in caplog.records if record.message == event]  # type: ignore[attr-defined]

    async with following(workspace, HINTS_ALONE) as (live, reload):

        def key() -> str:
            found = live.generation.declaration.routes.targets["b"].api_key  # type: ignore[index]
            return found.value if found is not None and "b" not in live.generation.skipped else ""

        await until(lambda: reload._watched is not None and reload._watched.counts(None, os.path.realpath(file)))
        assert key() == ""
        for write in (in_place, renamed):
            write(file, "A_KEY_OF_THE_TESTS=sk-do-not-show-1\n")
            await until(lambda: key() == "sk-do-not-show-1")
            write(file, "A_KEY_OF_THE_TESTS=sk-do-not-show-2\nMORE=x\n")
            await until(lambda: key() == "sk-do-not-show-2")
            file.unlink()
            await until(lambda: key() == "")
        assert reload.failed is None
    once = [["A_KEY_OF_THE_TESTS"], ["A_KEY_OF_THE_TESTS", "MORE"]]
    assert logged("variables come from .env", "names") == once * 2
    assert "chmod 600 .env" in str(logged(".env is not as it should be", "warnings")[0])
    assert "do-not-show" not in str([(record.message, getattr(record, "fields", {})) for record in caplog.records])


async def test_target_of_a_symbolic_link_is_watched(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Edits behind symbolic links go live: of a linked secret file, in a linked pipelines folder, and by turning the link itself."""
    mounted, shared = tmp_path_factory.mktemp("mounted"), tmp_path_factory.mktemp("shared")

    def version(name: str, key: str) -> None:
        (mounted / name).mkdir()
        (mounted / name / "key").write_text(key)
        (mounted / "..data_tmp").symlink_to(name)
        (mounted / "..data_tmp").replace(mounted / "..data")

    version("..2026_1", "sk-1")
    (mounted / "key").symlink_to("..data/key")
    root = workspace.write("routes.yaml", routes(f"a: {{model: openai/x, api_key: '${{file:{mounted}/key}}'}}")).root
    for name in ("one", "two"):
        shutil.copytree(root / "pipelines", shared / name)
    shutil.rmtree(root / "pipelines")
    (root / "pipelines").symlink_to(shared / "one")
    async with following(workspace) as (live, reload):

        async def changed(act: Callable[[], object]) -> None:
            before = live.generation
            act()
            await until(lambda: live.generation is not before)
            assert reload.failed is None

        for number in range(2, 5):
            await changed(lambda number=number: version(f"..2026_{number}", f"sk-{number}"))
        await changed(lambda: (shared / "one/chat.yaml").write_text("steps:\n  - history: {keep: 7}\n"))
        (root / "other").symlink_to(shared / "two")
        await changed(lambda: (root / "other").replace(root / "pipelines"))
        await changed(lambda: (shared / "two/chat.yaml").write_text("steps:\n  - history: {keep: 8}\n"))


async def test_file_that_an_edit_names_is_watched_from_then_on(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The watch finds changes of a secret file that an edit named before its folder existed, and of a replaced pipelines folder."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    file = workspace.write("routes.yaml", routes_answering("one")).root / "routes.yaml"
    async with following(workspace, HINTS_ALONE) as (live, reload):
        in_place(file, routes(f"a: {{model: openai/x, api_key: '${{file:{elsewhere}/keys/deep/a}}'}}"))
        await until(lambda: reload.failed is not None)
        (elsewhere / "keys/deep").mkdir(parents=True)
        (elsewhere / "keys/deep/a").write_text("sk-1")
        await until(lambda: reload.failed is None)
        for key in ("sk-2", "sk-3"):
            before = live.generation
            (elsewhere / "keys/deep/a").write_text(key)
            await until(lambda before=before: live.generation is not before)
        for keep in (7, 8, 9):
            before = live.generation
            workspace.write("new/chat.yaml", f"steps:\n  - history: {{keep: {keep}}}\n")
            shutil.rmtree(workspace.root / "pipelines")
            (workspace.root / "new").rename(workspace.root / "pipelines")
            await until(lambda before=before: live.generation is not before)


async def test_change_of_an_unrelated_file_does_not_reread_the_configuration(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty changes of files that the configuration does not use cause at most three reads of the configuration."""
    file = workspace.write("routes.yaml", routes_answering("one")).root / "routes.yaml"
    async with following(workspace, HINTS_ALONE) as (live, _):
        in_place(file, routes_answering("two"))
        await until(lambda: word(live) == "two")
        reads = recorded_reads(monkeypatch)
        for number in range(20):
            workspace.write("log.txt", f"line {number}").write(f"logs/{number}", "")
            await asyncio.sleep(0.03)  # further apart than the changes that one hint covers
        assert len(reads) <= 3


@pytest.mark.parametrize("gone", ["routes.yaml", "."])
async def test_deleted_configuration_is_logged_once_and_followed_when_it_returns(
    workspace: Workspace, caplog: pytest.LogCaptureFixture, gone: str
) -> None:
    """A deleted routes.yaml or folder is logged once while the old generation serves, and goes live again when it returns."""
    root = workspace.write("routes.yaml", routes_answering("one")).root
    async with following(workspace, check=0.2) as (live, reload):  # nobody hints at what is in a new folder of that name
        before = live.generation
        for said in ("two", "three"):
            shutil.rmtree(root) if gone == "." else (root / gone).unlink()
            await until(lambda: reload.failed is not None)
            await reload.refresh()
            assert live.generation is before
            workspace.write("pipelines/chat.yaml", "steps: []\n").write("routes.yaml", routes_answering(said))
            await until(lambda said=said: word(live) == said)
            before = live.generation
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == ["not reloaded"] * 2


async def test_edit_between_load_and_watch_goes_live(workspace: Workspace) -> None:
    """An edit that is made after the configuration was loaded and before its files are watched goes live."""
    file = workspace.write("routes.yaml", routes_answering("one")).root / "routes.yaml"
    live = Live(build(load(file)))
    in_place(file, routes_answering("two"))
    async with Reload(live, file, timing=ReloadTiming(check=60.0)):
        await until(lambda: word(live) == "two")
    await live.close()


async def no_changes(*_: object, **__: object) -> AsyncGenerator[object]:
    """Wait for ever without an event: replaces `watchfiles.awatch`."""
    await asyncio.Event().wait()
    yield


async def test_edit_goes_live_on_a_file_system_without_change_events(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Edits on a file system that reports no changes (a network's) are found by the periodic read, within five seconds by default."""
    assert ReloadTiming().check + ReloadTiming().max_settle < 5

    monkeypatch.setattr("watchfiles.awatch", no_changes)
    file = workspace.write("routes.yaml", routes_answering("one")).root / "routes.yaml"
    async with following(workspace, check=0.1) as (live, reload):
        for said in ("two", "three"):
            await asyncio.sleep(0.3)  # whatever the start had it look at is over
            in_place(file, routes_answering(said))
            await until(lambda said=said: word(live) == said)
        assert reload.swaps == 2


async def test_reload_setting_applies_as_the_serving_generation_declares_it(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Edits go live by themselves as long as the serving generation has `server.reload` on; otherwise only on request."""

    def says_when(said: str, when: str) -> str:
        return routes_answering(said) + f"server: {{reload: '{when}'}}\n"

    monkeypatch.setattr("watchfiles.awatch", no_changes)
    reads = recorded_reads(monkeypatch)
    file = workspace.write("routes.yaml", says_when("one", "off")).root / "routes.yaml"
    async with following(workspace, check=0.3) as (live, reload):
        in_place(file, says_when("two", "on"))
        await reload.refresh()
        in_place(file, says_when("three", "on"))
        await until(lambda: word(live) == "three")
        await until(lambda: len(reads) > 10)  # it goes on and on
        in_place(file, says_when("four", "off"))
        await reload.refresh()
        assert word(live) == "four"
        in_place(file, says_when("five", "off"))
        reads.clear()
        await asyncio.sleep(0.7)  # the time of two periodic reads
        assert (word(live), reads) == ("four", [])
        await reload.refresh()
        assert word(live) == "five"


async def test_files_are_watched_only_while_edits_go_live_by_themselves(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `server.reload` off, nothing is watched: each line of a log beside routes.yaml would cost a turn of a thread."""
    watches: list[bool] = []

    async def watch(*_: object, stop_event: asyncio.Event, **__: object) -> AsyncGenerator[object]:
        watches.append(True)
        await stop_event.wait()
        watches[-1] = False
        return
        yield

    monkeypatch.setattr("watchfiles.awatch", watch)
    file = workspace.write("routes.yaml", routes_answering("one") + "server: {reload: 'off'}\n").root / "routes.yaml"
    async with following(workspace) as (live, reload):
        in_place(file, routes_answering("two") + "server: {reload: 'off'}\n")
        await reload.refresh()
        assert (word(live), watches) == ("two", [])
        in_place(file, routes_answering("three") + "server: {reload: 'on'}\n")
        await reload.refresh()
        await until(lambda: watches[-1:] == [True])
        in_place(file, routes_answering("four") + "server: {reload: 'off'}\n")
        await reload.refresh()
        await until(lambda: watches[-1:] == [False])
        assert word(live) == "four"


async def test_storm_of_edits_serves_the_last_and_leaks_no_generation(workspace: Workspace) -> None:
    """The last of 300 edits within seconds is served; at most three generations are open at a time, and one is left in memory."""
    file = workspace.write("routes.yaml", routes_answering("word0")).root / "routes.yaml"
    others = generations()
    async with following(workspace) as (live, reload):
        most = 0
        for number in range(1, 301):
            renamed(file, routes_answering(f"word{number}"))
            await asyncio.sleep(0.003)
            most = max(most, live.alive)
        await until(lambda: word(live) == "word300")
        assert reload.swaps < 300  # some five on a machine that is not busy
        assert most <= 3
        await until(lambda: live.alive == 1)

        def left() -> list[Generation]:
            return [one for one in generations() if not any(one is other for other in others)]

        await until(lambda: left() == [live.generation])  # the thread of the last build may still hold one


def generations() -> list[Generation]:
    """Return every Generation object that is still in memory."""
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, Generation)]
