"""HTTP by hand: what a well-behaved client would not send, and how it is answered."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

PATIENCE = 240.0
"""Seconds that anything may take."""


@dataclass(frozen=True)
class Said:
    """What came back on a connection until its end: the first response's status, its headers, and all that followed."""

    status: int
    headers: dict[str, str]
    rest: bytes

    @property
    def everything(self) -> str:
        """All of it, to look for what should not be there."""
        return "\n".join([*(f"{name}: {value}" for name, value in self.headers.items()), self.rest.decode("latin-1")])


@asynccontextmanager
async def connected(base: str) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter], None]:
    """A connection to the server at this address; whatever is done with it ends in time."""
    parts = urlsplit(base)
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes, however it does."""
    got = bytearray()
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            got += piece
    return bytes(got)


def parsed(data: bytes) -> Said:
    """The first response in these bytes; status 0 where there is none."""
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1.1 "):
        return Said(0, {}, data)
    return Said(int(first.split()[1]), {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}, rest)


async def said(base: str, data: bytes) -> Said:
    """Send this and read until the server closes: ask it to, by `Connection: close`, or by being refused."""
    async with connected(base) as (reader, writer):
        writer.write(data)
        return parsed(await until_closed(reader))


def request(line: str, body: bytes = b"", /, **headers: str) -> bytes:
    """A request that asks for the connection's end."""
    given = {
        "host": "localhost",
        "connection": "close",
        "content-length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return (
        f"{line} HTTP/1.1\r\n{''.join(f'{name}: {value}' + chr(13) + chr(10) for name, value in given.items())}\r\n".encode("latin-1")
        + body
    )
