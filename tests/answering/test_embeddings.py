"""The embeddings endpoint `/v1/embeddings`: OpenAI's client, batches, failover, limits, prices and refused requests."""

import asyncio
import base64
import json
import math
import struct
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, BadRequestError, InternalServerError, NotFoundError, RateLimitError

from router.callers.keys import hashed, new
from router.commands import main
from router.config import declare, load, read
from router.drill import drilled
from router.errors import ConfigError
from router.generation import build
from router.targets.embeddings import BATCH, batches
from tests.conftest import ROOT, Client, Workspace, serving
from tests.support.provider import Provider, Reply, error, running

KEY = new()


class OpenAIEmbeddings(Provider):
    """A fake provider that enforces OpenAI's rules for `POST /v1/embeddings`. Each vector begins with the length of its text."""

    def __init__(self, *script: Reply, most: int = 2048, size: int = 4, counts: bool = True) -> None:
        super().__init__(script)
        self.most = most
        self.size = size
        self.counts = counts

    def reply(self, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        """Return the next scripted reply; after the last one, an error for an invalid request, else the vectors in reverse order."""
        if self.script:
            return self.script.pop(0)
        path, key = headers[":path"].partition("?")[0], headers.get("authorization") or headers.get("api-key")
        if not path.endswith("/embeddings") or key not in ("Bearer sk-test", "sk-test"):
            return error(404)
        if set(body) - {"model", "input", "dimensions", "encoding_format", "user"} or body.get("encoding_format", "float") != "float":
            return error(400, "unknown field")
        given: Any = body["input"]
        inputs: list[Any] = [given] if isinstance(given, str) or isinstance(given[0], int) else given
        if not 0 < len(inputs) <= self.most or not all(inputs):
            return error(400, "'$.input' is invalid.")
        size = body.get("dimensions", self.size)
        if size > 8:
            return error(400, "Invalid value for 'dimensions': 8 at most.")
        data = [
            {"object": "embedding", "index": index, "embedding": [float(len(one)), 0.1, *[0.0] * (size - 2)]}
            for index, one in enumerate(inputs)
        ]
        made: dict[str, Any] = {"object": "list", "data": data[::-1], "model": "real"}
        if self.counts:
            made["usage"] = {"prompt_tokens": 3 * len(inputs), "total_tokens": 3 * len(inputs)}
        return Reply(body=json.dumps(made).encode())


def declared(targets: str, route: str, more: str = "") -> str:
    """Return a routes.yaml with a chat route `chat-model` and an embeddings route `embed`."""
    indented = "\n".join(f"  {line}" for line in targets.strip().splitlines())
    return (
        f"targets:\n  demo: {{script: demo}}\n{indented}\nroutes:\n  chat-model: {{pipeline: chat, targets: [demo]}}\n"
        f"  embed:\n    kind: embeddings\n    aliases: [text-embedding-3-small]\n    {route}\n{more}"
    )


def target(base: str, name: str = "a", more: str = "") -> str:
    """Return the declaration of a target at a fake provider."""
    return f"{name}: {{model: openai/text-embedding-3-small, api_base: '{base}', api_key: sk-test{more}}}\n"


@asynccontextmanager
async def embedding(workspace: Workspace, text: str) -> AsyncGenerator[tuple[Client, AsyncOpenAI], None]:
    """Run a router with this routes.yaml, and yield a plain client and OpenAI's client for it."""
    workspace.write("routes.yaml", text)
    async with (
        serving(workspace.build()) as client,
        AsyncOpenAI(base_url=f"{client.base}/v1", api_key=KEY, max_retries=0) as openai,
    ):
        yield client, openai


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the dot product of two vectors (their cosine similarity, if both have length 1)."""
    return sum(one * other for one, other in zip(left, right, strict=True))


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
async def test_embeddings_are_returned_in_input_order_in_each_encoding(workspace: Workspace, encoding: dict[str, Any]) -> None:
    """OpenAI's client gets the vectors in input order as base64 or floats, although the provider sends them in reverse order."""
    async with (
        running(OpenAIEmbeddings()) as upstream,
        embedding(workspace, declared(target(upstream.base), "targets: [a]")) as (_, openai),
    ):
        made = await openai.embeddings.create(model="text-embedding-3-small", input=["abc", "a", "ab"], dimensions=3, **encoding)
        vectors = [one.embedding for one in made.data]
        if encoding.get("encoding_format") == "base64":
            raw: Any = vectors
            vectors = [list(struct.unpack("<3f", base64.b64decode(one))) for one in raw]
        assert [one[0] for one in vectors] == [3.0, 1.0, 2.0]
        assert all(math.isclose(one[1], 0.1, rel_tol=1e-6) for one in vectors)
        assert [one.index for one in made.data] == [0, 1, 2]
        assert (made.model, made.usage.prompt_tokens, made.usage.total_tokens) == ("text-embedding-3-small", 9, 9)
        assert upstream.requests == [{"model": "text-embedding-3-small", "input": ["abc", "a", "ab"], "dimensions": 3}]


async def test_embedding_floats_keep_their_float64_precision(workspace: Workspace) -> None:
    """A vector's 0.1 arrives as 0.1 in a float response, not rounded to float32."""
    async with (
        running(OpenAIEmbeddings()) as upstream,
        embedding(workspace, declared(target(upstream.base), "targets: [a]")) as (client, _),
    ):
        made = await client.post("/v1/embeddings", model="embed", input="abc")
        assert made.json["data"] == [{"object": "embedding", "index": 0, "embedding": [3.0, 0.1, 0.0, 0.0]}]
        assert made.headers["x-router-target"] == "a"


async def test_large_embeddings_batch_is_split_and_its_usage_summed(workspace: Workspace) -> None:
    """A request with more inputs than one call takes is split into calls; the response has all vectors in order and the summed usage."""
    async with (
        running(OpenAIEmbeddings(most=BATCH)) as upstream,
        embedding(workspace, declared(target(upstream.base), "targets: [a]")) as (_, openai),
    ):
        texts = ["a" * (1 + number % 50) for number in range(2 * BATCH + 10)]
        made = await openai.embeddings.create(model="embed", input=texts)
        assert [one.embedding[0] for one in made.data] == [float(len(one)) for one in texts]
        assert made.usage.prompt_tokens == 3 * len(texts)
        assert [len(one["input"]) for one in upstream.requests] == [BATCH, BATCH, 10]


SPLIT = {
    "openai": (512, 512, 276),
    "azure": (512, 512, 276),
    "mistral": (512, 512, 276),
    "cohere": (*[96] * 13, 52),
    "gemini": (*[100] * 13,),
    "nvidia_nim": (*[50] * 26,),
    "dashscope": (*[10] * 130,),
}
"""Prefix of a provider → the numbers of inputs of the calls that 1,300 short texts are split into."""


@pytest.mark.parametrize("prefix", SPLIT)
async def test_embeddings_batch_is_split_by_the_batch_size_of_the_provider(workspace: Workspace, prefix: str) -> None:
    """The calls of 1,300 inputs have the batch size of each provider, and the response has all vectors in order."""
    async with running(OpenAIEmbeddings(most=SPLIT[prefix][0])) as upstream:
        one = f"a: {{model: {prefix}/m, api_base: '{upstream.base}', api_key: sk-test}}\n"
        async with embedding(workspace, declared(one, "targets: [a]")) as (client, _):
            texts = ["a" * (1 + number % 9) for number in range(1300)]
            made = await client.post("/v1/embeddings", model="embed", input=texts)
            assert [item["embedding"][0] for item in made.json["data"]] == [float(len(text)) for text in texts]
            assert made.json["usage"]["prompt_tokens"] == 3 * 1300
            assert [len(request["input"]) for request in upstream.requests] == list(SPLIT[prefix])


async def test_embeddings_target_batch_size_bounds_inputs_of_a_call(workspace: Workspace) -> None:
    """A target with `batch_size: 32` is sent at most 32 inputs in one call."""
    async with (
        running(OpenAIEmbeddings(most=32)) as upstream,
        embedding(workspace, declared(target(upstream.base, more=", batch_size: 32"), "targets: [a]")) as (client, _),
    ):
        assert (await client.post("/v1/embeddings", model="embed", input=["a"] * 70)).status == 200
        assert [len(one["input"]) for one in upstream.requests] == [32, 32, 6]


@pytest.mark.parametrize("text", ["word " * 400, "字" * 700, "🙂" * 500])
def test_embeddings_batches_stay_within_the_token_limit(text: str) -> None:
    """Batches keep all inputs in order within 16,384 UTF-8 bytes each (a bound of their tokens), but for an input that alone is longer."""
    inputs = [text] * 40 + ["x" * 20_000, "end"]
    made = list(batches(inputs, 512, 16_384))
    assert [one for call in made for one in call] == inputs
    assert all(len(call) == 1 or sum(len(one.encode()) + 2 for one in call if isinstance(one, str)) <= 16_384 for call in made)
    assert len(made) < len(inputs) / 3


async def test_mistral_embeddings_calls_stay_below_its_token_limit(workspace: Workspace) -> None:
    """Mistral, which takes 16,384 tokens a call, is sent 20 long texts in three calls; OpenAI gets all of them in one."""
    for prefix, sizes in (("mistral", [8, 8, 4]), ("openai", [20])):
        async with running(OpenAIEmbeddings()) as upstream:
            one = f"a: {{model: {prefix}/m, api_base: '{upstream.base}', api_key: sk-test}}\n"
            async with embedding(workspace, declared(one, "targets: [a]")) as (client, _):
                assert (await client.post("/v1/embeddings", model="embed", input=["word " * 400] * 20)).status == 200
                assert [len(request["input"]) for request in upstream.requests] == sizes


async def test_embeddings_fallback_repeats_all_inputs_after_a_failure_midway(workspace: Workspace) -> None:
    """If a target fails after its first batch, the fallback makes all vectors anew; the cost includes what the first target charged."""
    first = OpenAIEmbeddings(most=BATCH)
    async with running(first) as upstream, running(OpenAIEmbeddings(size=5)) as second:
        text = declared(
            target(upstream.base, more=", price: {input: 1000000, output: 1}") + target(second.base, "b", ", price: {input: 0, output: 0}"),
            "targets: [a, b]\n    retry: {attempts: 1}",
        )
        replied = first.reply
        first.reply = lambda headers, body: error(500) if len(first.requests) == 2 else replied(headers, body)  # type: ignore[method-assign]
        async with embedding(workspace, text) as (client, _):
            made = await client.post("/v1/embeddings", model="embed", input=["abc"] * (BATCH + 1))
            assert made.headers["x-router-target"] == "b"
            assert {len(one["embedding"]) for one in made.json["data"]} == {5}
            assert made.json["usage"]["prompt_tokens"] == 3 * (BATCH + 1)
            assert made.headers["x-router-cost"] == str(3 * BATCH)


async def test_embeddings_total_timeout_bounds_all_calls_of_a_request(workspace: Workspace) -> None:
    """A request whose calls together exceed `timeout.total` gets a 504, and the open call to the provider is closed."""
    first = OpenAIEmbeddings()
    replied = first.reply
    first.reply = lambda headers, body: Reply(hold=True) if len(first.requests) > 1 else replied(headers, body)  # type: ignore[method-assign]
    async with running(first) as upstream:
        text = declared(target(upstream.base, more=", batch_size: 1"), "targets: [a]\n    timeout: {total: 1s, first_token: 1h}")
        async with embedding(workspace, text) as (client, _):
            made = await client.post("/v1/embeddings", model="embed", input=["a", "b"])
            assert (made.status, made.json["error"]["code"]) == (504, "timeout")
            await first.until(lambda: first.closed == len(first.requests) - 1)


async def test_embeddings_call_is_cancelled_when_the_client_disconnects(workspace: Workspace) -> None:
    """The provider's call is closed when the client disconnects; the log has status 499 and estimated input tokens."""
    async with running(OpenAIEmbeddings(Reply(hold=True))) as upstream:
        async with embedding(workspace, declared(target(upstream.base), "targets: [a]")) as (client, _):
            asking = asyncio.create_task(client.post("/v1/embeddings", model="embed", input="Hello there"))
            await upstream.until(lambda: upstream.open)
            asking.cancel()
            await upstream.until(lambda: upstream.closed)
        said: dict[str, Any] = dict(client.edge.admin.ring.latest(1)[0])
        assert (said["outcome"], said["status"], said["estimated"]) == ("client_left", 499, True)
        assert said["input_tokens"] > 0
        assert [(one["target"], one["outcome"]) for one in said["attempts"]] == [("a", "client_left")]


async def test_embeddings_token_lists_are_sent_to_targets_that_take_them(workspace: Workspace) -> None:
    """An OpenAI target accepts lists of tokens as inputs: one list is one input, a list of lists is several."""
    async with (
        running(OpenAIEmbeddings()) as upstream,
        embedding(workspace, declared(target(upstream.base), "targets: [a]")) as (_, openai),
    ):
        made = await openai.embeddings.create(model="embed", input=[1, 2, 3])
        assert len(made.data) == 1
        made = await openai.embeddings.create(model="embed", input=[[1, 2, 3], [4]])
        assert [one.embedding[0] for one in made.data] == [3.0, 1.0]


async def test_embeddings_token_lists_are_refused_if_no_target_takes_them(workspace: Workspace) -> None:
    """A list of tokens for a route with only a Mistral target gets a 400 that names it, without a call to the provider."""
    async with running(OpenAIEmbeddings()) as upstream:
        mistral = f"a: {{model: mistral/mistral-embed, api_base: '{upstream.base}', api_key: sk-test}}"
        async with embedding(workspace, declared(mistral, "targets: [a]")) as (_, openai):
            with pytest.raises(BadRequestError, match="lists of tokens"):
                await openai.embeddings.create(model="embed", input=[1, 2, 3])
    assert not upstream.requests


async def test_embeddings_fallback_answers_if_the_first_target_fails(workspace: Workspace) -> None:
    """A fallback target answers after an error status, a missing vector or a non-finite number of the first target."""
    broken = [Reply(body=b'{"data": []}'), Reply(body=b'{"data": [{"embedding": [1e999]}]}'), error(500), error(401)]
    for reply in broken:
        async with running(OpenAIEmbeddings(reply, error(500))) as first, running(OpenAIEmbeddings()) as second:
            text = declared(target(first.base) + target(second.base, "b"), "targets: [a, b]\n    retry: {attempts: 1}")
            async with embedding(workspace, text) as (client, _):
                made = await client.post("/v1/embeddings", model="embed", input="abc")
                assert (made.status, made.headers["x-router-target"]) == (200, "b")
                assert len(first.requests) == 1
                assert made.headers["x-router-attempts"].startswith('"a";outcome=')


async def test_embeddings_target_is_retried_after_a_503(workspace: Workspace) -> None:
    """A target of an embeddings route with `retry: {attempts: 2}` is asked again after a 503."""
    async with running(OpenAIEmbeddings(error(503))) as upstream:
        text = declared(target(upstream.base), "targets: [a]\n    retry: {attempts: 2, backoff: 1ms..2ms}")
        async with embedding(workspace, text) as (client, _):
            made = await client.post("/v1/embeddings", model="embed", input="abc")
            assert made.status == 200
            assert len(upstream.requests) == 2


async def test_embeddings_fallback_answers_after_the_first_token_timeout(workspace: Workspace) -> None:
    """A target that does not respond within `timeout.first_token` fails with `timeout_first_token`, and the next target answers."""
    held = Reply(hold=True, body=b"", headers={"content-length": "9"})
    async with running(OpenAIEmbeddings(held)) as first, running(OpenAIEmbeddings()) as second:
        text = declared(target(first.base) + target(second.base, "b"), "targets: [a, b]\n    timeout: {first_token: 50ms}")
        async with embedding(workspace, text) as (client, _):
            made = await client.post("/v1/embeddings", model="embed", input="abc")
            assert 'a";outcome=timeout_first_token' in made.headers["x-router-attempts"]


async def test_embeddings_breaker_opens_and_its_target_is_skipped(workspace: Workspace) -> None:
    """A target is not asked any more after the two failures that open its circuit breaker; the next target answers all requests."""
    async with running(OpenAIEmbeddings(error(500), error(500))) as first, running(OpenAIEmbeddings()) as second:
        route = "targets: [a, b]\n    retry: {attempts: 1}\n    breaker: {failures: 2, open: 1h}"
        async with embedding(workspace, declared(target(first.base) + target(second.base, "b"), route)) as (client, _):
            answers = [await client.post("/v1/embeddings", model="embed", input="abc") for _ in range(4)]
            assert [one.status for one in answers] == [200] * 4
            assert len(first.requests) == 2


async def test_embeddings_dimensions_that_the_provider_refuses_get_a_400(workspace: Workspace) -> None:
    """A provider's refusal of `dimensions` becomes a 400 that names the field, without the provider's own words."""
    async with (
        running(OpenAIEmbeddings()) as upstream,
        embedding(workspace, declared(target(upstream.base), "targets: [a]")) as (_, openai),
    ):
        with pytest.raises(BadRequestError, match="dimensions: the models here do not support") as caught:
            await openai.embeddings.create(model="embed", input="a", dimensions=9)
        assert "8 at most" not in str(caught.value)


async def test_embeddings_route_limits_count_requests_tokens_and_spend(workspace: Workspace) -> None:
    """A second request gets a 429 once the first has used up the route's limit of requests, tokens or spend."""
    price = ", price: {input: 1000000, output: 1}"
    for limit in ("requests: 1/hour", "tokens: 3/hour", "spend: 3USD/hour"):
        async with running(OpenAIEmbeddings()) as upstream:
            text = declared(target(upstream.base, more=price), f"targets: [a]\n    limit: {{per: route, {limit}}}")
            async with embedding(workspace, text) as (_, openai):
                await openai.embeddings.create(model="embed", input="a")
                with pytest.raises(RateLimitError):
                    await openai.embeddings.create(model="embed", input="a")


@pytest.mark.parametrize("counts", [True, False])
async def test_embeddings_log_record_has_route_target_tokens_and_cost(workspace: Workspace, *, counts: bool) -> None:
    """The log record has route, target, tokens (estimated if the provider sends no count) and cost; the metrics count the request."""
    async with running(OpenAIEmbeddings(counts=counts)) as upstream:
        text = declared(target(upstream.base, more=", price: {input: 1000000, output: 1}"), "targets: [a]")
        async with embedding(workspace, text) as (client, _):
            made = await client.post("/v1/embeddings", model="text-embedding-3-small", input="Hello there")
            said: dict[str, Any] = dict(client.edge.admin.ring.latest(1)[0])
            assert (said["route"], said["target"], said["outcome"], said["status"]) == ("embed", "a", "embedded", 200)
            assert said["input_tokens"] == made.json["usage"]["prompt_tokens"] > 0
            assert said["output_tokens"] == 0
            assert said["estimated"] is not counts
            assert said["cost_usd"] == said["input_tokens"]
            assert made.headers["x-router-cost"] == str(said["input_tokens"])
            metrics = (await client.get("/metrics")).body.decode()
            assert 'router_requests_total{outcome="embedded",route="embed"} 1.0' in metrics


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"input": "a"}, "model:"),
        ({"model": "embed"}, "input:"),
        ({"model": "embed", "input": ""}, "input:"),
        ({"model": "embed", "input": []}, "input:"),
        ({"model": "embed", "input": ["a", ""]}, "input[1]:"),
        ({"model": "embed", "input": ["a", {"text": "b"}]}, "input[1]:"),
        ({"model": "embed", "input": "a", "encoding_format": "int8"}, "encoding_format:"),
        ({"model": "embed", "input": "a", "dimensions": 0}, "dimensions:"),
        ({"model": "chat-model", "input": "a"}, "makes no embeddings"),
    ],
)
async def test_invalid_embeddings_request_gets_a_400_naming_the_field(workspace: Workspace, body: dict[str, Any], says: str) -> None:
    """An invalid embeddings request gets a 400 in OpenAI's form whose message names the field."""
    async with embedding(workspace, declared("", "targets: [demo]")) as (client, _):
        made = await client.post("/v1/embeddings", **body)
        assert made.status == 400
        assert says in made.json["error"]["message"]


