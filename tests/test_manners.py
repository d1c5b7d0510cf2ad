"""HTTP manners: what a client learns from headers, lists and errors besides an answer."""

from typing import Any

import pytest

from router.wire import WIRES
from tests.conftest import Workspace, routes, serving

ASKED: list[Any] = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_forbids_a_retry_when_the_targets_are_exhausted(workspace: Workspace, wire: str, *, stream: bool) -> None:
    """Retries of the client's SDK would multiply those that were made here; streamed or not, in every dialect."""
    targets = "a: {script: [{fail: down}]}\nb: {script: [{text: Half}, {fail: down}]}"
    more = "  breaks: {pipeline: chat, targets: [b]}\n"
    async with serving(workspace.write("routes.yaml", routes(targets, more=more)).build()) as client:
        down = await client.post(f"/api/chat?protocol={wire}", messages=ASKED, stream=stream)
        cut = await client.post(f"/api/chat/breaks?protocol={wire}", messages=ASKED, stream=False)
    assert (down.status, down.headers["x-should-retry"]) == (502, "false")
    assert (cut.status, cut.headers["x-should-retry"]) == (502, "false")


async def test_an_error_allows_a_retry_when_it_names_a_wait_or_is_the_clients(workspace: Workspace) -> None:
    """After Retry-After another try may help; of a 400 no SDK makes one."""
    limited = "targets: [a]\n    limit: {requests: 1/hour}"
    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", limited)).build()) as client:
        malformed = await client.post("/api/chat", messages="none")
        answers = [await client.post("/api/chat", messages=ASKED) for _ in range(3)]
    refused = answers[-1]
    assert (malformed.status, "x-should-retry" in malformed.headers) == (400, False)
    assert refused.status == 429
    assert "retry-after" in refused.headers
    assert "x-should-retry" not in refused.headers
