"""What LiteLLM's table says of a model, which it ships as data: how much it can read, whose it is, what it is for. Read when a
conversation was too long for some target, and not before: it takes 0.15 s, in a thread, and does not import LiteLLM.
"""

import asyncio
import importlib.util
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from router.config.limits import Price

TABLE = "model_prices_and_context_window_backup.json"


@dataclass(frozen=True, slots=True)
class About:
    """One model. `provider` by LiteLLM's name for it; `mode` chat, embedding, …; `window` in tokens; what it costs; empty where it is not told."""

    provider: str = ""
    mode: str = ""
    window: int | None = None
    price: Price | None = None


async def priced(models: Iterable[str]) -> dict[str, Price]:
    """What those of these models cost whose price the table tells."""
    found = await asyncio.to_thread(lambda: {model: about(model).price for model in models})
    return {model: price for model, price in found.items() if price is not None}


async def known(model: str) -> int | None:
    """Tokens that this model (provider/model) can read; None where the table does not say."""
    return (about(model) if table.cache_info().currsize else await asyncio.to_thread(about, model)).window


def about(model: str) -> About:
    """What the table says of a model, with its provider or without. Blocks while the table is read for the first time."""
    return table().get(model, About())


def _price(told: Mapping[str, object]) -> Price | None:
    """Dollars for a million tokens; the table has them for one."""
    costs = [told.get(name) for name in ("input_cost_per_token", "output_cost_per_token")]
    numbers = [round(cost * 1_000_000, 6) for cost in costs if isinstance(cost, int | float)]
    return Price(input=numbers[0], output=numbers[1]) if len(numbers) == 2 else None


@cache
def table() -> dict[str, About]:
    """provider/model → what is told. The table names OpenAI's and Anthropic's models without their provider."""
    found = importlib.util.find_spec("litellm")
    if found is None or found.origin is None:
        return {}
    try:
        listed: dict[str, dict[str, object]] = json.loads((Path(found.origin).parent / TABLE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    models: dict[str, About] = {}
    for model, told in listed.items():
        window = told.get("max_input_tokens") or told.get("max_tokens")
        provider = str(told.get("litellm_provider") or "")
        models[model] = About(provider, str(told.get("mode") or ""), window if isinstance(window, int) else None, _price(told))
        models.setdefault(f"{provider}/{model}", models[model])
    return models
