"""Headless Chromium, driven over its DevTools protocol. A machine without Chromium skips the test."""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import ROOT
from tests.support.services import PATIENCE, program

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root; the only pages are the router's own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-features=SpareRendererForSitePerProcess",  # no second process for each tab
    "--accept-lang=en",
    "--remote-debugging-port=0",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # no name is ever looked up
)
LOUD = {"error", "warning", "assert"}
"""Console message types that a page must not write."""
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
LOOK_MS = 20
"""Milliseconds between two looks for a condition in a page."""
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


@dataclass
class Tab:
    """One page in the browser.

    complaints: console messages, exceptions and policy reports so far
    asked: the addresses that the page requested
    """

    socket: aiohttp.ClientWebSocketResponse
    session: str = ""
    complaints: list[str] = field(default_factory=list[str])
    asked: list[str] = field(default_factory=list[str])
    _ids: "count[int]" = field(default_factory=lambda: count(1))
    _waiting: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict[int, "asyncio.Future[dict[str, Any]]"])

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one DevTools command and return its result; AssertionError with the browser's message if it fails."""
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": params}
        await self.socket.send_json({**command, "sessionId": self.session} if self.session else command)
        async with asyncio.timeout(PATIENCE):
            return await self._waiting[number]

    async def listen(self) -> None:
        """Read the browser's messages until the connection ends: results of commands, console messages, requests."""
        async for message in self.socket:
            said = json.loads(message.data)
            if (waiter := self._waiting.pop(said.get("id", 0), None)) is not None:
                if "error" in said:
                    waiter.set_exception(AssertionError(said["error"]["message"]))
                else:
                    waiter.set_result(said["result"])
            else:
                self._note(said.get("method", ""), said.get("params", {}))

    def _note(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Runtime.consoleAPICalled" if params["type"] in LOUD:
                self.complaints.append(json.dumps(params["args"]))
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"]))
            case "Log.entryAdded":
                self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])
            case _:
                pass

    async def open(self, address: str) -> None:
        """Navigate to an address and wait until the page is loaded."""
        await self.send("Page.navigate", url=address)
        await self.until("document.readyState === 'complete'")

    async def run(self, script: str) -> Any:
        """Evaluate a JavaScript expression in the page and return its value, or that of its promise; AssertionError if it throws."""
        found = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true, even if the page navigates meanwhile. The page itself looks again and again."""
        looking = (
            "new Promise(found => (function look() {"
            f" try {{ if ({condition}) return found(true) }} catch {{ }} setTimeout(look, {LOOK_MS}) }})())"
        )
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(AssertionError):  # the page has navigated
                    await self.run(looking)
                    return
                await asyncio.sleep(LOOK_MS / 1000)

    async def sees(self, text: str) -> None:
        """Wait until the page shows a text; on a timeout, raise AssertionError with the text shown instead."""
        try:
            await self.until(f"document.body.innerText.includes({json.dumps(text)})")
        except TimeoutError:
            shown = await self.run("document.body.innerText")
            raise AssertionError(f"{text!r} is not in {shown!r}; {self.complaints}") from None

    async def click(self, selector: str) -> None:
        """Click an element once it exists and is enabled."""
        found = f"document.querySelector({json.dumps(selector)})"
        await self.until(f"{found} && !{found}.disabled")
        await self.run(f"{found}.click()")

    async def type(self, text: str) -> None:
        """Insert text into the focused field."""
        await self.send("Input.insertText", text=text)

    async def press(self, key: str, code: int, shift: bool = False) -> None:
        """Press a key. `code`: its virtual key code."""
        more = {"text": "\r"} if key == "Enter" else {}
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **common, **more)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    async def shape(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the size of the viewport and the colour scheme."""
        await self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def faults(self) -> list[str]:
        """Return the serious and critical findings of axe-core for the page: rule, element and reason. Skips the test without axe-core."""
        if not AXE.exists():
            pytest.skip("axe-core is not installed here: `make web/node_modules/.done` installs it, with npm")
        if not await self.run("typeof window.axe === 'object'"):
            await self.run(f"{AXE.read_text(encoding='utf-8')};0")
        found = await self.run("axe.run(document, {resultTypes: ['violations']}).then(one => one.violations)")
        return [
            f"{one['id']}: {node['html'][:200]}: {node['failureSummary']}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    async def picture(self, path: Path) -> None:
        """Write a screenshot of the page."""
        path.write_bytes(base64.b64decode((await self.send("Page.captureScreenshot"))["data"]))


class Chromium:
    """A browser that runs until `close`, with a temporary profile. Each tab has storage and cache of its own."""

    def __init__(self, *flags: str) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        # Started and ended without an event loop: tests with loops of their own share it.
        self._process = subprocess.Popen(
            [_program(), *FLAGS, *flags, f"--user-data-dir={self._folder.name}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Debian's command is a script: a signal to it alone would leave the browser running
        )

    def close(self) -> None:
        """End the browser and delete its profile."""
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._folder.cleanup()

    @asynccontextmanager
    async def tab(self, *languages: str) -> AsyncGenerator[Tab, None]:
        """Open a tab with storage of its own. `languages`: its Accept-Language; English by default."""
        address = await self._address()
        async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=MAX_MESSAGE_BYTES) as socket:
            tab = Tab(socket)
            listening = asyncio.create_task(tab.listen())
            try:
                context = (await tab.send("Target.createBrowserContext", disposeOnDetach=True))["browserContextId"]
                await _attach(tab, context, languages or ("en",))
                yield tab
            finally:
                listening.cancel()

    async def _address(self) -> str:
        """Return the WebSocket address of DevTools, which the browser writes to a file after its start."""
        file = Path(self._folder.name, "DevToolsActivePort")
        async with asyncio.timeout(PATIENCE):
            while not (file.exists() and len(lines := file.read_text(encoding="utf-8").splitlines()) == 2):
                assert self._process.poll() is None, "chromium ended"
                await asyncio.sleep(0.02)
        return f"ws://127.0.0.1:{lines[0]}{lines[1]}"


def _program() -> str:
    """Return the path of Debian's headless build of Chromium, which takes a third less CPU, or of Chromium. Skips the test without both."""
    return shutil.which("chromium-headless-shell") or program("chromium")


@cache
def shared() -> Chromium:
    """Return the browser that all tests of this process share. It starts with the first tab and ends with the test session."""
    return Chromium()


def close_shared() -> None:
    """End the shared browser, if a test has opened a tab."""
    if shared.cache_info().currsize:
        shared().close()


@asynccontextmanager
async def browser(*languages: str) -> AsyncGenerator[Tab, None]:
    """Open a tab of the shared browser with empty storage and cache."""
    async with shared().tab(*languages) as tab:
        yield tab


async def _attach(tab: Tab, context: str, languages: Sequence[str]) -> None:
    made = await tab.send("Target.createTarget", url="about:blank", browserContextId=context)
    tab.session = (await tab.send("Target.attachToTarget", targetId=made["targetId"], flatten=True))["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
        await tab.send(f"{domain}.enable")
    agent = await tab.run("navigator.userAgent")
    await tab.send("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=",".join(languages))
