"""Lessons that the refusals of real providers teach about their parameters, quoted from public threads."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from router.targets.facts import Facts
from router.targets.refusal import lesson

SENT = ("model", "messages", "stream", "stream_options", "temperature", "top_p", "seed", "stop", "max_tokens", "tools", "tool_choice")
EVERY = (*SENT, "presence_penalty", "frequency_penalty", "reasoning_effort")
UNKNOWN = Facts()
CLAUDE = (*SENT, "thinking", "output_config", "stop_sequences")


@dataclass(frozen=True)
class Case:
    """A refusal, and its expected lesson as text; None if it teaches nothing. `sent`: the fields of the refused request."""

    body: Any
    lesson: str | None
    sent: tuple[str, ...] = EVERY
    status: int = 400
    facts: Facts = UNKNOWN


def openai(message: str, param: str | None = None) -> Any:
    """Return an error body in OpenAI's form."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": "unsupported_parameter"}}


def claude(message: str) -> Any:
    """Return an error body in Anthropic's form."""
    return {"type": "error", "error": {"type": "invalid_request_error", "message": message}}


def mistral(*place: str) -> Any:
    """Return a validation error in Mistral's form, for the field at this path."""
    told = {"type": "extra_forbidden", "loc": ["body", *place], "msg": "Extra inputs are not permitted", "input": 0.0}
    return {"object": "error", "message": {"detail": [told]}, "type": "invalid_request_error", "param": None, "code": None}


