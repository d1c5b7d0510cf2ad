"""Providers whose wire we read directly: LiteLLM's prefix → where they are, and how their dialect differs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider of the OpenAI wire.

    base: its API, with the version in the path; empty where only the operator knows
    path: put after an `api_base` that lacks it
    counts: whether it takes stream_options (those that do not count tokens unasked, or refuse the request)
    keyless: whether it may be asked without a key
    header: where the key goes; in `authorization` it stands after `Bearer`
    """

    base: str
    path: str = ""
    counts: bool = True
    keyless: bool = False
    header: str = "authorization"


PROVIDERS = {
    "openai": Provider("https://api.openai.com/v1"),
    "azure": Provider("", header="api-key"),
    "cerebras": Provider("https://api.cerebras.ai/v1"),
    "deepseek": Provider("https://api.deepseek.com/v1"),
    "fireworks_ai": Provider("https://api.fireworks.ai/inference/v1"),
    "groq": Provider("https://api.groq.com/openai/v1"),
    "hosted_vllm": Provider("", keyless=True),
    "llamafile": Provider("http://127.0.0.1:8080/v1", keyless=True),
    "lm_studio": Provider("http://127.0.0.1:1234/v1", keyless=True),
    "mistral": Provider("https://api.mistral.ai/v1", counts=False),
    "ollama_chat": Provider("http://127.0.0.1:11434/v1", path="/v1", keyless=True),
    "openrouter": Provider("https://openrouter.ai/api/v1"),
    "perplexity": Provider("https://api.perplexity.ai", counts=False),
    "together_ai": Provider("https://api.together.xyz/v1"),
    "xai": Provider("https://api.x.ai/v1"),
}
