"""Faults of a provider: before the first byte, in the middle of a stream, and unusual streams that are no fault."""

import asyncio
import itertools
import json
import zlib
from collections.abc import Callable

from tests.support.upstream import ANSWER, WORDS, Anthropic, Exchange, FakeModel, Fault, pieces, well


def status(code: int, message: str = "no", kind: str = "error", **headers: str) -> Fault:
    """Return a fault: an error response with this status, whose message repeats the key."""

    async def fault(exchange: Exchange) -> None:
        body = exchange.wire.error(code, f"{message} {exchange.key} {WORDS}", kind)
        await exchange.respond(code, json.dumps(body).encode(), **headers)

    return fault


def once(fault: Fault) -> Fault:
    """Return a fault that occurs at the first request only."""

    async def first(exchange: Exchange) -> None:
        await (well if exchange.count else fault)(exchange)

    return first


def body(text: str, content_type: str = "application/json") -> Fault:
    """Return a fault: this body with status 200."""

    async def fault(exchange: Exchange) -> None:
        await exchange.respond(200, text.encode(), content_type)

    return fault


def redirect(code: int) -> Fault:
    """Return a fault: a redirect to an upstream that would answer."""

    async def fault(exchange: Exchange) -> None:
        await exchange.respond(code, b"", location=f"{exchange.trap}/chat/completions")

    return fault


async def error_body(exchange: Exchange) -> None:
    """Send an error as one JSON body with status 200."""
    await exchange.respond(200, json.dumps(exchange.wire.error(503, f"{WORDS} {exchange.key}", "")).encode())


async def error_first(exchange: Exchange) -> None:
    """Send an error as the first event of a stream."""
    await exchange.head()
    await exchange.send(exchange.wire.failing(503, f"{WORDS} {exchange.key}", "overloaded"))
    await exchange.end()


async def silence(exchange: Exchange) -> None:
    """Send nothing, not even headers, and hold the connection."""
    await exchange.hold()


async def headers_only(exchange: Exchange) -> None:
    """Send headers, then nothing, and hold the connection."""
    await exchange.head()
    await exchange.hold()


async def comments_only(exchange: Exchange) -> None:
    """Send headers, then SSE comments without end."""
    await exchange.head()
    while not exchange.writer.is_closing():
        await exchange.send(b": keep-alive\n\n")
        await asyncio.sleep(0.05)


async def nothing(exchange: Exchange) -> None:
    """Send a stream without an event."""
    await exchange.head()
    await exchange.end()


async def done_only(exchange: Exchange) -> None:
    """Send a stream that has only its end mark, such as `[DONE]`."""
    await exchange.head()
    await exchange.send(*exchange.honest.done)
    await exchange.end()


async def wordless(exchange: Exchange) -> None:
    """Send a complete stream without text."""
    await exchange.head()
    await exchange.send(*exchange.wire.text(()).frames)
    await exchange.end()


async def filtered(exchange: Exchange) -> None:
    """Send a stream without text that finishes with the content filter's reason."""
    await exchange.head()
    await exchange.send(*exchange.wire.text((), finish="filtered").frames)
    await exchange.end()


async def _half(exchange: Exchange) -> None:
    """Send the first half of the answer; if it is text, wait until the client has received some of it."""
    await exchange.head()
    await exchange.send(*exchange.honest.half)
    if not exchange.honest.calls:
        await exchange.heard.wait()


async def reset(exchange: Exchange) -> None:
    """Reset the connection (RST) after half of the answer."""
    await _half(exchange)
    exchange.reset()


async def cut(exchange: Exchange) -> None:
    """Close the connection (FIN) after half of the answer, inside of a chunked HTTP body."""
    await _half(exchange)


async def ended(exchange: Exchange) -> None:
    """End the HTTP body properly after half of the answer."""
    await _half(exchange)
    await exchange.end()


async def closed(exchange: Exchange) -> None:
    """Close the connection (FIN) after half of the answer, where the close is the proper end of the HTTP body."""
    await exchange.head(content_length="")
    await exchange.send(*exchange.honest.half)
    if not exchange.honest.calls:
        await exchange.heard.wait()


async def torn(exchange: Exchange) -> None:
    """Close the connection (FIN) inside of an SSE frame, after half of the answer."""
    await _half(exchange)
    await exchange.send(exchange.honest.speech[-1][:30])


GARBAGE = bytes(range(128, 256)) * 8


async def garbled(exchange: Exchange) -> None:
    """Send bytes that are not HTTP after half of the answer."""
    await _half(exchange)
    exchange.writer.write(GARBAGE)
    await exchange.writer.drain()


async def unreadable(exchange: Exchange) -> None:
    """Send bytes that are not SSE events after half of the answer, and end the HTTP body properly."""
    await _half(exchange)
    await exchange.send(GARBAGE, b"\n\n", GARBAGE)
    await exchange.end()


async def damaged(exchange: Exchange) -> None:
    """Send bytes that are not gzip after half of a gzipped answer."""
    packer = zlib.compressobj(wbits=31)
    await exchange.head(content_encoding="gzip")
    await exchange.send(packer.compress(b"".join(exchange.honest.half)) + packer.flush(zlib.Z_SYNC_FLUSH))
    if not exchange.honest.calls:
        await exchange.heard.wait()
    await exchange.send(GARBAGE)
    await exchange.end()


async def error_later(exchange: Exchange) -> None:
    """Send an error as an event after half of the answer."""
    await _half(exchange)
    await exchange.send(exchange.wire.failing(529, f"{WORDS} {exchange.key}", "overloaded"))
    await exchange.end()


async def stall(exchange: Exchange) -> None:
    """Send nothing more after half of the answer, and hold the connection."""
    await _half(exchange)
    await exchange.hold()


