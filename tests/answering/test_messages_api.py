"""Anthropic's Messages API `/v1/messages`, through Anthropic's own Python client."""

import json
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import asynccontextmanager
from typing import Any, cast

import anthropic
import pytest

from router.callers.keys import hashed, new
from router.chat import Call, File, Json, Message, ReasoningState, Result
from router.errors import BadAsk
from router.intake import anthropic_api
from tests.conftest import Workspace, direct_target, routes, serving
from tests.support.apis import MORE, TARGETS
from tests.support.provider import Reply, provider, text
from tests.wire.readers import READERS

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "Current weather.",
    "input_schema": {"type": "object", "properties": {"location": {"type": "string"}}},
}


@asynccontextmanager
async def asked_by_anthropic(workspace: Workspace, targets: str = TARGETS, more: str = MORE) -> AsyncGenerator[Any, None]:
    """Run a router and yield a plain client and Anthropic's client for it."""
    workspace.write("routes.yaml", routes(targets, "targets: [a]\n    reasoning: show", more=more))
    async with (
        serving(workspace.build()) as client,
        anthropic.AsyncAnthropic(base_url=client.base, api_key="none", max_retries=0) as sdk,
    ):
        yield client, sdk


async def test_anthropic_message_is_the_same_streamed_and_unstreamed(workspace: Workspace) -> None:
    """A streamed message adds up to the unstreamed one: thinking, text, stop reason, usage and model."""
    asking: dict[str, Any] = {"model": "gpt-4", "max_tokens": 100, "messages": HELLO}
    async with asked_by_anthropic(workspace) as (client, sdk):
        made = await sdk.messages.create(**asking)
        async with sdk.messages.stream(**asking) as stream:
            added_up = await stream.get_final_message()
        raw = await client.post("/v1/messages", **asking, stream=True)
    for one in (made, added_up):
        assert [(block.type, getattr(block, block.type)) for block in one.content] == [("thinking", "Hm"), ("text", "Hello")]
        assert (one.stop_reason, one.model, one.role, one.type) == ("end_turn", "script/lines", "assistant", "message")
        assert (one.usage.input_tokens, one.usage.output_tokens) == (1, 2)
        assert one.id.startswith("msg_")
    heard = READERS["anthropic"](raw.body)
    assert (heard.text, heard.thoughts, heard.finish, heard.usage) == ("Hello", "Hm", "end_turn", (1, 2))
    assert raw.headers["x-router-model"] == "gpt-4"


async def test_anthropic_message_has_tool_use_block_for_a_client_tool_call(workspace: Workspace) -> None:
    """A tool call that the router does not run comes as a `tool_use` block with stop reason `tool_use`."""
    asking: dict[str, Any] = {"model": "asks", "max_tokens": 100, "messages": HELLO}
    async with asked_by_anthropic(workspace) as (_, sdk):
        made = await sdk.messages.create(**asking)
        async with sdk.messages.stream(**asking) as stream:
            added_up = await stream.get_final_message()
    for one in (made, added_up):
        assert one.stop_reason == "tool_use"
        said, call = one.content
        assert (said.text, call.type, call.name, call.input) == ("Let me look.", "tool_use", "get_weather", {"location": "Rome"})


async def test_anthropic_tools_calls_and_results_are_sent_to_the_provider(workspace: Workspace) -> None:
    """An OpenAI provider is sent the request's system text, tools, tool choice, tool call, result and sampling in OpenAI's form."""
    async with provider(Reply(text("It is 20°C."))) as fake:
        async with asked_by_anthropic(workspace, direct_target(fake.base), "") as (_, sdk):
            made = await sdk.messages.create(
                model="gpt-4",
                max_tokens=100,
                system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
                messages=[
                    *HELLO,
                    {
                        "role": "assistant",
                        "content": [{"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"location": "Rome"}}],
                    },
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "20°C"}, {"type": "text", "text": "?"}],
                    },
                ],
                tools=[WEATHER],
                tool_choice={"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
                stop_sequences=["END"],
                extra_body={"temperature": 0.5},
            )
        (sent,) = fake.requests
    assert made.content[0].text == "It is 20°C."
    assert [one["role"] for one in sent["messages"]] == ["system", "user", "assistant", "tool", "user"]
    assert sent["messages"][0]["content"] == "Be brief."
    assert json.loads(sent["messages"][2]["tool_calls"][0]["function"]["arguments"]) == {"location": "Rome"}
    assert (sent["messages"][3]["tool_call_id"], sent["messages"][3]["content"]) == ("t1", "20°C")
    assert sent["tools"][0]["function"]["parameters"] == WEATHER["input_schema"]
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}
    assert sent["parallel_tool_calls"] is False
    assert (sent["stop"], sent["temperature"], sent["max_tokens"]) == (["END"], 0.5, 100)


def kind(error: anthropic.APIStatusError) -> str:
    """Return the error type in the body of an Anthropic error."""
    return cast("Any", error.body)["error"]["type"]


