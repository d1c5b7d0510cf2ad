"""Today's models and the requests that each refuses, with its provider's error texts.

A comment names the public thread that quotes a text; no real model was asked.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

from tests.models.dialects import Body, Completions, Gemini, Messages, Responses, objects
from tests.models.fakes import PLAIN, Flagship, Refusal, Rule
from tests.support import google

PENALTIES = ("presence_penalty", "frequency_penalty")


def value_of(body: Body, dotted: str) -> Any:
    """Return the value at a dotted name of the request; None if it is absent."""
    found: Any = body
    for name in dotted.split("."):
        found = cast("Body", found).get(name) if isinstance(found, dict) else None
    return found


def refuses(name: str, message: str, *, but: Collection[Any] = (), when: Callable[[Body], bool] = lambda _: True, param: str = "") -> Rule:
    """Return a rule that refuses a parameter that is sent, unless its value is in `but` or `when` is false.

    `message` may contain {name} and {value}.
    """

    def rule(body: Body) -> Refusal | None:
        value = value_of(body, name)
        if value is None or value in but or not when(body):
            return None
        return Refusal(message.format(name=name, value=value), param)

    return rule


def spoken(body: Body) -> list[Body]:
    """Return the messages of a chat-completions request."""
    return body["messages"]


# Anthropic. NousResearch/hermes-agent#11137, OpenHands/software-agent-sdk#3427, UKGovernmentBEIS/inspect_ai#3721, crewAIInc/crewAI#5808.

KNOWN = frozenset(
    [
        "model",
        "messages",
        "system",
        "max_tokens",
        "stream",
        "temperature",
        "top_p",
        "stop_sequences",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "metadata",
        "service_tier",
        "top_k",
    ]
)


def extra_inputs(body: Body) -> Refusal | None:
    """Refuse unknown fields and a missing `max_tokens`, as Anthropic's validator does."""
    for name in body:
        if name not in KNOWN:
            return Refusal(f"{name}: Extra inputs are not permitted")
    return None if body.get("max_tokens") else Refusal("max_tokens: Field required")


def blank_stops(body: Body) -> Refusal | None:
    """Refuse stop sequences of whitespace only (BerriAI/litellm#3286)."""
    blank = any(not one.strip() for one in body.get("stop_sequences") or ())
    return Refusal("stop_sequences: each stop sequence must contain non-whitespace") if blank else None


def claude_turns(body: Body) -> Refusal | None:
    """Refuse a first message that is not the user's, calls without results in the next message, and duplicate call ids."""
    messages = body["messages"]
    if not messages or messages[0]["role"] != "user":
        return Refusal('messages: first message must use the "user" role')
    ids: list[str] = []
    for at, message in enumerate(messages):
        blocks = objects(message["content"])
        called = [one["id"] for one in blocks if one["type"] == "tool_use"]
        ids += called
        after = objects(messages[at + 1]["content"]) if at + 1 < len(messages) else []
        given = [one["tool_use_id"] for one in after if one["type"] == "tool_result"]
        if set(called) - set(given):
            return Refusal(f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {called}")
    return Refusal("messages: `tool_use` ids must be unique") if len(set(ids)) < len(ids) else None


def no_prefill(body: Body) -> Refusal | None:
    """Refuse a conversation that ends with an assistant message, as Claude does from Opus 4.6 on."""
    if body["messages"][-1]["role"] != "assistant":
        return None
    return Refusal("This model does not support assistant message prefill. The conversation must end with a user message.")


def thinking_begins(body: Body) -> Refusal | None:
    """Refuse, while thinking with a budget, an assistant message with calls that does not begin with a thinking block."""
    if value_of(body, "thinking.type") != "enabled":
        return None
    messages = body["messages"]
    asked = max(at for at, one in enumerate(messages) if one["role"] == "user" and "tool_result" not in str(one["content"]))
    for at, message in enumerate(messages[asked:], asked):
        kinds = [one["type"] for one in objects(message["content"])]
        if message["role"] == "assistant" and "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking"):
            return Refusal(f"messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{kinds[0]}`.")
    return None


def budget(body: Body) -> Refusal | None:
    """Refuse a thinking budget below 1,024 tokens or not below `max_tokens`."""
    tokens = value_of(body, "thinking.budget_tokens")
    if tokens is None or 1024 <= tokens < body["max_tokens"]:
        return None
    return Refusal("`max_tokens` must be greater than `thinking.budget_tokens`.")


