"""Costs: each model call is charged once, at the price of the target that made it, for every kind of answer."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router.attempt import Attempt
from router.config import declare, read
from router.config.price import Price
from router.generation import Carryover, build
from router.journal.bill import MAX_ROWS, Bill, summed
from router.journal.entry import Entry
from router.journal.metrics import Metrics
from router.targets import Connections
from router.usage import Usage
from tests.conftest import Client, Workspace, routes, serving
from tests.support.provider import DONE, Reply, chunk, error, frame, provider

A, B = Price(input=3, output=15, cached=0.3), Price(input=1, output=5, cached=0.1)
COUNTED = Usage(1000, 50, 600, reasoning_tokens=20)
SAID = "The quick brown fox jumps over the lazy dog, and nobody minds that at all. "


def target(name: str, base: str, price: Price, prefix: str = "openai", more: str = "") -> str:
    """Return the declaration of a target with this price. `more`: further keys of it."""
    costs = f"{{input: {price.input}, output: {price.output}, cached: {price.cached}}}"
    return f"{name}: {{model: {prefix}/fake, api_base: '{base}', api_key: sk-test, price: {costs}{more}}}\n"


def counts(usage: Usage) -> bytes:
    """Return the frame of the OpenAI wire that reports this usage."""
    counted = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
    return frame({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "fake", "choices": [], "usage": counted})


def answer(usage: Usage = COUNTED, *pieces: str) -> tuple[bytes, ...]:
    """Return the chunks of a complete answer that reports this usage."""
    return (*(chunk({"content": one}) for one in pieces or (SAID,)), chunk({}, "stop"), counts(usage), DONE)


@asynccontextmanager
async def asking(
    workspace: Workspace, targets: str, route: str = "targets: [a, b]", more: str = "", linger: float = 1.0
) -> AsyncGenerator[Client, None]:
    """Serve one route over these targets; yield a client. `linger`: seconds for which an answer's end waits for its usage."""
    workspace.write("routes.yaml", routes(targets, route, more))
    before = Carryover(Connections(linger=linger))
    async with serving(build(declare(read(workspace.root / "routes.yaml"), {}), before)) as client:
        yield client


async def logged(client: Client, request_id: str) -> dict[str, Any]:
    """Return the record of a request, once it exists."""
    async with asyncio.timeout(240):
        while (found := await client.get(f"/admin/requests/{request_id}")).status != 200:
            await asyncio.sleep(0.005)
    return found.json


