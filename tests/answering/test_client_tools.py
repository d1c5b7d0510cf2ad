"""Tools of the client beside tools of the route, through the clients of each API."""

import json
from typing import Any, ClassVar

import anthropic
import openai
import pytest

from router.chat import Ask, Choice, ToolSpec
from router.config.server import RequestBounds
from router.errors import BadAsk
from router.intake import question
from tests.conftest import Client, Workspace, direct_target, routes, serving
from tests.support.provider import Reply, calls, provider, text

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"question": {"type": "string"}}}
FIRST = calls(("w1", "get_weather", '{"location":"Rome"}'))
MIXED = calls(("w2", "get_weather", '{"location":"Oslo"}'), ("u1", "ask_user", '{"question":"Which?"}'))
SAID = "Oslo, of course"


async def by_completions(client: Client) -> list[str]:
    """Ask by OpenAI's chat completions, answer the client's tool calls, and return the names of those calls."""
    tools: Any = [{"type": "function", "function": {"name": "ask_user", "parameters": SCHEMA}}]
    messages: list[Any] = [{"role": "user", "content": "Hi"}]
    async with openai.AsyncOpenAI(base_url=f"{client.base}/v1", api_key="none", max_retries=0) as sdk:
        made = (await sdk.chat.completions.create(model="chat-model", messages=messages, tools=tools)).choices[0]
        assert made.finish_reason == "tool_calls"
        shown: list[Any] = list(made.message.tool_calls or ())
        messages += [made.message, *({"role": "tool", "tool_call_id": one.id, "content": SAID} for one in shown)]
        await sdk.chat.completions.create(model="chat-model", messages=messages, tools=tools)
    return [one.function.name for one in shown]


async def by_messages(client: Client) -> list[str]:
    """Ask by Anthropic's Messages API, answer the client's tool calls, and return the names of those calls."""
    tools: Any = [{"name": "ask_user", "input_schema": SCHEMA}]
    messages: list[Any] = [{"role": "user", "content": "Hi"}]
    async with anthropic.AsyncAnthropic(base_url=client.base, api_key="none", max_retries=0) as sdk:
        made = await sdk.messages.create(model="chat-model", max_tokens=99, messages=messages, tools=tools)
        assert made.stop_reason == "tool_use"
        shown = [one for one in made.content if one.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": one.id, "content": SAID} for one in shown]
        messages += [{"role": "assistant", "content": made.content}, {"role": "user", "content": results}]
        await sdk.messages.create(model="chat-model", max_tokens=99, messages=messages, tools=tools)
    return [one.name for one in shown]


async def by_responses(client: Client, *, kept: bool = False) -> list[str]:
    """Ask by OpenAI's Responses API, answer the client's tool calls, and return the names of those calls.

    `kept`: send only `previous_response_id` and the results instead of all items.
    """
    tools: Any = [{"type": "function", "name": "ask_user", "parameters": SCHEMA, "strict": False}]
    asked: list[Any] = [{"role": "user", "content": "Hi"}]
    async with openai.AsyncOpenAI(base_url=f"{client.base}/v1", api_key="none", max_retries=0) as sdk:
        made = await sdk.responses.create(model="chat-model", input=asked, tools=tools)
        shown = [one for one in made.output if one.type == "function_call"]
        results: list[Any] = [{"type": "function_call_output", "call_id": one.call_id, "output": SAID} for one in shown]
        if kept:
            await sdk.responses.create(model="chat-model", input=results, tools=tools, previous_response_id=made.id)
        else:
            items: list[Any] = [*asked, *(one.model_dump(exclude_none=True) for one in made.output), *results]
            await sdk.responses.create(model="chat-model", input=items, tools=tools)
    return [one.name for one in shown]


async def by_kept_responses(client: Client) -> list[str]:
    """Do as `by_responses`, with `previous_response_id` instead of all items."""
    return await by_responses(client, kept=True)


@pytest.mark.parametrize("by", [by_completions, by_messages, by_responses, by_kept_responses])
async def test_answer_that_calls_router_and_client_tools_returns_only_the_client_calls(workspace: Workspace, by: Any) -> None:
    """The router runs its own tool calls and returns only the client's; the next prompt to the provider has every call with its result."""
    async with provider(Reply(FIRST), Reply(MIXED), Reply(text("So."))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base), "targets: [a]\n    tools: [weather]"))
        async with serving(workspace.build()) as client:
            assert await by(client) == ["ask_user"]
    assert len(fake.requests) == 3
    last = fake.requests[-1]["messages"]
    called = [(one["id"], one["function"]["name"]) for message in last for one in message.get("tool_calls", ())]
    told = {message["tool_call_id"]: message["content"] for message in last if message["role"] == "tool"}
    assert [name for _, name in called] == ["get_weather", "get_weather", "ask_user"]
    assert [told[call_id] for call_id, _ in called[:2]] == [fake.requests[1]["messages"][-1]["content"], "Oslo: 25°C"]
    assert told[called[-1][0]] == SAID
    assert [message["role"] for message in last if message["role"] == "user"] == ["user"]


