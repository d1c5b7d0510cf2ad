"""LiteLLM's table of models, which it ships as data: provider, window, prices, and flags for what a model accepts.

Read once, in 10 ms, without importing LiteLLM. The table names OpenAI's and Anthropic's models without their provider.
"""

import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from router.config.limits import Price
from router.targets.family import Family, parsed

PURPOSES = frozenset({"audio", "chat", "codex", "cyber", "deep", "image", "oss", "realtime", "research", "search", "tts", "vision"})
"""Words of variants that are made for something else, and say nothing of their plain siblings."""
STRANGE = 2
"""Words in which the names of two models of one family may differ: gpt-7-nova and gpt-6.1-sol."""
TABLE = "model_prices_and_context_window_backup.json"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One model, as the table has it. A flag that is None says nothing: most flags are given only where they differ."""

    litellm_provider: Any = None
    mode: Any = None
    max_input_tokens: Any = None
    max_output_tokens: Any = None
    max_tokens: Any = None
    input_cost_per_token: Any = None
    output_cost_per_token: Any = None
    supported_endpoints: Any = None
    supports_reasoning: Any = None
    supports_adaptive_thinking: Any = None
    thinking_always_on: Any = None
    supports_output_config: Any = None
    supports_none_reasoning_effort: Any = None
    supports_minimal_reasoning_effort: Any = None
    supports_xhigh_reasoning_effort: Any = None
    supports_max_reasoning_effort: Any = None
    reasoning_effort_levels: Any = None
    default_reasoning_effort: Any = None
    supports_sampling_params: Any = None
    supports_assistant_prefill: Any = None
    supports_forced_tool_use: Any = None
    supports_vision: Any = None
    supports_pdf_input: Any = None
    supports_response_schema: Any = None

    @property
    def provider(self) -> str:
        """LiteLLM's name of the provider."""
        return self.litellm_provider if isinstance(self.litellm_provider, str) else ""

    @property
    def window(self) -> int | None:
        """Tokens that the model reads."""
        told = self.max_input_tokens or self.max_tokens
        return told if isinstance(told, int) else None

    @property
    def output(self) -> int | None:
        """Tokens that the model writes at most."""
        return self.max_output_tokens if isinstance(self.max_output_tokens, int) else None

    @property
    def price(self) -> Price | None:
        """Dollars for a million tokens; the table has them for one."""
        costs = (self.input_cost_per_token, self.output_cost_per_token)
        numbers = [round(cost * 1_000_000, 6) for cost in costs if isinstance(cost, int | float)]
        return Price(input=numbers[0], output=numbers[1]) if len(numbers) == 2 else None


@cache
def entries() -> Mapping[str, Entry]:
    """provider/model → its entry; also by the table's own name. Empty where LiteLLM is not installed. Blocks when it is first read."""
    found = importlib.util.find_spec("litellm")
    if found is None or found.origin is None:
        return {}
    try:
        listed = msgspec.json.decode((Path(found.origin).parent / TABLE).read_bytes(), type=dict[str, Entry])
    except (OSError, msgspec.DecodeError):
        return {}
    named = dict(listed)
    for name, entry in listed.items():
        if not name.startswith(f"{entry.provider}/"):
            named.setdefault(f"{entry.provider}/{name}", entry)
    return named


def about(model: str) -> Entry:
    """What the table says of a model, with its provider or without; an empty entry where it does not know it."""
    return entries().get(model, UNKNOWN)


UNKNOWN = Entry()


@cache
def families(provider: str) -> Mapping[str, tuple[tuple[Family, str], ...]]:
    """First word of the name → the chat models of a provider that begin with it."""
    grouped: dict[str, list[tuple[Family, str]]] = {}
    for name, entry in entries().items():
        if entry.provider == provider and entry.mode in ("chat", "responses") and name.startswith(f"{provider}/"):
            family = parsed(name)
            if family.words:
                grouped.setdefault(family.words[0], []).append((family, name))
    return {word: tuple(found) for word, found in grouped.items()}


def nearest(model: str) -> str | None:
    """The newest known model of the same family and generation, for a model (provider/name) that the table does not know; of the newest
    generation where none of the same is known. Of several, the one whose name differs in the fewest words.
    """
    provider = model.partition("/")[0]
    wanted = parsed(model)
    if not wanted.words:
        return None
    known = families(provider).get(wanted.words[0], ())

    def fitness(one: tuple[Family, str]) -> tuple[object, ...]:
        family, name = one
        strange = len(set(family.words) ^ set(wanted.words))
        generation = family.version[:1] == wanted.version[:1]
        return (
            generation,
            family.version == wanted.version,
            () if generation else family.version[:1],
            -strange,
            family.version,
            name,
        )

    purposes = PURPOSES & set(wanted.words)
    alike = (one for one in known if PURPOSES & set(one[0].words) <= purposes and len(set(one[0].words) ^ set(wanted.words)) <= STRANGE)
    return max(alike, key=fitness, default=(None, None))[1]
