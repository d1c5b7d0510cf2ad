"""The example pages in Chromium, in front of the router and a fake provider: what users do and see.

`usechat` is built by its own `npm run build`. The page of `nextjs` is bundled by esbuild, since `next build` takes a minute of CPU; its
handlers run in Node without Next.js (next.mjs).
"""

import asyncio
import base64
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from router.callers.keys import hashed, new
from tests.conftest import Client, Workspace, routes, serving
from tests.examples.build import PAGES, server_lines
from tests.examples.gates import GATES
from tests.examples.pages import hosting
from tests.support.browser import Tab, browser
from tests.support.hostile import HOSTILE
from tests.support.provider import Provider, Reply, calls, chunk, error, provider, text
from tests.support.services import PATIENCE, free_ports

ENTER = 13
WORK = '''
from tests.examples.gates import GATES


async def write_report(topic: str):
    """Write a report."""
    yield "half of it"
    await GATES["report"].wait()
    yield "all of it"


async def fail_always() -> str:
    """Fail."""
    raise ValueError
'''
ORDERS = '''
async def delete_order(number: str) -> str:
    """Delete an order."""
    return f"{number} is deleted"
'''
ROUTE = """targets: [a]
    tools: [weather, work, {use: orders, approve: always}]
    reasoning: show
    retry: {attempts: 1}
    rescue: fail
"""
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
IDLE = "document.querySelector('[aria-label=Send]')"
BUSY = "document.querySelector('[aria-label=Stop]')"
CARDS = (
    "[...document.querySelectorAll('.tool')].map(one => [one.querySelector('code').textContent, one.querySelector('.state').textContent])"
)
UNHARMED = """[
    window.hit ?? null,
    document.querySelectorAll('.markdown :is(script,img,iframe,object,embed,style,link,base,meta,form,input:not([type=checkbox]),svg)').length,
    [...document.querySelectorAll('.markdown *')].flatMap(one => one.getAttributeNames()).filter(one => one.startsWith('on') || one === 'srcdoc'),
    [...document.querySelectorAll('.markdown a')].filter(one => !/^(https?|mailto|ircs?|xmpp):$/.test(one.protocol)).map(one => one.href),
]"""
"""JavaScript that lists what hostile text ran, or could run or load; every entry must be empty."""

OLDER_LIST = """(() => {
  const real = window.fetch;
  window.fetch = (address, asked) => real(address, asked?.body ? {...asked, body: asked.body.replace('"model":"other"', '"model":"chat-model"')} : asked);
})()"""
"""JavaScript that makes the page ask for a model that is not in its list."""


class Turnstile(asyncio.Event):
    """An event at which a fake provider's answer waits. `reached`: set once a request waits at it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()

    async def wait(self) -> Literal[True]:
        """Set `reached` and wait until the event is set."""
        self.reached.set()
        return await super().wait()


@dataclass(frozen=True)
class Open:
    """A page in a browser, with its router and the provider behind it."""

    tab: Tab
    router: Client
    provider: Provider
    address: str

    async def ask(self, question: str) -> None:
        """Type a question and send it with Enter."""
        await self.tab.until(IDLE)
        await self.tab.run("document.querySelector('textarea').focus()")
        await self.tab.type(question)
        await self.tab.press("Enter", ENTER)

    async def answered(self) -> None:
        """Wait for the end of the answer."""
        await self.tab.until(f"{IDLE} && !document.querySelector('.waiting')")

    async def reload(self) -> None:
        """Reload the page. Returns when the new page has its list of models."""
        await self.tab.run("window.old = true")
        await self.tab.send("Page.reload")
        await self.tab.until("!window.old && document.querySelector('option')")


GRACE = "  resume: {grace: 15s}\n"


@asynccontextmanager
async def opened(
    example: str,
    built: dict[str, Path],
    workspace: Workspace,
    *script: Reply,
    route: str = "",
    server: str = "",
    key: str = "",
    less: str = "",
) -> AsyncGenerator[Open, None]:
    """Open a page in front of a router that has the `server:` block of the page's README.

    less: text that is removed from that block
    route, server: further lines of the route and of that block
    """
    port = free_ports(1)[0]
    declared = server_lines(example).replace("http://localhost:3000", f"http://127.0.0.1:{port}").replace(less, "") + server
    workspace.write("tools/work.py", WORK).write("tools/orders.py", ORDERS)
    async with provider(*script) as fake:
        target = f"a: {{model: openai/fake, api_base: '{fake.base}', api_key: sk-test, facts: {{images: true}}}}"
        workspace.write("routes.yaml", routes(target, ROUTE + route, declared))
        async with (
            serving(workspace.build()) as client,
            hosting(example, built[example], port, client.base, key) as address,
            browser() as tab,
        ):
            await tab.shape(1440, 900)
            await tab.open(address)
            yield Open(tab, client, fake, address)


def loud(tab: Tab) -> list[str]:
    """Return the page's console messages, except the browser's own about responses with an error status."""
    return [one for one in tab.complaints if not one.startswith("Failed to load resource")]


async def fits(tab: Tab) -> None:
    """Check that nothing is wider than a narrow phone's screen, in both colour schemes."""
    for dark in (False, True):
        await tab.shape(360, 740, dark=dark)
        assert await tab.run("document.documentElement.scrollWidth") <= 360
        assert await tab.run("[...document.querySelectorAll('main, .column')].filter(one => one.scrollWidth > one.clientWidth).length") == 0


