"""The admin API: access to it, the pages it serves, and its commands (drain, open, reload)."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import pytest

from router.attempt import Attempt
from router.config import load
from router.generation import build
from router.journal.attempts import header
from tests.conftest import AS_OPERATOR, OPERATOR, Client, Workspace, direct_target, litellm_target, routes, serving
from tests.support.process import process
from tests.support.provider import Reply, error, provider, text

HI = "a: {script: [{text: Hello}]}\nb: {script: [{text: Hello}]}"
BOTH = "targets: [a, b]"


async def page(client: Client, path: str, headers: Mapping[str, str] | None = None) -> int:
    """Return the status of a GET with these headers."""
    async with client.session.get(client.base + path, headers=headers) as response:
        return response.status


async def put(client: Client, target: str, state: str) -> tuple[int, Any]:
    """Set the state of a target over the admin API; return the status and the JSON body."""
    async with client.session.post(f"{client.base}/admin/targets/{target}", headers=AS_OPERATOR, json={"state": state}) as response:
        return response.status, await response.json()


PAGES = ["/metrics", "/admin/config", "/admin/targets", "/admin/requests", "/openapi.json"]


@pytest.mark.parametrize("path", PAGES)
async def test_admin_pages_without_a_declared_key_answer_on_loopback_alone(workspace: Workspace, path: str) -> None:
    """Without a declared key, an admin page is 200 for a loopback `Host`, and 400 or 403 for other hosts, proxies and other web pages."""
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        assert await page(client, path) == 200
        for name in ("x-forwarded-for", "x-real-ip", "forwarded", "via", "origin"):
            assert await page(client, path, {name: "127.0.0.1"}) == 403
        for host in ("router.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[::2]", "192.0.2.1"):
            assert await page(client, path, {"host": host}) in (400, 403)
        for host in ("localhost", "LOCALHOST:9", "127.0.0.9:80", "[::1]:80"):
            assert await page(client, path, {"host": host}) == 200


@pytest.mark.parametrize("path", PAGES)
async def test_pages_with_a_declared_key_require_it_from_everywhere(workspace: Workspace, path: str) -> None:
    """With `server.admin.key`, an admin page is 200 only with that key as a Bearer token and 401 otherwise, even from loopback."""
    workspace.write("routes.yaml", routes(HI, more="server: {admin: {key: adm-canary-of-the-operators}}\n"))
    async with serving(workspace.build()) as client:
        assert await page(client, path, {"authorization": "Bearer adm-canary-of-the-operators"}) == 200
        assert (
            await page(client, path, {"authorization": "bearer adm-canary-of-the-operators", "x-forwarded-for": "1.2.3.4", "host": "x"})
            == 200
        )
        for wrong in (
            "Bearer adm-canar",
            "Bearer adm-canaryy",
            "Basic adm-canary-of-the-operators",
            "adm-canary-of-the-operators",
            "Bearer",
            "Bearer ädm",
        ):
            async with client.session.get(client.base + path, headers={"authorization": wrong}) as response:
                assert response.status == 401
                assert response.headers["www-authenticate"] == "Bearer"
                assert "canary" not in await response.text()
        assert await page(client, path) == 401
        assert await page(client, "/healthz") == 200


@pytest.mark.parametrize("path", ["/admin/", "//admin/config", "/admin/../admin/config", "/%61dmin/config", "/metrics/", "/admin%2fconfig"])
async def test_spelling_of_the_path_does_not_bypass_the_gate(workspace: Workspace, path: str) -> None:
    """A request with a foreign `Host` for an encoded, doubled or dotted spelling of an admin path is a 307, 403 or 404."""
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        reader, writer = await asyncio.open_connection(*client.base.removeprefix("http://").split(":"))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
        status = int((await reader.readline()).split()[1])
        writer.close()
        assert status in (307, 403, 404)


async def test_drained_target_gets_no_question_until_it_is_restored(workspace: Workspace) -> None:
    """A drained target completes its running answer and gets no new request until it is set to `auto`, not even after a reload."""
    slow = "a: {script: [{text: slow}, {pause: 2s}, {text: ly}]}\nb: {script: [{text: other}]}"
    file = workspace.write("routes.yaml", routes(slow, BOTH)).root / "routes.yaml"
    async with serving(build(load(file)), file) as client:
        asked = asyncio.create_task(client.ask())
        while not client.edge.live.generation.kept.loads["a"][1].busy:
            await asyncio.sleep(0.01)
        assert await put(client, "a", "drain") == (200, {"name": "a", "state": "drain"})
        other = await client.ask()
        assert other.text == "other"
        assert other.headers["x-router-attempts"].startswith('"a";outcome=drained;seconds=0.000, "b";')
        assert (await asked).text == "slowly"
        workspace.write("routes.yaml", routes(slow, BOTH, "server: {keep_alive: 9s}\n"))
        before = client.edge.live.generation.digest
        async with client.session.post(f"{client.base}/admin/reload", headers=AS_OPERATOR) as response:
            assert (await response.json())["generation"] != before
        assert (await client.ask()).text == "other"
        assert [one["state"] for one in (await client.get("/admin/targets")).json["targets"]] == ["drain", "auto"]
        await put(client, "a", "auto")
        assert (await client.ask()).text == "slowly"
        assert (await put(client, "aa", "drain"))[0] == 404
        assert (await put(client, "a", "off"))[0] == 422


async def test_target_stays_drained_when_an_edit_removes_and_restores_it(workspace: Workspace) -> None:
    """A target that one edit removes and a later edit restores is still drained, unless an operator set it to `auto` in between."""
    file = workspace.write("routes.yaml", routes(HI, BOTH)).root / "routes.yaml"

    async def edited(content: str) -> None:
        workspace.write("routes.yaml", content)
        async with client.session.post(f"{client.base}/admin/reload", headers=AS_OPERATOR) as response:
            assert response.status == 200

    async def states() -> dict[str, str]:
        return {one["name"]: one["state"] for one in (await client.get("/admin/targets")).json["targets"]}

    async with serving(build(load(file)), file) as client:
        assert (await put(client, "a", "drain"))[0] == 200
        await edited(routes(HI, "targets: [b]"))
        assert await states() == {"b": "auto"}
        await edited(routes(HI, BOTH))
        assert await states() == {"a": "drain", "b": "auto"}
        assert (await client.ask()).headers["x-router-target"] == "b"
        await edited(routes(HI, "targets: [b]"))
        assert (await put(client, "a", "auto"))[0] == 200
        assert (await put(client, "a", "drain"))[0] == 404
        await edited(routes(HI, BOTH))
        assert (await client.ask()).headers["x-router-target"] == "a"


async def test_drain_reaches_a_worker_that_does_not_know_the_target_yet(workspace: Workspace) -> None:
    """A worker remembers a drain of a target that it does not know yet, reports it to other workers, and applies it after the edit."""
    file = workspace.write("routes.yaml", routes(HI, "targets: [b]")).root / "routes.yaml"
    async with serving(build(load(file)), file) as client:
        assert await client.edge.admin.answer({"ask": "place", "target": "a", "state": "drain"}) == {}
        assert await client.edge.admin.answer({"ask": "place", "target": "b", "state": "nowhere"}) == {}
        assert await client.edge.admin.answer({"ask": "positions"}) == {"a": "drain"}
        workspace.write("routes.yaml", routes(HI, BOTH))
        await client.session.post(f"{client.base}/admin/reload", headers=AS_OPERATOR)
        assert (await client.ask()).headers["x-router-attempts"].startswith('"a";outcome=drained')


async def test_breaker_opened_by_an_operator_is_half_open_when_restored(workspace: Workspace) -> None:
    """A breaker that an operator opened with `open` is half-open after `auto`, and the first answer closes it."""
    workspace.write("routes.yaml", routes(HI, BOTH))
    async with serving(workspace.build()) as client:
        await put(client, "a", "open")
        assert (await client.ask()).headers["x-router-target"] == "b"
        await put(client, "a", "auto")
        states = {one["name"]: one["breaker"] for one in (await client.get("/admin/targets")).json["targets"]}
        assert states == {"a": "half_open", "b": "closed"}
        assert (await client.ask()).headers["x-router-target"] == "a"
        assert (await client.get("/admin/targets")).json["targets"][0]["breaker"] == "closed"


async def test_attempts_of_a_request_are_in_its_header_and_its_record(workspace: Workspace) -> None:
    """The `x-router-attempts` header lists the failed attempts with outcome, seconds and wait; the record also has the successful one."""
    async with provider(error(429, **{"retry-after": "77"})) as limited, provider(Reply(text("fine"))) as good:
        targets = direct_target(limited.base) + litellm_target(good.base, "b")
        workspace.write("routes.yaml", routes(targets, "targets: [a, b]\n    breaker: {failures: 1, open: 1h}"))
        async with serving(workspace.build()) as client:
            first = await client.ask()
            assert first.headers["x-router-attempts"].startswith('"a";outcome=status_429;seconds=0.')
            assert first.headers["x-router-attempts"].endswith(";wait=77.0")
            second = await client.ask()
            assert re.search(r'"a";outcome=breaker_open;seconds=0\.0\d+;wait=3', second.headers["x-router-attempts"])
            told = (await client.get(f"/admin/requests/{first.headers['x-request-id']}")).json
            assert (told["route"], told["outcome"], told["target"], told["rescues"]) == ("chat-model", "stop", "b", 0)
            assert [(one["target"], one["outcome"], one.get("retry_after_seconds")) for one in told["attempts"]] == [
                ("a", "status_429", 77.0),
                ("b", "ok", None),
            ]
            assert told["attempts"][1]["first_token_seconds"] <= told["first_token_seconds"]
            newest = (await client.get("/admin/requests?last=1")).json["requests"]
            assert [one["request_id"] for one in newest] == [second.headers["x-request-id"]]
            assert (await client.get("/admin/requests/req_none")).status == 404


async def test_answer_continued_by_another_target_is_counted_as_a_rescue(workspace: Workspace) -> None:
    """An answer that a second target continues has `rescues: 1` and two attempts in its record, and the metrics count rescues."""
    targets = "a: {script: [{text: 'The end is '}, {fail: down}]}\nb: {script: [{text: near.}]}"
    workspace.write("routes.yaml", routes(targets, "targets: [a, b]"))
    async with serving(workspace.build()) as client:
        answer = await client.ask()
        told = (await client.get(f"/admin/requests/{answer.headers['x-request-id']}")).json
        assert (told["rescues"], told["outcome"], len(told["attempts"])) == (1, "stop", 2)
        assert "router_rescues_total" in (await client.get("/metrics")).body.decode()


async def test_invalid_edit_is_shown_to_operators_with_its_mistake(workspace: Workspace) -> None:
    """A reload of an invalid edit is 422 with the mistake's place, and the old configuration serves.

    /admin/config shows the same mistake; the metrics show one failed reload.
    """
    file = workspace.write("routes.yaml", routes(HI)).root / "routes.yaml"
    async with serving(build(load(file)), file) as client:
        live = client.edge.live.generation.digest
        workspace.write("routes.yaml", routes(HI, "targets: [nobody]"))
        async with client.session.post(f"{client.base}/admin/reload", headers=AS_OPERATOR) as response:
            assert response.status == 422
            complaint = (await response.json())["detail"][0]
        assert (complaint["file"], complaint["line"], complaint["column"]) == ("routes.yaml", 8, 15)
        shown = (await client.get("/admin/config")).json
        assert shown["live"]["digest"] == live
        assert shown["failed"]["errors"] == [complaint]
        assert shown["failed"]["digest"] not in (None, live)
        assert (await client.get("/readyz")).status == 200
        metrics = (await client.get("/metrics")).body.decode()
        assert "router_reload_failures_total 1.0" in metrics
        assert "router_reload_failed 1.0" in metrics
        assert (await client.ask()).status == 200


async def test_reload_is_refused_for_a_program_without_configuration_files(workspace: Workspace) -> None:
    """A reload is a 409 if the serving generation was built by the program itself and follows no configuration file."""
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client, client.session.post(f"{client.base}/admin/reload", headers=AS_OPERATOR) as response:
        assert response.status == 409


async def test_tool_name_that_a_model_made_up_is_recorded_as_other(workspace: Workspace) -> None:
    """A model's call of a tool that the route does not have is recorded as `other` instead of the name that the model made up."""
    targets = "a: {script: [{call: get_weather, arguments: {location: x}}, {call: sk-canary-tool, arguments: {}}]}"
    workspace.write("routes.yaml", routes(targets, "targets: [a]\n    tools: [weather]\n    max_steps: 1"))
    async with serving(workspace.build()) as client:
        answer = await client.ask()
        told = (await client.get(f"/admin/requests/{answer.headers['x-request-id']}")).json
        assert [one["tool"] for one in told["tools"]] == ["get_weather", "other"]


