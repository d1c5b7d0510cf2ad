"""The file `.env` beside routes.yaml: the variables that it adds to the environment, and the warnings about it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from router.commands import main
from router.config import host_from_environment, load, production
from router.config.environment import read_env_file
from tests.conftest import ROOT, Workspace, routes

KEYED = "a: {model: openai/gpt-5.6, api_key: '${A_KEY_OF_THE_TESTS}', optional: true}\nb: {script: demo}"


@pytest.fixture
def keyed(workspace: Workspace) -> Workspace:
    """A workspace with an optional target whose API key is the variable A_KEY_OF_THE_TESTS."""
    return workspace.write("routes.yaml", routes(KEYED, "targets: [a, b]"))


def env_file(workspace: Workspace, text: str, mode: int = 0o600) -> Path:
    """Write `.env` with this text and file mode; return the path of routes.yaml."""
    file = workspace.root / ".env"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return workspace.root / "routes.yaml"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NAME=plain\n", "plain"),
        ("export NAME = 'with blanks and # a hash'  # a comment\n", "with blanks and # a hash"),
        ('NAME="two\\nlines"\n', "two\nlines"),
        ("\ufeffNAME=after a byte order mark\r\n", "after a byte order mark"),
        ("HOST=here\nNAME=http://${HOST}/${SET_HERE}\n", "http://here/by the environment"),
        ("NAME=${SET_HERE}\nSET_HERE=by the file\n", "by the environment"),
        ("NAME=p@$$w0rd$x\n", "p@$$w0rd$x"),
        ("NAME=\n", None),
        ("NAME\n", None),
        ("# NAME=x\n", None),
        ("SET_HERE=x\nEMPTY_HERE=x\n", None),
    ],
)
def test_env_file_is_parsed_as_python_dotenv_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, value: str | None) -> None:
    """A `.env` may have quotes, `export`, comments and references; its lines for variables that are set already have no effect."""
    monkeypatch.setenv("SET_HERE", "by the environment")
    monkeypatch.setenv("EMPTY_HERE", "")
    env_file(Workspace(tmp_path), text)
    read = read_env_file(tmp_path, os.environ)
    assert read.variables.get("NAME") == value
    assert not {"SET_HERE", "EMPTY_HERE"} & set(read.names)
    assert read.warnings == ()


def test_env_file_variable_is_used_only_if_the_environment_lacks_it(keyed: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of `.env` is used if the environment does not have it; the environment of the process is not changed."""
    monkeypatch.delenv("A_KEY_OF_THE_TESTS", raising=False)
    file = keyed.root / "routes.yaml"
    lacking = load(file)
    assert lacking.skipped == {"a": "the environment variable A_KEY_OF_THE_TESTS is not set"}
    env_file(keyed, "A_KEY_OF_THE_TESTS=sk-file\nUNUSED=x\n")
    found = load(file)
    assert (found.skipped, found.env_file.names) == ({}, ("A_KEY_OF_THE_TESTS", "UNUSED"))
    assert found.routes.targets["a"].api_key.value == "sk-file"  # type: ignore[union-attr, index]
    assert "A_KEY_OF_THE_TESTS" not in os.environ
    monkeypatch.setenv("A_KEY_OF_THE_TESTS", "sk-environment")
    over = load(file)
    assert over.routes.targets["a"].api_key.value == "sk-environment"  # type: ignore[union-attr, index]
    assert over.env_file.names == ("UNUSED",)


def test_digest_changes_with_env_file_variables_that_the_configuration_uses(keyed: Workspace) -> None:
    """The digest of a configuration depends on the `.env` variables that it uses; an unused variable does not change it."""
    file = keyed.root / "routes.yaml"
    bare = load(file).digest
    digests: list[str] = []
    for text in ("UNUSED=x\n", "A_KEY_OF_THE_TESTS=one\n", "A_KEY_OF_THE_TESTS=two\n", "ROUTER_ENV=staging\n"):
        env_file(keyed, text)
        digests.append(load(file).digest)
    assert digests[0] == bare
    assert len({*digests}) == 4
    assert load(file).digest == digests[-1]


def test_world_readable_env_file_is_a_warning(keyed: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router check` warns of a `.env` with mode 0644 but not 0640, and prints the names of its variables without their values."""
    file = env_file(keyed, "A_KEY_OF_THE_TESTS=sk-do-not-show\n", 0o644)
    assert main(["check", "--routes", str(file)]) == 0
    said = capsys.readouterr().out
    assert "from .env: A_KEY_OF_THE_TESTS\n" in said
    assert "warning: .env:1:1: every user of this machine can read this file: write `chmod 600 .env`\n" in said
    assert "sk-do-not-show" not in said
    assert main(["check", "--json", "--routes", str(file)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["env_file"], [one["file"] for one in found["warnings"]]) == (["A_KEY_OF_THE_TESTS"], [".env"])
    (keyed.root / ".env").chmod(0o640)
    assert not load(file).complaints.warnings


def test_invalid_line_of_the_env_file_is_a_warning_without_its_text(keyed: Workspace) -> None:
    """An invalid line of `.env` causes a warning that does not quote it, and the other lines are used."""
    file = env_file(keyed, 'A_KEY_OF_THE_TESTS=sk-x\nBROKEN="sk-do-not-show\nmore\n')
    found = load(file)
    assert found.env_file.names == ("A_KEY_OF_THE_TESTS",)
    assert [str(one) for one in found.complaints.warnings] == [".env:2:1: this line is left out: write NAME=value"]


@pytest.mark.parametrize("what", ["a folder", "a pipe", "no UTF-8", "a link that leads nowhere"])
def test_unreadable_env_file_is_a_warning(keyed: Workspace, what: str) -> None:
    """A `.env` that is a folder, a pipe, not UTF-8 or a dangling link causes a warning, and the configuration loads without it."""
    path = keyed.root / ".env"
    match what:
        case "a folder":
            path.mkdir()
        case "a pipe":
            os.mkfifo(path)
        case "no UTF-8":
            path.write_bytes(b"A=\xff\n")
        case _:
            path.symlink_to("nowhere")
    found = load(keyed.root / "routes.yaml")
    (warning,) = found.complaints.warnings
    assert str(warning).startswith(".env:1:1: the variables of this file are not known: it cannot be read: ")
    assert found.skipped.keys() == {"a"}


def test_env_file_may_set_router_env_and_router_host(keyed: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """ROUTER_ENV and ROUTER_HOST are read from `.env` too, where the environment does not set them."""
    monkeypatch.delenv("ROUTER_ENV", raising=False)
    file = env_file(keyed, "ROUTER_ENV=production\nROUTER_HOST=192.0.2.1\n")
    assert production(load(file))
    assert main(["check", "--routes", str(file)]) == 1
    assert host_from_environment(file) == "192.0.2.1"
    monkeypatch.setenv("ROUTER_ENV", "staging")
    monkeypatch.setenv("ROUTER_HOST", "127.0.0.2")
    assert not production(load(file))
    assert host_from_environment(file) == "127.0.0.2"


def test_import_of_litellm_reads_no_env_file() -> None:
    """LiteLLM, imported by the router, does not load a `.env` file."""
    script = (
        "import dotenv; dotenv.load_dotenv = lambda *_, **__: print('read'); "
        "from router.targets.litellm_library import _import_locked; print(_import_locked() is not None)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=250, check=True)
    assert done.stdout == "True\n"
