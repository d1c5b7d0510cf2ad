"""LiteLLM's table of models, read as a file: provider, window, prices, and flags for what a model accepts.

It is read in 15 ms without importing LiteLLM. Models that it names without their provider also get a name with it.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, cast

import msgspec

from router.config.price import MILLION, Price, TieredPrice
from router.targets.family import Family, parsed
from router.value import asdict, replace

PURPOSES = frozenset({"audio", "chat", "codex", "cyber", "deep", "image", "oss", "realtime", "research", "search", "tts", "vision"})
"""Words for variants with a special purpose, whose facts do not apply to other models of the family."""
STRANGE = 2
"""The most words in which the names of two models of one family may differ: 2 in gpt-7-nova and gpt-6.1-sol."""
TIERS = (512, 272, 200, 128, 100)
"""Thousands of input tokens above which the table may have another price, the largest first."""
COSTS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "reasoning": "output_cost_per_reasoning_token",
}
"""Field of Price → the table's field."""
COSTS_APART = {
    "audio_input": "input_cost_per_audio_token",
    "audio_output": "output_cost_per_audio_token",
    "image_output": "output_cost_per_image_token",
}
"""Field of TieredPrice → the table's field."""
TABLE = "model_prices_and_context_window_backup.json"


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model's entry in LiteLLM's table. None means not stated. Values may have a wrong type, so the properties check them."""

    litellm_provider: Any = None
    mode: Any = None
    max_input_tokens: Any = None
    max_output_tokens: Any = None
    max_tokens: Any = None
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
    supports_audio_input: Any = None
    supports_response_schema: Any = None
    supports_native_structured_output: Any = None
    prompt_cache_min_tokens: Any = None
    stated: Mapping[str, Any] = {}
    """The whole entry, in which the prices are found by LiteLLM's names for them."""

    @property
    def provider(self) -> str:
        """Return the provider's prefix as in a target's `model`; empty if not stated. Variants of Bedrock and Vertex AI become these."""
        named = self.litellm_provider if isinstance(self.litellm_provider, str) else ""
        return named.removesuffix("_converse") if named.startswith("bedrock") else "vertex_ai" if named.startswith("vertex_ai-") else named

    @property
    def window(self) -> int | None:
        """Return the context window in tokens: `max_input_tokens`, else `max_tokens`; None if neither is stated."""
        stated = self.max_input_tokens or self.max_tokens
        return stated if isinstance(stated, int) else None

    @property
    def output(self) -> int | None:
        """Return the maximum of output tokens; None if not stated."""
        return self.max_output_tokens if isinstance(self.max_output_tokens, int) else None

    @property
    def price(self) -> Price | None:
        """Return the prices in dollars per million tokens; None if not stated.
        It is a TieredPrice if long prompts, service tiers, audio, images or web searches have prices of their own.
        """
        if (usual := self._costs("")) is None:
            return None
        more: dict[str, Any] = {
            "tiers": tuple(self._tiers("", usual)),
            "services": {service: price for service in ("flex", "priority") if (price := self._served(service, usual)) is not None},
            "search": self._search,
            **self._otherwise(""),
        }
        return TieredPrice(**asdict(usual), **more) if any(more.values()) else usual

    def _tiers(self, service: str, usual: Price) -> Iterator[tuple[int, Price]]:
        """Yield (input tokens above which it applies, price) for each stated price of long prompts, the longest first.
        `service`: suffix of a service tier's fields, such as `_flex`. `usual`: the price of shorter prompts, for unstated numbers.
        """
        for above in TIERS:
            if (price := self._costs(f"_above_{above}k_tokens{service}", usual)) is not None:
                yield above * 1000, price

    def _served(self, service: str, usual: Price) -> TieredPrice | None:
        """Return the price of a service tier; None if not stated.
        Cache prices that it lacks are those of `usual`. Unstated prices of long prompts are scaled like the price of short ones.
        """
        if (price := self._costs(f"_{service}")) is None:
            return None
        kept = {name: getattr(usual, name) for name in ("cached", "cache_write", "cache_write_1h") if getattr(price, name) is None}
        price = replace(price, **kept)
        stated = dict(self._tiers(f"_{service}", price))
        share = price.input / usual.input if usual.input else 1.0
        tiers = [(above, stated.get(above) or _scaled(long, share)) for above, long in self._tiers("", usual)]
        return TieredPrice(**asdict(price), tiers=tuple(tiers), search=self._search, **self._otherwise(f"_{service}"))

    def _otherwise(self, service: str) -> dict[str, Any]:
        """Return the prices of audio and image tokens by the fields of TieredPrice: those of a service tier, else the usual, else None."""
        named = COSTS_APART.items()
        return {ours: cost if (cost := self._cost(name, service)) is not None else self._cost(name, "") for ours, name in named}

    @property
    def _search(self) -> float:
        """Return the dollars per web search with a medium context (`search_context_size_medium`); 0 if not stated."""
        costs: object = self.stated.get("search_context_cost_per_query")
        cost: object = cast("dict[str, object]", costs).get("search_context_size_medium") if isinstance(costs, dict) else None
        return float(cost) if isinstance(cost, int | float) else 0.0

    def _costs(self, tier: str, usual: Price | None = None) -> Price | None:
        """Return the price in the fields with the suffix `tier`; None if its input is not stated.
        Other unstated numbers are those of `usual`. Without `usual`, an unstated output also gives None.
        """
        if self._cost(COSTS["input"], tier) is None:
            return None
        known = {ours: cost for ours, name in COSTS.items() if (cost := self._cost(name, tier)) is not None}
        if usual is not None:
            return replace(usual, **known)
        return Price(**known) if "output" in known else None

    def _cost(self, name: str, tier: str) -> float | None:
        cost: object = self.stated.get(name + tier)
        return round(cost * MILLION, 6) if isinstance(cost, int | float) else None


