"""`router import litellm`: what the settings of a LiteLLM config become, which are reported as lost, and which configs are refused."""

import json
import os
import re
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.commands import main
from router.config import declare
from router.config.declaration import Declaration
from router.config.snapshot import Snapshot
from router.errors import ConfigError
from router.generation import build
from router.migration import Imported, from_litellm
from tests.conftest import ROOT
from tests.migration.reading import with_includes

CONFIGS = Path(__file__).parent / "configs"
ONE = """
model_list:
  - model_name: a
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/KEY}
"""


def imported(folder: Path, config: str) -> tuple[dict[str, Any], Imported]:
    """Import this config, check that `router check` would accept the result, and return its YAML and the import itself."""
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    made = from_litellm(folder / "config.yaml")
    accepted(made)
    return yaml.safe_load(made.text), made


def accepted(made: Imported) -> Declaration:
    """Build the imported configuration with only the variables that the import lists, and return its declaration."""
    variables = {name: stand_in(name) for name in made.variables}
    declaration = declare(Snapshot(Path.cwd(), "routes.yaml", {"routes.yaml": made.text, **made.files}), variables)
    build(declaration)
    return declaration


def stand_in(variable: str) -> str:
    """Return a valid value for an imported variable of this name: a Redis URL, a web address, or a key."""
    if variable == "REDIS_URL":
        return "redis://127.0.0.1:1"
    return "http://127.0.0.1:1" if variable.endswith(("BASE", "URL")) else "sk-test"


def deployments(*entries: str, more: str = "") -> str:
    """Return a config whose entries are each a model group's name and its litellm_params, followed by `more`."""
    listed = "".join(
        f"  - {{model_name: {name}, litellm_params: {{{params}}}}}\n" for name, params in (one.split(" ", 1) for one in entries)
    )
    return f"model_list:\n{listed}{more}"


@pytest.mark.parametrize("name", ["team", "product", "enterprise"])
def test_imported_routes_file_passes_check(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An imported routes.yaml passes `router check` with the variables that the import lists, and fails without any one of them."""
    output = tmp_path / "made/routes.yaml"
    assert main(["import", "litellm", str(CONFIGS / f"{name}.yaml"), "-o", str(output)]) == 0
    told = capsys.readouterr().err
    text = output.read_text(encoding="utf-8")
    lost = re.findall(r"^ *# not carried over: ", text, re.MULTILINE)
    assert f"not carried over: {len(lost)} thing" in told
    assert told.startswith(f"carried over: {len(yaml.safe_load(text)['routes'])} routes, {len(yaml.safe_load(text)['targets'])} targets")
    needed = re.findall(r"^  ([A-Z]\w*)  \(", told, re.MULTILINE)
    for one in needed:
        monkeypatch.setenv(one, stand_in(one))
    assert main(["check", "--routes", str(output)]) == 0
    checked = capsys.readouterr().out
    assert "skipped" not in checked
    for one in needed:
        monkeypatch.delenv(one)
        assert main(["check", "--routes", str(output)]) == 1  # it is needed indeed
        monkeypatch.setenv(one, stand_in(one))


@pytest.mark.parametrize("name", ["team", "product", "enterprise"])
def test_secret_of_a_litellm_config_is_not_repeated(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Secrets of a LiteLLM config appear neither in the written files nor in the output of the import."""
    assert "canary" in "".join(path.read_text(encoding="utf-8") for path in CONFIGS.rglob("*.yaml") if name in str(path))
    assert main(["import", "litellm", str(CONFIGS / f"{name}.yaml"), "-o", str(tmp_path / "routes.yaml")]) == 0
    assert main(["import", "litellm", str(CONFIGS / f"{name}.yaml")]) == 0
    said = capsys.readouterr()
    written = "".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file())
    assert "canary" not in said.out + said.err + written


@pytest.mark.parametrize("name", ["team", "product", "enterprise"])
def test_every_key_of_a_litellm_config_is_carried_over_or_reported(name: str) -> None:
    """Each setting of a large config that is not carried over is named in the imported file, except those without effect here."""
    config = with_includes(CONFIGS / f"{name}.yaml")
    text = from_litellm(CONFIGS / f"{name}.yaml").text
    quiet = {"drop_params", "turn_off_message_logging", "set_verbose", "model_name", "litellm_params", "model_info"}
    carried = {
        *(
            "num_retries",
            "timeout",
            "stream_timeout",
            "request_timeout",
            "allowed_fails",
            "cooldown_time",
            "retry_after",
            "routing_strategy",
        ),
        *("fallbacks", "context_window_fallbacks", "default_fallbacks", "model_group_alias", "cache", "cache_params", "completion_model"),
        "global_max_parallel_requests",
    }
    for section in ("router_settings", "litellm_settings", "general_settings"):
        for key in set(config.get(section, {})) - quiet - carried:
            assert key in text, f"{section}.{key}"


