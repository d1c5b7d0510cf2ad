"""Anthropic's Messages API, as its own client meets it."""

import json
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import asynccontextmanager
from typing import Any, cast

import anthropic
import pytest

from router.callers.keys import hashed, new
from router.chat import Call, File, Message, ReasoningState, Result
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
    """A running router, and Anthropic's client for it. `server.protocol` is another dialect, which is nothing to these addresses."""
    workspace.write("routes.yaml", routes(targets, "targets: [a]\n    reasoning: show", more=more))
    async with (
        serving(workspace.build()) as client,
        anthropic.AsyncAnthropic(base_url=client.base, api_key="none", max_retries=0) as sdk,
    ):
        yield client, sdk


async def test_message_comes_whole_or_streamed(workspace: Workspace) -> None:
    """The client adds the stream up to the same message: thoughts, text, reason, usage and the model that spoke."""
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


async def test_unknown_call_is_left_to_the_client(workspace: Workspace) -> None:
    """It comes as a tool_use block, with the reason that has the client run it."""
    asking: dict[str, Any] = {"model": "asks", "max_tokens": 100, "messages": HELLO}
    async with asked_by_anthropic(workspace) as (_, sdk):
        made = await sdk.messages.create(**asking)
        async with sdk.messages.stream(**asking) as stream:
            added_up = await stream.get_final_message()
    for one in (made, added_up):
        assert one.stop_reason == "tool_use"
        said, call = one.content
        assert (said.text, call.type, call.name, call.input) == ("Let me look.", "tool_use", "get_weather", {"location": "Rome"})


async def test_round_with_a_tool_of_the_clients_reaches_the_provider(workspace: Workspace) -> None:
    """The provider is sent the tools, the choice, the call and its result, as the client sent them."""
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
    """What sort of an error Anthropic's API calls it."""
    return cast("Any", error.body)["error"]["type"]


async def heard(stream: AsyncIterable[str], said: list[str]) -> None:
    """Note what a stream says, until it ends or breaks."""
    async for one in stream:
        said.append(one)  # noqa: PERF401 - it may raise in the middle


async def test_error_is_an_exception_of_the_clients_own(workspace: Workspace) -> None:
    """By status before the stream, by the error's frame within it."""
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


async def test_key_in_x_api_key_is_the_callers(workspace: Workspace) -> None:
    """As Anthropic's clients send it, and as everybody does; two that differ are nobody's. Elsewhere that header says nothing."""
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


async def test_tokens_are_estimated_without_asking(workspace: Workspace) -> None:
    """More of everything counts for more; a question that is none is refused as one that is asked."""
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
def test_blocks_of_a_user_are_read(name: str) -> None:
    """Each kind becomes the part that says the same."""
    content, expected = READ[name]
    assert anthropic_api.messages({"messages": [{"role": "user", "content": content}]}, 10) == expected


def test_signed_thoughts_go_back_with_their_calls_and_no_others() -> None:
    """A thinking block with a signature stands before its call; one without, or without a call, is left out."""
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
def test_conversation_that_cannot_be_read_is_refused_with_its_place(name: str) -> None:
    """The sentence says which message, and which block."""
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
def test_thinking_is_an_effort(fields: dict[str, Any], effort: str | None) -> None:
    """A budget asks for the effort that spends about as much; an effort stands over it."""
    assert anthropic_api.sampling(fields).get("reasoning_effort") == effort


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
def test_tools_that_cannot_be_served_are_refused_by_name(name: str) -> None:
    """An answer without them would look right."""
    fields, sentence = UNSERVED[name]
    with pytest.raises(BadAsk) as refused:
        anthropic_api.brought(fields)
    assert refused.value.public == sentence
