"""Reasoning state over the tool rounds of a turn: fake models that enforce their providers' rules, asked through the whole router."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from router.config import declare, read
from router.generation import build
from router.wire import WIRES
from tests.conftest import Client, Workspace, serving
from tests.models.thinkers import ANSWER, THINKERS, Claude, Completions, DeepSeek, Gemini, Google, Kimi, OpenRouter, Strict, Thinker
from tests.support.provider import Reply, chunk, error, running

LOOK = '''
def look(at: int) -> str:
    """Look there."""
    return f"seen {at}"
'''
THEIRS: Any = {
    "type": "function",
    "function": {"name": "look", "description": "Look there.", "parameters": {"type": "object", "properties": {}}},
}
EFFORT = {"reasoning_effort": "low"}


@asynccontextmanager
async def routed(
    workspace: Workspace, *models: Thinker, route: str = "", tools: bool = True, more: str = ""
) -> AsyncGenerator[Client, None]:
    """Serve a router whose one route asks these models in order.

    tools: the route runs the tool `look` itself; more: further keys of the route
    """
    workspace.write("tools/eyes.py", LOOK)
    async with AsyncExitStack() as stack:
        for model in models:
            await stack.enter_async_context(running(model))
        targets = "".join(f"  {model.target()}" for model in models)
        names = ", ".join(model.name for model in models)
        lines = route or f"targets: [{names}]"
        own = "tools: [look]" if tools else ""
        text = f"targets:\n{targets}routes:\n  chat-model:\n    pipeline: chat\n    retry: {{attempts: 1}}\n    {lines}\n    {own}\n{more}"
        workspace.write("routes.yaml", text.replace("[look]", "[eyes]"))
        yield await stack.enter_async_context(serving(workspace.build()))


def question(**more: Any) -> dict[str, Any]:
    """Return the body of a question with a reasoning effort; `more` adds fields."""
    return {"model": "chat-model", "messages": [{"role": "user", "content": "What is there?"}], **EFFORT, **more}


def message_of(body: bytes) -> dict[str, Any]:
    """Return the assistant's message of a chat-completions answer, streamed or not."""
    if not body.startswith(b"data:"):
        return json.loads(body)["choices"][0]["message"]
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    for line in body.decode().split("\n"):
        if not line.startswith("data: {"):
            continue
        for choice in json.loads(line[6:])["choices"]:
            message["content"] += choice["delta"].get("content") or ""
            for piece in choice["delta"].get("tool_calls", ()):
                known: list[dict[str, Any]] = message.setdefault("tool_calls", [])
                if piece["index"] >= len(known):
                    known.append({"id": piece["id"], "type": "function", "function": {"name": piece["function"]["name"], "arguments": ""}})
                known[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
    return message


async def rounds_at_client(client: Client, messages: list[dict[str, Any]], *, stream: bool = False, most: int = 6) -> list[dict[str, Any]]:
    """Return the conversation of an OpenAI client that runs the tools itself and sends back no reasoning; at most `most` requests."""
    for _ in range(most):
        body = {"model": "chat-model", "messages": messages, "tools": [THEIRS], "stream": stream, **EFFORT}
        answered = await client.post("/v1/chat/completions", **body)
        assert answered.status == 200, answered.body
        message = {name: value for name, value in message_of(answered.body).items() if name in ("role", "content", "tool_calls")}
        messages = [*messages, message]
        if not message.get("tool_calls"):
            return messages
        for call in message["tool_calls"]:
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": f"seen {call['function']['arguments']}"})
    raise AssertionError("it never answered")


def kept_all(model: Thinker) -> bool:
    """Return whether the reasoning of every round came back to the model; for Claude, whether the model thought in every round."""
    if isinstance(model, Claude):
        return model.thought == list(range(1, model.rounds + 1))
    told = json.dumps(model.requests[-1], ensure_ascii=False)
    return all(model.canary(count) in told for count in range(1, model.rounds + 1))


@pytest.mark.parametrize("stream", [True, False], ids=["streamed to the client", "whole to the client"])
@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "whole"])
@pytest.mark.parametrize("name", THINKERS)
async def test_model_reasons_in_each_of_three_rounds_of_the_routes_tools(
    workspace: Workspace, name: str, *, whole: bool, stream: bool
) -> None:
    """A model gets the reasoning of all three rounds of the route's tools back, refuses no request, and gives the answer."""
    model = THINKERS[name]("m", whole=whole)
    async with routed(workspace, model) as client:
        answered = await client.post("/v1/chat/completions", **question(stream=stream))
    assert (model.refused, model.asked) == ([], 4)
    assert answered.status == 200
    assert message_of(answered.body)["content"].endswith(ANSWER)
    assert kept_all(model)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("name", THINKERS)
