"""Bounds on the messages of an MCP server over HTTP: the MCP library reads each message completely before any code can check it."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

from router.chat import separators

if TYPE_CHECKING:
    import httpx2

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Bytes of one message: a body, or an event of a stream of any length. A result shown to a model is cut far below that."""
MAX_MESSAGE_VALUES = 200_000
"""JSON values of one message, counted by the commas and brackets before them, in texts too. It is parsed on the loop, in one go."""
BLANKS = b"\n\n", b"\r\r", b"\r\n\r\n"
"""The ends of an event (HTML Living Standard, 9.2)."""


async def bounded(response: "httpx2.Response") -> None:
    """Have the stream of a response (of an MCP server) raise httpx2.ReadError at a message that is too large, or compressed.
    A hook of the HTTP client. A compressed message may be a thousand times as large when decompressed.
    """
    import httpx2  # noqa: PLC0415 - of an extra

    stream = cast("httpx2.AsyncByteStream", response.stream)
    many = response.headers.get("content-type", "").startswith("text/event-stream")
    packed = response.headers.get("content-encoding", "identity") != "identity"

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            held, values, last = 0, 0, b""
            async for chunk in stream:
                before, held = held + len(chunk), _held(held, last, chunk) if many else held + len(chunk)
                values = values + separators(chunk) if held == before else separators(chunk[len(chunk) - held :])
                if packed or held > MAX_MESSAGE_BYTES or values > MAX_MESSAGE_VALUES:
                    raise httpx2.ReadError("a message that is too large, or packed")
                last = chunk[-3:]
                yield chunk

        async def aclose(self) -> None:
            await stream.aclose()

    response.stream = Bounded()


def _held(held: int, last: bytes, chunk: bytes) -> int:
    """Return the bytes received since the end of the last event, this chunk included. `held`: those before this chunk.
    last: the last three bytes before this chunk, since the end of an event may be split
    """
    joined = last + chunk
    ended = max(at + len(blank) if (at := joined.rfind(blank)) >= 0 else -1 for blank in BLANKS)
    return held + len(chunk) if ended < 0 else len(joined) - ended
