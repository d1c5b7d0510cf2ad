"""Finish reasons in the words of providers, and what they mean."""

from router.events import Reason

WORDS: dict[Reason, str] = {
    "stop": "stop end_turn stop_sequence eos",
    "length": "length max_tokens model_length model_context_window_exceeded max_output_tokens",
    "tool-calls": "tool_calls tool_use function_call",
    "content-filter": "content_filter refusal safety sensitive guardrail_intervened content_filtered prohibited_content blocklist spii "
    "recitation image_safety image_prohibited_content image_recitation model_armor",
    "unknown": "unknown",
}
REASONS: dict[str, Reason] = {word: reason for reason, words in WORDS.items() for word in words.split()}
"""Finish reason in a provider's word, in lower case → the reason of the answer. Any other word is the reason `other`."""
BROKEN = frozenset(
    (
        *("error", "network_error", "abort", "insufficient_system_resource"),
        *("aborted", "cancelled", "canceled", "failed", "internal_error", "server_error", "timeout"),
    )
)
"""Finish reasons that report a failure at the provider (OpenRouter and Mistral, Z.ai, vLLM, DeepSeek; Cohere, watsonx, gateways)."""
