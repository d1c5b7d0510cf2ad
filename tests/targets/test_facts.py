"""What is known of a model before it is asked: by its name, by the operator's word."""

import re
from typing import Any

import pytest

from router.config.declaration import TargetConfig
from router.config.facts import FactsConfig
from router.config.values import Name
from router.targets.facts import PENALTIES, SAMPLING, Facts
from router.targets.family import Family, parsed
from router.targets.providers import PROVIDERS
from router.targets.resolved_facts import facts_of
from router.targets.table import entries
from tests.conftest import ROOT


def facts(model: str, **declared: Any) -> Facts:
    """The facts of a target."""
    return facts_of(TargetConfig(model=Name(model), **declared))


FAMILIES = {
    "anthropic/claude-opus-4-7-20260416": Family(("claude", "opus"), (4, 7)),
    "anthropic/claude-3-5-sonnet-20241022": Family(("claude", "sonnet"), (3, 5)),
    "openai/gpt-4o-2024-08-06": Family(("gpt", "o"), (4,)),
    "openai/ft:o4-mini-2025-04-16:acme::x1": Family(("o", "mini"), (4,)),
    "openai/gpt-5-chat-latest": Family(("gpt", "chat"), (5,)),
    "moonshot/kimi-k2.5": Family(("kimi", "k"), (2, 5)),
    "xai/grok-4.20-0309-reasoning": Family(("grok", "reasoning"), (4, 20)),
    "openrouter/anthropic/claude-opus-5-5": Family(("claude", "opus"), (5, 5)),
    "gemini/gemini-3-pro-preview": Family(("gemini", "pro"), (3,)),
}


@pytest.mark.parametrize("model", FAMILIES)
def test_name_is_taken_apart_into_family_and_generation(model: str) -> None:
    """Dates, providers, paths and words of releases are no part of either."""
    assert parsed(model) == FAMILIES[model]


@pytest.mark.parametrize(
    ("unknown", "sibling"),
    [
        ("anthropic/claude-opus-5-99", "anthropic/claude-opus-5-5"),
        ("anthropic/claude-sonnet-5-99", "anthropic/claude-sonnet-5-5"),
        ("moonshot/kimi-k2.99", "moonshot/kimi-k2.6"),
        ("xai/grok-4.99", "xai/grok-4.7"),
        ("deepseek/deepseek-v4.99-pro", "deepseek/deepseek-v4-pro"),
        ("openai/ft:gpt-5.6:acme::x1", "openai/gpt-5.6"),
    ],
)
def test_unknown_model_has_the_facts_of_its_newest_sibling(unknown: str, sibling: str) -> None:
    """Of the same family and generation. What it accepts is the sibling's; it says that it was found so."""
    assert unknown not in entries()
    made, known = facts(unknown), facts(sibling)
    assert made.source == "family"
    for name in ("refuses", "refuses_thinking", "thinking", "always_thinks", "limit", "responses", "returns", "prefill", "forced_tools"):
        assert getattr(made, name) == getattr(known, name), name


def test_model_of_another_size_has_no_window_and_no_price() -> None:
    """It behaves like its sibling, and costs what it costs."""
    made = facts("openai/gpt-6-nova")
    assert made.source == "family"
    assert made.responses == "tools_while_thinking"
    assert (made.window, made.max_output, made.price) == (None, None, None)


def test_model_of_no_known_family_is_sent_everything() -> None:
    """What it refuses is for it to say."""
    made = facts("openai/my-model", api_base="http://127.0.0.1:9/v1")
    assert made.source == "unknown"
    assert (made.refuses, made.limit, made.thinking) == (frozenset(), "max_tokens", "effort")


def test_fine_tune_of_a_thinking_model_thinks() -> None:
    """`ft:o4-mini` takes no temperature, and calls the limit max_completion_tokens; a gpt-5-chat takes both."""
    tuned, chat = facts("openai/ft:o4-mini-2025-04-16:acme::x1"), facts("openai/gpt-5-chat-latest")
    assert tuned.refuses >= SAMPLING | PENALTIES | {"stop"}
    assert tuned.limit == "max_completion_tokens"
    assert not chat.refuses & SAMPLING
    assert chat.thinking == "none"


def test_base_model_says_what_a_deployment_serves() -> None:
    """The name of a deployment of Azure's says nothing."""
    base = "https://example.openai.azure.com"
    assert facts("azure/prod", api_base=base).source == "unknown"
    named = facts("azure/prod", api_base=base, base_model="openai/gpt-5.6")
    assert named.model.endswith("gpt-5.6")
    assert named.responses == "tools_while_thinking"
    assert facts("azure/gpt-5.6", api_base=base).responses == "tools_while_thinking"
    assert facts("hosted_vllm/mine", api_base="http://127.0.0.1:9/v1", base_model="claude-opus-5-5").source != "itself"


