"""How much a model can read, by the table that LiteLLM ships as data. Read when a conversation was too long for some target,
and not before: it takes 0.15 s, in a thread, and does not import LiteLLM.
"""

import asyncio
import importlib.util
import json
from functools import cache
from pathlib import Path

TABLE = "model_prices_and_context_window_backup.json"


async def known(model: str) -> int | None:
    """Tokens that this model (provider/model) can read; None where the table does not say."""
    return (table() if table.cache_info().currsize else await asyncio.to_thread(table)).get(model)


@cache
def table() -> dict[str, int]:
    """provider/model → tokens. The table names OpenAI's and Anthropic's models without their provider."""
    found = importlib.util.find_spec("litellm")
    if found is None or found.origin is None:
        return {}
    try:
        listed: dict[str, dict[str, object]] = json.loads((Path(found.origin).parent / TABLE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    windows: dict[str, int] = {}
    for model, about in listed.items():
        window = about.get("max_input_tokens") or about.get("max_tokens")
        if isinstance(window, int):
            windows[model] = window
            windows.setdefault(f"{about.get('litellm_provider')}/{model}", window)
    return windows
