"""Structured output: how each lane asks for a form of answer, by a field of the request or by an instruction."""

import json
from typing import Any

import pytest

from router.chat import Ask, Message, OutputFormat, ToolSpec
from router.config.declaration import TargetConfig as Declared
from router.config.values import Name, Secret
from router.errors import TargetError
from router.events import OutputWay
from router.params import Params
from router.targets import Connections, open_target
from router.targets.resolved_facts import facts_of
from router.targets.structured import instructed, instruction
from router.value import replace
from tests.support.provider import Provider, Reply, error, provider, running, text

CLOSED: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
SAID = {"name": "made", "description": "Numbers.", "schema": CLOSED}
FORM = OutputFormat(CLOSED, "made", "Numbers.")
LOOSE = OutputFormat({"type": "object", "properties": {"a": {"type": "string", "minLength": 2}}})
ANY = OutputFormat()
TOOL = ToolSpec("look", "Look.", {"type": "object", "properties": {"at": {"type": "string"}}})
HI = Ask(model="m", messages=(Message("user", ("Hi",)),))
NATIVE = {"response_format": {"type": "json_schema", "json_schema": {**SAID, "strict": True}}}
OBJECT = {"response_format": {"type": "json_object"}}

Row = tuple[str, Ask, dict[str, Any], OutputFormat | None]
ROWS: dict[str, Row] = {
    # Model, question, the fields of the request that say the form, and what the instruction says of it.
    "OpenAI": ("openai/gpt-4o", replace(HI, output=FORM), NATIVE, None),
    "OpenAI, beside tools": ("openai/gpt-4o", replace(HI, output=FORM, tools=(TOOL,)), NATIVE, None),
    "OpenAI, JSON mode": ("openai/gpt-4o", replace(HI, output=ANY), OBJECT, ANY),
    "OpenAI, a schema outside of its subset": (
        "openai/gpt-4o",
        replace(HI, output=LOOSE),
        {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": LOOSE.schema, "strict": False}}},
        LOOSE,
    ),
    "OpenAI, a list": ("openai/gpt-4o", replace(HI, output=(LIST := OutputFormat({"type": "array", "items": CLOSED}))), {}, LIST),
    "OpenAI, the Responses API": (
        "openai/responses/gpt-5.6",
        replace(HI, output=FORM, params=Params(verbosity="low")),
        {"text": {"verbosity": "low", "format": {"type": "json_schema", **SAID, "strict": True}}},
        None,
    ),
    "OpenAI, the Responses API, JSON mode": (
        "openai/responses/gpt-5.6",
        replace(HI, output=ANY),
        {"text": {"format": {"type": "json_object"}}},
        ANY,
    ),
    "a model that nobody knows": ("openai/home-made", replace(HI, output=FORM), OBJECT, FORM),
    "DeepSeek": ("deepseek/deepseek-chat", replace(HI, output=FORM), OBJECT, FORM),
    "LM Studio, which has no JSON mode": ("lm_studio/qwen3", replace(HI, output=ANY), {}, ANY),
    "LM Studio": ("lm_studio/qwen3", replace(HI, output=FORM), NATIVE, None),
    "Groq": ("groq/openai/gpt-oss-120b", replace(HI, output=FORM), NATIVE, None),
    "Groq, beside tools": ("groq/openai/gpt-oss-120b", replace(HI, output=FORM, tools=(TOOL,)), {}, FORM),
    "Claude": (
        "anthropic/claude-sonnet-4-5",
        replace(HI, output=FORM),
        {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}},
        None,
    ),
    "Claude, with an effort": (
        "anthropic/claude-opus-4-6",
        replace(HI, output=FORM, params=Params(reasoning_effort="low")),
        {"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": CLOSED}}},
        None,
    ),
    "Claude, a schema outside of its subset": ("anthropic/claude-sonnet-4-5", replace(HI, output=LOOSE), {}, LOOSE),
    "Claude, which has no JSON mode": ("anthropic/claude-sonnet-4-5", replace(HI, output=ANY), {}, ANY),
    "Gemini": (
        "gemini/gemini-2.5-flash",
        replace(HI, output=FORM),
        {"responseMimeType": "application/json", "responseJsonSchema": CLOSED},
        None,
    ),
    "Gemini, JSON mode": ("gemini/gemini-2.5-flash", replace(HI, output=ANY), {"responseMimeType": "application/json"}, ANY),
    "Gemini, beside tools": ("gemini/gemini-2.5-flash", replace(HI, output=FORM, tools=(TOOL,)), {}, FORM),
    "Gemini 3, beside tools": (
        "gemini/gemini-3-pro-preview",
        replace(HI, output=FORM, tools=(TOOL,)),
        {"responseMimeType": "application/json", "responseJsonSchema": CLOSED},
        None,
    ),
    "Gemini 2.0": (
        "gemini/gemini-2.0-flash",
        replace(HI, output=FORM),
        {
            "responseMimeType": "application/json",
            "responseSchema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
        },
        None,
    ),
    "Gemma": ("gemini/gemma-3-27b-it", replace(HI, output=FORM), {}, FORM),
    "through LiteLLM": ("litellm:openai/gpt-4o", replace(HI, output=FORM), NATIVE, None),
    "through LiteLLM, beside tools": ("litellm:openai/gpt-4o", replace(HI, output=FORM, tools=(TOOL,)), {}, FORM),
    "through LiteLLM, a model that nobody knows": ("litellm:openai/home-made", replace(HI, output=FORM), OBJECT, FORM),
}
FIELDS = ("response_format", "text", "output_config", "responseMimeType", "responseSchema", "responseJsonSchema")


