"""Connections that generations share: the last user closes them, and a lost one is restored after growing pauses."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from router.lifecycle import Backoff, Deadline, Holdings, SharedConnection


class Counted(SharedConnection):
    """A shared connection to nothing. `closings`: how often it was really closed, without the calls of `close` that did nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.closings = 0

    async def _close(self) -> None:
        self.closings += 1


async def test_connection_is_closed_once_after_its_last_release() -> None:
    """Calls of `close` do nothing while a user holds the connection; after the last release, two calls close it once."""
    connection = Counted()
    connection.hold()
    connection.hold()
    connection.release()
    await connection.close()
    assert (connection.held, connection.closed, connection.closings) == (True, False, 0)
    connection.release()
    for _ in range(2):
        await connection.close()
    assert (connection.held, connection.closed, connection.closings) == (False, True, 1)


async def test_connection_that_was_never_held_can_be_closed() -> None:
    """A connection that no user ever held is closed by `close`."""
    connection = Counted()
    await connection.close()
    assert connection.closings == 1


async def test_users_of_a_connection_are_counted_across_threads() -> None:
    """Calls of `hold` and `release` from eight threads are counted exactly: the connection is held until the last release."""
    connection = Counted()
    with ThreadPoolExecutor(8) as threads:
        for _ in range(1000):
            threads.submit(connection.hold)
    with ThreadPoolExecutor(8) as threads:
        for _ in range(999):
            threads.submit(connection.release)
    assert connection.held
    connection.release()
    assert not connection.held


def test_backoff_doubles_up_to_its_maximum() -> None:
    """The pause before a reconnection doubles with each lost connection, from `first` up to `most` seconds."""
    backoff = Backoff(first=0.2, most=1.0, steady=10.0)
    pauses: list[float] = []
    for _ in range(5):
        backoff.lost(10.0)
        pauses.append(backoff.pause)
    assert pauses == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_backoff_starts_over_after_a_lasting_connection() -> None:
    """The pause is `first` seconds again after a connection that lasted longer than `steady` seconds."""
    backoff = Backoff(first=0.2, most=1.0, steady=10.0)
    for _ in range(3):
        backoff.lost(0.0)
    backoff.lost(10.1)
    assert backoff.pause == 0.2
    backoff.lost(0.0)
    assert backoff.pause == 0.4


async def test_backoff_waits_between_three_quarters_and_all_of_its_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait before a reconnection is random, from 75 % to 100 % of the pause, so that processes do not reconnect all at once."""
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    backoff = Backoff(first=1.0, most=1.0, steady=10.0)
    backoff.lost(0.0)
    for _ in range(200):
        await backoff.rest()
    assert 0.75 <= min(rests) < max(rests) <= 1.0


def test_holdings_are_released_in_reverse_order_even_if_one_raises() -> None:
    """Closing a `Holdings` calls each held function once, the last first, even if one raises, and does not call a withdrawn one."""
    called: list[str] = []

    def failing() -> None:
        called.append("failing")
        raise OSError

    withdrawn = partial(called.append, "withdrawn")
    held = Holdings()
    for let_go in (partial(called.append, "first"), withdrawn, failing, partial(called.append, "last")):
        held.add(let_go)
    held.withdraw(withdrawn)
    with pytest.raises(OSError, match=r"^$"):
        held.close()
    assert called == ["last", "failing", "first"]
    with Holdings() as held:
        held.add(partial(called.append, "handed over"))
        other = held.handed_over()
    assert "handed over" not in called
    other.close()
    other.close()
    assert called.count("handed over") == 1


async def test_deadline_raises_timeout_error_and_leaves_no_cancellation() -> None:
    """A block that is not over in time ends with TimeoutError, and its task can wait on; one that is over in time ends without it."""
    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(TimeoutError), Deadline(0.01):
        await asyncio.sleep(60)
    with Deadline(60):
        await asyncio.sleep(0)
    await asyncio.sleep(0.02)
    assert task.cancelling() == 0


async def test_deadline_that_is_given_its_task_cancels_that_task() -> None:
    """A deadline that is given the running task ends its block as one that looks it up does."""
    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(TimeoutError), Deadline(0.01, task):
        await asyncio.sleep(60)
    assert task.cancelling() == 0


async def test_deadline_passes_on_a_cancellation_by_another() -> None:
    """A task that is cancelled before the deadline, or in the same turn, ends as cancelled and not with TimeoutError."""

    async def waiting(deadline: Deadline) -> None:
        with deadline:
            await asyncio.sleep(60)

    for expired in (False, True):
        deadline = Deadline(60)
        task = asyncio.create_task(waiting(deadline))
        await asyncio.sleep(0)
        if expired:
            deadline._expire()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_inner_deadline_leaves_the_outer_block_running_but_not_the_reverse() -> None:
    """An inner block that runs out of time raises TimeoutError within the outer one; an outer one that runs out ends both."""
    with Deadline(60):
        with pytest.raises(TimeoutError), Deadline(0.01):
            await asyncio.sleep(60)
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError), Deadline(0.01), Deadline(60):
        await asyncio.sleep(60)
