"""What LiteLLM's table says of a model, which it ships as data: how much it can read, whose it is, what it is for. Read when a
conversation was too long for some target, and not before: it takes 0.15 s, in a thread, and does not import LiteLLM.
"""

import asyncio
import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = "model_prices_and_context_window_backup.json"


@dataclass(frozen=True, slots=True)
class About:
    """One model. `provider` by LiteLLM's name for it; `mode` chat, embedding, …; `window` in tokens; empty where it is not told."""

    provider: str = ""
    mode: str = ""
    window: int | None = None


async def known(model: str) -> int | None:
    """Tokens that this model (provider/model) can read; None where the table does not say."""
    return (about(model) if table.cache_info().currsize else await asyncio.to_thread(about, model)).window


def about(model: str) -> About:
    """What the table says of a model, with its provider or without. Blocks while the table is read for the first time."""
    return table().get(model, About())


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
        models[model] = About(provider, str(told.get("mode") or ""), window if isinstance(window, int) else None)
        models.setdefault(f"{provider}/{model}", models[model])
    return models