async def test_drain_reload_and_record_reach_all_workers(workspace: Workspace) -> None:
    """With four workers, one request to the admin API drains a target in all, reloads all, or finds a record that any of them holds."""
    workspace.write("routes.yaml", routes(HI, BOTH, "server: {reload: off, admin: {key: " + OPERATOR + "}}\n"))
    async with process(workspace.root, "--workers", "4") as router:
        async with asyncio.timeout(240):
            while len((await router.get("/admin/config", **AS_OPERATOR))[1]["workers"]) < 4:
                await asyncio.sleep(0.05)
        assert (await router.post("/admin/targets/a", {"state": "drain"}, **AS_OPERATOR))[0] == 200
        answers = await asyncio.gather(*(router.ask() for _ in range(16)))
        assert {headers["x-router-target"] for _, headers, _ in answers} == {"b"}
        for _, headers, _ in answers:
            status, told = await router.get(f"/admin/requests/{headers['x-request-id']}", **AS_OPERATOR)
            assert (status, told["target"]) == (200, "b")
        assert len((await router.get("/admin/requests?last=16", **AS_OPERATOR))[1]["requests"]) == 16
        workspace.write("routes.yaml", routes(HI, BOTH, "server: {reload: off, keep_alive: 7s, admin: {key: " + OPERATOR + "}}\n"))
        _, reloaded = await router.post("/admin/reload", **AS_OPERATOR)
        assert set(reloaded["workers"].values()) == {reloaded["generation"]}
        assert len(reloaded["workers"]) == 4
        answers = await asyncio.gather(*(router.ask() for _ in range(16)))
        assert {headers["x-router-generation"] for _, headers, _ in answers} == {reloaded["generation"]}
        assert await router.ended() == 0


def test_attempts_header_is_a_structured_field() -> None:
    """The header of two attempts is a structured list (RFC 9651) of target names with parameters, whose numbers are rounded."""
    tries = (Attempt("gpt-4o", "status_429", 0.2101, wait=2.0), Attempt("at/home:1", "ok", 1.5, first=0.2))
    assert header(tries) == '"gpt-4o";outcome=status_429;seconds=0.210;wait=2.0, "at/home:1";outcome=ok;seconds=1.500'
