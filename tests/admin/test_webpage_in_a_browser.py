"""The page at `/` in a real browser: what its reader does, and what the page then shows. Skipped where Chromium is not installed."""

import json
import shlex
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from router.callers.keys import hashed, new
from router.config import declare, read
from router.generation import build
from tests.conftest import KEYED, OPERATOR, ROOT, Client, Workspace, direct_target, routes, serving
from tests.support.browser import Tab, browser
from tests.support.hostile import HOSTILE
from tests.support.provider import Reply, provider, text

DEMO = "down: {model: openai/x, api_key: sk-test, api_base: 'http://127.0.0.1:9/v1'}\na: {script: demo}"
ROUTE = "targets: [down, a]\n    tools: [weather, calculate]\n    reasoning: show"
ENTER = 13
ESCAPE = 27
ANSWERED = "document.querySelectorAll('.answer:not(.growing)').length === {}"
KEYS = "server: {auth: {keys: {alice: {hash: '%s'}}}}\n"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@asynccontextmanager
async def opened(client: Client, *languages: str) -> AsyncGenerator[Tab, None]:
    """The page in a browser. At the end it has written nothing to the console and asked no other server."""
    async with browser(*languages) as tab:
        await tab.shape(1440, 900)
        await tab.open(f"{client.base}/")
        await tab.until("document.querySelector('#question')")
        yield tab
        assert tab.complaints == []
        assert [address for address in tab.asked if not address.startswith((client.base, "data:", "blob:"))] == []


async def ask(tab: Tab, question: str) -> None:
    """Type a question and send it with Enter."""
    await tab.until("document.querySelector('#route option') && !document.querySelector('#stop')")
    await tab.run("document.querySelector('#question').focus()")
    await tab.type(question)
    await tab.press("Enter", ENTER)


async def choose(tab: Tab, selector: str, value: str) -> None:
    """Choose an entry of a list, once it is there."""
    found = f"document.querySelector({json.dumps(selector)})"
    await tab.until(f"{found} && [...{found}.options].some(one => one.value === {json.dumps(value)})")
    await tab.run(f"(() => {{ {found}.value = {json.dumps(value)}; {found}.dispatchEvent(new Event('change', {{bubbles: true}})); }})()")


def demo(workspace: Workspace, more: str = "") -> Workspace:
    """A workspace whose route has a target that is down before a script that uses tools."""
    for name in ("weather", "calculate"):
        workspace.write(f"tools/{name}.py", (ROOT / "tools" / f"{name}.py").read_text(encoding="utf-8"))
    return workspace.write("routes.yaml", routes(DEMO, ROUTE, more))


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


