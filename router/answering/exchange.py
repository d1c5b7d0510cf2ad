"""The context of one request: what it holds until its end, and its errors, which are sent to the client."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from starlette.types import Message, Send

from router.answering.recording import Recording
from router.answering.reply import Reply, conclude
from router.errors import RouterError, Stopping
from router.events import Failure
from router.generation import Generation
from router.intake import ClientLeft, Request
from router.journal.entry import Entry
from router.journal.log import problems
from router.lifecycle import Holdings
from router.value import Mutable

CLIENT_LEFT = 499
"""Status in the log of a request whose client left before it got one (nginx's own number for it)."""


def _watched_until_the_end(send: Send, watcher: asyncio.Task[None]) -> Send:
    """Return a `send` that cancels the watcher before the last message: a server reports the end of a response as a disconnect, too."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            watcher.cancel()
        await send(message)

    return sent


class Exchange(Mutable):
    """The context of one request: an error raised in its `async with` block is sent to the client, in the wire known so far.

    A cancellation counts as a shutdown. An unexpected error after the response has begun is raised.
    A class: a generator of contextlib takes three times as many calls.
    """

    request: Request
    reply: Reply
    generation: Generation
    held: Holdings
    """Releases what the request holds, at the end of the block."""
    task: asyncio.Task[object]
    """The request's task."""
    _tasks: set[asyncio.Task[object]]
    """The set in which that task stands until the end of the block."""
    _close: Callable[[Entry], None]
    """Closes the request's entry, at the end of the block, before anything is released."""
    _goes_on: Callable[["Exchange"], None]
    """Called instead if the answer goes on without its client."""
    _outcome: bool = True
    """True if a disconnect is logged as `client_left`; its status is 499 in either case, unless one was sent."""
    recording: Recording | None = None
    """The recording of the answer; None where it is not recorded."""
    _leaves: Callable[[], None] | None = None
    """Called when the client leaves; None unless that cancels the request's task."""
    _watcher: asyncio.Task[None] | None = None
    """The task that waits for a disconnect; None under the router's own server."""
    _left: bool = False
    """True if the request's task was cancelled because the client left."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        try:
            if (leaves := self._leaves) is not None:
                self._leaves, client = None, self.request.client
                if self._watcher is not None:
                    self._watcher.cancel()
                elif client.left is leaves:  # else the next request of the connection has begun
                    client.left = None
                if self._left and not self.task.uncancel() and isinstance(error, asyncio.CancelledError):
                    error = ClientLeft()
            return error is not None and await self._handled(error)
        finally:
            self._tasks.discard(self.task)
            self.reply.sink = None  # which has the reply: the two would hold each other
            try:
                recording = self.recording
                if recording is None or recording.over:
                    self._close(self.reply.entry)
                else:
                    self._goes_on(self)
            finally:
                self.held.close()

    async def cancel_if_left(self) -> None:
        """Have the request's task cancelled from now on if the client leaves before the end of the block.

        `send` does not raise after a disconnect, and the answer would run on without a client.
        """
        client, self._leaves = self.request.client, self._leave
        if client is None:  # the server does not tell of a disconnect by itself
            self._watcher = watcher = asyncio.create_task(self._watch())
            self.reply.send = _watched_until_the_end(self.reply.send, watcher)
            await asyncio.sleep(0)  # the client may have left already
        elif client.gone:
            asyncio.get_running_loop().call_soon(self._leaves)  # after the first step of the answer
        else:
            client.left = self._leaves

    async def _watch(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        if self._leaves is not None:  # not of a request that is over
            self._left = self.task.cancel()

    async def _handled(self, error: BaseException) -> bool:
        """Return whether the error is suppressed: it was sent to the client, or is the client's disconnect or a shutdown."""
        match error:
            case ClientLeft():
                entry = self.reply.entry
                entry.status = entry.status or CLIENT_LEFT
                entry.outcome = "client_left" if self._outcome else entry.outcome
            case asyncio.CancelledError():
                await self._stopped()
            case Exception():
                try:
                    return await self._refused(error)
                except (ClientLeft, asyncio.CancelledError) as later:
                    return await self._handled(later)
            case _:
                return False
        return True

    async def _refused(self, error: Exception) -> bool:
        """Send an error instead of the answer, and return True. One that is no RouterError is logged and sent as an internal error.

        Return False for such an unexpected one after the response has begun: it is raised and resets the connection.
        """
        if not isinstance(error, RouterError):
            # The one place that catches whatever was not foreseen: the client hears a code, the log where it was.
            problems.error("a request failed", exc_info=error, extra={"fields": {"request_id": self.reply.entry.request_id}})
            if self.reply.begun:
                return False  # the connection is reset: a stream that breaks must not look finished
        self.reply.wire = self.request.wire
        await self.reply.refuse(error if isinstance(error, RouterError) else RouterError())
        return True

    async def _stopped(self) -> None:
        """End the answer because of a shutdown. A stream that has begun gets an error and its end, a request before that a 503."""
        reply = self.reply
        if reply.over:
            return  # it ended in the turn of the event loop in which it was cancelled
        if (sink := reply.sink) is not None and sink.begun:
            if conclude(sink, Failure(Stopping.code, Stopping.sentence)):
                reply.entry.outcome = Stopping.code
            await sink.close()
        elif not reply.begun:
            reply.wire = self.request.wire
            await reply.refuse(Stopping())