@pytest.mark.parametrize("example", PAGES)
async def test_example_page_shows_thoughts_tools_approvals_and_safe_markdown(
    example: str, built: dict[str, Path], workspace: Workspace
) -> None:
    """An example page shows thoughts, tool states, an approval and Markdown, and runs or loads nothing that the model wrote."""
    GATES["report"] = asyncio.Event()
    wish = calls(
        ("c1", "get_weather", '{"location":"Oslo"}'), ("c2", "write_report", '{"topic":"tea"}'),
        ("c3", "fail_always", "{}"), ("c4", "delete_order", '{"number":"A-1"}'),
    )  # fmt: skip
    thinking = (chunk({"role": "assistant", "reasoning_content": "They want **four** things."}), *wish)
    said = "## Done\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nprint(1)\n```\n\n" + "\n\n".join(HOSTILE)
    script = (thinking, text("The order ", "is gone."), calls(("c5", "delete_order", '{"number":"A-2"}')), text("I leave it."), text(said))
    async with opened(example, built, workspace, *map(Reply, script)) as page:
        tab = page.tab
        await tab.until("document.querySelector('option')")
        assert await tab.run("[...document.querySelectorAll('option')].map(one => one.textContent)") == ["chat-model · openai/fake"]
        await page.ask("Work")
        await tab.sees("half of it")
        assert dict(await tab.run(CARDS))["write_report"] == "Running…"
        GATES["report"].set()
        await tab.sees("Allow this tool to run")
        await page.answered()
        cards = dict(await tab.run(CARDS))
        assert cards == {"get_weather": "Done", "write_report": "Done", "fail_always": "Failed", "delete_order": "Waits for you"}
        assert await tab.run("document.querySelector('.thoughts').open") is False
        assert await tab.run("document.querySelector('.thoughts .markdown strong').textContent") == "four"
        await tab.click(".decision .primary")
        await tab.sees("The order is gone.")
        await page.answered()
        assert dict(await tab.run(CARDS))["delete_order"] == "Done"
        assert await tab.run("document.querySelectorAll('article.assistant').length") == 1
        assert "A-1 is deleted" in json.dumps(page.provider.requests[1]["messages"])
        await page.ask("The other one, too")
        await tab.click(".decision button:not(.primary)")
        await tab.sees("I leave it.")
        await page.answered()
        assert (await tab.run(CARDS))[-1] == ["delete_order", "Not allowed"]
        assert "The user did not allow this tool to run." in json.dumps(page.provider.requests[3]["messages"])
        await page.ask("<img src=x onerror=window.hit=1>")
        await tab.until("document.querySelector('.markdown table')")
        await page.answered()
        await tab.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert await tab.run(UNHARMED) == [None, 0, [], []]
        assert await tab.run("document.querySelector('.markdown pre').innerText.trim()") == "print(1)"
        await fits(tab)
        assert await tab.faults() == []
        assert loud(tab) == []
        assert [one for one in tab.asked if not one.startswith((page.address, page.router.base, "data:", "blob:"))] == []