async def stall_alive(exchange: Exchange) -> None:
    """Send SSE comments without end after half of the answer."""
    await _half(exchange)
    while not exchange.writer.is_closing():
        await exchange.send(b": keep-alive\n\n")
        await asyncio.sleep(0.05)


async def filtered_later(exchange: Exchange) -> None:
    """Send the content filter's finish reason after half of a text answer; an answer of tool calls is sent complete."""
    honest = exchange.honest
    if honest.calls:
        return await well(exchange)
    await exchange.head()
    await exchange.send(*honest.half, *exchange.wire.text((), finish="filtered").finish)
    await exchange.end()
    return None


async def no_done(exchange: Exchange) -> None:
    """Send the answer with its finish reason and usage, and end the body without the end mark."""
    await exchange.head()
    await exchange.send(*exchange.honest.speech, *exchange.honest.finish, *exchange.honest.count)
    await exchange.end()


async def no_done_held(exchange: Exchange) -> None:
    """Send the answer with its finish reason and usage, then nothing, and hold the connection."""
    await exchange.head()
    await exchange.send(*exchange.honest.speech, *exchange.honest.finish, *exchange.honest.count)
    await exchange.hold()


async def no_done_reset(exchange: Exchange) -> None:
    """Send the answer with its finish reason and usage, then reset the connection (RST)."""
    await exchange.head()
    await exchange.send(*exchange.honest.speech, *exchange.honest.finish, *exchange.honest.count)
    if not exchange.honest.calls:
        await exchange.heard.wait()
    exchange.reset()


def framed(change: Callable[[Exchange], list[bytes]]) -> Fault:
    """Return a fault: the frames that `change` returns, in place of those of a healthy answer."""

    async def fault(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.send(*change(exchange))
        await exchange.end()

    return fault


def joined(change: Callable[[bytes], bytes]) -> Fault:
    """Return a fault: the whole body of a healthy answer, changed, in one piece."""
    return framed(lambda exchange: [change(b"".join(exchange.honest.frames))])


async def byte_by_byte(exchange: Exchange) -> None:
    """Send one byte per write: inside of UTF-8 characters, JSON and line ends."""
    await exchange.head()
    for byte in b"".join(exchange.honest.frames):
        await exchange.send(bytes([byte]))
        await asyncio.sleep(0)
    await exchange.end()


def between(*odd: bytes) -> Fault:
    """Return a fault: these pieces after each frame of the first half."""

    def change(exchange: Exchange) -> list[bytes]:
        half = len(exchange.honest.half)
        mixed = [piece for frame in exchange.honest.frames[1:half] for piece in (frame, *odd)]
        return [*exchange.honest.frames[:1], *mixed, *exchange.honest.frames[half:]]

    return framed(change)


def data_frame(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def marked(exchange: Exchange) -> list[bytes]:
    """Return the frames as one piece with a byte-order mark before it, without the first frames that carry nothing."""
    idle = 0 if exchange.honest.calls else 2 if isinstance(exchange.wire, Anthropic) else 1
    return [b"\xef\xbb\xbf" + b"".join(exchange.honest.frames[idle:])]


def finishes_twice(exchange: Exchange) -> list[bytes]:
    """Return frames with the finish reason and the usage sent twice."""
    honest = exchange.honest
    return [*honest.speech, *honest.finish, *honest.finish[-1:], *honest.count, *honest.count, *honest.done]


def no_reason(exchange: Exchange) -> list[bytes]:
    """Return frames with the end mark and without a finish reason."""
    return [*exchange.honest.speech, *exchange.honest.done]


def talks_on(exchange: Exchange) -> list[bytes]:
    """Return frames with text after the finish reason."""
    honest = exchange.honest
    more = exchange.wire.text((" And more.",)).speech[-1:]
    return [*honest.speech, *honest.finish, *more, *honest.count, *honest.done, *more]


def count_alone(exchange: Exchange) -> list[bytes]:
    """Return frames with the usage in a frame of its own, first and last."""
    honest = exchange.honest
    return [*(honest.count or honest.speech[:1]), *honest.speech, *honest.finish, *honest.count, *honest.done]


async def giant_line(exchange: Exchange) -> None:
    """Send a line of 12 MB in the middle of the answer."""
    await exchange.head()
    await exchange.send(*exchange.honest.half, b"data: {", *(b"x" * 1_000_000 for _ in range(12)), b"\n\n")
    await exchange.send(*exchange.honest.frames[len(exchange.honest.half) :])
    await exchange.end()


async def endless(exchange: Exchange) -> None:
    """Send text without end."""
    await exchange.head()
    await exchange.send(*exchange.wire.text(()).speech)
    for count in itertools.count():
        await exchange.send(*exchange.wire.text((f"{count} ",)).speech[-1:])
        await asyncio.sleep(0.005)


async def no_prefill(exchange: Exchange) -> None:
    """Refuse a request that ends in a message of the assistant (prefill) with 400; answer others."""
    await (status(400, "the last message must be the user's") if exchange.wire.prefilled(exchange.body) else well)(exchange)


async def anew(exchange: Exchange) -> None:
    """Send the whole answer from its beginning, even if the request asks to continue it."""
    honest = exchange.honest if exchange.honest.calls else exchange.wire.text(pieces(ANSWER, 31))
    await exchange.head()
    await exchange.send(*honest.frames)
    await exchange.end()


def largely(said: FakeModel) -> Fault:
    """Return a fault: the output of this model in place of a healthy tool call; answers of text stay healthy."""

    async def fault(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.send(*(said(exchange.wire, exchange.body) if exchange.honest.calls else exchange.honest).frames)
        await exchange.end()

    return fault
