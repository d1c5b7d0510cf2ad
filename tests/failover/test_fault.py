"""X-Router-Fault: the provider of one request is broken on purpose, by whoever may, and nobody else notices."""

import json
import logging
from typing import Any

import pytest

from tests.conftest import OPERATOR, ROOT, Client, Workspace, direct_target, routes, serving
from tests.support.provider import Reply, provider, text
from tests.support.raw import Said, request, said

SAID = "One two three four five six seven eight."
SCRIPTS = f"a: {{script: [{{text: {SAID}}}]}}\nb: {{script: [{{text: {SAID}}}]}}"
ROUTE = "targets: [a, b]\n    timeout: {idle: 5s}\n    retry: {attempts: 1}"
ASK = json.dumps({"model": "chat-model", "messages": [{"role": "user", "content": "Count"}], "stream": False}).encode()
FAULTS = {"cut": "cut", "stall": "timeout_idle", "429": "status_429", "garbage": "malformed"}
ADDRESSES = ("/api/chat", "/api/chat/chat-model", "/v1/chat/completions", "/v1/messages")


async def ask(client: Client, path: str = "/api/chat", body: bytes = ASK, /, **headers: str) -> Said:
    """Ask, with these headers."""
    return await said(client.base, request(f"POST {path}", body, **headers))


def admin(key: str = OPERATOR) -> dict[str, str]:
    """The header that bears the admin key."""
    return {"x_router_admin_key": key}


async def last(client: Client) -> dict[str, Any]:
    """The record of the request that was over last."""
    return (await client.get("/admin/requests?last=1")).json["requests"][0]


@pytest.mark.parametrize("fault", FAULTS)
async def test_broken_script_is_rescued_by_the_next_target(workspace: Workspace, fault: str) -> None:
    """The answer is whole, with no word missing and none repeated; the record has the fault and its outcome."""
    async with serving(workspace.write("routes.yaml", routes(SCRIPTS, ROUTE)).build()) as client:
        answer = await ask(client, x_router_fault=fault)
        assert (answer.status, json.loads(answer.rest)["content"]) == (200, SAID)
        assert answer.headers["x-router-fault"] == fault
        record = await last(client)
    assert record["fault"] == fault
    assert [(one["target"], one["outcome"]) for one in record["attempts"]] == [("a", FAULTS[fault]), ("b", "ok")]


@pytest.mark.parametrize("fault", FAULTS)
async def test_answer_after_a_tool_is_rescued_in_the_demo(workspace: Workspace, fault: str) -> None:
    """The demo's tool runs once, its result is told once, and its thoughts come once."""
    workspace.write("tools/calculate.py", (ROOT / "tools" / "calculate.py").read_text(encoding="utf-8"))
    demo = "a: {script: demo}\nb: {script: demo}"
    workspace.write("routes.yaml", routes(demo, f"{ROUTE}\n    tools: [calculate]\n    reasoning: show"))
    async with (
        serving(workspace.build()) as client,
        client.session.post(
            f"{client.base}/api/chat",
            json={"messages": [{"role": "user", "content": "What is 12 * 7?"}]},
            headers={"x-router-fault": fault},
        ) as response,
    ):
        lines = (await response.read()).decode().splitlines()
    values = [(line[0], json.loads(line[2:])) for line in lines]
    assert "".join(value["textDelta"] for code, value in values if code == "0") == "Here is what I found:\n\n- 84\n"
    assert [code for code, _ in values].count("a") == 1
    assert "".join(value["textDelta"] for code, value in values if code == "g").count("The user wants") == 1


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("path", ADDRESSES)
async def test_stranger_cannot_break_a_real_providers_request(workspace: Workspace, path: str, fault: str) -> None:
    """Refused before the provider is asked, in the dialect of the address, with what would be needed."""
    body = json.dumps({**json.loads(ASK), "max_tokens": 10}).encode()
    async with provider(Reply(text("Hi"))) as fake:
        workspace.write("routes.yaml", routes(f"{direct_target(fake.base)}b: {{script: [{{text: Hi}}]}}", "targets: [b, a]"))
        async with serving(workspace.build()) as client:
            answer = await ask(client, path, body, x_router_fault=fault)
            assert answer.status == 403
            assert "X-Router-Admin-Key" in answer.rest.decode()
            assert (await last(client))["outcome"] == "not_allowed"
            wrong = await ask(client, path, body, x_router_fault=fault, **admin("x" * 28))
            assert wrong.status == 401
    assert fake.requests == []