@pytest.mark.parametrize("example", PAGES)
async def test_page_that_is_reloaded_continues_its_answer_and_keeps_the_chat(
    example: str, built: dict[str, Path], workspace: Workspace
) -> None:
    """A reloaded page continues a running answer without repetition or loss, even after an approval, and keeps the chat."""
    first, second = asyncio.Event(), asyncio.Event()
    wish = Reply(calls(("c1", "delete_order", '{"number":"A-1"}')))
    one, two = text("The first half, ", "and the second."), text("It is ", "gone.")
    script = (Reply(one[1:], gate=first), wish, Reply(two[1:], gate=second), Reply(text("Bye.")))
    async with opened(example, built, workspace, *script) as page:
        tab = page.tab
        shown = "[...document.querySelectorAll('article')].map(one => one.innerText.replace(/\\s+/g, ' ').trim())"
        await page.ask("Count")
        await tab.sees("The first half,")
        await page.reload()
        await tab.sees("The first half,")
        await tab.until(BUSY)
        first.set()
        await page.answered()
        assert await tab.run(shown) == ["You Count", "Assistant The first half, and the second."]
        await page.ask("Delete it")
        await tab.click(".decision .primary")
        await tab.sees("It is")
        await page.reload()
        await tab.sees("It is")
        second.set()
        await page.answered()
        assert (await tab.run(shown))[3].endswith("It is gone.")
        assert await tab.run(CARDS) == [["delete_order", "Done"]]
        await page.reload()
        assert len(await tab.run(shown)) == 4
        assert len(page.provider.requests) == 3
        await page.ask("And?")
        await tab.sees("Bye.")
        assert [one["content"] for one in page.provider.requests[3]["messages"] if one["role"] == "user"] == ["Count", "Delete it", "And?"]
        anew = "[...document.querySelectorAll('button')].find(one => one.textContent === 'New chat' && !one.disabled)"
        await tab.until(anew)
        await tab.run(f"{anew}.click()")
        await tab.until("document.querySelector('.greeting')")
        await page.reload()
        assert await tab.run(shown) == []
        assert loud(tab) == []


async def test_reloaded_page_keeps_the_partial_text_if_the_router_does_not_resume(built: dict[str, Path], workspace: Workspace) -> None:
    """Without `resume.grace` a reload ends the answer; the page keeps its partial text and sends it with the next question."""
    async with opened("usechat", built, workspace, Reply(text("Half")[:2], hold=True), Reply(text("More.")), less=GRACE) as page:
        await page.ask("Hi")
        await page.tab.sees("Half")
        await page.reload()
        await page.tab.sees("Half")
        await page.provider.until(lambda: page.provider.closed == 1)
        await page.ask("And?")
        await page.tab.sees("More.")
        said = [(one["role"], one["content"]) for one in page.provider.requests[1]["messages"]]
        assert said[-3:] == [("user", "Hi"), ("assistant", "Half"), ("user", "And?")]
        assert loud(page.tab) == []


async def test_page_reloaded_twice_before_the_first_token_shows_the_whole_answer(built: dict[str, Path], workspace: Workspace) -> None:
    """A page that is reloaded twice before the first token shows the whole answer, and the provider is asked once."""
    first = Turnstile()
    async with opened("nextjs", built, workspace, Reply(text("All of it."), gate=first)) as page:
        await page.ask("Hi")
        async with asyncio.timeout(PATIENCE):
            await first.reached.wait()
        await page.reload()
        await page.tab.until(BUSY)
        await page.reload()
        await page.tab.until(BUSY)
        first.set()
        await page.tab.sees("All of it.")
        await page.answered()
        assert len(page.provider.requests) == 1


