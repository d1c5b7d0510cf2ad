"""Live: which generation answers, and when the one before it is let go."""

import asyncio
import gc
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from router.config import Declaration, Snapshot, declared, load, read
from router.generation import Generation, build
from router.reload import Live, Reload, ReloadTiming
from tests.conftest import AS_OPERATOR, OPERATOR, Workspace, direct_target, routes, serving
from tests.support.process import STARTS, Process, process, starting
from tests.support.provider import Reply, error, provider, text


class Closing(Generation):
    """A generation that says when it was closed."""

    closed = False

    async def close(self) -> None:
        """Note it."""
        self.closed = True
        await super().close()


def made(workspace: Workspace, text: str) -> Closing:
    """A generation that says this."""
    generation = workspace.write("routes.yaml", routes(f"a: {{script: [{{text: {text}}}]}}")).build()
    return Closing(generation.digest, generation.declaration, generation.server, generation.routes, generation.aliases, generation.skipped)


async def test_a_request_keeps_the_generation_it_began_with(workspace: Workspace) -> None:
    """A swap changes what new requests get; the old generation is closed when its last rider leaves, not before."""
    old, new = made(workspace, "old"), made(workspace, "new")
    live = Live(old)
    with live.pinned() as first, live.pinned() as second:
        live.swap(new)
        assert first is second is old
        with live.pinned() as third:
            assert third is live.generation is new
        assert not old.closed
    await asyncio.sleep(0)
    assert old.closed
    assert not new.closed
    await live.close()
    assert new.closed


async def test_a_generation_nobody_rides_on_is_let_go_at_once(workspace: Workspace) -> None:
    """And each of many."""
    generations = [made(workspace, f"text{index}") for index in range(5)]
    live = Live(generations[0])
    for generation in generations[1:]:
        live.swap(generation)
    await asyncio.sleep(0)
    assert [generation.closed for generation in generations] == [True, True, True, True, False]
    await live.close()


def says(word: str) -> str:
    """A routes.yaml whose model says this."""
    return routes(f"a: {{script: [{{text: {word}}}]}}")


def word(live: Live) -> str:
    """What the live generation's model says."""
    (target,) = live.generation.routes["chat-model"].targets
    declared = live.generation.kept.health
    (known,) = [one for one, _ in declared.values()]
    assert target.name == "a"
    assert isinstance(known.script, tuple)
    return str(known.script[0].text)


@asynccontextmanager
async def following(workspace: Workspace, check: float = ReloadTiming().check) -> AsyncGenerator[tuple[Live, Reload]]:
    """A live generation that follows its files. `check`: seconds after which they are read without a hint."""
    file = workspace.root / "routes.yaml"
    live = Live(build(load(file)))
    async with Reload(live, file, timing=ReloadTiming(check=check)) as reload:
        yield live, reload
    await live.close()


def complaints_of(reload: Reload) -> str:
    """What the newest edit is refused for; empty where it is served."""
    return str(reload.failed.error) if reload.failed is not None else ""


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(240):
        while not condition():
            await asyncio.sleep(0.01)


def in_place(file: Path, content: str) -> None:
    """As `echo > file` does."""
    file.write_text(content, encoding="utf-8")


def renamed(file: Path, content: str) -> None:
    """As most editors do: another file, moved over it."""
    other = file.with_name(".routes.yaml.swp")
    other.write_text(content, encoding="utf-8")
    other.replace(file)


def as_vim(file: Path, content: str) -> None:
    """The old file is moved away, a new one written."""
    backup = file.with_name("routes.yaml~")
    file.replace(backup)
    file.write_text(content, encoding="utf-8")
    backup.unlink()


WRITERS: dict[str, Callable[[Path, str], None]] = {"in place": in_place, "renamed": renamed, "as vim does": as_vim}


@pytest.mark.parametrize("how", WRITERS)
async def test_an_edit_goes_live(workspace: Workspace, how: str) -> None:
    """However it is written, and each of several within a second: the newest is served."""
    file = workspace.write("routes.yaml", says("one")).root / "routes.yaml"
    async with following(workspace) as (live, reload):
        for said in ("two", "three"):
            WRITERS[how](file, says(said))
            await until(lambda said=said: word(live) == said)
        for said in ("four", "five", "six"):
            WRITERS[how](file, says(said))
        await until(lambda: word(live) == "six")
        assert reload.failed is None


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


