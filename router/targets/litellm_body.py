"""Response bodies that LiteLLM reads: decompression, and the late read of token counts beside the answer."""

import asyncio
from typing import Any

from router.targets.http import read_late
from router.targets.retold import SseNormalizer
from router.targets.speech import Speech
from router.targets.unpacking import Unpacker, UnreadableBody


class DecompressedBody:
    """The body of an httpx response to LiteLLM, read in decompressed pieces."""

    def __init__(self, stream: Any, packed: Unpacker | None, heard: Speech, httpx: Any) -> None:
        self._stream = stream
        self._pieces = aiter(stream)
        self._packed = packed
        self._heard = heard
        self._httpx = httpx
        self._reading: asyncio.Task[bytes] | None = None

    async def read(self) -> bytes:
        """Return the next piece; empty at the end of the body, or after a failure that follows the finish reason.

        Raises an error of httpx for an earlier failure.
        """
        try:
            while piece := await anext(self._pieces, b""):
                if made := self._packed.feed(piece) if self._packed else piece:
                    return made
        except UnreadableBody:
            if not self._heard.finished:
                raise self._httpx.ReadError("garbled") from None
        except self._httpx.HTTPError:
            if not self._heard.finished:
                raise
        return b""

    async def beside(self) -> bytes:
        """Return the next piece as `read` does. If the caller is cancelled, the read goes on, and the next call returns its piece."""
        self._reading = self._reading or asyncio.create_task(self.read())
        piece = await asyncio.shield(self._reading)
        self._reading = None
        return piece

    async def close(self) -> None:
        """Cancel a pending read, and close the response."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._pieces.aclose()
        await self._stream.aclose()


async def count_late(body: DecompressedBody, normalizer: SseNormalizer) -> None:
    """Read the rest of a body until its token counts came, within the bounds of `read_late`, and close the response."""
    try:
        await read_late(body.beside, normalizer.reader, normalizer.heard)
    finally:
        await body.close()