async def test_embeddings_request_with_more_than_2048_inputs_gets_a_413(workspace: Workspace) -> None:
    """A request with 2,049 inputs gets a 413; one with 2,048 is answered."""
    async with embedding(workspace, declared("", "targets: [demo]")) as (client, _):
        assert (await client.post("/v1/embeddings", model="embed", input=["a"] * 2049)).status == 413
        assert (await client.post("/v1/embeddings", model="embed", input=["a"] * 2048)).status == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/v1/messages"])
async def test_chat_request_to_an_embeddings_route_gets_a_400(workspace: Workspace, path: str) -> None:
    """A chat request to an embeddings route gets a 400 that names `POST /v1/embeddings`; `/api/models` lists only chat routes."""
    async with embedding(workspace, declared("", "targets: [demo]")) as (client, openai):
        made = await client.post(path, model="embed", messages=[{"role": "user", "content": "Hi"}], max_tokens=9)
        assert made.status == 400
        assert b"POST /v1/embeddings" in made.body
        assert [one["id"] for one in (await client.get("/api/models")).json["models"]] == ["chat-model"]
        kinds = {one.id: one.to_dict()["kind"] async for one in openai.models.list()}
        assert kinds == {"chat-model": "chat", "embed": "embeddings", "text-embedding-3-small": "embeddings"}


