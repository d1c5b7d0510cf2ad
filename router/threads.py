"""Runs blocking work in daemon threads that are never joined.

A hanging thread delays neither an answer nor the end of the process, unlike the threads of asyncio's pool.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, cast

T = TypeVar("T")


async def in_thread(work: Callable[[], T], name: str) -> T:
    """Run blocking work in a new thread named `name`, wait for it, and return its value or raise its error.

    StopIteration, and errors that are no Exception, are raised as RuntimeError with the error's class name.
    If the caller is cancelled, the thread runs on, and its result is dropped.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(value: T | None, error: BaseException | None = None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(cast("T", value))
        else:  # StopIteration cannot be set on a future, SystemExit would end the loop
            known = isinstance(error, Exception) and not isinstance(error, StopIteration)
            future.set_exception(error if known else RuntimeError(type(error).__name__))

    def run() -> None:
        try:
            outcome = (context.run(work), None)
        except BaseException as error:  # noqa: BLE001 - raised in the task that awaits
            outcome = (None, error)
        with suppress(RuntimeError):  # the loop is closed: nobody is waiting any more
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, daemon=True, name=name).start()
    return await future


class Turns:
    """A queue that runs blocking work in threads, one piece at a time. Made anywhere, used on one event loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def take(self, work: Callable[[], T], name: str) -> T:
        """Wait for the turn, and do as `in_thread`. If the caller is cancelled, the next piece of work begins beside its running one."""
        async with self._turn:
            return await in_thread(work, name)
