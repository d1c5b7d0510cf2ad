"""MCP servers among the `tools` of a route: accepted forms, complaints with their place, and what a change means."""

import pytest

from router.config import declare, read
from router.config.declaration import Declaration
from router.config.values import Secret
from router.description import changes, describe, sentences
from router.errors import ConfigError
from tests.conftest import Workspace, routes

ADDRESS = "{mcp: https://mcp.example.com/mcp}"


def declared(workspace: Workspace, tools: str, **variables: str) -> Declaration:
    """Return the declaration of a configuration whose route has these `tools`."""
    workspace.write("routes.yaml", routes("a: {script: demo}", f"targets: [a]\n    tools: {tools}"))
    return declare(read(workspace.root / "routes.yaml"), variables)


def test_mcp_servers_by_address_and_by_command_are_declared_among_tools(workspace: Workspace) -> None:
    """A route's `tools` may list tool sets, MCP addresses and MCP commands; references are resolved, but shown as written in labels."""
    tools = (
        '[weather, {mcp: "https://${HOST}/mcp", token: "${TOKEN}"}, {mcp: [npx, -y, "${PACKAGE}"], env: {ROOT: "/srv/a b"}, only: [read]}]'
    )
    made = declared(workspace, tools, HOST="mcp.example.com", TOKEN="tok-1", PACKAGE="@example/files")
    assert not made.complaints.found
    route = next(iter(made.routes.routes.values()))
    assert [one.use for one in route.tool_sets] == ["weather"]
    address, command = route.tool_servers
    assert (address.mcp, address.token and address.token.value) == ("https://mcp.example.com/mcp", "tok-1")
    assert (command.mcp, command.env, command.only) == (("npx", "-y", "@example/files"), {"ROOT": Secret("/srv/a b")}, ("read",))
    assert (address.label, command.label) == ("https://${HOST}/mcp", "npx -y ${PACKAGE}")
    assert "tok-1" not in repr(made)


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("https://mcp.example.com/mcp?tenant=acme#x", "https://mcp.example.com/mcp"),
        ("https://${HOST:-mcp.example.com}/mcp?tenant=acme", "https://${HOST:-mcp.example.com}/mcp"),
        ("${NOWHERE:-https://mcp.example.com/mcp?tenant=acme}", "${NOWHERE:-https://mcp.example.com/mcp?tenant=acme}"),
    ],
)
def test_label_of_an_mcp_server_is_its_address_without_the_query(workspace: Workspace, written: str, label: str) -> None:
    """The label of an MCP server, for logs and metrics, is its address as written, without query and fragment."""
    workspace.write("routes.yaml", routes("a: {script: demo}", f"targets: [a]\n    tools: [{{mcp: '{written}'}}]"))
    [server] = workspace.build().routes["chat-model"].declared.tool_servers
    assert server.label == label


@pytest.mark.parametrize(
    ("tools", "complaint"),
    [
        ("[{mcp: ftp://host}]", "this is not a web address"),
        ("[{mcp: 'https://host/mcp?api_key=abc'}]", "a secret (…key=) does not belong in an address"),
        ("[{mcp: []}]", "an MCP server is an address, or a command"),
        ("[{mcp: [npx], token: '${T:-x}'}]", "a command is shown no `token`"),
        ("[{mcp: 'https://host', env: {A: b}}]", "only a command has an `env`"),
        ("[{mcp: [npx], env: {A-B: b}}]", "is no variable"),
        ("[{mcp: [npx], only: []}]", "nothing of it could be used"),
        ("[{mcp: [npx], only: ['a b']}]", "is no tool's name"),
        ("[{mpc: [npx]}]", "unknown key `mpc` in an entry of `tools`; did you mean `mcp`?"),
        ("[{token: x}]", "lacks `mcp`"),
        ("[wether]", "there is no tools/wether.py; did you mean `weather`?"),
    ],
)
def test_mistake_in_an_mcp_server_is_reported_in_its_line(workspace: Workspace, tools: str, complaint: str) -> None:
    """A mistake in an entry of `tools` gives one complaint, in the line of that entry."""
    workspace.write("routes.yaml", routes("a: {script: demo}", f"targets: [a]\n    tools: {tools}"))
    with pytest.raises(ConfigError) as caught:
        workspace.build()
    [found] = caught.value.complaints
    assert complaint in found.message
    assert found.place.line == 8


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("[weather]", f"[weather, {ADDRESS}]", "chat-model: gets tools: mcp https://mcp.example.com/mcp"),
        (f"[{ADDRESS}]", "[weather]", "chat-model: gets tools: weather; loses tools: mcp https://mcp.example.com/mcp"),
        ("[{mcp: [npx, a]}]", "[{mcp: [npx, a], only: [b]}]", "chat-model: a tool server is asked otherwise"),
    ],
)
def test_diff_describes_an_added_removed_or_changed_mcp_server(workspace: Workspace, before: str, after: str, told: str) -> None:
    """An added, removed or changed MCP server is one sentence in a diff of configurations."""
    was, now = describe(declared(workspace, before)), describe(declared(workspace, after))
    assert sentences(changes(was, now)) == [told]


def test_building_a_configuration_does_not_start_mcp_commands(workspace: Workspace) -> None:
    """A configuration with an MCP command is declared and built without running the command."""
    mark = workspace.root / "ran"
    declared(workspace, f"[{{mcp: [touch, '{mark}']}}]")
    workspace.build().discard()
    assert not mark.exists()