def calls(told: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Return the attempts of a record that have a cost: target, outcome, and whether the usage is an estimate."""
    return [(one["target"], one["outcome"], one.get("estimated", False)) for one in told["attempts"] if "input_tokens" in one]


@pytest.mark.parametrize("stream", [True, False])
async def test_tokens_from_a_prompt_cache_are_charged_at_the_cache_price(workspace: Workspace, stream: bool) -> None:
    """Cached tokens have their own price in the record and the metrics and, for an answer that is not streamed, in `X-Router-Cost`."""
    async with provider(Reply(answer())) as fake, asking(workspace, target("a", fake.base, A), "targets: [a]") as client:
        came = await client.ask(stream=stream)
        told = await logged(client, came.headers["x-request-id"])
        assert told["cost_usd"] == A.of(COUNTED) == (400 * 3 + 600 * 0.3 + 50 * 15) / 1e6
        assert came.headers.get("x-router-cost") == (None if stream else "0.00213")
        names = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
        assert [told[name] for name in names] == [1000, 50, 600, 0, 20]
        assert (told["estimated"], told["estimated_cost_usd"]) == (False, None)
        assert calls(told) == [("a", "ok", False)]
        page = (await client.get("/metrics")).body.decode()
        assert 'router_cost_usd_total{route="chat-model"} 0.00213' in page
        assert 'router_token_parts_total{kind="cached",route="chat-model"} 600.0' in page
        assert 'router_token_parts_total{kind="reasoning",route="chat-model"} 20.0' in page
        assert "router_estimated_cost_usd_total{" not in page


async def test_answer_continued_by_another_target_costs_both_calls(workspace: Workspace) -> None:
    """A rescued answer costs both calls at their own prices; the broken one is estimated, since its provider reported no usage."""
    broken = Reply((chunk({"content": SAID * 4}),), drop=True)
    async with (
        provider(broken) as first,
        provider(Reply(answer(COUNTED, "The end."))) as second,
        asking(workspace, target("a", first.base, A) + target("b", second.base, B)) as client,
    ):
        told = await logged(client, (await client.ask("Hello there, how are you?")).headers["x-request-id"])
        assert calls(told) == [("a", "cut", True), ("b", "ok", False)]
        guess = told["attempts"][0]
        assert guess["output_tokens"] == pytest.approx(68, rel=0.2)  # as o200k counts it
        assert told["estimated_cost_usd"] == guess["cost_usd"] == A.of(Usage(guess["input_tokens"], guess["output_tokens"]))
        assert told["cost_usd"] == pytest.approx(guess["cost_usd"] + B.of(COUNTED), abs=1e-12)


async def test_hedged_request_costs_both_calls(workspace: Workspace) -> None:
    """A hedged request costs the second target's call and the estimated input of the abandoned first one."""
    question = SAID * 20
    silent = Reply((frame({"id": "c1", "choices": []}),), hold=True)
    async with provider(silent) as first, provider(Reply(answer())) as second:
        both = target("a", first.base, A) + target("b", second.base, B)
        async with asking(workspace, both, "targets: [a, b]\n    hedge: {after: 10ms, at_most: 100%}") as client:
            told = await logged(client, (await client.ask(question)).headers["x-request-id"])
            assert sorted(calls(told)) == [("a", "abandoned", True), ("b", "ok", False)]
            guess = next(one for one in told["attempts"] if one["target"] == "a")
            assert guess["input_tokens"] == pytest.approx(341, rel=0.2)
            assert told["cost_usd"] == pytest.approx(guess["cost_usd"] + B.of(COUNTED), abs=1e-12)


async def test_refusal_of_a_parameter_costs_nothing(workspace: Workspace) -> None:
    """A call that the provider refuses for a parameter costs nothing; the same call without that parameter is charged."""
    refusal = error(400, "Unsupported parameter: 'temperature' is not supported with this model.", "unsupported_parameter")
    async with provider(refusal, Reply(answer())) as fake, asking(workspace, target("a", fake.base, A), "targets: [a]") as client:
        told = await logged(client, (await client.ask(temperature=0.5)).headers["x-request-id"])
        assert len(fake.requests) == 2
        assert (calls(told), told["cost_usd"], told["estimated"]) == ([("a", "ok", False)], A.of(COUNTED), False)


IN_THE_STREAM = Reply((frame({"error": {"message": "overloaded", "code": 503}}), DONE))


@pytest.mark.parametrize(
    "refusal", [error(400), error(401), error(429), error(503), IN_THE_STREAM], ids=["400", "401", "429", "503", "503 under a 200"]
)
async def test_call_that_its_provider_refused_costs_nothing(workspace: Workspace, refusal: Reply) -> None:
    """A call that ends in status 400, 401, 429 or 503, also within a stream, costs nothing; the next target's call is charged."""
    async with (
        provider(refusal) as first,
        provider(Reply(answer())) as second,
        asking(workspace, target("a", first.base, A) + target("b", second.base, B)) as client,
    ):
        told = await logged(client, (await client.ask()).headers["x-request-id"])
        assert (calls(told), told["cost_usd"]) == ([("b", "ok", False)], B.of(COUNTED))


async def test_empty_answer_costs_the_usage_that_its_provider_reported(workspace: Workspace) -> None:
    """An empty answer is charged with its reported usage, beside the call of the target that answers instead."""
    empty = Reply((chunk({}, "stop"), counts(Usage(100, 0)), DONE))
    async with provider(empty) as first, provider(Reply(answer())) as second:
        both = target("a", first.base, A) + target("b", second.base, B)
        async with asking(workspace, both, "targets: [a, b]\n    retry: {attempts: 1}") as client:
            told = await logged(client, (await client.ask()).headers["x-request-id"])
            assert calls(told) == [("a", "empty", False), ("b", "ok", False)]
            assert told["cost_usd"] == pytest.approx(A.of(Usage(100, 0)) + B.of(COUNTED), abs=1e-12)


async def test_cached_answer_costs_nothing(workspace: Workspace) -> None:
    """A cache hit has no cost in its header or record, and no attempts; the request that filled the cache has both."""
    async with (
        provider(Reply(answer())) as fake,
        asking(workspace, target("a", fake.base, A), "targets: [a]\n    cache: {ttl: 1h}") as client,
    ):
        paid, free = [await client.ask(stream=False) for _ in range(2)]
        assert (free.headers["x-router-cache"], free.headers.get("x-router-cost")) == ("hit", None)
        assert paid.headers["x-router-cost"] == "0.00213"
        told = await logged(client, free.headers["x-request-id"])
        assert (told["cost_usd"], told["input_tokens"], told["attempts"]) == (None, None, [])


async def test_coalesced_answer_is_paid_by_exactly_one_request(workspace: Workspace) -> None:
    """Of three concurrent requests that share one upstream call, one is charged and two cost nothing."""
    gate = asyncio.Event()
    async with (
        provider(Reply(answer(), gate=gate)) as fake,
        asking(workspace, target("a", fake.base, A), "targets: [a]\n    cache: {ttl: 1h}") as client,
    ):
        asked = [asyncio.create_task(client.ask()) for _ in range(3)]
        async with asyncio.timeout(240):
            while client.edge.admin.chat.running < 3 or not fake.requests:
                await asyncio.sleep(0.005)
        gate.set()
        told = [await logged(client, (await one).headers["x-request-id"]) for one in asked]
        assert sorted(one["cost_usd"] or 0.0 for one in told) == [0.0, 0.0, A.of(COUNTED)]


def late(gate: asyncio.Event) -> Reply:
    """Return an answer whose usage arrives after its end, when the gate opens."""
    head, *rest = (b"".join(answer()[:-2]), *answer()[-2:])
    return Reply((head, *rest), gate=gate)


def late_gemini(gate: asyncio.Event) -> Reply:
    """Return the same on Google's wire, which counts thoughts apart from the text."""
    parts = {"role": "model", "parts": [{"text": SAID}]}
    counted = {
        "promptTokenCount": COUNTED.input_tokens,
        "cachedContentTokenCount": COUNTED.cached_tokens,
        "candidatesTokenCount": COUNTED.output_tokens - COUNTED.reasoning_tokens,
        "thoughtsTokenCount": COUNTED.reasoning_tokens,
    }
    return Reply((frame({"candidates": [{"content": parts, "finishReason": "STOP"}]}), frame({"usageMetadata": counted})), gate=gate)


COUNTING = {
    "direct": ("openai", "", late),
    "litellm": ("openai", ", via: litellm", late),
    "gemini": ("gemini", "", late_gemini),
    "gemini, litellm": ("gemini", ", via: litellm", late_gemini),
}
"""Lanes: prefix of the model, further keys of the target, and the answer whose count is late."""


@pytest.mark.parametrize("lane", COUNTING)
@pytest.mark.parametrize("more", [{}, {"stream": False}, {"id": "chat"}], ids=["stream", "whole", "chat"])
async def test_usage_reported_after_the_end_of_an_answer_is_charged(workspace: Workspace, lane: str, more: dict[str, Any]) -> None:
    """The client gets its answer first; once the usage arrives, the request is recorded with its exact cost and counts in the limit."""
    gate = asyncio.Event()
    prefix, keys, reply = COUNTING[lane]
    async with provider(reply(gate)) as fake:
        route = "targets: [a]\n    limit: {tokens: 1000/hour, concurrent: 1}"
        base = fake.base if prefix == "openai" else fake.base.removesuffix("/v1")
        async with asking(workspace, target("a", base, A, prefix, keys), route, linger=0.01) as client:
            came = await client.ask(**more)
            assert came.status == 200
            assert fake.open == 1  # its provider has still something to say
            assert (await client.get(f"/admin/requests/{came.headers['x-request-id']}")).status == 404
            gate.set()
            told = await logged(client, came.headers["x-request-id"])
            assert (calls(told), told["cost_usd"], told["estimated"]) == ([("a", "ok", False)], A.of(COUNTED), False)
            assert (await client.ask()).status == 429


@pytest.mark.parametrize("lane", ["direct", "litellm"])
async def test_concurrency_slot_is_free_while_late_usage_is_awaited(workspace: Workspace, lane: str) -> None:
    """With a concurrency limit of one, the next requests are answered while the usage of earlier ones is awaited."""
    gate = asyncio.Event()
    prefix, keys, reply = COUNTING[lane]
    async with (
        provider(reply(gate)) as fake,
        asking(workspace, target("a", fake.base, A, prefix, keys), "targets: [a]\n    limit: {concurrent: 1}", linger=0.01) as client,
    ):
        assert [(await client.ask()).status for _ in range(3)] == [200] * 3
        assert client.edge.admin.chat.running == 0
        gate.set()


@pytest.mark.parametrize("lane", ["direct", "litellm"])
async def test_usage_still_missing_at_shutdown_is_estimated(workspace: Workspace, lane: str) -> None:
    """A request whose usage is still missing at shutdown is recorded once, with an estimate."""
    prefix, keys, reply = COUNTING[lane]
    async with (
        provider(reply(asyncio.Event())) as fake,
        asking(workspace, target("a", fake.base, A, prefix, keys), "targets: [a]", linger=0.01) as client,
    ):
        request_id = (await client.ask()).headers["x-request-id"]
        admin = client.edge.admin
    (told,) = [one for one in admin.ring.latest(10) if one["request_id"] == request_id]
    assert (calls(dict(told)), told["estimated"]) == ([("a", "ok", True)], True)


def message(*frames: dict[str, Any]) -> Sequence[bytes]:
    """Return frames of Anthropic's wire."""
    return [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in frames]


async def test_interrupted_call_costs_the_input_counted_at_its_start(workspace: Workspace) -> None:
    """A call that its client leaves is charged with the input that Anthropic reports first, caches included, and an estimated output."""
    begun = {
        "type": "message_start",
        "message": {"usage": {"input_tokens": 10, "cache_read_input_tokens": 5000, "output_tokens": 1}},
    }
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    said = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": SAID * 4}}
    async with (
        provider(Reply(message(begun, block, said), hold=True)) as fake,
        asking(workspace, target("a", fake.base, A, "anthropic"), "targets: [a]") as client,
    ):
        body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}
        async with client.session.post(f"{client.base}/api/chat", json=body) as response:
            await response.content.readany()
            request_id = response.headers["x-request-id"]
            response.close()
        told = await logged(client, request_id)
        assert (told["outcome"], calls(told)) == ("client_left", [("a", "client_left", True)])
        (cut,) = told["attempts"]
        assert (cut["input_tokens"], cut["cached_tokens"]) == (5010, 5000)
        assert cut["output_tokens"] == pytest.approx(68, rel=0.2)
        assert told["cost_usd"] == told["estimated_cost_usd"] == A.of(Usage(5010, cut["output_tokens"], 5000))