def _scaled(price: Price, share: float) -> Price:
    """Return a price with all numbers multiplied by `share`."""
    costs: dict[str, Any] = {name: None if cost is None else cost * share for name, cost in asdict(price).items()}
    return Price(**costs)


class _Maker(msgspec.Struct, frozen=True):
    """The provider and mode of a row, which are decoded for all rows at once."""

    litellm_provider: Any = None
    mode: Any = None

    provider = ModelRow.provider


class ModelTable(Mapping[str, ModelRow]):
    """The rows of LiteLLM's table, each by provider/model and by the table's own name. A row is decoded anew at each look-up."""

    def __init__(self, rows: Mapping[str, msgspec.Raw], makers: Mapping[str, _Maker]) -> None:
        self._rows = rows
        self.makers = makers
        """Name of a model → its provider and mode."""

    def __getitem__(self, name: str) -> ModelRow:
        stated = msgspec.json.decode(self._rows[name], type=dict[str, Any])
        return msgspec.convert({**stated, "stated": stated}, ModelRow)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


@cache
def entries() -> ModelTable:
    """Return LiteLLM's table, empty without LiteLLM or its file. Cached after the first call, which reads the file and blocks."""
    found = importlib.util.find_spec("litellm")
    if found is None or found.origin is None:
        return ModelTable({}, {})
    try:
        data = (Path(found.origin).parent / TABLE).read_bytes()
        rows = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        makers = msgspec.json.decode(data, type=dict[str, _Maker])
    except (OSError, msgspec.DecodeError):
        return ModelTable({}, {})
    for name, row in list(rows.items()):
        maker = makers[name]
        prefix = f"{maker.provider}/"
        if not name.startswith(prefix) and (full := prefix + name) not in rows:
            rows[full], makers[full] = row, maker
    return ModelTable(rows, makers)


def forget_table() -> None:
    """Free the table's memory (4 MB); the next look-up reads it again."""
    entries.cache_clear()
    families.cache_clear()
    _nearest.cache_clear()


def about(model: str) -> ModelRow:
    """Return the entry of a model, named with or without its provider; an empty entry if it is unknown."""
    return entries().get(model, ModelRow())


@cache
def families(provider: str) -> Mapping[str, tuple[tuple[Family, str], ...]]:
    """Return a provider's chat models as first word of the name → tuples of (family, name in the table). The result is cached."""
    grouped: dict[str, list[tuple[Family, str]]] = {}
    prefix = f"{provider}/"
    for name, maker in entries().makers.items():
        ours = name.startswith(prefix) and maker.mode in ("chat", "responses") and maker.provider == provider
        if ours and (family := parsed(name)).words:
            grouped.setdefault(family.words[0], []).append((family, name))
    return {word: tuple(found) for word, found in grouped.items()}


def nearest(model: str) -> str | None:
    """Return the table's name of the model most like one (provider/name) that it lacks; None if there is none alike.

    Alike: the same provider and first word, at most STRANGE different words, and no special purpose (PURPOSES) that the given one lacks.
    Preferred, in this order: the same generation, the same version, the nearest generation, the fewest differing words, the newest version.
    Without a version of its own, the newest generation; for a model older than all that are known, the oldest version.
    """
    wanted = parsed(model)
    return _nearest(model.partition("/")[0], wanted) if wanted.words else None


@lru_cache(maxsize=1024)  # targets repeat a few models
def _nearest(provider: str, wanted: Family) -> str | None:

    def fitness(one: tuple[Family, str]) -> tuple[object, ...]:
        family, name = one
        strange = len(set(family.words) ^ set(wanted.words))
        generation = family.version[:1] == wanted.version[:1]
        version: tuple[int, ...] = family.version
        if wanted.version and version[:1] > wanted.version[:1]:
            version = tuple(-number for number in version)  # of newer ones the oldest, after all that are older
        return (generation, family.version == wanted.version, () if generation else version[:1], -strange, version, name)

    purposes = PURPOSES & set(wanted.words)
    siblings = families(provider).get(wanted.words[0], ())
    known = [one for one in siblings if ("oss" in one[0].words) == ("oss" in purposes)]  # gpt-oss is no gpt-5
    alike = (one for one in known if PURPOSES & set(one[0].words) <= purposes and len(set(one[0].words) ^ set(wanted.words)) <= STRANGE)
    return max(alike, key=fitness, default=(None, None))[1]