async def test_embeddings_request_without_access_gets_401_or_403(workspace: Workspace) -> None:
    """An embeddings request without a valid API key gets a 401; a key for other routes gets a 403."""
    auth = f"server: {{auth: {{keys: {{alice: {{hash: {hashed(KEY)}, routes: [chat-model]}}}}}}}}\n"
    async with embedding(workspace, declared("", "targets: [demo]", auth)) as (client, openai):
        assert (await client.post("/v1/embeddings", model="embed", input="a")).status == 401
        with pytest.raises(Exception, match="have no access") as caught:
            await openai.embeddings.create(model="embed", input="a")
        assert getattr(caught.value, "status_code", None) == 403
        assert (await client.get("/v1/embeddings")).status == 401


async def test_demo_embeddings_are_deterministic_and_closer_for_shared_words(workspace: Workspace) -> None:
    """The demo's vectors are deterministic, have length 1 and the requested dimensions, and are more similar where texts share words."""
    async with embedding(workspace, declared("", "targets: [demo]")) as (_, openai):
        texts = [
            "the weather in Berlin today",
            "What is the weather in Berlin?",
            "a recipe for lentil soup",
            "北京今天的天气",
            "今天北京天气",
            "?",
        ]
        made = [one.embedding for one in (await openai.embeddings.create(model="embed", input=texts)).data]
        again = [one.embedding for one in (await openai.embeddings.create(model="embed", input=texts)).data]
        assert made == again
        assert all(math.isclose(cosine(one, one), 1, rel_tol=1e-5) for one in made)
        assert cosine(made[0], made[1]) > 0.5 > cosine(made[0], made[2])
        assert cosine(made[3], made[4]) > 0.5 > cosine(made[3], made[0])
        short = await openai.embeddings.create(model="embed", input="Hi", dimensions=12)
        assert len(short.data[0].embedding) == 12


