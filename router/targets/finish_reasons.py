"""Finish reasons in the words of providers, and what they mean."""

from router.events import Reason

REASONS: dict[str, Reason] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "max_output_tokens": "length",
    "tool_calls": "tool-calls",
    "tool_use": "tool-calls",
    "function_call": "tool-calls",
    "content_filter": "content-filter",
    "refusal": "content-filter",
    "safety": "content-filter",
    "sensitive": "content-filter",
    "guardrail_intervened": "content-filter",
    "content_filtered": "content-filter",
    "prohibited_content": "content-filter",
    "blocklist": "content-filter",
    "spii": "content-filter",
    "recitation": "content-filter",
    "image_safety": "content-filter",
    "image_prohibited_content": "content-filter",
    "image_recitation": "content-filter",
    "model_armor": "content-filter",
    "unknown": "unknown",
}
"""Finish reason in a provider's word, in lower case → the reason of the answer. Any other word is the reason `other`."""
BROKEN = frozenset(
    (
        *("error", "network_error", "abort", "insufficient_system_resource"),
        *("aborted", "cancelled", "canceled", "failed", "internal_error", "server_error", "timeout"),
    )
)
"""Finish reasons that report a failure at the provider (OpenRouter and Mistral, Z.ai, vLLM, DeepSeek; Cohere, watsonx, gateways)."""
