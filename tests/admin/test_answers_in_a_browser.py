"""Parts of answers besides text, in a real browser: tool approvals, documents, sources, files, prices. Skipped without Chromium."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Workspace, direct_target, routes, serving
from tests.examples.chatbot import Talker, Writer, setting
from tests.support.page import ANSWERED, ENTER, PNG, SCREENS, ask, choose, fits, focus, opened, speaking
from tests.support.provider import Reply, calls, provider, text

ORDERS = '''
"""Orders."""


async def delete_order(number: str) -> str:
    """Delete an order.

    number: its number
    """
    return f"{number} is deleted"
'''
TWO = Reply(calls(("c1", "delete_order", '{"number":"A-1"}'), ("c2", "delete_order", '{"number":"B-2"}')))
ONE = Reply(calls(("c1", "delete_order", '{"number":"A-1"}')))


def careful(workspace: Workspace, base: str) -> Workspace:
    """Return a workspace whose tool runs only after its user approves the call."""
    workspace.write("tools/orders.py", ORDERS)
    return workspace.write("routes.yaml", routes(direct_target(base), "targets: [a]\n    tools: [{use: orders, approve: always}]"))


def results(request: dict[str, Any]) -> list[str]:
    """Return the tool results in a request that the provider received."""
    return [one["content"] for one in request["messages"] if one["role"] == "tool"]


async def test_tool_call_approved_by_keyboard_runs_and_the_answer_continues(workspace: Workspace) -> None:
    """The approval card shows and announces the tool call; Enter on `Approve` runs the tool and moves the focus to the question field."""
    async with (
        provider(ONE, Reply(text("It is gone.")), Reply(text("You are welcome."))) as fake,
        serving(careful(workspace, fake.base).build()) as client,
        opened(client) as tab,
    ):
        await ask(tab, "Delete A-1")
        await tab.until(ANSWERED.format(1))
        assert await tab.run("document.querySelector('.decision').ariaLabel") == "May delete_order run with this input?"
        assert '"number": "A-1"' in await tab.run("document.querySelector('.tool.asking pre').textContent")
        assert "only if you allow it" in await tab.run("document.querySelector('[aria-live]').textContent")
        assert len(fake.requests) == 1
        await focus(tab, "document.activeElement.textContent === 'Approve'")
        await tab.press("Enter", ENTER)
        await tab.sees("It is gone.")
        await tab.until(ANSWERED.format(1))
        assert await tab.run("document.querySelectorAll('article').length") == 2
        assert await tab.run("document.querySelector('.tool .state').textContent") == "done"
        assert await tab.run("[...document.querySelectorAll('.tool pre')].at(-1).textContent") == "A-1 is deleted"
        assert await tab.run("document.activeElement.id") == "question"
        await ask(tab, "Thanks")
        await tab.sees("You are welcome.")
    assert results(fake.requests[1]) == results(fake.requests[2]) == ["A-1 is deleted"]


async def test_denied_tool_call_does_not_run_and_the_model_gets_the_denial(workspace: Workspace) -> None:
    """After one of two calls is denied and, after a page reload, the other approved, the model gets one denial and one result."""
    async with (
        provider(TWO, Reply(text("Only one is gone."))) as fake,
        serving(careful(workspace, fake.base).build()) as client,
        opened(client) as tab,
    ):
        await ask(tab, "Delete both")
        await tab.until("document.querySelectorAll('.decision').length === 2")
        await tab.click(".decision .plain")
        await tab.until("document.querySelectorAll('.decision').length === 1")
        assert await tab.run("document.querySelector('.tool.failed .state').textContent") == "denied"
        assert len(fake.requests) == 1
        await tab.open(f"{client.base}/")
        await tab.click(".decision .primary")
        await tab.sees("Only one is gone.")
        await tab.until(ANSWERED.format(1))
        states = await tab.run("[...document.querySelectorAll('.tool .state')].map(one => one.textContent)")
        assert states == ["denied", "done"]
    assert sorted(results(fake.requests[1])) == ["B-2 is deleted", "The user did not allow this tool to run."]


LATE_ROUTES = """
const real = globalThis.fetch;
globalThis.fetch = async (...given) => {
  const response = await real(...given);
  if (String(given[0]).includes("api/models")) await new Promise((go) => { globalThis.go = go; });
  return response;
};
"""
"""A script for a page: the list of routes arrives only when the test calls `go()`."""


async def test_answer_that_begins_while_the_page_loads_is_shown_once(workspace: Workspace) -> None:
    """When a call is approved before the list of routes has arrived, the page does not resume the answer that it then streams."""
    gate = asyncio.Event()
    async with (
        provider(ONE, Reply(text("It is ", "gone."), gate=gate)) as fake,
        serving(careful(workspace, fake.base).build()) as client,
        opened(client) as tab,
    ):
        await ask(tab, "Delete A-1")
        await tab.until(ANSWERED.format(1))
        await tab.send("Page.addScriptToEvaluateOnNewDocument", source=LATE_ROUTES)
        await tab.open(f"{client.base}/")
        await tab.until("globalThis.go")
        tab.asked.clear()
        await tab.click(".decision .primary")
        await tab.until("document.querySelector('.answer.growing')")
        await tab.run("go(), new Promise((done) => setTimeout(done))")
        gate.set()
        await tab.sees("It is gone.")
        await tab.until(ANSWERED.format(1))
        assert [one for one in tab.asked if one.endswith("/stream") or "/stream?" in one] == []
    assert results(fake.requests[1]) == ["A-1 is deleted"]


async def test_undecided_tool_call_does_not_run_when_the_next_question_is_asked(workspace: Workspace) -> None:
    """A question asked while a tool call waits for approval is answered, the tool does not run, and the card loses its buttons."""
    async with (
        provider(ONE, Reply(text("As you like."))) as fake,
        serving(careful(workspace, fake.base).build()) as client,
        opened(client) as tab,
    ):
        await ask(tab, "Delete A-1")
        await tab.until("document.querySelector('.decision')")
        await ask(tab, "No, leave it")
        await tab.sees("As you like.")
        assert await tab.run("document.querySelectorAll('.decision').length") == 0
    assert results(fake.requests[1]) == []


def piece(name: str, data: str | None, call: str = "c1") -> dict[str, Any]:
    """Return one data part of a document, as a tool streams it."""
    return {"type": f"data-{name}", "id": call, "data": data, "transient": True}


def begun(kind: str, title: str, call: str) -> list[dict[str, Any]]:
    """Return the four parts that begin a document."""
    return [piece("kind", kind, call), piece("id", f"d-{call}", call), piece("title", title, call), piece("clear", None, call)]


FINISH = {"type": "finish", "messageMetadata": {"finishReason": "stop", "usage": {"inputTokens": 1, "outputTokens": 1}}}
ESSAY: list[dict[str, Any] | None] = [
    *begun("text", "An essay", "c1"),
    piece("textDelta", "# Rivers\n\n"),
    None,
    piece("textDelta", "They **flow**."),
    piece("finish", None),
    FINISH,
]
CHANGE: list[dict[str, Any] | None] = [
    {"type": "tool-input-available", "toolCallId": "c8", "toolName": "updateDocument", "input": {"id": "d-c1"}},
    piece("clear", None, "c8"),
    piece("textDelta", "Changed.", "c8"),
    piece("finish", None, "c8"),
    {"type": "tool-output-available", "toolCallId": "c8", "output": {"id": "d-c1", "title": "An essay", "kind": "text"}},
    FINISH,
]
REST: list[dict[str, Any] | None] = [
    *begun("code", "A program", "c2"),
    piece("codeDelta", "print(", "c2"),
    piece("codeDelta", "print('hi')", "c2"),
    piece("finish", None, "c2"),
    *begun("sheet", "Cities", "c3"),
    piece("sheetDelta", "City,Note\n", "c3"),
    piece("sheetDelta", 'City,Note\r\nOslo,"on a ""fjord"", far\nnorth"\nBeijing,', "c3"),
    piece("finish", None, "c3"),
    {"type": "text-delta", "id": "t", "delta": "Both stand beside the chat."},
    {"type": "source-url", "sourceId": "s1", "url": "https://rivers.example/a", "title": "Rivers"},
    {"type": "source-url", "sourceId": "s2", "url": "https://rivers.example/a", "title": "Rivers"},
    {"type": "source-url", "sourceId": "s3", "url": "javascript:alert(1)", "title": "No address"},
    {"type": "source-document", "sourceId": "s4", "mediaType": "application/pdf", "title": "A book"},
    {"type": "file", "mediaType": "image/png", "url": f"data:image/png;base64,{PNG}"},
    {"type": "file", "mediaType": "text/csv", "url": "data:text/csv;base64,YSxi"},
    {"type": "file", "mediaType": "image/png", "url": "https://elsewhere.example/leak.png"},
    FINISH,
]


def quiet(workspace: Workspace) -> Workspace:
    """Return a workspace with one scripted route, for tests that replace the page's requests."""
    return workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}"))