OVERRIDES: dict[str, tuple[FactsConfig, dict[str, Any]]] = {
    "refuses": (FactsConfig(refuses=("seed",)), {"refuses": frozenset({"seed"}), "refuses_thinking": frozenset()}),
    "takes everything": (FactsConfig(refuses=()), {"refuses": frozenset(), "refuses_thinking": frozenset(), "one_of_sampling": False}),
    "limit": (FactsConfig(limit="none"), {"limit": "none"}),
    "thinking": (FactsConfig(thinking="none"), {"thinking": "none"}),
    "efforts": (FactsConfig(efforts=("low",)), {"efforts": ("low",)}),
    "wire": (FactsConfig(wire="responses"), {"responses": "always"}),
    "chat": (FactsConfig(wire="chat"), {"responses": "never"}),
    "tools": (FactsConfig(tools=False), {"tools": False}),
    "prefill": (FactsConfig(prefill=True), {"prefill": True}),
    "images": (FactsConfig(images=False), {"images": False}),
    "output": (FactsConfig(max_output=100), {"max_output": 100}),
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_operator_stands_over_the_table(name: str) -> None:
    """What is declared holds; all else is as it was."""
    told, wanted = OVERRIDES[name]
    made, plain = facts("openai/gpt-5.6", facts=told), facts("openai/gpt-5.6")
    for key, value in wanted.items():
        assert getattr(made, key) == value, key
    others = set(Facts.__dataclass_fields__) - set(wanted)
    assert all(getattr(made, key) == getattr(plain, key) for key in others)


def test_responses_in_the_model_is_a_wish_for_that_api() -> None:
    """As LiteLLM spells it; the facts are those of the model."""
    made = facts("openai/responses/gpt-4o")
    assert made.responses == "always"
    assert made.model.endswith("gpt-4o")


def test_grok_of_no_thoughts_refuses_the_penalties_too() -> None:
    """xAI: `Model grok-4.20-0309-non-reasoning does not support parameter presencePenalty`."""
    made = facts("xai/grok-4.20-0309-non-reasoning")
    assert made.thinking == "none"
    assert made.refuses >= PENALTIES
    assert "stop" not in made.refuses


@pytest.mark.parametrize("model", ["gemini/gemini-3.5-flash", "openai/gemini-3.5-flash"])
def test_gemini_refuses_the_penalties_on_both_of_its_wires(model: str) -> None:
    """Google: `Penalty is not enabled for models/…`, which names no parameter."""
    base = "http://127.0.0.1:9/v1beta/openai" if model.startswith("openai") else None
    assert facts(model, api_base=base).refuses >= PENALTIES


@pytest.mark.parametrize(
    "model",
    [
        "bedrock/eu.anthropic.claude-haiku-4-5-20251001-v1:0",
        "bedrock/converse/anthropic.claude-haiku-4-5-20251001-v1:0",
        "databricks/databricks-claude-haiku-4-5",
        "azure_ai/claude-haiku-4-5",
        "vertex_ai/claude-haiku-4-5",
    ],
)
def test_claude_at_another_provider_is_claude(model: str) -> None:
    """It thinks with a budget, and refuses a temperature while it does. The table names Bedrock's models without their provider."""
    made, own = facts(model), facts("anthropic/claude-haiku-4-5")
    assert made.source == "itself"
    assert (made.thinking, made.refuses, made.refuses_thinking) == (own.thinking, own.refuses, own.refuses_thinking)
    assert made.window == own.window
    assert made.price is not None


def test_model_of_bedrocks_is_known_by_its_own_name() -> None:
    """Not by the oldest of its family: an inference profile of Opus 4.8 has its window, its price and its way to think."""
    made = facts("bedrock/eu.anthropic.claude-opus-4-8")
    assert (made.source, made.thinking, made.window) == ("itself", "adaptive", 1_000_000)


def test_models_that_are_sent_a_text_take_no_tools() -> None:
    """Replicate is sent one text, in which LiteLLM leaves the tools out."""
    assert not facts("replicate/meta/meta-llama-3-8b-instruct").tools


NAMED_IN_WORDS = {"openai", "azure", "gemini", "openrouter", "hosted_vllm", "llamafile"}
"""Providers that the page of routes names in words, and servers of one's own."""


@pytest.mark.parametrize("row", ["top_k", "min_p, repetition_penalty", "parallel_tool_calls", "logit_bias", "prediction", "service_tier"])
def test_page_of_routes_names_the_providers_that_take_a_parameter(row: str) -> None:
    """Each row of its table names those whose requests hold the parameter."""
    names = row.split(", ")
    page = (ROOT / "docs" / "routes.md").read_text(encoding="utf-8")
    (said,) = (
        line for line in page.splitlines() if line.startswith(f"| {', '.join(f'`{name}`' for name in names)} | ") and "OpenRouter" in line
    )
    for name in names:
        takers = {prefix for prefix, one in PROVIDERS.items() if name in one.takes}
        assert set(re.findall(r"`(\w+)/`", said)) - NAMED_IN_WORDS == takers - NAMED_IN_WORDS


@pytest.mark.parametrize(
    ("model", "extras", "efforts"),
    [
        ("together_ai/x", {"top_k", "min_p", "repetition_penalty", "logit_bias"}, True),
        ("deepinfra/x", {"top_k", "min_p", "repetition_penalty", "service_tier"}, True),
        ("novita/x", {"top_k", "min_p", "repetition_penalty", "logit_bias"}, False),
        ("nebius/x", {"logit_bias"}, False),
        ("sambanova/x", {"top_k", "parallel_tool_calls", "logit_bias"}, True),
        ("dashscope/x", {"top_k", "parallel_tool_calls"}, True),
        ("hyperbolic/x", {"top_k", "logit_bias"}, False),
        ("featherless_ai/x", {"top_k", "min_p", "repetition_penalty"}, False),
        ("perplexity/x", {"top_k"}, True),
    ],
)
def test_host_of_open_models_is_sent_what_it_documents(model: str, extras: set[str], efforts: bool) -> None:
    """What could not be confirmed is not sent, unless the target's own `facts.takes` says so."""
    made = facts(model)
    assert made.takes == extras
    assert ("reasoning_effort" not in made.refuses) == efforts
    assert facts(model, facts=FactsConfig(takes=("min_p",))).takes == {"min_p"}