class Page:
    """A front end on the AI SDK that sends `tools` and `system` in its request body, as assistant-ui does."""

    TOOLS: ClassVar[dict[str, Any]] = {"ask_user": {"description": "Ask.", "parameters": SCHEMA}}

    def __init__(self, client: Client) -> None:
        self.client = client
        self.messages: list[dict[str, Any]] = [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}]

    async def submit(self, **more: Any) -> list[dict[str, Any]]:
        """Send the conversation, append the answer's tool calls and results as an assistant message, and return the answer's frames."""
        body = {"id": "chat-1", "messages": self.messages, "trigger": "submit-message", "system": "Be brief.", "tools": self.TOOLS, **more}
        answered = await self.client.post(**body)
        assert answered.status == 200, answered.body
        frames = [json.loads(line[6:]) for line in answered.body.decode().split("\n\n") if line.startswith("data: {")]
        parts: dict[str, dict[str, Any]] = {}
        for frame in frames:
            if frame["type"] == "tool-input-available":
                made = {
                    "type": f"tool-{frame['toolName']}",
                    "toolCallId": frame["toolCallId"],
                    "state": "input-available",
                    "input": frame["input"],
                }
                parts[frame["toolCallId"]] = made
            if frame["type"] == "tool-output-available":
                parts[frame["toolCallId"]] |= {"state": "output-available", "output": frame["output"]}
        self.messages.append({"id": frames[0]["messageId"], "role": "assistant", "parts": [{"type": "step-start"}, *parts.values()]})
        return frames

    def run(self, output: str) -> None:
        """Set this output on each tool call of the last message that has none yet."""
        for part in self.messages[-1]["parts"]:
            if part.get("state") == "input-available":
                part |= {"state": "output-available", "output": output}


async def test_chat_request_can_bring_client_tools_and_a_system_prompt(workspace: Workspace) -> None:
    """The provider is sent the request's `system`, and its `tools` beside the route's; the next request has both tools' results."""
    async with provider(Reply(MIXED), Reply(text("So."))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base), "targets: [a]\n    tools: [weather]"))
        async with serving(workspace.build()) as client:
            page = Page(client)
            frames = await page.submit()
            assert frames[-1]["messageMetadata"]["finishReason"] == "tool-calls"
            assert [one["output"] for one in frames if one["type"] == "tool-output-available"] == ["Oslo: 25°C"]
            page.run(SAID)
            again = await page.submit()
            assert again[0]["messageId"] == frames[0]["messageId"]
    first, last = fake.requests
    assert [(one["function"]["name"], one["function"]["parameters"]["type"]) for one in first["tools"]] == [
        ("get_weather", "object"),
        ("ask_user", "object"),
    ]
    assert first["messages"][0] == {"role": "system", "content": "Be brief."}
    results = {one["tool_call_id"]: one["content"] for one in last["messages"] if one["role"] == "tool"}
    assert results == {"w2": "Oslo: 25°C", "u1": SAID}


FORMS: dict[str, dict[str, Any]] = {
    "the AI SDK's": {
        "tools": {"ask_user": {"description": "Ask.", "inputSchema": {"jsonSchema": SCHEMA}}},
        "toolChoice": {"type": "tool", "toolName": "ask_user"},
    },
    "OpenAI's": {
        "tools": [{"type": "function", "function": {"name": "ask_user", "description": "Ask.", "parameters": SCHEMA}}],
        "tool_choice": {"type": "function", "function": {"name": "ask_user"}},
    },
}


