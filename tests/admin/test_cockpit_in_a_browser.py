"""The cockpit of the page at `/` in a real browser, and `/docs`. Skipped where Chromium is not installed."""

import json
import socket
from pathlib import Path

import pytest

from tests.conftest import KEYED, OPERATOR, Workspace, routes, serving
from tests.support.browser import browser
from tests.support.page import ANSWERED, ENTER, SCREENS, ask, choose, demo, fits, focus, open_cockpit, opened, press, unlock


async def test_cockpit_shows_routes_targets_the_hour_and_requests(workspace: Workspace) -> None:
    """The cockpit shows target cards, seven graphs and a list of requests with filters and waterfalls, and no words of a prompt."""
    async with serving(demo(workspace).build()) as client, opened(client) as tab:
        await ask(tab, "What is 12 * 7?")
        await tab.until(ANSWERED.format(1))
        await open_cockpit(tab, client)
        await tab.until("document.querySelectorAll('.requests tbody tr').length === 1")
        names = await tab.run("[...document.querySelectorAll('.way .card strong')].map(one => one.textContent)")
        assert names == ["down", "a"]
        assert await tab.run("document.querySelectorAll('.graph').length") == 7
        await tab.until("document.querySelector('.card dd') && [...document.querySelectorAll('.card')][0].textContent.includes('100 %')")
        await tab.click(".requests tbody .link")
        await tab.until("document.querySelector('.wide .waterfall')")
        rows = await tab.run("[...document.querySelectorAll('.wide .waterfall .name')].map(one => one.textContent)")
        assert rows == ["down", "a", "calculate", "down", "a"]
        assert "12 * 7" not in await tab.run("document.body.innerText")
        await choose(tab, "#kind", "failed")
        await tab.sees("No request is like that.")
        await choose(tab, "#kind", "all")
        await tab.run("document.querySelector('#sought').focus()")
        await tab.type("calculat")
        await tab.sees("No request is like that.")


