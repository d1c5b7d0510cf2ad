"""The account of an import from LiteLLM: each value of the config is carried over, reported in a comment, or holds here anyway."""

import copy
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.errors import ConfigError
from router.migration import Imported, from_litellm
from router.migration.page import LOST
from tests.migration.test_import import CONFIGS

NUMBERS = st.integers(1, 40)
NOTHING: dict[str, st.SearchStrategy[Any]] = {}
PARAMS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "model": st.sampled_from(
            ["openai/gpt-4o", "openai/own", "anthropic/claude-sonnet-4-5", "azure/d", "no/such", "text-embedding-3-small"]
        )
    },
    optional={
        **dict.fromkeys(("weight", "rpm", "tpm", "order", "max_parallel_requests", "timeout", "stream_timeout", "num_retries"), NUMBERS),
        **dict.fromkeys(("max_retries", "max_tokens", "max_completion_tokens", "n"), NUMBERS),
        **dict.fromkeys(("temperature", "input_cost_per_token", "output_cost_per_token"), st.sampled_from([0.25, 0.5, "os.environ/N"])),
        **dict.fromkeys(
            ("api_key", "organization", "custom_llm_provider"), st.sampled_from(["os.environ/K", "os.environ/no name", "sk-1", "none"])
        ),
        **dict.fromkeys(("api_base", "base_url"), st.sampled_from(["http://h/v1", "http://u:p@h?x", "os.environ/B", "http://["])),
        **dict.fromkeys(("api_version", "tags", "frobnicate"), st.sampled_from(["a b", "2024-10-21"])),
        "drop_params": st.booleans(),
        "ssl_verify": st.booleans(),
        "extra_headers": st.just({"a": "b"}),
    },
)
INFO: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["one", "two"]),
        "mode": st.sampled_from(["chat", "embedding"]),
        "base_model": st.sampled_from(["azure/gpt-4o", "nobody/knows"]),
        **dict.fromkeys(("max_input_tokens", "input_cost_per_token", "order", "weight", "rpm"), NUMBERS),
        **dict.fromkeys(("team_id", "description", "tier"), st.just("t")),
        "supports_vision": st.booleans(),
    },
)
ENTRIES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"model_name": st.sampled_from(["a", "a", "b", "c*"]), "litellm_params": PARAMS}, optional={"model_info": INFO, "rpm": NUMBERS}
)
SHARED: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("num_retries", "timeout", "stream_timeout", "request_timeout", "retry_after"), NUMBERS | st.just("os.environ/N")),
    **dict.fromkeys(("allowed_fails", "cooldown_time", "max_fallbacks"), NUMBERS),
    **dict.fromkeys(
        ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"), st.sampled_from([[{"a": ["b"]}], [{"zz": ["a"]}], ["b"]])
    ),
    **dict.fromkeys(("frobnicate", "set_verbose", "drop_params", "ssl_verify", "disable_cooldowns"), st.booleans()),
}
ROUTER: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        **SHARED,
        "routing_strategy": st.sampled_from(["simple-shuffle", "least-busy", "usage-based-routing-v2", "cost-based-routing"]),
        "enable_pre_call_checks": st.booleans(),
        "model_group_alias": st.sampled_from([{"b": "a"}, {"x": "nobody"}]),
        "redis_host": st.just("h"),
        "retry_policy": st.just({"TimeoutErrorRetries": 3}),
    },
)
LIBRARY: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        **SHARED,
        "cache": st.booleans(),
        "cache_params": st.fixed_dictionaries(
            NOTHING,
            optional={"type": st.sampled_from(["local", "redis", "s3"]), "ttl": NUMBERS, "host": st.just("h"), "namespace": st.just("n")},
        ),
        "callbacks": st.just(["langfuse"]),
        "default_fallbacks": st.just(["b"]),
    },
)
GENERAL: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "master_key": st.just("sk-1"),
        "completion_model": st.sampled_from(["a", "nobody"]),
        "global_max_parallel_requests": NUMBERS,
        "frobnicate": NUMBERS,
    },
)
CONFIG: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"model_list": st.lists(ENTRIES, min_size=1, max_size=4)},
    optional={
        "router_settings": ROUTER,
        "litellm_settings": LIBRARY,
        "general_settings": GENERAL,
        "environment_variables": st.just({"X": "y"}),
        "guardrails": st.just([{"a": "b"}]),
        "credential_list": st.just([{"credential_name": "c", "credential_values": {"api_key": "k"}, "credential_info": {"d": "e"}}]),
    },
)


