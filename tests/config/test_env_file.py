"""`.env` beside the routes file: what it adds to the environment, and who is told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from router.commands import main
from router.config import host_from_environment, load, production
from router.config.env_file import read_env_file
from tests.conftest import ROOT, Workspace, routes

KEYED = "a: {model: openai/gpt-5.6, api_key: '${A_KEY_OF_THE_TESTS}', optional: true}\nb: {script: demo}"


@pytest.fixture
def keyed(workspace: Workspace) -> Workspace:
    """A workspace with a target that needs a variable."""
    return workspace.write("routes.yaml", routes(KEYED, "targets: [a, b]"))


def env_file(workspace: Workspace, text: str, mode: int = 0o600) -> Path:
    """Write `.env` there."""
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
def test_value_is_read_as_python_dotenv_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, value: str | None) -> None:
    """With quotes, `export`, comments and references; a variable that the environment has, empty or not, is left as it is."""
    monkeypatch.setenv("SET_HERE", "by the environment")
    monkeypatch.setenv("EMPTY_HERE", "")
    env_file(Workspace(tmp_path), text)
    read = read_env_file(tmp_path, os.environ)
    assert read.variables.get("NAME") == value
    assert not {"SET_HERE", "EMPTY_HERE"} & set(read.names)
    assert read.warnings == ()


def test_variable_of_the_file_counts_where_the_environment_lacks_it(keyed: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins; the process's own environment is not changed."""
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


def test_generation_is_another_where_a_variable_that_it_uses_is(keyed: Workspace) -> None:
    """Its name is that of the configuration without `.env` as long as the file adds nothing to it, so workers and replicas agree."""
    file = keyed.root / "routes.yaml"
    bare = load(file).digest
    digests: list[str] = []
    for text in ("UNUSED=x\n", "A_KEY_OF_THE_TESTS=one\n", "A_KEY_OF_THE_TESTS=two\n", "ROUTER_ENV=staging\n"):
        env_file(keyed, text)
        digests.append(load(file).digest)
    assert digests[0] == bare
    assert len({*digests}) == 4
    assert load(file).digest == digests[-1]


def test_file_that_everybody_can_read_is_a_warning(keyed: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router check` says so, names the variables, and shows no value; a file for its owner alone, or for a group, is no warning."""
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
    assert load(file).complaints.warnings == []


def test_line_that_is_no_variable_is_a_warning_without_its_text(keyed: Workspace) -> None:
    """It is left out, and the others count."""
    file = env_file(keyed, 'A_KEY_OF_THE_TESTS=sk-x\nBROKEN="sk-do-not-show\nmore\n')
    found = load(file)
    assert found.env_file.names == ("A_KEY_OF_THE_TESTS",)
    assert [str(one) for one in found.complaints.warnings] == [".env:2:1: this line is left out: write NAME=value"]


@pytest.mark.parametrize("what", ["a folder", "a pipe", "no UTF-8", "a link that leads nowhere"])
def test_file_that_cannot_be_read_is_a_warning(keyed: Workspace, what: str) -> None:
    """The configuration is served without it: what it lacks is said where a variable is missing."""
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


def test_production_may_be_said_in_the_file(keyed: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """`router check` then requires `server.auth`, as where the environment says it."""
    monkeypatch.delenv("ROUTER_ENV", raising=False)
    file = env_file(keyed, "ROUTER_ENV=production\nROUTER_HOST=192.0.2.1\n")
    assert production(load(file))
    assert main(["check", "--routes", str(file)]) == 1
    assert host_from_environment(file) == "192.0.2.1"
    monkeypatch.setenv("ROUTER_ENV", "staging")
    monkeypatch.setenv("ROUTER_HOST", "127.0.0.2")
    assert not production(load(file))
    assert host_from_environment(file) == "127.0.0.2"


def test_litellm_reads_no_file_of_its_own() -> None:
    """It would put the `.env` of a folder above its own into the environment, and nobody would be told."""
    script = (
        "import dotenv; dotenv.load_dotenv = lambda *_, **__: print('read'); "
        "from router.targets.litellm_library import _import_alone; print(_import_alone() is not None)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=250, check=True)
    assert done.stdout == "True\n"
