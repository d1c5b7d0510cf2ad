"""Reloads of a router in processes of its own: flags of the command line, SIGHUP, and several workers."""

import asyncio
import signal

import pytest

from router.config import load
from tests.conftest import AS_OPERATOR, OPERATOR, Workspace, routes
from tests.reload.following import WRITERS, in_place, routes_answering, until
from tests.support.process import STARTS, Process, process, starting


@pytest.mark.parametrize(
    ("flag", "declared", "goes_live"), [("--no-reload", "on", False), ("--reload", "off", True), ("", "auto", False)], ids=str
)
async def test_reload_flag_overrides_the_configuration(workspace: Workspace, flag: str, declared: str, *, goes_live: bool) -> None:
    """The flags `--reload` and `--no-reload` override `server.reload`; `auto` in production waits for `POST /admin/reload`."""
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


async def serving_state(router: Process, workers: int) -> tuple[set[str], bool]:
    """Return the digests that the workers serve, and whether the metrics report a failed edit, once so many workers are listed."""
    async with asyncio.timeout(240):
        while len(found := (await router.get("/admin/config"))[1]["workers"]) < workers:
            await asyncio.sleep(0.05)
    return {one["generation"] for one in found}, "router_reload_failed 1.0" in (await router.get("/metrics"))[1]


async def becomes(router: Process, workers: int, digests: set[str], *, failed: bool) -> None:
    """Wait until the workers serve exactly these digests and report a failed edit or none; then check the digests in answers' headers."""
    async with asyncio.timeout(240):
        while await serving_state(router, workers) != (digests, failed):
            await asyncio.sleep(0.05)
    answers = await asyncio.gather(*(router.ask() for _ in range(8 * workers)))
    assert {headers["x-router-generation"] for _, headers, _ in answers} == digests


@pytest.mark.parametrize("workers", [1, 3])
async def test_sighup_reloads_every_worker(workspace: Workspace, workers: int) -> None:
    """SIGHUP reloads the files in every worker although `reload` is off; an invalid edit is logged once by each and changes nothing."""
    off = "server: {reload: off}\n"
    file = workspace.write("routes.yaml", routes_answering("one") + off).root / "routes.yaml"
    first = load(file).digest
    async with process(workspace.root, "--workers", str(workers)) as router:
        assert await serving_state(router, workers) == ({first}, False)
        in_place(file, routes_answering("two") + off)
        second = load(file).digest
        assert await serving_state(router, workers) == ({first}, False)
        router.process.send_signal(signal.SIGHUP)
        await becomes(router, workers, {second}, failed=False)
        in_place(file, routes_answering("three").replace("pipeline: chat", "pipeline: chatt") + off)
        router.process.send_signal(signal.SIGHUP)
        await becomes(router, workers, {second}, failed=True)
        await until(lambda: router.printed.count("there is no pipelines/chatt.yaml") == workers)
        assert [router.printed.count(f'"event": "{event}"') for event in ("reloaded", "not reloaded")] == [workers, workers]
        assert await router.ended() == 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_sighup_during_the_start_reloads_once_the_server_serves(workspace: Workspace, workers: int) -> None:
    """SIGHUP during the start does not end the process, and the files are read again once the server serves."""
    off = "server: {reload: off}\n"
    file = workspace.write("routes.yaml", routes_answering("one") + off).root / "routes.yaml"
    async with starting(workspace.root, "--workers", str(workers)) as router:
        async with asyncio.timeout(STARTS):
            while "Pointsman" not in router.printed:
                await asyncio.sleep(0.005)
        in_place(file, routes_answering("two") + off)
        router.process.send_signal(signal.SIGHUP)
        await router.ready()
        await becomes(router, workers, {load(file).digest}, failed=False)


@pytest.mark.parametrize("how", ["in place", "renamed"])
async def test_edit_goes_live_in_every_worker(workspace: Workspace, how: str) -> None:
    """All three workers serve a valid edit; after an invalid one, all report it and keep serving the edit before it."""
    file = workspace.write("routes.yaml", routes_answering("one")).root / "routes.yaml"
    async with process(workspace.root, "--workers", "3") as router:
        await becomes(router, 3, {load(file).digest}, failed=False)
        for said in ("two", "three"):
            WRITERS[how](file, routes_answering(said))
            await becomes(router, 3, {load(file).digest}, failed=False)
        good = load(file).digest
        WRITERS[how](file, routes_answering("four").replace("pipeline: chat", "pipeline: chatt"))
        await becomes(router, 3, {good}, failed=True)
        await until(lambda: router.printed.count("there is no pipelines/chatt.yaml") == 3)
        WRITERS[how](file, routes_answering("five"))
        await becomes(router, 3, {load(file).digest}, failed=False)


async def test_edit_of_drills_and_env_file_goes_live_in_every_worker(workspace: Workspace) -> None:
    """An edit of `drills.yaml` or `.env` goes live in both workers, and each logs the names, not the values, of `.env`'s variables."""
    drill = "drills:\n  - {name: it, ask: {model: gpt-4}, expect: {served_by: a}}\n"
    file = workspace.write("routes.yaml", routes_answering('"${A_WORD_OF_THE_TESTS:-none}"')).root / "routes.yaml"
    async with process(workspace.root, "--workers", "2") as router:
        await becomes(router, 2, {load(file).digest}, failed=False)
        in_place(workspace.root / "drills.yaml", drill)
        await becomes(router, 2, {load(file).digest}, failed=False)
        in_place(workspace.root / ".env", "A_WORD_OF_THE_TESTS=secret-word\n")
        await becomes(router, 2, {load(file).digest}, failed=False)
        assert b"secret-word" in (await router.ask("Hi", "gpt-4", stream=False))[2]
        await until(lambda: router.printed.count('"names": ["A_WORD_OF_THE_TESTS"]') == 2)
        assert "secret-word" not in router.printed
