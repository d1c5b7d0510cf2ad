"""One question to a provider over HTTP, for the direct lanes: the status judged, the body as frames or as a whole."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
import msgspec

from router.errors import TargetDown, TargetError, TargetRefused, TargetSilent
from router.events import Events
from router.targets import sse
from router.targets.connections import Connections
from router.targets.speech import Speech
from router.targets.verdict import verdict

T = TypeVar("T")

MAX_BODY = 64 * 1024
"""Bytes of an error's body that are read."""
MAX_WHOLE = 16 * 1024 * 1024
"""Bytes of a whole answer that came without a stream."""
LINGER = 1.0
"""Seconds to wait after the finish reason for the count of tokens and the end."""
STREAMS = ("event-stream", "octet-stream", "text/plain", "ndjson")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a target's questions go. `connect`: seconds a connection may take."""

    url: str
    headers: Mapping[str, str]
    connect: float


@asynccontextmanager
async def asked(name: str, connections: Connections, endpoint: Endpoint, body: bytes) -> AsyncGenerator[aiohttp.ClientResponse, None]:
    """The response to a question, closed at the end. TargetError where the status is no success, or the connection fails,
    while it is open too.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=endpoint.connect)
    request = connections.session().post(endpoint.url, data=body, headers=endpoint.headers, timeout=timeout, allow_redirects=False)
    try:
        async with request as response:
            if 300 <= response.status < 400:
                raise TargetRefused(name, "redirect")
            if response.status != 200:
                told = await response.content.read(MAX_BODY)
                raise verdict(name, response.status, told.decode("utf-8", "replace"), response.headers)
            yield response
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise translated(name, error) from None


def streams(response: aiohttp.ClientResponse) -> bool:
    """Whether the body comes in frames."""
    return response.content_type.endswith(STREAMS)


async def heard(name: str, response: aiohttp.ClientResponse, speech: Speech, tell: Callable[[bytes], bool]) -> Events:
    """What a body in frames says, to its end. `tell` feeds the speech the data of one frame, and says whether more may follow.

    What one read brings is taken at once. Where it ends in an error, what was said before that is still heard.
    """
    reader = sse.Events()
    more = True
    while more:
        piece = await _piece(response, speech)
        failure: TargetError | None = None
        try:
            more = all(map(tell, reader.feed(piece) if piece else reader.end())) and bool(piece)
        except sse.Oversize:
            failure = TargetDown(name, "malformed")
        except TargetError as error:
            failure = error
        for event in speech.take():
            yield event
        if failure is not None:
            raise failure
    for event in speech.end():
        yield event


async def _piece(response: aiohttp.ClientResponse, speech: Speech) -> bytes:
    if not speech.finished:
        return await response.content.readany()
    try:
        async with asyncio.timeout(LINGER):
            return await response.content.readany()
    except (TimeoutError, aiohttp.ClientError, OSError):
        return b""


async def heard_whole(name: str, response: aiohttp.ClientResponse, speech: Speech, tell: Callable[[bytes], None]) -> Events:
    """What a body says that is no stream. `tell` feeds the speech all of it."""
    tell(await _whole(name, response))
    for event in speech.end():
        yield event


async def _whole(name: str, response: aiohttp.ClientResponse) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := await response.content.readany():
        size += len(piece)
        if size > MAX_WHOLE:
            raise TargetDown(name, "malformed")
        pieces.append(piece)
    return b"".join(pieces)


def decoded(data: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """The fields of a document that are used; None where it cannot be read."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        # Half a surrogate pair, which this decoder refuses and the standard library's lets through.
        return msgspec.convert(json.loads(data), decoder.type)
    except (ValueError, RecursionError):
        return None


def translated(name: str, error: Exception) -> TargetError:
    """What went wrong with the connection."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return TargetRefused(name, "tls")
    if isinstance(error, TimeoutError):
        return TargetSilent(name, "timeout_connect")
    if isinstance(error, aiohttp.ClientPayloadError):
        return TargetDown(name, "cut")
    return TargetDown(name, "connection")
