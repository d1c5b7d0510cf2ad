"""The front end's part of examples/chatbot: its types, with those of the AI SDK that each version of the front end has."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.examples.chatbot import EXAMPLE

COMPILER = ROOT / "web" / "node_modules" / "typescript" / "bin" / "tsc"
CLIENTS = ROOT / "tests" / "clients" / "node_modules"
VERSIONS = {"december-2025": ("ai5.0.108", "schema_december.d.ts"), "july-2026": ("ai7.0.15", "schema_july.d.ts")}
"""Folder → the release of the AI SDK that this front end has, and the types of a body."""
FRONT_END = Path(__file__).parent / "front_end"


def front_end(folder: Path, version: str) -> Path:
    """Copy what the README says to copy, as it says it. Return the packages of that front end."""
    release, schema = VERSIONS[version]
    for part in ("both", version):
        shutil.copytree(EXAMPLE / "front-end" / part, folder, dirs_exist_ok=True)
    shutil.copy(FRONT_END / "shared.d.ts", folder)
    shutil.copy(FRONT_END / schema, folder / "app" / "(chat)" / "api" / "chat" / "schema.d.ts")
    return CLIENTS / release / "node_modules"


@pytest.mark.parametrize("version", VERSIONS)
def test_routes_have_the_types_of_the_front_end(tmp_path: Path, version: str) -> None:
    """`tsc`, strict, where it and the AI SDK are installed (`make web/node_modules/.done clients`)."""
    packages = front_end(tmp_path, version)
    if shutil.which("node") is None or not COMPILER.exists() or not (packages / "ai").exists():
        pytest.skip("the compiler or the AI SDK is not installed: `make web/node_modules/.done clients`")
    options = {
        "strict": True,
        "noEmit": True,
        "skipLibCheck": True,
        "target": "ES2022",
        "module": "esnext",
        "moduleResolution": "bundler",
        "lib": ["ES2023", "DOM", "DOM.Iterable"],
        "types": [],
        "paths": {"ai": [f"{packages}/ai"], "@/*": ["./*"]},
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "include": ["**/*.ts"]}))
    done = subprocess.run(
        ["node", str(COMPILER), "--project", str(tmp_path)], capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, "")
