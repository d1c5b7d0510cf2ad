"""Drives the router's page at `/` in Chromium: a reader's actions, and fake servers for it."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.conftest import ROOT, Client, Workspace, routes
from tests.support.browser import Tab, browser
from tests.support.hostile import HOSTILE

DEMO = "down: {model: openai/x, api_key: sk-test, api_base: 'http://127.0.0.1:9/v1'}\na: {script: demo}"
ROUTE = "targets: [down, a]\n    tools: [weather, calculate]\n    reasoning: show"
ENTER = 13
ESCAPE = 27
ANSWERED = "document.querySelectorAll('.answer:not(.growing)').length === {}"
KEYS = "server: {auth: {keys: {alice: {hash: '%s'}}}}\n"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCREENS = [(width, dark) for width in (360, 1440) for dark in (False, True)]
"""Screens that every panel must fit: (width, dark mode), a phone's and a desktop's."""


@asynccontextmanager
async def opened(client: Client, *languages: str) -> AsyncGenerator[Tab, None]:
    """Open the page in a browser; at the end, check that it wrote nothing to the console and requested no other host."""
    async with browser(*languages) as tab:
        await tab.shape(1440, 900)
        await tab.open(f"{client.base}/")
        await tab.until("document.querySelector('#question')")
        yield tab
        assert tab.complaints == [], tab.complaints
        assert [address for address in tab.asked if not address.startswith((client.base, "data:", "blob:"))] == []


async def ask(tab: Tab, question: str) -> None:
    """Type a question and send it with Enter, once the page has its routes and no answer is running."""
    await tab.until("document.querySelector('#route option') && !document.querySelector('#stop')")
    await tab.run("document.querySelector('#question').focus()")
    await tab.type(question)
    await tab.press("Enter", ENTER)


async def choose(tab: Tab, selector: str, value: str) -> None:
    """Select an entry of a list, once it exists."""
    found = f"document.querySelector({json.dumps(selector)})"
    await tab.until(f"{found} && [...{found}.options].some(one => one.value === {json.dumps(value)})")
    await tab.run(f"(() => {{ {found}.value = {json.dumps(value)}; {found}.dispatchEvent(new Event('change', {{bubbles: true}})); }})()")


async def focus(tab: Tab, wanted: str) -> None:
    """Press Tab until the JavaScript expression `wanted` is true; AssertionError after 60 presses."""
    for _ in range(60):
        if await tab.run(wanted):
            return
        await tab.press("Tab", 9)
    raise AssertionError(f"never: {wanted}")


async def press(tab: Tab, label: str) -> None:
    """Click the button with this label, once it is enabled."""
    found = (
        f"[...document.querySelectorAll('button')].find(one => (one.ariaLabel ?? one.textContent) === {json.dumps(label)} && !one.disabled)"
    )
    await tab.until(found)
    await tab.run(f"{found}.click()")


async def open_cockpit(tab: Tab, client: Client) -> None:
    """Open the cockpit by its link, and check the page's title once it is shown."""
    await tab.click(".views a[href='#cockpit']")
    await tab.until("document.querySelector('.cockpit')")
    assert await tab.run("document.title") in ("Pointsman · Cockpit", "Pointsman · 控制台"), client.base


async def unlock(tab: Tab, key: str) -> None:
    """Enter the admin key and press Enter."""
    await tab.until("document.querySelector('#admin-key')")
    await tab.run("(() => { const field = document.querySelector('#admin-key'); field.focus(); field.select(); })()")
    await tab.type(key)
    await tab.press("Enter", ENTER)


def demo(workspace: Workspace, more: str = "") -> Workspace:
    """Write a configuration whose route has a target that is down before a script that uses tools."""
    for name in ("weather", "calculate"):
        workspace.write(f"tools/{name}.py", (ROOT / "tools" / f"{name}.py").read_text(encoding="utf-8"))
    return workspace.write("routes.yaml", routes(DEMO, ROUTE, more))


async def fits(tab: Tab, width: int) -> None:
    """Check that nothing is wider than the screen, every control has a name, and axe-core finds nothing serious."""
    assert await tab.run("document.documentElement.scrollWidth") <= width
    unnamed = "[...document.querySelectorAll('button,a,select,textarea,input:not([hidden])')].filter(one => !(one.ariaLabel || one.innerText.trim() || one.labels?.length)).map(one => one.outerHTML)"
    assert await tab.run(unnamed) == []
    assert await tab.faults() == []


