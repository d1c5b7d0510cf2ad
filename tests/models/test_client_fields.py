"""Client fields that only some models accept, sent to each of today's models through the whole router.

Each field is sent to a model that accepts it. Otherwise it is listed as omitted, or the request is refused with a 400 that names it.
No field is dropped silently, and no model has to refuse a field first.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.conftest import Client, Workspace, serving
from tests.models.dialects import Body
from tests.models.fakes import Asked, Fakes, Flagship, Refusal, fakes
from tests.models.flagships import FLAGSHIPS, GPT_4O, THROUGH_LITELLM, value_of

HINTS: Mapping[str, Any] = {
    "top_k": 20,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "verbosity": "low",
    "service_tier": "flex",
    "prediction": {"type": "content", "content": "The dog is well."},
}
NEEDS: Mapping[str, Any] = {"parallel_tool_calls": False, "logit_bias": {"50256": -100}}
BESIDE = ("messages.name", "image_url.detail", "function.strict")
GPT_5 = {"verbosity", "service_tier", "parallel_tool_calls", "function.strict", "image_url.detail"}
TAKES: Mapping[str, set[str]] = {
    "gpt-4o": {"service_tier", "prediction", "parallel_tool_calls", "logit_bias", *BESIDE},
    "claude-opus-4-7": {"parallel_tool_calls"},
    "claude-sonnet-5": {"parallel_tool_calls"},
    "claude-opus-5-5": {"parallel_tool_calls"},
    "claude-haiku-4-5": {"top_k", "parallel_tool_calls"},
    **dict.fromkeys(("gpt-5.6", "gpt-6-astra", "gpt-5.4", "gpt-5"), GPT_5 | {"messages.name"}),
    "o3": {"service_tier", *BESIDE},
    "grok-4.7": {"parallel_tool_calls", "image_url.detail"},
    "mistral-small-latest": {"parallel_tool_calls", "prediction", "function.strict", "image_url.detail"},
    "qwen3-max": {"top_k", "parallel_tool_calls"},
    "openrouter": {*HINTS, *NEEDS, *BESIDE},
    "cerebras": {"parallel_tool_calls", "function.strict"},
    "groq": {"parallel_tool_calls", "service_tier", "messages.name"},
    **{name: {"top_k", "service_tier"} for name in ("gemini-3.5-flash", "gemini-2.5-pro", "gemini-2.5-flash")},
}
"""Model → the client fields that it accepts, by its provider's API reference; models that are not listed accept none."""
WIRE: Mapping[str, tuple[str, ...]] = {
    "verbosity": ("verbosity", "text.verbosity"),
    "service_tier": ("service_tier", "serviceTier"),
    "top_k": ("top_k", "generationConfig.topK", "generationConfig.top_k"),
    "parallel_tool_calls": ("parallel_tool_calls", "tool_choice.disable_parallel_tool_use"),
}
"""Field → the places at which a provider's request may contain it."""
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_time", "strict": True, "parameters": {"type": "object", "properties": {}}},
}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}


def found(body: Body, name: str) -> Any:
    """Return the value of a field wherever the provider's API places it; None if the request does not have it."""
    return next((value for place in WIRE.get(name, (name,)) if (value := value_of(body, place)) is not None), None)


def carried(body: Body) -> set[str]:
    """Return which of `messages.name`, `image_url.detail` and `function.strict` a request contains."""
    text = str(body)
    said = {
        "messages.name": "'name': 'Ada'" in text,
        "image_url.detail": "'detail': 'low'" in text,
        "function.strict": "'strict': True" in text,
    }
    return {name for name, there in said.items() if there}


def taken(flagship: Flagship) -> set[str]:
    """Return the client fields that a model accepts."""
    return TAKES.get(flagship.name.removesuffix("-litellm"), set())


def strict(flagship: Flagship) -> Flagship:
    """Return the model with a rule that refuses every client field that it does not accept."""
    takes = taken(flagship)

    def only(body: Body) -> Refusal | None:
        name = next((one for one in (*HINTS, *NEEDS) if one not in takes and found(body, one) is not None), None)
        name = name or next((one for one in carried(body) if one not in takes), None)
        return Refusal(f"Unknown parameter: '{name}'.", name) if name else None

    return replace(flagship, apis=tuple((dialect, (*rules, only)) for dialect, rules in flagship.apis))


async def ask(client: Client, models: Fakes, **fields: Any) -> tuple[set[str], Any, list[Asked]]:
    """Ask once; return the omitted fields of the attempts header, the answer, and the requests that the models received."""
    before = len(models.asked)
    messages = fields.pop("messages", [{"role": "user", "content": "How is the dog?"}])
    answer = await client.post("/v1/chat/completions", model="plain", messages=messages, **fields)
    omitted = {name for listed in re.findall(r'omitted="([^"]*)"', answer.headers.get("x-router-attempts", "")) for name in listed.split()}
    return omitted, answer, models.asked[before:]


