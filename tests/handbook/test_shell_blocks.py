"""Every shell block of every documentation page is run unchanged, or states why it cannot be run."""

import asyncio
import itertools
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Workspace, serving
from tests.handbook.shell import FENCE, PAGES, Block, blocks, perform, with_two_scripts, workspace
from tests.handbook.test_contributing import SECTIONS, section

FOLLOWED = [section(title) for title in SECTIONS]
"""Sections that tests/handbook/test_contributing.py runs."""
SHELL = [block for block in blocks() if block.language == "sh"]
RUN = [
    block
    for block in SHELL
    if block.reason is None and not block.page.startswith("docs/tutorials/") and not any(block.text in text for text in FOLLOWED)
]
"""The shell blocks that are run here; those of tutorials are run in order by tests/handbook/test_tutorials.py."""
KNOWN = {"", "sh", "diff", "ini", "jinja", "json", "mermaid", "python", "text", "ts", "tsx", "yaml"}
COMMAND = re.compile(r"^(?:\$ )?(?:router|make|curl|docker|pip|npm|npx|git|kubectl|helm|python3?|uvicorn) [\w./-]", re.MULTILINE)
ALONE = "docs/commands.md"
"""The page whose command lines are independent examples."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a router with the shipped configuration, which runs in a thread of its own."""
    root = with_two_scripts(workspace(tmp_path_factory.mktemp("served") / "here", ""))
    found: list[str] = []
    up = threading.Event()
    loop = asyncio.new_event_loop()
    done = asyncio.Event()

    async def serve() -> None:
        async with serving(Workspace(root).build()) as client:
            found.append(client.base)
            up.set()
            await done.wait()

    def turn() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            up.set()
            loop.close()

    thread = threading.Thread(target=turn)
    thread.start()
    up.wait()
    yield found[0]
    loop.call_soon_threadsafe(done.set)
    thread.join()


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder as home and current directory, without API keys or router settings in the environment."""
    for name in [name for name in os.environ if re.match(r"ROUTER_|PORT$|.*_API_KEY$|OLLAMA_URL", name)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".curlrc").write_text("fail\nno-progress-meter\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("page", sorted({block.page for block in RUN}))
def test_shell_block_of_a_page_runs_as_it_stands(page: str, base: str, alone: Path) -> None:
    """Each command of a page's shell blocks exits with 0; a command that serves becomes ready and ends on SIGTERM."""
    numbers = itertools.count()
    for block in RUN:
        if block.page == page:
            for commands in block.text.splitlines() if page == ALONE and "\nmkdir" not in f"\n{block.text}" else [block.text]:
                perform(commands, workspace(alone / str(next(numbers)), commands), base)


@pytest.mark.parametrize("block", [block for block in SHELL if block.reason is not None], ids=str)
def test_shell_block_that_is_not_run_has_a_valid_reason(block: Block) -> None:
    """The comment before a skipped block begins with one of the known reasons, such as `needs` or `the tests`."""
    assert re.match("needs |makes |the tests |a test |these |takes ", block.reason or ""), block.reason


def test_commands_appear_only_in_sh_blocks() -> None:
    """Blocks have known languages, and no text block or indented block contains a command, since it would not be run."""
    assert {block.language for block in blocks()} <= KNOWN
    others = [str(block) for block in blocks() if block.language in ("", "text") and COMMAND.search(block.text)]
    assert others == []
    for path in PAGES:
        assert not re.search(r"^ {4}(?:router|make|curl|docker|pip|npm) ", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE), (
            path
        )


def test_failing_command_of_a_shell_block_fails_the_test(alone: Path, base: str) -> None:
    """A failing command raises an error in each way of running it: in this process, in bash and as a server."""
    for commands in ("router show no-such-route\n", "curl -s http://localhost:8000/no-such-page\n", "router serve --no-such-option\n"):
        with pytest.raises((AssertionError, SystemExit)):
            perform(commands, workspace(alone / commands.split()[1].strip("-"), commands), base)


@pytest.mark.parametrize("language", ["sh", "json", "text", "yaml"])
def test_chinese_readme_has_the_same_code_blocks_as_the_english(language: str) -> None:
    """The code blocks of both READMEs are equal except for their comments."""
    english, chinese = (
        [re.sub(r" +# .*", "", block.text) for block in blocks() if block.page == page and block.language == language]
        for page in ("README.md", "README.zh-CN.md")
    )
    assert english
    assert chinese == english


def test_chinese_readme_has_the_headings_tables_and_links_of_the_english() -> None:
    """The Chinese README has the same sequence of heading levels, commands in its table, and link targets as the English."""
    english, chinese = (FENCE.sub("", (ROOT / name).read_text(encoding="utf-8")) for name in ("README.md", "README.zh-CN.md"))
    levels, commands, links = (re.compile(pattern, re.MULTILINE) for pattern in (r"^#+(?= )", r"^\| `(router .*?)`", r"\]\(([^)]+)\)"))
    assert levels.findall(chinese) == levels.findall(english)
    assert commands.findall(chinese) == commands.findall(english) != []
    assert set(links.findall(chinese)) - {"README.md"} == set(links.findall(english)) - {"README.zh-CN.md"}
