"""Builds the examples as their readers would: a copy of the folder with the installed npm packages beside it."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

HERE = Path(__file__).parent
LIBRARIES = HERE / "node_modules"
EXAMPLES = ROOT / "examples"
PAGES = ("usechat", "nextjs")
"""The examples that are pages for a browser."""
TYPED = (*PAGES, "line-protocol", "openai")
"""The examples that are written in TypeScript."""
OWN = {"node_modules", ".next", "out", "dist", "build"}
"""Folders that may contain a developer's own packages and builds; they are not copied."""
ENTRY = """
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import Page from "./app/page";
import "./chat/chat.css";

const root = document.body.appendChild(document.createElement("div"));
createRoot(root).render(<StrictMode><Page /></StrictMode>);
"""
"""The entry of the page as in `next dev`: React's strict mode, which mounts every component twice."""


def copy(example: str, folder: Path) -> Path:
    """Return a copy of an example below a folder that links to the npm packages. Skips the test if these are not installed."""
    if shutil.which("node") is None or any(_version(name) != version for name, version in installed().items()):
        pytest.skip(
            "the libraries of the examples are not installed here: `make tests/examples/node_modules/.done` installs them, with npm"
        )
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(LIBRARIES, target_is_directory=True)
    return Path(shutil.copytree(EXAMPLES / example, folder / example, ignore=lambda _, names: OWN & set(names)))


def attempt(folder: Path, command: str, given: str = "") -> tuple[int, str]:
    """Run a command of the installed packages, as `npm run` would; return its exit code and its output."""
    path = os.pathsep.join([str(LIBRARIES / ".bin"), os.environ.get("PATH", os.defpath)])
    arguments = shlex.split(command)
    done = subprocess.run(
        arguments, cwd=folder, env={"PATH": path}, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


def run(folder: Path, command: str, given: str = "") -> str:
    """Run a command that must end with exit code 0 and return its output."""
    code, said = attempt(folder, command, given)
    assert code == 0, f"{command}: {said}"
    return said


def build_usechat(folder: Path) -> Path:
    """Build the `usechat` page with its own `npm run build` and return its folder."""
    made = copy("usechat", folder)
    run(made, _json(made / "package.json")["scripts"]["build"])
    return made


def build_nextjs(folder: Path) -> Path:
    """Bundle the page and route handlers of `nextjs` with esbuild, which is faster than `next build`; return the folder for next.mjs."""
    made = copy("nextjs", folder)
    (made / "page.tsx").write_text(ENTRY, encoding="utf-8")
    run(made, "esbuild page.tsx --bundle --outdir=build")
    handlers = shlex.join(str(one.relative_to(made)) for one in (made / "app").rglob("route.ts"))
    run(made, f"esbuild {handlers} --bundle --platform=node --format=esm --outbase=. --outdir=build")
    (made / "build" / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    return made / "build"


def server_lines(example: str) -> str:
    """Return the `server:` block of routes.yaml that the example's README shows."""
    found = re.search(r"```yaml\n(server:\n.*?)```", (EXAMPLES / example / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"the README of {example} has no `server:` block"
    return found[1]


def dependencies(example: str) -> dict[str, str]:
    """Return package → version range, as the example's package.json declares them."""
    declared = _json(EXAMPLES / example / "package.json")
    return {**declared.get("dependencies", {}), **declared.get("devDependencies", {})}


def installed() -> dict[str, str]:
    """Return package → the version with which the examples are tested."""
    return _json(HERE / "package.json")["dependencies"]


def _version(name: str) -> str | None:
    found = LIBRARIES / name / "package.json"
    return _json(found)["version"] if found.exists() else None


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