async def test_demo_embeddings_are_no_fallback_for_a_failing_model(workspace: Workspace) -> None:
    """A request gets a 502 if the model fails, although the route has the demo as a further target."""
    async with running(OpenAIEmbeddings(*[error(500)] * 4)) as upstream:
        text = declared(target(upstream.base), "targets: [a, demo]\n    retry: {attempts: 1}")
        async with embedding(workspace, text) as (client, _):
            made = await client.post("/v1/embeddings", model="embed", input="abc")
            assert (made.status, made.json["error"]["code"]) == (502, "no_answer")


async def test_shipped_embeddings_demo_is_named_in_answer_log_and_metrics() -> None:
    """Without a key the shipped configuration's demo makes the vectors, named in `model`, log and metrics; with one, the provider does."""
    shipped = read(ROOT / "routes.yaml")
    async with (
        serving(build(declare(shipped, {}))) as client,
        AsyncOpenAI(base_url=f"{client.base}/v1", api_key=KEY, max_retries=0) as openai,
    ):
        made = await openai.embeddings.create(model="text-embedding-3-small", input=["a", "b"], dimensions=8)
        assert (made.model, [len(one.embedding) for one in made.data]) == ("script/demo", [8, 8])
        logged: dict[str, Any] = dict(client.edge.admin.ring.latest(1)[0])
        assert (logged["target"], logged["route"], logged.get("cost_usd")) == ("demo", "embedding-model", None)
        metrics = (await client.get("/metrics")).body.decode()
        assert 'router_script_answers_total{route="embedding-model",target="demo"} 1.0' in metrics
    keyed = build(declare(shipped, {"OPENAI_API_KEY": "sk-x"}))
    assert [one.name for one in keyed.routes["embedding-model"].targets] == ["embedder"]
    keyed.discard()


