"""Both example pages behind a server, for a browser."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.examples.build import HERE, build_nextjs, build_usechat
from tests.support.services import PATIENCE

Address = str
NEXT = "POINTSMAN_NEXT"
"""The environment variable with a folder in which `next build` has run; the page is then served by `next start`."""
BUILDERS = {"usechat": build_usechat, "nextjs": build_nextjs}


@asynccontextmanager
async def hosting(example: str, built: Path, port: int, router: Address, key: str = "") -> AsyncGenerator[Address, None]:
    """Serve the page in front of the router at `router` and yield its address. `key`: the API key that the Next.js server sends."""
    if example == "usechat":
        async with _files(built, port, router) as base:
            yield base
    elif folder := os.environ.get(NEXT):
        async with _next(Path(folder), port, router, key) as base:
            yield base
    else:
        async with _handlers(built, router, key) as base:
            yield base


@asynccontextmanager
async def _files(built: Path, port: int, router: Address) -> AsyncGenerator[Address, None]:
    """Serve the built folder as static files, with the router's address written into index.html."""
    text = (built / "index.html").read_text(encoding="utf-8")
    index = text.replace("http://localhost:8000", router)
    assert index != text

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=index, content_type="text/html")

    application = web.Application()
    application.router.add_get("/", page)
    application.router.add_static("/out", built / "out")
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def _environment(router: Address, key: str) -> dict[str, str]:
    """Return the environment variables for the server of the `nextjs` page."""
    variables = {"ROUTER_URL": router, "NO_PROXY": "*", "PATH": os.environ.get("PATH", os.defpath), "NEXT_TELEMETRY_DISABLED": "1"}
    return {**variables, **({"ROUTER_KEY": key} if key else {})}


@asynccontextmanager
async def _next(folder: Path, port: int, router: Address, key: str) -> AsyncGenerator[Address, None]:
    base = f"http://127.0.0.1:{port}"
    command = ("node", "node_modules/next/dist/bin/next", "start", "--hostname", "127.0.0.1", "--port", str(port))
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env=_environment(router, key), stdout=sys.stderr)
    try:
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
            while not await _serves(session, base):
                assert process.returncode is None
                await asyncio.sleep(0.05)
        yield base
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _serves(session: aiohttp.ClientSession, base: Address) -> bool:
    try:
        async with session.get(base) as response:
            return response.status == 200
    except OSError:
        return False


@asynccontextmanager
async def _handlers(built: Path, router: Address, key: str) -> AsyncGenerator[Address, None]:
    process = await asyncio.create_subprocess_exec(
        *("node", str(HERE / "next.mjs"), str(built)),
        env=_environment(router, key),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        port = json.loads(await process.stdout.readline())
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
