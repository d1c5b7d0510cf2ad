"""Does a limit that workers share through Redis admit exactly its number of requests on a busy machine?

    python -m tests.endurance.exact_limits [--runs 10] [--busy 2] [--asked 300] [--limit 50] [--workers 4]

Each run starts a redis-server and a router on loopback and sends all requests at once, each on its own connection. The last two runs share
the machine with one busy process per core. Exit code 1 if a run admits another number, or if a worker considers Redis unavailable.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import aiohttp

from bench import machine
from bench.subjects import ROOT
from tests.endurance.redis_faults import Server, router

AWAY = "redis is away"
ROUTES = """
targets:
  hi: {{script: [{{text: Hi}}]}}
routes:
  hi: {{pipeline: chat, targets: [hi], limit: {{requests: {limit}/hour}}}}
server: {{redis: 'redis://127.0.0.1:{port}/0'}}
"""
PATIENCE = 300
"""Seconds to wait for all answers."""


async def status(base: str) -> int:
    """Ask one question and return the status."""
    body = {"model": "hi", "messages": [{"role": "user", "content": "Hi"}]}
    async with aiohttp.ClientSession() as session, session.post(f"{base}/api/chat", json=body) as response:
        await response.read()
        return response.status


async def run(folder: Path, arguments: argparse.Namespace) -> tuple[int, int, int]:
    """Run one test and return how many requests were admitted, how many refused, and how often Redis counted as away."""
    server = Server(folder)
    shutil.copytree(ROOT / "pipelines", folder / "pipelines")
    (folder / "routes.yaml").write_text(ROUTES.format(limit=arguments.limit, port=server.port), encoding="utf-8")
    await server.start()
    try:
        async with router(folder, "--workers", str(arguments.workers)) as (base, _), asyncio.timeout(PATIENCE):
            found = await asyncio.gather(*(status(base) for _ in range(arguments.asked)))
        return found.count(200), found.count(429), (folder / "log").read_text(encoding="utf-8").count(AWAY)
    finally:
        await server.kill()


async def runs(arguments: argparse.Namespace) -> bool:
    """Run all runs in turn; return whether each was exact."""
    good = True
    for number in range(1, arguments.runs + 1):
        loops = len(machine.CORES) if number > arguments.runs - arguments.busy else 0
        with tempfile.TemporaryDirectory(prefix="exact-limits-") as name, machine.busy(loops):
            passed, refused, away = await run(Path(name), arguments)
        good &= (passed, refused, away) == (arguments.limit, arguments.asked - arguments.limit, 0)
        beside = f", beside {loops} busy loops" if loops else ""
        print(
            f"run {number}: {passed} of {arguments.asked} passed, {refused} were refused, Redis was away {away} times{beside}", flush=True
        )
    return good


def main() -> int:
    """Run the command; return 1 if a run was not exact."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="default: 10")
    parser.add_argument("--busy", type=int, default=2, help="how many of them share the machine with busy loops; default: 2")
    parser.add_argument("--asked", type=int, default=300, help="questions at once; default: 300")
    parser.add_argument("--limit", type=int, default=50, help="of an hour; default: 50")
    parser.add_argument("--workers", type=int, default=4, help="default: 4")
    outcome: list[bool] = []

    async def measured() -> None:
        outcome.append(await runs(parser.parse_args()))

    machine.run(measured())
    return 0 if outcome == [True] else 1


if __name__ == "__main__":
    sys.exit(main())