async def test_model_reasons_in_each_of_three_rounds_of_the_clients_tools(workspace: Workspace, name: str, *, stream: bool) -> None:
    """A model gets the reasoning of all three rounds back although the client runs the tools and sends no reasoning."""
    model = THINKERS[name]("m")
    async with routed(workspace, model, tools=False) as client:
        messages = await rounds_at_client(client, [{"role": "user", "content": "What is there?"}], stream=stream)
    assert (model.refused, model.asked) == ([], 4)
    assert messages[-1]["content"].endswith(ANSWER)
    assert kept_all(model)


async def test_claude_gets_empty_and_redacted_thinking_blocks_back(workspace: Workspace) -> None:
    """Claude gets thinking blocks without text and redacted blocks back in their order, and thinks in all three rounds."""
    model = Claude("m", hides=True)
    async with routed(workspace, model) as client:
        await client.post("/v1/chat/completions", **question())
    assert (model.refused, model.thought) == ([], [1, 2, 3])


async def test_adaptive_claude_thinks_in_each_round(workspace: Workspace) -> None:
    """A Claude model with adaptive thinking gets its thinking blocks back and thinks in all three rounds."""
    model = Claude("m")
    model.model = "anthropic/claude-opus-4-6"
    async with routed(workspace, model) as client:
        await client.post("/v1/chat/completions", **question())
    assert (model.refused, model.thought) == ([], [1, 2, 3])


CLIENTS = ("ui-message-stream", "data-stream", "line")


@pytest.mark.parametrize("protocol", CLIENTS)
@pytest.mark.parametrize("name", ["claude", "gemini", "google"])
async def test_chat_history_with_old_calls_but_no_reasoning_is_accepted_by_the_model(
    workspace: Workspace, name: str, protocol: str
) -> None:
    """A chat page's history with an earlier tool call and no reasoning is accepted by the model, which makes a new call and answers."""
    model = THINKERS[name]("m", rounds=1)
    part: dict[str, Any] = {"type": "tool-look", "toolCallId": "old_1", "state": "output-available", "input": {"at": 9}, "output": "seen"}
    history: list[dict[str, Any]] = [
        {"role": "user", "parts": [{"type": "text", "text": "Before?"}]},
        {"role": "assistant", "parts": [{"type": "step-start"}, part, {"type": "step-start"}, {"type": "text", "text": "So."}]},
        {"role": "user", "parts": [{"type": "text", "text": "And now?"}]},
    ]
    async with routed(workspace, model) as client:
        answered = await client.post(f"/api/chat?protocol={protocol}", model="chat-model", messages=history, **EFFORT)
    assert answered.status == 200
    assert (model.refused, model.asked) == ([], 2)
    assert ANSWER.encode() in answered.body


OTHERS: dict[str, type[Thinker]] = {**THINKERS, "mistral": Strict}
PAIRS = [(first, second) for first in THINKERS for second in OTHERS if first != second]


