"""Reasoning state is sent back unaltered to the model that issued it, over three rounds of tool calls, and to no other model or client."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from router.callers.keys import hashed, new
from router.wire import WIRES
from tests.conftest import Client, Workspace, parsed_lines, serving
from tests.models.dialects import ANSWER
from tests.models.fakes import Asked, Fakes, Flagship, fakes
from tests.models.flagships import (
    ALWAYS_THINKING,
    ASTRA,
    DEEPSEEK,
    FLAGSHIPS,
    GEMINI,
    GEMINI_OPENAI,
    GLM,
    GPT_4O,
    HAIKU,
    MISTRAL,
    OPENROUTER,
    OPUS,
    SONNET,
    through_litellm,
)

KIMI = next(one for one in FLAGSHIPS if one.name == "kimi-k2.5")
THINKERS = (OPUS, ALWAYS_THINKING, HAIKU, DEEPSEEK, KIMI, GLM, GEMINI, GEMINI_OPENAI, OPENROUTER, ASTRA)
OTHERS = (GPT_4O, SONNET, HAIKU, DEEPSEEK, GEMINI, GEMINI_OPENAI, ASTRA, MISTRAL)
PAIRS = [(one, other) for one in THINKERS for other in OTHERS if one.model.partition("/")[0] != other.model.partition("/")[0]]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Current weather.",
            "parameters": {"type": "object", "properties": {"location": {"type": "string"}}},
        },
    }
]
HOW = ("streamed", "whole", "lines")


def named(value: object) -> Any:
    """Return the model's name as the id of a parametrised case."""
    return value.name if isinstance(value, Flagship) else None


def routes(targets: Mapping[str, str], route: str = ", tools: [weather]", more: str = "") -> str:
    """Return a routes.yaml whose one route asks these targets in order and a scripted answer last. `route`: its other keys; `more`:
    further YAML.
    """
    lines = "".join(f"  {name}: {target}\n" for name, target in targets.items())
    script = '  script: {script: [{text: "A script."}]}\n'
    asked = ", ".join([*targets, "script"])
    return f"targets:\n{lines}{script}routes:\n  chat-model: {{pipeline: chat, targets: [{asked}]{route}}}\n{more}"


async def said(client: Client, how: str, question: str) -> str:
    """Ask with reasoning effort `high` and return the text of the answer. `how`: `streamed`, `whole` or `lines`."""
    messages = [{"role": "user", "content": question}]
    path = "/api/chat" if how == "lines" else "/v1/chat/completions"
    answer = await client.post(path, model="chat-model", messages=messages, stream=how != "whole", reasoning_effort="high")
    assert answer.status == 200, answer.body
    if how == "lines":
        return "".join(value["textDelta"] for code, value in parsed_lines(answer.body) if code == "0")
    if how == "whole":
        return str(answer.json["choices"][0]["message"]["content"])
    chunks = [json.loads(one[6:]) for one in answer.body.decode().split("\n\n") if one.startswith("data: {")]
    return "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks if one["choices"])


def strayed(models: Fakes, owner: Flagship) -> list[Asked]:
    """Return the requests to other models that contain reasoning of this model."""
    return [one for one in models.asked if one.flagship is not owner and re.search(f"of {owner.name}[.!]", json.dumps(one.body))]


THROUGH = tuple(map(through_litellm, (OPUS, ALWAYS_THINKING, HAIKU, DEEPSEEK)))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("flagship", THINKERS + THROUGH, ids=named)
async def test_reasoning_of_each_tool_round_is_sent_back_to_its_model_as_issued(workspace: Workspace, flagship: Flagship, how: str) -> None:
    """Each request of a turn turns thinking on and brings back the reasoning of all earlier rounds, in order and unaltered."""
    async with (
        fakes(flagship) as models,
        serving(workspace.write("routes.yaml", routes({"a": flagship.target(models.address)})).build()) as c,
    ):
        assert await said(c, how, "rounds 3 calls 2") == ANSWER
        asked = models.of(flagship.name)
        assert len(asked) == 4
        assert not models.wrong
        for count, one in enumerate(asked):
            assert flagship.thinks(one.body)
            turn = one.dialect.turn(one.body)
            assert len(turn.rounds) == count
            shown = flagship.shows(one.body)
            returned = [one.dialect.states(message, one.body) for message in turn.rounds]
            assert returned == [one.dialect.issued(models.state(flagship, at), shown=shown) for at in range(count)]


