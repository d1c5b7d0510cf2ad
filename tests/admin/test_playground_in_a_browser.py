"""The playground at `/` in a real browser. Skipped where Chromium is not installed."""

import json
import shlex
from pathlib import Path

import pytest

from router.callers.keys import hashed, new
from router.config import declare, read
from router.generation import build
from tests.conftest import ROOT, Workspace, direct_target, routes, serving
from tests.support.page import ANSWERED, ENTER, ESCAPE, KEYS, PNG, SCREENS, anew, ask, choose, demo, fits, opened
from tests.support.provider import Reply, provider, text


async def test_question_is_answered_with_thoughts_a_tool_and_its_timeline(workspace: Workspace) -> None:
    """An answer shows its thoughts, its tool call as done, and in the panel the attempts, the raw bytes and a curl command."""
    async with serving(demo(workspace).build()) as client, opened(client) as tab:
        await ask(tab, "What is 12 * 7?")
        await tab.until(ANSWERED.format(1))
        await tab.sees("84")
        assert await tab.run("document.querySelector('.thoughts summary').textContent") == "Thoughts"
        assert await tab.run("document.querySelector('.tool code').textContent") == "calculate"
        assert await tab.run("document.querySelector('.tool .state').textContent") == "done"
        await tab.click("#panel")
        await tab.until("document.querySelector('.waterfall')")
        tried = await tab.run("[...document.querySelectorAll('.waterfall .name')].map(one => one.textContent)")
        assert tried == ["down", "a", "calculate", "down", "a"]
        await tab.click("#tab-bytes")
        await tab.sees('"type":"start-step"')
        await tab.click("#tab-copyAs")
        await tab.sees("curl -N")


