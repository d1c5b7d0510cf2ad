"""The route handlers of examples/chatbot's front end: their types, and their behaviour with each supported AI SDK release."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import ROOT
from tests.examples.chatbot import EXAMPLE, Talker, Writer, setting
from tests.support.provider import Reply, chunk
from tests.support.services import PATIENCE

COMPILER = ROOT / "web" / "node_modules" / "typescript" / "bin" / "tsc"
CLIENTS = ROOT / "tests" / "clients" / "node_modules"
VERSIONS = {"december-2025": ("ai5.0.108", "schema_december.d.ts"), "july-2026": ("ai7.0.15", "schema_july.d.ts")}
"""Folder of a front-end version → its AI SDK release, and the file with its body types."""
FRONT_END = Path(__file__).parent / "front_end"


def front_end(folder: Path, version: str) -> Path:
    """Copy the files that the README says to copy, for one version of the front end; return the folder of its npm packages."""
    release, schema = VERSIONS[version]
    for part in ("both", version):
        shutil.copytree(EXAMPLE / "front-end" / part, folder, dirs_exist_ok=True)
    shutil.copy(FRONT_END / "shared.d.ts", folder)
    shutil.copy(FRONT_END / schema, folder / "app" / "(chat)" / "api" / "chat" / "schema.d.ts")
    return CLIENTS / release / "node_modules"


@pytest.mark.parametrize("version", VERSIONS)
def test_chatbot_route_handlers_compile_with_the_front_ends_types(tmp_path: Path, version: str) -> None:
    """The chatbot's route handlers compile in strict mode with the types of each front-end version."""
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


@asynccontextmanager
async def front_end_before(router: str, folder: Path, version: str) -> AsyncGenerator[str, None]:
    """Serve the front end's route handlers over an in-memory database, before the router at `router`; yield their address.
    Skips the test if Node, the compiler or the AI SDK is not installed.
    """
    packages = front_end(folder, version)
    if shutil.which("node") is None or not COMPILER.exists() or not (packages / "ai").exists():
        pytest.skip("the compiler or the AI SDK is not installed: `make web/node_modules/.done clients`")
    command = ["node", str(FRONT_END / "server.mjs"), str(folder), str(packages), str(CLIENTS), str(COMPILER.parents[1])]
    server = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "ROUTER_URL": router},
    )
    assert server.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            port = (await server.stdout.readline()).decode().strip()
        yield f"http://127.0.0.1:{port}"
    finally:
        if server.returncode is None:
            server.kill()
        await server.wait()


async def conversation(base: str, version: str, *questions: str) -> dict[str, Any]:
    """Ask these questions with the AI SDK's chat; return its state, and under `rows` the content of the database."""
    packages = CLIENTS / VERSIONS[version][0] / "node_modules"
    client = await asyncio.create_subprocess_exec(
        "node", str(FRONT_END / "drive.mjs"), str(packages), base, json.dumps(questions), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE):
        said, _ = await client.communicate()
    async with aiohttp.ClientSession() as session, session.get(f"{base}/rows") as response:
        return {**json.loads(said), "rows": await response.json()}


def parts_of(seen: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the message parts of this type in the state of a chat."""
    return [part for message in seen["messages"] for part in message["parts"] if part["type"] == name]


@pytest.mark.parametrize("version", VERSIONS)
async def test_chatbot_documents_suggestions_and_messages_are_saved_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """After six questions, the database holds the documents, suggestions, messages and title that the AI SDK's chat has."""
    async with (
        setting(tmp_path / "router", monkeypatch, Talker(()), Writer(())) as at,
        front_end_before(at.client.base, tmp_path / "page", version) as base,
    ):
        seen = await conversation(base, version, "Text Rain", "Change shorter", "Suggest", "Weather Berlin", "Sheet Rain", "Code Rain")
    assert (seen["status"], seen["errors"]) == ("ready", [])
    rows = seen["rows"]
    first, changed, sheet, code = rows["documents"]
    assert (first["title"], first["kind"], first["userId"]) == ("Rain", "text", "user-1")
    assert first["content"] == "".join(Writer.written["Markdown"]).strip()
    assert (changed["id"], changed["title"]) == (first["id"], "Rain")
    assert changed["content"].endswith("Changed: shorter")
    assert (sheet["kind"], sheet["content"]) == ("sheet", "".join(Writer.written["CSV"]).strip())
    assert (code["kind"], code["content"]) == ("code", "".join(Writer.written["code"]).strip())
    names = [name for name, _ in seen["data"] if name != "data-tool-progress" and not name.endswith("Delta")]
    assert names.count("data-finish") == names.count("data-clear") == 4
    assert names.count("data-suggestion") == 2
    assert ("data-chat-title", "About: Text Rain") in [(name, value) for name, value in seen["data"]]
    assert [one["documentId"] for one in rows["suggestions"]] == [first["id"]] * 2
    assert rows["suggestions"][0]["documentCreatedAt"] == changed["createdAt"]
    assert [part["output"]["id"] for part in parts_of(seen, "tool-createDocument")] == [first["id"], sheet["id"], code["id"]]
    assert [part["output"]["id"] for part in parts_of(seen, "tool-updateDocument")] == [first["id"]]
    assert [part["output"]["message"] for part in parts_of(seen, "tool-requestSuggestions")] == ["2 suggestions stand beside the document."]
    assert [part["output"]["cityName"] for part in parts_of(seen, "tool-getWeather")] == ["Berlin"]
    assert [(one["role"], one["id"], one["parts"]) for one in rows["messages"]] == [
        (one["role"], one["id"], one["parts"]) for one in seen["messages"]
    ]
    assert [(one["id"], one["title"]) for one in rows["chats"]] == [(seen["id"], "About: Text Rain")]


@pytest.mark.parametrize("version", VERSIONS)
async def test_error_before_the_stream_is_shown_by_the_chatbot_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """An error before the stream, or an unreachable router, becomes an error of the AI SDK's chat with a code and a sentence."""
    async with (
        setting(tmp_path / "router", monkeypatch, Talker(()), Writer(())) as at,
        front_end_before(at.client.base, tmp_path / "page", version) as base,
    ):
        seen = await conversation(base, version, "Fail")
        assert seen["status"] == "error"
        (error,) = seen["errors"]
        assert error.startswith("offline:chat: No model could answer just now. Please try again. (request req_")
        assert [one["role"] for one in seen["rows"]["messages"]] == ["user"]
    async with front_end_before("http://127.0.0.1:9", tmp_path / "other", version) as base:
        seen = await conversation(base, version, "Hello")
        assert seen["errors"] == ["offline:chat: The chat's server cannot be reached."]


@pytest.mark.parametrize("version", VERSIONS)
async def test_chatbot_document_whose_writer_breaks_off_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """A document whose writing model breaks off becomes an error card and is not saved in the database."""
    broken = Reply((chunk({"content": "Half a document. " * 4}),), drop=True)
    async with (
        setting(tmp_path / "router", monkeypatch, Talker(()), [broken]) as at,
        front_end_before(at.client.base, tmp_path / "page", version) as base,
    ):
        seen = await conversation(base, version, "Text Rain")
    assert seen["rows"]["documents"] == []
    (part,) = parts_of(seen, "tool-createDocument")
    assert list(part["output"]) == ["error"]
    assert ["data-finish", None] in seen["data"]