async def test_cost_totals_are_reported_by_route_target_and_caller(workspace: Workspace) -> None:
    """/admin/spend has counts, costs, estimated costs and cache savings for each route, target and caller, the most expensive first."""
    broken = Reply((chunk({"content": SAID * 4}),), drop=True)
    async with (
        provider(broken, Reply(answer())) as first,
        provider(Reply(answer(COUNTED, "The end."))) as second,
        asking(workspace, target("a", first.base, A) + target("b", second.base, B)) as client,
    ):
        told = [await logged(client, (await client.ask()).headers["x-request-id"]) for _ in range(3)]
        page = (await client.get("/admin/spend")).json
        (route,) = page["routes"].values()
        assert (route["count"], list(page["routes"]), list(page["callers"])) == (3, ["chat-model"], ["anonymous"])
        assert route == page["callers"]["anonymous"]
        assert route["cost_usd"] == pytest.approx(sum(one["cost_usd"] for one in told), abs=1e-12)
        assert route["estimated_cost_usd"] == told[0]["estimated_cost_usd"] > 0
        assert {name: row["count"] for name, row in page["targets"].items()} == {"a": 3, "b": 1}
        assert list(page["targets"]) == ["a", "b"]
        assert page["targets"]["b"]["cost_usd"] == B.of(COUNTED)
        assert page["targets"]["b"]["saved_usd"] == pytest.approx(600 * (1 - 0.1) / 1e6)
        assert route["cached_tokens"] == 3 * 600
        assert route["saved_usd"] == pytest.approx((2 * 600 * (3 - 0.3) + 600 * (1 - 0.1)) / 1e6)