async def test_document_is_shown_beside_the_chat_while_it_is_written(workspace: Workspace) -> None:
    """The panel shows a text as it grows and the newest version of code and sheets; later requests contain no document."""
    async with serving(quiet(workspace).build()) as client, speaking(client, [ESSAY, REST]) as tab:
        await ask(tab, "Write")
        await tab.until("document.querySelector('.document h1')?.textContent === 'Rivers'")
        assert await tab.run("document.querySelector('.artifact-card small').textContent") == "is being written…"
        await tab.run("window.goOn()")
        await tab.until("document.querySelector('.document strong')?.textContent === 'flow'")
        await tab.until(ANSWERED.format(1))
        await ask(tab, "More")
        await tab.until(ANSWERED.format(2))
        await tab.until("document.querySelector('.document .sheet')")
        cells = "[...document.querySelectorAll('.sheet tr')].map(one => [...one.children].map(each => each.textContent))"
        assert await tab.run(cells) == [["City", "Note"], ["Oslo", 'on a "fjord", far\nnorth'], ["Beijing", ""]]
        await tab.run("document.querySelectorAll('.artifact-card')[1].click()")
        await tab.until("document.querySelector('.document pre')?.textContent === `print('hi')`")
        assert [one["role"] for one in (await tab.run("window.bodies[1]"))["messages"]] == ["user", "user"]
        await tab.open(f"{client.base}/")
        await tab.run("document.querySelectorAll('.artifact-card')[0].click()")
        await tab.until("document.querySelector('.document strong')?.textContent === 'flow'")