def test_import_without_an_output_file_prints_the_routes_file_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`router import litellm` without `-o` prints the YAML on stdout and a summary on stderr, and writes no file."""
    (tmp_path / "config.yaml").write_text(ONE, encoding="utf-8")
    assert main(["import", "litellm", str(tmp_path / "config.yaml")]) == 0
    said = capsys.readouterr()
    assert yaml.safe_load(said.out)["routes"] == {"a": {"pipeline": "plain", "targets": ["a"]}}
    assert said.err == "carried over: 1 route, 1 target\nvariables to set:\n  KEY  (as in the original)\nbeside it: pipelines/plain.yaml\n"
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_import_json_has_the_routes_file_and_each_lost_setting_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`router import litellm --json` prints the routes file, counts, variables and each lost setting with its line in that file."""
    output = tmp_path / "routes.yaml"
    (tmp_path / "config.yaml").write_text(ONE + "litellm_settings: {callbacks: [my.callback]}\n", encoding="utf-8")
    for more in ([], ["-o", str(output)]):
        assert main(["import", "litellm", str(tmp_path / "config.yaml"), "--json", *more]) == 0
        said = capsys.readouterr()
        found = json.loads(said.out)
        assert said.err == ""
        assert yaml.safe_load(found["routes"])["routes"] == {"a": {"pipeline": "plain", "targets": ["a"]}}
        assert (found["carried"]["route"], list(found["files"]), found["variables"]) == (
            1,
            ["pipelines/plain.yaml"],
            {"KEY": "as in the original"},
        )
        (lost,) = found["lost"]
        assert found["routes"].split("\n")[lost["line"] - 1].endswith(f"# not carried over: {lost['message']}")
        assert "callbacks" in lost["message"]
    assert output.read_text(encoding="utf-8") == found["routes"]


def test_import_overwrites_a_different_file_only_with_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`router import litellm -o` exits with 1 if a file that it would write exists with another text, unless `--force` is given."""
    config, output, pipeline = tmp_path / "config.yaml", tmp_path / "routes.yaml", tmp_path / "pipelines/plain.yaml"
    config.write_text(ONE, encoding="utf-8")
    command = ["import", "litellm", str(config), "-o", str(output)]
    assert main(command) == 0
    assert main(command) == 0
    pipeline.write_text("steps: [{history: {keep: 2}}]\n", encoding="utf-8")
    capsys.readouterr()
    assert main(command) == 1
    assert capsys.readouterr().err == f"error: {pipeline} is there already; --force overwrites [unwritten]\n"
    output.write_text("mine", encoding="utf-8")
    assert main(command) == 1
    assert output.read_text(encoding="utf-8") == "mine"
    assert main([*command, "--force"]) == 0
    assert pipeline.read_text(encoding="utf-8").endswith("steps: []\n")


def test_import_command_imports_no_provider_library_and_no_web_server(tmp_path: Path) -> None:
    """`router import litellm` imports none of litellm, openai, httpx, fastapi and uvicorn."""
    code = (
        f"import sys; from router.commands import main; main(['import', 'litellm', {str(CONFIGS / 'enterprise.yaml')!r}]);"
        "print([name for name in ('litellm', 'openai', 'httpx', 'fastapi', 'uvicorn') if name in sys.modules])"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


REFUSED = {
    "": "config.yaml:1:1: the file is empty",
    "targets: {}\n": "config.yaml:1:1: this is no LiteLLM config: it has no `model_list` (models kept in a database are not in it)",
    "- a\n": "config.yaml:1:1: a config is a mapping: `model_list:` and so on",
    "model_list:\n\t- a\n": "config.yaml:2:1: this is not YAML: indent with spaces, not tabs",
    "model_list: gpt-4o\n": "config.yaml:1:13: `model_list` takes a list of models",
    "model_list:\n  - litellm_params: {model: openai/m}\n": "config.yaml:2:5: an entry of `model_list` needs a `model_name`",
    "model_list:\n  - model_name: a\n": "config.yaml:2:5: `a` lacks its `litellm_params`, a mapping",
    "model_list:\n  - model_name: a\n    litellm_params: {api_key: sk-canary}\n": (
        "config.yaml:3:21: the litellm_params of `a` lack their `model`, e.g. openai/gpt-5.6"
    ),
    ONE + "router_settings: [a]\n": "config.yaml:5:18: `router_settings` takes a mapping",
    ONE + "router_settings: {num_retries: many}\n": "config.yaml:5:32: `num_retries` takes a number, not less than zero",
    ONE + "router_settings: {timeout: -1}\n": "config.yaml:5:28: `timeout` takes a number, not less than zero",
    ONE + "router_settings:\n  fallbacks: {a: [b]}\n": "config.yaml:6:14: `fallbacks` takes a list, e.g. [{gpt-4o: [claude]}]",
    ONE + "router_settings:\n  fallbacks: [{a: [b], c: [d]}]\n": (
        "config.yaml:6:15: an entry of `fallbacks` is one group and a list, e.g. {gpt-4o: [claude]}"
    ),
    ONE + "router_settings: {fallbacks: [{a: [[b]]}]}\n": "config.yaml:5:36: `fallbacks` takes a list of names",
    ONE + "include: more.yaml\n": "config.yaml:5:10: `include` takes a list of files",
    ONE + "include: [more.yaml]\n": "config.yaml:5:11: FOLDER/more.yaml cannot be read: No such file or directory",
    "model_list:\n  - {model_name: a, litellm_params: {model: openai/m, litellm_credential_name: c}}\n": (
        "config.yaml:2:80: no credential is named `c`"
    ),
    "a: &a [*a]\n": "config.yaml:1:4: nested deeper than 32 levels",
    ONE + "x: {<<: 1}\n": "config.yaml:5:9: `<<` takes a mapping, or a list of them",
    ONE + "? [a]\n: b\n": "config.yaml:5:3: a key must be a plain word",
}


@pytest.mark.parametrize("config", REFUSED)
def test_import_refuses_an_invalid_config_with_file_line_and_column(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An invalid LiteLLM config makes the exit code 1, prints its place and the remedy but no key, and writes no file."""
    config_file = tmp_path / "config.yaml"
    config_file.write_text(config, encoding="utf-8")
    assert main(["import", "litellm", str(config_file), "-o", str(tmp_path / "routes.yaml")]) == 1
    said = capsys.readouterr().err
    expected = REFUSED[config].replace("FOLDER", str(tmp_path))
    assert said.startswith(f"{tmp_path}/{expected}\n"), said
    assert "canary" not in said
    assert not (tmp_path / "routes.yaml").exists()


