"""The playground of the page at `/` in a real browser: what its reader does, and what the page then shows. Skipped where Chromium is not installed."""

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
    """The targets that were tried stand in the panel, with what became of each."""
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


async def test_answer_is_read_in_every_dialect(workspace: Workspace) -> None:
    """The bytes are those of the dialect that was chosen, and the text is the same."""
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


async def test_stopped_answer_keeps_what_was_said(workspace: Workspace) -> None:
    """Escape stops it, at the server too; the next question is asked as before."""
    lines = [{"text": "The first half. "}, {"pause": "10m"}, {"text": "The second."}]
    workspace.write("routes.yaml", routes(f"a: {{script: {json.dumps(lines)}}}", "targets: [a]\n    timeout: {idle: 20m, total: 30m}"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await ask(tab, "Hi")
        await tab.sees("The first half.")
        await tab.press("Escape", ESCAPE)
        await tab.until(ANSWERED.format(1))
        await tab.sees("Stopped.")
        await tab.until("document.querySelector('#send')")


async def test_question_in_other_words_replaces_what_followed(workspace: Workspace) -> None:
    """The provider is asked with the conversation up to there; asking again asks the same once more."""
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


async def test_image_that_is_pasted_reaches_the_provider(workspace: Workspace) -> None:
    """As a data: address, beside the question."""
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


async def test_audio_reaches_a_model_that_listens_and_no_other(workspace: Workspace, tmp_path: Path) -> None:
    """A file that is dropped or chosen is sent as it is. Where the route's model does not listen, or the file is too large, the page says so."""
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


async def test_answer_is_found_again_after_the_page_is_loaded_anew(workspace: Workspace) -> None:
    """The conversation stays in the tab, the answer goes on from its start, and its timeline is that of the request that asked for it."""
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


async def test_error_is_shown_in_words_and_asking_again_works(workspace: Workspace) -> None:
    """The server's sentence, not a number."""
    workspace.write("routes.yaml", routes("a: {script: [{fail: denied}]}"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await ask(tab, "Hi")
        await tab.until(ANSWERED.format(1))
        shown = await tab.run("document.querySelector('.answer .error').textContent")
        assert len(shown) > 20
        assert not shown.startswith("HTTP")
        tab.complaints.clear()  # the browser itself notes a status of 502 on the console


async def test_key_is_asked_for_and_stays_in_the_tab(workspace: Workspace) -> None:
    """Without it nothing is shown; it goes into sessionStorage, and nowhere else."""
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
    """Nothing is wider than the screen, every control has a name, and the words are those of the browser's language."""
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
    """Tab goes from the field to the buttons; arrows go through the panel's tabs; Escape closes it and gives the focus back."""
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


async def test_newcomer_sees_a_rescue_with_one_click_and_no_key() -> None:
    """In the shipped configuration. Tools run, the first target breaks off, the second goes on; the text has a mark there, the panel says
    what happened when, and a copy of the text has no word of that.
    """
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


async def test_switch_breaks_the_provider_of_the_next_question(workspace: Workspace) -> None:
    """It is there for a route of scripts, and stays as it was put."""
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


async def test_real_provider_has_no_switch_without_the_admin_key(workspace: Workspace) -> None:
    """Who has no admin key is not shown what would be refused."""
    async with provider(Reply(text("Hi"))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client, opened(client) as tab:
            await ask(tab, "Hi")
            await tab.until(ANSWERED.format(1))
            assert await tab.run("document.querySelector('#fault')") is None
            assert await tab.run("document.querySelector('#rescue')") is None


async def test_mark_of_a_rescue_changes_nothing_of_the_markdown(workspace: Workspace) -> None:
    """Also inside of emphasis, code and the address of a link: it stands after the last word, and no address has it."""
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


async def test_question_is_copied_as_code_of_every_client(workspace: Workspace) -> None:
    """Each of them names this server, the route and the question."""
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
