"""Responses that are kept: retrieved, followed, cancelled, deleted and gone on from, by OpenAI's own client."""

import json
from typing import Any

import openai
import pytest

from tests.conftest import Workspace, direct_target, routes, serving
from tests.support.provider import Reply, calls, chunk, provider, text


def sdk_of(client: Any, key: str = "none") -> Any:
    """OpenAI's client for a running router."""
    return openai.AsyncOpenAI(base_url=f"{client.base}/v1", api_key=key, max_retries=0)


async def test_response_is_retrieved_until_it_is_deleted(workspace: Workspace) -> None:
    """It is the same response; another caller finds none, and nobody does once it is deleted or where `store` is false."""
    async with provider(Reply(text("Hello"))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client, sdk_of(client) as sdk, sdk_of(client, "other") as other:
            made = await sdk.responses.create(model="chat-model", input="Hi")
            assert (await sdk.responses.retrieve(made.id)).model_dump() == made.model_dump()
            with pytest.raises(openai.NotFoundError) as refused:
                await other.responses.retrieve(made.id)
            assert refused.value.code == "response_not_found"
            await sdk.responses.delete(made.id)
            unkept = await sdk.responses.create(model="chat-model", input="Hi", store=False)
            for gone in (made.id, unkept.id, "resp_1"):
                with pytest.raises(openai.NotFoundError):
                    await sdk.responses.retrieve(gone)
    assert (made.store, unkept.store) == (True, False)


async def test_stream_is_resumed_after_each_of_its_events(workspace: Workspace) -> None:
    """What comes then is what came after that event, to the byte."""
    async with provider(Reply(text("One ", "two ", "three"))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client:
            first = (await client.post("/v1/responses", model="chat-model", input="Hi", stream=True)).body
            frames = first.decode().split("\n\n")[:-1]
            name = json.loads(frames[0].partition("data: ")[2])["response"]["id"]
            whole = (await client.get(f"/v1/responses/{name}?stream=true")).body
            for count in range(len(frames)):
                rest = (await client.get(f"/v1/responses/{name}?stream=true&starting_after={count}")).body
                assert rest.decode() == "".join(f"{frame}\n\n" for frame in frames[count + 1 :])
            other = (await client.get(f"/api/chat/{name}/stream?protocol=text")).body
            wrong = await client.get(f"/v1/responses/{name}?starting_after=1")
    assert whole == first
    assert other == b"One two three"
    assert wrong.status == 400


async def test_response_that_is_cancelled_says_so(workspace: Workspace) -> None:
    """Its provider is left, its stream ends, and what was said so far stays."""
    async with provider(Reply((chunk({"content": "Half"}),), hold=True)) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client, sdk_of(client) as sdk:
            stream = await sdk.responses.create(model="chat-model", input="Hi", stream=True)
            events = [await anext(stream)]
            name = events[0].response.id
            assert (await sdk.responses.retrieve(name)).status == "in_progress"
            cancelled = await sdk.responses.cancel(name)
            events += [event async for event in stream]
        await fake.until(lambda: fake.closed == 1)
    assert (cancelled.status, cancelled.output_text) == ("cancelled", "Half")
    assert (events[-1].type, events[-1].response.status) == ("response.incomplete", "cancelled")


WEATHER: dict[str, Any] = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}


async def test_question_goes_on_from_the_previous_response(workspace: Workspace) -> None:
    """By its id, or by references to its items: the provider is sent the same conversation, without the earlier instructions."""
    async with provider(Reply(calls(("t1", "look", "{}"))), Reply(text("Found"))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client, sdk_of(client) as sdk:
            first = await sdk.responses.create(model="chat-model", input="Hi", tools=[WEATHER], instructions="Be brief.")
            result = {"type": "function_call_output", "call_id": first.output[0].call_id, "output": "here"}
            second = await sdk.responses.create(model="chat-model", input=[result], previous_response_id=first.id, tools=[WEATHER])
            reference = {"type": "item_reference", "id": first.output[0].id}
            await sdk.responses.create(
                model="chat-model", input=[{"role": "user", "content": "Hi"}, reference, reference, result], tools=[WEATHER]
            )
            third = await sdk.responses.create(model="chat-model", input="And?", previous_response_id=second.id)
            with pytest.raises(openai.NotFoundError):
                await sdk.responses.create(model="chat-model", input=[{"type": "item_reference", "id": "msg_1"}])
        sent = [one["messages"] for one in fake.requests]
    assert [one["role"] for one in sent[1]] == ["user", "assistant", "tool"]
    assert sent[2] == sent[1]
    assert [one["content"] for one in sent[3][-2:]] == ["Found", "And?"]
    assert third.previous_response_id == second.id
