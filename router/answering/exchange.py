"""Two context managers around each request: one registers its task, the other sends its errors to the client.

Both are classes: a generator of contextlib takes three times as many calls.
"""

import asyncio
from types import TracebackType

from router.answering.reply import Reply, conclude
from router.errors import RouterError, Stopping
from router.events import Failure
from router.intake import ClientLeft, Request
from router.journal.log import problems
from router.lifecycle import Holdings
from router.value import Mutable, field

CLIENT_LEFT = 499
"""Status in the log of a request whose client left before it got one (nginx's own number for it)."""


class ServedTask(Mutable):
    """Registers the task of a `with` block in a set. At the end of the block it removes the task and releases what the request holds.

    The block gets the Holdings to which such releases are added.
    """

    _those: set[asyncio.Task[object]]
    _held: Holdings = field(default_factory=Holdings)
    _task: asyncio.Task[object] | None = None

    def __enter__(self) -> Holdings:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._those.add(self._task)
        return self._held

    def __exit__(self, *_: object) -> None:
        try:
            self._held.close()
        finally:
            if self._task is not None:
                self._those.discard(self._task)


class Exchange(Mutable):
    """Sends an error raised in an `async with` block to the client, in the wire known so far, and suppresses it.

    outcome: whether to log a disconnect as `client_left`; its status is 499 in either case, unless one was sent

    A cancellation counts as a shutdown. An unexpected error after the response has begun is raised.
    """

    _reply: Reply
    _request: Request
    outcome: bool = True

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if error is None:
            return False
        if isinstance(error, ClientLeft):
            return self._left()
        if isinstance(error, asyncio.CancelledError):
            return await self._stopped()
        if not isinstance(error, Exception):
            return False
        try:
            return await self._refused(error)
        except ClientLeft:
            return self._left()
        except asyncio.CancelledError:
            return await self._stopped()

    async def _refused(self, error: Exception) -> bool:
        """Send an error instead of the answer, and return True. One that is no RouterError is logged and sent as an internal error.

        Return False for such an unexpected one after the response has begun: it is raised and resets the connection.
        """
        reply, request = self._reply, self._request
        if not isinstance(error, RouterError):
            # The one place that catches whatever was not foreseen: the client hears a code, the log where it was.
            problems.error("a request failed", exc_info=error, extra={"fields": {"request_id": reply.entry.request_id}})
            if reply.begun:
                return False  # the connection is reset: a stream that breaks must not look finished
        reply.wire = request.wire
        await reply.refuse(error if isinstance(error, RouterError) else RouterError())
        return True

    def _left(self) -> bool:
        """Record in the entry that the client disconnected (status 499 if none was sent), and return True: the error is suppressed."""
        entry = self._reply.entry
        entry.status = entry.status or CLIENT_LEFT
        entry.outcome = "client_left" if self.outcome else entry.outcome
        return True

    async def _stopped(self) -> bool:
        """End the answer because of a shutdown, and return True: the cancellation is suppressed.

        A stream that has begun gets an error and its end, a request before that a 503.
        """
        reply = self._reply
        entry = reply.entry
        if (sink := reply.sink) is not None and sink.begun:
            if conclude(sink, Failure(Stopping.code, Stopping.sentence)):
                entry.outcome = Stopping.code
            await sink.close()
        elif not reply.begun:
            reply.wire = self._request.wire
            await reply.refuse(Stopping())
        return True