async def heard(stream: AsyncIterable[str], said: list[str]) -> None:
    """Append each text of a stream to `said`, until the stream ends or raises."""
    async for one in stream:
        said.append(one)  # noqa: PERF401 - it may raise in the middle


async def test_error_raises_the_matching_exception_of_anthropics_client(workspace: Workspace) -> None:
    """An error raises the exception of its status (404, 400, 502) before the stream and APIStatusError within it."""
    async with asked_by_anthropic(workspace) as (client, sdk):
        with pytest.raises(anthropic.NotFoundError) as unknown:
            await sdk.messages.create(model="no-such", max_tokens=1, messages=HELLO)
        with pytest.raises(anthropic.BadRequestError) as bad:
            await sdk.messages.create(model="gpt-4", max_tokens=1, messages=[])
        with pytest.raises(anthropic.InternalServerError) as down:
            await sdk.messages.create(model="down", max_tokens=1, messages=HELLO)
        said: list[str] = []
        async with sdk.messages.stream(model="broken", max_tokens=1, messages=HELLO) as stream:
            with pytest.raises(anthropic.APIStatusError, match="broke off") as broken:
                await heard(stream.text_stream, said)
        unnamed = await client.post("/v1/messages", max_tokens=1, messages=HELLO)
        endless = await client.post("/v1/messages", model="gpt-4", messages=HELLO)
    assert kind(unknown.value) == "not_found_error"
    assert unknown.value.request_id
    assert kind(bad.value) == "invalid_request_error"
    assert down.value.status_code == 502
    assert "".join(said) == "Half"
    assert kind(broken.value) == "api_error"
    for refused, field in ((unnamed, "model: "), (endless, "max_tokens: ")):
        assert (refused.status, refused.json["error"]["type"]) == (400, "invalid_request_error")
        assert refused.json["error"]["message"].startswith(field)


async def test_x_api_key_header_authenticates_requests_with_anthropic_version(workspace: Workspace) -> None:
    """`X-Api-Key` beside `anthropic-version` authenticates like a bearer token; two different keys, or no version, give a 401."""
    key = new()
    workspace.write(
        "routes.yaml", routes("a: {script: [{text: Hi}]}", more=f"server: {{auth: {{keys: {{alice: {{hash: {hashed(key)}}}}}}}}}\n")
    )
    async with serving(workspace.build()) as client:
        bearer, version = {"authorization": f"Bearer {key}"}, {"anthropic-version": "2023-06-01"}
        answers: list[tuple[int, Any]] = []
        own = {**version, "x-api-key": key}
        for headers in (own, bearer, {**bearer, **own}, {**bearer, **own, "x-api-key": "x"}, {"x-api-key": key}):
            body = {"model": "gpt-4", "max_tokens": 9, "messages": HELLO}
            async with client.session.post(f"{client.base}/v1/messages", json=body, headers=headers) as one:
                answers.append((one.status, await one.json()))
    assert [status for status, _ in answers] == [200, 200, 200, 401, 401]
    assert answers[-1][1]["error"]["type"] == "authentication_error"


async def test_count_tokens_endpoint_estimates_without_calling_a_provider(workspace: Workspace) -> None:
    """The `count_tokens` endpoint returns an estimate that grows with messages and tools; an invalid question gets 400 or 404."""
    async with asked_by_anthropic(workspace) as (client, sdk):
        short = await sdk.messages.count_tokens(model="gpt-4", messages=HELLO)
        long = await sdk.messages.count_tokens(model="gpt-4", messages=[{"role": "user", "content": "Hello" * 100}], tools=[WEATHER])
        with pytest.raises(anthropic.BadRequestError):
            await sdk.messages.count_tokens(model="gpt-4", messages=[])
        with pytest.raises(anthropic.NotFoundError):
            await sdk.messages.count_tokens(model="no-such", messages=HELLO)
        assert (await client.get("/v1/messages/count_tokens")).status == 405
    assert short.input_tokens == 2
    assert 125 < long.input_tokens < 250


PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
CALL = {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"location": "Rome"}}
SIGNED = {"type": "thinking", "thinking": "Hm", "signature": "abc"}
READ: dict[str, tuple[Any, tuple[Message, ...]]] = {
    "text": ("Hi", (Message("user", ("Hi",)),)),
    "blocks": ([{"type": "text", "text": "a"}, PNG], (Message("user", ("a", File("image/png", "data:image/png;base64,iVBORw0KGgo="))),)),
    "image at an address": (
        [{"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}}],
        (Message("user", (File("image/*", "https://x.test/a.png"),)),),
    ),
    "document": (
        [{"type": "document", "title": "D", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}],
        (Message("user", (File("application/pdf", "data:application/pdf;base64,JVBERi0=", "D"),)),),
    ),
    "text document": (
        [{"type": "document", "title": "D", "source": {"type": "text", "media_type": "text/plain", "data": "words"}}],
        (Message("user", ("D:\nwords\n",)),),
    ),
    "search result": (
        [{"type": "search_result", "title": "T", "source": "https://x.test", "content": [{"type": "text", "text": "found"}]}],
        (Message("user", ("T (https://x.test):\nfound\n",)),),
    ),
    "result with an image": (
        [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "see"}, PNG], "is_error": True}],
        (Message("tool", (Result("t1", "", "see", is_error=True, files=(File("image/png", "data:image/png;base64,iVBORw0KGgo="),)),)),),
    ),
    "result of nothing": ([{"type": "tool_result", "tool_use_id": "t1"}], (Message("tool", (Result("t1", "", ""),)),)),
}