@pytest.mark.parametrize(("flagship", "other"), PAIRS, ids=named)
async def test_answer_cut_in_round_three_is_continued_by_another_model_without_the_first_ones_reasoning(
    workspace: Workspace, flagship: Flagship, other: Flagship
) -> None:
    """When a model breaks off after two tool rounds, another vendor's model finishes the answer without the first one's reasoning."""
    async with fakes(flagship, other) as models:
        targets = {"a": flagship.target(models.address, "cut2"), "b": other.target(models.address)}
        async with serving(workspace.write("routes.yaml", routes(targets)).build()) as client:
            assert await said(client, "streamed", "rounds 2 calls 2") == ANSWER
        assert len(models.of(flagship.name)) >= 3
        assert models.of(other.name)
        assert not models.refused(other.name)
        assert not models.wrong
        assert not strayed(models, flagship)


@pytest.mark.parametrize(("flagship", "other"), PAIRS, ids=named)
async def test_fallback_in_tool_round_two_is_sent_no_reasoning_of_the_failed_model(
    workspace: Workspace, flagship: Flagship, other: Flagship
) -> None:
    """When a model fails after one tool round, the fallback continues from the tool's result and gets no reasoning of the first."""
    async with fakes(flagship, other) as models:
        targets = {"a": flagship.target(models.address, "down1"), "b": other.target(models.address)}
        async with serving(workspace.write("routes.yaml", routes(targets)).build()) as client:
            assert await said(client, "streamed", "rounds 2 calls 2") == ANSWER
        assert models.of(other.name)
        assert not models.refused(other.name)
        assert not models.wrong
        assert not strayed(models, flagship)
        assert not strayed(models, other)


