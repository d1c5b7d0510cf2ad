"""Rules of providers: corrections of a model's facts (Facts) that LiteLLM's table lacks, for all models of a provider or for a family."""

from collections.abc import Callable
from typing import Any

from router.config.declaration import TargetConfig
from router.params import Effort
from router.targets.facts import EFFORTS, GATEWAYS, PENALTIES, SAMPLING, Facts, known_flag, provider_of
from router.targets.family import Family
from router.targets.providers import CARRIED, EXTRAS, OPEN, TIER, TIERS
from router.targets.table import ModelRow
from router.value import replace

Rule = Callable[[Facts, Family, ModelRow, TargetConfig], Facts]
"""Takes a model's facts, the family of its name, its entry in the table and the declared target; returns the changed facts."""


def _levels(entry: ModelRow, *usual: Effort) -> tuple[Effort, ...]:
    """Return, in ascending order, the `usual` efforts and those of none, minimal, xhigh and max that the table entry flags as supported."""
    flags: dict[Effort, object] = {
        "none": entry.supports_none_reasoning_effort,
        "minimal": entry.supports_minimal_reasoning_effort,
        "xhigh": entry.supports_xhigh_reasoning_effort,
        "max": entry.supports_max_reasoning_effort,
    }
    return tuple(one for one in EFFORTS if one in usual or flags.get(one) is True)


def unruled(made: Facts, _: Family, entry: ModelRow, __: TargetConfig) -> Facts:
    """Return the facts of a model whose provider has no rules: a known model does not think unless the table states reasoning."""
    return replace(made, thinking="none") if made.source != "unknown" and entry.supports_reasoning is not True else made


def _openai(made: Facts, family: Family, entry: ModelRow, declared: TargetConfig) -> Facts:
    """Apply the rules of OpenAI's models; any other model at this provider gets those of a server at the operator's address (`_open`).

    Thinking models take neither penalties nor `stop`, and no sampling parameters while they think; their limit is max_completion_tokens.
    From gpt-5.4 on they take tools on chat completions only while they do not think. The gpt-5-chat models do not think.
    Source: openai/openai-openapi#541; BerriAI/litellm#13714 and #34569; OpenAI's guide to reasoning models.
    """
    own = declared.api_base is not None and provider_of(declared) != "azure"
    made = replace(made, limit="max_tokens" if own else "max_completion_tokens")
    words, version = family.words, family.version
    if words[:1] not in (("o",), ("gpt",)) or "oss" in words or made.source == "unknown":
        return _open(made, family, entry, declared)
    made = replace(made, takes=EXTRAS - OPEN - {"verbosity"}, tiers=TIERS, carries=CARRIED, json_mode=True)
    if "chat" in words or (words[0] != "o" and version[:1] < (5,)):
        predicts = version >= (4, 1) or words[:2] == ("gpt", "o") or "4o" in str(declared.model)
        return replace(made, thinking="none", takes=made.takes - (frozenset[str]() if predicts else {"prediction"}))
    endpoints = entry.supported_endpoints
    only_responses = entry.mode == "responses" or (isinstance(endpoints, list) and "/v1/chat/completions" not in endpoints)
    efforts = made.efforts or _levels(entry, "low", "medium", "high")
    always = "none" not in efforts
    return replace(
        made,
        limit="max_completion_tokens",
        efforts=efforts,
        always_thinks=always,
        refuses=made.refuses | PENALTIES | {"stop"} | (SAMPLING if always else frozenset[str]()),
        refuses_thinking=SAMPLING,
        takes=frozenset({"verbosity", "service_tier", "parallel_tool_calls"} if words[0] == "gpt" else {"service_tier"}),
        responses="always" if only_responses else "tools_while_thinking" if words[0] == "gpt" and version >= (5, 4) else "never",
    )


def _anthropic(made: Facts, family: Family, entry: ModelRow, _: TargetConfig) -> Facts:
    """Apply the rules of Claude.

    Thinking: up to 4.5 with a budget of tokens, from 4.6 on adaptively and by effort. Sampling: from 4.1 on either temperature or top_p,
    from Opus 4.7 on neither; while it thinks it refuses both, and top_k. It has no JSON mode.
    Schemas: from 4.1 on, if the table has `supports_native_structured_output` for the model. `supports_response_schema` is not used: it
    includes models for which LiteLLM emulates them with a tool.
    Source: Anthropic's guides to migration, to adaptive thinking and to effort.
    """
    thinks = entry.supports_reasoning is True or made.source == "unknown"
    adaptive = entry.supports_adaptive_thinking is True
    efforts = _levels(entry, "low", "medium", "high") if entry.supports_output_config is True else ()
    return replace(
        made,
        refuses=made.refuses | PENALTIES | {"seed"},
        refuses_thinking=SAMPLING | {"top_k"},
        takes=frozenset({"service_tier", "parallel_tool_calls"} | (set() if made.refuses >= SAMPLING else {"top_k"})),
        tiers=frozenset({"auto", "standard_only"}),
        carries=frozenset(),
        schemas=known_flag(entry.supports_native_structured_output) if family.version >= (4, 1) else False,
        json_mode=False,
        warmest=1.0,
        one_of_sampling=family.version >= (4, 1) or made.source == "unknown",
        thinking="adaptive" if adaptive else "budget" if thinks else "none",
        always_thinks=entry.thinking_always_on is True,
        efforts=tuple(one for one in efforts if one not in ("none", "minimal")),
        default_effort="" if entry.thinking_always_on is True else "none",
        prefill=made.prefill or made.source == "unknown",
    )


