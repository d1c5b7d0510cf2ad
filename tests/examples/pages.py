"""Both example pages, served as they would be, for a browser."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.examples.build import HERE, build_nextjs, build_usechat

Address = str
BUILDERS = {"usechat": build_usechat, "nextjs": build_nextjs}


@asynccontextmanager
async def hosting(example: str, built: Path, port: int, router: Address, key: str = "") -> AsyncGenerator[Address, None]:
    """The page's own server, in front of the router at `router`. `key`: the router's key that a Next.js server has."""
    if example == "usechat":
        async with _files(built, port, router) as base:
            yield base
    else:
        async with _handlers(built, router, key) as base:
            yield base


@asynccontextmanager
async def _files(built: Path, port: int, router: Address) -> AsyncGenerator[Address, None]:
    """The folder, with the router's address where a developer writes it."""
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


@asynccontextmanager
async def _handlers(built: Path, router: Address, key: str) -> AsyncGenerator[Address, None]:
    environment = {"ROUTER_URL": router, "NO_PROXY": "*", **({"ROUTER_KEY": key} if key else {})}
    process = await asyncio.create_subprocess_exec(
        *("node", str(HERE / "next.mjs"), str(built)),
        env={**environment, "PATH": os.environ.get("PATH", os.defpath)},
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