async def anew(tab: Tab) -> None:
    """Start a new conversation."""
    await press(tab, "New chat")
    await tab.until("!document.querySelector('article')")


UNHARMED = """[
    window.hit ?? null,
    document.querySelectorAll('body script,body img:not([src^="data:"]),iframe,object,embed,body style,body link,base,body meta,math,video,audio,template,svg:not(.icon,.mark,.graph,.waterfall svg,.bars svg,.pieces)').length,
    [...document.querySelectorAll('body *')].flatMap(one => one.getAttributeNames()).filter(one => one.startsWith('on')),
    [...document.querySelectorAll('.markdown *')].filter(one => one.hasAttribute('style') || one.hasAttribute('id')).length,
    [...document.querySelectorAll('a[href]')].filter(one => !/^https?:$/.test(one.protocol)).map(one => one.href),
    [...document.querySelectorAll('.markdown a[href]')].filter(one => one.rel !== 'noopener noreferrer nofollow' || one.target !== '_blank').length,
]"""
"""JavaScript that lists what hostile text ran or could run; every entry must be empty."""


async def unharmed(tab: Tab, place: str) -> None:
    """Check that no hostile string ran on the page and that none is in an element or attribute that could run it."""
    await tab.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert await tab.run(UNHARMED) == [None, 0, [], 0, [], 0], place


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
    [{type: 'tool-output-available', toolCallId: one + at, output: {[one]: one}}, {type: 'tool-output-error', toolCallId: one + at, errorText: one},
      {type: 'tool-approval-request', toolCallId: one + at, approvalId: one}][at % 3],
    ...[['kind', ['text', 'code', 'sheet', one][at % 4]], ['id', one], ['title', one], ['clear', null], [['text', 'code', 'sheet', 'text'][at % 4] + 'Delta', one], ['finish', null]].map(
      ([name, data]) => ({type: 'data-' + name, id: 'd' + at, data})),
    {type: 'data-' + one, id: one, data: one},
    {type: 'data-suggestion', id: one, data: {documentId: one, originalText: one, suggestedText: one, description: one}},
    {type: 'source-url', sourceId: one, url: one, title: one}, {type: 'source-document', sourceId: one, mediaType: one, title: one, filename: one},
    {type: 'source-url', sourceId: one, url: 'javascript:window.hit=1//' + one}, {type: 'source-url', sourceId: one, url: 'https://elsewhere.example/?' + one},
    {type: 'file', mediaType: one, url: one}, {type: 'file', mediaType: 'image/svg+xml', url: 'data:image/svg+xml,' + encodeURIComponent('<svg xmlns="http://www.w3.org/2000/svg" onload="window.hit=1">' + one)},
    {type: 'file', mediaType: 'text/html', url: 'data:text/html,' + one}, {type: 'file', mediaType: 'image/png', url: 'https://elsewhere.example/leak.png?' + one},
  ]);
  const stream = chunks.concat({type: 'error', errorText: said.join(' ')}, {type: 'finish', messageMetadata: {finishReason: said[0], usage: {inputTokens: 1, outputTokens: 1}}});
  window.pretended = {record, json, said};
  window.fetch = async (address, options) => {
    const path = new URL(address).pathname;
    if (path === '/api/models') return json({models: said.map((one) => ({id: one, aliases: [one], tools: [one], reasoning: 'show', scripted: true, targets: [one, one], name: one, price: {input: 1, output: 2}, context_window: 3}))});
    if (path === '/api/chat') return window.refuses ? json({error: said.join(' ')}, 400) : new Response(stream.map((one) => `data: ${JSON.stringify(one)}\\n\\n`).join('') + 'data: [DONE]\\n\\n', {headers: {'x-request-id': 'r1'}});
    if (path.startsWith('/api/requests/') || path.startsWith('/admin/requests/')) return json(record);
    if (path === '/admin/requests') return json({requests: said.map((one, at) => ({...record, request_id: one + at, route: one, target: one, outcome: one, caller: one}))});
    if (path === '/admin/targets' || path.startsWith('/admin/targets/')) return json({targets: said.map((one) => ({name: one, state: 'auto', breaker: 'open', retry_in: 1, busy: 1, learned: [one], refusing: {reason: one}}))});
    if (path === '/admin/hour') return json({slot_seconds: 30, slots: [{at: 1, open: 1, answers: 1, failures: 1, rescues: 1, input_tokens: 1, output_tokens: 1, cost_usd: 1, cache_asked: 1, cache_hits: 1}], targets: Object.fromEntries(said.map((one) => [one, {tries: 1, failure_rate: 1, first_token_p50: 1, first_token_p95: 1, cost_usd: 1}]))});
    if (path === '/admin/budgets') return json({budgets: said.map((one) => ({routes: null, caller: one, per: one, limit: one, most: one, used: one === said[0] ? null : 0.5, subjects: one === said[0] ? 2 : null, largest: one === said[0] ? 0.5 : null}))});
    if (path === '/admin/edit') return json({files: true, digest: said[0], live: said[1], previous: said[2], changes: said, complaints: said.map((one) => ({text: one}))});
    if (path === '/admin/drills') return json({drills: said.map((one) => ({name: one, faults: [one], tried: [one], seconds: 1}))});
    if (path === '/admin/reload') return json({detail: said.map((one) => ({file: one, line: 1, column: 1, message: one}))}, 422);
    if (path === '/admin/config') return json({live: {digest: said[0], skipped: {[said[1]]: said[2]}, declared: {routes: Object.fromEntries(said.map((one) => [one, {targets: [[one, {use: one, when: one}], ['no ' + one]], tools: [one], aliases: [one]}]))}}});
    return await real(address, options);
  };
})()"""
"""JavaScript that replaces the server's answers, so that every place of the page shows every hostile string."""


