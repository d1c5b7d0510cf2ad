"""Attempts in progress when their answer is ended (by disconnect, timeout or stop): log, admin pages, metrics and traces."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.conftest import Client, Workspace, direct_target, routes, serving
from tests.journal.test_metrics import read
from tests.support.collector import attributes, collector
from tests.support.provider import Reply, calls, error, provider, text

FAILS = error(500)
SILENT = Reply(hold=True)
HALF = Reply(text("So far")[:2], hold=True)
CALLS = Reply(calls(("call_1", "get_weather", '{"location": "Ulm"}')))
BODY: dict[str, Any] = {"id": "chat-1", "model": "chat-model", "messages": [{"role": "user", "content": "Hello"}]}
NO_CHAT = {**BODY, "id": None}

Halted = Callable[[asyncio.Event], Awaitable[None]]
"""Waits until an answer is as far as its script goes. The event is set once the client has read some text."""


async def _ask(client: Client, heard: asyncio.Event, body: Mapping[str, Any] = BODY) -> None:
    async with client.session.post(f"{client.base}/api/chat", json=body) as response:
        async for piece in response.content.iter_any():
            if b"So far" in piece:
                heard.set()


async def _leave(client: Client, halted: Halted, body: Mapping[str, Any] = BODY) -> None:
    asking = asyncio.create_task(_ask(client, heard := asyncio.Event(), body))
    await halted(heard)
    asking.cancel()


async def _wait(client: Client, _: Halted) -> None:
    answered = await client.post(**BODY)
    assert answered.status == 200 or '"a";outcome=timeout_total' in answered.headers["x-router-attempts"]


async def _stop(client: Client, halted: Halted) -> None:
    asking = asyncio.create_task(_ask(client, heard := asyncio.Event()))
    await halted(heard)
    assert (await client.post("/api/chat/chat-1/stop")).status == 204
    await asking


@dataclass(frozen=True)
class Case:
    """An end of an answer: the way it is ended, the replies of the second target, and the expected outcome of the request and of each attempt."""

    end: Callable[[Client, Halted], Awaitable[None]]
    script: tuple[Reply, ...]
    outcome: str
    tried: list[tuple[str, str]]
    route: str = ""
    first: Reply = FAILS
    """The reply of the first target."""


DOWN = ("down", "status_500")
SHORT = "timeout: {total: 3s}"
HEDGED = "hedge: {after: 10ms, at_most: 100%}"
CASES = {
    "the client leaves before the first word": Case(_leave, (SILENT,), "client_left", [DOWN, ("a", "client_left")]),
    "the client leaves in mid-answer": Case(_leave, (HALF,), "client_left", [DOWN, ("a", "client_left")]),
    "the client leaves what is no chat": Case(partial(_leave, body=NO_CHAT), (HALF,), "client_left", [DOWN, ("a", "client_left")]),
    "the client leaves after a tool": Case(_leave, (CALLS, SILENT), "client_left", [DOWN, ("a", "ok"), DOWN, ("a", "client_left")]),
    "its time is over before the first word": Case(_wait, (SILENT,), "timeout", [DOWN, ("a", "timeout_total")], SHORT),
    "its time is over in mid-answer": Case(_wait, (HALF,), "timeout", [DOWN, ("a", "timeout_total")], SHORT),
    "its time is over after a tool": Case(_wait, (CALLS, HALF), "timeout", [DOWN, ("a", "ok"), DOWN, ("a", "timeout_total")], SHORT),
    "it is stopped before the first word": Case(_stop, (SILENT,), "stopped", [DOWN, ("a", "stopped")]),
    "it is stopped in mid-answer": Case(_stop, (HALF,), "stopped", [DOWN, ("a", "stopped")]),
    "behind a cache": Case(_leave, (HALF,), "client_left", [DOWN, ("a", "client_left")], "cache: {ttl: 1h, tools: keep}"),
    "while both of a hedge are silent": Case(
        _leave, (SILENT,), "client_left", [("down", "client_left"), ("a", "client_left")], HEDGED, first=SILENT
    ),
    "when a hedge was won": Case(_leave, (HALF,), "client_left", [("down", "abandoned"), ("a", "client_left")], HEDGED, first=SILENT),
}


@pytest.mark.parametrize("name", CASES)
async def test_cancelled_attempt_is_recorded_with_outcome_and_duration(
    workspace: Workspace, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """An attempt ended by a disconnect, timeout or stop has that outcome in log, admin record, metrics and traces;
    log and record have its seconds.
    """
    case = CASES[name]
    async with collector() as there, provider(case.first) as down, provider(*case.script) as model:
        more = f"server: {{otel: {{endpoint: '{there.endpoint}', every: 1h}}}}\n"
        route = f"targets: [down, a]\n    tools: [weather]\n    retry: {{attempts: 1}}\n    breaker: {{failures: 1000}}\n    {case.route}"
        workspace.write("routes.yaml", routes(direct_target(down.base, "down") + direct_target(model.base), route, more))
        with caplog.at_level(logging.INFO, "router.access"):
            async with serving(workspace.build()) as client:
                await client.get("/api/chat/none/stream")  # the packages are loaded after the first request
                async with asyncio.timeout(240):
                    while client.edge.admin.traces.opening:
                        await asyncio.sleep(0.01)

                async def halted(heard: asyncio.Event) -> None:
                    await model.until(lambda: len(model.requests) == len(case.script) and model.open == 1)
                    if case.script[-1] is HALF:
                        await heard.wait()

                await case.end(client, halted)
                async with asyncio.timeout(240):
                    while client.edge.admin.chat.running:
                        await asyncio.sleep(0.01)
                told = (await client.get("/admin/requests")).json["requests"]
                samples = read((await client.get("/metrics")).body.decode())
        (kept,) = [one for one in told if one["route"]]
        (logged,) = [record.__dict__["fields"] for record in caplog.records if record.__dict__["fields"]["route"]]
        for one in (kept, logged):
            assert one["outcome"] == case.outcome
            assert [(attempt["target"], attempt["outcome"]) for attempt in one["attempts"]] == case.tried
            assert all(0 <= attempt["seconds"] <= one["seconds"] for attempt in one["attempts"])
            last = one["attempts"][-1]
            assert ("first_token_seconds" in last) == (case.script[-1] is HALF)
        last = case.tried[-1]
        assert samples["router_attempts_total", (("outcome", last[1]), ("target", last[0]))] == 1
        assert sum(value for (metric, _), value in samples.items() if metric == "router_attempts_total") == len(case.tried)
        tries = [attributes(span) for span in there.spans if span.name == "chat fake"]
        assert [(one["router.target"], one.get("error.type", "ok")) for one in tries] == case.tried
        points = there.metrics["gen_ai.client.operation.duration"].histogram.data_points
        assert {attributes(point).get("error.type") for point in points} >= {case.tried[-1][1]}


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages"])
async def test_header_of_an_answer_cut_short_lists_the_attempts_as_the_record_does(workspace: Workspace, path: str) -> None:
    """An answer in one body whose time is over in mid-answer is a 504; its header lists each attempt with the outcome in the record."""
    async with provider(FAILS) as down, provider(HALF) as model:
        route = "targets: [down, a]\n    retry: {attempts: 1}\n    timeout: {total: 1s}"
        workspace.write("routes.yaml", routes(direct_target(down.base, "down") + direct_target(model.base), route))
        async with serving(workspace.build()) as client:
            question = {"model": "chat-model", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}], "stream": False}
            answered = await client.post(path, **question)
            (kept,) = (await client.get("/admin/requests")).json["requests"]
    assert answered.status == 504
    shown = re.findall(r'"(\w+)";outcome=(\w*);', answered.headers["x-router-attempts"])
    assert shown == [(one["target"], one["outcome"]) for one in kept["attempts"]] == [DOWN, ("a", "timeout_total")]
