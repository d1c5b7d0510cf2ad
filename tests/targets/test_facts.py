"""Facts of a model before its first request: from its name, LiteLLM's table, its provider and the operator's declarations."""

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
    """Return the facts of a target of this model."""
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
def test_model_name_is_parsed_into_family_and_generation(model: str) -> None:
    """A model name is parsed into family words and version numbers; dates, providers, paths and release words are ignored."""
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
def test_unknown_model_gets_the_facts_of_its_newest_sibling(unknown: str, sibling: str) -> None:
    """A model that the table lacks gets what the newest model of its family and generation accepts, with the source `family`."""
    assert unknown not in entries()
    made, known = facts(unknown), facts(sibling)
    assert made.source == "family"
    for name in ("refuses", "refuses_thinking", "thinking", "always_thinks", "limit", "responses", "returns", "prefill", "forced_tools"):
        assert getattr(made, name) == getattr(known, name), name


def test_unknown_size_of_a_known_family_has_no_window_or_price() -> None:
    """A model of a known family but an unknown size behaves like its sibling, with no context window, output limit or price."""
    made = facts("openai/gpt-6-nova")
    assert made.source == "family"
    assert made.responses == "tools_while_thinking"
    assert (made.window, made.max_output, made.price) == (None, None, None)


def test_model_of_an_unknown_family_refuses_nothing() -> None:
    """A model of an unknown family has the source `unknown`, refuses no parameter, and takes `max_tokens` and an effort."""
    made = facts("openai/my-model", api_base="http://127.0.0.1:9/v1")
    assert made.source == "unknown"
    assert (made.refuses, made.limit, made.thinking) == (frozenset(), "max_tokens", "effort")


def test_fine_tune_has_the_facts_of_its_base_model() -> None:
    """`ft:o4-mini` refuses sampling parameters and `stop` and takes `max_completion_tokens`; `gpt-5-chat` takes a temperature."""
    tuned, chat = facts("openai/ft:o4-mini-2025-04-16:acme::x1"), facts("openai/gpt-5-chat-latest")
    assert tuned.refuses >= SAMPLING | PENALTIES | {"stop"}
    assert tuned.limit == "max_completion_tokens"
    assert not chat.refuses & SAMPLING
    assert chat.thinking == "none"


def test_base_model_gives_an_azure_deployment_its_facts() -> None:
    """An Azure deployment named `prod` has unknown facts without `base_model`, and those of `gpt-5.6` with it or if it has that name."""
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
def test_declared_facts_override_the_table(name: str) -> None:
    """A declared fact replaces the table's, `refuses` also `refuses_thinking` and `one_of_sampling`; all other facts stay as they were."""
    told, wanted = OVERRIDES[name]
    made, plain = facts("openai/gpt-5.6", facts=told), facts("openai/gpt-5.6")
    for key, value in wanted.items():
        assert getattr(made, key) == value, key
    others = set(Facts.__struct_fields__) - set(wanted)
    assert all(getattr(made, key) == getattr(plain, key) for key in others)


def test_responses_prefix_in_a_model_selects_the_responses_api() -> None:
    """`openai/responses/gpt-4o` has the facts of gpt-4o, and is always asked through the Responses API."""
    made = facts("openai/responses/gpt-4o")
    assert made.responses == "always"
    assert made.model.endswith("gpt-4o")


def test_non_reasoning_grok_refuses_the_penalties() -> None:
    """A non-reasoning Grok 4.20 does not think, refuses both penalties, and takes `stop`."""
    made = facts("xai/grok-4.20-0309-non-reasoning")
    assert made.thinking == "none"
    assert made.refuses >= PENALTIES
    assert "stop" not in made.refuses


@pytest.mark.parametrize("model", ["gemini/gemini-3.5-flash", "openai/gemini-3.5-flash"])
def test_facts_of_gemini_refuse_the_penalties_on_both_of_its_wires(model: str) -> None:
    """The facts of gemini-3.5-flash list both penalties under `refuses`, as a `gemini/` and as an `openai/` target."""
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
def test_claude_at_another_provider_has_claudes_facts(model: str) -> None:
    """Claude at Bedrock, Databricks, Azure or Vertex has Anthropic's thinking, refused parameters and window, and a price."""
    made, own = facts(model), facts("anthropic/claude-haiku-4-5")
    assert made.source == "itself"
    assert (made.thinking, made.refuses, made.refuses_thinking) == (own.thinking, own.refuses, own.refuses_thinking)
    assert made.window == own.window
    assert made.price is not None


