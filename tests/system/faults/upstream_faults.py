"""Faults of a provider: before the first byte, in mid-stream, and what is odd and no fault."""

import asyncio
import itertools
import json
import zlib
from collections.abc import Callable

from tests.support.upstream import ANSWER, WORDS, Anthropic, Exchange, Fault, Said, pieces, well


def status(code: int, message: str = "no", kind: str = "error", **headers: str) -> Fault:
    """An error that repeats the key."""

    async def fault(exchange: Exchange) -> None:
        body = exchange.wire.error(code, f"{message} {exchange.key} {WORDS}", kind)
        await exchange.whole(code, json.dumps(body).encode(), **headers)

    return fault


def once(fault: Fault) -> Fault:
    """This at first, then none."""

    async def first(exchange: Exchange) -> None:
        await (well if exchange.count else fault)(exchange)

    return first


def body(text: str, content_type: str = "application/json") -> Fault:
    """This under a 200."""

    async def fault(exchange: Exchange) -> None:
        await exchange.whole(200, text.encode(), content_type)

    return fault


def redirect(code: int) -> Fault:
    """To an upstream that would answer."""

    async def fault(exchange: Exchange) -> None:
        await exchange.whole(code, b"", location=f"{exchange.trap}/chat/completions")

    return fault


async def error_body(exchange: Exchange) -> None:
    """An error under a 200, as one JSON body."""
    await exchange.whole(200, json.dumps(exchange.wire.error(503, f"{WORDS} {exchange.key}", "")).encode())


async def error_first(exchange: Exchange) -> None:
    """An error as the first event of a stream."""
    await exchange.head()
    await exchange.send(exchange.wire.failing(503, f"{WORDS} {exchange.key}", "overloaded"))
    await exchange.end()


async def silence(exchange: Exchange) -> None:
    """Not even headers."""
    await exchange.hold()


async def headers_only(exchange: Exchange) -> None:
    """Headers, then nothing."""
    await exchange.head()
    await exchange.hold()


async def comments_only(exchange: Exchange) -> None:
    """Signs of life, and no word."""
    await exchange.head()
    while not exchange.writer.is_closing():
        await exchange.send(b": keep-alive\n\n")
        await asyncio.sleep(0.05)


async def nothing(exchange: Exchange) -> None:
    """A stream without an event."""
    await exchange.head()
    await exchange.end()


async def done_only(exchange: Exchange) -> None:
    """A stream with its end alone."""
    await exchange.head()
    await exchange.send(*exchange.honest.done)
    await exchange.end()


async def wordless(exchange: Exchange) -> None:
    """A good end to nothing."""
    await exchange.head()
    await exchange.send(*exchange.wire.text(()).frames)
    await exchange.end()


async def filtered(exchange: Exchange) -> None:
    """The filter's finish reason, before any word."""
    await exchange.head()
    await exchange.send(*exchange.wire.text((), finish="filtered").frames)
    await exchange.end()


async def _half(exchange: Exchange) -> None:
    """The first half of what it would say, which the client has then heard if it is words."""
    await exchange.head()
    await exchange.send(*exchange.honest.half)
    if not exchange.honest.calls:
        await exchange.heard.wait()


async def reset(exchange: Exchange) -> None:
    """RST in mid-answer."""
    await _half(exchange)
    exchange.reset()


async def cut(exchange: Exchange) -> None:
    """FIN in mid-answer, in the middle of an HTTP body."""
    await _half(exchange)


async def ended(exchange: Exchange) -> None:
    """A good end of the HTTP body in mid-answer."""
    await _half(exchange)
    await exchange.end()


async def closed(exchange: Exchange) -> None:
    """FIN in mid-answer, where a FIN is how the body ends."""
    await exchange.head(content_length="")
    await exchange.send(*exchange.honest.half)
    if not exchange.honest.calls:
        await exchange.heard.wait()


async def torn(exchange: Exchange) -> None:
    """FIN in the middle of a frame."""
    await _half(exchange)
    await exchange.send(exchange.honest.speech[-1][:30])


GARBAGE = bytes(range(128, 256)) * 8


async def garbled(exchange: Exchange) -> None:
    """Bytes that are no HTTP any more, in mid-answer."""
    await _half(exchange)
    exchange.writer.write(GARBAGE)
    await exchange.writer.drain()


async def unreadable(exchange: Exchange) -> None:
    """Bytes that are no event any more, in mid-answer, to a good end of the HTTP body."""
    await _half(exchange)
    await exchange.send(GARBAGE, b"\n\n", GARBAGE)
    await exchange.end()


async def damaged(exchange: Exchange) -> None:
    """Bytes that cannot be unpacked, in mid-answer."""
    packer = zlib.compressobj(wbits=31)
    await exchange.head(content_encoding="gzip")
    await exchange.send(packer.compress(b"".join(exchange.honest.half)) + packer.flush(zlib.Z_SYNC_FLUSH))
    if not exchange.honest.calls:
        await exchange.heard.wait()
    await exchange.send(GARBAGE)
    await exchange.end()


async def error_later(exchange: Exchange) -> None:
    """An error as an event, in mid-answer."""
    await _half(exchange)
    await exchange.send(exchange.wire.failing(529, f"{WORDS} {exchange.key}", "overloaded"))
    await exchange.end()


