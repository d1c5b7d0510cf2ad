"""OpenAI's chat completions API, through OpenAI's own Python client."""

import json
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import asynccontextmanager
from typing import Any, cast

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from router.intake.question import MEANT
from tests.conftest import Client, Workspace, routes, serving
from tests.wire.readers import READERS

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
BODY: dict[str, Any] = {"messages": HELLO, "model": "gpt-4"}
TARGETS = "a: {script: [{text: Hello}]}\nb: {script: [{text: Half}, {fail: down}]}\nc: {script: [{call: get_weather, arguments: {location: Rome}}]}"
MORE = "  broken: {pipeline: chat, targets: [b]}\n  asks: {pipeline: chat, targets: [c]}\nserver: {protocol: line}\n"


@asynccontextmanager
async def asked_by_openai(workspace: Workspace) -> AsyncGenerator[tuple[Client, openai.AsyncOpenAI], None]:
    """Run a router and yield a plain client and OpenAI's client for it. `server.protocol` is `line`, which must not affect /v1."""
    workspace.write("routes.yaml", routes(TARGETS, more=MORE))
    async with (
        serving(workspace.build()) as client,
        openai.AsyncOpenAI(base_url=f"{client.base}/v1", api_key="none", max_retries=0) as sdk,
    ):
        yield client, sdk


async def listened(stream: AsyncIterable[ChatCompletionChunk], said: list[str]) -> None:
    """Append the text of each chunk of a stream to `said`, until the stream ends or raises."""
    async for chunk in stream:
        said += [choice.delta.content or "" for choice in chunk.choices]


async def test_unstreamed_completion_is_one_json_object(workspace: Workspace) -> None:
    """A request without `stream`, or with null or false, gets one `chat.completion` with text, finish reason and usage."""
    async with asked_by_openai(workspace) as (client, sdk):
        made = await sdk.chat.completions.create(model="gpt-4", messages=HELLO)
        plain = [await client.post("/v1/chat/completions", **BODY, **more) for more in ({}, {"stream": None}, {"stream": False})]
    assert (made.choices[0].message.content, made.choices[0].finish_reason, made.model) == ("Hello", "stop", "script/lines")
    assert made.usage
    assert made.usage.total_tokens == 2
    assert [one.json["object"] for one in plain] == ["chat.completion"] * 3


