"""`router init`: a fresh workspace that answers at once, and what ships it."""

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
    """Into a folder that is not there yet; the tool runs, the system prompt is its own."""
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
def test_commands_that_init_prints_can_be_pasted(path: str, tmp_path: Path) -> None:
    """The next one is `router check`; in an environment that is not active it is spelled out."""
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
async def test_provider_of_a_new_workspace_answers_once_its_variable_is_set(name: str, tmp_path: Path) -> None:
    """Its target is skipped until then; `.env.example` names the variable; no other provider is mentioned."""
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


def test_models_of_the_init_templates_exist() -> None:
    """LiteLLM's table lists each of them, for the providers whose models it lists."""
    known = {name: about(provider.model).mode for name, provider in PROVIDERS.items() if name != "ollama"}
    assert set(known.values()) == {"chat"}


async def test_example_target_that_init_comments_out_works_once_uncommented(tmp_path: Path) -> None:
    """Without a provider there is a comment: uncommented, and named among the targets, it is a target."""
    assert await asyncio.to_thread(main, ["init", str(tmp_path)]) == 0
    text = (tmp_path / "routes.yaml").read_text(encoding="utf-8").replace("  # gpt:", "  gpt:").replace("[demo] ", "[gpt, demo] ")
    generation = Workspace(tmp_path).write("routes.yaml", text).build(OPENAI_API_KEY="sk-test")
    assert [target.name for target in generation.routes["chat-model"].targets] == ["gpt", "demo"]
    await generation.close()


@pytest.mark.parametrize("name", NAMES)
def test_init_writes_nothing_where_one_of_its_files_exists(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command names the file, and leaves the folder unchanged. A dangling link counts as a file."""
    theirs = tmp_path / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.symlink_to("nowhere") if name == ".gitignore" else theirs.write_text("mine", encoding="utf-8")
    assert main(["init", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {theirs} is there already; nothing was written [unwritten]\n"
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == [theirs]


def test_workspace_is_written_here_unless_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it says to do next then goes nowhere else."""
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    check, serve = (line.strip() for line in capsys.readouterr().out.splitlines()[-2:])
    assert check.endswith("router check")
    assert serve.endswith("router serve")
    assert "cd " not in check + serve
    assert (tmp_path / "routes.yaml").is_file()


def test_init_leaves_other_files_of_the_folder_alone(tmp_path: Path) -> None:
    """A folder with other contents may become a workspace, too."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/mine.py").write_text("", encoding="utf-8")
    assert main(["init", str(tmp_path)]) == 0
    assert (tmp_path / "tools/mine.py").read_text(encoding="utf-8") == ""


def test_init_reports_a_folder_that_cannot_be_created_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is no traceback: the sentence says which file, and why."""
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    assert main(["init", str(tmp_path / "taken")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_wheel_contains_the_init_templates(tmp_path: Path) -> None:
    """A wheel that is built from here holds every template unchanged."""
    build = (
        "import sys; from hatchling.builders.wheel import WheelBuilder; print(next(WheelBuilder(sys.argv[1]).build(directory=sys.argv[2])))"
    )
    done = subprocess.run([sys.executable, "-c", build, str(ROOT), str(tmp_path)], capture_output=True, text=True, timeout=240, check=True)
    with zipfile.ZipFile(done.stdout.strip()) as wheel:
        for kept in NAMES.values():
            assert wheel.read(f"router/commands/workspace/{kept}") == (ROOT / "router/commands/workspace" / kept).read_bytes()
