"""OpenAI Responses with `background: true`, and the input items of a response, through OpenAI's own Python client."""

import asyncio
from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.answering.test_kept_responses import WEATHER, sdk_of
from tests.answering.test_replicas import two
from tests.conftest import Workspace, direct_target, routes, serving
from tests.support.provider import Reply, calls, chunk, provider, text

HELD = Reply((chunk({"content": "Half"}),), hold=True)


async def polled(sdk: Any, name: str, reached: Callable[[Any], bool]) -> Any:
    """Retrieve the response with this id until `reached` is true of it, and return it."""
    async with asyncio.timeout(240):
        while not reached(found := await sdk.responses.retrieve(name)):
            await asyncio.sleep(0.01)
    return found


def is_final(found: Any) -> bool:
    """Return whether a response has left the states `queued` and `in_progress`."""
    return found.status not in ("queued", "in_progress")


async def test_background_response_completes_without_its_client(workspace: Workspace) -> None:
    """A background response goes from `queued` to `completed` when polled and works as the `previous_response_id` of a question."""
    async with provider(Reply(text("Found"))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client, sdk_of(client) as sdk:
            begun = await sdk.responses.create(model="chat-model", input="Hi", background=True)
            ended = await polled(sdk, begun.id, is_final)
            await sdk.responses.create(model="chat-model", input="And?", previous_response_id=begun.id)
    assert (begun.status, begun.background, begun.output, begun.usage, begun.completed_at) == ("queued", True, [], None, None)
    assert (ended.id, ended.status, ended.background, ended.output_text) == (begun.id, "completed", True, "Found")
    assert [one["content"] for one in fake.requests[1]["messages"][-3:]] == ["Hi", "Found", "And?"]


async def test_background_response_that_fails_has_status_failed_when_polled(workspace: Workspace) -> None:
    """A background response ends as `failed`: with code `no_answer` if no target answers, `too_large` beyond `server.resume.size`."""
    targets = "a: {script: [{fail: down}]}\nb: {script: [{text: " + "word " * 100 + "}]}"
    more = "  long: {pipeline: chat, targets: [b]}\nserver: {resume: {size: 400B}}\n"
    workspace.write("routes.yaml", routes(targets, more=more))
    async with serving(workspace.build()) as client, sdk_of(client) as sdk:
        found = [
            await polled(sdk, (await sdk.responses.create(model=model, input="Hi", background=True)).id, is_final)
            for model in ("chat-model", "long")
        ]
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.create(model="no-such", input="Hi", background=True)
    assert [(one.status, one.error.code) for one in found] == [("failed", "no_answer"), ("failed", "too_large")]
    assert "server.resume.size" in found[1].error.message


async def test_background_response_can_be_streamed_again_and_cancelled(workspace: Workspace) -> None:
    """A second stream continues the event numbers after `starting_after`; a cancel closes the connection to the provider."""
    async with provider(HELD, Reply(status=200, hold=True)) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client, sdk_of(client) as sdk:
            stream = await sdk.responses.create(model="chat-model", input="Hi", background=True, stream=True)
            seen = [await anext(stream) for _ in range(3)]
            await stream.close()
            name = seen[0].response.id
            await polled(sdk, name, lambda found: found.status == "in_progress")
            again = await sdk.responses.retrieve(name, stream=True, starting_after=seen[-1].sequence_number)
            rest = [await anext(again)]
            cancelled = await sdk.responses.cancel(name)
            rest += [event async for event in again]
            silent = await sdk.responses.create(model="chat-model", input="Hi", background=True)
            await fake.until(lambda: len(fake.requests) == 2)
            never = [await sdk.responses.cancel(silent.id) for _ in range(2)]
        await fake.until(lambda: fake.open == 0)
    assert [(one.type, one.response.status) for one in seen] == [
        ("response.created", "queued"),
        ("response.queued", "queued"),
        ("response.in_progress", "in_progress"),
    ]
    assert [event.sequence_number for event in rest] == list(range(3, 3 + len(rest)))
    assert (cancelled.status, cancelled.output_text, rest[-1].response.status) == ("cancelled", "Half", "cancelled")
    assert [(one.status, one.output) for one in never] == [("cancelled", [])] * 2


async def test_background_response_can_be_retrieved_and_cancelled_on_another_replica(workspace: Workspace) -> None:
    """A background response of one replica can at once be retrieved and cancelled, and its input listed, on another replica."""
    async with (
        provider(HELD) as fake,
        two(workspace, direct_target(fake.base)) as (one, other, _),
        sdk_of(one) as here,
        sdk_of(other) as there,
    ):
        begun = await here.responses.create(model="chat-model", input="Hi", background=True)
        assert (await there.responses.retrieve(begun.id)).status in ("queued", "in_progress")
        cancelled = await there.responses.cancel(begun.id)
        items = await there.responses.input_items.list(begun.id)
        await fake.until(lambda: fake.open == 0)
    assert cancelled.status == "cancelled"
    assert [item.content[0].text for item in items.data] == ["Hi"]


async def test_input_items_of_a_response_are_listed_in_pages(workspace: Workspace) -> None:
    """The input items of a response, with those of earlier turns, come in pages, in both orders; a bad query parameter is a 400."""
    async with provider(Reply(calls(("t1", "look", "{}"))), Reply(text("Found"))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client, sdk_of(client) as sdk:
            first = await sdk.responses.create(model="chat-model", input="Hi", tools=[WEATHER], instructions="Be brief.")
            result = {"type": "function_call_output", "call_id": "t1", "output": "here"}
            second = await sdk.responses.create(model="chat-model", input=[result], previous_response_id=first.id)
            items = [item async for item in sdk.responses.input_items.list(second.id, order="asc", limit=1)]
            latest = await sdk.responses.input_items.list(second.id, limit=2)
            earlier = await sdk.responses.input_items.list(second.id, limit=2, after=latest.last_id)
            counted = await sdk.responses.input_tokens.count(model="chat-model", input="x" * 400)
            for name, value in {"limit": "0", "order": "up", "after": "none", "before": "x"}.items():
                with pytest.raises(openai.BadRequestError, match=f"{name}: "):
                    await sdk.responses.input_items.list(second.id, extra_query={name: value})
    assert [item.type for item in items] == ["message", "function_call", "function_call_output"]
    assert (items[0].role, items[0].content[0].type, items[0].content[0].text) == ("user", "input_text", "Hi")
    assert items[1].id == first.output[0].id
    assert [item.id for item in (*latest.data, *earlier.data)] == [item.id for item in reversed(items)]
    assert (latest.has_more, earlier.has_more) == (True, False)
    assert (counted.object, counted.input_tokens >= 100) == ("response.input_tokens", True)


async def test_responses_compact_endpoint_is_answered_with_404(workspace: Workspace) -> None:
    """The endpoint `/v1/responses/compact` gets a 404 with code `unknown_address` and a message that it is not served."""
    async with (
        serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}")).build()) as client,
        sdk_of(client) as sdk,
    ):
        with pytest.raises(openai.NotFoundError, match="compact is not served") as refused:
            await sdk.responses.compact(model="chat-model", input="Hi")
    assert refused.value.code == "unknown_address"