def test_bedrock_inference_profile_has_the_facts_of_its_own_model() -> None:
    """An EU inference profile of Opus 4.8 thinks adaptively and has a window of a million tokens, unlike older models of its family."""
    made = facts("bedrock/eu.anthropic.claude-opus-4-8")
    assert (made.source, made.thinking, made.window) == ("itself", "adaptive", 1_000_000)


@pytest.mark.parametrize(
    ("model", "same"),
    [
        ("bedrock/eu.anthropic.claude-opus-4-8-v1:0", "bedrock/eu.anthropic.claude-opus-4-8"),
        ("bedrock/converse/ca.anthropic.claude-sonnet-5-20261101-v1:0", "bedrock/us.anthropic.claude-sonnet-5"),
        ("bedrock/arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-4-8-v1:0", "bedrock/us.anthropic.claude-opus-4-8"),
        ("anthropic/us.anthropic.claude-sonnet-5", "anthropic/claude-sonnet-5"),
        ("anthropic/claude-sonnet-5@20261101", "anthropic/claude-sonnet-5"),
        ("vertex_ai/claude-opus-4-8@20261101", "vertex_ai/claude-opus-4-8"),
        ("gemini/models/gemini-3.5-flash", "gemini/gemini-3.5-flash"),
        ("anthropic/claude-3-5-sonnet-latest", "anthropic/claude-sonnet-4-5"),
    ],
)
def test_name_with_a_region_or_revision_has_the_facts_of_its_model(model: str, same: str) -> None:
    """A region, a maker, a date or a revision in a name does not count as its version; a model older than all known is like the oldest."""
    made, plain = facts(model), facts(same)
    assert (made.thinking, made.efforts, made.refuses, made.always_thinks) == (
        plain.thinking,
        plain.efforts,
        plain.refuses,
        plain.always_thinks,
    )


def test_gpt_35_at_azure_is_not_taken_for_a_thinking_model() -> None:
    """`azure/gpt-35-turbo`, Azure's spelling of gpt-3.5, takes all sampling parameters, and does not think."""
    made = facts("azure/gpt-35-turbo")
    assert (made.thinking, made.refuses) == ("none", frozenset())


def test_gpt_oss_does_not_have_the_facts_of_gpt_5() -> None:
    """`gpt-oss` behind an own address is not known to read images, or to keep to a schema, as gpt-5 does."""
    made = facts("openai/gpt-oss-120b", api_base="http://127.0.0.1:8000/v1")
    assert (made.source, made.images, made.schemas) == ("unknown", None, None)


def test_replicate_models_take_no_tools() -> None:
    """A model at Replicate, which LiteLLM sends one text without the tools, is known to take no tools."""
    assert not facts("replicate/meta/meta-llama-3-8b-instruct").tools


NAMED_IN_WORDS = {"openai", "azure", "gemini", "openrouter", "hosted_vllm", "llamafile"}
"""Providers that docs/routes.md names in prose instead of a prefix, and self-hosted servers."""


@pytest.mark.parametrize("row", ["top_k", "min_p, repetition_penalty", "parallel_tool_calls", "logit_bias", "prediction", "service_tier"])
def test_routes_page_lists_the_providers_that_take_each_parameter(row: str) -> None:
    """Each row of the parameter table in docs/routes.md names the providers to which the router sends that parameter."""
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
def test_host_of_open_models_takes_only_its_documented_parameters(model: str, extras: set[str], efforts: bool) -> None:
    """A host of open models takes the optional parameters that it documents, or those of the target's own `facts.takes`."""
    made = facts(model)
    assert made.takes == extras
    assert ("reasoning_effort" not in made.refuses) == efforts
    assert facts(model, facts=FactsConfig(takes=("min_p",))).takes == {"min_p"}
