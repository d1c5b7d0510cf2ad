"""Workers are replaced where they end or hang, and not where they are slow."""

import signal
from collections.abc import Generator
from typing import Any

import pytest
import uvicorn
from uvicorn.supervisors import multiprocess

from router.commands.workers import SILENCE, Workers


class Worker:
    """A worker as its supervisor sees it: whether its process lives, and whether it answers."""

    made: list["Worker"]
    exitcode: int | None = None

    def __init__(self, *_: object) -> None:
        self.lives = self.answers = True
        self.process = self
        self.pid = len(self.made)
        self.made.append(self)
        self.parent_conn = self
        self.later: list[bool] = []

    def poll(self, _: float) -> bool:
        """Whether another answer lies in the pipe."""
        return bool(self.later)

    def recv(self) -> bool:
        """Take it out."""
        return self.later.pop(0)

    def is_alive(self, timeout: float | None = None) -> bool:
        """Its process's word for it, or, with a timeout, the supervisor's."""
        return self.lives if timeout is None else self.lives and self.answers

    def ping(self, timeout: float) -> bool:
        """Whether an answer lies there: nobody waits for one."""
        assert timeout == 0
        return self.lives and self.answers

    is_ready = is_alive

    def ends(self, exitcode: int) -> None:
        """End by itself, or by a signal where negative."""
        self.lives, self.exitcode = False, exitcode

    def start(self) -> None:
        """It runs."""

    def join(self) -> None:
        """It ended."""

    def kill(self) -> None:
        """It ends."""
        self.lives = False


@pytest.fixture
def now() -> list[float]:
    """The time."""
    return [0.0]


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch, now: list[float]) -> Generator[Workers, None, None]:
    """Two workers that serve."""
    before = {number: signal.getsignal(number) for number in multiprocess.SIGNALS}
    Worker.made = []
    monkeypatch.setattr(multiprocess, "Process", Worker)
    made = Workers(uvicorn.Config("none:none", workers=2), [], clock=lambda: now[0])
    made.init_processes()
    made.keep_subprocess_alive()
    assert made.served
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def pids(workers: Workers) -> list[Any]:
    """Who serves."""
    return [one.pid for one in workers.processes]


def test_worker_that_ended_is_replaced_at_once(workers: Workers) -> None:
    """The other worker goes on."""
    Worker.made[0].lives = False
    workers.keep_subprocess_alive()
    assert pids(workers) == [2, 1]


def test_slow_worker_is_replaced_only_after_its_time_to_answer(workers: Workers, now: list[float]) -> None:
    """The time begins at the first look at a worker, also at one that starts, and anew with each answer."""
    Worker.made[0].lives = False
    workers.keep_subprocess_alive()
    starting = Worker.made[2]
    starting.answers = False
    for now[0] in (1.0, SILENCE - 1):
        workers.keep_subprocess_alive()
    assert pids(workers) == [2, 1]
    starting.answers = True
    workers.keep_subprocess_alive()
    starting.answers = False
    now[0] = 2 * SILENCE - 2
    workers.keep_subprocess_alive()
    assert pids(workers) == [2, 1]
    now[0] = 2 * SILENCE
    workers.keep_subprocess_alive()
    assert pids(workers) == [3, 1]
    assert not starting.lives


@pytest.mark.parametrize(("exitcode", "goes_on"), [(-signal.SIGKILL, True), (1, False)], ids=["killed", "by itself"])
def test_worker_that_ends_before_any_has_served_is_replaced_if_it_was_killed(workers: Workers, exitcode: int, goes_on: bool) -> None:
    """A worker that ends by itself could not start: then the server ends."""
    workers.served = False
    for worker in Worker.made:
        worker.answers = False
    Worker.made[0].ends(exitcode)
    workers.keep_subprocess_alive()
    assert workers.should_exit.is_set() is not goes_on
    assert pids(workers) == ([2, 1] if goes_on else [0, 1])


def test_worker_readiness_is_read_from_its_newest_answer(workers: Workers) -> None:
    """On a busy machine answers to earlier checks are still in the queue before it."""
    workers.served = False
    for worker in Worker.made:
        worker.answers = False
    Worker.made[0].later = [False, True]
    workers.keep_subprocess_alive()
    assert workers.served
