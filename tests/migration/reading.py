"""A config of LiteLLM's proxy, read as its own gateway reads it."""

from pathlib import Path
from typing import Any

import yaml


def with_includes(path: Path) -> dict[str, Any]:
    """Return a config with what it includes."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name in config.pop("include", []):
        for key, value in with_includes(path.parent / name).items():
            config[key] = [*config.get(key, []), *value] if isinstance(value, list) else value
    return config