def _hosting(made: Facts, family: Family, entry: ModelRow, declared: TargetConfig) -> Facts:
    """Apply the rules of a provider that hosts Claude and other models: to a Claude model those of Anthropic, but its `prefill` stays.
    Other models get Google's rules at Vertex AI, and elsewhere `unruled`.
    """
    if "claude" not in family.words:
        return (_google if provider_of(declared) == "vertex_ai" else unruled)(made, family, entry, declared)
    return replace(_anthropic(made, family, entry, declared), prefill=made.prefill)


def _xai(made: Facts, family: Family, entry: ModelRow, declared: TargetConfig) -> Facts:
    """Apply the rules of Grok: thinking models always think, and refuse the penalties and `stop`.

    Grok 4, 4.1, 4.20 and the code models refuse an effort, too. From Grok 4 on, models that do not think refuse the penalties.
    Models of the table's mode `responses` are asked through the Responses API alone.
    Source: xAI's guide to reasoning models.
    """
    if entry.mode == "responses":
        made = replace(made, responses="always")
    if entry.supports_reasoning is not True or "non-reasoning" in str(declared.model):
        refused = PENALTIES if family.version >= (4,) else frozenset[str]()  # source: lobehub/lobehub#13332
        return replace(made, thinking="none", refuses=made.refuses | refused)
    willful = family.version in ((4,), (4, 1), (4, 20)) or "code" in family.words
    refused = PENALTIES | ({"stop", "reasoning_effort"} if willful else {"stop"})
    return replace(made, refuses=made.refuses | refused, always_thinks=True)


def _moonshot(made: Facts, family: Family, _: ModelRow, __: TargetConfig) -> Facts:
    """Apply the rules of Kimi.

    From K2.5 on, and in K2 Thinking, temperature, top_p and penalties are fixed, and reasoning has to come back as `reasoning_content`.
    Models without listed efforts take no effort.
    Source: Moonshot's API reference; NousResearch/hermes-agent#12566.
    """
    fixed = family.words[:1] == ("kimi",) and (family.version >= (2, 5) or "thinking" in family.words)
    refused = (SAMPLING | PENALTIES if fixed else frozenset[str]()) | (frozenset[str]() if made.efforts else {"reasoning_effort"})
    return replace(made, refuses=made.refuses | refused, returns="reasoning_content" if fixed else "", insists=fixed)


def _deepseek(made: Facts, family: Family, _: ModelRow, __: TargetConfig) -> Facts:
    """Apply the rules of DeepSeek: reasoning goes back as `reasoning_content`, and all but `…-chat` refuse a turn's calls without it.
    Prefill is off, although the table claims it: it works only at the beta address, with marked assistant messages.
    Source: DeepSeek's guides to thinking mode and to chat prefix completion; NousResearch/hermes-agent#16388.
    """
    return replace(made, prefill=False, returns="reasoning_content", insists=family.words[-1:] != ("chat",))


def _returning(field: str) -> Rule:
    """Return the rule of GLM, Qwen and hosts of such models: that of `unruled`, with reasoning sent back in the field `field`.
    Source: the guides to thinking models of Z.ai, Alibaba, Fireworks, Novita and Volcengine.
    """
    return lambda made, family, entry, declared: replace(unruled(made, family, entry, declared), returns=field)


def _mistral(made: Facts, _: Family, __: ModelRow, ___: TargetConfig) -> Facts:
    """Apply the rules of Mistral: a known model without listed efforts is sent no effort, which it answers with a 422, and does not think.
    Source: mistralai/platform-docs-public#7; Mistral's API reference.
    """
    if made.efforts or made.source == "unknown":
        return made
    return replace(made, refuses=made.refuses | {"reasoning_effort"}, thinking="none")