async def test_target_that_is_skipped_is_a_real_provider_still(workspace: Workspace) -> None:
    """An edit that gives it its key gives nobody a right, and takes none."""
    optional = "a: {model: openai/x, api_key: '${NO_KEY}', optional: true}\nb: {script: [{text: Hi}]}"
    async with serving(workspace.write("routes.yaml", routes(optional, "targets: [a, b]")).build()) as client:
        assert (await ask(client, x_router_fault="cut")).status == 403


async def test_page_of_another_site_breaks_nothing(workspace: Workspace) -> None:
    """Not even with the key: a browser may have been talked into it."""
    async with provider(Reply(text("Hi"))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client:
            answer = await ask(client, x_router_fault="cut", sec_fetch_site="cross-site", **admin())
            assert answer.status == 403
    assert fake.requests == []


async def test_operator_breaks_a_real_provider_and_its_breaker_does_not_notice(workspace: Workspace) -> None:
    """With the admin key beside the caller's own. Of 6 faults, where 5 failures open a breaker, the next request finds it closed."""
    async with provider(Reply(text(SAID))) as fake:
        targets = f"{direct_target(fake.base)}b: {{script: [{{text: {SAID}}}]}}"
        async with serving(workspace.write("routes.yaml", routes(targets, ROUTE)).build()) as client:
            for _ in range(6):
                broken = await ask(client, x_router_fault="cut", **admin())
                assert (broken.status, json.loads(broken.rest)["content"]) == (200, SAID)
                assert (await last(client))["rescues"] == 1
            whole = await ask(client)
            assert whole.headers["x-router-target"] == "a"
            stands = {one["name"]: one for one in (await client.get("/admin/targets")).json["targets"]}
    assert (stands["a"]["breaker"], stands["a"]["busy"]) == ("closed", 0)


async def test_broken_answer_is_neither_kept_nor_shared(workspace: Workspace) -> None:
    """Neither is a kept answer given to who asked for a fault."""
    async with serving(workspace.write("routes.yaml", routes(SCRIPTS, f"{ROUTE}\n    cache: {{ttl: 1h}}")).build()) as client:
        assert (await ask(client)).headers["x-router-cache"] == "miss"
        assert (await ask(client, x_router_fault="cut")).headers["x-router-cache"] == "bypass"
        assert (await last(client))["rescues"] == 1
        assert (await ask(client)).headers["x-router-cache"] == "hit"


async def test_unknown_fault_is_refused(workspace: Workspace) -> None:
    """With the faults that there are."""
    async with serving(workspace.write("routes.yaml", routes(SCRIPTS, ROUTE)).build()) as client:
        answer = await ask(client, x_router_fault="explode")
    assert answer.status == 400
    assert "cut, stall, 429, garbage" in answer.rest.decode()


async def test_wrong_key_for_a_fault_is_logged_and_counted(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """As every attempt at an operator's page is. A request without a key is no attempt at one."""
    with caplog.at_level(logging.WARNING, "router.server"):
        async with provider() as fake, serving(workspace.write("routes.yaml", routes(direct_target(fake.base))).build()) as client:
            await ask(client, x_router_fault="cut")
            assert "admin refused" not in caplog.messages
            await ask(client, x_router_fault="cut", **admin("y" * 28))
            metrics = (await client.get("/metrics")).body.decode()
    assert "admin refused" in caplog.messages
    assert 'router_admin_refusals_total{reason="wrong_key"} 1.0' in metrics
