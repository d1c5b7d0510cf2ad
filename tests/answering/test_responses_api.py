"""OpenAI's Responses API `/v1/responses`, through OpenAI's own Python client."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from router.chat import Call, File, Message, ReasoningState, Result
from router.config.server import RequestBounds
from router.errors import BadAsk
from router.intake import question, responses_api
from tests.conftest import Client, Workspace, direct_target, routes, serving
from tests.support.apis import MORE, TARGETS
from tests.support.provider import Reply, calls, provider, text
from tests.wire.readers import READERS

WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "Current weather.",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}},
    "strict": False,
}


@asynccontextmanager
async def asked_by_openai(workspace: Workspace, targets: str = TARGETS, more: str = MORE) -> AsyncGenerator[Any, None]:
    """Run a router and yield a plain client and OpenAI's client for it."""
    workspace.write("routes.yaml", routes(targets, "targets: [a]\n    reasoning: show", more=more))
    async with serving(workspace.build()) as client, sdk_of(client) as sdk:
        yield client, sdk


def sdk_of(client: Client) -> Any:
    """Return OpenAI's client for a running router."""
    return openai.AsyncOpenAI(base_url=f"{client.base}/v1", api_key="none", max_retries=0)


async def added_up(sdk: Any, **asking: Any) -> Any:
    """Ask for a stream and return the final response that OpenAI's client makes of it."""
    async with sdk.responses.stream(**asking) as stream:
        return await stream.get_final_response()


async def test_response_is_the_same_streamed_and_unstreamed(workspace: Workspace) -> None:
    """A streamed response adds up to the unstreamed one: reasoning, text, status, usage, model and the repeated request fields."""
    asking: dict[str, Any] = {"model": "gpt-4", "input": "Hello", "instructions": "Be brief.", "metadata": {"a": "b"}, "temperature": 0.5}
    async with asked_by_openai(workspace) as (client, sdk):
        both = (await sdk.responses.create(**asking), await added_up(sdk, **asking))
        raw = await client.post("/v1/responses", **asking, stream=True)
    for one in both:
        thought, said = one.output
        assert (thought.type, thought.summary[0].text, said.type, one.output_text) == ("reasoning", "Hm", "message", "Hello")
        assert (one.status, one.model, one.object, one.error, one.store) == ("completed", "script/lines", "response", None, True)
        assert (one.usage.input_tokens, one.usage.output_tokens, one.usage.total_tokens) == (3, 2, 5)
        assert (one.instructions, one.metadata, one.temperature) == ("Be brief.", {"a": "b"}, 0.5)
        assert one.id.startswith("resp_")
    heard = READERS["responses"](raw.body)
    assert (heard.text, heard.thoughts, heard.finish, heard.usage) == ("Hello", "Hm", "completed", (3, 2))
    assert raw.headers["x-router-model"] == "gpt-4"


async def test_response_has_function_call_item_for_a_client_tool_call(workspace: Workspace) -> None:
    """A tool call that the router does not run comes as a `function_call` item with its arguments."""
    async with asked_by_openai(workspace) as (_, sdk):
        both = (await sdk.responses.create(model="asks", input="Hello"), await added_up(sdk, model="asks", input="Hello"))
    for one in both:
        said, call = one.output
        assert (said.content[0].text, call.type, call.name, call.status) == ("Let me look.", "function_call", "get_weather", "completed")
        assert json.loads(call.arguments) == {"location": "Rome"}


async def test_response_has_mcp_call_item_with_output_for_a_router_tool_call(workspace: Workspace) -> None:
    """A tool call that the router ran comes as an `mcp_call` item with name, arguments and output, before the text."""
    tools = "targets: [a]\n    tools: [weather]\n    max_steps: 3"
    rome = ("c1", "get_weather", '{"location":"Rome"}')
    async with provider(Reply(calls(rome)), Reply(text("It is 25°C.")), Reply(calls(rome)), Reply(text("It is 25°C."))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base), tools))
        async with serving(workspace.build()) as client, sdk_of(client) as sdk:
            both = (await sdk.responses.create(model="gpt-4", input="Rome?"), await added_up(sdk, model="gpt-4", input="Rome?"))
    for one in both:
        call, said = one.output
        assert (call.type, call.server_label, call.name, call.status) == ("mcp_call", "router", "get_weather", "completed")
        assert (json.loads(call.arguments), call.output, call.error) == ({"location": "Rome"}, "Rome: 25°C", None)
        assert (one.status, said.content[0].text) == ("completed", "It is 25°C.")


async def test_response_tools_calls_and_results_are_sent_to_the_provider(workspace: Workspace) -> None:
    """The provider gets a response's instructions, tool call, result, tool choice and token limit in OpenAI's chat form."""
    async with provider(Reply(text("It is 20°C."))) as fake:
        async with asked_by_openai(workspace, direct_target(fake.base), "") as (_, sdk):
            made = await sdk.responses.create(
                model="gpt-4",
                instructions="Be brief.",
                input=[
                    {"role": "user", "content": "Hello"},
                    {"type": "function_call", "call_id": "t1", "name": "get_weather", "arguments": '{"location":"Rome"}'},
                    {"type": "function_call_output", "call_id": "t1", "output": "20°C"},
                ],
                tools=[WEATHER],
                tool_choice={"type": "function", "name": "get_weather"},
                parallel_tool_calls=False,
                max_output_tokens=100,
            )
        (sent,) = fake.requests
    assert made.output_text == "It is 20°C."
    assert [one["role"] for one in sent["messages"]] == ["system", "user", "assistant", "tool"]
    assert json.loads(sent["messages"][2]["tool_calls"][0]["function"]["arguments"]) == {"location": "Rome"}
    assert (sent["messages"][3]["tool_call_id"], sent["messages"][3]["content"]) == ("t1", "20°C")
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}
    assert (sent["parallel_tool_calls"], sent["max_tokens"]) == (False, 100)
    assert (made.tools[0].name, made.tool_choice.name, made.parallel_tool_calls) == ("get_weather", "get_weather", False)


