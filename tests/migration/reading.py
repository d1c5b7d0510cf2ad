"""A reader of LiteLLM proxy configs that resolves `include` as LiteLLM does."""

from pathlib import Path
from typing import Any

import yaml


def with_includes(path: Path) -> dict[str, Any]:
    """Return a config merged with the files that it includes: lists are joined, other values come from the included file."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name in config.pop("include", []):
        for key, value in with_includes(path.parent / name).items():
            config[key] = [*config.get(key, []), *value] if isinstance(value, list) else value
    return config
