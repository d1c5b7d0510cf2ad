"""Stored OpenAI Responses: retrieved, streamed again, cancelled, deleted and continued, through OpenAI's own Python client."""

import json
from typing import Any

import openai
import pytest

from tests.answering.test_replicas import two
from tests.conftest import Workspace, direct_target, routes, serving
from tests.support.provider import Reply, calls, chunk, provider, text


def sdk_of(client: Any, key: str = "none") -> Any:
    """Return OpenAI's client for a running router, with this API key."""
    return openai.AsyncOpenAI(base_url=f"{client.base}/v1", api_key=key, max_retries=0)


async def test_stored_response_can_be_retrieved_until_it_is_deleted(workspace: Workspace) -> None:
    """A response can be retrieved by its own caller until deleted; for another caller, or with `store: false`, it is a 404."""
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


async def test_response_stream_resumes_after_any_event_number(workspace: Workspace) -> None:
    """A stream resumed with `starting_after` has exactly the bytes that followed that event in the first stream."""
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


async def test_cancelled_response_has_status_cancelled_and_its_text_so_far(workspace: Workspace) -> None:
    """A cancelled response keeps its text with status `cancelled`, its stream ends, and the provider's connection is closed."""
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


async def test_previous_response_id_and_item_references_send_the_earlier_turns(workspace: Workspace) -> None:
    """A question with `previous_response_id` or item references sends the provider the earlier turns without their instructions."""
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


LOOKED = Reply(calls(("t1", "look", "{}")))


async def test_previous_response_of_another_replica_is_continued(workspace: Workspace) -> None:
    """A question sent to one replica can continue a response of another: the provider gets all its turns, tool calls and results."""
    long = "x" * 700_000
    async with (
        provider(LOOKED, Reply(text("Found")), Reply(text("Bye"))) as fake,
        two(workspace, direct_target(fake.base)) as (one, other, _),
        sdk_of(one) as here,
        sdk_of(other) as there,
        sdk_of(other, "stranger") as stranger,
    ):
        first = await here.responses.create(model="chat-model", input=long, tools=[WEATHER], instructions="Be brief.")
        result = {"type": "function_call_output", "call_id": "t1", "output": "here"}
        second = await there.responses.create(model="chat-model", input=[result], previous_response_id=first.id, tools=[WEATHER])
        reference = {"type": "item_reference", "id": second.output[0].id}
        with pytest.raises(openai.NotFoundError):
            await stranger.responses.create(model="chat-model", input="Hi", previous_response_id=first.id)
        asked = [
            {"role": "user", "content": long},
            first.output[0].model_dump(),
            result,
            reference,
            {"role": "user", "content": "And?"},
        ]
        await here.responses.create(model="chat-model", input=asked)
        await here.responses.create(model="chat-model", input="And?", previous_response_id=second.id)
        assert (await there.responses.retrieve(first.id)).model_dump() == first.model_dump()
    sent = [one["messages"] for one in fake.requests]
    assert [one["role"] for one in sent[1]] == ["user", "assistant", "tool"]
    assert sent[1][0]["content"] == long
    assert sent[1][1]["tool_calls"][0]["id"] == sent[1][2]["tool_call_id"]
    assert [one["role"] for one in sent[3]] == ["user", "assistant", "tool", "assistant", "user"]
    assert sent[2] == sent[3]


async def test_response_of_another_replica_gets_a_503_while_redis_is_down(workspace: Workspace) -> None:
    """While Redis is down, a replica answers a question that continues another's response, its retrieve and its cancel with a 503.
    The replica that made the response still continues it.
    """
    async with (
        provider(Reply(text("Found"))) as fake,
        two(workspace, direct_target(fake.base)) as (one, other, server),
        sdk_of(one) as here,
        sdk_of(other) as there,
    ):
        first = await here.responses.create(model="chat-model", input="Hi")
        await server.daemon.kill()
        refused: list[Any] = []
        for asking in (
            there.responses.create(model="chat-model", input="And?", previous_response_id=first.id),
            there.responses.retrieve(first.id),
            there.responses.cancel(first.id),
        ):
            with pytest.raises(openai.InternalServerError) as caught:
                await asking
            refused.append(caught.value)
        second = await here.responses.create(model="chat-model", input="And?", previous_response_id=first.id)
    assert {(one.status_code, one.code) for one in refused} == {(503, "response_unavailable")}
    assert all(one.response.headers["retry-after"] == "2" and "server.redis" in one.message for one in refused)
    assert second.output_text == "Found"
    assert [one["role"] for one in fake.requests[-1]["messages"]] == ["user", "assistant", "user"]
    assert len(fake.requests) == 2


async def test_response_can_be_cancelled_and_deleted_on_another_replica(workspace: Workspace) -> None:
    """A response cancelled through another replica is equal at both; once one replica deletes it, both answer 404."""
    async with (
        provider(Reply((chunk({"content": "Half"}),), hold=True)) as fake,
        two(workspace, direct_target(fake.base)) as (one, other, _),
        sdk_of(one) as here,
        sdk_of(other) as there,
    ):
        stream = await here.responses.create(model="chat-model", input="Hi", stream=True)
        name = (await anext(stream)).response.id
        await there.responses.cancel(name)
        last = [event async for event in stream][-1]
        found = await there.responses.retrieve(name)
        assert found.model_dump() == last.response.model_dump() == (await here.responses.retrieve(name)).model_dump()
        await there.responses.delete(name)
        for sdk in (here, there):
            with pytest.raises(openai.NotFoundError):
                await sdk.responses.retrieve(name)
    assert (found.status, found.output_text) == ("cancelled", "Half")


@pytest.mark.parametrize(("bound", "given"), [("body: 4KiB", "x" * 2500), ("values: 100", [{"role": "user", "content": "x"}] * 25)])
async def test_conversation_longer_than_the_request_bounds_gets_a_413(workspace: Workspace, bound: str, given: Any) -> None:
    """A question gets a 413 if it exceeds `server.request` (body or values) together with the turns of its previous response."""
    async with provider(Reply(text("Hello"))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base), more=f"server: {{request: {{{bound}}}}}\n"))
        async with serving(workspace.build()) as client, sdk_of(client) as sdk:
            first = await sdk.responses.create(model="chat-model", input=given)
            with pytest.raises(openai.APIStatusError, match="the whole conversation") as refused:
                await sdk.responses.create(model="chat-model", input=given, previous_response_id=first.id)
    assert (refused.value.status_code, bound.partition(":")[0] in refused.value.message) == (413, True)
