"""docs/python.md: every public name exists and has a docstring, and every program on the page runs."""

import importlib
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from router.asgi import Edge
from router.commands import main
from tests.conftest import ROOT

PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")
NAMES = re.findall(r"^\| `(router\.[\w.]+)` \|", PAGE, re.MULTILINE)
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
HELLO = {"model": "chat-model", "messages": [{"role": "user", "content": "Hello"}], "stream": False}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the workspace of `router init`, as the current directory."""
    assert main(["init", str(tmp_path)]) == 0
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(name: str) -> Any:
    """Return the object that a dotted name such as `router.asgi.app` stands for."""
    module, *parts = re.split(r"\.(?=app$|create_app$|[A-Z]|needs_)|(?<=Edge)\.", name)
    value: Any = importlib.import_module(module)
    for part in parts:
        value = getattr(value, part)
    return value


def program(text: str) -> ModuleType:
    """Execute a program of the page as a module that is not `__main__`, and return the module."""
    module = ModuleType("shown")
    exec(compile(text, "docs/python.md", "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - our own documentation
    return module


@pytest.mark.parametrize("name", [name for name in NAMES if name != "router.asgi.app"])
def test_public_name_exists_and_has_a_docstring(name: str) -> None:
    """Each name in the table of docs/python.md, but `router.asgi.app`, can be imported and has a docstring over 20 characters."""
    assert len((found(name).__doc__ or "").strip()) > 20


def test_router_asgi_app_is_an_application_over_router_routes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`router.asgi.app` is an `Edge` that is built from the file named by the variable `ROUTER_ROUTES`."""
    monkeypatch.setenv("ROUTER_ROUTES", str(here / "routes.yaml"))
    monkeypatch.setattr("router.asgi.to_stderr", lambda: None)
    monkeypatch.setattr("router.asgi.steady", lambda: None)
    cached = importlib.import_module("router.asgi").__dict__["_app"]
    cached.cache_clear()
    assert isinstance(found("router.asgi.app"), Edge)
    cached.cache_clear()


@pytest.mark.parametrize("text", [text for text in PROGRAMS if "lifespan" in text], ids=["fastapi", "starlette"])
async def test_router_mounted_in_fastapi_and_starlette_answers_below_its_prefix(text: str, here: Path) -> None:
    """The page's FastAPI and Starlette programs answer a chat request at `/llm/api/chat`."""
    assert here
    shown = program(text)
    async with (
        shown.lifespan(shown.app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=shown.app), base_url="http://localhost") as client,
    ):
        answer = await client.post("/llm/api/chat", json=HELLO)
    assert answer.status_code == 200
    assert "offline" in json.loads(answer.text)["content"]


async def test_program_that_asks_without_a_server_gets_an_answer(here: Path) -> None:
    """The last program in docs/python.md gets the demo's answer without a server."""
    assert here
    assert "offline" in await program(PROGRAMS[-1]).ask("Hello")


def test_router_names_imported_by_shipped_tools_are_public() -> None:
    """Each router name that a shipped or example tool imports is in the table of public names in docs/python.md."""
    files = [*(ROOT / "tools").glob("*.py"), *(ROOT / "examples").glob("*/tools/*.py")]
    lines = [
        hit for file in files for hit in re.findall(r"^from (router[\w.]*) import (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert lines
    assert [f"{module}.{name}" for module, names in lines for name in names.split(", ") if f"{module}.{name}" not in NAMES] == []