def google(message: str) -> Any:
    """Return an error body in the form of Google's OpenAI API."""
    return [{"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}]


CASES: Mapping[str, Case] = {
    # OpenAI: BerriAI/litellm#13714 and #39631, openai/openai-openapi#541.
    "openai: another name": Case(
        openai("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "max_tokens"),
        "max_tokens:max_completion_tokens",
    ),
    "openai: only the default": Case(
        openai(
            "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is supported.", "temperature"
        ),
        "temperature",
    ),
    "openai: stop": Case(openai("Unsupported parameter: 'stop' is not supported with this model.", "stop"), "stop"),
    "openai: another api": Case(
        openai(
            "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. Please use /v1/responses instead.",
            "reasoning_effort",
        ),
        "reasoning_effort:responses",
    ),
    "openai: efforts listed": Case(
        openai(
            "Unsupported value: 'none' is not supported with the 'o3' model. Supported values are: 'low', 'medium', and 'high'.",
            "reasoning_effort",
        ),
        "reasoning_effort:low|medium|high",
    ),
    "openai: summaries need a verified organisation": Case(
        openai("Your organization must be verified to generate reasoning summaries.", "reasoning.summary"),
        "reasoning_summary",
        ("model", "input", "reasoning"),
    ),
    "openai: too large": Case(
        openai("max_tokens is too large: 100000. This model supports at most 16384 completion tokens.", "max_tokens"),
        "max_tokens:at_most_16384",
    ),
    # Anthropic: UKGovernmentBEIS/inspect_ai#3721, OpenHands/software-agent-sdk#3427, BerriAI/litellm#15097.
    "anthropic: deprecated": Case(claude("`temperature` is deprecated for this model."), "temperature", CLAUDE),
    "anthropic: both": Case(
        claude("`temperature` and `top_p` cannot both be specified for this model. Please use only one."), "top_p", CLAUDE
    ),
    "anthropic: adaptive": Case(
        claude('"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort".'),
        "thinking:adaptive",
        CLAUDE,
        facts=Facts(thinking="budget"),
    ),
    "anthropic: budget": Case(
        claude("adaptive thinking is not supported on this model"), "thinking:budget", CLAUDE, facts=Facts(thinking="adaptive")
    ),
    "anthropic: extra input": Case(claude("seed: Extra inputs are not permitted"), "seed", CLAUDE),
    # Mistral: mistralai/platform-docs-public#7.
    "mistral: extra input": Case(mistral("frequency_penalty"), "frequency_penalty", status=422),
    "mistral: its own name": Case(mistral("random_seed"), "seed", ("model", "messages", "random_seed"), status=422),
    "mistral: in a message": Case(mistral("messages", "3", "assistant", "reasoning_content"), None, status=422),
    # Moonshot: NousResearch/hermes-agent#9125.
    "moonshot": Case(
        {"error": {"message": "invalid temperature: only 1 is allowed for this model", "type": "invalid_request_error"}}, "temperature"
    ),
    # Groq: CherryHQ/cherry-studio#1099, iamsrikanthnani/pluely#219.
    "groq: unsupported": Case(
        {"error": {"message": "property 'reasoning_effort' is unsupported, did you mean 'reasoning_format'?"}}, "reasoning_effort"
    ),
    "groq: one of": Case(
        {"error": {"message": "`reasoning_effort` must be one of `low`, `medium`, or `high`", "type": "invalid_request_error"}},
        "reasoning_effort:low|medium|high",
    ),
    # xAI: BerriAI/litellm#16265, lobehub/lobehub#7370.
    "xai: camel case": Case(
        {"code": "Client specified an invalid argument", "error": "Model grok-4-latest does not support parameter reasoningEffort."},
        "reasoning_effort",
    ),
    "xai: argument": Case({"error": "Argument not supported on this model: presencePenalty", "provider": "xai"}, "presence_penalty"),
    # Cerebras: the form of egoist/chatwise-releases#1442.
    "cerebras": Case(
        {"message": "body.seed: property 'body.seed' is unsupported", "param": "validation_error", "code": "wrong_api_format"}, "seed"
    ),
    # vLLM: vllm-project/vllm's validators.
    "vllm: range": Case({"object": "error", "message": "temperature must be non-negative, got -1.0", "code": 400}, "temperature"),
    "vllm: extra": Case(
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]},
        "stream_options",
        status=422,
    ),
    # Google: n4ze3m/page-assist#418, PublicAffairs/openai-gemini#63.
    "google: unknown name": Case(
        google('Invalid JSON payload received. Unknown name "frequency_penalty": Cannot find field.'), "frequency_penalty"
    ),
    "google: penalties": Case(google("Penalty is not enabled for models/gemini-2.5-flash-preview-05-20"), "frequency_penalty"),
    # DeepSeek: its API's range check.
    "deepseek: range": Case(openai("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"), "max_tokens:at_most_8192"),
    # Alibaba: its API's range check.
    "alibaba: range": Case(
        openai("<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]"), "max_tokens:at_most_8192"
    ),
    # OpenRouter: its documents of errors: the provider's own body is a text in `metadata`.
    "openrouter: passed on": Case(
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {"raw": json.dumps(openai("Unsupported parameter.", "temperature")), "provider_name": "OpenAI"},
            }
        },
        "temperature",
    ),
    # Azure, where it does not name the parameter as it was sent.
    "azure: names in other letters": Case(
        openai("this model is not supported MaxTokens, please use MaxCompletionTokens"), "max_tokens:max_completion_tokens"
    ),
    "anthropic: only while it does not think": Case(
        claude("`temperature` may only be set to 1 when thinking is enabled or in adaptive mode."), "temperature", CLAUDE
    ),
    "zod: unknown keys": Case({"error": {"issues": [{"code": "unrecognized_keys", "message": "Unrecognized key(s): 'seed'"}]}}, "seed"),
    "ajv: unknown keys": Case(
        {"errors": [{"params": {"additionalProperty": "seed"}, "message": "must NOT have additional properties"}]}, "seed"
    ),
    "a field beside its message": Case({"errors": [{"field": "seed", "message": "unexpected field"}]}, "seed"),
    "a reason alone": Case({"reason": "temperature is not supported"}, "temperature"),
    "in chinese": Case({"error": {"code": "1210", "message": "API 调用参数有误，请检查文档。temperature 参数非法"}}, "temperature"),
    **{
        f"in other words: {words}": Case(openai(words), "temperature")
        for words in (
            "this model doesn't support temperature",
            "temperature isn't supported by this model",
            "this model does not take temperature",
            "this model does not allow temperature",
            "'temperature' is not a valid parameter",
            "temperature is not implemented",
            "parameter temperature is forbidden",
            "temperature should be 1 for this model",
            "temperature is fixed to 1",
            "temperature: only default value allowed",
            "temperature must equal 1",
            "No such parameter: temperature",
        )
    },
    "a wrong tool choice": Case(openai("tool_choice: forced tool use is not supported for this model."), "tool_choice:auto"),
    "no json": Case("temperature is not supported", "temperature"),
    # What teaches nothing.
    "tools": Case(openai("Unsupported parameter: 'tools' is not supported with this model.", "tools"), None),
    "messages": Case(openai("Invalid value for 'messages[1].content'.", "messages[1].content"), None),
    "the user's words": Case(openai("Invalid content: 'what temperature has the sea' is not allowed."), None),
    "a tool's own field": Case(
        openai(
            "Invalid schema for function 'f': In context=('properties', 'temperature'), 'type' is missing.", "tools[0].function.parameters"
        ),
        None,
    ),
    "too long, of vLLM": Case(
        openai(
            "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is 4096 tokens and your "
            "request has 1000 input tokens (5000 > 4096 - 1000)."
        ),
        None,
    ),
    "too long, of Anthropic": Case(
        claude("input length and `max_tokens` exceed context limit: 199000 + 21333 > 200000, decrease input length or `max_tokens`"),
        None,
        CLAUDE,
    ),
    "too long, of xAI": Case({"error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens."}, None),
    "what was not sent": Case(openai("Unsupported parameter: 'logprobs' is not supported with this model.", "logprobs"), None),
    "a filter": Case(openai("The response was filtered due to the prompt triggering Azure OpenAI's content management policy."), None),
    "a key": Case(openai("temperature is not supported", "temperature"), None, status=401),
    "a quota": Case(openai("max_tokens is too large for your quota", "max_tokens"), None, status=429),
    "a server that broke": Case(openai("temperature is not supported", "temperature"), None, status=500),
    "nothing": Case("", None),
    "deep": Case("[" * 100_000, None),
}


@pytest.mark.parametrize("name", CASES)
def test_refusal_of_a_parameter_gives_its_lesson(name: str) -> None:
    """A refusal gives a lesson about the parameter that it names and that was sent, such as `max_tokens:at_most_8192`, or none."""
    case = CASES[name]
    body = case.body if isinstance(case.body, str) else json.dumps(case.body)
    found = lesson(case.status, body, case.sent, case.facts)
    assert (found and str(found)) == case.lesson


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.lesson])
def test_lesson_changes_the_facts_of_its_model(name: str) -> None:
    """The lesson of each refusal in CASES, once applied, gives facts that differ from those before; which ones is not checked here."""
    case = CASES[name]
    body = case.body if isinstance(case.body, str) else json.dumps(case.body)
    found = lesson(case.status, body, case.sent, case.facts)
    assert found is not None
    changed = found.applied(case.facts)
    assert changed != case.facts