@pytest.mark.parametrize("dialect", ["ui-message-stream", "data-stream", "line", "openai", "text"])
async def test_answer_is_read_in_every_dialect(workspace: Workspace, dialect: str) -> None:
    """The bytes are those of the dialect that was chosen, and the text is the same."""
    workspace.write("routes.yaml", routes("a: {script: [{text: One two three.}]}"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await tab.click("#panel")
        await tab.click("#tab-bytes")
        await choose(tab, "#tab-panel select", dialect)
        await ask(tab, "Count")
        await tab.until(ANSWERED.format(1))
        assert await tab.run("document.querySelector('.answer .markdown').innerText") == "One two three."
        assert await tab.run("document.querySelector('.answer .error')") is None
        await tab.click("#tab-timeline")
        await tab.sees(dialect)


UNHARMED = """[
    window.hit ?? null,
    document.querySelectorAll('body script,body img:not([src^="data:"]),iframe,object,embed,body style,body link,base,body meta,math,video,audio,template,svg:not(.icon,.mark,.graph,.waterfall svg,.bars svg,.pieces)').length,
    [...document.querySelectorAll('body *')].flatMap(one => one.getAttributeNames()).filter(one => one.startsWith('on')),
    [...document.querySelectorAll('.markdown *')].filter(one => one.hasAttribute('style') || one.hasAttribute('id')).length,
    [...document.querySelectorAll('a[href]')].filter(one => !/^https?:$/.test(one.protocol)).map(one => one.href),
    [...document.querySelectorAll('.markdown a[href]')].filter(one => one.rel !== 'noopener noreferrer nofollow' || one.target !== '_blank').length,
]"""
"""Whether anything ran or could run: all that must be nothing."""


async def unharmed(tab: Tab, place: str) -> None:
    """Nothing ran, and nothing stands in the page that could."""
    await tab.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert await tab.run(UNHARMED) == [None, 0, [], 0, [], 0], place


async def test_nothing_that_a_model_says_runs_or_loads(workspace: Workspace) -> None:
    """HTML is shown as text, addresses that run are left out, images of other hosts become links, the console stays silent."""
    said = "\n\n".join(HOSTILE)
    lines = [{"thought": said}, {"text": said}]
    workspace.write("routes.yaml", routes(f"a: {{script: {json.dumps(lines).replace('$', '$$')}}}", "targets: [a]\n    reasoning: show"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await ask(tab, "<img src=x onerror=window.hit=1>")
        await tab.until(ANSWERED.format(1))
        await unharmed(tab, "answer")
        assert await tab.run("document.querySelectorAll('.markdown a[href]').length") > 0


PRETENDED = """(() => {
  const said = SAID, real = window.fetch;
  const json = (value, status = 200) => new Response(JSON.stringify(value), {status, headers: {'content-type': 'application/json', 'x-request-id': 'r1'}});
  const attempt = (name) => ({target: name, outcome: name, seconds: 1, began_seconds: 0, first_token_seconds: 0.5, retry_after_seconds: 1});
  const record = {request_id: said[0], at: 1, running: false, route: said[1], status: 200, outcome: said[2], reason: said[3], target: said[4],
    cache: said[5], fault: said[6], steps: 1, tools: said.map((one) => ({tool: one, seconds: 1, is_error: true, began_seconds: 0})),
    attempts: said.map(attempt), rescues: 1, seams: said.map((one, at) => ({after_characters: at * 9 + 1, from: one, to: one})),
    input_tokens: 1, output_tokens: 1, cost_usd: 1, estimated: true, first_token_seconds: 1, seconds: 2, caller: said[7], generation: said[8]};
  const chunks = said.flatMap((one, at) => [
    {type: 'start-step'}, {type: 'text-start', id: 't' + at}, {type: 'text-delta', id: 't' + at, delta: one}, {type: 'reasoning-delta', id: 'r' + at, delta: one},
    {type: 'tool-input-start', toolCallId: one + at, toolName: one}, {type: 'tool-input-delta', toolCallId: one + at, inputTextDelta: one},
    {type: 'tool-input-available', toolCallId: one + at, toolName: one, input: {[one]: one}},
    at % 2 ? {type: 'tool-output-available', toolCallId: one + at, output: {[one]: one}} : {type: 'tool-output-error', toolCallId: one + at, errorText: one},
  ]);
  const stream = chunks.concat({type: 'error', errorText: said.join(' ')}, {type: 'finish', messageMetadata: {finishReason: said[0], usage: {inputTokens: 1, outputTokens: 1}}});
  window.pretended = {record, json, said};
  window.fetch = async (address, options) => {
    const path = new URL(address).pathname;
    if (path === '/api/models') return json({models: said.map((one) => ({id: one, aliases: [one], tools: [one], reasoning: 'show', scripted: true, targets: [one, one]}))});
    if (path === '/api/chat') return window.refuses ? json({error: said.join(' ')}, 400) : new Response(stream.map((one) => `data: ${JSON.stringify(one)}\\n\\n`).join('') + 'data: [DONE]\\n\\n', {headers: {'x-request-id': 'r1'}});
    if (path.startsWith('/api/requests/') || path.startsWith('/admin/requests/')) return json(record);
    if (path === '/admin/requests') return json({requests: said.map((one, at) => ({...record, request_id: one + at, route: one, target: one, outcome: one, caller: one}))});
    if (path === '/admin/targets' || path.startsWith('/admin/targets/')) return json({targets: said.map((one) => ({name: one, state: 'auto', breaker: 'open', retry_in: 1, busy: 1, learned: [one], refusing: {reason: one}}))});
    if (path === '/admin/hour') return json({slot_seconds: 30, slots: [{at: 1, open: 1, answers: 1, failures: 1, rescues: 1, input_tokens: 1, output_tokens: 1, cost_usd: 1, cache_asked: 1, cache_hits: 1}], targets: Object.fromEntries(said.map((one) => [one, {tries: 1, failure_rate: 1, first_token_p50: 1, first_token_p95: 1, cost_usd: 1}]))});
    if (path === '/admin/budgets') return json({budgets: said.map((one) => ({routes: null, caller: one, per: one, limit: one, most: one, used: 0.5}))});
    if (path === '/admin/edit') return json({files: true, digest: said[0], live: said[1], previous: said[2], changes: said, complaints: said.map((one) => ({text: one}))});
    if (path === '/admin/drills') return json({drills: said.map((one) => ({name: one, faults: [one], tried: [one], seconds: 1}))});
    if (path === '/admin/reload') return json({detail: said.map((one) => ({file: one, line: 1, column: 1, message: one}))}, 422);
    if (path === '/admin/config') return json({live: {digest: said[0], skipped: {[said[1]]: said[2]}, declared: {routes: Object.fromEntries(said.map((one) => [one, {targets: [[one, {use: one, when: one}], ['no ' + one]], tools: [one], aliases: [one]}]))}}});
    return await real(address, options);
  };
})()"""
"""Answers in place of the server, so that each place of the page has each string, also where a server would let none through."""


@asynccontextmanager
async def pretended(client: Client, script: str = PRETENDED) -> AsyncGenerator[Tab, None]:
    """The page with a server that says hostile things. At the end it wrote nothing to the console and asked no other server."""
    async with browser() as tab:
        await tab.shape(1440, 900)
        await tab.send("Page.addScriptToEvaluateOnNewDocument", source=script.replace("SAID", json.dumps(HOSTILE)))
        await tab.open(f"{client.base}/")
        yield tab
        assert tab.complaints == []
        assert [address for address in tab.asked if not address.startswith((client.base, "data:", "blob:"))] == []


async def test_nothing_that_a_server_says_runs_or_loads_anywhere(workspace: Workspace) -> None:
    """Route ids, tool names, their input and output, error sentences, names of providers in the timeline, and the code to copy."""
    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}")).build()) as client, pretended(client) as tab:
        await unharmed(tab, "greeting")
        await ask(tab, HOSTILE[0])
        await tab.until(ANSWERED.format(1))
        await tab.until("document.querySelector('.answer .seam')")
        assert await tab.run("document.querySelectorAll('.answer .tool').length") == len(HOSTILE)
        await unharmed(tab, "answer")
        await tab.click("#panel")
        for place in ("timeline", "bytes", "copyAs"):
            await tab.click(f"#tab-{place}")
            await tab.until(f"document.querySelector('#tab-{place}').ariaSelected === 'true'")
            await unharmed(tab, place)
        await tab.run("window.refuses = true")
        await ask(tab, HOSTILE[3])
        await tab.until(ANSWERED.format(2))
        await unharmed(tab, "error")


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


async def test_answer_is_found_again_after_the_page_is_loaded_anew(workspace: Workspace) -> None:
    """The conversation stays in the tab, and the answer goes on from its start."""
    lines = [{"text": "The first half. "}, {"pause": "1s"}, {"text": "The second half."}]
    more = "server: {resume: {grace: 5m}}\n"
    workspace.write("routes.yaml", routes(f"a: {{script: {json.dumps(lines)}}}", more=more))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await ask(tab, "Hi there")
        await tab.sees("The first half.")
        await tab.open(f"{client.base}/")
        await tab.sees("Hi there")
        await tab.sees("The first half. The second half.")
        await tab.until(ANSWERED.format(1))
        assert await tab.run("document.querySelector('.answer .error')") is None


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


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_page_fits_each_screen_in_each_language(workspace: Workspace, tmp_path: Path, width: int, language: str, dark: bool) -> None:
    """Nothing is wider than the screen, every control has a name, and the words are those of the browser's language."""
    async with serving(demo(workspace).build()) as client, opened(client, language) as tab:
        await tab.shape(width, 740, dark=dark)
        await tab.until("document.querySelector('#route option')")
        assert await tab.run("document.documentElement.lang") == language[:2]
        await tab.click(".examples button:last-child")
        await tab.until(ANSWERED.format(1))
        await tab.picture(tmp_path / "chat.png")
        for place in ("", "#panel", "#tab-bytes", "#tab-copyAs"):
            if place:
                await tab.click(place)
            assert await tab.run("document.documentElement.scrollWidth") <= width
            unnamed = "[...document.querySelectorAll('button,a,select,textarea,input:not([hidden])')].filter(one => !(one.ariaLabel || one.innerText.trim() || one.labels?.length)).map(one => one.outerHTML)"
            assert await tab.run(unnamed) == []
            assert await tab.faults() == []


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


@pytest.mark.parametrize("fault", ["cut", "stall", "429", "garbage"])
async def test_switch_breaks_the_provider_of_the_next_question(workspace: Workspace, fault: str) -> None:
    """It is there for a route of scripts, and stays as it was put."""
    lines = json.dumps([{"text": "One two three four five six seven."}])
    workspace.write("routes.yaml", routes(f"a: {{script: {lines}}}\nb: {{script: {lines}}}", "targets: [a, b]\n    timeout: {idle: 2s}"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await choose(tab, "#fault", fault)
        await ask(tab, "Count")
        await tab.until(ANSWERED.format(1))
        assert await tab.run("document.querySelector('.answer .markdown').textContent.trim()") == "One two three four five six seven."
        await tab.click("#panel")
        await tab.until("document.querySelectorAll('.waterfall .bad').length && document.querySelectorAll('.waterfall .good').length === 1")
        assert await tab.run("document.querySelectorAll('.answer .seam').length") == (0 if fault == "429" else 1)


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


async def open_cockpit(tab: Tab, client: Client) -> None:
    """Go to the cockpit by its link, and wait until it shows the server."""
    await tab.click(".views a[href='#cockpit']")
    await tab.until("document.querySelector('.cockpit')")
    assert await tab.run("document.title") in ("Pointsman · Cockpit", "Pointsman · 控制台"), client.base


async def unlock(tab: Tab, key: str) -> None:
    """Enter the admin key."""
    await tab.until("document.querySelector('#admin-key')")
    await tab.run("(() => { const field = document.querySelector('#admin-key'); field.focus(); field.select(); })()")
    await tab.type(key)
    await tab.press("Enter", ENTER)


async def press(tab: Tab, label: str) -> None:
    """Click the button of this name, once it is there."""
    found = (
        f"[...document.querySelectorAll('button')].find(one => (one.ariaLabel ?? one.textContent) === {json.dumps(label)} && !one.disabled)"
    )
    await tab.until(found)
    await tab.run(f"{found}.click()")


async def test_nothing_that_a_server_says_runs_in_the_cockpit(workspace: Workspace) -> None:
    """Names of routes, targets, callers and outcomes, learned facts, sentences of an edit, complaints, drills, and a refused reload."""
    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}")).build()) as client, pretended(client) as tab:
        await open_cockpit(tab, client)
        await tab.until("document.querySelector('.pending pre')")
        await tab.until("document.querySelectorAll('.requests tbody tr').length")
        await unharmed(tab, "cockpit")
        await tab.click(".requests tbody .link")
        await unlock(tab, OPERATOR)
        await tab.click("#drills")
        await tab.until("document.querySelector('.drills')")
        await tab.until("!document.querySelector('#reload').disabled")
        await tab.click("#reload")
        await tab.until("document.querySelector('.came')?.textContent.includes(':1:1:')")
        await unharmed(tab, "control")


async def test_cockpit_shows_routes_targets_the_hour_and_requests(workspace: Workspace) -> None:
    """A request opens into its waterfall; the filters leave what they name. Nothing that was said is shown."""
    async with serving(demo(workspace).build()) as client, opened(client) as tab:
        await ask(tab, "What is 12 * 7?")
        await tab.until(ANSWERED.format(1))
        await open_cockpit(tab, client)
        await tab.until("document.querySelectorAll('.requests tbody tr').length === 1")
        names = await tab.run("[...document.querySelectorAll('.way .card strong')].map(one => one.textContent)")
        assert names == ["down", "a"]
        assert await tab.run("document.querySelectorAll('.graph').length") == 7
        await tab.until("document.querySelector('.card dd') && [...document.querySelectorAll('.card')][0].textContent.includes('100 %')")
        await tab.click(".requests tbody .link")
        await tab.until("document.querySelector('.wide .waterfall')")
        rows = await tab.run("[...document.querySelectorAll('.wide .waterfall .name')].map(one => one.textContent)")
        assert rows == ["down", "a", "calculate", "down", "a"]
        assert "12 * 7" not in await tab.run("document.body.innerText")
        await choose(tab, "#kind", "failed")
        await tab.sees("No request is like that.")
        await choose(tab, "#kind", "all")
        await tab.run("document.querySelector('#sought').focus()")
        await tab.type("calculat")
        await tab.sees("No request is like that.")


async def test_request_that_runs_is_shown_in_the_cockpit(workspace: Workspace) -> None:
    """Until it is over."""
    lines = [{"text": "First. "}, {"pause": "10m"}]
    workspace.write("routes.yaml", routes(f"a: {{script: {json.dumps(lines)}}}", "targets: [a]\n    timeout: {idle: 20m, total: 30m}"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await open_cockpit(tab, client)
        async with client.session.post(f"{client.base}/api/chat", json={"messages": [{"role": "user", "content": "Hi"}]}) as response:
            assert response.status == 200
            await tab.until("document.querySelector('.requests .running')")
        await tab.until("!document.querySelector('.requests .running') && document.querySelector('.requests tbody tr')")
        await tab.sees("client_left")


async def test_operator_drains_a_target_and_restores_it(workspace: Workspace) -> None:
    """With the admin key, which stays in the memory of the page."""
    targets = "a: {script: [{text: From a}]}\nb: {script: [{text: From b}]}"
    async with serving(workspace.write("routes.yaml", routes(targets, "targets: [a, b]")).build()) as client, opened(client) as tab:
        await open_cockpit(tab, client)
        await tab.until("document.querySelectorAll('.card').length === 2")
        assert await tab.run("document.querySelectorAll('.card button').length") == 0
        await unlock(tab, OPERATOR)
        await press(tab, "Drain: a")
        await tab.until("document.querySelector('.card.off .badge')?.textContent === 'drained'")
        assert (await client.ask()).headers["x-router-target"] == "b"
        await press(tab, "Restore: a")
        await tab.until("!document.querySelector('.card.off')")
        assert (await client.ask()).headers["x-router-target"] == "a"
        kept = "[JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie + location.href]"
        assert OPERATOR not in (await tab.run(kept))[0]


async def test_operator_reads_an_edit_serves_it_and_goes_back(workspace: Workspace) -> None:
    """What it means in sentences; a mistake with its caret; and the configuration before it."""
    targets, off = "a: {script: [{text: A}]}\nb: {script: [{text: B}]}", "server: {reload: off}\n"
    drill = "drills: [{name: the second one helps, given: {a: cut}, ask: {model: chat-model}, expect: {tried: [a cut, b ok]}}]\n"
    file = workspace.write("routes.yaml", routes(targets, "targets: [a, b]", off + drill)).root / "routes.yaml"
    async with serving(workspace.build(), follows=file) as client, opened(client) as tab:
        await open_cockpit(tab, client)
        await tab.sees("The files hold what serves.")
        await unlock(tab, OPERATOR)
        workspace.write("routes.yaml", routes(targets, "targets: [c]", off))
        await press(tab, "look again")
        await tab.sees("no target is named `c`")
        assert (await tab.run("document.querySelector('.pending pre').textContent")).endswith("^")
        workspace.write("routes.yaml", routes(targets, "targets: [b, a]", off))
        await press(tab, "look again")
        await tab.sees("chat-model: first target a → b")
        await press(tab, "Reload the files")
        await tab.sees("serves.")
        assert (await client.ask()).headers["x-router-target"] == "b"
        await press(tab, "Return to the previous configuration")
        await tab.sees("chat-model: first target a → b")
        assert (await client.ask()).headers["x-router-target"] == "a"
        await press(tab, "Run the drills")
        await tab.sees("1 drills, none failed.")
        await tab.sees("the second one helps")


async def test_cockpit_shows_nothing_without_the_admin_key(workspace: Workspace) -> None:
    """Where one is declared. A wrong one is refused in words."""
    workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", more=f"server: {{{KEYED}}}\n"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await open_cockpit(tab, client)
        await tab.until("document.querySelector('#admin-key')")
        assert await tab.run("document.querySelectorAll('.way, .graph, .requests').length") == 0
        await unlock(tab, "x" * 28)
        await tab.sees("This page takes the admin key")
        assert await tab.run("document.querySelectorAll('.way, .graph, .requests').length") == 0
        await unlock(tab, OPERATOR)
        await tab.until("document.querySelector('.way')")
        tab.complaints.clear()  # the browser itself notes each 401 on the console


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_cockpit_fits_each_screen_in_each_language(
    workspace: Workspace, tmp_path: Path, width: int, language: str, dark: bool
) -> None:
    """Nothing is wider than the screen, and axe finds nothing serious, also with a waterfall and the result of drills."""
    drill = "drills: [{name: it fails, ask: {model: chat-model}, expect: {served_by: a}}]\n"
    async with serving(demo(workspace, drill).build()) as client, opened(client, language) as tab:
        await client.ask("What is 12 * 7?")
        await tab.shape(width, 740, dark=dark)
        await open_cockpit(tab, client)
        await unlock(tab, OPERATOR)
        await tab.click(".requests tbody .link")
        await tab.until("document.querySelector('.wide .waterfall')")
        await tab.click("#drills")
        await tab.until("document.querySelector('.drills .bad')")
        assert await tab.run("document.documentElement.scrollWidth") <= width
        assert await tab.faults() == []
        await tab.picture(tmp_path / "cockpit.png")


async def test_cockpit_is_worked_by_keyboard_alone(workspace: Workspace) -> None:
    """From the playground to a drained target, with Tab and Enter."""
    targets = "a: {script: [{text: From a}]}\nb: {script: [{text: From b}]}"
    async with serving(workspace.write("routes.yaml", routes(targets, "targets: [a, b]")).build()) as client, opened(client) as tab:
        await focus(tab, "document.activeElement.textContent === 'Cockpit'")
        await tab.press("Enter", ENTER)
        await tab.until("document.querySelectorAll('.card').length === 2")
        await focus(tab, "document.activeElement.id === 'admin-key'")
        await tab.type(OPERATOR)
        await tab.press("Enter", ENTER)
        await tab.until("document.querySelector('.card button')")
        await focus(tab, "document.activeElement.ariaLabel === 'Drain: a'")
        await tab.press("Enter", ENTER)
        await tab.until("document.querySelector('.card.off')")


async def focus(tab: Tab, wanted: str) -> None:
    """Press Tab until the element that is wanted has the focus; an AssertionError where it cannot be reached so."""
    for _ in range(60):
        if await tab.run(wanted):
            return
        await tab.press("Tab", 9)
    raise AssertionError(f"never: {wanted}")


async def test_cockpit_keeps_nothing_of_what_it_showed(workspace: Workspace) -> None:
    """After as many looks as half an hour has, with a request between any two of the first, it has as many elements as before and no more memory."""
    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}")).build()) as client, opened(client) as tab:
        await open_cockpit(tab, client)
        await tab.until("document.querySelector('.way')")
        for _ in range(100):  # from now on the list of requests is full
            await client.ask(stream=False)
        module = await tab.run("new URL('cockpit/state.js', document.querySelector('script').src).href")
        look = f"import({json.dumps(module)}).then(async ({{look}}) => {{ for (let at = 0; at < TIMES; at++) await look(); }})"

        async def weighed(times: int) -> tuple[int, int]:
            for _ in range(times // 50):
                await client.ask(stream=False)
                await tab.run(look.replace("TIMES", "50"))
            await tab.send("HeapProfiler.collectGarbage")
            heap = await tab.send("Runtime.getHeapUsage")
            return (await tab.send("Memory.getDOMCounters"))["nodes"], heap["usedSize"]

        nodes, heap = await weighed(100)
        more_nodes, more_heap = await weighed(600)
    assert more_nodes <= nodes * 1.1
    assert more_heap <= heap + 2_000_000


async def test_docs_are_opened_with_the_admin_key(workspace: Workspace) -> None:
    """Where one is declared: a wrong key is told, the right one opens the schema, and is kept nowhere."""
    workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", more=f"server: {{{KEYED}}}\n"))
    async with serving(workspace.build()) as client, browser() as tab:
        await tab.open(f"{client.base}/docs")
        for key, expected in ((f"{OPERATOR}x", "This is not the admin key."), (OPERATOR, "/api/chat/{route}")):
            await tab.until("document.activeElement.type === 'password' && !document.activeElement.value")
            await tab.type(key)
            await tab.press("Enter", ENTER)
            await tab.sees(expected)
        assert OPERATOR not in await tab.run(
            "JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie + location.href"
        )
        assert {one for one in tab.asked if not one.startswith((client.base, "data:", "blob:"))} == set()