def cut(model: Thinker) -> Reply:
    """Return an answer of this model that breaks off in the middle of its text."""
    if isinstance(model, Claude):
        begun = model.said(
            [{"type": "thinking", "thinking": model.canary(9), "signature": "s"}, {"type": "text", "text": "Look"}], "end_turn"
        )
        return Reply(begun.frames[:-3], drop=True)
    if isinstance(model, Google):
        return Reply(model.said([{"text": model.canary(9), "thought": True}, {"text": "Look"}]).frames[:-1], drop=True)
    return Reply((chunk({"reasoning_content": model.canary(9)}), chunk({"content": "Look"})), drop=True)


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_model_that_continues_a_cut_answer_in_round_three_is_sent_no_foreign_reasoning(
    workspace: Workspace, first: str, second: str
) -> None:
    """When a model breaks off in round three, another model continues, refuses no request, and gets none of the first one's reasoning."""
    broken, rescuer = THINKERS[first]("first"), OTHERS[second]("second")
    broken.faults[3] = cut(broken)
    async with routed(workspace, broken, rescuer) as client:
        answered = await client.post("/v1/chat/completions", **question())
    assert answered.status == 200
    assert (rescuer.refused, broken.refused) == ([], [])
    assert rescuer.asked >= 1
    assert "-of-first" not in json.dumps(rescuer.requests)
    assert "-of-second" not in json.dumps(broken.requests)


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_fallback_in_round_two_keeps_the_rest_of_the_turn(workspace: Workspace, first: str, second: str) -> None:
    """When a model fails in round two, the fallback gives the answer; neither model gets the other's reasoning.
    A fallback that issues reasoning also serves the third round.
    """
    failing, fallback = THINKERS[first]("first"), OTHERS[second]("second")
    failing.faults[2] = error(500, "down")
    async with routed(workspace, failing, fallback) as client:
        answered = await client.post("/v1/chat/completions", **question())
    assert message_of(answered.body)["content"].endswith(ANSWER)
    assert (failing.refused, fallback.refused) == ([], [])
    assert "-of-first" not in json.dumps(fallback.requests)
    assert "-of-second" not in json.dumps(failing.requests)
    if second in ("deepseek", "kimi", "gemini", "google", "openrouter"):
        assert (len(failing.requests), fallback.asked) == (2, 3)


async def test_balanced_target_that_starts_a_turn_serves_all_its_rounds(workspace: Workspace) -> None:
    """Of two balanced targets, the one that is asked first serves all four model calls of a turn, in each of ten turns."""
    models = DeepSeek("one"), DeepSeek("two")
    async with routed(workspace, *models, route="targets: [[one, two]]") as client:
        for _ in range(10):
            await client.post("/v1/chat/completions", **question())
    assert [model.refused for model in models] == [[], []]
    assert {model.asked % 4 for model in models} == {0}
    assert all("-of-two" not in json.dumps(model.requests) for model in models[:1])


async def test_balanced_target_serves_all_rounds_of_a_client_that_runs_the_tools(workspace: Workspace) -> None:
    """Of two balanced targets, one serves all four requests of each of six turns and gets its reasoning back.
    The client runs the tools.
    """
    models = Kimi("one"), Kimi("two")
    async with routed(workspace, *models, route="targets: [[one, two]]", tools=False) as client:
        for count in range(6):
            await rounds_at_client(client, [{"role": "user", "content": f"What is there, {count}?"}])
    assert [model.refused for model in models] == [[], []]
    assert {model.asked % 4 for model in models} == {0}
    assert all(told.strip() for model in models for told in model.returned)


async def test_equal_calls_in_another_conversation_get_no_foreign_reasoning(workspace: Workspace) -> None:
    """Two conversations with calls of equal id, name and arguments each get their own reasoning back; a third one gets none."""
    model = DeepSeek("m", rounds=1)
    async with routed(workspace, model, tools=False) as client:
        begun: list[list[dict[str, Any]]] = []
        for text in ("One?", "Two?"):
            messages: list[dict[str, Any]] = [{"role": "user", "content": text}]
            answered = await client.post("/v1/chat/completions", model="chat-model", messages=messages, tools=[THEIRS], **EFFORT)
            message = message_of(answered.body)
            result = {"role": "tool", "tool_call_id": "call_0", "content": "seen"}
            begun.append([*messages, {"role": "assistant", "content": None, "tool_calls": message["tool_calls"]}, result])
        stranger = [{"role": "user", "content": "Three?"}, *begun[0][1:]]
        for messages in (*begun, stranger):
            await client.post("/v1/chat/completions", model="chat-model", messages=messages, tools=[THEIRS], **EFFORT)
    told = [request["messages"][1]["reasoning_content"] for request in model.requests[2:]]
    assert [bool(one.strip()) for one in told] == [True, True, False]


async def test_stored_reasoning_survives_an_edit_of_the_configuration(workspace: Workspace) -> None:
    """Reasoning that was stored before an edit of routes.yaml is still restored after it, since the target is unchanged."""
    model = DeepSeek("m", rounds=1)
    async with routed(workspace, model, tools=False) as client:
        messages: list[dict[str, Any]] = [{"role": "user", "content": "What is there?"}]
        first = message_of((await client.post("/v1/chat/completions", model="chat-model", messages=messages, tools=[THEIRS])).body)
        text = (workspace.root / "routes.yaml").read_text(encoding="utf-8")
        workspace.write("routes.yaml", text.replace("pipeline: chat", "pipeline: chat\n    max_steps: 4"))
        live = client.edge.live
        live.swap(build(declare(read(workspace.root / "routes.yaml"), {}), live.generation.kept))
        messages += [{**first, "content": None}, {"role": "tool", "tool_call_id": "call_0", "content": "seen"}]
        await client.post("/v1/chat/completions", model="chat-model", messages=messages, tools=[THEIRS])
    assert model.canary(1) in model.requests[1]["messages"][1]["reasoning_content"]


