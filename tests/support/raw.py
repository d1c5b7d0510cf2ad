"""Raw HTTP: requests that no well-behaved client would send, and the responses to them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

PATIENCE = 240.0
"""Seconds within which a connection must end."""


@dataclass(frozen=True)
class RawResponse:
    """The bytes received on a connection until its end: first response's status and headers, and everything after."""

    status: int
    headers: dict[str, str]
    rest: bytes

    @property
    def everything(self) -> str:
        """Headers and remaining bytes as one text, to search for something that must not appear."""
        return "\n".join([*(f"{name}: {value}" for name, value in self.headers.items()), self.rest.decode("latin-1")])


@asynccontextmanager
async def connected(base: str) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter], None]:
    """Open a connection to the server at this address; the whole block has a time limit."""
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
    """Return all bytes received until the server closes or resets the connection."""
    got = bytearray()
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            got += piece
    return bytes(got)


def parsed(data: bytes) -> RawResponse:
    """Return the first HTTP response in these bytes, parsed; with status 0 if there is none."""
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1.1 "):
        return RawResponse(0, {}, data)
    return RawResponse(int(first.split()[1]), {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}, rest)


async def response_to(base: str, data: bytes) -> RawResponse:
    """Send bytes and read until the server closes the connection; return the parsed response."""
    async with connected(base) as (reader, writer):
        writer.write(data)
        return parsed(await until_closed(reader))


def request(line: str, body: bytes = b"", /, **headers: str) -> bytes:
    """Return an HTTP request with `Connection: close`."""
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
