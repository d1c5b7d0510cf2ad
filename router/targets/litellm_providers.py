"""LiteLLM's providers: their names, and those that are refused. Does not import LiteLLM."""

from contextlib import suppress
from difflib import get_close_matches
from importlib.util import find_spec

from router.errors import Misfit

PROVIDERS = frozenset((
    "ai21", "ai21_chat", "aiml", "aiohttp_openai", "amazon_nova", "anthropic", "anthropic_text", "apertis", "azure", "azure_ai",
    "azure_text", "baseten", "bedrock", "bedrock_mantle", "bytez", "cerebras", "charity_engine", "chutes", "clarifai", "cloudflare",
    "codestral", "cognition", "cometapi", "compactifai", "cortecs", "custom_openai", "darkbloom", "dashscope", "databricks",
    "datarobot", "deepinfra", "deepseek", "docker_model_runner", "edenai", "empower", "featherless_ai", "fireworks_ai", "friendliai",
    "galadriel", "gdc", "gemini", "gigachat", "github", "gradient_ai", "groq", "helicone", "heroku", "hosted_vllm", "huggingface",
    "hyperbolic", "inception", "lambda_ai", "langgraph", "lemonade", "libertai", "litellm_proxy", "llamafile", "lm_studio", "maritalk",
    "meta", "meta_llama", "minimax", "mistral", "modelscope", "moonshot", "morph", "nano-gpt", "nebius", "neosantara", "nlp_cloud",
    "novita", "nscale", "nvidia_nim", "oci", "ollama", "ollama_chat", "oobabooga", "openai", "openai_like", "openrouter", "ovhcloud",
    "parasail", "perplexity", "petals", "pinstripes", "poe", "predibase", "publicai", "qwen_ai_platform", "qwencloud", "reka",
    "replicate", "sagemaker", "sagemaker_chat", "sagemaker_nova", "sail", "sambanova", "sap", "scaleway", "scx-ai", "snowflake",
    "synthetic", "tencent", "tensormesh", "text-completion-codestral", "text-completion-inception", "text-completion-openai",
    "together_ai", "triton", "v0", "vercel_ai_gateway", "vertex_ai", "vertex_ai_beta", "vllm", "volcengine", "wandb", "watsonx",
    "watsonx_text", "xai", "xiaomi_mimo", "xinference", "zai",
))  # fmt: skip
"""LiteLLM's names of the providers that answer chats. A test compares them with the library."""
OWN_CLIENT = "aiohttp_openai"
"""Provider that LiteLLM asks with a separate client, which takes no proxy and no CA."""
REFUSED = frozenset({"cohere", "cohere_chat"})
"""Providers from which LiteLLM cannot stream."""
GOOGLE = frozenset({"vertex_ai", "vertex_ai_beta"})
"""Providers for which LiteLLM needs Google's libraries, an optional dependency."""
ASKED = frozenset({"ollama", "ollama_chat"})
"""Providers whose server LiteLLM would ask about a model that is not in its list; the router adds such models to it first."""


def check_model(model: str) -> None:
    """Raise Misfit if the provider of a model is unknown, needs a package that is missing, or does not work through LiteLLM."""
    provider, _, name = model.partition("/")
    if provider in REFUSED:
        raise Misfit(f"`{provider}/` via LiteLLM is refused: LiteLLM cannot stream from it: leave `via` out", "model")
    if provider in GOOGLE and not _has_google():
        raise Misfit(
            f"`{provider}/` needs the package google-cloud-aiplatform; with a key, write `gemini/{name}`, or `api_key` here for express mode",
            "model",
        )
    if name.startswith("responses/"):
        # LiteLLM's way to the Responses API imports its proxy and the package `mcp`; with both, it fails at the first event.
        raise Misfit(
            f"`{provider}/responses/` via LiteLLM is refused: leave `via` out, or write `{provider}/{name.removeprefix('responses/')}`",
            "model",
        )
    if provider not in PROVIDERS:
        close = get_close_matches(provider, PROVIDERS, 1, 0.6)
        raise Misfit(f"no provider is named `{provider}`" + (f"; did you mean `{close[0]}/{name}`?" if close else ""), "model")


def _has_google() -> bool:
    with suppress(ModuleNotFoundError):
        return find_spec("google.auth") is not None
    return False
