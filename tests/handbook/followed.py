"""Follows a documentation page literally: creates the files that it shows, applies its diffs and runs its commands."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

STEP = re.compile(
    r"(?P<skipped><!-- not run: [^\n]+ -->\n)?```(?P<language>sh|diff|python|yaml)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
"""A fenced block of a page; a comment before it states why it is not run."""
CREATED = re.compile(r"[Cc]reate\s+(?:its test,\s+)?`(?P<path>[\w./]+)`:\s*\Z")
"""The end of a paragraph that says that the next block is a new file."""
Run = Callable[[str, Path], Path]
"""A function that runs a block's commands in a folder and returns the folder in which they end."""


def follow(page: str, folder: Path, run: Run) -> set[str]:
    """Do everything that a page says, starting in a folder; return the languages of its blocks, without YAML that is only shown."""
    kinds: set[str] = set()
    for step in STEP.finditer(page):
        created = CREATED.search(page[: step.start()])
        match step["language"]:
            case "diff":
                apply(step["text"], folder)
            case "sh":
                folder = folder if step["skipped"] else run(step["text"], folder)
            case _ if created:
                (folder / created["path"]).write_text(step["text"], encoding="utf-8")
            case "python":
                raise AssertionError(f"no file is named before:\n{step['text'][:200]}")
            case _:
                continue
        kinds.add(step["language"])
    return kinds


def apply(diff: str, root: Path) -> None:
    """Apply a diff of a page. Each hunk follows a line `@@`; its old lines must occur in the file exactly once."""
    head, *hunks = re.split(r"^@@\n", diff, flags=re.MULTILINE)
    path = root / head.removeprefix("+++ ").strip()
    text = path.read_text(encoding="utf-8")
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if not line.startswith("+"))
        new = "".join(line[1:] for line in lines if not line.startswith("-"))
        assert text.count(old) == 1, f"{path.name} has not once:\n{old}"
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def run(commands: str, folder: Path, **variables: str) -> Path:
    """Run shell commands in a folder with this environment's `router`; return the folder in which they end, or raise AssertionError."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_", "ROUTER_"))}
    known["PATH"] = f"{Path(sys.prefix, 'bin')}{os.pathsep}{known.get('PATH', os.defpath)}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'{commands}\nprintf "\\n%s" "$PWD"'],
        cwd=folder,
        env={**known, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return Path(done.stdout.rpartition("\n")[2])
