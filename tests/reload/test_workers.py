"""Reloads of processes."""

import asyncio
import signal

import pytest

from router.config import load
from tests.conftest import AS_OPERATOR, OPERATOR, Workspace, routes
from tests.reload.following import WRITERS, in_place, says, until
from tests.support.process import STARTS, Process, process, starting


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