def _google(made: Facts, family: Family, entry: ModelRow, declared: TargetConfig) -> Facts:
    """Apply the rules of Google's models.

    Gemini refuses the penalties: `Penalty is not enabled for models/gemini-…` (PublicAffairs/openai-gemini#63). From Gemini 3 on it thinks
    by level, and refuses calls without their signature. Gemini 2.5 thinks with a budget of tokens. Its thinking can be turned off except in
    Pro, and is off by default in Flash-Lite. Older ones do not think. Gemma 3 takes no tools there.
    Source: https://ai.google.dev/gemini-api/docs/thinking; https://ai.google.dev/gemini-api/docs/thought-signatures;
    https://ai.google.dev/gemini-api/docs/optimization (service tiers).
    """
    takes = frozenset({"top_k"} if provider_of(declared) != "openai" else ())
    made = replace(unruled(made, family, entry, declared), carries=frozenset(), takes=takes)
    if provider_of(declared) == "gemini":  # at Vertex AI the tier is a header, which a target declares in `headers`
        made = replace(made, takes=made.takes | TIER, tiers=frozenset({"standard", "flex", "priority"}))
    if "gemini" not in family.words:
        made = replace(made, schemas=False, json_mode=False)  # `JSON mode is not enabled for models/gemma-3-…`
        return replace(made, tools=made.tools and not ("gemma" in family.words and family.version < (4,)))
    made = replace(made, refuses=made.refuses | PENALTIES, json_mode=True)
    if not family.version or family.version >= (3,):  # gemini-flash-latest has no version
        thinks = entry.supports_reasoning is True or made.source == "unknown"
        made = replace(made, insists=True, thinking="effort" if thinks else "none", always_thinks=thinks)
        return replace(made, efforts=_gemini_levels(family, entry))
    if made.thinking == "none" or family.version < (2, 5):
        return replace(made, thinking="none")
    made = replace(made, thinking="budget", efforts=("minimal", "low", "medium", "high"), always_thinks="pro" in family.words)
    return replace(made, default_effort="none" if "lite" in family.words else "")


def _gemini_levels(family: Family, entry: ModelRow) -> tuple[Effort, ...]:
    """Return a Gemini model's thinking levels: 3 Pro has two; only Flash-Lite, and Flash up to 3.6, have `minimal`.
    Source: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/thinking, where the newest Flash begins with `low`.
    """
    if "pro" in family.words and family.version == (3,):
        return ("low", "high")
    small = "lite" in family.words or (bool(family.version) and family.version[:2] < (3, 7))
    minimal = "flash" in family.words and small and entry.supports_minimal_reasoning_effort is not False
    return ("minimal", "low", "medium", "high") if minimal else ("low", "medium", "high")


def _cohere(made: Facts, family: Family, entry: ModelRow, _: TargetConfig) -> Facts:
    """Apply the rules of Cohere's OpenAI-compatible API: thinking models take the efforts `none` and `high` alone.
    Source: docs.cohere.com/docs/compatibility-api.
    """
    thinks = made.source == "unknown" or entry.supports_reasoning is True or "reasoning" in family.words
    return replace(made, thinking="effort", efforts=("none", "high")) if thinks else replace(made, thinking="none")


def _always(**changes: Any) -> Rule:
    """Return a rule that makes these changes to the facts of every model of a provider."""
    return lambda made, _, __, ___: replace(made, **changes)


def _open(made: Facts, family: Family, entry: ModelRow, declared: TargetConfig) -> Facts:
    """Apply the rules for a server at the operator's address: Google's to Gemini; models of RETURNING are sent their reasoning back.
    Those of them at a maker of MAKERS refuse calls without it. All other facts stay as they are.
    """
    if "gemini" in family.words:
        return _google(made, family, entry, declared)
    if not RETURNING & set(family.words):
        return made
    return replace(made, returns="reasoning_content", insists=str(declared.model).startswith(MAKERS))


MAKERS = ("openai/deepseek-", "openai/kimi-")
"""Beginnings of models whose makers' own servers refuse tool calls sent back without their reasoning."""
RETURNING = frozenset({"deepseek", "glm", "kimi", "minimax", "qwen"})
"""Words in the names of open models that continue from their own reasoning, at any provider."""
RULES: dict[str, Rule] = {
    **dict.fromkeys(("openai", "azure"), _openai),
    "anthropic": _anthropic,
    **dict.fromkeys(("azure_ai", "bedrock", "databricks", "vertex_ai"), _hosting),
    "xai": _xai,
    "gemini": _google,
    "moonshot": _moonshot,
    "mistral": _mistral,
    "deepseek": _deepseek,
    "ollama_chat": _always(efforts=("none", "low", "medium", "high")),  # it refuses all others (Ollama's API reference)
    **dict.fromkeys(("cohere", "cohere_chat"), _cohere),
    **dict.fromkeys(("perplexity", "replicate"), _always(tools=False)),  # for Replicate LiteLLM drops them
    **dict.fromkeys(("zai", "dashscope", "fireworks_ai", "novita", "volcengine"), _returning("reasoning_content")),
    **dict.fromkeys(("cerebras", "groq"), _returning("reasoning")),
    **dict.fromkeys(("hosted_vllm", "llamafile", "lm_studio"), _open),
    # A gateway itself drops what the model behind it refuses.
    **dict.fromkeys(GATEWAYS, _always(refuses=frozenset(), returns="reasoning_details")),
}