CLAUDE: tuple[Rule, ...] = (extra_inputs, blank_stops, claude_turns)
ADAPTIVE: tuple[Rule, ...] = (
    *CLAUDE,
    no_prefill,
    refuses("temperature", "`{name}` is deprecated for this model.", but=(1,)),
    refuses("top_p", "`{name}` is deprecated for this model.", but=(1,)),
    refuses(
        "thinking.type",
        '"thinking.type.{value}" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort" to control '
        "thinking behavior.",
        but=("adaptive", "disabled"),
    ),
    refuses(
        "output_config.effort",
        "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
        but=("low", "medium", "high", "xhigh", "max"),
    ),
)
ALWAYS: tuple[Rule, ...] = (
    *ADAPTIVE,
    refuses("thinking.type", '"thinking.type.disabled" is not supported for this model: it always thinks.', but=("adaptive",)),
    refuses("tool_choice.type", "tool_choice: forced tool use is not supported for this model.", but=("auto", "none")),
)
BUDGET: tuple[Rule, ...] = (
    *CLAUDE,
    thinking_begins,
    budget,
    refuses("thinking.type", "adaptive thinking is not supported on this model", but=("enabled", "disabled")),
    refuses("output_config.effort", "This model does not support the effort parameter."),
    refuses(
        "temperature",
        "`temperature` may only be set to 1 when thinking is enabled.",
        but=(1,),
        when=lambda body: value_of(body, "thinking.type") == "enabled",
    ),
    refuses(
        "top_p",
        "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        when=lambda body: "temperature" in body,
    ),
    refuses(
        "top_p",
        "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.",
        but=(1,),
        when=lambda body: value_of(body, "thinking.type") == "enabled",
    ),
)


def claude_error(refusal: Refusal) -> Any:
    """Return the body of an error in Anthropic's shape."""
    return {"type": "error", "error": {"type": "invalid_request_error", "message": refusal.message}}


def claude_thinks(body: Body) -> bool:
    """Return whether the request turns thinking on."""
    return value_of(body, "thinking.type") in ("adaptive", "enabled")


def claude(name: str, rules: Sequence[Rule], thinks: Callable[[Body], bool] = claude_thinks) -> Flagship:
    """Return a fake Anthropic model with these rules."""
    return Flagship(
        name,
        f"anthropic/{name}",
        ((Messages(), rules),),
        thinks=thinks,
        shows=lambda body: value_of(body, "thinking.type") == "enabled" or value_of(body, "thinking.display") == "summarized",
        error=claude_error,
        base="",
        call_id=lambda at, place: f"toolu_{at}{place}",
    )


# OpenAI. openai/openai-openapi#541, BerriAI/litellm#13714, #34569 and #39631.

UNSUPPORTED = "Unsupported parameter: '{name}' is not supported with this model."
ONLY_DEFAULT = "Unsupported value: '{name}' does not support {value} with this model. Only the default (1) value is supported."
UNKNOWN_PARAMETER = "Unknown parameter: '{name}'."


def calls_answered(body: Body) -> Refusal | None:
    """Refuse a tool call without a result and a result without a call."""
    waiting: set[str] = set()
    for at, message in enumerate(spoken(body)):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return Refusal(
                    "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.", f"messages.[{at}].role"
                )
            waiting.discard(message["tool_call_id"])
        elif waiting:
            break
        waiting |= {call["id"] for call in message.get("tool_calls") or ()}
    if waiting:
        return Refusal(f"An assistant message with 'tool_calls' must be followed by tool messages. No response for: {sorted(waiting)}")
    return None


def efforts(*taken: str, name: str = "reasoning_effort") -> Rule:
    """Return a rule that refuses every reasoning effort but these and lists them in its error."""
    listed = ", ".join(f"'{one}'" for one in taken)
    return refuses(
        name, f"Unsupported value: '{{value}}' is not supported with this model. Supported values are: {listed}.", but=taken, param=name
    )