async def test_half_a_file_is_not_served(workspace: Workspace) -> None:
    """A routes.yaml that is written in pieces, each of which would be a configuration of its own."""
    file = workspace.write("routes.yaml", says("one")).root / "routes.yaml"
    whole = says("two") + "  second: {pipeline: chat, targets: [a]}\n"
    async with following(workspace) as (live, reload):
        with file.open("w", encoding="utf-8") as out:
            for line in whole.splitlines(keepends=True):
                out.write(line)
                out.flush()
                await asyncio.sleep(0.01)
        await until(lambda: "second" in live.generation.routes)
        assert word(live) == "two"
        assert reload.failed is None


async def test_settled_edit_is_served(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit that begins just when one before it has settled is looked at next, not read in its half."""
    file = workspace.write("routes.yaml", says("one")).root / "routes.yaml"
    seen: list[str] = []

    def looked(routes: Path) -> Snapshot:
        found = read(routes)
        seen.append(found.texts["routes.yaml"])
        if seen.count(says("two")) == 2:
            in_place(file, "targets:")
        return found

    async with following(workspace) as (live, reload):
        monkeypatch.setattr("router.reload.reload.read", looked)
        in_place(file, says("two"))
        await until(lambda: reload.failed is not None)
        assert (word(live), reload.swaps) == ("two", 1)


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


async def test_a_configmap_is_followed(workspace: Workspace) -> None:
    """Kubernetes turns one link, `..data`: all files change at once, and none was written to."""
    root = workspace.root

    def version(name: str, said: str) -> Path:
        folder = root / name
        (folder / "pipelines").mkdir(parents=True)
        shutil.copy(root / "pipelines/chat.yaml", folder / "chat.yaml")
        (folder / "routes.yaml").write_text(says(said), encoding="utf-8")
        return folder

    version("..2026_1", "one")
    (root / "..data").symlink_to("..2026_1")
    (root / "routes.yaml").symlink_to("..data/routes.yaml")
    async with following(workspace) as (live, _):
        version("..2026_2", "two")
        (root / "..data_tmp").symlink_to("..2026_2")
        (root / "..data_tmp").replace(root / "..data")
        await until(lambda: word(live) == "two")


async def test_pipelines_tools_and_secrets_are_followed(workspace: Workspace) -> None:
    """Whatever the generation is made of; also a folder that is removed and made again."""
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


HINTS_ALONE = 600.0
"""Seconds between two reads without a hint: too long for what a test waits for."""


async def test_drill_file_is_followed(workspace: Workspace) -> None:
    """It comes, changes and goes while the server runs, and each is an edit: of the watch alone, no look helps."""
    drill = "drills:\n  - {name: NAME, ask: {model: gpt-4}, expect: {served_by: a}}\n"
    file = workspace.write("routes.yaml", says("one")).root / "drills.yaml"
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
    """`.env` comes, changes and goes while the server runs, and each is an edit: of the watch alone, no look helps. No value is logged."""
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


async def test_drill_file_that_fails_keeps_an_edit_from_going_live(workspace: Workspace) -> None:
    """`server.reload: {drills: true}` holds for the drills of either file."""
    drill = "drills:\n  - {name: it, ask: {model: gpt-4}, expect: {fails: timeout}}\n"
    workspace.write("routes.yaml", says("one") + "server: {reload: {when: on, drills: true}}\n")
    async with following(workspace) as (_, reload):
        workspace.write("drills.yaml", drill)
        await until(lambda: reload.failed is not None)
        assert "drills.yaml:2:12: the drill `it` fails: " in complaints_of(reload)


async def test_linked_file_elsewhere_is_watched(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A secret file that a link leads to, as Kubernetes mounts it; a folder that is a link; and what is linked anew goes on being watched."""
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


async def test_file_named_by_an_edit_is_watched_from_then_on(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A secret file in a folder that is not there yet, and its later contents; a folder that takes the place of another."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    file = workspace.write("routes.yaml", says("one")).root / "routes.yaml"
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


async def test_neighbouring_file_is_not_watched(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log, say, or another program's files: each of their changes would have everything read."""
    file = workspace.write("routes.yaml", says("one")).root / "routes.yaml"
    looks = 0

    def looked(routes: Path) -> Snapshot:
        nonlocal looks
        looks += 1
        return read(routes)

    async with following(workspace, HINTS_ALONE) as (live, _):
        in_place(file, says("two"))
        await until(lambda: word(live) == "two")
        monkeypatch.setattr("router.reload.reload.read", looked)
        for number in range(20):
            workspace.write("log.txt", f"line {number}").write(f"logs/{number}", "")
            await asyncio.sleep(0.03)  # further apart than what is told of at one time
        assert looks <= 3


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


@pytest.mark.parametrize("gone", ["routes.yaml", "."])
async def test_file_removed_and_made_again_is_followed(workspace: Workspace, caplog: pytest.LogCaptureFixture, gone: str) -> None:
    """The file, or the folder with all there is: it is complained about once, the old generation serves, and what comes is found."""
    root = workspace.write("routes.yaml", says("one")).root
    async with following(workspace, check=0.2) as (live, reload):  # nobody hints at what is in a new folder of that name
        before = live.generation
        for said in ("two", "three"):
            shutil.rmtree(root) if gone == "." else (root / gone).unlink()
            await until(lambda: reload.failed is not None)
            await reload.refresh()
            assert live.generation is before
            workspace.write("pipelines/chat.yaml", "steps: []\n").write("routes.yaml", says(said))
            await until(lambda said=said: word(live) == said)
            before = live.generation
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == ["not reloaded"] * 2


async def test_edit_during_the_start_is_found_at_once(workspace: Workspace) -> None:
    """After it was loaded, and before it is watched."""
    file = workspace.write("routes.yaml", says("one")).root / "routes.yaml"
    live = Live(build(load(file)))
    in_place(file, says("two"))
    async with Reload(live, file, timing=ReloadTiming(check=60.0)):
        await until(lambda: word(live) == "two")
    await live.close()


async def test_an_edit_that_nothing_hints_at_is_found(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network's file system tells of nothing: the files are looked at all the same, often enough for five seconds."""
    assert ReloadTiming().check + ReloadTiming().max_settle < 5

    async def tells_nothing(*_: object, **__: object) -> AsyncGenerator[object]:
        await asyncio.Event().wait()
        yield

    monkeypatch.setattr("watchfiles.awatch", tells_nothing)
    file = workspace.write("routes.yaml", says("one")).root / "routes.yaml"
    async with following(workspace, check=0.1) as (live, reload):
        for said in ("two", "three"):
            await asyncio.sleep(0.3)  # whatever the start had it look at is over
            in_place(file, says(said))
            await until(lambda said=said: word(live) == said)
        assert reload.swaps == 2


async def test_serving_generation_decides_whether_edits_go_live(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turned on by an edit that was asked for, they are looked for from then on, whoever hints at them; turned off, no longer."""

    async def tells_nothing(*_: object, **__: object) -> AsyncGenerator[object]:
        await asyncio.Event().wait()
        yield

    def says_when(said: str, when: str) -> str:
        return says(said) + f"server: {{reload: '{when}'}}\n"

    looks = 0

    def looked(routes: Path) -> Snapshot:
        nonlocal looks
        looks += 1
        return read(routes)

    monkeypatch.setattr("watchfiles.awatch", tells_nothing)
    monkeypatch.setattr("router.reload.reload.read", looked)
    file = workspace.write("routes.yaml", says_when("one", "off")).root / "routes.yaml"
    async with following(workspace, check=0.3) as (live, reload):
        in_place(file, says_when("two", "on"))
        await reload.refresh()
        in_place(file, says_when("three", "on"))
        await until(lambda: word(live) == "three")
        await until(lambda: looks > 10)  # it goes on and on
        in_place(file, says_when("four", "off"))
        await reload.refresh()
        assert word(live) == "four"
        in_place(file, says_when("five", "off"))
        looks = 0
        await asyncio.sleep(0.7)  # two looks' time
        assert (word(live), looks) == ("four", 0)
        await reload.refresh()
        assert word(live) == "five"


async def test_a_storm_of_edits_is_a_few_and_leaves_nothing(workspace: Workspace) -> None:
    """Three hundred within a second or two, each of them a configuration: only the newest counts, and those between are gone."""
    file = workspace.write("routes.yaml", says("word0")).root / "routes.yaml"
    others = generations()
    async with following(workspace) as (live, reload):
        most = 0
        for number in range(1, 301):
            renamed(file, says(f"word{number}"))
            await asyncio.sleep(0.003)
            most = max(most, live.alive)
        await until(lambda: word(live) == "word300")
        assert reload.swaps < 300  # some five on a machine that is not busy
        assert most <= 3
        await until(lambda: live.alive == 1)
        assert [one for one in generations() if not any(one is other for other in others)] == [live.generation]


def generations() -> list[Generation]:
    """Those that something still holds."""
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, Generation)]


async def test_an_answer_ends_as_it_began(workspace: Workspace) -> None:
    """An edit that swaps the target while answers stream: each finishes from its old one, the next asks the new one."""
    gate = asyncio.Event()
    async with (
        provider(Reply(text("new"))) as new,
        provider(Reply(text("slow", "ly"), gate=gate)) as old,
        AsyncExitStack() as stack,
    ):
        patient = "targets: [a]\n    timeout: {first_token: 120s}"
        file = workspace.write("routes.yaml", routes(direct_target(old.base), patient)).root / "routes.yaml"
        client = await stack.enter_async_context(serving(build(load(file)), file))
        asked = [asyncio.create_task(client.ask()) for _ in range(50)]
        await until(lambda: len(old.requests) == 50)
        first = client.edge.live.generation.digest
        in_place(file, routes(direct_target(new.base)))
        await until(lambda: client.edge.live.generation.digest != first)
        assert (await client.ask()).text == "new"
        gate.set()
        answers = await asyncio.gather(*asked)
        assert {answer.text for answer in answers} == {"slowly"}
        assert len({answer.headers["x-router-generation"] for answer in answers}) == 1


async def test_unchanged_target_keeps_its_health_and_connections(workspace: Workspace) -> None:
    """A breaker that is open, the connections; not where the target itself is another."""
    async with provider(error(500)) as down:
        file = workspace.root / "routes.yaml"

        def declared(keep: str, key: str = "sk-test") -> str:
            target = direct_target(down.base, key=key)
            return routes(
                target, "targets: [a]\n    breaker: {failures: 1, open: 1h}\n    retry: {attempts: 1}", f"server: {{keep_alive: {keep}}}\n"
            )

        in_place(file, declared("10s"))
        first = build(load(file))
        async with serving(first) as client:
            assert (await client.ask()).status == 502
            in_place(file, declared("20s"))
            second = build(load(file), first.kept)
            assert second.digest != first.digest
            assert second.kept.connections is first.kept.connections
            client.edge.live.swap(second)
            assert (await client.ask()).status == 503
            assert len(down.requests) == 1
            in_place(file, declared("20s", "sk-other"))
            client.edge.live.swap(build(load(file), second.kept))
            assert (await client.ask()).status == 502
            assert len(down.requests) == 2


@pytest.mark.parametrize(
    ("flag", "declared", "goes_live"), [("--no-reload", "on", False), ("--reload", "off", True), ("", "auto", False)], ids=str
)
async def test_the_command_line_has_the_last_word(workspace: Workspace, flag: str, declared: str, *, goes_live: bool) -> None:
    """Over what is declared; and in production, where nothing is said, an edit waits to be asked for."""
    script = "a: {{script: [{{text: {}}}]}}"
    more = f"server: {{reload: '{declared}', admin: {{key: {OPERATOR}}}}}\n"
    workspace.write("routes.yaml", routes(script.format("old"), more=more))
    async with process(workspace.root, *([flag] if flag else []), ROUTER_ENV="production") as router:
        workspace.write("routes.yaml", routes(script.format("new"), more=more))
        if goes_live:
            async with asyncio.timeout(240):
                while b"new" not in (await router.ask())[2]:
                    await asyncio.sleep(0.05)
        else:
            await asyncio.sleep(0.5)  # ten times what an edit takes to go live where it does
            assert b"old" in (await router.ask())[2]
            assert (await router.post("/admin/reload", **AS_OPERATOR))[0] == 200
            assert b"new" in (await router.ask())[2]


async def told(router: Process, workers: int) -> tuple[set[str], bool]:
    """What the workers serve, and whether one of them complains of an edit; once all are there."""
    async with asyncio.timeout(240):
        while len(found := (await router.get("/admin/config"))[1]["workers"]) < workers:
            await asyncio.sleep(0.05)
    return {one["generation"] for one in found}, "router_reload_failed 1.0" in (await router.get("/metrics"))[1]


async def becomes(router: Process, workers: int, digests: set[str], *, failed: bool) -> None:
    """Wait until they stand so; and each answer says so."""
    async with asyncio.timeout(240):
        while await told(router, workers) != (digests, failed):
            await asyncio.sleep(0.05)
    answers = await asyncio.gather(*(router.ask() for _ in range(8 * workers)))
    assert {headers["x-router-generation"] for _, headers, _ in answers} == digests


@pytest.mark.parametrize("workers", [1, 3])
async def test_a_signal_has_the_files_read(workspace: Workspace, workers: int) -> None:
    """SIGHUP, where edits do not go live by themselves: every worker ends on the new configuration; a broken one changes nothing, and each
    says so once.
    """
    off = "server: {reload: off}\n"
    file = workspace.write("routes.yaml", says("one") + off).root / "routes.yaml"
    first = load(file).digest
    async with process(workspace.root, "--workers", str(workers)) as router:
        assert await told(router, workers) == ({first}, False)
        in_place(file, says("two") + off)
        second = load(file).digest
        assert await told(router, workers) == ({first}, False)
        router.process.send_signal(signal.SIGHUP)
        await becomes(router, workers, {second}, failed=False)
        in_place(file, says("three").replace("pipeline: chat", "pipeline: chatt") + off)
        router.process.send_signal(signal.SIGHUP)
        await becomes(router, workers, {second}, failed=True)
        await until(lambda: router.said.count("there is no pipelines/chatt.yaml") == workers)
        assert [router.said.count(f'"event": "{event}"') for event in ("reloaded", "not reloaded")] == [workers, workers]
        assert await router.ended() == 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_signal_that_comes_while_the_server_starts_waits(workspace: Workspace, workers: int) -> None:
    """It ends nobody, and has the files read once somebody can."""
    off = "server: {reload: off}\n"
    file = workspace.write("routes.yaml", says("one") + off).root / "routes.yaml"
    async with starting(workspace.root, "--workers", str(workers)) as router:
        async with asyncio.timeout(STARTS):
            while "Pointsman" not in router.said:
                await asyncio.sleep(0.005)
        in_place(file, says("two") + off)
        router.process.send_signal(signal.SIGHUP)
        await router.ready()
        await becomes(router, workers, {load(file).digest}, failed=False)


@pytest.mark.parametrize("how", ["in place", "renamed"])
async def test_an_edit_goes_live_in_every_worker(workspace: Workspace, how: str) -> None:
    """Each follows the files by itself, and all end on the same; a broken edit leaves all as they were, and is complained of; a good one after
    it goes live.
    """
    file = workspace.write("routes.yaml", says("one")).root / "routes.yaml"
    async with process(workspace.root, "--workers", "3") as router:
        await becomes(router, 3, {load(file).digest}, failed=False)
        for said in ("two", "three"):
            WRITERS[how](file, says(said))
            await becomes(router, 3, {load(file).digest}, failed=False)
        good = load(file).digest
        WRITERS[how](file, says("four").replace("pipeline: chat", "pipeline: chatt"))
        await becomes(router, 3, {good}, failed=True)
        await until(lambda: router.said.count("there is no pipelines/chatt.yaml") == 3)
        WRITERS[how](file, says("five"))
        await becomes(router, 3, {load(file).digest}, failed=False)


async def test_edit_of_drills_and_env_file_goes_live_in_every_worker(workspace: Workspace) -> None:
    """All workers end on the generation that these files make, and each logs which variables it took from `.env`."""
    drill = "drills:\n  - {name: it, ask: {model: gpt-4}, expect: {served_by: a}}\n"
    file = workspace.write("routes.yaml", says('"${A_WORD_OF_THE_TESTS:-none}"')).root / "routes.yaml"
    async with process(workspace.root, "--workers", "2") as router:
        await becomes(router, 2, {load(file).digest}, failed=False)
        in_place(workspace.root / "drills.yaml", drill)
        await becomes(router, 2, {load(file).digest}, failed=False)
        in_place(workspace.root / ".env", "A_WORD_OF_THE_TESTS=secret-word\n")
        await becomes(router, 2, {load(file).digest}, failed=False)
        assert b"secret-word" in (await router.ask("Hi", "gpt-4", stream=False))[2]
        await until(lambda: router.said.count('"names": ["A_WORD_OF_THE_TESTS"]') == 2)
        assert "secret-word" not in router.said


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


async def test_an_edit_turns_nobody_away(workspace: Workspace) -> None:
    """What it brings may be slow to start: what answers as before does so meanwhile."""
    live = Live(workspace.write("routes.yaml", says("one")).build())
    assert live.ready
    slow = workspace.write("routes.yaml", routes("a: {script: demo}", "targets: [a]\n    tools: [{mcp: [no-such-command]}]")).build()
    assert not slow.ready
    live.swap(slow)
    assert live.ready
    await live.close()