@asynccontextmanager
async def pretended(client: Client, script: str = PRETENDED) -> AsyncGenerator[Tab, None]:
    """Open the page with `fetch` replaced by hostile answers; at the end, check for console messages and requests to other hosts."""
    async with browser() as tab:
        await tab.shape(1440, 900)
        await tab.send("Page.addScriptToEvaluateOnNewDocument", source=script.replace("SAID", json.dumps(HOSTILE)))
        await tab.open(f"{client.base}/")
        yield tab
        assert tab.complaints == [], tab.complaints
        assert [address for address in tab.asked if not address.startswith((client.base, "data:", "blob:"))] == []


SPEAKS = """(() => {
  const real = window.fetch, answers = SAID;
  window.bodies = [];
  window.fetch = async (address, options) => {
    if (new URL(address).pathname !== '/api/chat') return await real(address, options);
    window.bodies.push(JSON.parse(options.body));
    const chunks = answers[Math.min(window.bodies.length, answers.length) - 1];
    let next = 0;
    const body = new ReadableStream({async pull(stream) {
      if (chunks[next] === null) { next += 1; await new Promise((resolve) => { window.goOn = resolve; }); }
      const chunk = chunks[next++];
      stream.enqueue(new TextEncoder().encode(chunk === undefined ? 'data: [DONE]\\n\\n' : `data: ${JSON.stringify(chunk)}\\n\\n`));
      if (chunk === undefined) stream.close();
    }});
    return new Response(body);
  };
})()"""
"""JavaScript that answers questions with lists of UI message stream chunks; at a null it waits for `goOn`."""


@asynccontextmanager
async def speaking(client: Client, answers: Sequence[Sequence[dict[str, Any] | None]], *languages: str) -> AsyncGenerator[Tab, None]:
    """Open the page with its requests to `/api/chat` answered by these chunk lists. `window.bodies` holds the request bodies."""
    async with browser(*languages) as tab:
        await tab.shape(1440, 900)
        await tab.send("Page.addScriptToEvaluateOnNewDocument", source=SPEAKS.replace("SAID", json.dumps(answers)))
        await tab.open(f"{client.base}/")
        await tab.until("document.querySelector('#question')")
        yield tab
        assert tab.complaints == [], tab.complaints
        assert [address for address in tab.asked if not address.startswith((client.base, "data:", "blob:"))] == []
