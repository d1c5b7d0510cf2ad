"""The package as a stranger has it: installed in an environment that holds what it declares and nothing else, used in an empty folder."""

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
    """What an installer would install with a package, without its extras, as it is installed in the environment of the tests."""
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
    """An environment into which this folder was installed. What it requires is linked from the environment of the tests: no network."""
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
    """What a command of the installed package says in this folder; it must end well."""
    environment = {"PATH": f"{installed}:/usr/bin:/bin", "HOME": str(folder), **variables}
    command = [str(installed / "router"), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@asynccontextmanager
async def served(installed: Path, folder: Path, **variables: str) -> AsyncGenerator[Process]:
    """`router serve` of the installed package in this folder, once it is ready. No option: variables say the port."""
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


async def said(running: Process, question: str) -> str:
    """The whole answer to a question."""
    status, _, body = await running.ask(question, stream=False)
    assert status == 200, body
    return body.decode()


def test_installed_package_is_typed_and_is_not_the_one_here(installed: Path, tmp_path: Path) -> None:
    """A type checker reads its annotations (PEP 561), and the tests below are of the wheel."""
    script = "import pathlib, router; print(pathlib.Path(router.__file__).parent)"
    found = subprocess.run([installed / "python", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    package = Path(found.stdout.strip())
    assert package.is_relative_to(installed.parent)
    assert (package / "py.typed").is_file()


async def test_workspace_in_an_empty_folder_works_and_the_demo_speaks_the_truth(installed: Path, tmp_path: Path) -> None:
    """init, check, drill and serve, each without an option; the tool that the demo names runs."""
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "router check" in await asyncio.to_thread(ran, installed, folder, "init")
    assert "all is well. 1 route" in await asyncio.to_thread(ran, installed, folder, "check")
    assert "none failed" in await asyncio.to_thread(ran, installed, folder, "drill")
    assert "complete" in await asyncio.to_thread(ran, installed, folder, "completion", "bash")
    async with served(installed, folder) as running:
        hello = await said(running, "Hello")
        assert "Ask for the **time** somewhere, and a real tool runs." in hello
        assert "In `routes.yaml` this route asks no model before the demo." in hello
        assert "(Asia/Tokyo)" in await said(running, "What time is it in Tokyo?")


async def test_key_that_the_demo_asks_for_lets_a_model_answer(installed: Path, tmp_path: Path) -> None:
    """`router check` says which variable is missing; once `.env` has it, the same route asks the model, and the log names the variable alone."""
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
            hello = await said(running, "Hello")
            assert "A key or an address is not set for `gpt`: `router check` says which variable that is." in hello
        example = (folder / ".env.example").read_text(encoding="utf-8")
        (folder / ".env").write_text(example.replace("OPENAI_API_KEY=", "OPENAI_API_KEY=sk-do-not-show"), encoding="utf-8")
        (folder / ".env").chmod(0o600)
        checked = await asyncio.to_thread(ran, installed, folder, "check")
        assert "from .env: OPENAI_API_KEY\n" in checked
        assert "skipped" not in checked
        async with served(installed, folder) as running:
            assert "I am a model." in await said(running, "Hello")
            assert '"names":["OPENAI_API_KEY"]' in running.said.replace(": ", ":")
        assert "do-not-show" not in running.said
        assert (folder / ".env").stat().st_mode & 0o777 == 0o600