def test_import_refuses_a_missing_or_non_utf8_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A LiteLLM config that is missing or not UTF-8 makes the exit code 1, and its name is printed with the reason."""
    assert main(["import", "litellm", str(tmp_path / "no.yaml")]) == 1
    assert "no.yaml cannot be read: No such file or directory" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_bytes(b"a: \xff\n")
    assert main(["import", "litellm", str(tmp_path / "config.yaml")]) == 1
    assert "config.yaml is not UTF-8" in capsys.readouterr().err


def test_yaml_aliases_nested_24_deep_are_imported(tmp_path: Path) -> None:
    """A config with 24 levels of doubled aliases (2^24 copies if expanded) is imported."""
    lines = ["a0: &a0 {k: 1}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], l: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 25))]
    _, made = imported(tmp_path, ONE + "\n".join(lines))
    assert made.carried["route"] == 1


ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "one deployment": (deployments("a model: openai/gpt-4o"), {"a": {"pipeline": "plain", "targets": ["a"]}}),
    "a pool shares alike": (
        deployments("a model: openai/gpt-4o", "a model: anthropic/claude-sonnet-4-5"),
        {"a": {"targets": [[{"use": "a-openai", "weight": 1}, {"use": "a-anthropic", "weight": 1}]], "retry": {"attempts": 2}}},
    ),
    "weights before rpm before tpm": (
        deployments("a model: openai/x, weight: 3, rpm: 1", "a model: openai/y, weight: 1, rpm: 9"),
        {"a": {"targets": [[{"use": "a-x", "weight": 3}, {"use": "a-y", "weight": 1}]]}},
    ),
    "who has no weight is asked after those that have": (
        deployments("a model: openai/x, weight: 3", "a model: openai/y", "a model: openai/z, weight: 0"),
        {"a": {"targets": ["a-x", ["a-y", "a-z"]]}},
    ),
    "tokens a minute are weights within reason": (
        deployments("a model: openai/x, tpm: 30000000", "a model: openai/y, tpm: 10000000"),
        {"a": {"targets": [[{"use": "a-x", "weight": 30000}, {"use": "a-y", "weight": 10000}]]}},
    ),
    "one order after the other": (
        deployments("a model: openai/x, order: 2", "a model: openai/y, order: 1", "a model: openai/z"),
        {"a": {"targets": ["a-y", "a-x", "a-z"]}},
    ),
    "least busy": (
        deployments("a model: openai/x, rpm: 9", "a model: openai/y", more="router_settings: {routing_strategy: least-busy}"),
        {"a": {"targets": [["a-x", "a-y"]]}},
    ),
    "fallbacks, and theirs, depth first": (
        deployments(
            *(f"{name} model: openai/{name}" for name in "abcd"),
            more="litellm_settings: {fallbacks: [{a: [b, c]}, {b: [d, a]}, {d: [c]}]}",
        ),
        {"a": {"targets": ["a", "b", "d", "c"]}, "b": {"targets": ["b", "d", "c", "a"]}, "c": {"targets": ["c"]}},
    ),
    "fallbacks of fallbacks, to a depth": (
        deployments(
            *(f"{name} model: openai/{name}" for name in "abcdefgh"),
            more="router_settings: {fallbacks: [{a: [b]}, {b: [c]}, {c: [d]}, {d: [e]}, {e: [f]}, {f: [g]}, {g: [h]}]}",
        ),
        {"a": {"targets": ["a", "b", "c", "d", "e", "f"]}, "c": {"targets": ["c", "d", "e", "f", "g", "h"]}},
    ),
    "a depth of its own": (
        deployments(
            *(f"{name} model: openai/{name}" for name in "abcd"),
            more="router_settings: {max_fallbacks: 1, fallbacks: [{a: [b, d]}, {b: [c]}]}",
        ),
        {"a": {"targets": ["a", "b", "d"]}},
    ),
    "the router's fallbacks hold": (
        deployments(
            *(f"{name} model: openai/{name}" for name in "abc"),
            more="router_settings: {fallbacks: [{a: [b]}]}\nlitellm_settings: {fallbacks: [{a: [c]}]}",
        ),
        {"a": {"targets": ["a", "b"]}},
    ),
    "default fallbacks are for those that have none of their own": (
        deployments(
            *(f"{name} model: openai/{name}" for name in "abc"), more="litellm_settings: {fallbacks: [{a: [b]}], default_fallbacks: [c]}"
        ),
        {"a": {"targets": ["a", "b"]}, "b": {"targets": ["b", "c"]}, "c": {"targets": ["c"]}},
    ),
    "fallbacks for everybody": (
        deployments(*(f"{name} model: openai/{name}" for name in "ab"), more="router_settings: {fallbacks: [b]}"),
        {"a": {"targets": ["a", "b"]}, "b": {"targets": ["b"]}},
    ),
    "a fallback to one deployment": (
        deployments(
            "a model: openai/a",
            more="  - {model_name: b, litellm_params: {model: openai/x}, model_info: {id: x1}}\n"
            "  - {model_name: b, litellm_params: {model: openai/y}, model_info: {id: y1}}\nrouter_settings: {fallbacks: [{a: [y1]}]}",
        ),
        {"a": {"targets": ["a", "y1"]}, "b": {"targets": [[{"use": "x1", "weight": 1}, {"use": "y1", "weight": 1}]]}},
    ),
    "a fallback that a pattern serves": (
        deployments(
            "a model: openai/gpt-4o",
            "'anthropic/*' model: 'anthropic/*'",
            "'*' model: '*'",
            more="router_settings: {fallbacks: [{a: [claude-haiku-4-5, groq/fast]}]}",
        ),
        {"a": {"targets": ["a", "claude-haiku-4-5", "groq/fast"]}, "groq/fast": {"targets": ["groq/fast"]}},
    ),
    "an alias": (
        deployments("a model: openai/a", more="router_settings: {model_group_alias: {b: a, c: {model: a, hidden: true}}}"),
        {"a": {"aliases": ["b", "c"], "targets": ["a"]}},
    ),
    "an alias with fallbacks of its own is a route": (
        deployments("a model: openai/a", "c model: openai/c", more="router_settings: {model_group_alias: {b: a}, fallbacks: [{b: [c]}]}"),
        {"a": {"targets": ["a"]}, "b": {"targets": ["a", "c"]}},
    ),
    "an alias hides the group of its name": (
        deployments("a model: openai/a", "b model: openai/b", more="router_settings: {model_group_alias: {a: b}, fallbacks: [{b: [a]}]}"),
        {"a": {"targets": ["b"]}, "b": {"targets": ["b", "a"]}},
    ),
    "what is too long": (
        deployments("a model: openai/gpt-4", "b model: openai/own", more="router_settings: {context_window_fallbacks: [{a: [b]}]}"),
        {"a": {"targets": ["a", "b"]}, "b": {"targets": ["b"]}},
    ),
    "limits where they are held": (
        deployments(
            "a model: openai/x, rpm: 10", "a model: openai/y, rpm: 20", more="router_settings: {routing_strategy: usage-based-routing-v2}"
        ),
        {"a": {"targets": [["a-x", "a-y"]], "limit": {"requests": "30/minute", "per": "route"}}},
    ),
    "the model of those who name none comes first": (
        deployments("a model: openai/a", "b model: openai/b", more="general_settings: {completion_model: b}"),
        {"b": {"targets": ["b"]}, "a": {"targets": ["a"]}},
    ),
    "retries are shared by a pool": (
        deployments("a model: openai/x", "a model: openai/y", "b model: openai/b", more="litellm_settings: {num_retries: 3}"),
        {"a": {"retry": {"attempts": 2}}, "b": {"targets": ["b"]}},
    ),
    "a deployment's own retries and timeout": (
        deployments(
            "a model: openai/a, max_retries: 1, timeout: 20, stream_timeout: 7.5",
            "b model: openai/b, num_retries: 0",
            more="router_settings: {num_retries: 1, timeout: 60}",
        ),
        {"a": {"retry": {"attempts": 4}, "timeout": {"first_token": "7.5s", "idle": "7.5s"}}, "b": {"retry": {"attempts": 1}}},
    ),
    "time for each to be silent": (
        deployments("a model: openai/a", "b model: openai/b", more="router_settings: {timeout: 200, fallbacks: [{a: [b]}]}"),
        {"a": {"timeout": {"total": "10m"}}},
    ),
}


@pytest.mark.parametrize("name", ROUTES)
def test_litellm_model_groups_become_routes(name: str, tmp_path: Path) -> None:
    """Model groups become routes in their order, with pools, weights, fallbacks, aliases, limits and retries of the original."""
    config, expected = ROUTES[name]
    made, _ = imported(tmp_path, config)
    names = [one for one in made["routes"] if one in expected]
    assert names == list(expected)
    for route, keys in expected.items():
        assert {key: made["routes"][route].get(key) for key in keys} == keys


DEFAULTS: dict[str, dict[str, Any]] = {
    "": {"retry": {"attempts": 3}},
    "router_settings: {num_retries: 0}": {"retry": {"attempts": 1}},
    "router_settings: {num_retries: 50}": {"retry": {"attempts": 10}},
    "router_settings: {num_retries: 1}\nlitellm_settings: {num_retries: 5}": {"retry": {"attempts": 2}},
    "router_settings: {retry_after: 2}": {"retry": {"attempts": 3, "backoff": "2s..4s"}},
    "router_settings: {retry_after: 10}": {"retry": {"attempts": 3, "backoff": "10s..10s"}},
    "router_settings: {retry_policy: {RateLimitErrorRetries: 4, TimeoutErrorRetries: 9}}": {"retry": {"attempts": 5}},
    "router_settings: {timeout: 30}": {"timeout": {"first_token": "30s", "idle": "30s"}},
    "router_settings: {timeout: 30, stream_timeout: 5}": {"timeout": {"first_token": "5s", "idle": "5s"}},
    "litellm_settings: {request_timeout: '600'}": {"timeout": {"first_token": "10m", "idle": "10m"}},
    "router_settings: {timeout: 30}\nlitellm_settings: {request_timeout: 20}": {"timeout": {"first_token": "20s", "idle": "20s"}},
    "router_settings: {timeout: os.environ/T}": {"timeout": None},
    "router_settings: {allowed_fails: 3, cooldown_time: 30}": {"breaker": {"failures": 4, "within": "1m", "open": "30s"}},
    "router_settings: {cooldown_time: 0.5}": {"breaker": {"open": "500ms"}},
    "litellm_settings: {allowed_fails: 0}": {"breaker": {"failures": 1, "within": "1m"}},
    "router_settings: {disable_cooldowns: true}": {"breaker": {"failures": 1000, "within": "1s"}},
    "router_settings: {routing_strategy: latency-based-routing}": {"balance": "latency"},
    "router_settings: {routing_strategy: cost-based-routing}": {"balance": None},
}


@pytest.mark.parametrize("said", DEFAULTS)
def test_litellm_settings_become_route_defaults(said: str, tmp_path: Path) -> None:
    """LiteLLM's retries, timeouts, cooldowns and routing strategy become `defaults`, from the section that has precedence in LiteLLM."""
    made, _ = imported(tmp_path, ONE + said)
    assert {key: made["defaults"].get(key) for key in DEFAULTS[said]} == DEFAULTS[said]


