"""The chatbot example in Chromium: its routes and tools behind a page that draws the answer's parts as the front end does."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import aiohttp
import pytest

from tests.examples.chatbot import Setting, Talker, Writer, setting
from tests.examples.test_chatbot_routes import VERSIONS, front_end_before
from tests.support.browser import Tab, browser

IDLE = "document.body.dataset.status === 'ready' && document.querySelectorAll('.assistant').length === {}"


@asynccontextmanager
async def page(
    folder: Path, patch: pytest.MonkeyPatch, version: str, edits: Mapping[str, str] = MappingProxyType({})
) -> AsyncGenerator[tuple[Tab, Setting, str], None]:
    """Open the page in a browser, in front of the front end's routes and the router; yield tab, setting and address."""
    async with (
        setting(folder / "router", patch, Talker(()), Writer(()), edits) as at,
        front_end_before(at.client.base, folder / "page", version) as base,
        browser() as tab,
    ):
        await tab.shape(1100, 720)
        await tab.open(base)
        await tab.until("window.ready")
        yield tab, at, base


async def ask(tab: Tab, question: str) -> None:
    """Type a question into the page and send it."""
    await tab.until("!document.querySelector('#send').disabled")
    await tab.run("document.querySelector('input').focus()")
    await tab.type(question)
    await tab.click("#send")


async def save_picture(tab: Tab, name: str) -> None:
    """Save a screenshot as `chatbot-NAME.png` in the folder that ROUTER_PICTURES names; do nothing if it is unset."""
    if folder := os.environ.get("ROUTER_PICTURES"):
        await tab.picture(Path(folder, f"chatbot-{name}.png"))


@pytest.mark.parametrize("version", VERSIONS)
async def test_chatbot_page_draws_weather_documents_suggestions_and_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """The chatbot page draws weather, documents of three kinds, suggestions and an error, and shows text and sheet as saved."""
    async with page(tmp_path, monkeypatch, version) as (tab, _, _):
        await ask(tab, "Weather Berlin")
        await tab.until(IDLE.format(1))
        assert "Berlin" in await tab.run("document.querySelector('.weather').innerText")
        assert "25°C" in await tab.run("document.querySelector('.weather').innerText")
        assert await tab.run("document.querySelectorAll('.weather .hours span').length") == 6

        await ask(tab, "Text Rain in spring")
        await tab.until(IDLE.format(2))
        await tab.sees("saved, version 1")
        assert await tab.run("document.querySelector('#title').textContent") == "Rain in spring"
        assert "The garden" not in await tab.run("document.querySelector('#content').textContent")
        assert "and the garden is glad of it." in await tab.run("document.querySelector('#content').textContent")

        await ask(tab, "Change a bit")
        await tab.until(IDLE.format(3))
        await tab.sees("saved, version 2")
        await tab.sees("Changed: a bit")
        await ask(tab, "Suggest")
        await tab.until(IDLE.format(4))
        assert await tab.run("[...document.querySelectorAll('#suggestions del')].map(one => one.textContent)") == ["A coat.", "It rains"]
        await save_picture(tab, f"{version}-text")

        await ask(tab, "Sheet Rain by month")
        await tab.until(IDLE.format(5))
        await tab.sees("saved, version 1")
        assert await tab.run("[...document.querySelectorAll('th')].map(one => one.textContent)") == ["month", "rain (mm)"]
        assert await tab.run("document.querySelectorAll('#content tr').length") == 4
        await save_picture(tab, f"{version}-sheet")

        await ask(tab, "Code Rain")
        await tab.until(IDLE.format(6))
        await tab.until("document.querySelector('#content').className === 'code'")
        await tab.sees("print(rain(30))")
        await save_picture(tab, f"{version}-code")

        await ask(tab, "Fail")
        await tab.until("document.body.dataset.status === 'error'")
        await tab.sees("No model could answer just now.")
        assert await tab.run("document.querySelectorAll('.card').length") == 6
        await save_picture(tab, f"{version}-error")
        faults = [one for one in tab.complaints if "status of 5" not in one]  # the browser reports the refusal itself
        assert faults == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_chatbot_page_resumes_the_writing_of_a_document_after_a_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """A page that is reloaded while a document is written shows the whole document, which is saved once."""
    async with page(tmp_path, monkeypatch, version) as (tab, at, base):
        assert isinstance(at.writer, Writer)
        at.writer.gate = asyncio.Event()
        await ask(tab, "Sheet Rain by month")
        await at.writer.until(lambda: any("CSV" in str(one) for one in at.writer.requests))
        await tab.sees("writing …")
        await tab.run("window.old = true")
        await tab.send("Page.reload")
        await tab.until("!window.old && window.ready && document.querySelector('.user')")
        await tab.sees("writing …")
        await tab.until("document.body.dataset.status === 'streaming'")
        await save_picture(tab, f"{version}-reloaded")
        at.writer.gate.set()
        await tab.until(IDLE.format(1))
        await tab.sees("May")
        await tab.sees("There it is.")
        async with aiohttp.ClientSession() as session, session.get(f"{base}/rows") as response:
            rows = await response.json()
        assert [one["content"] for one in rows["documents"]] == ["".join(Writer.written["CSV"]).strip()]
        assert [one["role"] for one in rows["messages"]] == ["user", "assistant"]


async def test_stop_in_the_chatbot_page_ends_the_writer_and_saves_no_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stop button closes the stream to the provider, saves no partial document, and lets the conversation go on."""
    version = "july-2026"
    async with page(tmp_path, monkeypatch, version) as (tab, at, base):
        assert isinstance(at.writer, Writer)
        at.writer.stuck = True
        await ask(tab, "Text Rain in spring")
        await at.writer.until(lambda: any("Markdown" in str(one) for one in at.writer.requests))
        await tab.sees("In the making …")
        await tab.click("#stop")
        await at.writer.until(lambda: at.writer.closed == 1)
        await tab.until(IDLE.format(1))
        await tab.sees("It was stopped.")
        await tab.sees("not saved")
        await save_picture(tab, f"{version}-stopped")
        async with aiohttp.ClientSession() as session, session.get(f"{base}/rows") as response:
            rows = await response.json()
        assert rows["documents"] == []
        (card,) = [part for part in rows["messages"][1]["parts"] if part["type"] == "tool-createDocument"]
        assert card["output"] == {"error": "It was stopped."}
        await ask(tab, "Hello")  # the conversation goes on
        await tab.sees("I read: Hello")


async def test_chatbot_tool_call_waits_for_the_users_approval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool call with `approve: always` runs only after the user allows it, and its result appears in the same message."""
    edits = {
        "tools: [weather_card, documents]": "tools: [{use: weather_card, approve: always}, documents]",
        "server:\n": 'server:\n  ui: {min_client: "6.0"}\n',
    }
    async with page(tmp_path, monkeypatch, "july-2026", edits) as (tab, at, base):
        await ask(tab, "Weather Berlin")
        await tab.sees("Look up the weather?")
        await tab.until(IDLE.format(1))
        assert at.weather == []
        await save_picture(tab, "july-2026-approval")
        await tab.click(".approval button")
        await tab.sees("25°C")
        await tab.sees("There it is.")
        await tab.until(IDLE.format(1))
        async with aiohttp.ClientSession() as session, session.get(f"{base}/rows") as response:
            rows = await response.json()
        assert [one["role"] for one in rows["messages"]] == ["user", "assistant"]
        (card,) = [part for part in rows["messages"][1]["parts"] if part["type"] == "tool-getWeather"]
        assert (card["state"], card["output"]["cityName"]) == ("output-available", "Berlin")
