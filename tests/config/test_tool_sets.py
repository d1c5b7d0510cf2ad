"""Tool sets with options (`use`, `approve`, `isolate`, `env`) among a route's `tools`."""

import pytest

from router.errors import ConfigError
from tests.conftest import Workspace, routes

HI = "a: {script: [{text: Hi}]}"


def built(workspace: Workspace, entry: str) -> Workspace:
    """Return a workspace whose route has this entry as its only tool set."""
    return workspace.write("routes.yaml", routes(HI, f"targets: [a]\n    tools: [{entry}]"))


@pytest.mark.parametrize(
    ("entry", "asks"),
    [
        ("weather", False),
        ("{use: weather}", False),
        ("{use: weather, approve: never}", False),
        ("{use: weather, approve: always}", True),
        ("{use: weather, isolate: process}", False),
        ("{use: weather, isolate: process, approve: always}", True),
    ],
)
async def test_tool_call_needs_approval_only_if_the_set_has_approve_always(workspace: Workspace, entry: str, asks: bool) -> None:
    """A tool call needs the user's approval only if its tool set has `approve: always`, isolated or not."""
    generation = built(workspace, entry).build()
    toolbox = generation.route("chat-model").toolbox
    assert [spec.name for spec in toolbox.specs] == ["get_weather"]
    assert await toolbox.asks("get_weather", {"city": "Beijing"}) is asks
    assert not await toolbox.asks("get_time", {})
    generation.discard()


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("{use: weather, approve: sometimes}", "`sometimes` is not one of always, never"),
        ("{use: weather, env: {A: x}}", "only a process of its own has an `env`: write `isolate: process`, too"),
        ("{use: wether, approve: always}", "there is no tools/wether.py; did you mean `weather`?"),
    ],
)
def test_mistake_in_a_tool_set_entry_is_refused_with_its_remedy(workspace: Workspace, entry: str, sentence: str) -> None:
    """A wrong word, an `env` without `isolate: process`, or an unknown tool set raises ConfigError with a suggestion."""
    with pytest.raises(ConfigError) as refused:
        built(workspace, entry).build()
    assert sentence in str(refused.value)
