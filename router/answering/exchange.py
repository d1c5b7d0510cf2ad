"""The context of one request: what it holds until its end, and its errors, which are sent to the client."""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Self

from router.answering.recording import Recording
from router.answering.reply import Reply, conclude
from router.errors import RouterError, Stopping
from router.events import Failure
from router.generation import Generation
from router.intake import ClientLeft, Request
from router.journal.log import problems
from router.lifecycle import Holdings
from router.value import Mutable

CLIENT_LEFT = 499
"""Status in the log of a request whose client left before it got one (nginx's own number for it)."""


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
    _task: asyncio.Task[object]
    """The request's task."""
    _tasks: set[asyncio.Task[object]]
    """The set in which that task stands until the end of the block."""
    _ends: Callable[["Exchange"], None]
    """Called at the end of the block, before anything is released."""
    _outcome: bool = True
    """True if a disconnect is logged as `client_left`; its status is 499 in either case, unless one was sent."""
    recording: Recording | None = None
    """The recording of the answer; None where it is not recorded."""
    _answer: asyncio.Task[None] | None = None
    _left: bool = False
    """True if the answer was cancelled because the client left."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        try:
            return error is not None and await self._handled(error)
        finally:
            self._tasks.discard(self._task)
            self.reply.sink = None  # which has the reply: the two would hold each other
            try:
                self._ends(self)
            finally:
                self.held.close()

    async def apart(self, work: Coroutine[object, object, None]) -> None:
        """Run an answer in a task of its own, and wait for its end. Its errors are raised. ClientLeft if the client leaves before.

        A read from the provider then resumes only that task, not the dozen coroutines of the server that wait for it. It is cancelled
        with the request's task, and when the client leaves: `send` does not raise then, and the answer would run on without a client.
        """
        loop, client = asyncio.get_running_loop(), self.request.client
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
            if self._left and not self._task.cancelling():
                raise ClientLeft from None
            raise
        finally:
            self._answer = None  # its error has this frame in its traceback
            if watcher is not None:
                watcher.cancel()
            elif client is not None and client.left == self._leave:  # else the next request of the connection has begun
                client.left = None

    async def _watch(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        if self._answer is not None:
            self._left = self._answer.cancel()  # not an answer that is over: its connection may be, too

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
