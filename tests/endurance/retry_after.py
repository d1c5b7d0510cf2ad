"""Counts the requests that waited for a provider's Retry-After and were then answered by that provider's target.

    python -m tests.endurance.retry_after [--questions 200] [--targets 10] [--busy 0]

A fake provider answers each question first with 429 and `Retry-After: 1`, then with an answer. Targets are asked concurrently, but each
with one question at a time, so no question meets a breaker that another one opened. Exit code 1 if a route's second target, a script, was
asked, or if a question was not answered.
"""

import argparse
import asyncio
import collections
import json
import shutil
import sys
import tempfile
from pathlib import Path

import aiohttp
from aiohttp import web

from bench import machine
from bench.subjects import ROOT
from tests.endurance.redis_faults import router

TOLD = 1
"""Seconds of the provider's Retry-After."""
ANSWER = b"".join(
    b"data: " + json.dumps({"id": "1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}).encode() + b"\n\n"
    for delta, end in (({"role": "assistant", "content": "Hi"}, None), ({}, "stop"))
)


class Provider:
    """A fake provider that refuses every other request of each target."""

    def __init__(self) -> None:
        self._asked: collections.Counter[str] = collections.Counter()

    async def answer(self, request: web.Request) -> web.Response:
        """Return a 429 or an answer, in turn."""
        await request.read()
        name = request.match_info["target"]
        self._asked[name] += 1
        if self._asked[name] % 2:
            return web.Response(status=429, headers={"retry-after": str(TOLD)})
        return web.Response(body=ANSWER + b"data: [DONE]\n\n", content_type="text/event-stream")


def configuration(targets: int, port: int) -> str:
    """Return a configuration with one route per target, each with a script as its fallback."""
    retry = "retry: {attempts: 2, budget: 100%}"
    at = f"http://127.0.0.1:{port}"
    names = [f"t{number}" for number in range(targets)]
    written = [f"  {name}: {{model: openai/m, api_base: '{at}/{name}/v1', api_key: sk-endurance}}" for name in names]
    routes = [f"  {name}: {{pipeline: chat, targets: [{name}, spare], {retry}}}" for name in names]
    return "\n".join(["targets:", "  spare: {script: [{text: Spare}]}", *written, "routes:", *routes, ""])


async def ask(session: aiohttp.ClientSession, base: str, name: str, questions: int) -> collections.Counter[str]:
    """Ask one question after the other; return counts of the attempts that led to the answers."""
    found: collections.Counter[str] = collections.Counter()
    for _ in range(questions):
        body = {"model": name, "messages": [{"role": "user", "content": "Hi"}]}
        async with session.post(f"{base}/api/chat", json=body) as response:
            await response.read()
            attempts = response.headers.get("x-router-attempts", "")
            tried = [one.partition(";seconds")[0].split(";outcome=") for one in attempts.split(", ")]
            found[" then ".join(f"{'target' if who.strip(chr(34)) == name else who} {what}" for who, what in tried)] += 1
    return found


async def asked(arguments: argparse.Namespace) -> bool:
    """Ask all questions; return whether each was answered by its target in the second attempt."""
    provider = web.Application()
    provider.router.add_post("/{target}/v1/chat/completions", Provider().answer)
    runner = web.AppRunner(provider)
    await runner.setup()
    port = machine.free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    found: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="retry-after-") as name:
        folder = Path(name)
        shutil.copytree(ROOT / "pipelines", folder / "pipelines")
        (folder / "routes.yaml").write_text(configuration(arguments.targets, port), encoding="utf-8")
        async with router(folder) as (base, _), aiohttp.ClientSession() as session:
            with machine.busy(arguments.busy):
                each = arguments.questions // arguments.targets
                for one in await asyncio.gather(*(ask(session, base, f"t{number}", each) for number in range(arguments.targets))):
                    found += one
    await runner.cleanup()
    for way, count in found.most_common():
        print(f"{count} of {arguments.questions}: {way}")
    return found == {"target status_429 then target ok": arguments.questions}


def main() -> int:
    """Run the command; return 1 if the promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=200, help="default: 200")
    parser.add_argument("--targets", type=int, default=10, help="asked side by side; default: 10")
    parser.add_argument("--busy", type=int, default=0, help="processes beside it that compute without end; default: 0")
    outcome: list[bool] = []

    async def measured() -> None:
        outcome.append(await asked(parser.parse_args()))

    machine.run(measured())
    return 0 if outcome == [True] else 1


if __name__ == "__main__":
    sys.exit(main())