SENT: Sequence[tuple[type[Completions], dict[str, Any], dict[str, Any], str]] = [
    (DeepSeek, {"reasoning_content": "Hm."}, {}, "reasoning_content"),
    (DeepSeek, {"reasoning": "Hm."}, {}, "reasoning_content"),
    (OpenRouter, {"reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "index": 0}]}, {}, "reasoning_details"),
    (OpenRouter, {"reasoning_content": "Hm."}, {}, "reasoning"),
    (Gemini, {}, {"extra_content": {"google": {"thought_signature": "Hm."}}}, "extra_content"),
]


@pytest.mark.parametrize(("kind", "beside", "within", "field"), SENT)
async def test_reasoning_in_a_clients_message_is_converted_to_the_models_field(
    workspace: Workspace, kind: type[Completions], beside: dict[str, Any], within: dict[str, Any], field: str
) -> None:
    """Reasoning in a client's message reaches the model in the field that its provider reads; a strict provider gets none of it."""
    model, strict = kind("m"), Strict("strict")
    call = {"id": "abcdefghi", "type": "function", "function": {"name": "look", "arguments": "{}"}, **within}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "What is there?"},
        {"role": "assistant", "content": None, "tool_calls": [call], **beside},
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "seen"},
    ]
    if isinstance(model, DeepSeek):
        model.issued.add("Hm.")
    if isinstance(model, Gemini):
        model.issued["abcdefghi"] = "Hm."
    model.rounds = strict.rounds = 1
    for one in (model, strict):
        async with routed(workspace, one, tools=False) as client:
            answered = await client.post("/v1/chat/completions", model="chat-model", messages=messages, tools=[THEIRS])
        assert (answered.status, one.refused) == (200, [])
    sent = model.requests[0]["messages"][1]
    assert "Hm." in json.dumps((sent.get(field), sent["tool_calls"][0].get(field)))
    assert "Hm." not in json.dumps(strict.requests)


async def test_reasoning_parts_of_an_ai_sdk_page_are_sent_with_the_call_of_their_step(workspace: Workspace) -> None:
    """The `reasoning` parts of an AI SDK message are joined and sent with the tool call of their step; a step without a call sends none."""
    model = DeepSeek("m", rounds=1)
    model.issued.add("Hm. So.")
    part: dict[str, Any] = {"type": "tool-look", "toolCallId": "c1", "state": "output-available", "input": {}, "output": "seen"}
    parts = [{"type": "step-start"}, {"type": "reasoning", "text": "Hm. "}, {"type": "reasoning", "text": "So."}, part]
    parts += [{"type": "step-start"}, {"type": "reasoning", "text": "Aha."}, {"type": "text", "text": "There."}]
    messages = [
        {"role": "user", "parts": [{"type": "text", "text": "What?"}]},
        {"role": "assistant", "parts": parts},
        {"role": "user", "parts": [{"type": "text", "text": "Sure?"}]},
    ]
    async with routed(workspace, model) as client:
        assert (await client.post("/api/chat", model="chat-model", messages=messages)).status == 200
    assert model.refused == []
    first, second = (one for one in model.requests[0]["messages"] if one["role"] == "assistant")
    assert first["reasoning_content"] == "Hm. So."
    assert second["reasoning_content"] == " "


