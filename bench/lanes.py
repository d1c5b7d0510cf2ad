"""The two lanes side by side, in one run: answers of 200 chunks, unpaced, through a real router, from a provider on loopback.

    python bench/lanes.py [--seconds 5] [--clients 16]

Prints requests per second and the median time to the first line for each lane, and their ratio. Read the ratio: the numbers
depend on the machine. The provider, the router and the load share it; on two cores each run is pinned by whichever is slowest,
so the direct lane's true figure is higher than the one shown.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHUNKS = 200
ROUTES = """
targets:
  direct: {{model: openai/fake, api_base: 'http://127.0.0.1:{port}/v1', api_key: sk-bench}}
  litellm: {{model: openai/fake, api_base: 'http://127.0.0.1:{port}/v1', api_key: sk-bench, via: litellm}}
routes:
  direct: {{pipeline: chat, targets: [direct]}}
  litellm: {{pipeline: chat, targets: [litellm]}}
"""


def answer() -> bytes:
    """The provider's whole response, as one write."""
    frames = [{"choices": [{"index": 0, "delta": {"content": f"word{index} "}, "finish_reason": None}]} for index in range(CHUNKS)]
    frames.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    about = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
    body = b"".join(b"data: %s\n\n" % json.dumps({**about, **frame}).encode() for frame in frames) + b"data: [DONE]\n\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


class Provider(asyncio.Protocol):
    """Answers every request the same way."""

    response = answer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client."""
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        """A piece of a request."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0]) if b"content-length:" in head else 0
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            assert isinstance(self.transport, asyncio.WriteTransport)
            self.transport.write(self.response)


def provide(port: int) -> None:
    """Run the provider, until it is stopped."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(run())


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, route: str) -> float:
    """One request; seconds to its first line."""
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}]}).encode()
    began = time.perf_counter()
    writer.write(b"POST /api/chat/%s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (route.encode(), len(body), body))
    await reader.readuntil(b"\r\n\r\n")
    first = 0.0
    while (size := int((await reader.readuntil(b"\r\n"))[:-2], 16)) > 0:
        first = first or time.perf_counter() - began
        await reader.readexactly(size + 2)
    await reader.readexactly(2)
    return first


async def measure(port: int, route: str, clients: int, seconds: float) -> tuple[float, float]:
    """Requests per second with so many clients, and the median time to the first line of one alone, in milliseconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(5):
        await ask(reader, writer, route)
    first = statistics.median([await ask(reader, writer, route) for _ in range(30)])
    until = time.perf_counter() + seconds
    count = 0

    async def client() -> None:
        nonlocal count
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until:
            await ask(reader, writer, route)
            count += 1
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    writer.close()
    return count / seconds, first * 1000


def free_port() -> int:
    """A port nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def ready(port: int) -> None:
    """Wait until the router is warm."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            warm = (await reader.readline()).split()[1:2] == [b"200"]
            writer.close()
            if warm:
                return
        except OSError:
            pass
        await asyncio.sleep(0.1)


def main() -> None:
    """Both lanes, one after the other."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--clients", type=int, default=16)
    chosen = options.parse_args()
    upstream, port = free_port(), free_port()
    provider = multiprocessing.Process(target=provide, args=(upstream,), daemon=True)
    provider.start()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "pipelines").mkdir()
        (root / "pipelines/chat.yaml").write_text("steps:\n  - history: {keep: 40}\n")
        (root / "routes.yaml").write_text(ROUTES.format(port=upstream))
        command = [sys.executable, "-m", "router", "serve", "--routes", str(root / "routes.yaml"), "--port", str(port)]
        router = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)})
        try:
            asyncio.run(asyncio.wait_for(ready(port), 60))
            found = {lane: asyncio.run(measure(port, lane, chosen.clients, chosen.seconds)) for lane in ("litellm", "direct")}
        finally:
            router.terminate()
            router.wait()
            provider.terminate()
    for lane, (rate, first) in found.items():
        print(f"{lane:8} {rate:8.1f} answers/s of {CHUNKS} chunks   first line {first:6.2f} ms")
    print(f"direct / litellm: {found['direct'][0] / found['litellm'][0]:.0f} times the answers per second")


if __name__ == "__main__":
    main()