def call(message: Mapping[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Return an assistant message with calls and the tool messages with results, as a client of OpenAI's API sends them back."""
    back = {"role": "assistant", "content": message["content"], "tool_calls": message["tool_calls"], **more}
    results = [{"role": "tool", "tool_call_id": one["id"], "content": "25°C"} for one in message["tool_calls"]]
    return [back, *results]


async def turn(client: Client, messages: Sequence[Mapping[str, Any]], key: str = "", **more: Any) -> dict[str, Any]:
    """Send one request with client-side tools and return the message of its answer."""
    body = {"model": "chat-model", "messages": messages, "tools": TOOLS, "reasoning_effort": "high", **more}
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with client.session.post(f"{client.base}/v1/chat/completions", json=body, headers=headers) as response:
        assert response.status == 200, await response.read()
        return (await response.json())["choices"][0]["message"]


async def played(client: Client, question: str, key: str = "") -> tuple[str, list[Mapping[str, Any]]]:
    """Run the tools as a client until the model answers with text; return that text and the conversation."""
    messages: list[Mapping[str, Any]] = [{"role": "user", "content": question}]
    while (message := await turn(client, messages, key)).get("tool_calls"):
        assert "seal" not in json.dumps(message)
        messages += call(message)
    return message["content"], messages


@pytest.mark.parametrize("flagship", THINKERS + THROUGH, ids=named)
async def test_reasoning_is_restored_for_tools_that_the_client_runs(workspace: Workspace, flagship: Flagship) -> None:
    """When a client sends tool results without reasoning, the router adds the stored reasoning of each round to the model's request."""
    async with (
        fakes(flagship) as models,
        serving(workspace.write("routes.yaml", routes({"a": flagship.target(models.address)}, "")).build()) as c,
    ):
        words, _ = await played(c, "rounds 3 calls 2")
        assert words == ANSWER
        assert not models.wrong
        last = models.of(flagship.name)[-1]
        rounds = last.dialect.turn(last.body).rounds
        assert len(rounds) == 3
        assert all(last.dialect.states(message, last.body) for message in rounds)


def repeated(_: int, place: int) -> str:
    """Return call ids that are the same in every round, as some models issue them."""
    return f"call_{place}"


async def test_reasoning_is_not_mixed_up_between_keys_or_chats_with_equal_call_ids(workspace: Workspace) -> None:
    """With equal call ids everywhere, each chat of each API key gets its own reasoning back, and another key gets none of it."""
    keys = {"alice": new(), "bob": new()}
    lines = ", ".join(f"{name}: {{hash: '{hashed(key)}'}}" for name, key in keys.items())
    model = dataclasses.replace(GLM, call_id=repeated)
    async with fakes(model) as models:
        text = routes({"a": model.target(models.address)}, "", f"server: {{auth: {{keys: {{{lines}}}}}}}\n")
        async with serving(workspace.write("routes.yaml", text).build()) as client:
            chats = [(who, f"{topic}: rounds 2 calls 1") for who in keys for topic in ("One", "Two")]
            for who, question in chats:
                words, messages = await played(client, question, keys[who])
                assert words == ANSWER
                assert not models.wrong
            # Bob brings what was said in Alice's chat: its calls have no reasoning for him.
            await played(client, "Alone: rounds 1 calls 1", keys["alice"])
            _, messages = await played(client, "Alone: rounds 1 calls 1", keys["alice"])
            before = len(models.asked)
            await turn(client, messages, keys["bob"])
            assert " of glm" not in json.dumps([one.body for one in models.asked[before:]])
            await turn(client, messages, keys["alice"])
            assert " of glm" in json.dumps(models.asked[-1].body)


@pytest.mark.parametrize("flagship", [DEEPSEEK, KIMI, OPENROUTER, GEMINI_OPENAI], ids=named)
async def test_reasoning_in_a_clients_message_is_passed_to_the_model(workspace: Workspace, flagship: Flagship) -> None:
    """A restarted router, which has no stored state, passes the reasoning in the client's message to the model, which accepts it."""
    async with fakes(flagship) as models:
        text = routes({"a": flagship.target(models.address)}, "")
        async with serving(workspace.write("routes.yaml", text).build()) as client:
            question = {"role": "user", "content": "rounds 1 calls 1"}
            message = await turn(client, [question])
        dialect = flagship.apis[0][0]
        field = getattr(dialect, "thoughts", "")
        kept = dialect.issued(models.state(flagship, 0), shown=True)
        back, result = call(message)
        if field == "extra_content":
            back["tool_calls"][0]["extra_content"] = kept
        else:
            back[field] = kept
        async with serving(workspace.build()) as client:
            assert (await turn(client, [question, back, result]))["content"] == ANSWER
        assert not models.wrong
        assert len(models.asked) == 2


async def test_load_balancing_keeps_the_rounds_of_a_turn_at_one_target(workspace: Workspace) -> None:
    """Of two balanced targets, the target that made a tool call also gets its result, in each of twelve chats; both targets are used."""
    twin = dataclasses.replace(OPUS, name="twin")
    async with fakes(OPUS, twin) as models:
        targets = f"  a: {OPUS.target(models.address)}\n  b: {twin.target(models.address)}\n"
        text = f"targets:\n{targets}routes:\n  chat-model: {{pipeline: chat, targets: [[a, b]]}}\n"
        async with serving(workspace.write("routes.yaml", text).build()) as client:
            for chat in range(12):
                before = len(models.asked)
                words, _ = await played(client, f"Chat {chat}: rounds 3 calls 1")
                assert words == ANSWER
                assert len({one.flagship.name for one in models.asked[before:]}) == 1
        assert len({one.flagship.name for one in models.asked}) == 2
        assert not models.wrong


SEALED = (OPUS, HAIKU, GEMINI, GEMINI_OPENAI, OPENROUTER, ASTRA)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("flagship", SEALED, ids=named)
async def test_reasoning_state_is_sent_to_no_client(workspace: Workspace, flagship: Flagship, wire: str) -> None:
    """The opaque reasoning state appears on no wire and in no header: not in a live answer, a resumed stream or a cached answer."""
    async with fakes(flagship) as models:
        route = ", tools: [weather], reasoning: show, cache: {ttl: 1h, tools: keep}"
        text = routes({"a": flagship.target(models.address)}, route, "server: {resume: {grace: 15s}}\n")
        async with serving(workspace.write("routes.yaml", text).build()) as client:
            body = {"id": "one", "model": "chat-model", "reasoning_effort": "high"}
            messages = [{"role": "user", "content": "rounds 3 calls 2"}]
            path = f"/api/chat?protocol={wire}"
            first = await client.post(path, messages=messages, **body)
            found = await client.get(f"/api/chat/one/stream?protocol={wire}")
            asked = len(models.asked)
            again = await client.post(path, messages=messages, **body)
        assert asked == len(models.asked) == 4
        for answer in (first, found, again):
            assert answer.status == 200
            assert ANSWER[4:9].encode() in answer.body
            assert b"seal" not in answer.body
            assert "seal" not in str(answer.headers)
