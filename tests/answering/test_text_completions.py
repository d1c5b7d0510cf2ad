"""OpenAI's legacy completions API `/v1/completions`, through OpenAI's own Python client."""

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from openai.types import Completion

from router.intake.completions_api import MAX_PROMPTS, MEANT
from tests.conftest import Client, Workspace, direct_target, routes, serving
from tests.support.provider import Reply, provider, text
from tests.wire.readers import READERS

TARGETS = "a: {script: [{text: Hello}]}\nb: {script: [{text: Half}, {fail: down}]}"
MORE = "  broken: {pipeline: chat, targets: [b]}\n  rescued: {pipeline: chat, targets: [b, a]}\nserver: {protocol: line}\n"
ASKED = {"model": "gpt-4", "prompt": "Say hello"}


@asynccontextmanager
async def asked_by_openai(workspace: Workspace, targets: str = TARGETS) -> AsyncGenerator[tuple[Client, openai.AsyncOpenAI], None]:
    """Run a router and yield a plain client and OpenAI's client for it."""
    workspace.write("routes.yaml", routes(targets, more=MORE if targets == TARGETS else ""))
    async with (
        serving(workspace.build()) as client,
        openai.AsyncOpenAI(base_url=f"{client.base}/v1", api_key="none", max_retries=0) as sdk,
    ):
        yield client, sdk


async def listened(stream: AsyncIterable[Completion], said: list[str]) -> None:
    """Append the text of each chunk of a stream to `said`, until the stream ends or raises."""
    async for chunk in stream:
        said += [choice.text for choice in chunk.choices]


async def test_text_completion_without_stream_is_one_json_object(workspace: Workspace) -> None:
    """A prompt, as a text or a list with one text, gets one `text_completion` with text, finish reason and usage."""
    async with asked_by_openai(workspace) as (_, sdk):
        made = [await sdk.completions.create(model="gpt-4", prompt=prompt) for prompt in ("Say hello", ["Say hello"])]
    for one in made:
        assert (one.object, one.model, one.choices[0].text, one.choices[0].finish_reason) == (
            "text_completion",
            "script/lines",
            "Hello",
            "stop",
        )
        assert one.usage is not None
        assert one.usage.total_tokens == 3