async def test_document_changed_by_a_later_answer_keeps_its_title(workspace: Workspace) -> None:
    """A later answer that changes a document without sending a title shows the title of the tool's result, and adds a second card."""
    async with serving(quiet(workspace).build()) as client, speaking(client, [[one for one in ESSAY if one], CHANGE]) as tab:
        for count in (1, 2):
            await ask(tab, "Write")
            await tab.until(ANSWERED.format(count))
        await tab.until("document.querySelector('.document .markdown')?.textContent.trim() === 'Changed.'")
        names = await tab.run("[...document.querySelectorAll('.artifact-card strong')].map(one => one.textContent)")
        assert names == ["An essay", "An essay"]


async def test_documents_are_changed_and_suggestions_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document of one answer is changed by the next; a third lists suggestions for the new text, in a panel that fits all SCREENS."""
    async with setting(tmp_path, monkeypatch, Talker(()), Writer(())) as at, opened(at.client) as tab:
        await choose(tab, "#route", "chat-model")
        for count, question in enumerate(("text Rain in spring", "change Make it sunny.", "suggest"), 1):
            await ask(tab, question)
            await tab.until(ANSWERED.format(count))
        names = await tab.run("[...document.querySelectorAll('.artifact-card strong')].map(one => one.textContent)")
        assert names == ["Rain in spring", "Rain in spring"]
        assert "Changed: Make it sunny." in await tab.run("document.querySelector('.document').textContent")
        assert "Changed: Make it sunny." in at.writer.requests[-1]["messages"][-1]["content"]
        shown = "[...document.querySelectorAll('.suggestions li')].map(one => [...one.children].map(each => each.textContent))"
        assert await tab.run(shown) == [
            ["A coat.", "Wear a light raincoat.", "A whole sentence says more."],
            ["It rains", "It pours", "A whole sentence says more."],
        ]
        await tab.click("#panel")
        for width, dark in SCREENS:
            await tab.shape(width, 900, dark=dark)
            await fits(tab, width)
            await tab.picture(tmp_path / f"suggestions-{width}-{dark}.png")


async def test_document_opens_on_a_narrow_screen_only_when_it_is_asked_for(workspace: Workspace) -> None:
    """On a screen of 360 pixels, the document's panel stays closed until its card is opened by keyboard."""
    async with serving(quiet(workspace).build()) as client, speaking(client, [REST]) as tab:
        await tab.shape(360, 740)
        await ask(tab, "Write")
        await tab.until(ANSWERED.format(1))
        assert await tab.run("document.querySelector('#details')") is None
        await focus(tab, "document.activeElement.className === 'artifact-card'")
        await tab.press("Enter", ENTER)
        await tab.until("document.querySelector('.document')")
        assert await tab.run("document.querySelector('#tab-artifact').ariaSelected") == "true"


