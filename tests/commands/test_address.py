"""The address that `router serve` listens on: a command-line option, else a variable of the environment or of `.env`, else the default."""

import subprocess
import sys
from pathlib import Path

import pytest

from router.commands import main, parser
from router.commands.address import LOCAL, WrongVariable, settle
from tests.conftest import ROOT, Workspace, routes
from tests.support.services import free_ports

NONE: dict[str, str] = {}
HI = "a: {script: [{text: hi}]}"


@pytest.fixture(autouse=True)
def _without_variables(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    for name in ("ROUTER_ROUTES", "ROUTER_HOST", "ROUTER_PORT", "PORT"):
        monkeypatch.delenv(name, raising=False)


def settled(folder: Path, *options: str) -> tuple[str, int]:
    """Return the host and port on which `router serve` with these options would listen."""
    given = parser().parse_args(["serve", "--routes", str(folder / "routes.yaml"), *options])
    settle(given, LOCAL)
    return given.host, given.port


@pytest.mark.parametrize(
    ("options", "variables", "address"),
    [
        ("", (NONE, ""), ("127.0.0.1", 8000)),
        ("", ({"PORT": "81"}, ""), ("127.0.0.1", 81)),
        ("", ({"PORT": "81", "ROUTER_PORT": "82"}, ""), ("127.0.0.1", 82)),
        ("--port 83", ({"PORT": "81", "ROUTER_PORT": "82"}, ""), ("127.0.0.1", 83)),
        ("--port 0", ({"PORT": "81"}, ""), ("127.0.0.1", 0)),
        ("", ({"PORT": "", "ROUTER_PORT": "", "ROUTER_HOST": ""}, ""), ("127.0.0.1", 8000)),
        ("", ({"ROUTER_HOST": "127.0.0.2"}, ""), ("127.0.0.2", 8000)),
        ("--host 127.0.0.3", ({"ROUTER_HOST": "127.0.0.2"}, ""), ("127.0.0.3", 8000)),
        ("", (NONE, "ROUTER_HOST=::1\nPORT=84\n"), ("::1", 84)),
        ("", ({"ROUTER_HOST": "127.0.0.2", "PORT": "81"}, "ROUTER_HOST=::1\nPORT=84\n"), ("127.0.0.2", 81)),
        ("", ({"PORT": "81"}, "ROUTER_PORT=85\n"), ("127.0.0.1", 85)),
    ],
)
def test_listen_port_comes_from_option_then_router_port_then_port_then_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, variables: tuple[dict[str, str], str], address: tuple[str, int]
) -> None:
    """Host and port come from an option, else from ROUTER_HOST, ROUTER_PORT or PORT (the environment before `.env`), else the default.

    variables: those of the environment, and the text of `.env`; empty ones count as not set
    """
    environment, env_file = variables
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / ".env").write_text(env_file, encoding="utf-8")
    assert settled(tmp_path, *options.split()) == address


@pytest.mark.parametrize("wrong", ["http", "70000", "-1", "8000 ", "tcp://10.0.0.1:8000"])
def test_invalid_port_variable_is_reported_by_name_without_its_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    """An invalid PORT raises an error with the variable's name but not its value; it is not read if `--port` is given."""
    monkeypatch.setenv("PORT", wrong)
    with pytest.raises(WrongVariable, match="the variable PORT is no port: it must be from 0 to 65535") as error:
        settled(tmp_path)
    assert wrong not in str(error.value.public).replace("0 to 65535", "")
    assert settled(tmp_path, "--port", "80") == ("127.0.0.1", 80)


@pytest.mark.parametrize("where", ["the environment", ".env"])
def test_serve_refuses_a_public_listen_address_from_a_variable_without_auth(workspace: Workspace, where: str) -> None:
    """`router serve` exits with 1 if ROUTER_HOST (from the environment or `.env`) is 0.0.0.0 and `server.auth` is not declared."""
    workspace.write("routes.yaml", routes(HI))
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PORT": str(free_ports(1)[0])}
    if where == ".env":
        workspace.write(".env", "ROUTER_HOST=0.0.0.0\n")
    else:
        environment["ROUTER_HOST"] = "0.0.0.0"  # noqa: S104 - it is refused
    command = [sys.executable, "-m", "router", "serve"]
    done = subprocess.run(command, cwd=workspace.root, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "whoever reaches 0.0.0.0 could ask, and you would pay" in done.stderr


def test_commands_read_the_routes_file_named_by_router_routes(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands check, show, drill and diff read the file that ROUTER_ROUTES names, unless it is empty or `--routes` names another."""
    file = workspace.write("routes.yaml", routes(HI)).root / "routes.yaml"
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setenv("ROUTER_ROUTES", str(file))
    for command in (["check"], ["show"], ["drill"], ["diff", str(file)]):
        assert main(command) == 0
    said = capsys.readouterr().out
    assert f"{file}: all is well. 1 route" in said
    assert "no change: every file is the same" in said
    assert main(["check", "--routes", "routes.yaml"]) == 1
    monkeypatch.setenv("ROUTER_ROUTES", "")
    assert main(["check"]) == 1
    assert "routes.yaml:1:1: the file cannot be read" in capsys.readouterr().err