def openai_rules(thinks: Callable[[Body], bool], *taken: str, tools: bool = False) -> tuple[Rule, ...]:
    """Return the rules of an OpenAI reasoning model on chat completions. `tools`: whether it accepts tools together with an effort."""
    refused: list[Rule] = [
        calls_answered,
        refuses("max_tokens", UNSUPPORTED + " Use 'max_completion_tokens' instead.", param="max_tokens"),
        *(refuses(name, UNSUPPORTED, param=name) for name in ("stop", *PENALTIES)),
        refuses("temperature", ONLY_DEFAULT, but=(1,), when=thinks, param="temperature"),
        refuses("top_p", UNSUPPORTED, but=(1,), when=thinks, param="top_p"),
        efforts(*taken),
    ]
    if not tools:
        words = "Function tools with reasoning_effort are not supported for this model in /v1/chat/completions. Please use /v1/responses instead."
        refused.append(refuses("tools", words, when=thinks, param="reasoning_effort"))
    return tuple(refused)


def responses_rules(thinks: Callable[[Body], bool], *taken: str) -> tuple[Rule, ...]:
    """Return the rules of an OpenAI reasoning model on the Responses API: which parameters and values it refuses.

    thinks: whether the model reasons for a request; `temperature` and `top_p` are refused then
    taken: the reasoning efforts that it accepts
    """

    def least(body: Body) -> Refusal | None:
        low = (body.get("max_output_tokens") or 16) < 16
        words = "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16."
        return Refusal(words, "max_output_tokens") if low else None

    def encrypted(body: Body) -> Refusal | None:
        lost = any(one.get("type") == "reasoning" and not one.get("encrypted_content") for one in body["input"])
        return Refusal("Item 'rs_0' of type 'reasoning' not found. Items are not persisted when `store` is set to false.") if lost else None

    unknown = ("stop", "seed", "max_tokens", "max_completion_tokens", "stream_options", "messages", *PENALTIES)
    return (
        *(refuses(name, UNKNOWN_PARAMETER, param=name) for name in unknown),
        least,
        encrypted,
        refuses("temperature", UNSUPPORTED, but=(1,), when=thinks, param="temperature"),
        refuses("top_p", UNSUPPORTED, but=(1,), when=thinks, param="top_p"),
        efforts(*taken, name="reasoning.effort"),
    )


def effort_of(body: Body) -> Any:
    """Return the reasoning effort of a request to chat completions or to the Responses API; None without one."""
    return body.get("reasoning_effort") or value_of(body, "reasoning.effort")


def gpt(name: str, *taken: str, default: str = "medium", tools: bool = False) -> Flagship:
    """Return a fake OpenAI reasoning model. `taken`: the efforts that it accepts; `default`: its effort if the request has none."""

    def thinks(body: Body) -> bool:
        return (effort_of(body) or default) != "none"

    chat = (PLAIN, openai_rules(thinks, *taken, tools=tools))
    responding = (Responses(), responses_rules(thinks, *taken))
    return Flagship(
        name,
        f"openai/{name}",
        (chat, responding),
        # On chat completions its reasoning stays with it.
        thinks=lambda body: "input" in body and thinks(body),
        shows=lambda body: value_of(body, "reasoning.summary") is not None,
    )


GPT_4O = Flagship(
    "gpt-4o", "openai/gpt-4o", ((PLAIN, (calls_answered, refuses("reasoning_effort", UNSUPPORTED, param="reasoning_effort"))),)
)
"""The control model: it accepts every parameter except a reasoning effort."""


# xAI. open-webui/open-webui#21266, BerriAI/litellm#16265, mnfst/modelparams.dev#330.

XAI = "Model grok-4.7 does not support parameter {parameter}."
GROK = Flagship(
    "grok-4.7",
    "xai/grok-4.7",
    (
        (
            Completions(),
            (
                refuses("presence_penalty", XAI.format(parameter="presencePenalty")),
                refuses("frequency_penalty", XAI.format(parameter="frequencyPenalty")),
                refuses("stop", XAI.format(parameter="stop")),
                refuses("reasoning_effort", "Invalid reasoning effort.", but=("low", "medium", "high", "xhigh")),
            ),
        ),
    ),
    thinks=lambda _: True,
    returns=False,
    error=lambda refusal: {"code": "Client specified an invalid argument", "error": refusal.message},
)


# DeepSeek. Its guide to thinking mode; NousResearch/hermes-agent#15353 and #16388.


def prefix_mode(body: Body) -> Refusal | None:
    """Refuse a conversation that ends with an assistant message, which DeepSeek continues only in its prefix mode."""
    if spoken(body)[-1]["role"] != "assistant":
        return None
    return Refusal("The last message of deepseek-v4-pro must be a user message, or an assistant message with prefix mode on")


