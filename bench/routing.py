"""Measures the request path before and after a model: the application is called in this process, without server, socket or model.

    python -m bench.routing

Prints CPU microseconds per request, the best of several rounds, for a script of one word, over two wires, and for an unknown model. The
last shows only the cost of routing, guards and the error.
"""

import asyncio
import json
import logging
import tempfile
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from router.config import declare, read
from router.generation import build
from router.server import application

ROUNDS, REQUESTS = 15, 400
BODY = json.dumps({"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}).encode()
ROUTES = """
targets: {a: {script: [{text: Hi}]}}
routes: {chat-model: {pipeline: chat, targets: [a]}}
"""
ADDRESSES = {"a question": "/api/chat", "an OpenAI client's": "/v1/chat/completions", "an unknown model": "/api/chat/nobody"}


def scope(path: str) -> MutableMapping[str, Any]:
    """Return the ASGI scope of a request from this machine."""
    headers = [(b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [*headers, (b"user-agent", b"bench"), (b"accept", b"*/*"), (b"authorization", b"Bearer something")],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }


async def measured(edge: Any, path: str) -> float:
    """Return the CPU seconds per request in the best round."""
    read_once = asyncio.Event()

    async def send(_: MutableMapping[str, Any]) -> None:
        pass

    async def one() -> None:
        given = False

        async def receive() -> MutableMapping[str, Any]:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": BODY, "more_body": False}
            await read_once.wait()
            return {"type": "http.disconnect"}

        await edge(scope(path), receive, send)

    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(REQUESTS):
            await one()
        best = min(best, (time.process_time() - began) / REQUESTS)
    return best


async def work() -> None:
    """Measure each address and print the result."""
    logging.disable()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pipelines").mkdir()
        (folder / "pipelines/chat.yaml").write_text("steps: []\n", encoding="utf-8")
        (folder / "routes.yaml").write_text(ROUTES, encoding="utf-8")
        edge = application(build(declare(read(folder / "routes.yaml"), {})))
        for words, path in ADDRESSES.items():
            print(f"{words:<20} {1e6 * await measured(edge, path):7.1f} µs")


if __name__ == "__main__":
    asyncio.run(work())