TARGETS: dict[str, tuple[str, dict[str, Any]]] = {
    "a provider's own variable": ("model: openai/m", {"model": "openai/m", "api_key": "${OPENAI_API_KEY}"}),
    "a model whose provider is known": (
        "model: claude-sonnet-4-5",
        {"model": "anthropic/claude-sonnet-4-5", "api_key": "${ANTHROPIC_API_KEY}"},
    ),
    "gemini": ("model: gemini/gemini-2.5-pro", {"model": "gemini/gemini-2.5-pro", "api_key": "${GEMINI_API_KEY}"}),
    "a model of a known family": ("model: gpt-9-nova", {"model": "openai/gpt-9-nova"}),
    "a provider said beside": ("model: m, custom_llm_provider: groq", {"model": "groq/m", "api_key": "${GROQ_API_KEY}"}),
    "a variable": ("model: openai/m, api_key: os.environ/MINE", {"api_key": "${MINE}"}),
    "a key written out": ("model: openai/m, api_key: sk-canary", {"api_key": "${OPENAI_API_KEY}"}),
    "no key at a server of one's own": (
        "model: openai/m, api_base: 'http://h/v1', api_key: none",
        {"model": "openai/m", "api_base": "http://h/v1", "api_key": None},
    ),
    "an address in a variable": ("model: openai/m, api_base: os.environ/OWN_URL", {"api_base": "${OWN_URL}"}),
    "an address with a secret": (
        "model: openai/m, api_key: k, api_base: 'https://u:canary@h:1/v1?key=canary'",
        {"api_base": "https://h:1/v1"},
    ),
    "a dollar sign": ("model: 'openai/${HOME}-$x', api_key: k", {"model": "openai/$${HOME}-$$x"}),
    "azure": (
        "model: azure/d, api_version: '2024-10-21'",
        {"api_base": "${AZURE_API_BASE}", "api_key": "${AZURE_API_KEY}", "api_version": "2024-10-21"},
    ),
    "azure by Entra ID": ("model: azure/d, api_base: 'https://h', tenant_id: t", {"via": "litellm", "api_key": None}),
    "cohere": (
        "model: cohere/command-r",
        {"model": "cohere/command-r", "api_base": None, "api_key": "${COHERE_API_KEY}"},
    ),
    "cohere's chat": ("model: cohere_chat/command-r", {"model": "cohere_chat/command-r", "api_key": "${COHERE_API_KEY}"}),
    "the Responses API": ("model: openai/responses/gpt-5", {"model": "openai/gpt-5"}),
    "a server of one's own": ("model: ollama_chat/llama3.2", {"model": "ollama_chat/llama3.2", "api_key": None}),
    "a price": (
        "model: openai/m, input_cost_per_token: 0.0000025, output_cost_per_token: 1e-05",
        {"price": {"input": 2.5, "output": 10}},
    ),
    "prices of the cache": (
        "model: openai/m, input_cost_per_token: 3e-06, output_cost_per_token: 1.5e-05, cache_read_input_token_cost: 3e-07",
        {"price": {"input": 3.0, "output": 15.0, "cached": 0.3}},
    ),
    "sampling": (
        "model: openai/m, temperature: '0.2', max_completion_tokens: 99, stop: END, seed: 7, reasoning_effort: low",
        {"params": {"temperature": 0.2, "max_tokens": 99, "stop": ["END"], "seed": 7, "reasoning_effort": "low"}},
    ),
    "fields of the body": (
        "model: openai/m, extra_body: {top_k: 40, provider: {order: [a, 0.0000001], x: null, on: 'yes'}, user_token: sk-canary, v: os.environ/V}",
        {"body": {"top_k": 40, "provider": {"order": ["a", 1e-7], "x": None, "on": "yes"}, "user_token": "${USER_TOKEN}", "v": "${V}"}},
    ),
    "fields that the router writes": ("model: openai/m, extra_body: {stream: false, n: 2, min_p: 0.1}", {"body": {"min_p": 0.1}}),
    "headers": (
        "model: anthropic/m, extra_headers: {anthropic-beta: context-1m, X-Team: canary, X-Env: os.environ/TEAM, authorization: canary, 'a b': c}",
        {"headers": {"anthropic-beta": "context-1m", "X-Team": "${A_X_TEAM}", "X-Env": "${TEAM}"}},
    ),
    "sampling out of range": ("model: openai/m, temperature: 3, top_p: os.environ/P, stop: [a, b, c, d, e]", {"params": None}),
}