async def test_signed_reasoning_part_of_an_ai_sdk_page_becomes_a_thinking_block_for_claude(workspace: Workspace) -> None:
    """A `reasoning` part with Anthropic's signature is sent to Claude as a thinking block, and Claude thinks in the next round."""
    model = Claude("m", rounds=2)
    block = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    model.issued["c1"] = [block]
    thought = {"type": "reasoning", "text": "Hm.", "providerMetadata": {"anthropic": {"signature": "s"}}}
    call: dict[str, Any] = {"type": "tool-look", "toolCallId": "c1", "state": "output-available", "input": {}, "output": "seen"}
    messages: list[dict[str, Any]] = [
        {"role": "user", "parts": [{"type": "text", "text": "What?"}]},
        {"role": "assistant", "parts": [{"type": "step-start"}, thought, {"type": "text", "text": "I look."}, call]},
    ]
    async with routed(workspace, model) as client:
        assert (await client.post("/api/chat", model="chat-model", messages=messages, **EFFORT)).status == 200
    assert (model.refused, model.thought) == ([], [2])
    assert [part["type"] for part in model.requests[0]["messages"][1]["content"]] == ["thinking", "text", "tool_use"]


DEEP: Any = json.loads("[" * 18 + "]" * 18)
NO_DETAILS: list[Any] = [[1], "text", [{"a": DEEP}], [{}] * 257]


@pytest.mark.parametrize("value", NO_DETAILS, ids=["no objects", "no list", "deep", "many"])
async def test_malformed_reasoning_details_get_a_400_that_names_the_message(workspace: Workspace, value: Any) -> None:
    """Malformed `reasoning_details` in a client's message get a 400 whose text names `messages[1].reasoning_details`."""
    call: Any = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    message: Any = {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_details": value}
    async with routed(workspace, OpenRouter("m"), tools=False) as client:
        answered = await client.post("/v1/chat/completions", model="chat-model", messages=[{"role": "user", "content": "?"}, message])
    assert answered.status == 400
    assert b"messages[1].reasoning_details" in answered.body


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("protocol", WIRES)
@pytest.mark.parametrize("name", ["claude", "gemini", "google", "openrouter"])
async def test_reasoning_state_is_sent_to_no_client(workspace: Workspace, name: str, protocol: str, *, stream: bool) -> None:
    """Signatures and encrypted reasoning appear on no wire: not streamed, whole, resumed or from the cache."""
    model = THINKERS[name]("m", rounds=1)
    if isinstance(model, Claude):
        model.hides = True
    for tools in (True, False):
        brought: dict[str, Any] = {} if tools else {"tools": [THEIRS]}
        async with routed(workspace, model, tools=tools, more="    cache: {ttl: 60s, tools: keep}\n") as client:
            bodies: list[bytes] = []
            for _ in range(2):
                asked = {**question(stream=stream), "id": "chat-1", **brought}
                bodies.append((await client.post(f"/api/chat?protocol={protocol}", **asked)).body)
            bodies.append((await client.get(f"/api/chat?chatId=chat-1&protocol={protocol}")).body)
        for body in bodies:
            assert b"sig-" not in body
            assert b"sealed-" not in body
            assert model.canary(1).encode() not in body or name == "openrouter"
    assert model.refused == []


@pytest.mark.parametrize("name", ["claude", "deepseek", "kimi"])
@pytest.mark.parametrize("tools", [True, False], ids=["the route's tools", "the client's tools"])
async def test_model_asked_through_litellm_thinks_in_each_of_three_rounds(workspace: Workspace, name: str, *, tools: bool) -> None:
    """A model asked through LiteLLM gets the reasoning of all three rounds back and refuses no request."""
    model = THINKERS[name]("m")
    model.via = "litellm"
    async with routed(workspace, model, tools=tools) as client:
        if tools:
            await client.post("/v1/chat/completions", **question())
        else:
            await rounds_at_client(client, [{"role": "user", "content": "What is there?"}])
    assert (model.refused, model.asked) == ([], 4)
    assert kept_all(model)


@pytest.mark.parametrize("tools", [True, False], ids=["the route's tools", "the client's tools"])
async def test_gemini_signature_returns_through_litellm_and_is_removed_from_call_ids(workspace: Workspace, *, tools: bool) -> None:
    """Gemini's signature, which LiteLLM puts into the call id, returns to the model but is not in the ids that clients receive."""
    model = Google("m")
    model.via = "litellm"
    bodies: list[bytes] = []
    async with routed(workspace, model, tools=tools) as client:
        if tools:
            bodies.append((await client.post("/api/chat?protocol=ui-message-stream", **question())).body)
        else:
            messages = await rounds_at_client(client, [{"role": "user", "content": "What is there?"}])
            bodies.append(json.dumps(messages).encode())
    assert (model.refused, model.asked) == ([], 4)
    assert not [signature for body in bodies for signature in model.issued if signature.encode() in body]