async def test_page_shows_the_same_answer_in_each_of_five_protocols(workspace: Workspace) -> None:
    """The page shows the same answer in each of five stream protocols, and its panel names the protocol."""
    workspace.write("routes.yaml", routes("a: {script: [{text: One two three.}]}"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await tab.click("#panel")
        for dialect in ("ui-message-stream", "data-stream", "line", "openai", "text"):
            await tab.click("#tab-bytes")
            await choose(tab, "#tab-panel select", dialect)
            await ask(tab, "Count")
            await tab.until(ANSWERED.format(1))
            assert await tab.run("document.querySelector('.answer .markdown').innerText") == "One two three.", dialect
            assert await tab.run("document.querySelector('.answer .error')") is None
            await tab.click("#tab-timeline")
            await tab.sees(dialect)
            await anew(tab)


async def test_answer_stopped_by_escape_keeps_its_text(workspace: Workspace) -> None:
    """Escape stops an answer: the text so far stays, `Stopped.` is shown, and the next question can be sent."""
    lines = [{"text": "The first half. "}, {"pause": "10m"}, {"text": "The second."}]
    workspace.write("routes.yaml", routes(f"a: {{script: {json.dumps(lines)}}}", "targets: [a]\n    timeout: {idle: 20m, total: 30m}"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await ask(tab, "Hi")
        await tab.sees("The first half.")
        await tab.press("Escape", ESCAPE)
        await tab.until(ANSWERED.format(1))
        await tab.sees("Stopped.")
        await tab.until("document.querySelector('#send')")


async def test_edited_question_replaces_its_answer(workspace: Workspace) -> None:
    """An edited question is sent without the old question and answer; `Ask again` sends the same conversation once more."""
    async with provider(Reply(text("First")), Reply(text("Second")), Reply(text("Third"))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client, opened(client) as tab:
            await ask(tab, "Old words")
            await tab.sees("First")
            await tab.click(".question [aria-label=Edit]")
            await tab.until("document.activeElement.value === 'Old words'")
            await tab.run("document.activeElement.select()")
            await tab.type("New words")
            await tab.click(".editing .primary")
            await tab.sees("Second")
            await tab.click(".answer [aria-label='Ask again']")
            await tab.sees("Third")
            assert await tab.run("document.querySelectorAll('article').length") == 2
    asked = [[one["content"] for one in request["messages"]] for request in fake.requests]
    assert asked == [["Old words"], ["New words"], ["New words"]]


async def test_pasted_image_reaches_the_provider(workspace: Workspace) -> None:
    """An image pasted into the field is shown, and sent to the provider beside the question as a `data:` URL."""
    async with provider(Reply(text("A dot"))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client, opened(client) as tab:
            await tab.run(
                "(() => { const bytes = Uint8Array.from(atob('" + PNG + "'), one => one.charCodeAt(0));"
                "const data = new DataTransfer(); data.items.add(new File([bytes], 'dot.png', {type: 'image/png'}));"
                "document.querySelector('#question').dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true})); })()"
            )
            await tab.until("document.querySelector('.attached img')")
            await ask(tab, "What is this?")
            await tab.sees("A dot")
            assert await tab.run("document.querySelector('.question img').alt") == "dot.png"
    sent = json.dumps(fake.requests[0]["messages"])
    assert PNG in sent
    assert "What is this?" in sent


DROPPED = """(() => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(SIZE)], 'note.wav', {type: 'audio/wav'}));
  document.querySelector('#question').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
})()"""
ATTACHED = "[...document.querySelectorAll('.attached .file')].map(one => one.textContent)"


async def test_audio_file_is_sent_only_to_a_model_that_takes_audio(workspace: Workspace, tmp_path: Path) -> None:
    """A dropped audio file is sent to a model that takes audio; for other models, and above the size limit, the page shows an error."""
    async with provider(Reply(text("A bell"))) as fake:
        facts = "".join(
            direct_target(fake.base, name).replace("}", f", facts: {{audio: {hears}}}}}") for name, hears in (("a", "true"), ("b", "false"))
        )
        workspace.write("routes.yaml", routes(facts, more="  deaf: {pipeline: chat, targets: [b]}\n"))
        async with serving(workspace.build()) as client, opened(client) as tab:
            accepted = "document.querySelector('input[type=file]').accept.includes('audio/*')"
            await choose(tab, "#route", "deaf")
            assert not await tab.run(accepted)
            await tab.run(DROPPED.replace("SIZE", "9"))
            await tab.sees("The model of this route does not listen to audio.")
            await choose(tab, "#route", "chat-model")
            await tab.until(accepted)
            await tab.run(DROPPED.replace("SIZE", "700001"))
            await tab.sees("This file is too large")
            assert await tab.run(ATTACHED) == []
            await tab.run(DROPPED.replace("SIZE", "9"))
            await tab.until("document.querySelector('.attached .file')")
            assert await tab.run(ATTACHED) == ["note.wav"]
            for width, dark in SCREENS:
                await tab.shape(width, 900, dark=dark)
                await fits(tab, width)
                await tab.picture(tmp_path / f"audio-{width}-{dark}.png")
            await ask(tab, "What is this?")
            await tab.sees("A bell")
    (sent,) = fake.requests
    assert {"type": "input_audio", "input_audio": {"data": "AAAAAAAAAAAA", "format": "wav"}} in sent["messages"][0]["content"]


async def test_answer_resumes_after_a_reload_of_the_page(workspace: Workspace) -> None:
    """After a reload during an answer, the page shows the conversation, the complete answer and the timeline of the original request."""
    first = [{"text": "The first half. "}, {"pause": "1s"}, {"fail": "down"}]
    targets = f"a: {{script: {json.dumps(first)}}}\nb: {{script: [{{text: The first half. The second half.}}]}}"
    workspace.write("routes.yaml", routes(targets, "targets: [a, b]", "server: {resume: {grace: 5m}}\n"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await ask(tab, "Hi there")
        await tab.sees("The first half.")
        await tab.open(f"{client.base}/")
        await tab.sees("Hi there")
        await tab.until(ANSWERED.format(1))
        await tab.until("document.querySelector('.answer .seam')")
        said = "document.querySelector('.answer .markdown').textContent.replace(/\\s+/g, ' ').trim()"
        assert await tab.run(said) == "The first half. The second half."
        assert await tab.run("document.querySelector('.answer .error')") is None
        await tab.click("#panel")
        await tab.until("document.querySelector('.waterfall')")
        assert await tab.run("[...document.querySelectorAll('.waterfall .name')].map(one => one.textContent)") == ["a", "b"]


async def test_error_is_shown_as_a_sentence(workspace: Workspace) -> None:
    """A failed answer shows the server's sentence, which does not begin with an HTTP status."""
    workspace.write("routes.yaml", routes("a: {script: [{fail: denied}]}"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await ask(tab, "Hi")
        await tab.until(ANSWERED.format(1))
        shown = await tab.run("document.querySelector('.answer .error').textContent")
        assert len(shown) > 20
        assert not shown.startswith("HTTP")
        tab.complaints.clear()  # the browser itself notes a status of 502 on the console


async def test_api_key_is_asked_for_and_kept_in_session_storage_alone(workspace: Workspace) -> None:
    """With keys declared for callers, the page asks for a key before it lists routes, and keeps a valid one in sessionStorage only."""
    key = new()
    keys = KEYS % hashed(key)
    workspace.write("routes.yaml", routes("a: {script: [{text: For Alice}]}", more=keys))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await tab.sees("Enter your API key")
        assert await tab.run("document.querySelectorAll('#route option').length") == 0
        await tab.until("document.activeElement.id === 'key'")
        await tab.type(f"{key}x")
        await tab.press("Enter", ENTER)
        await tab.sees("This is no key of this server.")
        await tab.run("document.querySelector('#key').select()")
        await tab.type(key)
        await tab.press("Enter", ENTER)
        await ask(tab, "Hi")
        await tab.sees("For Alice")
        assert await tab.run("[JSON.stringify(localStorage), document.cookie, location.href.includes('key')]") == ["{}", "", False]
        assert await tab.run("sessionStorage.getItem('pointsman.key')") == key
        await tab.click("#panel")
        await tab.click("#tab-copyAs")
        assert key not in await tab.run("document.body.innerText")
        tab.complaints.clear()  # the browser itself notes the 401 on the console


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_page_fits_each_screen_in_each_language(workspace: Workspace, tmp_path: Path, language: str) -> None:
    """The page in English or Chinese is never wider than the screen, axe finds nothing serious, and `lang` is the browser's."""
    async with serving(demo(workspace).build()) as client, opened(client, language) as tab:
        await tab.until("document.querySelector('#route option')")
        assert await tab.run("document.documentElement.lang") == language[:2]
        for width, dark in SCREENS:
            await tab.shape(width, 740, dark=dark)
            await fits(tab, width)
        await tab.click(".examples button:last-child")
        await tab.until(ANSWERED.format(1))
        for place in ("", "#panel", "#tab-bytes", "#tab-copyAs"):
            if place:
                await tab.click(place)
            for width, dark in SCREENS:
                await tab.shape(width, 740, dark=dark)
                await fits(tab, width)
                await tab.picture(tmp_path / f"{place.strip('#')}-{width}-{dark}.png")


async def test_page_is_worked_by_keyboard_alone(workspace: Workspace) -> None:
    """Tab reaches the buttons, arrow keys change the panel's tab, and Escape closes the panel and returns the focus to its button."""
    async with serving(demo(workspace).build()) as client, opened(client) as tab:
        await ask(tab, "What is 12 * 7?")
        await tab.until(ANSWERED.format(1))
        await tab.run("document.querySelector('#panel').focus()")
        await tab.press("Enter", ENTER)
        await tab.until("document.querySelector('#details')")
        await tab.run("document.querySelector('#tab-timeline').focus()")
        await tab.press("ArrowRight", 39)
        await tab.until("document.activeElement.id === 'tab-bytes' && document.activeElement.ariaSelected === 'true'")
        await tab.press("Escape", ESCAPE)
        await tab.until("!document.querySelector('#details') && document.activeElement.id === 'panel'")
        seen = set[str]()
        for _ in range(20):
            await tab.press("Tab", 9)
            seen.add(await tab.run("document.activeElement.ariaLabel ?? document.activeElement.id"))
        assert {"Message", "Ask again", "Edit", "Copy"} <= seen


async def test_demo_button_shows_a_rescue_without_any_key() -> None:
    """A click plays an answer that breaks off and is continued by another target, marked at the break; the panel has both attempts."""
    async with serving(build(declare(read(ROOT / "routes.yaml"), {}))) as client, opened(client) as tab:
        await tab.click("#rescue")
        await tab.until(ANSWERED.format(1))
        await tab.until("document.querySelector('.answer .seam') && document.querySelector('.waterfall')")
        assert await tab.run("document.querySelector('.seam').ariaLabel") == "demo broke off here; understudy went on"
        rows = "[...document.querySelectorAll('.waterfall li')].map(one => [...one.querySelectorAll('.name,code')].map(each => each.textContent).join(' ').trim())"
        shown = await tab.run(rows)
        assert {"get_weather", "calculate", "demo cut", "understudy ok"} <= set(shown)
        assert shown.index("demo cut") < shown.index("understudy ok")
        text = await tab.run("[...document.querySelectorAll('.answer .markdown')].map(one => one.textContent).join('')")
        assert text.count("Here is what I found:") == 1
        assert text.count("84") == 1
        assert await tab.run("document.querySelector('#fault').value") == ""
        await tab.sees("Broken on purpose")


async def test_fault_switch_breaks_the_first_target_of_each_question(workspace: Workspace) -> None:
    """Each fault that the switch injects into the first target still gives a complete answer, with a seam if text came before."""
    lines = json.dumps([{"text": "One two three four five six seven."}])
    workspace.write("routes.yaml", routes(f"a: {{script: {lines}}}\nb: {{script: {lines}}}", "targets: [a, b]\n    timeout: {idle: 2s}"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await tab.click("#panel")
        for fault in ("cut", "stall", "429", "garbage"):
            await choose(tab, "#fault", fault)
            await ask(tab, "Count")
            await tab.until(ANSWERED.format(1))
            text = await tab.run("document.querySelector('.answer .markdown').textContent.trim()")
            assert text == "One two three four five six seven.", fault
            await tab.until(
                "document.querySelectorAll('.waterfall .bad').length && document.querySelectorAll('.waterfall .good').length === 1"
            )
            assert await tab.run("document.querySelectorAll('.answer .seam').length") == (0 if fault == "429" else 1)
            await anew(tab)


async def test_fault_switch_is_hidden_on_a_real_provider_without_the_admin_key(workspace: Workspace) -> None:
    """On a route with a real provider, the page has neither the fault switch nor the demo button while no admin key is entered."""
    async with provider(Reply(text("Hi"))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client, opened(client) as tab:
            await ask(tab, "Hi")
            await tab.until(ANSWERED.format(1))
            assert await tab.run("document.querySelector('#fault')") is None
            assert await tab.run("document.querySelector('#rescue')") is None


async def test_rescue_mark_does_not_change_the_markdown(workspace: Workspace) -> None:
    """A rescue within bold text, code or a link's address leaves text, formatting and address unchanged."""
    said = "**Bold words here** and `code of some length` and [a link](https://elsewhere.example/abcdefghijklmnop) end."
    at = {"bold": 8, "code": 30, "address": 80}
    for place, cut in at.items():
        first = json.dumps([{"text": said[:cut]}, {"fail": "down"}])
        second = json.dumps([{"text": said}])
        workspace.write("routes.yaml", routes(f"a: {{script: {first}}}\nb: {{script: {second}}}", "targets: [a, b]"))
        async with serving(workspace.build()) as client, opened(client) as tab:
            await ask(tab, place)
            await tab.until(ANSWERED.format(1))
            await tab.until("document.querySelector('.seam') || document.querySelector('.answer .usage')")
            await tab.click("#panel")
            await tab.until("document.querySelector('.waterfall')")
            assert (
                await tab.run("document.querySelector('.markdown').textContent.trim()")
                == "Bold words here and code of some length and a link end."
            ), place
            assert await tab.run("document.querySelector('.markdown a').href") == "https://elsewhere.example/abcdefghijklmnop"
            assert await tab.run("document.querySelectorAll('.markdown strong, .markdown code').length") == 2


async def test_copied_code_of_each_client_asks_the_same_question(workspace: Workspace) -> None:
    """The code to copy names this server, the route and the question for six clients; the Python code compiles and curl's JSON is exact."""
    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}")).build()) as client, opened(client) as tab:
        await ask(tab, 'It\'s "quoted" \\ and 中文')
        await tab.until(ANSWERED.format(1))
        await tab.click("#panel")
        await tab.click("#tab-copyAs")
        await tab.until("document.querySelector('.code')")
        names = await tab.run("[...document.querySelectorAll('.code h3')].map(one => one.textContent)")
        codes = await tab.run("[...document.querySelectorAll('.code pre')].map(one => one.textContent)")
    assert names == ["curl", "useChat", "OpenAI (Python)", "OpenAI (Node)", "OpenAI Responses (Python)", "Anthropic (Python)"]
    assert all(client.base in code and "chat-model" in code for code in codes)
    for name, code in zip(names, codes, strict=True):
        if "Python" in name:
            compile(code, name, "exec")
            assert 'It\'s \\"quoted\\" \\\\ and 中文' in code
    sent = json.loads(shlex.split(codes[0].replace("\\\n", ""))[-1])
    assert sent == {"model": "chat-model", "messages": [{"role": "user", "content": 'It\'s "quoted" \\ and 中文'}]}