def declared(model: str, base: str) -> Declared:
    """Return a target of this model; the prefix `litellm:` selects the LiteLLM lane."""
    via, _, name = model.rpartition(":")
    return Declared(model=Name(name), api_base=base, api_key=Secret("k"), via="litellm" if via else None)


@pytest.mark.parametrize("row", ROWS)
async def test_output_format_is_requested_by_field_or_instruction(row: str) -> None:
    """A form that the provider enforces is sent as its own request field; any other is written as an instruction in the prompt."""
    model, ask, fields, told = ROWS[row]
    connections = Connections()
    async with provider(error(500)) as fake:
        target = open_target("a", declared(model, fake.base), 3, connections)
        with pytest.raises(TargetError):
            _ = [event async for event in target.answer(ask)]
    await connections.close()
    body = fake.requests[0]
    sent = {**body, **body.get("generationConfig", {})}
    assert {name: sent[name] for name in FIELDS if name in sent} == fields
    written = json.dumps(body, ensure_ascii=False)
    assert (json.dumps(instruction(told), ensure_ascii=False)[1:-1] in written) if told else ("JSON" not in written)


@pytest.mark.parametrize(
    ("model", "ask", "way"),
    [
        ("openai/gpt-4o", replace(HI, output=FORM), "native"),
        ("openai/gpt-4o", replace(HI, output=ANY), "native"),
        ("openai/gpt-4o", replace(HI, output=LOOSE), "json_schema"),
        ("openai/home-made", replace(HI, output=FORM), "json_object"),
        ("openai/home-made", replace(HI, output=ANY), "json_object"),
        ("groq/openai/gpt-oss-120b", replace(HI, output=FORM, tools=(TOOL,)), "instruction"),
        ("litellm:openai/gpt-4o", replace(HI, output=FORM), "native"),
        ("openai/gpt-4o", HI, ""),
    ],
)
async def test_start_event_names_how_the_output_format_was_requested(model: str, ask: Ask, way: OutputWay) -> None:
    """Start's `output` is `native`, `json_schema`, `json_object` or `instruction`, by the way in which the form was requested, or empty."""
    connections = Connections()
    async with running(Provider([Reply(text('{"a": 1}'))])) as fake:
        target = open_target("a", declared(model, fake.base), 3, connections)
        events = [event async for event in target.answer(ask)]
    await connections.close()
    assert events[0].output == way  # type: ignore[union-attr]


def test_output_instruction_is_appended_to_the_system_prompt() -> None:
    """The instruction is appended to the system prompt, or without one to the last user message; no message is added."""
    prompt = (Message("system", ("Be brief.",)), Message("user", ("Hi",)), Message("assistant", ("Yes?",)), Message("user", ("So",)))
    with_prompt = instructed(HI.with_messages(*prompt), ANY).messages
    without = instructed(HI.with_messages(*prompt[1:]), ANY).messages
    assert [one.role for one in with_prompt] == ["system", "user", "assistant", "user"]
    assert with_prompt[0].text == f"Be brief.\n\n{instruction(ANY)}"
    assert without[-1].text == f"So\n\n{instruction(ANY)}"


@pytest.mark.parametrize(
    ("model", "schemas", "json_mode"),
    [
        ("openai/gpt-4o", True, True),
        ("openai/gpt-4", False, True),
        ("azure/gpt-4o", True, True),
        ("deepseek/deepseek-chat", False, True),
        ("mistral/mistral-large-latest", True, True),
        ("hosted_vllm/anything", True, True),
        ("anthropic/claude-haiku-4-5", True, False),
        ("anthropic/claude-3-opus-20240229", None, False),
        ("gemini/gemini-2.5-pro", True, True),
        ("gemini/gemma-3-27b-it", False, False),
        ("openrouter/some/model", None, None),
    ],
)
def test_facts_tell_which_output_formats_a_model_enforces(model: str, schemas: bool | None, json_mode: bool | None) -> None:
    """The facts of a model tell whether it enforces JSON schemas, and whether it has a JSON mode or that is unknown (None)."""
    facts = facts_of(Declared(model=Name(model), api_key=Secret("k")))
    assert (facts.schemas or False, facts.json_mode) == (schemas or False, json_mode)
