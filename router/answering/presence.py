"""The wait for an answer, for as long as its client is there."""

import asyncio
from collections.abc import Coroutine

from starlette.types import Receive

from router.answering.reply import Client
from router.intake import ClientLeft
from router.value import Mutable


class Presence(Mutable):
    """Runs an answer until its end or the client's disconnect: the answer is cancelled then, and `apart` raises ClientLeft.

    `send` does not raise when the client is gone: without this an answer would run on without a client.
    """

    _receive: Receive
    _client: Client | None
    _left: bool = False
    _answer: asyncio.Task[None] | None = None

    async def apart(self, work: Coroutine[object, object, None]) -> None:
        """Run an answer in a task of its own, and wait for its end. Its errors are raised.

        A read from the provider then resumes only that task, not the dozen coroutines of the server that wait for it. It is cancelled
        with the task that waits.
        """
        loop, client = asyncio.get_running_loop(), self._client
        watcher = None
        if client is None:
            watcher = loop.create_task(self._watch())  # the server does not tell of a disconnect by itself
        elif client.gone:
            loop.call_soon(loop.call_soon, self._leave)  # after the first step of the answer's task
        else:
            client.left = self._leave
        self._answer = loop.create_task(work)
        try:
            await self._answer
        except asyncio.CancelledError:
            waiting = asyncio.current_task()
            if self._left and waiting is not None and not waiting.cancelling():
                raise ClientLeft from None
            raise
        finally:
            self._answer = None  # its error has this frame in its traceback
            if watcher is not None:
                watcher.cancel()
            elif client is not None and client.left == self._leave:  # else the next request of the connection has begun
                client.left = None

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        if self._answer is not None:
            self._left = self._answer.cancel()  # not an answer that is over: its connection may be, too