@pytest.mark.parametrize("example", PAGES)
async def test_stop_in_an_example_page_closes_the_stream_to_the_provider(
    example: str, built: dict[str, Path], workspace: Workspace
) -> None:
    """The stop button closes the stream to the provider despite `resume.grace`, and the partial text survives a reload.
    An image attached after that reaches the provider with the next question.
    """
    patient = {"less": GRACE, "server": "  resume: {grace: 10m}\n"}
    picture = workspace.root / "dot.png"
    picture.write_bytes(PNG)
    async with opened(example, built, workspace, Reply(text("Half")[:2], hold=True), Reply(text("A dot.")), **patient) as page:
        tab = page.tab
        await page.ask("Hi")
        await tab.sees("Half")
        await tab.click("[aria-label=Stop]")
        await page.provider.until(lambda: page.provider.closed == 1)
        await page.answered()
        await page.reload()
        await tab.sees("Half")
        field = await tab.send("Runtime.evaluate", expression="document.querySelector('input[type=file]')")
        await tab.send("DOM.setFileInputFiles", files=[str(picture)], objectId=field["result"]["objectId"])
        await tab.until("document.querySelector('.composer li img')")
        await page.ask("What is this?")
        await tab.sees("A dot.")
        asked = json.dumps(page.provider.requests[1]["messages"][-1])
        assert f"data:image/png;base64,{base64.b64encode(PNG).decode()}" in asked
        assert await tab.run("document.querySelector('article.user img').naturalWidth") == 1
        await page.answered()
        assert loud(tab) == []


@pytest.mark.parametrize("example", PAGES)
async def test_example_page_shows_a_sentence_for_each_error_and_can_retry(
    example: str, built: dict[str, Path], workspace: Workspace
) -> None:
    """An example page shows a sentence for a failed, a broken-off and a too large request; its button retries the first two."""
    script = (error(500), Reply(text("Half of ")[:2], drop=True), Reply(text("Fine.")))
    async with opened(example, built, workspace, *script, server="  request: {body: 20KiB}\n") as page:
        tab = page.tab
        alert = "document.querySelector('.failure p')?.innerText"
        await page.ask("One")
        await tab.sees("No answer just now.")
        await tab.click(".failure button")
        await tab.sees("The answer is not complete.")
        assert re.search(r"\(request [\w-]+\)", await tab.run(alert))
        await tab.sees("Half of")
        await tab.click(".failure button")
        await tab.sees("Fine.")
        await page.answered()
        assert await tab.run("document.querySelectorAll('article').length") == 2
        await page.ask("x" * 30_000)
        await tab.sees("This is too large to send.")
        await fits(tab)
        assert loud(tab) == []


@pytest.mark.parametrize("example", PAGES)
async def test_example_page_counts_down_the_seconds_of_retry_after(example: str, built: dict[str, Path], workspace: Workspace) -> None:
    """The disabled retry button counts down the seconds of a provider's 429, and shows the minutes of the router's own limit."""
    limit = "    limit: {requests: 1/hour}\n"
    async with opened(example, built, workspace, error(429, retry_after="80"), route=limit) as page:
        tab = page.tab
        label = "document.querySelector('.failure button:disabled')?.textContent"
        await page.ask("One")
        await tab.sees("No answer just now.")
        shown: str = await tab.run(label)
        assert re.fullmatch(r"Try again in \d+ s", shown), shown
        await tab.until(f"{label} !== {json.dumps(shown)}")
        await page.ask("Two")
        await tab.sees("Too many questions for now.")
        assert re.fullmatch(r"Try again in \d+ min", await tab.run(label))
        port, nobody = free_ports(2)
        async with hosting(example, built[example], port, f"http://127.0.0.1:{nobody}") as address:
            await tab.open(address)
            await tab.sees("The router cannot be reached." if example == "usechat" else "The chat service cannot be reached.")
        assert loud(tab) == []


@pytest.mark.parametrize("example", PAGES)
async def test_example_page_shows_a_sentence_for_a_missing_or_restricted_key(
    example: str, built: dict[str, Path], workspace: Workspace
) -> None:
    """The `usechat` page says that a user without a key is not signed in; the `nextjs` page, that a model is not allowed for its key."""
    key = new()
    keys = f"  auth: {{keys: {{web: {{hash: '{hashed(key)}', routes: [other]}}}}}}\n"
    other = "  other: {pipeline: chat, targets: [a]}\n"
    async with opened(example, built, workspace, Reply(text("Fine.")), route=other, server=keys, key=key) as page:
        if example == "usechat":
            await page.tab.sees("You are not signed in.")
            return
        await page.tab.until("document.querySelector('option')?.value === 'other'")
        await page.tab.run(OLDER_LIST)
        await page.ask("Hi")
        await page.tab.sees("You may not use this model.")
        assert page.provider.requests == []
        assert loud(page.tab) == []
