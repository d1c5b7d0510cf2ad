"""A connection that generations share: who keeps it open, and how soon it is tried again."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from router.lifecycle import Backoff, Holdings, SharedConnection


class Counted(SharedConnection):
    """A connection that counts how often it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closings = 0

    async def _close(self) -> None:
        self.closings += 1


async def test_connection_is_closed_when_its_last_user_has_released_it() -> None:
    """A generation that ends keeps open what the next one uses; and what is closed is not closed again."""
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


async def test_connection_without_a_user_is_closed() -> None:
    """A generation that was built and never served releases what it held."""
    connection = Counted()
    await connection.close()
    assert connection.closings == 1


async def test_users_are_counted_from_any_thread() -> None:
    """Generations are built beside the loop, while others end on it."""
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


def test_pause_doubles_up_to_its_most() -> None:
    """Each time that a connection is lost soon, or cannot be made."""
    backoff = Backoff(first=0.2, most=1.0, steady=10.0)
    pauses: list[float] = []
    for _ in range(5):
        backoff.lost(10.0)
        pauses.append(backoff.pause)
    assert pauses == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_pause_is_short_again_after_a_connection_that_lasted() -> None:
    """A server that is restarted now and then is back at once."""
    backoff = Backoff(first=0.2, most=1.0, steady=10.0)
    for _ in range(3):
        backoff.lost(0.0)
    backoff.lost(10.1)
    assert backoff.pause == 0.2
    backoff.lost(0.0)
    assert backoff.pause == 0.4


async def test_rest_is_never_longer_than_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """And three quarters of it at least, so that processes which lost a server together come back one by one."""
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    backoff = Backoff(first=1.0, most=1.0, steady=10.0)
    backoff.lost(0.0)
    for _ in range(200):
        await backoff.rest()
    assert 0.75 <= min(rests) < max(rests) <= 1.0


def test_holdings_are_let_go_in_reverse_order_even_if_one_raises() -> None:
    """Each function is called once: here, or by the holder that it was handed over to. One that was withdrawn is not called."""
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