@pytest.mark.parametrize("name", TARGETS)
def test_litellm_deployment_becomes_a_target(name: str, tmp_path: Path) -> None:
    """A deployment becomes a target with its model, address, API key (as a variable), price, parameters, body and headers."""
    params, expected = TARGETS[name]
    made, all_of_it = imported(tmp_path, deployments(f"a {params}"))
    assert {key: made["targets"]["a"].get(key) for key in expected} == expected
    assert "canary" not in all_of_it.text


@pytest.mark.parametrize(
    ("info", "window"),
    [("max_input_tokens: 9000", 9000), ("base_model: azure/gpt-4o", 128_000), ("base_model: nobody/knows", None), ("mode: chat", None)],
)
def test_context_window_of_a_litellm_deployment_follows_its_base_model(info: str, window: int | None, tmp_path: Path) -> None:
    """The `context_window` of a target is the deployment's `max_input_tokens`, else that of a known `base_model`, else not set."""
    made, _ = imported(tmp_path, f"model_list: [{{model_name: a, litellm_params: {{model: azure/d}}, model_info: {{{info}}}}}]")
    assert made["targets"]["a"].get("context_window") == window


def test_context_window_fallback_with_an_unknown_window_gets_an_assumed_one(tmp_path: Path) -> None:
    """A context window fallback gets a `context_window` of 1,000,000, marked as assumed, only if its window is unknown."""
    more = "router_settings: {context_window_fallbacks: [{a: [own, big]}]}"
    made, all_of_it = imported(
        tmp_path,
        deployments("a model: openai/gpt-4o", "own model: hosted_vllm/o, api_base: 'http://h'", "big model: openai/gpt-4.1", more=more),
    )
    assert made["targets"]["own"]["context_window"] == 1_000_000
    assert "context_window: 1000000  # assumed" in all_of_it.text
    assert "context_window" not in made["targets"]["big"]


