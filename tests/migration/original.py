"""LiteLLM's own router over proxy configs, run in a process of its own for comparison with this router.

    python -m tests.migration.original < jobs.json > answers.json

A job is `{"config": …, "base": …, "questions": [{"model": …, "text": …, "times": 1}, …]}`. Each deployment is replaced by one of the fake
server at the base, whose label is its index in the model_list. Answers are the labels that came, null where no deployment answered.
Cooldowns are disabled, so each question is independent of the ones before.
"""

import asyncio
import copy
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "INITIAL_RETRY_DELAY": "0.01", "MAX_RETRY_DELAY": "0.02", "JITTER": "0.01"}

import litellm

from tests.migration.reading import with_includes

LIBRARY = ("num_retries", "request_timeout", "fallbacks", "context_window_fallbacks", "default_fallbacks", "allowed_fails", "drop_params")
DEFAULTS = {key: getattr(litellm, key) for key in LIBRARY}
LEFT_OUT = ("litellm_credential_name", "organization", "max_retries")
"""Deployment parameters without influence on the routing: keys, and retries of the provider's client."""
ELSEWHERE = ("redis_", "optional_pre_call_checks", "enable_pre_call_checks", "enable_tag_filtering")
"""Prefixes of router settings without influence on the order of deployments."""


def router(config: dict[str, Any], base: str) -> Any:
    """Return the LiteLLM router that the proxy would make of this config, with its deployments moved to the fake server."""
    models: list[dict[str, Any]] = []
    for place, entry in enumerate(config["model_list"]):
        params = {key: value for key, value in entry["litellm_params"].items() if key not in LEFT_OUT}
        params |= {
            "api_base": f"{base}/d{place}" + ("" if "claude" in params["model"] or "anthropic" in params["model"] else "/v1"),
            "api_key": "sk-test",
        }
        models.append({**entry, "litellm_params": params, "model_info": {"id": f"d{place}", **entry.get("model_info", {})}})
    settings = {key: value for key, value in config.get("router_settings", {}).items() if not key.startswith(ELSEWHERE)}
    settings["disable_cooldowns"] = True
    made: Any = litellm
    return made.Router(model_list=models, ignore_invalid_deployments=True, **settings)


async def answers(job: dict[str, Any]) -> list[list[str | None]]:
    """Return the answers to each question of a job, one for each time that it is asked."""
    config = with_includes(Path(job["config"]))
    for key in LIBRARY:
        setattr(litellm, key, copy.deepcopy(config.get("litellm_settings", {}).get(key, DEFAULTS[key])))
    made = router(config, job["base"])
    return [[await answer(made, one["model"], one["text"]) for _ in range(one["times"])] for one in job["questions"]]


async def answer(made: Any, model: str, text: str) -> str | None:
    """Return the text of one answer; None if LiteLLM raised an error."""
    try:
        stream = await made.acompletion(model=model, messages=[{"role": "user", "content": text}], stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    except Exception:  # noqa: BLE001 - whatever it raises: nobody answered
        return None


async def all_answers(jobs: list[dict[str, Any]]) -> list[list[list[str | None]]]:
    """Return the answers of each job."""
    return [await answers(job) for job in jobs]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(all_answers(json.load(sys.stdin)))))