@pytest.mark.parametrize("name", READ)
def test_anthropic_user_content_blocks_are_converted(name: str) -> None:
    """Each kind of content block of an Anthropic user message becomes the matching part of an internal message."""
    content, expected = READ[name]
    assert anthropic_api.messages({"messages": [{"role": "user", "content": content}]}, 10) == expected


def test_anthropic_thinking_block_is_kept_only_if_signed_and_beside_a_tool_call() -> None:
    """The reader of `messages` keeps a thinking block as ReasoningState if it is signed and its message has a tool call."""
    unsigned = {"type": "thinking", "thinking": "Hm", "signature": ""}
    said: dict[str, Any] = {"role": "assistant", "content": [SIGNED, {"type": "text", "text": "So."}, CALL]}
    given = anthropic_api.messages({"messages": [*HELLO, said, {"role": "assistant", "content": [unsigned, CALL]}]}, 10)
    plain = anthropic_api.messages({"messages": [*HELLO, {"role": "assistant", "content": [SIGNED, {"type": "text", "text": "So."}]}]}, 10)
    call = Call("t1", "get_weather", {"location": "Rome"})
    assert given[1:] == (Message("assistant", (ReasoningState("", SIGNED), "So.", call)), Message("assistant", (call,)))
    assert plain[1:] == (Message("assistant", ("So.",)),)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no messages": ({"messages": []}, "messages: a list with at least one message is needed."),
    "role": ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role: one of user, assistant, system is needed."),
    "block": (
        {"messages": [{"role": "user", "content": [{"type": "audio"}]}]},
        "messages[0].content[0].type: one of text, image, document, search_result, tool_result is needed.",
    ),
    "kept file": (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}]},
        "messages[0].content[0].source.type: one of base64, url, text, content is needed; files kept by a provider are not served here.",
    ),
    "input": (
        {"messages": [{"role": "assistant", "content": [{**CALL, "input": "x"}]}]},
        "messages[0].content[0].input: an object is needed.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_invalid_anthropic_messages_are_refused_naming_the_block(name: str) -> None:
    """An invalid conversation raises BadAsk whose message names the path of the message and block."""
    fields, sentence = WRONG[name]
    with pytest.raises(BadAsk) as refused:
        anthropic_api.messages(fields, 10)
    assert refused.value.public == sentence


THINKING: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"thinking": {"type": "disabled"}}, "none"),
    ({"thinking": {"type": "adaptive"}}, None),
    ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "max"),
    ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
    ({"thinking": {"type": "enabled", "budget_tokens": 10_000}}, "medium"),
    ({"thinking": {"type": "enabled", "budget_tokens": 20_000}}, "high"),
    ({"thinking": {"type": "enabled", "budget_tokens": 60_000}}, "xhigh"),
]


@pytest.mark.parametrize(("fields", "effort"), THINKING)
def test_anthropic_thinking_budget_is_converted_to_reasoning_effort(fields: dict[str, Any], effort: str | None) -> None:
    """A `thinking` budget becomes a `reasoning_effort`, `disabled` becomes `none`; `output_config.effort` is kept."""
    assert anthropic_api.sampling(fields).get("reasoning_effort") == effort


@pytest.mark.parametrize("effort", ["most", "", {}, ["low"], 1, False])
def test_unknown_anthropic_effort_is_refused(effort: Json) -> None:
    """An `output_config.effort` that is none of the efforts, or no text, raises BadAsk that names them."""
    with pytest.raises(BadAsk) as refused:
        anthropic_api.sampling({"output_config": {"effort": effort}})
    assert refused.value.public.startswith("output_config.effort: one of ")


UNSERVED: dict[str, tuple[dict[str, Any], str]] = {
    "server tool": (
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        "tools[0].type: tools that a provider runs are not served here; custom ones are.",
    ),
    "servers": ({"mcp_servers": [{"url": "https://x.test"}]}, "mcp_servers: this is not served here."),
    "two of a name": ({"tools": [WEATHER, WEATHER]}, "tools: two of them have the same name."),
    "choice": (
        {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "other"}},
        "tool_choice.type: auto, any, none, or tool with the name of one of the tools is needed.",
    ),
}


@pytest.mark.parametrize("name", UNSERVED)
def test_unsupported_anthropic_tools_are_refused_naming_the_field(name: str) -> None:
    """Server tools, MCP servers, duplicate names and an unknown tool choice raise BadAsk whose message names the field."""
    fields, sentence = UNSERVED[name]
    with pytest.raises(BadAsk) as refused:
        anthropic_api.brought(fields)
    assert refused.value.public == sentence
