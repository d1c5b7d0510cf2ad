"""The package as a user has it: its wheel in a fresh environment with only its declared dependencies, used in an empty folder."""

import asyncio
import subprocess
import sys
import sysconfig
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path

import aiohttp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tests.support.process import Process
from tests.support.provider import Reply, provider, text
from tests.support.services import free_ports

BUILD = "import sys; from hatchling.builders.wheel import WheelBuilder; print(next(WheelBuilder(sys.argv[1]).build(directory=sys.argv[2])))"


def required(package: metadata.Distribution) -> Iterator[metadata.Distribution]:
    """Yield the distributions on which a package depends, directly or not, as installed for the tests, without the package's own extras."""
    seen: set[str] = set()
    todo = list(_needs(package, {""}))
    while todo:
        one = todo.pop()
        key = f"{canonicalize_name(one.name)}[{','.join(sorted(one.extras))}]"
        if key not in seen:
            seen.add(key)
            found = metadata.distribution(one.name)
            yield found
            todo += _needs(found, one.extras or {""})


def _needs(package: metadata.Distribution, extras: set[str]) -> Iterator[Requirement]:
    for line in package.requires or ():
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
            yield one


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a fresh environment with the wheel of this repository; its dependencies are links to those of the tests."""
    made = tmp_path_factory.mktemp("installed")
    python = made / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made / "venv")], timeout=120, check=True)
    ours, theirs = Path(sysconfig.get_path("purelib")), Path(next((made / "venv/lib").glob("python*/site-packages")))
    built = subprocess.run([sys.executable, "-c", BUILD, str(ROOT), str(made)], capture_output=True, text=True, timeout=120, check=True)
    wheel = built.stdout.strip()
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, timeout=240, check=True, capture_output=True)
    [package] = metadata.distributions(path=[str(theirs)])
    for distribution in required(package):
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (theirs / top).exists() and (ours / top).exists():
                (theirs / top).symlink_to(ours / top)
    return python.parent


def ran(installed: Path, folder: Path, *arguments: str, **variables: str) -> str:
    """Run a command of the installed package in this folder, check that it exits with 0, and return its standard output."""
    environment = {"PATH": f"{installed}:/usr/bin:/bin", "HOME": str(folder), **variables}
    command = [str(installed / "router"), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@asynccontextmanager
async def served(installed: Path, folder: Path, **variables: str) -> AsyncGenerator[Process]:
    """Run `router serve` of the installed package in this folder until the end of the block; the variable PORT sets the port."""
    port = free_ports(1)[0]
    environment = {"PATH": f"{installed}:/usr/bin:/bin", "HOME": str(folder), "PORT": str(port), **variables}
    output = folder.with_suffix(".log")
    with output.open("wb") as file:
        made = await asyncio.create_subprocess_exec(installed / "router", "serve", cwd=folder, env=environment, stdout=file, stderr=file)
    async with aiohttp.ClientSession() as session:
        running = Process(f"http://127.0.0.1:{port}", made, session, output)
        try:
            await running.ready()
            yield running
        finally:
            if made.returncode is None:
                await running.ended()


async def answer_to(running: Process, question: str) -> str:
    """Ask one question without streaming and return the body of the answer."""
    status, _, body = await running.ask(question, stream=False)
    assert status == 200, body
    return body.decode()


def test_installed_package_is_imported_from_the_wheel_and_has_py_typed(installed: Path, tmp_path: Path) -> None:
    """A fresh environment imports `router` from the installed wheel, not from this repository, and the wheel has py.typed (PEP 561)."""
    script = "import pathlib, router; print(pathlib.Path(router.__file__).parent)"
    found = subprocess.run([installed / "python", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    package = Path(found.stdout.strip())
    assert package.is_relative_to(installed.parent)
    assert (package / "py.typed").is_file()


async def test_installed_commands_work_in_an_empty_folder_and_the_demo_runs_its_tool(installed: Path, tmp_path: Path) -> None:
    """init, check, drill, completion and serve work without options in an empty folder, and the demo runs the tool that it offers."""
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "router check" in await asyncio.to_thread(ran, installed, folder, "init")
    assert "all is well. 1 route" in await asyncio.to_thread(ran, installed, folder, "check")
    assert "none failed" in await asyncio.to_thread(ran, installed, folder, "drill")
    assert "complete" in await asyncio.to_thread(ran, installed, folder, "completion", "bash")
    async with served(installed, folder) as running:
        hello = await answer_to(running, "Hello")
        assert "Ask for the **time** somewhere, and a real tool runs." in hello
        assert "In `routes.yaml` this route asks no model before the demo." in hello
        assert "(Asia/Tokyo)" in await answer_to(running, "What time is it in Tokyo?")


async def test_target_of_init_answers_once_its_key_is_in_the_env_file(installed: Path, tmp_path: Path) -> None:
    """A target of `router init` is skipped until `.env` sets its key; then its model answers, and no log contains the key."""
    folder = tmp_path / "empty"
    folder.mkdir()
    await asyncio.to_thread(ran, installed, folder, "init", "--provider", "openai")
    async with provider(Reply(text("I am ", "a model."))) as model:
        routes = folder / "routes.yaml"
        routes.write_text(
            routes.read_text(encoding="utf-8").replace("optional: true", f"optional: true, api_base: '{model.base}'"), encoding="utf-8"
        )
        assert "skipped: target gpt: the environment variable OPENAI_API_KEY is not set" in await asyncio.to_thread(
            ran, installed, folder, "check"
        )
        async with served(installed, folder) as running:
            hello = await answer_to(running, "Hello")
            assert "A key or an address is not set for `gpt`: `router check` says which variable that is." in hello
        example = (folder / ".env.example").read_text(encoding="utf-8")
        (folder / ".env").write_text(example.replace("OPENAI_API_KEY=", "OPENAI_API_KEY=sk-do-not-show"), encoding="utf-8")
        (folder / ".env").chmod(0o600)
        checked = await asyncio.to_thread(ran, installed, folder, "check")
        assert "from .env: OPENAI_API_KEY\n" in checked
        assert "skipped" not in checked
        async with served(installed, folder) as running:
            assert "I am a model." in await answer_to(running, "Hello")
            assert '"names":["OPENAI_API_KEY"]' in running.printed.replace(": ", ":")
        assert "do-not-show" not in running.printed
        assert (folder / ".env").stat().st_mode & 0o777 == 0o600