async def test_streamed_completion_adds_up_and_has_usage_on_request(workspace: Workspace) -> None:
    """The chunks of a streamed completion add up to the whole text; the usage comes only with `include_usage`."""
    async with asked_by_openai(workspace) as (client, sdk):
        stream = await sdk.chat.completions.create(model="chat-model", messages=HELLO, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
        raw = await client.post("/v1/chat/completions", **BODY, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello"
    assert chunks[-1].usage
    assert chunks[-1].usage.total_tokens == 2
    heard = READERS["openai"](raw.body)
    assert (heard.text, heard.finish, heard.usage) == ("Hello", "stop", None)


async def test_include_usage_works_for_the_openai_wire_at_api_chat(workspace: Workspace) -> None:
    """A stream of `/api/chat?protocol=openai` ends with the usage only if the request has `include_usage`."""
    async with asked_by_openai(workspace) as (client, _):
        wanted = await client.post("/api/chat?protocol=openai", **BODY, stream_options={"include_usage": True})
        unsaid = await client.post("/api/chat?protocol=openai", **BODY)
    heard = [READERS["openai"](one.body) for one in (wanted, unsaid)]
    assert [(one.text, one.usage) for one in heard] == [("Hello", (1, 1)), ("Hello", None)]


CHANGES: dict[str, tuple[Any, Any]] = {
    # What changes the answer, and what asks for nothing.
    "n": (2, 1),
    "logprobs": (True, False),
    "top_logprobs": (3, 0),
    "modalities": (["text", "audio"], ["text"]),
    "audio": ({"voice": "alloy", "format": "mp3"}, None),
    "functions": ([{"name": "get_weather", "parameters": {}}], []),
    "function_call": ({"name": "get_weather"}, "auto"),
    "web_search_options": ({}, None),
    "moderation": ({"model": "omni-moderation-latest"}, None),
    **dict.fromkeys(("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs"), ({"type": "object"}, None)),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_unsupported_parameter_that_changes_the_answer_is_refused(workspace: Workspace, name: str) -> None:
    """A completions parameter that the router cannot honour gets a 400 naming it; its default value and null are accepted."""
    assert set(CHANGES) == set(MEANT)
    changes, harmless = CHANGES[name]
    async with asked_by_openai(workspace) as (client, _):
        refused, *served = [await client.post("/v1/chat/completions", **BODY, **{name: one}) for one in (changes, harmless, None)]
    assert (refused.status, refused.json["error"]["message"]) == (400, f"{name}: this is not served here.")
    assert [one.status for one in served] == [200, 200]


async def test_completion_returns_the_tool_call_that_the_client_has_to_run(workspace: Workspace) -> None:
    """A tool call of the client's tool is returned with finish reason `tool_calls`, the same whether streamed or not."""
    async with asked_by_openai(workspace) as (_, sdk):
        made = await sdk.chat.completions.create(model="asks", messages=HELLO)
        async with sdk.chat.completions.stream(model="asks", messages=HELLO) as stream:
            added_up = await stream.get_final_completion()
    for choice in (made.choices[0], added_up.choices[0]):
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        (call,) = cast("Any", choice.message.tool_calls)
        assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"location": "Rome"})


async def test_failure_raises_the_matching_exception_of_openais_client(workspace: Workspace) -> None:
    """A failure raises the exception of its status (404, 400, 502) before the stream and APIError within it, with code and request id."""
    async with asked_by_openai(workspace) as (_, sdk):
        with pytest.raises(openai.NotFoundError) as unknown:
            await sdk.chat.completions.create(model="no-such", messages=HELLO)
        with pytest.raises(openai.BadRequestError) as bad:
            await sdk.chat.completions.create(model="gpt-4", messages=[])
        with pytest.raises(openai.InternalServerError) as down:
            await sdk.chat.completions.create(model="broken", messages=HELLO)
        stream = await sdk.chat.completions.create(model="broken", messages=HELLO, stream=True)
        said: list[str] = []
        with pytest.raises(openai.APIError, match="broke off") as broken:
            await listened(stream, said)
    assert (unknown.value.code, unknown.value.param, unknown.value.type) == ("model_not_found", "model", "invalid_request_error")
    assert unknown.value.request_id
    assert bad.value.code == "bad_request"
    assert down.value.status_code == 502
    assert "".join(said) == "Half"
    assert broken.value.code == "no_answer"


async def test_models_endpoint_lists_routes_and_aliases(workspace: Workspace) -> None:
    """`GET /v1/models` lists the ids of the routes and their aliases in OpenAI's form."""
    async with asked_by_openai(workspace) as (client, sdk):
        listed = [model async for model in sdk.models.list()]
        raw = (await client.get("/v1/models")).json
        assert (await client.get("/v1/chat/completions")).status == 405
    assert [model.id for model in listed] == ["chat-model", "gpt-4", "broken", "asks"]
    assert raw["object"] == "list"
    assert set(raw["data"][0]) >= {"id", "object", "created", "owned_by"}
    assert raw["data"][0]["created"] > 1_700_000_000


async def test_unserved_openai_endpoint_gets_404_in_openais_error_form(workspace: Workspace) -> None:
    """A request to an unserved endpoint or method below /v1 gets a 404 with code `unknown_address` and a request id."""
    async with asked_by_openai(workspace) as (client, sdk):
        with pytest.raises(openai.NotFoundError) as unserved:
            await sdk.moderations.create(model="gpt-4", input="Hello")
        answers = [
            await client.post("/v1/models"),
            await client.get("/v1/"),
            await client.post("/v1/chat/completions/", **BODY),
        ]
        listed = await sdk.models.with_raw_response.list()
    assert (unserved.value.code, unserved.value.type) == ("unknown_address", "invalid_request_error")
    assert unserved.value.request_id
    for answer in answers:
        assert (answer.status, answer.json["error"]["code"]) == (404, "unknown_address")
        assert answer.headers["x-request-id"]
    assert listed.headers["x-request-id"].startswith("req_")