async def test_error_of_a_response_raises_the_matching_exception_of_openais_client(workspace: Workspace) -> None:
    """OpenAI's client raises the exception of an error's status (404, 502), or APIError for an error within the stream."""
    async with asked_by_openai(workspace) as (_, sdk):
        with pytest.raises(openai.NotFoundError) as unknown:
            await sdk.responses.create(model="no-such", input="Hello")
        with pytest.raises(openai.NotFoundError, match="previous_response_id"):
            await sdk.responses.create(model="gpt-4", input="Hello", previous_response_id="resp_1")
        with pytest.raises(openai.InternalServerError):
            await sdk.responses.create(model="down", input="Hello")
        with pytest.raises(openai.APIError, match="broke off"):
            await added_up(sdk, model="broken", input="Hello")
    assert unknown.value.code == "model_not_found"


CALL: dict[str, Any] = {"type": "function_call", "call_id": "t1", "name": "look", "arguments": '{"a":1}'}
OUTPUT: dict[str, Any] = {"type": "function_call_output", "call_id": "t1", "output": "found"}
CALLED = Call("t1", "look", {"a": 1})
FOUND = Message("tool", (Result("t1", "look", "found"),))
PDF = "data:application/pdf;base64,JVBERi0="
SECRET: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "abc"}
READ: dict[str, tuple[list[Any], tuple[Message, ...]]] = {
    "parts": (
        [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "a"},
                    {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"},
                    {"type": "input_file", "file_data": PDF, "filename": "D"},
                    {"type": "input_file", "file_url": "https://x.test/d.pdf"},
                ],
            }
        ],
        (
            Message(
                "user",
                (
                    "a",
                    File("image/*", "https://x.test/a.png", "", "low"),
                    File("application/pdf", PDF, "D"),
                    File("application/pdf", "https://x.test/d.pdf"),
                ),
            ),
        ),
    ),
    "text and calls of one turn": (
        [
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "So."}]},
            CALL,
            {**CALL, "call_id": "t2"},
            OUTPUT,
            {**OUTPUT, "call_id": "t2"},
        ],
        (
            Message("assistant", ("So.", CALLED, Call("t2", "look", {"a": 1}))),
            Message("tool", (Result("t1", "look", "found"), Result("t2", "look", "found"))),
        ),
    ),
    "two turns": ([CALL, OUTPUT, CALL, OUTPUT], (Message("assistant", (CALLED,)), FOUND, Message("assistant", (CALLED,)), FOUND)),
    "two messages of the assistant's": (
        [{"role": "assistant", "content": "a", "phase": "commentary"}, {"role": "assistant", "content": "b"}],
        (Message("assistant", ("a",)), Message("assistant", ("b",))),
    ),
    "call that ran here": (
        [{"type": "mcp_call", "id": "t1", "server_label": "router", "name": "look", "arguments": '{"a":1}', "output": "found"}],
        (Message("assistant", (CALLED,)), FOUND),
    ),
    "encrypted reasoning": (
        [SECRET, CALL, OUTPUT],
        (Message("assistant", (ReasoningState("", SECRET, "t1"), CALLED)), FOUND),
    ),
    "reasoning without a call": ([SECRET, {"role": "assistant", "content": "So."}], (Message("assistant", ("So.",)),)),
}


@pytest.mark.parametrize("name", READ)
def test_response_input_items_are_grouped_into_messages(name: str) -> None:
    """The texts and tool calls of one model turn become one assistant message, and their results the tool message after it."""
    items, expected = READ[name]
    assert responses_api.messages({"input": items}, 10) == expected


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "input: a text or a list with at least one item is needed."),
    "store": ({"store": "yes"}, "store: true or false is needed."),
    "kind": (
        {"input": [{"type": "computer_call"}]},
        "input[0].type: one of message, function_call, function_call_output, mcp_call, reasoning, item_reference is needed.",
    ),
    "kept file": (
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
        "input[0].content[0].file_id: files kept by a provider are not served here; send image_url.",
    ),
    "role": ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role: one of system, developer, user, assistant is needed."),
    "background": (
        {"background": True, "store": False},
        "background: this needs store: true, which is the default: nobody could fetch the response.",
    ),
    "truncation": ({"truncation": "auto"}, "truncation: this is not served here."),
    "built-in tool": (
        {"tools": [{"type": "web_search"}]},
        "tools[0].type: tools that a provider runs are not served here; functions are.",
    ),
    "metadata": ({"metadata": "x"}, "metadata: an object is needed."),
}


@pytest.mark.parametrize("name", WRONG)
def test_invalid_response_request_is_refused_naming_the_field(name: str) -> None:
    """An invalid or unsupported Responses request raises BadAsk whose message begins with the path of the field."""
    given, sentence = WRONG[name]
    fields: dict[str, Any] = given if name == "nothing" else {"input": "Hello", **given}
    with pytest.raises(BadAsk) as refused:
        question.asked({"model": "gpt-4", **fields}, None, "responses", "", RequestBounds())
    assert refused.value.public == sentence
