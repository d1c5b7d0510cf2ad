"""Tools of the client beside tools of the route, as the clients of each API meet them."""

from typing import Any

import anthropic
import openai
import pytest

from tests.conftest import Client, Workspace, direct_target, routes, serving
from tests.support.provider import Reply, calls, provider, text

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"question": {"type": "string"}}}
FIRST = calls(("w1", "get_weather", '{"location":"Rome"}'))
MIXED = calls(("w2", "get_weather", '{"location":"Oslo"}'), ("u1", "ask_user", '{"question":"Which?"}'))
SAID = "Oslo, of course"


async def by_completions(client: Client) -> list[str]:
    """Ask, run the client's calls, and send them back as OpenAI's chat completions have it. Returns the calls that the client was shown."""
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
    """The same with Anthropic's Messages API."""
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
    """The same with OpenAI's Responses API: all items are sent back, or only the id of the response."""
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
    """The same, with `previous_response_id`."""
    return await by_responses(client, kept=True)


@pytest.mark.parametrize("by", [by_completions, by_messages, by_responses, by_kept_responses])
async def test_round_with_both_kinds_of_tools_runs_ours_and_asks_for_theirs(workspace: Workspace, by: Any) -> None:
    """The client is shown its own call alone; the next prompt has every call with its result: also of the round before, which was ours."""
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