DEEPSEEK = Flagship(
    "deepseek-v4-pro",
    "deepseek/deepseek-v4-pro",
    ((Completions(), (calls_answered, prefix_mode)),),
    thinks=lambda _: True,
    must_return="Missing `reasoning_content` field in the assistant message at message index {at}. For more information, please refer to "
    "https://api-docs.deepseek.com/guides/thinking_mode",
)


# Moonshot. NousResearch/hermes-agent#12566 and #9125, continuedev/continue#11600. Before K3 it documents no effort.


def kimi(name: str, *taken: str) -> Flagship:
    """Return a fake Kimi model, which thinks, fixes four sampling parameters, and reuses the call ids of a round in the next."""
    fixed = (("temperature", 1), ("top_p", 0.95), ("presence_penalty", 0), ("frequency_penalty", 0))
    rules = tuple(refuses(key, f"invalid {key}: only {only} is allowed for this model", but=(only,)) for key, only in fixed)
    effort = refuses("reasoning_effort", "invalid reasoning_effort: '{value}' is not supported for this model", but=taken)
    return Flagship(
        name,
        f"moonshot/{name}",
        ((Completions(), (*rules, effort, calls_answered)),),
        thinks=lambda _: True,
        must_return="thinking is enabled but reasoning_content is missing in assistant tool call message at index {at}",
        call_id=lambda _, place: f"get_weather:{place}",
    )


# Mistral. mistralai/platform-docs-public#7, charmbracelet/crush#1590, anomalyco/opencode#1680, BerriAI/litellm#30835.

MISTRAL_KNOWN = frozenset(
    [
        "model",
        "messages",
        "stream",
        "temperature",
        "top_p",
        "max_tokens",
        "stop",
        "random_seed",
        "tools",
        "tool_choice",
        "presence_penalty",
        "frequency_penalty",
        "n",
        "response_format",
        "reasoning_effort",
        "parallel_tool_calls",
        "prompt_mode",
        "prediction",
        "safe_prompt",
    ]
)
MISTRAL_MESSAGE = frozenset(["role", "content", "tool_calls", "tool_call_id", "name", "prefix"])
NINE = re.compile(r"[A-Za-z0-9]{9}")


def forbidden(body: Body) -> Refusal | None:
    """Refuse fields that Mistral does not know; the refusal's message is the dotted path that `mistral_error` reports."""
    for name in body:
        if name not in MISTRAL_KNOWN:
            return Refusal(name, status=422, code="extra_forbidden")
    for at, message in enumerate(spoken(body)):
        for name in message:
            if name not in MISTRAL_MESSAGE:
                return Refusal(f"messages.{at}.{message['role']}.{name}", status=422, code="extra_forbidden")
    return None


def mistral_turns(body: Body) -> Refusal | None:
    """Refuse call ids that are not nine letters or digits, and orders of roles that Mistral does not accept."""
    before = ""
    for message in spoken(body):
        for call in message.get("tool_calls") or ():
            if not NINE.fullmatch(call["id"]):
                return Refusal(f"Tool call id was {call['id']} but must be a-z, A-Z, 0-9, with a length of 9.")
        if before == "tool" and message["role"] == "user":
            return Refusal("Unexpected role 'user' after role 'tool'")
        if message["role"] == "system" and before not in ("", "system"):
            return Refusal(f"Unexpected role 'system' after role '{before}'")
        before = message["role"]
    if before == "assistant":
        return Refusal("Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant")
    return None


def mistral_error(refusal: Refusal) -> Any:
    """Return the body of a Mistral error: a list for an unknown field, otherwise a sentence."""
    if refusal.code == "extra_forbidden":
        place = {"type": "extra_forbidden", "loc": ["body", *refusal.message.split(".")], "msg": "Extra inputs are not permitted"}
        return {"object": "error", "message": {"detail": [place]}, "type": "invalid_request_error", "param": None, "code": None}
    return {"object": "error", "message": refusal.message, "type": "invalid_request_error", "param": None, "code": "3230"}


MISTRAL = Flagship(
    "mistral-small-latest",
    "mistral/mistral-small-latest",
    (
        (
            Completions("", {"seed": "random_seed"}),
            (
                forbidden,
                mistral_turns,
                calls_answered,
                refuses("reasoning_effort", "Value error, reasoning_effort must be one of 'none', 'high'", but=("none", "high")),
            ),
        ),
    ),
    error=mistral_error,
    call_id=lambda at, place: f"abcdefg{at}{place}",
)