async def test_cockpit_lists_a_running_request_until_it_ends(workspace: Workspace) -> None:
    """A request in flight is marked as running in the list; after its client disconnects it is listed as `client_left`."""
    lines = [{"text": "First. "}, {"pause": "10m"}]
    workspace.write("routes.yaml", routes(f"a: {{script: {json.dumps(lines)}}}", "targets: [a]\n    timeout: {idle: 20m, total: 30m}"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await open_cockpit(tab, client)
        async with client.session.post(f"{client.base}/api/chat", json={"messages": [{"role": "user", "content": "Hi"}]}) as response:
            assert response.status == 200
            await tab.until("document.querySelector('.requests .running')")
        await tab.until("!document.querySelector('.requests .running') && document.querySelector('.requests tbody tr')")
        await tab.sees("client_left")


async def test_cockpit_names_its_replica_where_others_share_the_redis(workspace: Workspace, tmp_path: Path) -> None:
    """With a Redis configured, the cockpit says which replica's requests it lists; without one, the API's `replica` is null."""
    alone = "a: {script: [{text: Hi}]}"
    redis = "server: {redis: 'redis://127.0.0.1:9/0'}\n"
    async with serving(workspace.write("routes.yaml", routes(alone, more=redis)).build()) as client, opened(client) as tab:
        await open_cockpit(tab, client)
        await tab.sees(f"This is replica {socket.gethostname()}")
        for width, dark in SCREENS:
            await tab.shape(width, 900, dark=dark)
            await fits(tab, width)
            await tab.picture(tmp_path / f"replica-{width}-{dark}.png")
    async with serving(workspace.write("routes.yaml", routes(alone)).build()) as client:
        assert (await client.get("/admin/config")).json["replica"] is None


async def test_operator_drains_a_target_and_restores_it(workspace: Workspace) -> None:
    """The drain and restore buttons appear with the admin key and change which target answers; no storage or URL has the key."""
    targets = "a: {script: [{text: From a}]}\nb: {script: [{text: From b}]}"
    async with serving(workspace.write("routes.yaml", routes(targets, "targets: [a, b]")).build()) as client, opened(client) as tab:
        await open_cockpit(tab, client)
        await tab.until("document.querySelectorAll('.card').length === 2")
        assert await tab.run("document.querySelectorAll('.card button').length") == 0
        await unlock(tab, OPERATOR)
        await press(tab, "Drain: a")
        await tab.until("document.querySelector('.card.off .badge')?.textContent === 'drained'")
        assert (await client.ask()).headers["x-router-target"] == "b"
        await press(tab, "Restore: a")
        await tab.until("!document.querySelector('.card.off')")
        assert (await client.ask()).headers["x-router-target"] == "a"
        kept = "[JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie + location.href]"
        assert OPERATOR not in (await tab.run(kept))[0]


async def test_operator_previews_an_edit_reloads_it_and_rolls_it_back(workspace: Workspace) -> None:
    """The cockpit shows an edit's mistake or its changes in sentences; its buttons reload it, roll it back, and run the drills."""
    targets, off = "a: {script: [{text: A}]}\nb: {script: [{text: B}]}", "server: {reload: off}\n"
    drill = "drills: [{name: the second one helps, given: {a: cut}, ask: {model: chat-model}, expect: {tried: [a cut, b ok]}}]\n"
    file = workspace.write("routes.yaml", routes(targets, "targets: [a, b]", off + drill)).root / "routes.yaml"
    async with serving(workspace.build(), follows=file) as client, opened(client) as tab:
        await open_cockpit(tab, client)
        await tab.sees("The files hold what serves.")
        await unlock(tab, OPERATOR)
        workspace.write("routes.yaml", routes(targets, "targets: [c]", off))
        await press(tab, "look again")
        await tab.sees("no target is named `c`")
        assert (await tab.run("document.querySelector('.pending pre').textContent")).endswith("^")
        workspace.write("routes.yaml", routes(targets, "targets: [b, a]", off))
        await press(tab, "look again")
        await tab.sees("chat-model: first target a → b")
        await press(tab, "Reload the files")
        await tab.sees("serves.")
        assert (await client.ask()).headers["x-router-target"] == "b"
        await press(tab, "Return to the previous configuration")
        await tab.sees("chat-model: first target a → b")
        assert (await client.ask()).headers["x-router-target"] == "a"
        await press(tab, "Run the drills")
        await tab.sees("1 drills, none failed.")
        await tab.sees("the second one helps")


async def test_cockpit_shows_nothing_without_the_admin_key(workspace: Workspace) -> None:
    """With a declared admin key, the cockpit shows no data before it is entered, and an error sentence after a wrong one."""
    workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", more=f"server: {{{KEYED}}}\n"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await open_cockpit(tab, client)
        await tab.until("document.querySelector('#admin-key')")
        assert await tab.run("document.querySelectorAll('.way, .graph, .requests').length") == 0
        await unlock(tab, "x" * 28)
        await tab.sees("This page takes the admin key")
        assert await tab.run("document.querySelectorAll('.way, .graph, .requests').length") == 0
        await unlock(tab, OPERATOR)
        await tab.until("document.querySelector('.way')")
        tab.complaints.clear()  # the browser itself notes each 401 on the console


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_cockpit_fits_each_screen_in_each_language(workspace: Workspace, tmp_path: Path, language: str) -> None:
    """With a waterfall and a failed drill open, nothing is wider than the screen, and axe reports nothing serious."""
    drill = "drills: [{name: it fails, ask: {model: chat-model}, expect: {served_by: a}}]\n"
    async with serving(demo(workspace, drill).build()) as client, opened(client, language) as tab:
        await client.ask("What is 12 * 7?")
        await open_cockpit(tab, client)
        await unlock(tab, OPERATOR)
        await tab.click(".requests tbody .link")
        await tab.until("document.querySelector('.wide .waterfall')")
        await tab.click("#drills")
        await tab.until("document.querySelector('.drills .bad')")
        for width, dark in SCREENS:
            await tab.shape(width, 740, dark=dark)
            await fits(tab, width)
            await tab.picture(tmp_path / f"cockpit-{width}-{dark}.png")


async def test_cockpit_is_worked_by_keyboard_alone(workspace: Workspace) -> None:
    """With Tab and Enter alone, an operator opens the cockpit, enters the admin key and drains a target."""
    targets = "a: {script: [{text: From a}]}\nb: {script: [{text: From b}]}"
    async with serving(workspace.write("routes.yaml", routes(targets, "targets: [a, b]")).build()) as client, opened(client) as tab:
        await focus(tab, "document.activeElement.textContent === 'Cockpit'")
        await tab.press("Enter", ENTER)
        await tab.until("document.querySelectorAll('.card').length === 2")
        await focus(tab, "document.activeElement.id === 'admin-key'")
        await tab.type(OPERATOR)
        await tab.press("Enter", ENTER)
        await tab.until("document.querySelector('.card button')")
        await focus(tab, "document.activeElement.ariaLabel === 'Drain: a'")
        await tab.press("Enter", ENTER)
        await tab.until("document.querySelector('.card.off')")


async def test_cockpit_does_not_leak_memory_over_200_refreshes(workspace: Workspace) -> None:
    """The cockpit has at most 10 % more DOM nodes and 2 MB more heap after 200 refreshes of a full list than after 50."""
    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}")).build()) as client, opened(client) as tab:
        await open_cockpit(tab, client)
        await tab.until("document.querySelector('.way')")
        for _ in range(100):  # from now on the list of requests is full
            await client.ask(stream=False)
        module = await tab.run("new URL('cockpit/state.js', document.querySelector('script').src).href")
        look = f"import({json.dumps(module)}).then(async ({{look}}) => {{ for (let at = 0; at < TIMES; at++) await look(); }})"

        async def weighed(times: int) -> tuple[int, int]:
            for _ in range(times // 25):
                await client.ask(stream=False)
                await tab.run(look.replace("TIMES", "25"))
            await tab.send("HeapProfiler.collectGarbage")
            heap = await tab.send("Runtime.getHeapUsage")
            return (await tab.send("Memory.getDOMCounters"))["nodes"], heap["usedSize"]

        nodes, heap = await weighed(50)
        more_nodes, more_heap = await weighed(150)
    assert more_nodes <= nodes * 1.1
    assert more_heap <= heap + 2_000_000


async def test_docs_are_opened_with_the_admin_key(workspace: Workspace) -> None:
    """With a declared admin key, /docs shows a sentence for a wrong key and the schema for the right one, and stores it nowhere."""
    workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", more=f"server: {{{KEYED}}}\n"))
    async with serving(workspace.build()) as client, browser() as tab:
        await tab.open(f"{client.base}/docs")
        for key, expected in ((f"{OPERATOR}x", "This is not the admin key."), (OPERATOR, "/api/chat/{route}")):
            await tab.until("document.activeElement.type === 'password' && !document.activeElement.value")
            await tab.type(key)
            await tab.press("Enter", ENTER)
            await tab.sees(expected)
        assert OPERATOR not in await tab.run(
            "JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie + location.href"
        )
        assert {one for one in tab.asked if not one.startswith((client.base, "data:", "blob:"))} == set()
