"""Measures cache hits: time from a request's arrival to its first byte and to its end.

    python -m bench.cache [--requests 2000]

The application is called as uvicorn calls it, without a socket, so only the router's own time is measured. Cases: answers of 100 and 1,000
pieces, short and long conversations, every wire.
"""

import argparse
import asyncio
import json
import logging
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from typing import Any, Self

from bench import machine
from router.config import declare, read
from router.generation import build
from router.server import application, steady
from router.server.edge import Edge
from router.wire import WIRES

ROUTES = """
targets: {a: {script: [{text: "%s"}]}, b: {script: [{text: "%s"}]}}
routes:
  short: {pipeline: chat, targets: [a], cache: {ttl: 1h}}
  long: {pipeline: chat, targets: [b], cache: {ttl: 1h}}
"""
PIPELINE = "steps:\n  - prompt: chat.j2\n  - history: {keep: 40}\n"
PROMPT = "You help. There are {{ messages | length }} messages."
CASES = {
    "100 pieces, 1 message": ("short", 1),
    "100 pieces, 40 messages of 500 characters": ("short", 40),
    "1000 pieces, 1 message": ("long", 1),
}


def laid_out(folder: Path) -> Edge:
    """Write the configuration and return the application."""
    (folder / "pipelines").mkdir()
    (folder / "pipelines/chat.yaml").write_text(PIPELINE, encoding="utf-8")
    (folder / "pipelines/chat.j2").write_text(PROMPT, encoding="utf-8")
    (folder / "routes.yaml").write_text(ROUTES % ("word " * 100, "word " * 1000), encoding="utf-8")
    return application(build(declare(read(folder / "routes.yaml"), {})))


class Call:
    """One request, passed as uvicorn passes it. `first`, `whole`: seconds until the first byte and until the end."""

    def __init__(self, wire: str, model: str, messages: int) -> None:
        said = [{"role": ("user", "assistant")[index % 2], "content": "word " * 100} for index in range(messages - 1)]
        body = {"messages": [*said, {"role": "user", "content": "Hello"}], "model": model}
        self._scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/api/chat",
            "query_string": f"protocol={wire}".encode(),
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 1),
            "http_version": "1.1",
        }
        self._body = json.dumps(body).encode()
        self._read = False
        self.cache = b""
        self.first = self.whole = self._began = 0.0

    async def made(self, edge: Edge) -> Self:
        """Send the request to the application, wait for the end of its response, and return this call with its times."""
        self._began = time.perf_counter()
        await edge(self._scope, self._receive, self._send)
        self.whole = time.perf_counter() - self._began
        return self

    async def _receive(self) -> dict[str, Any]:
        if self._read:
            await asyncio.Event().wait()  # the client stays
        self._read = True
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.first = time.perf_counter() - self._began
            self.cache = dict(message["headers"]).get(b"x-router-cache", b"")


async def main(requests: int) -> None:
    """Measure all cases and print percentiles in microseconds."""
    logging.getLogger("router.access").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        edge = laid_out(Path(folder))
        steady()
        print(f"{'first byte of a hit, in microseconds':56} {'p50':>7} {'p99':>7} {'whole':>7}")
        for words, (model, messages) in CASES.items():
            for wire in WIRES:
                await Call(wire, model, messages).made(edge)
                calls = [await Call(wire, model, messages).made(edge) for _ in range(requests)]
                assert {call.cache for call in calls} == {b"hit"}
                cuts = quantiles([call.first * 1e6 for call in calls], n=100)
                whole = quantiles([call.whole * 1e6 for call in calls], n=100)
                print(f"{words + ', ' + wire:56} {cuts[49]:7.0f} {cuts[98]:7.0f} {whole[49]:7.0f}")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--requests", type=int, default=2000)
    machine.run(main(options.parse_args().requests))
