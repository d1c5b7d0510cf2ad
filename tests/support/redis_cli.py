"""Direct commands of a test to its Redis, independent of the router's client."""

import asyncio
from collections.abc import Callable

from tests.support.services import RedisServer


async def redis_command(server: RedisServer, *words: str) -> str:
    """Send one command and return its reply as text: a value, an error's text, the elements of a list by lines, `-1` for no value."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(one.encode()), one.encode()) for one in words))
        async with asyncio.timeout(240):
            return await _read(reader)
    finally:
        writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> str:
    line = (await reader.readline()).decode().strip()
    kind, rest = line[:1], line[1:]
    if kind == "$" and rest != "-1":
        return (await reader.readexactly(int(rest) + 2)).decode().strip()
    if kind == "*":
        return "\n".join([await _read(reader) for _ in range(int(rest))])
    return rest


async def keys(server: RedisServer) -> list[str]:
    """Return all keys of the database."""
    return (await redis_command(server, "KEYS", "*")).split()


async def until(condition: Callable[[], bool], seconds: float = 240) -> None:
    """Poll until a condition is true; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