async def stall(exchange: Exchange) -> None:
    """Silence in mid-answer."""
    await _half(exchange)
    await exchange.hold()


async def stall_alive(exchange: Exchange) -> None:
    """Signs of life and no further word, in mid-answer."""
    await _half(exchange)
    while not exchange.writer.is_closing():
        await exchange.send(b": keep-alive\n\n")
        await asyncio.sleep(0.05)


async def filtered_later(exchange: Exchange) -> None:
    """The filter's finish reason, in mid-answer."""
    honest = exchange.honest
    if honest.calls:
        return await well(exchange)
    await exchange.head()
    await exchange.send(*honest.half, *exchange.wire.text((), finish="filtered").finish)
    await exchange.end()
    return None


async def no_done(exchange: Exchange) -> None:
    """A finish reason and the count, then the end of the body."""
    await exchange.head()
    await exchange.send(*exchange.honest.speech, *exchange.honest.finish, *exchange.honest.count)
    await exchange.end()


async def no_done_held(exchange: Exchange) -> None:
    """A finish reason and the count, then nothing; the connection stays open."""
    await exchange.head()
    await exchange.send(*exchange.honest.speech, *exchange.honest.finish, *exchange.honest.count)
    await exchange.hold()


async def no_done_reset(exchange: Exchange) -> None:
    """A finish reason and the count, then RST."""
    await exchange.head()
    await exchange.send(*exchange.honest.speech, *exchange.honest.finish, *exchange.honest.count)
    if not exchange.honest.calls:
        await exchange.heard.wait()
    exchange.reset()


def framed(change: Callable[[Exchange], list[bytes]]) -> Fault:
    """These frames in place of the honest ones."""

    async def fault(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.send(*change(exchange))
        await exchange.end()

    return fault


def joined(change: Callable[[bytes], bytes]) -> Fault:
    """The whole body, changed, in one piece."""
    return framed(lambda exchange: [change(b"".join(exchange.honest.frames))])


async def byte_by_byte(exchange: Exchange) -> None:
    """One byte per write: inside of UTF-8, inside of JSON, inside of a line's end."""
    await exchange.head()
    for byte in b"".join(exchange.honest.frames):
        await exchange.send(bytes([byte]))
        await asyncio.sleep(0)
    await exchange.end()


def between(*odd: bytes) -> Fault:
    """These between the frames of the first half."""

    def change(exchange: Exchange) -> list[bytes]:
        half = len(exchange.honest.half)
        mixed = [piece for frame in exchange.honest.frames[1:half] for piece in (frame, *odd)]
        return [*exchange.honest.frames[:1], *mixed, *exchange.honest.frames[half:]]

    return framed(change)


def data_frame(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def marked(exchange: Exchange) -> list[bytes]:
    """A byte-order mark, and no frame before the first that matters."""
    idle = 0 if exchange.honest.calls else 2 if isinstance(exchange.wire, Anthropic) else 1
    return [b"\xef\xbb\xbf" + b"".join(exchange.honest.frames[idle:])]


def finishes_twice(exchange: Exchange) -> list[bytes]:
    """The reason stands there twice, and so does the count."""
    honest = exchange.honest
    return [*honest.speech, *honest.finish, *honest.finish[-1:], *honest.count, *honest.count, *honest.done]


def no_reason(exchange: Exchange) -> list[bytes]:
    """The mark of the end, and no finish reason before it."""
    return [*exchange.honest.speech, *exchange.honest.done]


def talks_on(exchange: Exchange) -> list[bytes]:
    """Words after the finish reason."""
    honest = exchange.honest
    more = exchange.wire.text((" And more.",)).speech[-1:]
    return [*honest.speech, *honest.finish, *more, *honest.count, *honest.done, *more]


def count_alone(exchange: Exchange) -> list[bytes]:
    """The count comes first, alone, and last."""
    honest = exchange.honest
    return [*(honest.count or honest.speech[:1]), *honest.speech, *honest.finish, *honest.count, *honest.done]


async def giant_line(exchange: Exchange) -> None:
    """A line of 12 MB among the words."""
    await exchange.head()
    await exchange.send(*exchange.honest.half, b"data: {", *(b"x" * 1_000_000 for _ in range(12)), b"\n\n")
    await exchange.send(*exchange.honest.frames[len(exchange.honest.half) :])
    await exchange.end()


async def endless(exchange: Exchange) -> None:
    """Words for ever."""
    await exchange.head()
    await exchange.send(*exchange.wire.text(()).speech)
    for count in itertools.count():
        await exchange.send(*exchange.wire.text((f"{count} ",)).speech[-1:])
        await asyncio.sleep(0.005)


async def no_prefill(exchange: Exchange) -> None:
    """It takes no words of its own."""
    await (status(400, "the last message must be the user's") if exchange.wire.prefilled(exchange.body) else well)(exchange)


async def anew(exchange: Exchange) -> None:
    """It says the whole answer, whatever was said."""
    honest = exchange.honest if exchange.honest.calls else exchange.wire.text(pieces(ANSWER, 31))
    await exchange.head()
    await exchange.send(*honest.frames)
    await exchange.end()


def largely(said: Said) -> Fault:
    """This model's words in place of the honest one's, where tools are asked for."""

    async def fault(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.send(*(said(exchange.wire, exchange.body) if exchange.honest.calls else exchange.honest).frames)
        await exchange.end()

    return fault
