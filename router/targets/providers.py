"""Providers with the OpenAI wire: LiteLLM's prefix → address and peculiarities; and the conversation rules of all providers."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import get_args

from router.config.facts import Extra
from router.targets import conversation as rule
from router.targets.conversation import Rule
from router.value import Value, field


class Provider(Value, frozen=True):
    """A provider of the OpenAI wire.

    base: URL of its API, with the version; empty if only the operator knows it
    path: appended to an `api_base` that lacks it
    counts: true if it is sent stream_options; false if it counts tokens without, or refuses the field
    keyless: true if it may be asked without a key
    header: header of the key; in `authorization` the key follows `Bearer`
    key: usual variable of the key, if that is not the prefix and `_API_KEY`
    lacks: parameters that it does not take
    names: parameters that have another name there
    takes: optional parameters that it takes
    tiers: the values of `service_tier` that it takes
    carries: optional fields of messages and tools that it takes: see `CARRIED`
    session: body field (CACHE_KEY) or header for a key of the chat, by which it finds the machine with the chat's prompt cache; empty if it
        needs none, or refuses unknown fields
    schemas: true if it enforces a JSON schema for all of its models; None if that depends on the model
    json_mode: true if it enforces JSON (`response_format: {type: json_object}`); None if unknown
    """

    base: str
    path: str = ""
    counts: bool = True
    keyless: bool = False
    header: str = "authorization"
    key: str = ""
    lacks: frozenset[str] = frozenset()
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    takes: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    carries: frozenset[str] = frozenset()
    session: str = ""
    schemas: bool | None = None
    json_mode: bool | None = None


CACHE_KEY = "prompt_cache_key"
"""OpenAI's body field for the session key (prompt_cache.py). Groq, Cerebras, NVIDIA, Volcengine and others refuse it
(zed-industries/zed#36215, sipeed/picoclaw#1181, openclaw/openclaw#49727); Mistral documents it, and has been seen to refuse it
(sipeed/picoclaw#1353). DeepSeek, Groq, Together, Z.ai and most others cache prompts without it.

Source: the guides to prompt caching of OpenAI, Azure, xAI, Fireworks, Mistral, DeepInfra, Moonshot and OpenRouter."""
EFFORT = frozenset({"reasoning_effort"})
PENALTIES = frozenset({"presence_penalty", "frequency_penalty"})
EXTRAS = frozenset(get_args(Extra))
"""Parameters that not every provider knows. What each takes: its own API reference, of November 2026.

Service tiers: console.groq.com/docs/service-tiers; docs.x.ai/developers/advanced-api-usage/priority-processing;
docs.fireworks.ai/serverless/priority-and-fast; vercel.com/docs/ai-gateway/capabilities/service-tiers, which ignores them for other models
than OpenAI's; platform.claude.com/docs/en/api/service-tiers; docs.deepinfra.com/chat/overview. Cerebras' are a private preview, and so are its predicted outputs: an account
without them refuses both (inference-docs.cerebras.ai/capabilities/service-tiers).

Hosts of open models, by what each publishes of its API:

* Together: its OpenAPI document (togethercomputer/openapi), which has no parallel_tool_calls.
* DeepInfra: docs.deepinfra.com/chat/overview, and its OpenAPI document as tryAGI/DeepInfra has it. It has no logit_bias.
* Novita: novita.ai/docs/api-reference/model-apis-llm-create-chat-completion, which has no reasoning_effort.
* Nebius: docs.tokenfactory.nebius.com/api-reference/inference/create-chat-completion, which has neither seed nor reasoning_effort. top_k,
  min_p and repetition_penalty are not in it, and not sent; nor is service_tier, whose words it does not list.
* SambaNova: its client (sambanova/sambanova-python) of July 2026. It accepts the penalties for compatibility, and ignores them.
* DashScope: help.aliyun.com/zh/dashscope/qwen-api-details, which has seed and parallel_tool_calls. top_k is by its older pages;
  repetition_penalty, of its own API alone, and logit_bias are not confirmed, and not sent.
* Hyperbolic: docs.hyperbolic.xyz/docs/rest-api, which has logit_bias; top_k by requests that were seen to work. min_p and
  repetition_penalty are not confirmed, and not sent.
* Featherless: featherless.ai/docs/completions, which has seed, and neither logit_bias nor reasoning_effort.
* Perplexity: its client (perplexityai/perplexity-py) of June 2026, which has `stop` as well: an answer is cut there all the same, since it is
  not known whether all of its models heed it. It has no seed.
"""
NAME, STRICT = frozenset({"messages.name"}), frozenset({"function.strict"})
CARRIED = NAME | STRICT | {"image_url.detail"}
"""Optional fields of OpenAI's API that not all providers take: `name` of a message, `detail` of an image, `strict` of a tool."""
OPEN = frozenset({"top_k", "min_p", "repetition_penalty"})
"""Sampling parameters of the servers of open models (vLLM, SGLang, llama.cpp, TGI)."""
PARALLEL = frozenset({"parallel_tool_calls"})
BIAS = frozenset({"logit_bias"})
TIER = frozenset({"service_tier"})
TIERS = frozenset({"auto", "default", "flex", "priority", "scale"})
COHERE = "https://api.cohere.ai/compatibility/v1"
"""Cohere's OpenAI-compatible address: LiteLLM cannot stream from its own. Source: docs.cohere.com/docs/compatibility-api."""
GROQ = frozenset({"auto", "on_demand", "flex", "performance"})

PROVIDERS = {
    "openai": Provider("https://api.openai.com/v1", takes=EXTRAS - OPEN, tiers=TIERS, carries=CARRIED, session=CACHE_KEY, json_mode=True),
    "azure": Provider("", header="api-key", takes=EXTRAS - OPEN, tiers=TIERS, carries=CARRIED, session=CACHE_KEY, json_mode=True),
    "cerebras": Provider("https://api.cerebras.ai/v1", lacks=PENALTIES, takes=PARALLEL, carries=STRICT, json_mode=True),
    "cohere": Provider(COHERE, counts=False),
    "cohere_chat": Provider(COHERE, counts=False, key="COHERE_API_KEY"),
    "dashscope": Provider("https://dashscope.aliyuncs.com/compatible-mode/v1", takes=PARALLEL | {"top_k"}, json_mode=True),
    "deepinfra": Provider("https://api.deepinfra.com/v1/openai", takes=OPEN | TIER, tiers=frozenset({"flex", "priority"}),
                          carries=CARRIED - STRICT, session=CACHE_KEY, json_mode=True),
    "deepseek": Provider("https://api.deepseek.com/v1", schemas=False, json_mode=True),
    "featherless_ai": Provider("https://api.featherless.ai/v1", counts=False, lacks=EFFORT, takes=OPEN),
    "fireworks_ai": Provider("https://api.fireworks.ai/inference/v1", takes=OPEN | BIAS | TIER | {"prediction"},
                             tiers=frozenset({"priority"}), session="x-session-affinity", schemas=True, json_mode=True),
    "groq": Provider("https://api.groq.com/openai/v1", takes=PARALLEL | TIER, tiers=GROQ, carries=NAME, json_mode=True),
    "hosted_vllm": Provider("", keyless=True, takes=EXTRAS, carries=CARRIED, schemas=True, json_mode=True),
    "hyperbolic": Provider("https://api.hyperbolic.xyz/v1", counts=False, lacks=EFFORT, takes=BIAS | {"top_k"}),
    "llamafile": Provider("http://127.0.0.1:8080/v1", keyless=True, takes=EXTRAS, carries=CARRIED, schemas=True, json_mode=True),
    "lm_studio": Provider("http://127.0.0.1:1234/v1", keyless=True, takes=BIAS | {"top_k"}, schemas=True, json_mode=False),
    "mistral": Provider("https://api.mistral.ai/v1", counts=False, names={"seed": "random_seed"}, takes=PARALLEL | {"prediction"},
                        carries=STRICT | {"image_url.detail", "input_audio.bare"}, schemas=True, json_mode=True),
    "moonshot": Provider("https://api.moonshot.ai/v1", session=CACHE_KEY, json_mode=True),
    "nebius": Provider("https://api.studio.nebius.ai/v1", lacks=EFFORT, takes=BIAS, carries=NAME | STRICT),
    "novita": Provider("https://api.novita.ai/v3/openai", lacks=EFFORT, takes=OPEN | BIAS, carries=NAME | STRICT),
    "nscale": Provider("https://inference.api.nscale.com/v1", counts=False, lacks=EFFORT | {"seed"}),
    "nvidia_nim": Provider("https://integrate.api.nvidia.com/v1", counts=False, lacks=EFFORT),
    "ollama_chat": Provider("http://127.0.0.1:11434/v1", path="/v1", keyless=True, schemas=True, json_mode=True),
    "openrouter": Provider("https://openrouter.ai/api/v1", takes=EXTRAS, carries=CARRIED, session="x-session-id"),
    "perplexity": Provider("https://api.perplexity.ai", counts=False, lacks=frozenset({"seed", "stop"}), takes=frozenset({"top_k"}),
                           schemas=True, json_mode=False),
    "sambanova": Provider("https://api.sambanova.ai/v1", lacks=PENALTIES, takes=PARALLEL | BIAS | {"top_k"}, json_mode=True),
    "scaleway": Provider("https://api.scaleway.ai/v1", key="SCW_SECRET_KEY", lacks=EFFORT),
    "together_ai": Provider("https://api.together.xyz/v1", takes=OPEN | BIAS, json_mode=True),
    "vercel_ai_gateway": Provider("https://ai-gateway.vercel.sh/v1", lacks=EFFORT, takes=PARALLEL | TIER,
                                  tiers=frozenset({"default", "flex", "priority"}), carries=CARRIED),
    "volcengine": Provider("https://ark.cn-beijing.volces.com/api/v3", lacks=EFFORT),
    "wandb": Provider("https://api.inference.wandb.ai/v1"),
    "xai": Provider("https://api.x.ai/v1", takes=PARALLEL | TIER, tiers=frozenset({"default", "priority"}),
                    carries=frozenset({"image_url.detail"}), session="x-grok-conv-id", schemas=True, json_mode=True),
    "zai": Provider("https://api.z.ai/api/paas/v4", lacks=EFFORT | PENALTIES | {"seed"}, schemas=False, json_mode=True),
}  # fmt: skip
ALL: tuple[Rule, ...] = (
    rule.calls_have_results, rule.short_ids, rule.pictures_beside_results, rule.one_system_message_at_the_start,
    rule.no_alternatives_at_the_top, rule.schemas_have_properties,
)  # fmt: skip
"""Conversation rules for every provider on the OpenAI wire; some have more."""
TEMPLATE: tuple[Rule, ...] = (*ALL, rule.no_empty_assistant, rule.one_system_message_and_first, rule.user_begins, rule.roles_alternate)
"""Conversation rules of open models' chat templates. A self-hosted server may serve any of them."""
PERPLEXITY: tuple[Rule, ...] = (*TEMPLATE, rule.assistant_between_tool_and_user, rule.user_ends)
MISTRAL: tuple[Rule, ...] = (*PERPLEXITY, rule.nine_letter_ids)
CLAUDE: tuple[Rule, ...] = (
    rule.calls_have_results, rule.no_blank_text, rule.user_begins, rule.plain_unique_ids, rule.jpeg_by_its_name,
    rule.no_alternatives_at_the_top, rule.schemas_have_properties,
)  # fmt: skip
"""Conversation rules of the Anthropic lane, which itself joins neighbouring turns."""
GEMINI: tuple[Rule, ...] = (
    rule.one_system_message_and_first, rule.calls_have_results, rule.pictures_beside_results, rule.no_blank_text, rule.user_begins,
    rule.user_ends, rule.assistant_between_tool_and_user, rule.plain_unique_ids, rule.jpeg_by_its_name,
)  # fmt: skip
"""Conversation rules of the Gemini lane, which itself joins neighbouring turns."""
GEMMA = re.compile(r"(?i)gemma-[123]\b")
"""Pattern of models at Google that take no system message."""
CLAUDES = frozenset({"anthropic", "azure_ai", "bedrock", "databricks", "vertex_ai"})
"""Providers of Claude, other than gateways."""
OWN = frozenset({"hosted_vllm", "vllm", "llamafile", "lm_studio", "ollama_chat", "ollama", "xinference", "lemonade", "docker_model_runner"})
"""Self-hosted servers, which may serve any model; `openai/` with an `api_base` counts as one."""
FAMILIES: tuple[tuple[str, tuple[Rule, ...]], ...] = (
    ("mistral|mixtral|codestral|devstral|magistral|pixtral|voxtral|leanstral", MISTRAL),
    ("qwen|qwq|gemma|llama-?2", TEMPLATE),
    (r"\bsonar", PERPLEXITY),
    ("claude", (*ALL, rule.no_blank_text, rule.user_begins, rule.plain_unique_ids, rule.jpeg_by_its_name)),
    ("gemini", (*ALL, rule.jpeg_by_its_name)),
)
"""Pattern of a model's name → its conversation rules on the OpenAI wire, at any provider that is not in AT_HOME; the first match
counts."""
OF_FAMILY = re.compile("|".join([name for name, _ in FAMILIES]), re.IGNORECASE)
AT_HOME: dict[str, tuple[Rule, ...]] = {"mistral": MISTRAL, "codestral": MISTRAL, "perplexity": PERPLEXITY}
"""Provider → the conversation rules that apply to all of its models."""


@lru_cache(maxsize=1024)  # targets repeat a few models
def rules_of(prefix: str, model: str, *, own: bool) -> tuple[Rule, ...]:
    """Return the conversation rules, in order, for a provider (`prefix`) and model on the OpenAI wire. `own`: at the operator's address."""
    if prefix in AT_HOME:
        return AT_HOME[prefix]
    if OF_FAMILY.search(model):
        return next(rules for name, rules in FAMILIES if re.search(name, model, re.IGNORECASE))
    return TEMPLATE if prefix in OWN or (prefix == "openai" and own) else ALL


def rules_of_google(model: str) -> tuple[Rule, ...]:
    """Return the conversation rules of the Gemini lane for a model, in the order of their application."""
    return (rule.system_is_the_users, *GEMINI) if GEMMA.search(model) else GEMINI


def rules_through_litellm(model: str) -> tuple[Rule, ...]:
    """Return the conversation rules for a model (provider/model) that is asked through LiteLLM: those of the OpenAI wire."""
    prefix, _, name = model.partition("/")
    return rules_of("mistral" if prefix.endswith("codestral") else prefix, model if prefix == "anthropic" else name, own=False)


def variable(prefix: str) -> str:
    """Return the usual name of the environment variable with a provider's key, such as GROQ_API_KEY; its value is not read."""
    provider = PROVIDERS.get(prefix)
    return (provider and provider.key) or f"{prefix.upper().replace('-', '_').removesuffix('_AI')}_API_KEY"