def test_literal_keys_of_a_litellm_config_become_variables(tmp_path: Path) -> None:
    """Literal API keys become variables: equal keys the same one, different keys different ones, none with a name in use."""
    config = deployments(
        "a model: openai/m, api_key: sk-canary-1",
        "b model: openai/n, api_key: sk-canary-1",
        "c model: openai/o, api_key: sk-canary-2",
        "d model: groq/p, api_key: sk-canary-3",
        "e model: groq/q, api_key: os.environ/GROQ_API_KEY",
    )
    made, all_of_it = imported(tmp_path, config)
    keys = {name: target["api_key"] for name, target in made["targets"].items()}
    assert keys == {"a": "${OPENAI_API_KEY}", "b": "${OPENAI_API_KEY}", "c": "${C_API_KEY}", "d": "${D_API_KEY}", "e": "${GROQ_API_KEY}"}
    assert list(all_of_it.variables) == ["C_API_KEY", "D_API_KEY", "GROQ_API_KEY", "OPENAI_API_KEY"]
    assert "the key was written out in line 2 of" in all_of_it.text


def test_addresses_in_environment_variables_become_defaults_of_references(tmp_path: Path) -> None:
    """An address under `environment_variables` becomes the default of its reference; the section itself is reported as not carried over."""
    config = "environment_variables: {OWN_URL: 'http://h/v1', OWN_KEY: sk-canary, OTHER: x}\n"
    made, all_of_it = imported(
        tmp_path, config + deployments("a model: openai/m, api_base: os.environ/OWN_URL, api_key: os.environ/OWN_KEY")
    )
    assert made["targets"]["a"] == {"model": "openai/m", "api_base": "${OWN_URL:-http://h/v1}", "api_key": "${OWN_KEY}"}
    assert list(all_of_it.variables) == ["OWN_KEY"]
    assert "# not carried over: environment_variables (OWN_URL, OWN_KEY, OTHER): set those that are needed" in all_of_it.text


