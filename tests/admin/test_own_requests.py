"""`GET /api/requests/<id>`: the record of a request, for the caller that sent it."""

import asyncio
import json
from typing import Any

import pytest

from router.callers.keys import hashed, new
from tests.conftest import Client, Workspace, routes, serving
from tests.support.raw import request, said
from tests.support.services import PATIENCE

SAID = "One two three four 五六七 eight."
RESCUED = f"a: {{script: [{{text: One two three four 五}}, {{fail: down}}]}}\nb: {{script: [{{text: {SAID}}}]}}"


async def ask(client: Client, **headers: str) -> str:
    """Ask one question, and return the request's id."""
    body = json.dumps({"model": "chat-model", "messages": [{"role": "user", "content": "My secret words"}], "stream": False}).encode()
    answer = await said(client.base, request("POST /api/chat", body, **headers))
    assert answer.status == 200, answer.rest
    return answer.headers["x-request-id"]


async def record(client: Client, request_id: str, **headers: str) -> dict[str, Any] | None:
    """Return the record of a request; None where the answer is 404."""
    answer = await said(client.base, request(f"GET /api/requests/{request_id}", **headers))
    assert answer.status in (200, 404), answer.rest
    return json.loads(answer.rest) if answer.status == 200 else None


async def known(client: Client, request_id: str, **headers: str) -> dict[str, Any]:
    """Return the record of a request, once the request is over."""
    async with asyncio.timeout(PATIENCE):
        while (found := await record(client, request_id, **headers)) is None:
            await asyncio.sleep(0.01)
    return found


@pytest.mark.parametrize("cache", ["", "\n    cache: {ttl: 1h}"], ids=["without a cache", "with a cache"])
async def test_record_has_the_position_at_which_another_target_continued(workspace: Workspace, cache: str) -> None:
    """`seams` has the number of characters (code points) before the rescue and both targets; attempts have their start times."""
    async with serving(workspace.write("routes.yaml", routes(RESCUED, f"targets: [a, b]{cache}")).build()) as client:
        found = await known(client, await ask(client))
    assert found["seams"] == [{"after_characters": len("One two three four 五"), "from": "a", "to": "b"}]
    first, second = found["attempts"]
    assert 0 <= first["began_seconds"] <= second["began_seconds"] <= found["seconds"]
    assert found["running"] is False


async def test_record_of_a_tool_loop_has_no_seam_and_each_tool_run(workspace: Workspace) -> None:
    """Two model calls of one target give a record without `seams`, with both tool runs and their start times."""
    lines = [{"text": "Let me look. "}, {"call": "get_weather", "arguments": {"location": "X"}}]
    workspace.write("routes.yaml", routes(f"a: {{script: {json.dumps(lines)}}}", "targets: [a]\n    tools: [weather]\n    max_steps: 2"))
    async with serving(workspace.build()) as client:
        found = await known(client, await ask(client))
    assert (found["seams"], len(found["tools"])) == ([], 2)
    assert all(run["began_seconds"] >= 0 for run in found["tools"])


async def test_record_of_a_request_is_shown_to_its_caller_and_end_user_alone(workspace: Workspace) -> None:
    """The record is 404 for another caller and for another end user of the same caller, and 401 without a key."""
    alice, front = new(), new()
    keys = f"server: {{auth: {{keys: {{alice: {{hash: '{hashed(alice)}'}}, front: {{hash: '{hashed(front)}', user: {{header: X-User}}}}}}}}}}\n"
    async with serving(workspace.write("routes.yaml", routes(RESCUED, "targets: [a, b]", keys)).build()) as client:
        own = {"authorization": f"Bearer {alice}"}
        ann = {"authorization": f"Bearer {front}", "x_user": "ann"}
        hers, anns = await ask(client, **own), await ask(client, **ann)
        assert (await known(client, hers, **own))["request_id"] == hers
        assert (await known(client, anns, **ann))["request_id"] == anns
        assert await record(client, hers, **ann) is None
        assert await record(client, anns, **own) is None
        assert await record(client, anns, authorization=f"Bearer {front}", x_user="bob") is None
        assert (await said(client.base, request(f"GET /api/requests/{hers}"))).status == 401


@pytest.mark.parametrize("fail", ["down", "filtered"])
async def test_record_has_no_words_of_the_conversation(workspace: Workspace, fail: str) -> None:
    """The record of an answer whose first target failed or filtered it contains neither the question's words nor the answer's."""
    targets = f"a: {{script: [{{text: Answered}}, {{fail: {fail}}}]}}\nb: {{script: [{{text: Answered too}}]}}"
    async with serving(workspace.write("routes.yaml", routes(targets, "targets: [a, b]")).build()) as client:
        found = json.dumps(await known(client, await ask(client)))
    assert "secret" not in found
    assert "Answered" not in found


async def test_record_of_a_running_request_is_shown_to_operators(workspace: Workspace) -> None:
    """With `?running=true`, the admin API shows a request in flight; the caller's own record is 404 until the request ends."""
    lines = [{"text": "First. "}, {"pause": "10m"}]
    workspace.write("routes.yaml", routes(f"a: {{script: {json.dumps(lines)}}}", "targets: [a]\n    timeout: {idle: 20m, total: 30m}"))
    async with serving(workspace.build()) as client:
        asked = client.session.post(f"{client.base}/api/chat", json={"messages": [{"role": "user", "content": "Hi"}]})
        async with asked as response:
            request_id = response.headers["x-request-id"]
            assert (await client.get("/admin/requests")).json["requests"] == []
            (running,) = (await client.get("/admin/requests?running=true")).json["requests"]
            assert (running["request_id"], running["running"], running["target"]) == (request_id, True, "a")
            assert (await client.get(f"/admin/requests/{request_id}")).status == 404
            assert (await client.get(f"/admin/requests/{request_id}?running=true")).json["running"] is True
            assert await record(client, request_id) is None
        assert (await known(client, request_id))["outcome"] == "client_left"
        assert (await client.get("/admin/requests?running=true")).json["requests"][0]["running"] is False
