"""The baseline: a raw ASGI application under uvicorn that forwards bytes, without translation or limits.
python -m bench.relay PORT UPSTREAM
"""

import asyncio
import sys
from typing import cast

import httptools
import uvicorn
from starlette.types import Message, Receive, Scope, Send


class Upstream(asyncio.Protocol):
    """A reusable connection to the provider."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods alone
        self._waiter: asyncio.Future[None] | None = None

    def ask(self, request: bytes) -> None:
        """Send a request and prepare to parse its response."""
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self.status = 0
        self.content_type = b""
        self.whole = False
        self.transport.write(request)

    async def read(self) -> bytes:
        """Wait for bytes of the body and return them; empty at its end."""
        while not self._pieces and not self.whole:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data

    def data_received(self, data: bytes) -> None:
        """Parse received bytes."""
        self._parser.feed_data(data)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the provider closed the connection."""
        self.whole = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the content type of the response; other headers are ignored."""
        if name.lower() == b"content-type":
            self.content_type = value

    def on_headers_complete(self) -> None:
        """Take the status code."""
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """Note the end of the response."""
        self.whole = True


class Relay:
    """The ASGI application of the baseline."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Upstream] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one request to the provider and stream its response back."""
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message: Message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        upstream = self._idle.pop() if self._idle else await self._connect()
        head = b"POST %s HTTP/1.1\r\nhost: provider\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        upstream.ask(head % (scope["path"].encode(), len(body)) + body)
        begun = False
        while data := await upstream.read():
            if not begun:
                begun = True
                headers = [(b"content-type", upstream.content_type)]
                await send({"type": "http.response.start", "status": upstream.status, "headers": headers})
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if not upstream.transport.is_closing():
            self._idle.append(upstream)

    async def _connect(self) -> Upstream:
        _, upstream = await asyncio.get_running_loop().create_connection(Upstream, "127.0.0.1", self._port)
        return upstream


if __name__ == "__main__":
    uvicorn.run(Relay(int(sys.argv[2])), port=int(sys.argv[1]), log_config=None, access_log=False, lifespan="off")
