"""Tool sets with options among a route's `tools:`."""

import pytest

from router.errors import ConfigError
from tests.conftest import Workspace, routes

HI = "a: {script: [{text: Hi}]}"


def built(workspace: Workspace, entry: str) -> Workspace:
    """A workspace whose route has this tool set."""
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
async def test_tool_set_asks_the_user_where_its_entry_says_so(workspace: Workspace, entry: str, asks: bool) -> None:
    """In the router's own process, or in one of its own; a bare name never does."""
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
def test_mistake_in_an_entry_says_what_to_write(workspace: Workspace, entry: str, sentence: str) -> None:
    """With its place."""
    with pytest.raises(ConfigError) as refused:
        built(workspace, entry).build()
    assert sentence in str(refused.value)
