"""`router init`: a new workspace that answers offline, and its templates in the wheel."""

import asyncio
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from router.commands import main
from router.commands.init import NAMES, PROVIDERS
from router.targets.table import about
from tests.conftest import ROOT, Workspace, serving


async def test_workspace_of_init_passes_check_and_answers_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`router init` creates a missing folder whose configuration passes check and drill, and whose offline demo runs a tool."""
    folder = tmp_path / "made" / "gateway"
    assert await asyncio.to_thread(main, ["init", str(folder)]) == 0
    capsys.readouterr()
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == sorted(NAMES)
    assert await asyncio.to_thread(main, ["check", "--routes", str(folder / "routes.yaml")]) == 0
    assert "all is well. 1 route," in capsys.readouterr().out
    assert await asyncio.to_thread(main, ["drill", "--routes", str(folder / "routes.yaml")]) == 0
    assert "1 drill, none failed." in capsys.readouterr().out
    generation = Workspace(folder).build()
    assert not generation.skipped
    async with serving(generation) as client:
        hello = await client.ask("Hello", model="gpt-4")
        assert hello.text.startswith("Hello! This is the offline demo")
        time = await client.ask("What time is it in Tokyo?", model="gpt-4")
        assert time.codes == "9a0d"
        assert "(Asia/Tokyo)" in time.text
        nowhere = await client.ask("What time is it in Nowhere?", model="gpt-4")
        assert "No time zone is known for Nowhere" in nowhere.text


@pytest.mark.parametrize("path", ["", str(Path(sys.executable).parent)])
def test_next_commands_that_init_prints_run_in_a_shell(path: str, tmp_path: Path) -> None:
    """The last lines of `router init` are a `check` and a `serve` command; the check runs in a shell, also if `router` is not on PATH."""
    environment = {"PATH": path or "/nowhere", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "router", "init", "my gateway"]
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=True).stdout
    check, serve = said.splitlines()[-2:]
    assert check.endswith("router check")
    assert serve == check.removesuffix("check") + "serve"
    assert (" && router check" in check) == bool(path)
    done = subprocess.run(["/bin/sh", "-c", check], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=True)
    assert "all is well. 1 route," in done.stdout


@pytest.mark.parametrize("name", PROVIDERS)
async def test_init_with_a_provider_adds_a_target_that_is_used_once_its_variable_is_set(name: str, tmp_path: Path) -> None:
    """`router init --provider` writes a target that is skipped until its variable is set, and names that variable in `.env.example`."""
    provider = PROVIDERS[name]
    assert await asyncio.to_thread(main, ["init", str(tmp_path), "--provider", name]) == 0
    generation = Workspace(tmp_path).build()
    assert generation.skipped == {provider.target: f"the environment variable {provider.variable} is not set"}
    await generation.close()
    generation = Workspace(tmp_path).build(**{provider.variable: "http://127.0.0.1:1"})
    assert [target.model for target in generation.routes["chat-model"].targets] == [provider.model, "script/demo"]
    await generation.close()
    assert await asyncio.to_thread(main, ["drill", "--routes", str(tmp_path / "routes.yaml")]) == 0
    assert f"\n{provider.variable}=\n" in (tmp_path / ".env.example").read_text(encoding="utf-8")
    said = (tmp_path / "routes.yaml").read_text(encoding="utf-8") + (tmp_path / "drills.yaml").read_text(encoding="utf-8")
    assert f"{{{provider.target}: 401}}" in said
    assert ("OPENAI_API_KEY" in said) == (name == "openai")


def test_models_of_the_init_templates_are_known_chat_models() -> None:
    """The model of each `--provider` template, except Ollama's, is a chat model in LiteLLM's table."""
    known = {name: about(provider.model).mode for name, provider in PROVIDERS.items() if name != "ollama"}
    assert set(known.values()) == {"chat"}


async def test_example_target_that_init_comments_out_works_once_uncommented(tmp_path: Path) -> None:
    """The commented-out target `gpt` of a new routes.yaml is a valid first target of the route once it is uncommented."""
    assert await asyncio.to_thread(main, ["init", str(tmp_path)]) == 0
    text = (tmp_path / "routes.yaml").read_text(encoding="utf-8").replace("  # gpt:", "  gpt:").replace("[demo] ", "[gpt, demo] ")
    generation = Workspace(tmp_path).write("routes.yaml", text).build(OPENAI_API_KEY="sk-test")
    assert [target.name for target in generation.routes["chat-model"].targets] == ["gpt", "demo"]
    await generation.close()


@pytest.mark.parametrize("name", NAMES)
def test_init_writes_nothing_where_one_of_its_files_exists(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`router init` exits with 1, names the file and writes nothing if one of its files exists, also as a dangling link."""
    theirs = tmp_path / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.symlink_to("nowhere") if name == ".gitignore" else theirs.write_text("mine", encoding="utf-8")
    assert main(["init", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {theirs} is there already; nothing was written [unwritten]\n"
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == [theirs]


def test_init_without_a_folder_writes_into_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`router init` without a folder writes into the working directory, and the commands that it prints next contain no `cd`."""
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    check, serve = (line.strip() for line in capsys.readouterr().out.splitlines()[-2:])
    assert check.endswith("router check")
    assert serve.endswith("router serve")
    assert "cd " not in check + serve
    assert (tmp_path / "routes.yaml").is_file()


def test_init_does_not_change_other_files_of_the_folder(tmp_path: Path) -> None:
    """`router init` in a folder with other files succeeds and does not change them."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/mine.py").write_text("", encoding="utf-8")
    assert main(["init", str(tmp_path)]) == 0
    assert (tmp_path / "tools/mine.py").read_text(encoding="utf-8") == ""


def test_init_reports_a_folder_that_cannot_be_created_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`router init` exits with 1 and "cannot be written" if the folder's path is an existing file."""
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    assert main(["init", str(tmp_path / "taken")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_wheel_contains_the_init_templates(tmp_path: Path) -> None:
    """A wheel built from this repository contains every template of `router init` unchanged."""
    build = (
        "import sys; from hatchling.builders.wheel import WheelBuilder; print(next(WheelBuilder(sys.argv[1]).build(directory=sys.argv[2])))"
    )
    done = subprocess.run([sys.executable, "-c", build, str(ROOT), str(tmp_path)], capture_output=True, text=True, timeout=240, check=True)
    with zipfile.ZipFile(done.stdout.strip()) as wheel:
        for kept in NAMES.values():
            assert wheel.read(f"router/commands/workspace/{kept}") == (ROOT / "router/commands/workspace" / kept).read_bytes()