def test_show_command_describes_an_embeddings_route(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """The output of `router show` for an embeddings route has its kind, wire, batch size and why the demo is skipped."""
    workspace.write("routes.yaml", declared(target("http://x.example/v1", more=", batch_size: 32"), "targets: [a, demo]"))
    assert main(["show", "embed", "--routes", str(workspace.root / "routes.yaml")]) == 0
    shown = capsys.readouterr().out
    assert "  kind       embeddings, asked at POST /v1/embeddings\n" in shown
    assert "the first to make all vectors gives the answer" in shown
    assert "openai/text-embedding-3-small, asked at `/embeddings` on the OpenAI wire" in shown
    assert "larger batches are split: at most 32 inputs in one call" in shown
    assert "demo: skipped: a demo makes embeddings only while every model before it is skipped, and a is not" in shown
    assert "pipeline" not in shown
    assert main(["show", "--routes", str(workspace.root / "routes.yaml")]) == 0
    assert "(embeddings)  a → demo (skipped)" in capsys.readouterr().out


def test_check_command_warns_of_demo_embeddings_in_production(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In production, `router check` warns that clients get the demo's vectors if the target's API key is not set."""
    monkeypatch.setenv("ROUTER_ENV", "production")
    absent = 'a: {model: openai/text-embedding-3-small, api_key: "${NOBODY_SET_THIS}", optional: true}'
    workspace.write("routes.yaml", declared(absent, "targets: [a, demo]", "server: {auth: none}\n"))
    assert main(["check", "--routes", str(workspace.root / "routes.yaml")]) == 0
    assert "where a is skipped, clients get the vectors of the script demo" in capsys.readouterr().out


DRILLED = {
    "503": "tried: [a status_503, a status_503, b ok]",
    "cut": "tried: [a cut, a cut, b ok]",
    "empty": "tried: [a malformed, a malformed, b ok]",
    "silent": "tried: [a timeout_first_token, b ok], within: 10s..11s",
    "stall": "tried: [a timeout_first_token, b ok]",
    "down": "served_by: b",
    "filtered": "fails: content_filter, tried: [a content_filter]",
    "ok after 3s": "tried: [a ok], within: 3s..3.1s",
}
"""Simulated fault of the first target → the expectation of the drill that passes."""


@pytest.mark.parametrize("fault", DRILLED)
def test_drill_runs_the_failover_of_an_embeddings_route(workspace: Workspace, fault: str) -> None:
    """A drill with a simulated fault of the first target passes with the right expectation and fails with a wrong one."""
    targets = target("http://x.example/v1") + target("http://y.example/v1", "b")
    drill = f"drills:\n  - {{name: one, given: {{a: {fault}}}, ask: {{model: text-embedding-3-small}}, expect: {{{DRILLED[fault]}}}}}\n"
    wrong = "  - {name: two, given: {a: 503}, ask: {model: embed}, expect: {served_by: a}}\n"
    workspace.write("routes.yaml", declared(targets, "targets: [a, b]", drill + wrong))
    results = drilled(load(workspace.root / "routes.yaml"))
    assert [bool(one.faults) for one in results] == [False, True], results


@pytest.mark.parametrize(
    ("ask", "expect", "says"),
    [
        ("image: true", "served_by: demo", "no `image`: embeddings are made of texts"),
        ("tokens: 9", "served_by: demo", "no `tokens`"),
        ("text: Hi", "events: [Start, Text, Finish]", "no `events`: its answer comes whole"),
        ("text: Hi", "finish: stop", "no `finish`"),
    ],
)
def test_drill_field_for_chats_is_refused_for_an_embeddings_route(workspace: Workspace, ask: str, expect: str, says: str) -> None:
    """A drill of an embeddings route with `image`, `tokens`, `events` or `finish` is a configuration error with its line."""
    text = "drills: [{{name: one, ask: {{model: {}, {}}}, expect: {{{}}}}}]\n"
    workspace.write("routes.yaml", declared("", "targets: [demo]", text.format("embed", ask, expect)))
    with pytest.raises(ConfigError) as caught:
        workspace.build()
    assert any(says in one.message and one.place.line > 1 for one in caught.value.complaints), str(caught.value)
    workspace.write("routes.yaml", declared("", "targets: [demo]", text.format("chat-model", ask, expect))).build()


@pytest.mark.parametrize(
    ("command", "says"),
    [(["chat", "embed", "Hi"], "POST /v1/embeddings"), (["try", "a", "--yes"], "a rehearsal asks the questions of a chat")],
)
def test_chat_and_try_commands_refuse_an_embeddings_route(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], command: list[str], says: str
) -> None:
    """The commands `router chat` and `router try` exit with code 1 for embeddings and say why."""
    workspace.write("routes.yaml", declared(target("http://x.example/v1"), "targets: [a]"))
    assert main([*command, "--routes", str(workspace.root / "routes.yaml")]) == 1
    assert says in capsys.readouterr().err


async def test_embeddings_error_has_openais_status_type_and_code(workspace: Workspace) -> None:
    """An error of the embeddings endpoint has OpenAI's status, type and code and none of the provider's own words."""
    async with (
        running(OpenAIEmbeddings(error(400, "secret words"), error(429, "secret words"))) as upstream,
        embedding(workspace, declared(target(upstream.base), "targets: [a]\n    retry: {attempts: 1}")) as (_, openai),
    ):
        with pytest.raises(NotFoundError) as unknown:
            await openai.embeddings.create(model="nobody", input="a")
        with pytest.raises(BadRequestError) as bad:
            await openai.embeddings.create(model="embed", input="")
        with pytest.raises(InternalServerError) as failed:
            await openai.embeddings.create(model="embed", input="a")
        with pytest.raises(APIStatusError) as busy:
            await openai.embeddings.create(model="embed", input="a")
        errors = [one.value for one in (unknown, bad, failed, busy)]
        assert [(one.status_code, one.type, one.code) for one in errors] == [
            (404, "invalid_request_error", "model_not_found"),
            (400, "invalid_request_error", "bad_request"),
            (502, "server_error", "no_answer"),
            (503, "server_error", "overloaded"),
        ]
        assert all("secret" not in str(one) for one in errors)


@pytest.mark.parametrize(
    ("targets", "route", "says"),
    [
        ("", "pipeline: chat\n    targets: [demo]", "has no use for `pipeline`"),
        ("", "cache: {ttl: 1h}\n    targets: [demo]", "has no use for `cache`: embeddings are not kept"),
        ("", "targets: [{use: demo, when: {caller: x}}]", "take no `when`"),
        ("a: {script: [{text: Hi}]}", "targets: [a]", "`script: demo` does"),
        ("a: {model: anthropic/claude-sonnet-5, api_key: k}", "targets: [a]", "anthropic/ is not asked for embeddings"),
        ("a: {model: openai/x, api_key: k, via: litellm}", "targets: [a]", "leave `via` out"),
    ],
)
def test_embeddings_route_with_unsupported_setting_is_refused_at_load(workspace: Workspace, targets: str, route: str, says: str) -> None:
    """An embeddings route with a pipeline, a cache, `when` or an unsuitable target is a configuration error with its line."""
    workspace.write("routes.yaml", declared(targets, route))
    with pytest.raises(ConfigError) as caught:
        workspace.build()
    assert any(says in one.message and one.place.line > 1 for one in caught.value.complaints), str(caught.value)


def test_embeddings_route_accepts_defaults_that_only_chat_routes_use(workspace: Workspace) -> None:
    """A `defaults` section with settings of chat routes is no configuration error of an embeddings route."""
    workspace.write("routes.yaml", declared("", "targets: [demo]", "defaults: {rescue: fail, prompt_cache: 'off', timeout: {total: 1m}}\n"))
    workspace.build()


def test_chat_route_without_pipeline_is_refused_at_load(workspace: Workspace) -> None:
    """A route without `kind` is a chat route and is a configuration error if it has no `pipeline`."""
    workspace.write("routes.yaml", "targets: {demo: {script: demo}}\nroutes: {chat-model: {targets: [demo]}}\n")
    with pytest.raises(ConfigError, match="lacks `pipeline`"):
        workspace.build()


def test_check_command_warns_of_different_models_in_an_embeddings_route(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """The command `router check` warns of an embeddings route with two models, not of one model at two providers."""
    targets = (
        "a: {model: openai/text-embedding-3-small, api_key: k}\n"
        "b: {model: azure/ours, api_base: 'https://x.example', api_key: k, base_model: azure/text-embedding-3-small}\n"
        "c: {model: mistral/mistral-embed, api_key: k}"
    )
    for route, warned in (("targets: [a, b]", False), ("targets: [a, c]", True)):
        workspace.write("routes.yaml", declared(targets, route))
        assert main(["check", "--routes", str(workspace.root / "routes.yaml")]) == 0
        assert ("different models" in capsys.readouterr().out) is warned
    assert main(["show", "embed", "--routes", str(workspace.root / "routes.yaml")]) == 0
    assert "embeddings" in capsys.readouterr().out
