"""The shipped routes.yaml: current models with known facts, and routes for the model ids that front ends send."""

import shutil
from typing import Any

import pytest

from router.commands.words import omissions
from router.config import declare, read
from router.generation import Generation, build
from tests.conftest import ROOT, Workspace, routes, serving
from tests.support.provider import Reply, provider, text

KEYS = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"), "sk-x") | {"OLLAMA_URL": "http://127.0.0.1:11434"}
SENT = (
    *("chat-model", "chat-model-reasoning", "title-model", "artifact-model", "claude", "local", "plain"),
    *("gpt-4", "gpt-4-turbo-preview", "gpt-3.5-turbo", "gpt-4o", "claude-3-opus-20240229"),
)
"""Model ids that front ends send: their own ids, and those to which their `modelMapping` maps them."""


@pytest.fixture
def keyed() -> Generation:
    """The shipped configuration with every variable set."""
    return build(declare(read(ROOT / "routes.yaml"), KEYS))


def test_shipped_routes_include_every_model_id_that_front_ends_send(keyed: Generation) -> None:
    """Each model id of SENT is a route or an alias of the shipped routes.yaml."""
    assert [one for one in SENT if one not in {*keyed.routes, *keyed.aliases}] == []


def test_shipped_models_have_a_known_price_and_context_window(keyed: Generation) -> None:
    """Each shipped model belongs to a route and, except the local `gpt-oss`, has a known price and context window; `big` has the largest."""
    asked = {target.name: target.facts for route in keyed.routes.values() for target in route.targets if target.lane != "script"}
    assert set(asked) == set(keyed.declaration.routes.targets) - {"demo", "understudy"}
    unknown = [name for name, facts in asked.items() if facts.source != "itself" or facts.price is None or facts.window is None]
    assert unknown == ["gpt-oss"]
    assert asked["big"].window == max(facts.window or 0 for facts in asked.values())


def test_shipped_file_sets_no_parameter_that_its_models_refuse(keyed: Generation) -> None:
    """`router check` lists no omitted parameter for the shipped routes.yaml."""
    assert omissions(keyed) == {}


def test_pipeline_temperature_is_omitted_only_for_a_target_that_reasons(workspace: Workspace) -> None:
    """A temperature of the pipeline is listed as left out for a reasoning model, but not if its target sets the effort to `none`."""
    workspace.write("pipelines/title.yaml", "steps:\n  - params: {temperature: 0}\n")
    luna = "model: openai/gpt-5.6-luna, api_key: sk-x"
    targets = f"idle: {{{luna}, params: {{reasoning_effort: none}}}}\nthinks: {{{luna}}}"
    workspace.write("routes.yaml", routes(targets, "targets: [idle, thinks]").replace("pipeline: chat", "pipeline: title"))
    left_out = "gpt-5.6-luna takes no temperature; the title pipeline's is left out"
    assert omissions(workspace.build()) == {"thinks": [left_out]}


def test_check_lists_parameters_of_a_target_that_its_model_does_not_take(workspace: Workspace) -> None:
    """A target's parameter that its model does not take is listed as left out or, if essential, as the reason to skip the target."""
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


TOOL: dict[str, Any] = {"type": "function", "function": {"name": "mine", "parameters": {"type": "object", "properties": {}}}}


async def test_plain_route_sends_only_the_messages_and_tools_of_the_client(workspace: Workspace) -> None:
    """The shipped route `plain` sends the provider only the client's messages and tools; `chat-model` adds a prompt and tools."""
    shutil.copytree(ROOT / "pipelines", workspace.root / "pipelines", dirs_exist_ok=True)
    shutil.copytree(ROOT / "tools", workspace.root / "tools", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    shipped, asked = (ROOT / "routes.yaml").read_text(encoding="utf-8"), [{"role": "user", "content": "Hello"}]
    sent: dict[str, dict[str, Any]] = {}
    async with provider(*(Reply(frames=text("Hi")),) * 2) as provided:
        workspace.write("routes.yaml", shipped.replace("  gpt:\n", f"  gpt:\n    api_base: {provided.base}\n", 1))
        async with serving(workspace.build(OPENAI_API_KEY="sk-x")) as client:
            for model in ("plain", "chat-model"):
                answer = await client.post("/v1/chat/completions", model=model, messages=asked, tools=[TOOL], stream=False)
                assert answer.status == 200, answer.body
                sent[model] = provided.requests[-1]
    assert sent["plain"]["messages"] == asked
    assert [tool["function"]["name"] for tool in sent["plain"]["tools"]] == ["mine"]
    assert len(sent["chat-model"]["messages"]) > 1
    assert len(sent["chat-model"]["tools"]) > 1