def asked_with(**more: Any) -> Ask:
    """Return the Ask of a chat request body with these fields."""
    fields = {"messages": [{"role": "user", "content": "Hi"}], "model": "m", **more}
    return question.asked(fields, None, "chat", "m", RequestBounds()).ask


@pytest.mark.parametrize("form", FORMS)
def test_client_tools_are_read_in_the_ai_sdk_and_the_openai_form(form: str) -> None:
    """The `tools` and the tool choice of a chat request give the same Ask in the AI SDK's form and in OpenAI's."""
    ask = asked_with(**FORMS[form])
    assert ask.tools == (ToolSpec("ask_user", "Ask.", SCHEMA),)
    assert ask.choice == Choice("named", "ask_user")


@pytest.mark.parametrize("value", [None, "weather", True, 3, [], {}, ["weather", "clock"]])
def test_tools_field_without_tool_definitions_is_left_to_the_template(value: Any) -> None:
    """A `tools` field that holds no tool definitions gives no client tools and stays in the fields for the prompt template."""
    ask = asked_with(tools=value)
    assert ask.tools == ()
    assert ask.fields["tools"] == value


UNREADABLE: list[tuple[Any, str]] = [
    ({"tools": {"ask user": {}}}, "tools: each name is made of letters, digits, _ and -, 64 at most."),
    ({"tools": {"ask": 3}}, "tools.ask: an object with `parameters` is needed."),
    ({"tools": {"ask": {"parameters": []}, "b": {"parameters": "x"}}}, "tools.b.parameters: a JSON schema is needed."),
    ({"tools": {"ask": {"description": 3}}}, "tools.ask.description: a text is needed."),
    ({"tools": {f"t{count}": {} for count in range(129)}}, "tools: at most 128 tools are taken."),
    ({"tools": {"ask": {}}, "toolChoice": {"type": "tool", "toolName": "b"}}, "tool_choice: auto, none, required, or a function among"),
    ({"system": 3}, "system: a text is needed."),
]


@pytest.mark.parametrize(("more", "sentence"), UNREADABLE)
def test_invalid_client_tools_are_refused_naming_the_field(more: dict[str, Any], sentence: str) -> None:
    """An invalid `tools`, `toolChoice` or `system` raises BadAsk, and its message begins with the path of the field."""
    with pytest.raises(BadAsk) as refused:
        asked_with(**more)
    assert str(refused.value).startswith(sentence)


BROUGHT: dict[str, tuple[str, dict[str, Any]]] = {
    "/api/chat": ("tools", {"messages": [{"role": "user", "content": "Hi"}], "tools": Page.TOOLS}),
    "/api/chat?": ("system", {"messages": [{"role": "user", "content": "Hi"}], "system": "Be brief."}),
    "/v1/chat/completions": (
        "tools",
        {"messages": [{"role": "user", "content": "Hi"}], "tools": [{"type": "function", "function": {"name": "ask_user"}}]},
    ),
    "/v1/chat/completions?": ("system", {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}),
    "/v1/messages": (
        "tools",
        {"messages": [{"role": "user", "content": "Hi"}], "tools": [{"name": "ask_user", "input_schema": SCHEMA}], "max_tokens": 9},
    ),
    "/v1/messages?": ("system", {"messages": [{"role": "user", "content": "Hi"}], "system": "Be brief.", "max_tokens": 9}),
    "/v1/responses": ("tools", {"input": "Hi", "tools": [{"type": "function", "name": "ask_user"}]}),
    "/v1/responses?": ("system", {"input": "Hi", "instructions": "Be brief."}),
}


@pytest.mark.parametrize("path", BROUGHT)
async def test_route_with_refuse_answers_400_to_client_tools_or_system_prompt(workspace: Workspace, path: str) -> None:
    """A route with `refuse: [tools]` or `[system]` answers such a request with a 400 naming it, in every API; other requests get 200."""
    named, body = BROUGHT[path]
    more = "  open: {pipeline: chat, targets: [a]}"
    workspace.write("routes.yaml", routes("a: {script: [{text: Hello}]}", f"targets: [a]\n    refuse: [{named}]", more))
    async with serving(workspace.build()) as client:
        refused = await client.post(path, **body, model="chat-model")
        served = await client.post(path, **body, model="open")
        plain = await client.ask()
    assert (refused.status, served.status, plain.status) == (400, 200, 200)
    assert f"{named}: this model takes no " in refused.body.decode()
