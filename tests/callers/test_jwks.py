"""The key set (JWKS) of a token issuer: when it is fetched, how often, and how long known keys are used without it."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from router.callers.jwks import AGAIN, FRESH, MAX_KEY_SET_BYTES, SOON, STALE, Jwks
from router.targets import Connections

ONE = {"keys": [{"kty": "RSA", "kid": "one"}]}
TWO = {"keys": [{"kty": "RSA", "kid": "two"}]}


@dataclass
class Issuer:
    """An issuer that returns the key set `says`, or raises it if it is an exception. It counts fetches; `hold` delays them until set."""

    says: object = field(default_factory=lambda: ONE)
    asked: int = 0
    hold: asyncio.Event | None = None

    async def fetch(self, _: str, most: int) -> bytes:
        """Return the key set as bytes, or raise."""
        self.asked += 1
        if self.hold is not None:
            await self.hold.wait()
        if isinstance(self.says, OSError):
            raise self.says
        data = self.says if isinstance(self.says, bytes) else json.dumps(self.says).encode()
        assert len(data) <= most
        return data


@dataclass
class Known:
    """A key set with its issuer, by a clock that only the test advances."""

    issuer: Issuer = field(default_factory=Issuer)
    now: float = 1000.0
    again: float = -1.0
    """The wait in seconds that `newer` returned last."""

    def __post_init__(self) -> None:
        self.jwks = Jwks("https://login.example.com/jwks.json", self.issuer.fetch, lambda: self.now)

    async def kids(self) -> list[object]:
        """Return the ids of the known keys."""
        return [one["kid"] for one in await self.jwks.listed()]

    async def newer(self) -> list[object]:
        """Ask for newer keys, as for a token whose key id is unknown; return the ids, and store the wait in `again`."""
        listed, self.again = await self.jwks.newer(await self.jwks.listed(), self.now)
        return [one["kid"] for one in listed]


async def test_jwks_is_fetched_once_for_many_requests() -> None:
    """A hundred concurrent requests and a later one within FRESH seconds cause one fetch of the key set."""
    known = Known(Issuer(hold=asyncio.Event()))
    waiting = [asyncio.create_task(known.kids()) for _ in range(100)]
    await asyncio.sleep(0)
    assert known.issuer.hold is not None
    known.issuer.hold.set()
    assert await asyncio.gather(*waiting) == [["one"]] * 100
    known.now += FRESH - 1
    assert await known.kids() == ["one"]
    assert known.issuer.asked == 1


async def test_old_jwks_is_refreshed_by_one_request_while_others_use_it() -> None:
    """After FRESH seconds, one request waits for a new fetch, while concurrent requests use the keys known so far."""
    known = Known()
    await known.kids()
    known.now += FRESH + 1
    known.issuer.says, known.issuer.hold = TWO, asyncio.Event()
    first = asyncio.create_task(known.kids())
    await asyncio.sleep(0)
    assert await known.kids() == ["one"]
    known.issuer.hold.set()
    assert await first == ["two"]
    assert await known.kids() == ["two"]
    assert known.issuer.asked == 2


async def test_unknown_key_id_causes_a_fetch_at_most_every_half_minute() -> None:
    """Unknown key ids cause no fetch within AGAIN seconds of the last one, and one for any number of requests afterwards."""
    known = Known()
    await known.kids()
    known.issuer.says = TWO
    assert await known.newer() == ["one"]
    known.now += AGAIN + 1
    assert await asyncio.gather(*(known.newer() for _ in range(50))) == [["two"]] * 50
    for _ in range(100):
        await known.newer()
    assert known.issuer.asked == 2


async def test_jwks_newer_returns_the_wait_until_the_next_allowed_fetch() -> None:
    """`newer` returns the keys and the wait until the next fetch, at least SOON, or 0 if a fetch succeeded since the token came."""
    known = Known()
    await known.kids()
    known.now += 10
    assert (await known.newer(), known.again) == (["one"], AGAIN - 10)
    known.now += AGAIN
    assert (await known.newer(), known.again) == (["one"], 0)
    known.now += AGAIN
    known.issuer.says = OSError("away")
    assert (await known.newer(), known.again) == (["one"], AGAIN)
    known.now += AGAIN - 0.1
    assert (await known.newer(), known.again) == (["one"], SOON)
    known.issuer.says, known.issuer.hold = TWO, asyncio.Event()
    known.now += 0.2
    both = [asyncio.create_task(known.jwks.newer(await known.jwks.listed(), known.now)) for _ in range(2)]
    await asyncio.sleep(0)
    known.issuer.hold.set()
    assert [(listed[0]["kid"], again) for listed, again in await asyncio.gather(*both)] == [("two", 0)] * 2


@pytest.mark.parametrize("says", [OSError("no"), b"<html>", b'{"keys": 5}', b"[" * 5000, b"\xff", {"keys": [5]}])
async def test_known_keys_are_used_for_a_day_while_the_issuer_fails(says: object) -> None:
    """While fetches fail in any way, known keys are used for STALE seconds (a day) and then dropped; the next good fetch restores them."""
    known = Known()
    await known.kids()
    known.issuer.says = says
    known.now += FRESH + 1
    assert await known.kids() == ["one"]
    assert await known.kids() == ["one"]
    assert known.issuer.asked == 2
    known.now += STALE
    assert await known.kids() == []
    known.issuer.says = TWO
    known.now += SOON + 1
    assert await known.kids() == ["two"]


async def test_issuer_unreachable_at_start_is_asked_every_two_seconds() -> None:
    """Without any known key, a hundred requests cause one fetch, and the next may follow after SOON seconds."""
    known = Known(Issuer(OSError("no")))
    for _ in range(100):
        assert await known.kids() == []
    assert known.issuer.asked == 1
    known.issuer.says = ONE
    known.now += SOON + 0.1
    assert await known.kids() == ["one"]


async def test_cancelled_request_ends_its_jwks_fetch_and_a_later_one_succeeds() -> None:
    """A cancelled request ends the fetch that it waits for, and a request after SOON seconds fetches the key set again."""
    known = Known(Issuer(hold=asyncio.Event()))
    first = asyncio.create_task(known.kids())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    known.issuer.hold = None
    known.now += SOON + 0.1
    assert await known.kids() == ["one"]


@asynccontextmanager
async def address(answer: bytes, *, hold: bool = False) -> AsyncGenerator[str, None]:
    """Serve these bytes at an address, and yield it. `hold`: keep the connection open after them."""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if hold:
            await gone.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"
        gone.set()


def http_response(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    """Return a complete HTTP response with this body."""
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body


UNFIT = {
    "a redirect": http_response(b"", "302 Found", "location: http://169.254.169.254/\r\n"),
    "an error": http_response(json.dumps(ONE).encode(), "500 Oops"),
    "too much": http_response(b" " * (MAX_KEY_SET_BYTES + 1)),
    "too much, without a length": b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b" " * (MAX_KEY_SET_BYTES + 1),
    "half of it": b'HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"keys"',
    "no HTTP": b"hello\r\n\r\n",
}


@pytest.mark.parametrize("case", UNFIT)
async def test_jwks_fetch_gives_no_keys_for_a_redirect_an_error_or_an_invalid_body(case: str) -> None:
    """A redirect, a status 500, a body over the size limit, a truncated body and bytes that are not HTTP give no keys."""
    connections = Connections()
    async with address(UNFIT[case]) as url:
        assert await Jwks(url, connections.fetch).listed() == ()
    await connections.close()


async def test_jwks_is_fetched_over_http_with_a_timeout() -> None:
    """Keys are fetched over HTTP; a response that does not end within `within` seconds gives none."""
    connections = Connections()
    async with address(http_response(json.dumps(ONE).encode())) as url:
        assert [one["kid"] for one in await Jwks(url, connections.fetch).listed()] == ["one"]
    async with address(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{", hold=True) as url:
        assert await Jwks(url, connections.fetch, within=0.1).listed() == ()
    await connections.close()
