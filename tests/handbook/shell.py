"""The shell blocks of all documentation pages, run in this process if possible, otherwise in bash or as a server."""

import asyncio
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from router.commands import main
from tests.conftest import OPERATOR, ROOT
from tests.handbook.followed import run
from tests.support.files import files_below
from tests.support.process import Process
from tests.support.services import free_ports

FOLDERS = (".github", "bench", "deploy", "docs", "examples", "handbook", "tests", "tools")
PAGES = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in files_below(ROOT / folder, ".md"))])
FENCE = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>[^\n]+) -->\n)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
"""A fenced block of a page; a comment before it states why it is not run."""
SERVES = re.compile(r"^(?:\w+=\S+ )*(?:router serve|router try --|uvicorn )", re.MULTILINE)
"""The beginning of a command that runs until it is stopped."""
SERVED = re.compile(r"(?:localhost|127\.0\.0\.1):8000")
PLAIN = re.compile(r"(?:router|cd) [^|<$~&;]+")
"""A command line that needs no shell, except for `>`."""
LITELLM = (
    "model_list:\n  - model_name: gpt-4\n    litellm_params: {model: openai/fake, api_base: 'http://127.0.0.1:9/v1', api_key: sk-docs}\n"
)
COPIES = ("old", "staging", "production")
"""Names of further configuration folders that pages mention."""


_seen: set[str] = set()
"""Command lines whose servers were already started."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. `reason`: why no test runs it, or None."""

    page: str
    line: int
    language: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    """Yield each fenced block of each page."""
    for path in dict.fromkeys(PAGES):
        text = path.read_text(encoding="utf-8")
        for hit in FENCE.finditer(text):
            line = text[: hit.start("text")].count("\n")
            yield Block(path.relative_to(ROOT).as_posix(), line, hit["language"], hit["text"], hit["reason"])


def workspace(folder: Path, commands: str) -> Path:
    """Create a folder with the files that a block expects: the shipped configuration and its neighbours, or only config.yaml."""
    folder.mkdir()
    (folder / "config.yaml").write_text(LITELLM, encoding="utf-8")
    if re.match("router (?:init|import)", commands):
        return folder
    for name in ("pipelines", "tools", "examples/chatbot"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    for name in ("routes.yaml", "drills.yaml"):
        shutil.copy(ROOT / name, folder)
    if "--host 0.0.0.0" in commands:
        file = folder / "routes.yaml"
        file.write_text(file.read_text(encoding="utf-8").replace("\nserver:\n", "\nserver:\n  auth: none\n"), encoding="utf-8")
    for name in ("old.yaml", "new.yaml", "prod.yaml"):
        shutil.copy(folder / "routes.yaml", folder / name)
    for name in COPIES:
        shutil.copytree(ROOT / "pipelines", folder / name / "pipelines")
        shutil.copytree(ROOT / "tools", folder / name / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(folder / "routes.yaml", folder / name)
    if commands.startswith("git show"):
        run("git init -q && git add . && git -c user.name=a -c user.email=a@b.example commit -qm One", folder)
    return folder


def with_two_scripts(folder: Path) -> Path:
    """Replace the target `gpt` of a workspace by a script, since it has no API key here; return the folder."""
    file = folder / "routes.yaml"
    text, found = re.subn(r"^  gpt:\n(?:    .*\n)+", "  gpt: {script: demo}\n", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert found == 1
    file.write_text(text, encoding="utf-8")
    return folder


def perform(block: str, folder: Path, base: str) -> None:
    """Run a block's commands in order; a failing one raises. `base`: the address of a running router, in place of `localhost:8000`."""
    commands = SERVED.sub(base.removeprefix("http://"), block).replace("/etc/router", str(folder))
    if SERVES.search(commands) or all(PLAIN.fullmatch(line.partition(" #")[0]) for line in commands.splitlines()):
        for line in commands.splitlines():
            folder = _serve(line, folder) if SERVES.match(line) else _call(shlex.split(line, comments=True), folder)
    else:
        run(commands, folder, ROUTER_ADMIN_KEY=OPERATOR, EXAMPLE=str(folder / "examples/chatbot"))


def _call(words: list[str], folder: Path) -> Path:
    """Run a `router` command or `cd` in this process, and return the folder afterwards."""
    if words[0] == "cd":
        os.chdir(folder / words[1])
        return folder / words[1]
    os.chdir(folder)
    _, *words = words
    target = words.pop() if words[-2:-1] == [">"] else os.devnull
    words = [word for word in words if word != ">"]
    with (folder / target).open("w", encoding="utf-8") as file, redirect_stdout(file):
        code = main(words)
    assert code == 0, words
    return folder


def _serve(line: str, folder: Path) -> Path:
    """Start a server unless this command line was started before; check that it becomes ready and exits on SIGTERM. Return the folder."""
    if line not in _seen:
        _seen.add(line)
        asyncio.run(_served(line.partition(" #")[0].rstrip(), folder))
    return folder


async def _served(line: str, folder: Path) -> None:
    [port] = free_ports(1)
    command = f"{re.sub(r' --port [0-9]+', '', line).replace('--workers 4', '--workers 2')} --port {port}"
    path = f"{Path(sys.prefix, 'bin')}{os.pathsep}{os.environ['PATH']}"
    output = folder / "output.txt"
    with output.open("wb") as file:
        environment = {"PATH": path, "PYTHONPATH": str(ROOT)}
        made = await asyncio.create_subprocess_exec(
            "bash", "-c", f"exec env {command}", cwd=folder, env=environment, stdout=file, stderr=file
        )
    async with aiohttp.ClientSession() as session:
        running = Process(f"http://127.0.0.1:{port}", made, session, output)
        try:
            await running.ready("/healthz")
        finally:
            if made.returncode is None:
                code = await running.ended()
                assert code == (-signal.SIGTERM if " uvicorn " in command else 0), running.printed