@pytest.mark.parametrize("flagship", FLAGSHIPS + THROUGH_LITELLM, ids=lambda one: one.name)
async def test_each_client_field_is_sent_or_listed_as_omitted(workspace: Workspace, flagship: Flagship) -> None:
    """Each client field is sent if the model accepts it; otherwise it is listed as omitted or refused with a 400 that names it."""
    takes = taken(flagship)
    async with fakes(strict(flagship)) as models:
        target = flagship.target(models.address)
        target = target.removesuffix("}") + ", facts: {images: true}}"  # whether one that reads no images is asked is another matter
        routes = f"targets:\n  first: {target}\nroutes:\n  plain: {{pipeline: chat, targets: [first]}}\n"
        async with serving(workspace.write("routes.yaml", routes).build()) as client:
            omitted, answer, asked = await ask(client, models, **HINTS)
            assert answer.status == 200, answer.body
            (one,) = asked
            sent = {name for name in HINTS if found(one.body, name) is not None}
            assert sent == takes & set(HINTS)
            assert omitted == set(HINTS) - sent
            content = [{"type": "text", "text": "How is the dog?"}, PICTURE]
            beside: dict[str, Any] = {"messages": [{"role": "user", "name": "Ada", "content": content}], "tools": [TOOL]}
            omitted, answer, asked = await ask(client, models, **beside)
            assert answer.status == 200, answer.body
            sent = carried(asked[-1].body)
            assert len(asked) == 1
            assert sent | omitted == set(BESIDE)
            assert not sent & omitted
            assert sent == (takes & set(BESIDE)) - ({"messages.name"} if asked[-1].dialect.path == "/responses" else set())
            for name, value in NEEDS.items():
                tools = {"tools": [TOOL]} if name == "parallel_tool_calls" else {}
                _, answer, asked = await ask(client, models, **{name: value}, **tools)
                if name in takes:
                    assert answer.status == 200, answer.body
                    assert found(asked[-1].body, name) is not None
                else:
                    assert (answer.status, asked) == (400, [])
                    error = cast("dict[str, Any]", answer.json)["error"]
                    assert error["message"].startswith(f"{name}: the models here do not support this parameter.")
    assert not models.refused(flagship.name)


ACCOUNT: Mapping[str, Any] = {
    "metadata": {"a": "b"},
    "store": True,
    "safety_identifier": "x",
    "prompt_cache_key": "x",
    "thinking": {"type": "enabled"},
    "provider": {"order": ["a"]},
}


async def test_account_fields_of_a_client_are_listed_as_omitted_and_never_sent(workspace: Workspace) -> None:
    """Fields for a provider account, such as `metadata` and `store`, are listed as omitted and not sent; empty ones are not listed."""
    async with fakes(GPT_4O) as models:
        routes = f"targets:\n  first: {GPT_4O.target(models.address)}\nroutes:\n  plain: {{pipeline: chat, targets: [first]}}\n"
        async with serving(workspace.write("routes.yaml", routes).build()) as client:
            for stream in (False, True):
                omitted, answer, asked = await ask(client, models, stream=stream, **ACCOUNT)
                assert answer.status == 200
                assert omitted == set(ACCOUNT)
                assert not set(ACCOUNT) & asked[0].body.keys()
            omitted, *_ = await ask(client, models, store=False, metadata={}, safety_identifier=None)
            assert not omitted


WRONG: Mapping[str, Any] = {
    "top_k": -1,
    "min_p": 2,
    "repetition_penalty": 0,
    "verbosity": "verbose",
    "service_tier": "gold",
    "prediction": "a text",
    "parallel_tool_calls": "no",
    "logit_bias": {"1": 101},
}


@pytest.mark.parametrize("name", WRONG)
async def test_client_field_with_an_invalid_value_is_refused_with_a_400_that_names_it(workspace: Workspace, name: str) -> None:
    """Each client field with an invalid value gets a 400 that names it, at `/v1/chat/completions` and `/api/chat`; no target is asked."""
    async with fakes(GPT_4O) as models:
        routes = f"targets:\n  first: {GPT_4O.target(models.address)}\nroutes:\n  plain: {{pipeline: chat, targets: [first]}}\n"
        async with serving(workspace.write("routes.yaml", routes).build()) as client:
            for path in ("/v1/chat/completions", "/api/chat"):
                answer = await client.post(path, model="plain", messages=[{"role": "user", "content": "Hi"}], **{name: WRONG[name]})
                assert answer.status == 400
                assert name in answer.body.decode()
    assert not models.asked
