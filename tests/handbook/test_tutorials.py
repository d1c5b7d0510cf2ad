"""The tutorials, followed literally from an empty folder."""

import asyncio
from pathlib import Path

import pytest

from router.commands import main
from tests.conftest import ROOT, Workspace, serving
from tests.handbook.followed import STEP, follow, run

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
SERVED = "http://localhost:8000"


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
async def test_tutorial_works_as_described(path: Path, tmp_path: Path) -> None:
    """Every command of a tutorial succeeds in an empty folder, with a running router behind its requests."""
    here, served = tmp_path / "here", tmp_path / "served"
    here.mkdir()
    assert main(["init", str(served)]) == 0
    (tmp_path / ".curlrc").write_text("fail\nno-progress-meter\n", encoding="utf-8")
    async with serving(Workspace(served).build()) as client:

        def ran(commands: str, folder: Path) -> Path:
            return run(commands.replace(SERVED, client.base), folder, CURL_HOME=str(tmp_path))

        kinds = await asyncio.to_thread(follow, path.read_text(encoding="utf-8"), here, ran)
    assert "sh" in kinds


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_has_at_most_two_skipped_shell_blocks(path: Path) -> None:
    """A tutorial has at most two shell blocks that are marked as not run."""
    blocks = [step for step in STEP.finditer(path.read_text(encoding="utf-8")) if step["language"] == "sh"]
    assert blocks
    assert len([step for step in blocks if step["skipped"]]) <= 2


async def test_injected_fault_of_the_first_tutorial_ends_in_an_error_line(tmp_path: Path) -> None:
    """A project made by `router init` answers a question with `X-Router-Fault: cut` with a first text and then an error line `3:`.
    The first tutorial describes this.
    """
    assert main(["init", str(tmp_path)]) == 0
    body = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}
    async with (
        serving(Workspace(tmp_path).build()) as client,
        client.session.post(f"{client.base}/api/chat", json=body, headers={"X-Router-Fault": "cut"}) as answer,
    ):
        text = await answer.text()
    assert answer.status == 200
    assert text.startswith("0:{")
    assert "\n3:{" in text
