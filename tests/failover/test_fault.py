"""X-Router-Fault: a header by which an operator breaks the provider's answer to one request, which affects no other request."""

import json
import logging
from typing import Any

import pytest

from tests.conftest import OPERATOR, ROOT, Client, Workspace, direct_target, routes, serving
from tests.support.provider import Reply, provider, text
from tests.support.raw import RawResponse, request, response_to

SAID = "One two three four five six seven eight."
SCRIPTS = f"a: {{script: [{{text: {SAID}}}]}}\nb: {{script: [{{text: {SAID}}}]}}"
ROUTE = "targets: [a, b]\n    timeout: {idle: 5s}\n    retry: {attempts: 1}"
ASK = json.dumps({"model": "chat-model", "messages": [{"role": "user", "content": "Count"}], "stream": False}).encode()
FAULTS = {"cut": "cut", "stall": "timeout_idle", "429": "status_429", "garbage": "malformed"}
ADDRESSES = ("/api/chat", "/api/chat/chat-model", "/v1/chat/completions", "/v1/messages")


async def ask(client: Client, path: str = "/api/chat", body: bytes = ASK, /, **headers: str) -> RawResponse:
    """Send one POST with these headers, and return the answer."""
    return await response_to(client.base, request(f"POST {path}", body, **headers))


def admin(key: str = OPERATOR) -> dict[str, str]:
    """Return the header with the admin key."""
    return {"x_router_admin_key": key}


async def last(client: Client) -> dict[str, Any]:
    """Return the record of the request that ended last, from /admin/requests."""
    return (await client.get("/admin/requests?last=1")).json["requests"][0]


@pytest.mark.parametrize("fault", FAULTS)
async def test_broken_script_is_rescued_by_the_next_target(workspace: Workspace, fault: str) -> None:
    """With each fault in `X-Router-Fault`, the answer is complete, with no word missing or repeated.
    Its record names the fault; the first target's attempt has the fault's outcome, the second's is `ok`.
    """
    async with serving(workspace.write("routes.yaml", routes(SCRIPTS, ROUTE)).build()) as client:
        answer = await ask(client, x_router_fault=fault)
        assert (answer.status, json.loads(answer.rest)["content"]) == (200, SAID)
        assert answer.headers["x-router-fault"] == fault
        record = await last(client)
    assert record["fault"] == fault
    assert [(one["target"], one["outcome"]) for one in record["attempts"]] == [("a", FAULTS[fault]), ("b", "ok")]


@pytest.mark.parametrize("fault", FAULTS)
async def test_fault_in_the_demo_repeats_neither_its_tool_call_nor_its_reasoning(workspace: Workspace, fault: str) -> None:
    """With each fault on a question to two demos, the client gets one complete answer, one tool result and one reasoning text."""
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
async def test_fault_on_a_real_provider_is_refused_without_the_admin_key(workspace: Workspace, path: str, fault: str) -> None:
    """A fault on a route with a real provider is 403 without the admin key and 401 with a wrong one; the provider is not asked."""
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


async def test_fault_is_refused_on_a_route_whose_only_real_provider_has_no_key(workspace: Workspace) -> None:
    """A route with an optional target that is skipped for lack of its key counts as one with a real provider: a fault is 403."""
    optional = "a: {model: openai/x, api_key: '${NO_KEY}', optional: true}\nb: {script: [{text: Hi}]}"
    async with serving(workspace.write("routes.yaml", routes(optional, "targets: [a, b]")).build()) as client:
        assert (await ask(client, x_router_fault="cut")).status == 403


async def test_fault_is_refused_from_a_page_of_another_site(workspace: Workspace) -> None:
    """A fault sent by a browser from another site (`Sec-Fetch-Site: cross-site`) is 403, also with the admin key."""
    async with provider(Reply(text("Hi"))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client:
            answer = await ask(client, x_router_fault="cut", sec_fetch_site="cross-site", **admin())
            assert answer.status == 403
    assert fake.requests == []


async def test_faults_with_the_admin_key_do_not_open_the_breaker(workspace: Workspace) -> None:
    """Six injected faults of one target, more than would open its breaker, are each rescued; the breaker then is closed."""
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


async def test_request_with_a_fault_bypasses_the_cache(workspace: Workspace) -> None:
    """A request with a fault is answered past the cache (`bypass`), and the cached answer stays a hit for the next request."""
    async with serving(workspace.write("routes.yaml", routes(SCRIPTS, f"{ROUTE}\n    cache: {{ttl: 1h}}")).build()) as client:
        assert (await ask(client)).headers["x-router-cache"] == "miss"
        assert (await ask(client, x_router_fault="cut")).headers["x-router-cache"] == "bypass"
        assert (await last(client))["rescues"] == 1
        assert (await ask(client)).headers["x-router-cache"] == "hit"


async def test_unknown_fault_is_refused(workspace: Workspace) -> None:
    """An unknown fault is 400, with the four valid ones in the error."""
    async with serving(workspace.write("routes.yaml", routes(SCRIPTS, ROUTE)).build()) as client:
        answer = await ask(client, x_router_fault="explode")
    assert answer.status == 400
    assert "cut, stall, 429, garbage" in answer.rest.decode()


async def test_wrong_admin_key_for_a_fault_is_logged_and_counted(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """A fault with a wrong admin key is logged as `admin refused` and counted in the metrics; one without a key is not logged."""
    with caplog.at_level(logging.WARNING, "router.server"):
        async with provider() as fake, serving(workspace.write("routes.yaml", routes(direct_target(fake.base))).build()) as client:
            await ask(client, x_router_fault="cut")
            assert "admin refused" not in caplog.messages
            await ask(client, x_router_fault="cut", **admin("y" * 28))
            metrics = (await client.get("/metrics")).body.decode()
    assert "admin refused" in caplog.messages
    assert 'router_admin_refusals_total{reason="wrong_key"} 1.0' in metrics