def test_cost_totals_of_callers_beyond_the_bound_are_summed_together() -> None:
    """Callers beyond MAX_ROWS share one total, `other`; the sum over all callers stays complete."""
    metrics = Metrics()
    made = Bill(metrics.rows)
    for number in range(MAX_ROWS + 50):
        call = Attempt("a", "ok", 0.1, usage=Usage(10, 1))
        Entry("id", "generation", caller=f"user-{number}", route="r", attempts=(call,), prices={"a": A}, observers=(metrics.count,)).close()
    metrics.rows.settle()
    told = summed([made.totals(), made.totals()])
    assert (len(told["callers"]), told["callers"]["other"]["count"]) == (MAX_ROWS + 1, 100)
    assert sum(row["cost_usd"] for row in told["callers"].values()) == pytest.approx(2 * 1050 * A.of(Usage(10, 1)))
    assert told["routes"]["r"]["count"] == 2 * 1050


@pytest.mark.parametrize("reads", [1, 7, 100])
def test_cost_totals_do_not_depend_on_when_they_are_read(reads: int) -> None:
    """Routes, targets and callers that come together in more ways than MAX_ROWS, some beyond its bound, have the totals of each request.
    The names with a row of their own are the first MAX_ROWS that come, however often the totals are read meanwhile.
    """
    metrics = Metrics()
    made = Bill(metrics.rows)
    for number in range(MAX_ROWS * 4):
        calls = tuple(Attempt(f"t{number % 7}", "ok", 0.1, usage=Usage(10, 1, 5)) for _ in range(1 + number % 2))
        caller = f"user-{number * 11 % (MAX_ROWS + 50)}"
        entry = Entry(
            "id", "generation", caller=caller, route=f"r{number % 2}", attempts=calls, prices={"t0": A}, observers=(metrics.count,)
        )
        entry.close()
        if number % (MAX_ROWS * 4 // reads) == 0:
            metrics.rows.settle()
    metrics.rows.settle()
    told = made.totals()
    assert list(told["callers"]) == [*(f"user-{number * 11 % (MAX_ROWS + 50)}" for number in range(MAX_ROWS)), "other"]
    assert {name: row["count"] for name, row in told["routes"].items()} == {"r0": 2 * MAX_ROWS, "r1": 2 * MAX_ROWS}
    assert sum(row["count"] for row in told["callers"].values()) == 4 * MAX_ROWS
    assert sum(row["count"] for row in told["targets"].values()) == 6 * MAX_ROWS
    for table in (told["routes"], told["targets"], told["callers"]):
        assert sum(row["input_tokens"] for row in table.values()) == 60 * MAX_ROWS
        saved = sum(row["saved_usd"] for row in table.values())
        assert saved == pytest.approx(told["targets"]["t0"]["count"] * A.saved(Usage(10, 1, 5)))


def test_request_without_usage_is_in_no_cost_total() -> None:
    """A request whose only attempt was refused, and so used no tokens, adds no row to the totals of routes and callers."""
    metrics = Metrics()
    made = Bill(metrics.rows)
    Entry("id", "generation", route="r", attempts=(Attempt("a", "status_400", 0.1),), observers=(metrics.count,)).close()
    metrics.rows.settle()
    assert made.totals()["routes"] == made.totals()["callers"] == {}


async def test_interrupted_call_of_a_chat_is_estimated_with_its_cached_prompt(workspace: Workspace) -> None:
    """A call that breaks off is estimated with the prompt of its chat's last call as cached, in whole pieces of 128 tokens.
    For a call of a new conversation, no tokens are.
    """
    question = [{"role": "user", "content": SAID * 100}]
    more = [*question, {"role": "assistant", "content": SAID}, {"role": "user", "content": "And then?"}]
    cut = Reply((chunk({"content": SAID}),), drop=True)
    whole = Reply(answer(Usage(1700, 17, 1600)))
    async with (
        provider(whole, cut, cut) as first,
        provider(Reply(answer(COUNTED, "The end."))) as second,
        asking(workspace, target("a", first.base, A) + target("b", second.base, B)) as client,
    ):
        asked = [await client.post(model="gpt-4", messages=one) for one in (question, more, [{"role": "user", "content": SAID * 90}])]
        _, warm, cold = [(await logged(client, one.headers["x-request-id"]))["attempts"][0] for one in asked]
        assert (warm["outcome"], warm["estimated"], warm["cached_tokens"]) == ("cut", True, 1664)  # thirteen pieces of 128
        assert warm["cost_usd"] == pytest.approx(A.of(Usage(1725, 17, 1700)), rel=0.2)
        assert "cached_tokens" not in cold