def leaves(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the path of every value of a config, as the account names it; a value that the account treats as a whole has one path."""
    for name, section in config.items():
        if name in ("model_list", "credential_list"):
            for place, entry in enumerate(section):
                for key, value in entry.items():
                    yield from _below(f"{name}[{place}].{key}", value, {"litellm_params", "model_info", "credential_values"})
        elif name in ("router_settings", "litellm_settings", "general_settings"):
            for key, value in section.items():
                yield from _below(f"{name}.{key}", value, {"cache_params"})
        else:
            yield name


def _below(path: str, value: object, opened: set[str]) -> Iterator[str]:
    if value and isinstance(value, dict) and path.rpartition(".")[2] in opened:
        yield from (f"{path}.{key}" for key in value)  # pyright: ignore[reportUnknownVariableType]
        return
    yield path


def made_of(folder: Path, config: Mapping[str, Any]) -> Imported | None:
    """Import this config; return None if it is refused."""
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    try:
        return from_litellm(folder / "config.yaml")
    except ConfigError:
        return None


def comments(made: Imported) -> str:
    """Return the text of all comments in the imported file."""
    return "\n".join(line.partition("#")[2] for line in made.text.splitlines() if "#" in line)


SAID_AS_ONE = {"timeout", "stream_timeout", "num_retries", "max_retries"}
"""Keys that a comment names in other words: `a timeout for each deployment`, `retries for each deployment`."""


def named_in_comment(path: str, config: Mapping[str, Any], said: str) -> bool:
    """Return whether the comments in `said` name this value of a LiteLLM config, or name the entry of `model_list` that it belongs to."""
    key = path.rpartition(".")[2]
    words = [key.partition("[")[0], *(["for each deployment"] if key in SAID_AS_ONE else [])]
    if key.endswith("cost_per_token"):
        words.append("a price of one kind")
    if key in ("host", "redis_host"):
        words.append("host, port and password")
    if path.startswith("model_list["):
        entry = config["model_list"][int(path[len("model_list[") : path.index("]")])]
        words.append(f"{entry['model_name']} (")
        words.append(f"{entry['model_name']}: a route has a name, not a pattern")
        words += [f"{LOST}{name}" for name in ("a-", f"{entry['model_name']}: ", f"{entry['model_name']}-", "one", "two")]
    return any(word in said for word in words)


@given(CONFIG)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_each_value_of_a_litellm_config_is_accounted_for(tmp_path: Path, config: dict[str, Any]) -> None:
    """Each value of an arbitrary LiteLLM config has an outcome (`carried`, `told` or `alike`), and a comment names each `told` one."""
    made = made_of(tmp_path, config)
    if made is None:
        return
    assert set(made.outcomes) == set(leaves(config))
    said = comments(made)
    for path, outcome in made.outcomes.items():
        if outcome == "told":
            assert named_in_comment(path, config, said), (path, made.text)


@given(CONFIG, st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_litellm_value_that_counts_as_carried_over_changes_the_output(tmp_path: Path, config: dict[str, Any], data: st.DataObject) -> None:
    """A config without one of its `carried` weights or limits is imported differently: with other YAML or other outcomes."""
    made = made_of(tmp_path, config)
    if made is None:
        return
    places = [
        (place, part, key)
        for place in range(len(config["model_list"]))
        for part, key in itertools.product(("litellm_params", "model_info"), ("weight", "rpm", "tpm", "max_parallel_requests"))
        if made.outcomes.get(f"model_list[{place}].{part}.{key}") == "carried"
    ]
    if not places:
        return
    place, part, key = data.draw(st.sampled_from(places))
    other = copy.deepcopy(config)
    del other["model_list"][place][part][key]
    again = made_of(tmp_path, other)
    assert again is not None
    gone = f"model_list[{place}].{part}.{key}"
    others = {path: outcome for path, outcome in made.outcomes.items() if path != gone}
    assert (yaml.safe_load(again.text), again.outcomes) != (yaml.safe_load(made.text), others)


CASES = {
    "a limit that one of two has": (
        (
            "  - {model_name: a, litellm_params: {model: openai/x, rpm: 5}}\n  - {model_name: a, litellm_params: {model: openai/y}}\n"
            "router_settings: {enable_pre_call_checks: true, routing_strategy: least-busy}"
        ),
        "rpm as a limit: 1 of 2 deployments have one",
    ),
    "a weight where nobody shares by it": (
        "  - {model_name: a, litellm_params: {model: openai/x, weight: 5}}\nrouter_settings: {routing_strategy: least-busy}",
        "weight: the original neither holds",
    ),
    "weights of different orders": (
        (
            "  - {model_name: a, litellm_params: {model: openai/x, weight: 3, order: 1}}\n"
            "  - {model_name: a, litellm_params: {model: openai/y, weight: 1, order: 2}}"
        ),
        "weight: it shares nothing",
    ),
    "a rate of different orders": (
        (
            "  - {model_name: a, litellm_params: {model: openai/x, tpm: 3, order: 1}}\n"
            "  - {model_name: a, litellm_params: {model: openai/y, tpm: 1, order: 2}}"
        ),
        "tpm: there is no limit for one target",
    ),
    "at one time, of one of two": (
        "  - {model_name: a, litellm_params: {model: openai/x, max_parallel_requests: 5}}\n  - {model_name: a, litellm_params: {model: openai/y}}",
        "max_parallel_requests: there is no limit for one target",
    ),
    "a rate beside the parameters": (
        "  - {model_name: a, rpm: 5, litellm_params: {model: openai/x}}",
        "model_list[0].rpm: no equal here",
    ),
    "retries that differ": (
        (
            "  - {model_name: a, litellm_params: {model: openai/x, num_retries: 1}}\n"
            "  - {model_name: a, litellm_params: {model: openai/y, num_retries: 4}}"
        ),
        "retries for each deployment (1, 4)",
    ),
    "two timeouts": (
        "  - {model_name: a, litellm_params: {model: openai/x, timeout: 9, stream_timeout: 5}}",
        "timeout: what another setting",
    ),
    "two addresses": (
        "  - {model_name: a, litellm_params: {model: openai/x, api_base: 'http://h/v1', base_url: 'http://i/v1'}}",
        "base_url: `api_base` stands beside it",
    ),
    "what two sections say": (
        "  - {model_name: a, litellm_params: {model: openai/x}}\nrouter_settings: {num_retries: 1}\nlitellm_settings: {num_retries: 2}",
        "litellm_settings.num_retries: what another setting",
    ),
    "a certificate that is not verified": (
        "  - {model_name: a, litellm_params: {model: openai/x}}\nlitellm_settings: {ssl_verify: false}",
        "litellm_settings.ssl_verify: certificates are always verified",
    ),
    "the header of end users": (
        "  - {model_name: a, litellm_params: {model: openai/x}}\ngeneral_settings: {user_header_name: X-OpenWebUI-User-Id}",
        "general_settings.user_header_name: the key of a front end says how it names its users",
    ),
    "a budget of end users": (
        "  - {model_name: a, litellm_params: {model: openai/x}}\nlitellm_settings: {max_end_user_budget: 1}",
        "litellm_settings.max_end_user_budget: write `limit: {spend: …, per: user}`",
    ),
    "fallbacks of a group that there is not": (
        "  - {model_name: a, litellm_params: {model: openai/x}}\nrouter_settings: {fallbacks: [{zz: [a]}]}",
        "fallbacks of zz: no route here has this name",
    ),
    "a number in the environment": (
        "  - {model_name: a, litellm_params: {model: openai/x, rpm: os.environ/N}}\nrouter_settings: {num_retries: os.environ/N}",
        "router_settings.num_retries: its value stands in the environment",
    ),
    "a cache that is no chat's": (
        "  - {model_name: a, litellm_params: {model: openai/x}}\nlitellm_settings: {cache: true, cache_params: {type: s3, ttl: 60}}",
        "litellm_settings.cache_params.ttl: no equal here",
    ),
    "a credential that nobody uses": (
        (
            "  - {model_name: a, litellm_params: {model: openai/x}}\n"
            "credential_list: [{credential_name: c, credential_values: {api_key: sk-1}}]"
        ),
        "credential_list[0].credential_values.api_key: no equal here",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_litellm_setting_that_cannot_be_carried_over_in_a_case_is_reported(tmp_path: Path, case: str) -> None:
    """A setting that has an equivalent in general, but not in this config, is named in a comment with the reason."""
    config, told = CASES[case]
    made = made_of(tmp_path, yaml.safe_load(f"model_list:\n{config}\n"))
    assert made is not None
    assert told in comments(made)


@pytest.mark.parametrize("name", ["team", "product", "enterprise"])
def test_each_value_of_a_large_litellm_config_is_accounted_for(name: str) -> None:
    """Each value of a large config with includes, anchors and merges has an outcome, and each of the three outcomes occurs."""
    made = from_litellm(CONFIGS / f"{name}.yaml")
    assert set(made.outcomes.values()) == {"carried", "told", "alike"}
    assert [path for path in made.outcomes if path.startswith("model_list[0].litellm_params.")]


def test_yaml_anchor_is_accounted_for_at_each_of_its_uses(tmp_path: Path) -> None:
    """A value that two deployments share by a YAML anchor has a separate outcome for each: here `carried` and `alike`."""
    (tmp_path / "config.yaml").write_text(
        "x: &shared {model: openai/x, weight: 3}\n"
        "model_list:\n"
        "  - {model_name: a, litellm_params: *shared}\n"
        "  - {model_name: a, litellm_params: {model: openai/y}}\n"
        "  - {model_name: b, litellm_params: *shared}\n"
    )
    outcomes = from_litellm(tmp_path / "config.yaml").outcomes
    assert [outcomes[f"model_list[{place}].litellm_params.weight"] for place in (0, 2)] == ["carried", "alike"]


def test_section_with_an_empty_key_is_accounted_for(tmp_path: Path) -> None:
    """A section whose table has an empty key is reported like any other, and the import does not fail."""
    (tmp_path / "config.yaml").write_text('model_list: []\nguardrails: {"": x}\n', encoding="utf-8")
    assert any(path.startswith("guardrails") for path in from_litellm(tmp_path / "config.yaml").outcomes)
