"""Reuse of connections: bodies that end late, servers that close idle connections, and compressed bodies."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import pytest

from router.config.declaration import TargetConfig
from router.config.values import Name, Secret
from router.events import Finish, Start, Text
from router.targets import anthropic, openai
from router.targets.connection import Connection, Cut, Garbled
from router.targets.connections import Connections, Endpoint
from tests.support.provider import DONE, chunk
from tests.targets import test_anthropic
from tests.targets.test_openai import HI

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
HELLO = HEAD + b"5\r\nhello\r\n"

Served = Callable[[int, int, asyncio.StreamWriter], Awaitable[bool]]
"""Answers a request, given the number of its connection and of the request on it; returns whether the connection stays open."""


class Server:
    """A server that answers with a given function.

    asked: (connection, request on it) of each request, from 1
    left: set when a client has closed its connection
    """

    def __init__(self, serve: Served) -> None:
        self._serve = serve
        self.asked: list[tuple[int, int]] = []
        self.connections = 0
        self.left = asyncio.Event()
        self.serving: set[asyncio.Task[object] | None] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        self.serving.add(asyncio.current_task())
        number, count = self.connections, 0
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                count += 1
                self.asked.append((number, count))
                if not await self._serve(number, count, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def serving(serve: Served) -> AsyncGenerator[tuple[Server, Connections, Endpoint]]:
    """Yield a server, a pool of connections to it, and its endpoint."""
    server, connections = Server(serve), Connections()
    listener = await asyncio.start_server(server.accept, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    try:
        async with asyncio.timeout(240):
            yield server, connections, connections.endpoint(url, {}, 3)
    finally:
        await connections.close()
        listener.close()
        await asyncio.gather(*(task for task in server.serving if task))


async def read(response: Connection) -> bytes:
    """Return the body to its end, and keep the connection."""
    pieces: list[bytes] = []
    while piece := await response.read():
        pieces.append(piece)
    response.release(complete=True)
    return b"".join(pieces)


async def test_connection_is_reused_when_the_end_of_its_body_comes_late() -> None:
    """A body whose last chunk comes after its reader stopped is read to its end in the background; three requests share a connection."""
    gate = asyncio.Event()

    async def serve(_: int, __: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(HELLO)
        await gate.wait()
        writer.write(END)
        return True

    async with serving(serve) as (server, connections, endpoint):
        for _ in range(3):
            gate.clear()
            response = await connections.answered(endpoint, b"{}")
            assert await response.read() == b"hello"
            response.release(complete=True)
            gate.set()
            await response.settled
        assert (server.connections, len(server.asked)) == (1, 3)


async def test_connection_is_closed_when_its_body_does_not_end() -> None:
    """A connection whose body does not end after the answer, or goes on with data, is closed."""

    async def serve(number: int, _: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(HELLO)
        while number == 2:
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            await writer.drain()
        return True

    async with serving(serve) as (server, connections, endpoint):
        for _ in range(2):
            server.left.clear()
            response = await connections.answered(endpoint, b"{}")
            assert (await response.read()).startswith(b"hello")
            response.release(complete=True)
            await server.left.wait()
        assert server.connections == 2


async def test_pool_closes_a_connection_that_still_waits_for_its_end() -> None:
    """Closing the pool closes a connection that still waits in the background for the end of its body."""

    async def serve(_: int, __: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(HELLO)
        return True

    async with serving(serve) as (server, connections, endpoint):
        response = await connections.answered(endpoint, b"{}")
        await response.read()
        response.release(complete=True)
        await connections.close()
        await server.left.wait()
        assert not response.usable


async def test_request_is_resent_if_a_kept_connection_closes_without_a_byte() -> None:
    """A kept connection that closes before the first byte of the response makes the request go out again on a new connection."""

    async def serve(_: int, count: int, writer: asyncio.StreamWriter) -> bool:
        if count == 2:
            return False  # its time was over as the question was on its way
        writer.write(HELLO + END)
        return True

    async with serving(serve) as (server, connections, endpoint):
        for _ in range(3):
            assert await read(await connections.answered(endpoint, b"{}")) == b"hello"
        assert server.asked == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)]


ONCE: dict[str, tuple[bytes, int]] = {"a byte came": (b"H", 2), "a status came": (b"HTTP/1.1 200 OK\r\n", 2)}


@pytest.mark.parametrize("what", ONCE)
async def test_request_is_not_resent_after_the_first_byte_of_a_response(what: str) -> None:
    """A request on a kept connection raises an error, and is not sent again, if the server closes it after a byte or the status line."""
    said, most = ONCE[what]

    async def serve(_: int, count: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(HELLO + END if count == 1 else said)
        return count == 1

    async with serving(serve) as (server, connections, endpoint):
        await read(await connections.answered(endpoint, b"{}"))
        with pytest.raises((OSError, Cut)):
            await connections.answered(endpoint, b"{}")
        assert len(server.asked) == most


async def test_request_is_resent_once_and_only_after_a_kept_connection() -> None:
    """A request is sent again at most once, and not if a new connection closes: then OSError or Cut is raised."""

    async def serve(number: int, count: int, writer: asyncio.StreamWriter) -> bool:
        if (number, count) != (1, 1):
            return False
        writer.write(HELLO + END)
        return True

    async with serving(serve) as (server, connections, endpoint):
        await read(await connections.answered(endpoint, b"{}"))
        for asked in ([(1, 1), (1, 2), (2, 1)], [(3, 1)]):
            with pytest.raises((OSError, Cut)):
                await connections.answered(endpoint, b"{}")
            assert server.asked[-len(asked) :] == asked
        assert len(server.asked) == 4


LANES: dict[str, tuple[bytes, ...]] = {
    "openai": (chunk({"content": "ok"}), chunk({}, "stop"), DONE),
    "anthropic": test_anthropic.said(test_anthropic.BEGIN, *test_anthropic.block(0, {"type": "text", "text": "ok"}), *test_anthropic.END),
}


@pytest.mark.parametrize("lane", LANES)
async def test_lane_reuses_a_connection_whose_body_ends_after_the_answer(lane: str) -> None:
    """The OpenAI and Anthropic lanes finish at the stream's end mark; the body's end comes later, and the connection is used again."""
    gate = asyncio.Event()

    async def serve(_: int, __: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(HEAD.replace(b"plain", b"event-stream"))
        writer.write(b"".join(b"%x\r\n%b\r\n" % (len(frame), frame) for frame in LANES[lane]))
        await gate.wait()
        writer.write(END)
        return True

    async with serving(serve) as (server, connections, endpoint):
        target = TargetConfig(model=Name(f"{lane}/m"), api_base=f"http://127.0.0.1:{endpoint.port}/v1", api_key=Secret("sk-a"))
        answer = {"openai": openai.answer, "anthropic": anthropic.answer}[lane]("a", target, 3, connections)
        for _ in range(2):
            gate.clear()
            async with aclosing(answer(HI)) as events:
                assert [type(event) for event in [event async for event in events]] == [Start, Text, Finish]
            (settling,) = connections._pool._settling.popitem()[1]
            gate.set()
            await settling.settled
        assert (server.connections, len(server.asked)) == (1, 2)


def packed(encoding: str, body: bytes) -> bytes:
    """Return a response with this content encoding and body."""
    return b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n%b" % (encoding.encode(), len(body), body)


def raw(body: bytes) -> bytes:
    """Return the body as bare deflate data, without the zlib header that the standard asks for."""
    made = zlib.compressobj(wbits=-15)
    return made.compress(body) + made.flush()


READABLE = {
    "none": packed("none", b"hello"),
    "identity, in capitals": packed("Identity", b"hello"),
    "empty": packed("", b"hello"),
    "a charset": packed("UTF-8", b"hello"),
    "a list of nothing": packed(", identity ,", b"hello"),
    "gzip": packed("gzip", gzip.compress(b"hello")),
    "gzip, in capitals": packed("GZIP", gzip.compress(b"hello")),
    "gzip by its old name": packed("x-gzip", gzip.compress(b"hello")),
    "gzip of several members": packed("gzip", gzip.compress(b"hel") + gzip.compress(b"") + gzip.compress(b"lo")),
    "gzip with something behind": packed("gzip", gzip.compress(b"hello") + b"\0\0"),
    "deflate": packed("deflate", zlib.compress(b"hello")),
    "deflate without its head": packed("deflate", raw(b"hello")),
}
GARBLED = {
    "br": packed("br", b"hello"),
    "zstd": packed("zstd", b"hello"),
    "two at once": packed("gzip, gzip", b"hello"),
    "gzip that is not": packed("gzip", b"hello, this is plain text"),
    "a bomb": packed("gzip", gzip.compress(b"x" * 1_000_000) * 100),
}


async def body_of(response: bytes, size: int) -> bytes:
    """Return the body that is read of a response sent in pieces of `size` bytes."""

    async def serve(_: int, __: int, writer: asyncio.StreamWriter) -> bool:
        for at in range(0, len(response), size):
            writer.write(response[at : at + size])
            await writer.drain()
        return True

    async with serving(serve) as (_, connections, endpoint):
        return await read(await connections.answered(endpoint, b"{}"))


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("how", READABLE)
async def test_body_with_a_gzip_deflate_or_unknown_encoding_is_read(how: str, size: int) -> None:
    """A body is read for gzip and deflate in each spelling, for `identity` and empty lists, and as it is for `none` or a charset."""
    assert await body_of(READABLE[how], size) == b"hello"


@pytest.mark.parametrize("how", GARBLED)
async def test_body_that_cannot_be_decompressed_raises_garbled(how: str) -> None:
    """Brotli, zstd, two encodings, invalid gzip or a body that expands too far raises Garbled."""
    with pytest.raises(Garbled):
        await body_of(GARBLED[how], 100_000)