def test_litellm_credentials_are_copied_to_their_deployments(tmp_path: Path) -> None:
    """A deployment that names a credential gets its values, except those that the deployment sets itself."""
    config = "credential_list: [{credential_name: c, credential_values: {api_key: os.environ/K, api_base: 'http://x'}}]\n"
    made, _ = imported(tmp_path, config + deployments("a model: openai/m, litellm_credential_name: c, api_base: 'http://y'"))
    assert made["targets"]["a"] == {"model": "openai/m", "api_base": "http://y", "api_key": "${K}"}


def test_litellm_includes_are_merged(tmp_path: Path) -> None:
    """Included files are merged, also if they include each other: lists are joined, other values come from the included file."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more/a.yaml").write_text(deployments("b model: openai/b", more="include: [b.yaml]\nrouter_settings: {num_retries: 5}"))
    (tmp_path / "more/b.yaml").write_text(deployments("c model: openai/c", more="include: [a.yaml, ../config.yaml]"))
    made, _ = imported(tmp_path, deployments("a model: openai/a", more="include: [more/a.yaml]\nrouter_settings: {num_retries: 0}"))
    assert list(made["routes"]) == ["a", "b", "c"]
    assert made["defaults"]["retry"] == {"attempts": 6}


TOLD = {
    deployments("a model: vertex_ai/gemini-2.5-pro", "b model: openai/b"): "# not carried over: a: none of its own targets can be served",
    deployments("a model: nobody/m", "b model: openai/b"): "# not carried over: a: no provider is named `nobody`",
    deployments(
        "a model: openai/a, organization: o"
    ): "# not carried over: organization: use a key of that organization, or write `headers:",
    deployments("a model: openai/a, frobnicate: 1"): "# not carried over: frobnicate: no equal here",
    deployments("'openai/*' model: 'openai/*'"): "# not carried over: openai/*: a route has a name, not a pattern",
    deployments("a model: text-embedding-3-small"): "only chats are carried over, and this is for embeddings: write its target",
    deployments("a model: openai/a", more="model_groups: {x: y}"): "# not carried over: model_groups: no equal here",
    "model_list: [{model_name: a, litellm_params: {model: openai/a}, model_info: {team_id: t}}]": "it is there for one team alone",
    "model_list: [{model_name: a, litellm_params: {model: openai/a}, model_info: {mode: image_generation}}]": "this is for image_generation",
    ONE + "router_settings: {fallbacks: [{a: [nobody]}]}": "# not carried over: fallbacks: nobody, which is no model of this file",
    ONE + "router_settings: {model_group_alias: {x: nobody}}": "# not carried over: model_group_alias x: it means no model of this file",
    ONE + "router_settings: {routing_strategy: cost-based-routing}": "# not carried over: routing_strategy cost-based-routing:",
    ONE + "litellm_settings: {cache: true, cache_params: {type: s3}}": "# not carried over: litellm_settings.cache_params.type s3:",
    ONE
    + "litellm_settings: {cache: true, cache_params: {mode: default_off}}": "# not carried over: litellm_settings.cache: it is not for every chat",
    ONE + "litellm_settings: {cache: true, cache_params: {type: local, ttl: 90}}": "cache: {ttl: 90s, scope: route}",
    ONE + "litellm_settings: {cache: true}": "cache: {ttl: 1h, scope: route}",
    ONE + "litellm_settings: {callbacks: [langfuse]}": "\n\n# not carried over: litellm_settings.callbacks langfuse: nothing is sent there",
    ONE + "general_settings: {master_key: sk-canary}": "# not carried over: general_settings.master_key: callers' keys",
    ONE + "general_settings: {global_max_parallel_requests: 90}": "server:\n  max_streams: 90\n",
    deployments("a model: openai/a, input_cost_per_token: 1e-6"): "# not carried over: a price of one kind of token",
    ONE + "router_settings: {redis_host: h}": "redis: ${REDIS_URL}",
    deployments(
        "a model: openai/a, rpm: 5", more="router_settings: {enable_pre_call_checks: true}"
    ): "limit: {requests: 5/minute, per: route}",
    deployments("a model: openai/a, max_parallel_requests: 5"): "limit: {concurrent: 5, per: route}",
    deployments("a model: openai/a, rpm: 5"): "# rpm: the original neither holds its deployments to it, nor shares by it",
    "model_list: [{model_name: a b, litellm_params: {model: openai/a}}]": "# not carried over: the name a b: clients ask for a-b",
    deployments(
        "a model: openai/a", more="router_settings: {model_group_alias: {'A B': a}}"
    ): "# not carried over: the alias A B: clients ask for A-B",
    deployments(
        "a model: openai/a, timeout: 5", "a model: openai/b, timeout: 9"
    ): "# not carried over: a timeout for each deployment (5s, 9s)",
}


@pytest.mark.parametrize("config", TOLD)
def test_litellm_setting_is_carried_over_or_reported_with_the_expected_text(config: str, tmp_path: Path) -> None:
    """Each setting of TOLD appears in the imported file: as a key, or in a comment that says why it is not carried over."""
    _, made = imported(tmp_path, config)
    assert TOLD[config] in made.text
    assert "canary" not in made.text


@pytest.mark.parametrize(
    "said",
    [
        "litellm_settings: {drop_params: true, json_logs: true}",
        "router_settings: {enable_pre_call_checks: false}",
        "litellm_settings: {cache: false}",
    ],
)
def test_litellm_setting_that_always_holds_here_is_not_reported(said: str, tmp_path: Path) -> None:
    """A setting that always holds in this router, or that is switched off, is not reported as lost."""
    assert imported(tmp_path, ONE + said)[1].lost == ()


def test_name_with_a_line_break_adds_no_yaml_to_the_imported_file(tmp_path: Path) -> None:
    """A name or model with a line break and YAML in it adds no keys to the imported file."""
    config = (
        '"x\\n  evil: {script: demo}\\n#": 1\nmodel_list:\n  - {model_name: "a\\nevil: b", litellm_params: {model: "openai/m\\nevil: c"}}\n'
    )
    made, _ = imported(tmp_path, config)
    assert "evil" not in made
    assert list(made["targets"]) == ["a-evil:-b"]
    assert made["targets"]["a-evil:-b"]["model"] == "openai/m\nevil: c"


NAMES = st.one_of(
    st.sampled_from(["gpt-4o", "a", "b", "GPT 4", "on", "1.5", "null", "模型", "a/b", "x*"]),
    st.text(string.printable, min_size=1, max_size=8),
)
MODELS = st.one_of(
    st.sampled_from(["gpt-4o", "openai/gpt-4o", "azure/x", "anthropic/y", "groq/z", "bedrock/b", "no/such", "*"]),
    st.text(min_size=1, max_size=8),
)
NUMBERS = st.one_of(st.integers(0, 10**7), st.floats(0, 10), st.sampled_from(["7", "os.environ/N", None, True]))
TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(["os.environ/X", "os.environ/not a name", "sk-1", "${HOME}", None, 7]))
ADDRESSES = st.sampled_from(["http://h/v1", "https://u:p@h?key=1", "os.environ/OWN_URL", "ftp://x", "http://[", "", "h", "http://${X}"])
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("weight", "rpm", "tpm", "order", "temperature", "max_tokens", "timeout", "num_retries"), NUMBERS),
        **dict.fromkeys(("api_key", "stop", "other", "reasoning_effort"), TEXTS),
        "api_version": st.sampled_from(["2024-10-21", "a b", "$x", 7]),
        "api_base": ADDRESSES,
    },
)
ENTRIES = st.lists(st.tuples(NAMES, MODELS, PARAMS), max_size=5)


@given(ENTRIES, st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=3)), max_size=3), st.dictionaries(NAMES, NAMES, max_size=3))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_arbitrary_litellm_config_is_refused_with_a_place_or_imported_validly(
    tmp_path: Path, entries: list[tuple[str, str, dict[str, Any]]], fallbacks: list[tuple[str, list[str]]], aliases: dict[str, str]
) -> None:
    """An arbitrary LiteLLM config is refused with places in that file, or gives a configuration that can be built."""
    config = {
        "model_list": [{"model_name": name, "litellm_params": {"model": model, **params}} for name, model, params in entries],
        "router_settings": {"fallbacks": [{name: others} for name, others in fallbacks], "model_group_alias": aliases},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    try:
        made: Imported | None = from_litellm(tmp_path / "config.yaml")
    except ConfigError as error:
        made = None
        places = [complaint.place.file for complaint in error.complaints]
    else:
        places = []
        accepted(made)
    assert (made is None) == bool(places)
    assert set(places) <= {str(tmp_path / "config.yaml")}
