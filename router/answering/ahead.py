"""Batched writes: collected output is flushed only when the next event has to be waited for.

An async generator that has its next event at hand gives it without suspending. So the first suspension is the moment
to write what was collected: no timer, no second task, no future per chunk.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

from router.events import Event
from router.failover.watch import CURRENT
from router.value import Mutable


class Ahead(Mutable):
    """An awaitable for a stream's next event, None at its end. It awaits `flush` before it waits for an event that is not at hand.

    Each `await` of it returns the next event; events at hand without a flush. The time of a flush does not count as the provider's silence.
    """

    _events: AsyncGenerator[Event, None]
    _flush: Callable[[], Awaitable[None]]

    def __await__(self) -> Generator[Any, Any, Event | None]:
        # A hand-driven `await anext(events)`. Whatever is thrown in (a cancellation) goes on to the stream, also when
        # it comes while flushing: the stream is suspended in its own await then, and must hear of it there.
        step = self._events.__anext__().__await__()
        try:
            awaited = step.send(None)
            thrown: BaseException | None = None
            watch = CURRENT.get()
            if watch is not None:
                watch.pause()  # a client that reads slowly is no provider that is silent
            try:
                yield from self._flush().__await__()
            except BaseException as error:  # noqa: BLE001 - handed on in the next lines
                thrown = error
            finally:
                if watch is not None:
                    watch.resume()
            while True:
                if thrown is not None:
                    try:
                        awaited = step.throw(thrown)
                    finally:
                        thrown = None  # this frame is in its traceback: the two would hold each other, and the question
                try:
                    sent = yield awaited
                except BaseException as error:  # noqa: BLE001 - handed on to the stream
                    thrown = error
                else:
                    awaited = step.send(sent)
        except StopIteration as done:
            return done.value
        except StopAsyncIteration:
            return None
