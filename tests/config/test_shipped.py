"""The shipped routes.yaml: models of today, all of whose facts are known, and ids that front ends send."""

import pytest

from router.commands.words import omissions
from router.config import declare, read
from router.generation import Generation, build
from tests.conftest import ROOT, Workspace, routes

KEYS = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"), "sk-x") | {"OLLAMA_URL": "http://127.0.0.1:11434"}
SENT = (
    *("chat-model", "chat-model-reasoning", "title-model", "artifact-model", "claude", "local"),
    *("gpt-4", "gpt-4-turbo-preview", "gpt-3.5-turbo", "gpt-4o", "claude-3-opus-20240229"),
)
"""What front ends send: their own ids, those of the addresses, and those to which a `modelMapping` maps them, whatever model answers."""


@pytest.fixture
def keyed() -> Generation:
    """The shipped configuration with every variable set."""
    return build(declare(read(ROOT / "routes.yaml"), KEYS))


def test_the_shipped_routes_know_the_ids_that_front_ends_send(keyed: Generation) -> None:
    """Of none of them the answer is that there is no such model."""
    assert [one for one in SENT if one not in {*keyed.routes, *keyed.aliases}] == []


def test_the_shipped_models_are_known_by_their_own_names(keyed: Generation) -> None:
    """With price and window, all but the local one; each target is asked by a route; the one for long conversations reads the most."""
    asked = {target.name: target.facts for route in keyed.routes.values() for target in route.targets if target.lane != "script"}
    assert set(asked) == set(keyed.declaration.routes.targets) - {"demo"}
    unknown = [name for name, facts in asked.items() if facts.source != "itself" or facts.price is None or facts.window is None]
    assert unknown == ["gpt-oss"]
    assert asked["big"].window == max(facts.window or 0 for facts in asked.values())


def test_the_shipped_file_sets_nothing_that_is_left_out(keyed: Generation) -> None:
    """`router check` has no notice about it."""
    assert omissions(keyed) == {}


def test_a_hint_is_kept_where_the_targets_own_effort_lets_it_be(workspace: Workspace) -> None:
    """A model that takes a temperature only while it does not think is told not to think by its target: a pipeline's is sent."""
    workspace.write("pipelines/title.yaml", "steps:\n  - params: {temperature: 0}\n")
    luna = "model: openai/gpt-5.6-luna, api_key: sk-x"
    targets = f"idle: {{{luna}, params: {{reasoning_effort: none}}}}\nthinks: {{{luna}}}"
    workspace.write("routes.yaml", routes(targets, "targets: [idle, thinks]").replace("pipeline: chat", "pipeline: title"))
    left_out = "gpt-5.6-luna takes no temperature; the title pipeline's is left out"
    assert omissions(workspace.build()) == {"thinks": [left_out]}


def test_parameter_that_would_be_missed_is_announced(workspace: Workspace) -> None:
    """Of a target that does not take what the configuration asks for, `router check` says that questions pass it over."""
    targets = (
        "first: {model: deepseek/deepseek-chat, api_key: sk-x, params: {logit_bias: {'5': 1}, verbosity: low, parallel_tool_calls: true}}"
    )
    workspace.write("routes.yaml", routes(targets, "targets: [first]"))
    assert omissions(workspace.build()) == {
        "first": [
            "deepseek-chat takes no verbosity; its own is left out",
            "deepseek-chat takes no logit_bias, which is its own; questions to chat-model pass it over",
        ]
    }