async def test_streamed_text_completion_adds_up_and_has_usage_on_request(workspace: Workspace) -> None:
    """The chunks of a streamed completion add up to the whole text; the usage comes only with `include_usage`."""
    async with asked_by_openai(workspace) as (client, sdk):
        stream = await sdk.completions.create(model="gpt-4", prompt="Say hello", stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
        plain = await client.post("/v1/completions", **ASKED, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "Hello"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 3
    heard = READERS["text-completion"](plain.body)
    assert (heard.text, heard.finish, heard.usage) == ("Hello", "stop", None)


async def test_text_completion_with_echo_begins_with_the_prompt(workspace: Workspace) -> None:
    """A completion with `echo: true` begins with the prompt, streamed or not."""
    async with asked_by_openai(workspace) as (_, sdk):
        made = await sdk.completions.create(model="gpt-4", prompt="Say hello", echo=True)
        stream = await sdk.completions.create(model="gpt-4", prompt="Say hello", echo=True, stream=True)
        streamed = "".join([chunk.choices[0].text async for chunk in stream])
    assert (made.choices[0].text, streamed) == ("Say helloHello", "Say helloHello")


async def test_text_completion_prompt_is_sent_as_a_user_message(workspace: Workspace) -> None:
    """The provider is sent the prompt as a user message and the sampling parameters, but not `prompt` or `echo`."""
    async with provider(Reply(text("Hi"))) as fake, asked_by_openai(workspace, direct_target(fake.base)) as (_, sdk):
        made = await sdk.completions.create(
            model="gpt-4", prompt="Say hello", echo=True, max_tokens=7, temperature=0.5, stop="END", seed=3, presence_penalty=1
        )
        (sent,) = fake.requests
    assert made.choices[0].text == "Say helloHi"
    assert sent["messages"][-1] == {"role": "user", "content": "Say hello"}
    assert {"max_tokens": 7, "temperature": 0.5, "stop": ["END"], "seed": 3, "presence_penalty": 1}.items() <= sent.items()
    assert "echo" not in sent
    assert "prompt" not in sent


CHANGES: dict[str, tuple[Any, Any]] = {
    "suffix": ("the end", ""),
    "best_of": (3, 1),
    "logprobs": (0, None),
    "n": (2, 1),
    "messages": ([{"role": "user", "content": "Hi"}], None),
    "tools": ([{"type": "function"}], []),
    "prompt_embeds": ("AAAA", None),
    "use_beam_search": (True, False),
    **dict.fromkeys(
        ("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "grammar", "json_schema"),
        ({"type": "object"}, None),
    ),
}
"""Field → a value that is refused, and a default value that is accepted."""


@pytest.mark.parametrize("name", CHANGES)
async def test_unsupported_text_completion_field_gets_a_400(workspace: Workspace, name: str) -> None:
    """A completions field that the router cannot honour gets a 400 naming it; its default value and null are accepted."""
    assert set(CHANGES) == set(MEANT)
    changes, harmless = CHANGES[name]
    async with asked_by_openai(workspace) as (client, _):
        refused, *served = [await client.post("/v1/completions", **{**ASKED, name: one}) for one in (changes, harmless, None)]
    assert (refused.status, refused.json["error"]["message"]) == (400, f"{name}: this is not served here.")
    assert [one.status for one in served] == [200, 200]


PROMPTS: dict[str, tuple[Any, str]] = {
    "none": (None, "prompt: a text, or a list of texts, is needed."),
    "an empty list": ([], "prompt: a text, or a list of texts, is needed."),
    "an object": ({"text": "Hi"}, "prompt: a text, or a list of texts, is needed."),
    "tokens": ([1, 2, 3], "prompt: tokens are not served here; send the text."),
    "lists of tokens": ([[1, 2], [3]], "prompt: tokens are not served here; send the text."),
    "a text and tokens": (["Hi", [3]], "prompt: tokens are not served here; send the text."),
    "too many texts": (["Hi"] * (MAX_PROMPTS + 1), f"prompt: {MAX_PROMPTS} texts at most are served in one request."),
    "a null in a list": ([None], "prompt[0]: a text is needed."),
    "a null after a text": (["Hi", None], "prompt[1]: a text is needed."),
}


@pytest.mark.parametrize("case", PROMPTS)
async def test_prompt_that_is_not_text_gets_a_400(workspace: Workspace, case: str) -> None:
    """A `prompt` that is missing, not text, made of tokens or too long a list gets a 400 that describes the right form."""
    prompt, sentence = PROMPTS[case]
    async with asked_by_openai(workspace) as (client, _):
        refused = await client.post("/v1/completions", model="gpt-4", prompt=prompt)
    assert (refused.status, refused.json["error"]["message"]) == (400, sentence)


async def test_text_completion_error_raises_the_matching_exception_of_openais_client(workspace: Workspace) -> None:
    """An error raises the exception of its status before the stream and APIError within it; after a cut, a fallback continues the text."""
    async with asked_by_openai(workspace) as (client, sdk):
        nameless = await client.post("/v1/completions", prompt="Hi")
        with pytest.raises(openai.NotFoundError):
            await sdk.completions.create(model="no-such", prompt="Hi")
        with pytest.raises(openai.BadRequestError):
            await sdk.completions.create(model="gpt-4", prompt="Hi", echo="yes")  # type: ignore[call-overload]
        with pytest.raises(openai.InternalServerError):
            await sdk.completions.create(model="broken", prompt="Hi")
        stream = await sdk.completions.create(model="broken", prompt="Hi", stream=True)
        said: list[str] = []
        with pytest.raises(openai.APIError) as broken:
            await listened(stream, said)
        rescued = [chunk.choices[0].text async for chunk in await sdk.completions.create(model="rescued", prompt="Hi", stream=True)]
    assert (nameless.status, nameless.json["error"]["message"].partition(":")[0]) == (400, "model")
    assert said == ["Half"]
    assert broken.value.message.startswith("The model's answer broke off.")
    assert "".join(rescued) == "HalfHello"


async def test_text_completion_over_the_route_limit_gets_a_429(workspace: Workspace) -> None:
    """A completions request over the route's limit gets a 429 with OpenAI's code `rate_limit_exceeded`."""
    workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", "targets: [a]\n    limit: {requests: 1/hour}"))
    async with serving(workspace.build()) as client:
        first, second = [await client.post("/v1/completions", model="chat-model", prompt="Hi") for _ in range(2)]
    assert (first.status, second.status, second.json["error"]["code"]) == (200, 429, "rate_limit_exceeded")


async def test_text_completion_has_one_choice_for_each_prompt(workspace: Workspace) -> None:
    """A list of prompts makes one provider call and one choice for each, in order, streamed or not; the usage is their sum."""
    prompts = ["One", "Two", "Three"]
    async with (
        provider(*[Reply(text(word, "!")) for word in "ABCABC"]) as fake,
        asked_by_openai(workspace, direct_target(fake.base)) as (_, sdk),
    ):
        made = await sdk.completions.create(model="gpt-4", prompt=prompts, echo=True)
        stream = await sdk.completions.create(model="gpt-4", prompt=prompts, echo=True, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
    assert [(one.index, one.text, one.finish_reason) for one in made.choices] == [
        (0, "OneA!", "stop"),
        (1, "TwoB!", "stop"),
        (2, "ThreeC!", "stop"),
    ]
    assert [request["messages"][-1]["content"] for request in fake.requests] == prompts * 2
    said: dict[int, str] = {}
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        said[choice.index] = said.get(choice.index, "") + choice.text
    assert said == {0: "OneA!", 1: "TwoB!", 2: "ThreeC!"}
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"] * 3
    for usage in (made.usage, chunks[-1].usage):
        assert usage is not None
        assert (usage.prompt_tokens, usage.completion_tokens) == (33, 9)


async def test_log_of_a_text_completion_has_attempts_and_tokens_of_all_prompts(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """A completions request with two prompts has one log line with both attempts and the summed tokens."""
    with caplog.at_level(logging.INFO):
        async with (
            provider(Reply(text("A")), Reply(text("B"))) as fake,
            asked_by_openai(workspace, direct_target(fake.base)) as (client, _),
        ):
            answer = await client.post("/v1/completions", model="gpt-4", prompt=["One", "Two"])
    (line,) = [fields for record in caplog.records if (fields := record.__dict__.get("fields")) and fields.get("route") == "chat-model"]
    assert (len(line["attempts"]), line["input_tokens"], line["output_tokens"]) == (2, 22, 6)
    assert answer.headers["x-router-attempts"].count("outcome=ok") == 2


@pytest.mark.parametrize("stream", [True, False])
async def test_failure_of_one_prompt_fails_the_whole_text_completion(workspace: Workspace, *, stream: bool) -> None:
    """If one of several prompts fails, the completion is a 502, or the stream ends with an error after the choices so far."""
    script = [Reply(text("A")), Reply(status=500, body=b"{}")]
    async with provider(*script) as fake, asked_by_openai(workspace, direct_target(fake.base)) as (client, _):
        answer = await client.post("/v1/completions", model="gpt-4", prompt=["One", "Two", "Three"], stream=stream)
    if not stream:
        assert (answer.status, answer.json["error"]["code"]) == (502, "no_answer")
        return
    frames = [json.loads(one.removeprefix("data: ")) for one in answer.body.decode().split("\n\n") if one.startswith("data: {")]
    assert frames[0]["choices"][0]["text"] == "A"
    assert frames[-1]["error"]["code"] == "no_answer"
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert {choice["index"] for one in frames for choice in one.get("choices", ())} == {0}


async def test_route_limit_counts_each_prompt_of_a_text_completion(workspace: Workspace) -> None:
    """A request with more prompts than its route's limit has left gets a 429 and uses up none of the limit."""
    workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", "targets: [a]\n    limit: {requests: 4/hour}"))
    async with serving(workspace.build()) as client:
        first, second, third = [await client.post("/v1/completions", model="chat-model", prompt=["Hi"] * count) for count in (3, 2, 1)]
    assert [one.status for one in (first, second, third)] == [200, 429, 200]
    assert "r=0" in third.headers["ratelimit"]


async def test_several_prompts_are_refused_for_a_wire_with_one_answer(workspace: Workspace) -> None:
    """A list of prompts with `?protocol=openai`, whose answers have one choice, gets a 400."""
    async with asked_by_openai(workspace) as (client, _):
        refused = await client.post("/v1/completions?protocol=openai", model="gpt-4", prompt=["Hi", "Ho"])
    assert refused.status == 400
    assert refused.json["error"]["message"].startswith("prompt: the dialect openai has one answer")