# Z.ai: it says of every parameter the same.

GLM = Flagship(
    "glm-5.3",
    "zai/glm-5.3",
    (
        (
            Completions(),
            tuple(
                refuses(name, "Invalid API parameter, please check the documentation: {name}.")
                for name in (*PENALTIES, "seed", "reasoning_effort")
            ),
        ),
    ),
    thinks=lambda _: True,
    error=lambda refusal: {"error": {"code": "1210", "message": refusal.message}},
)


# Google. openai/codex#7519, BerriAI/litellm#16893; Vali-98/ChatterUI#227; SillyTavern/SillyTavern#3015.

SIGNATURE = (
    "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing "
    "thought_signature may lead to degraded model performance. Additional data, function call `default_api:get_weather`, position {at}."
)


def google_error(refusal: Refusal) -> Any:
    """Return the body of an error in Google's shape."""
    return {"error": {"code": 400, "message": refusal.message, "status": "INVALID_ARGUMENT"}}


def no_penalties(config: str) -> tuple[Rule, ...]:
    """Return rules that refuse both penalty parameters in both spellings, whatever their value. `config`: the prefix of their place."""
    names = ("presencePenalty", "frequencyPenalty", "presence_penalty", "frequency_penalty")
    return tuple(refuses(f"{config}{name}", "Penalty is not enabled for models/gemini-3.5-flash") for name in names)


def googles(headers: Mapping[str, str], path: str, body: Body, *, thinks: str) -> Refusal | None:
    """Refuse a request that Google refuses for any model. Penalties and signatures have rules of their own."""
    why = google.objection(headers, path, body, thinks=thinks)
    return Refusal(why[1], status=why[0]) if why is not None and "Penalty" not in why[1] else None


def gemini(name: str, *, thinks: str, idle: bool = False) -> Flagship:
    """Return a fake Gemini model on Google's own API. `thinks`: `level` or `budget`; `idle`: whether thinking can be switched off."""

    def thinking(body: Body) -> bool:
        return value_of(body, "generationConfig.thinkingConfig.thinkingBudget") != 0

    only = refuses(
        f"{CONFIG}thinkingConfig.thinkingBudget", "Budget 0 is invalid. This model only works in thinking mode.", but=range(1, 32_769)
    )
    return Flagship(
        name,
        f"gemini/{name}",
        ((Gemini(), (*no_penalties(CONFIG), *(() if idle else (only,)))),),
        thinks=thinking,
        shows=lambda body: bool(value_of(body, f"{CONFIG}thinkingConfig.includeThoughts")),
        error=google_error,
        must_return=SIGNATURE if thinks == "level" else "",
        base="",
        forbids=partial(googles, thinks=thinks),
    )


CONFIG = "generationConfig."
GEMINI = gemini("gemini-3.5-flash", thinks="level")
GEMINI_PRO = gemini("gemini-2.5-pro", thinks="budget")
GEMINI_FLASH = gemini("gemini-2.5-flash", thinks="budget", idle=True)
GEMINI_OPENAI = Flagship(
    "gemini-3.5-flash-openai",
    "openai/gemini-3.5-flash",
    (
        (
            Completions("extra_content"),
            (
                *no_penalties(""),
                refuses("seed", 'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'),
                calls_answered,
            ),
        ),
    ),
    thinks=lambda _: True,
    error=lambda refusal: [google_error(refusal)],
    must_return=SIGNATURE,
    base="/v1beta/openai",
)


# Alibaba; OpenRouter, which leaves out what a model does not take.


def first_system(body: Body) -> Refusal | None:
    """Refuse a system message that is not the first, as the chat template of Qwen's models does (vllm-project/vllm#41114)."""
    late = any(one["role"] == "system" for one in spoken(body)[1:])
    return Refusal("System message must be at the beginning.") if late else None


QWEN = Flagship("qwen3-max", "dashscope/qwen3-max", ((Completions(), (first_system, calls_answered)),))
OPENROUTER = Flagship(
    "openrouter",
    "openrouter/anthropic/claude-opus-5-5",
    ((Completions("reasoning_details"), (calls_answered,)),),
    thinks=lambda _: True,
)


# Cerebras and Groq. QwenLM/qwen-code#11045, egoist/chatwise-releases#1442, earendil-works/pi#3764, musistudio/llms#64.


