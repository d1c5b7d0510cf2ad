"""Helpers of these tests: a generation that follows the files of a workspace, and three ways in which editors write a file."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from router.config import Snapshot, load, read
from router.generation import build
from router.reload import Live, Reload, ReloadTiming
from tests.conftest import Workspace, routes

HINTS_ALONE = 600.0
"""Seconds between two reads of the files without a hint of the watch: longer than a test waits."""


def routes_answering(word: str) -> str:
    """Return a routes.yaml whose model answers with this word."""
    return routes(f"a: {{script: [{{text: {word}}}]}}")


def word(live: Live) -> str:
    """Return the word that the model of the live generation answers with."""
    (target,) = live.generation.routes["chat-model"].targets
    declared = live.generation.kept.health
    (known,) = [one for one, _ in declared.values()]
    assert target.name == "a"
    assert isinstance(known.script, tuple)
    return str(known.script[0].text)


@asynccontextmanager
async def following(workspace: Workspace, check: float = ReloadTiming().check) -> AsyncGenerator[tuple[Live, Reload]]:
    """Yield a live generation and the Reload that follows its files. `check`: seconds between two reads without an event of the watch."""
    file = workspace.root / "routes.yaml"
    live = Live(build(load(file)))
    async with Reload(live, file, timing=ReloadTiming(check=check)) as reload:
        yield live, reload
    await live.close()


def complaints_of(reload: Reload) -> str:
    """Return the mistakes of the newest edit as text; empty if it is served."""
    return str(reload.failed.error) if reload.failed is not None else ""


def recorded_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list to which each read of the configuration by a Reload is added from now on."""
    reads: list[Path] = []

    def recording(routes: Path) -> Snapshot:
        reads.append(routes)
        return read(routes)

    monkeypatch.setattr("router.reload.reload.read", recording)
    return reads


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true, for 240 s at most."""
    async with asyncio.timeout(240):
        while not condition():
            await asyncio.sleep(0.01)


def in_place(file: Path, content: str) -> None:
    """Overwrite a file, as `echo > file` does."""
    file.write_text(content, encoding="utf-8")


def renamed(file: Path, content: str) -> None:
    """Write another file and rename it over this one, as most editors do."""
    other = file.with_name(".routes.yaml.swp")
    other.write_text(content, encoding="utf-8")
    other.replace(file)


def as_vim(file: Path, content: str) -> None:
    """Move the file away, write a new one and delete the old one, as vim does."""
    backup = file.with_name("routes.yaml~")
    file.replace(backup)
    file.write_text(content, encoding="utf-8")
    backup.unlink()


WRITERS: dict[str, Callable[[Path, str], None]] = {"in place": in_place, "renamed": renamed, "as vim does": as_vim}
