"""`litellm.acompletion` in a loop: the lower bound of the cost of the litellm lane. Jobs as in load.py, with the model's name as `request`.
python -m bench.bare UPSTREAM
"""

import asyncio
import importlib
import json
import os
import sys
import time
from dataclasses import asdict
from typing import Any

from bench import machine
from bench.load import RAMP, WINDOW, Found, Job


class Bare:
    """The LiteLLM library, called as the litellm lane calls it."""

    def __init__(self, upstream: int) -> None:
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        self._litellm: Any = importlib.import_module("litellm")
        self._litellm.telemetry = False
        self._litellm.suppress_debug_info = True
        self._fixed = {
            "api_base": f"http://127.0.0.1:{upstream}/v1",
            "api_key": "sk-bench",
            "num_retries": 0,
            "max_retries": 0,
            "_skip_mcp_handler": True,
            "messages": [{"role": "user", "content": "Hi"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    async def answer(self, model: str) -> int:
        """Ask once and return the number of chunks with text."""
        count = 0
        stream = await self._litellm.acompletion(model=f"openai/{model}", **self._fixed)
        async for chunk in stream:
            for choice in chunk.choices[:1]:
                if choice.delta.content:
                    count += 1
        return count

    async def closed(self, job: Job) -> Found:
        """Run clients that each ask again at once; stop after `seconds` and `least` answers, or after `most` answers."""
        await self.answer(job.request)
        began, used = time.monotonic(), machine.cpu([os.getpid()])
        count = 0

        async def client() -> None:
            nonlocal count
            while count < job.most and (time.monotonic() < began + job.seconds or count < job.least):
                await self.answer(job.request)
                count += 1

        await asyncio.gather(*(client() for _ in range(job.clients)))
        return Found(count, time.monotonic() - began, machine.cpu([os.getpid()]) - used)

    async def paced(self, job: Job) -> Found:
        """Run paced streams concurrently and count their chunks in the measured window."""
        chunks = 0

        async def client(delay: float) -> None:
            nonlocal chunks
            await asyncio.sleep(delay)
            stream = await self._litellm.acompletion(model=f"openai/{job.request}", **self._fixed)
            async for chunk in stream:
                for choice in chunk.choices[:1]:
                    if choice.delta.content:
                        chunks += 1

        clients = [asyncio.create_task(client(RAMP * index / job.streams)) for index in range(job.streams)]
        await asyncio.sleep(RAMP + 0.2)
        began, used, before = time.monotonic(), machine.cpu([os.getpid()]), chunks
        await asyncio.sleep(WINDOW - 0.2)
        found = Found(chunks - before, time.monotonic() - began, machine.cpu([os.getpid()]) - used)
        await asyncio.gather(*clients)
        return found


async def work(upstream: int) -> None:
    """Run the jobs from stdin one after the other, and print each result."""
    bare = Bare(upstream)
    await bare.answer("short")
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        job = Job(**json.loads(line))
        print(json.dumps(asdict(await (bare.paced(job) if job.job == "paced" else bare.closed(job)))), flush=True)


if __name__ == "__main__":
    machine.run(work(int(sys.argv[1])))