def foreign_reasoning(body: Body) -> Refusal | None:
    """Refuse `reasoning_content` in messages, which Cerebras and Groq do not know."""
    for at, message in enumerate(spoken(body)):
        if "reasoning_content" in message:
            place = f"messages.{at}.assistant.reasoning_content"
            return Refusal(f"{place}: property '{place}' is unsupported", "validation_error")
    return None


CEREBRAS = Flagship(
    "cerebras",
    "cerebras/gpt-oss-120b",
    (
        (
            Completions("reasoning"),
            (
                *(refuses(f"{name}", "body.{name}: property 'body.{name}' is unsupported", param="validation_error") for name in PENALTIES),
                foreign_reasoning,
                calls_answered,
            ),
        ),
    ),
    thinks=lambda _: True,
    returns=False,
    error=lambda refusal: {
        "message": refusal.message,
        "type": "invalid_request_error",
        "param": "validation_error",
        "code": "wrong_api_format",
    },
)
COHERE_KNOWN = frozenset(
    (
        *("model", "messages", "stream", "reasoning_effort", "response_format", "tools", "tool_choice", "temperature", "max_tokens"),
        *("stop", "seed", "top_p", "frequency_penalty", "presence_penalty"),
    )
)


def cohere_known(body: Body) -> Refusal | None:
    """Refuse parameters and efforts that docs.cohere.com/docs/compatibility-api does not list. The error texts are invented."""
    name = next((one for one in body if one not in COHERE_KNOWN), None)
    if name is not None:
        return Refusal(f"unknown parameter: {name} is not supported", name)
    if body.get("reasoning_effort") not in (None, "none", "high"):
        return Refusal("reasoning_effort: only none and high are supported", "reasoning_effort")
    return None


def cohere(name: str, *more: Rule) -> Flagship:
    """Return a fake Cohere model at its OpenAI-compatible address. It thinks only if no extra rule is given."""
    thinks: Callable[[Body], bool] = (lambda body: body.get("reasoning_effort") != "none") if not more else (lambda _: False)
    return Flagship(name, f"cohere/{name}", ((PLAIN, (cohere_known, calls_answered, *more)),), thinks=thinks, returns=False)


GROQ = Flagship(
    "groq",
    "groq/openai/gpt-oss-120b",
    (
        (
            Completions("reasoning"),
            (
                refuses("reasoning_effort", "`reasoning_effort` must be one of `low`, `medium`, or `high`", but=("low", "medium", "high")),
                foreign_reasoning,
                calls_answered,
            ),
        ),
    ),
    thinks=lambda _: True,
    returns=False,
)

OPUS = claude("claude-opus-4-7", ADAPTIVE)
SONNET = claude("claude-sonnet-5", ADAPTIVE)
ALWAYS_THINKING = claude("claude-opus-5-5", ALWAYS, thinks=lambda _: True)
HAIKU = claude("claude-haiku-4-5", BUDGET)
ASTRA = gpt("gpt-6-astra", "low", "medium", "high", "xhigh", "max")

FLAGSHIPS: tuple[Flagship, ...] = (
    GPT_4O,
    OPUS,
    SONNET,
    ALWAYS_THINKING,
    HAIKU,
    gpt("gpt-5.6", "none", "low", "medium", "high", "xhigh"),
    ASTRA,
    gpt("gpt-5.4", "none", "low", "medium", "high", "xhigh", default="none"),
    gpt("o3", "low", "medium", "high", tools=True),
    gpt("gpt-5", "minimal", "low", "medium", "high", tools=True),
    GROK,
    DEEPSEEK,
    kimi("kimi-k2.5"),
    kimi("kimi-k3", "low", "high", "max"),
    MISTRAL,
    GLM,
    GEMINI,
    GEMINI_PRO,
    GEMINI_FLASH,
    GEMINI_OPENAI,
    QWEN,
    OPENROUTER,
    CEREBRAS,
    GROQ,
    cohere("command-a-03-2025", refuses("reasoning_effort", "{name} is not supported by this model", param="reasoning_effort")),
    cohere("command-a-reasoning-08-2025"),
)


def through_litellm(flagship: Flagship) -> Flagship:
    """Return the same model, to be asked through LiteLLM."""
    return replace(flagship, name=f"{flagship.name}-litellm", via="litellm")


THROUGH_LITELLM = tuple(map(through_litellm, (GPT_4O, OPUS, ALWAYS_THINKING, HAIKU, DEEPSEEK, GROK)))