async def test_sources_and_files_of_an_answer_are_shown_without_loading_remote_ones(workspace: Workspace) -> None:
    """Web sources are links, each once; an embedded image is shown; an image of another host is a link, other sources are plain text."""
    async with serving(quiet(workspace).build()) as client, speaking(client, [REST]) as tab:
        await ask(tab, "Write")
        await tab.until(ANSWERED.format(1))
        links = "[...document.querySelectorAll('.sources a')].map(one => [one.href, one.textContent, one.rel, one.target])"
        assert await tab.run(links) == [["https://rivers.example/a", "Rivers", "noopener noreferrer nofollow", "_blank"]]
        assert await tab.run("[...document.querySelectorAll('.sources li')].map(one => one.textContent)") == [
            "Rivers",
            "No address",
            "A book",
        ]
        assert await tab.run("[...document.querySelectorAll('.answer > img')].map(one => one.naturalWidth)") == [1]
        assert await tab.run("[...document.querySelectorAll('.answer > a.file')].map(one => one.href)") == [
            "https://elsewhere.example/leak.png"
        ]
        assert await tab.run("document.querySelector('.answer > button.file').textContent") == "File (text/csv)"


async def test_chosen_route_shows_its_targets_tools_price_and_context_window(workspace: Workspace) -> None:
    """The chosen route shows its targets, tools, prices for a million tokens and context window; its list entry has model and prices."""
    target = (
        "a: {model: openai/gpt-x, api_key: k, api_base: 'http://127.0.0.1:9/v1', price: {input: 2.5, output: 10}, context_window: 128000}"
    )
    workspace.write("routes.yaml", routes(target, "targets: [a]\n    tools: [weather]"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await tab.until("document.querySelector('.route-facts')")
        facts = await tab.run("[...document.querySelectorAll('.route-facts dd')].map(one => one.textContent.trim())")
        assert facts == ["a", "get_weather", "$2.50 in, $10.00 out, for a million tokens", "128,000 tokens"]
        assert await tab.run("document.querySelector('#route option').textContent") == "chat-model (openai/gpt-x, $2.50 / $10.00)"


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_decisions_documents_and_sources_fit_each_screen_in_each_language(
    workspace: Workspace, tmp_path: Path, language: str
) -> None:
    """With an approval card, a code document or a sheet open, nothing is wider than any of SCREENS, and axe finds nothing serious."""
    wish: list[dict[str, Any] | None] = [
        {"type": "tool-input-available", "toolCallId": "c9", "toolName": "delete_order", "input": {"number": "A-1"}},
        {"type": "tool-approval-request", "toolCallId": "c9", "approvalId": "apr_1"},
    ]
    async with serving(quiet(workspace).build()) as client, speaking(client, [[*REST[:-1], *wish, FINISH]], language) as tab:
        await tab.shape(360, 740)
        await ask(tab, "Write")
        await tab.until("document.querySelector('.decision')")
        for place in ("decision", "code", "sheet"):
            if place != "decision":
                await tab.run(f"document.querySelectorAll('.artifact-card')[{0 if place == 'code' else 1}].click()")
                await tab.until(f"document.querySelector('{'.sheet' if place == 'sheet' else '.document pre'}')")
            for width, dark in SCREENS:
                await tab.shape(width, 740, dark=dark)
                await fits(tab, width)
                await tab.picture(tmp_path / f"{place}-{width}-{dark}.png")
