"""The supervisor of `router serve --workers` replaces workers that end or hang, but not those that are slow."""

import signal
from collections.abc import Generator
from typing import Any

import pytest
import uvicorn
from uvicorn.supervisors import multiprocess

from router.commands.workers import SILENCE, Workers


class Worker:
    """A worker as its supervisor sees it: whether its process lives, and whether it answers pings."""

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
        """Return whether an answer to an earlier ping is queued in the pipe."""
        return bool(self.later)

    def recv(self) -> bool:
        """Take the oldest queued answer out of the pipe."""
        return self.later.pop(0)

    def is_alive(self, timeout: float | None = None) -> bool:
        """Return whether the process lives; with a timeout, as the supervisor asks, whether it also answers."""
        return self.lives if timeout is None else self.lives and self.answers

    def ping(self, timeout: float) -> bool:
        """Return whether the worker answers; the supervisor must not wait for that (timeout 0)."""
        assert timeout == 0
        return self.lives and self.answers

    is_ready = is_alive

    def ends(self, exitcode: int) -> None:
        """End with this exit code, negative for a signal."""
        self.lives, self.exitcode = False, exitcode

    def start(self) -> None:
        """Do nothing: the worker runs from the start."""

    def join(self) -> None:
        """Do nothing: there is no process to wait for."""

    def kill(self) -> None:
        """End the worker."""
        self.lives = False


@pytest.fixture
def now() -> list[float]:
    """A clock in seconds, in a list that the test changes."""
    return [0.0]


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch, now: list[float]) -> Generator[Workers, None, None]:
    """A supervisor with two fake workers that serve."""
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
    """Return the ids of the current workers."""
    return [one.pid for one in workers.processes]


def test_supervisor_replaces_an_ended_worker_at_once(workers: Workers) -> None:
    """A worker whose process has ended is replaced at the next check; the other worker continues."""
    Worker.made[0].lives = False
    workers.keep_subprocess_alive()
    assert pids(workers) == [2, 1]


def test_supervisor_replaces_a_worker_that_has_not_answered_for_the_silence_limit(workers: Workers, now: list[float]) -> None:
    """A worker is kept until SILENCE seconds after its first check or last answer; one silent for longer is replaced."""
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
def test_worker_that_ends_before_any_has_served_is_replaced_only_if_killed(workers: Workers, exitcode: int, goes_on: bool) -> None:
    """Before any worker has served, a worker killed by a signal is replaced, and one that exits by itself stops the supervisor."""
    workers.served = False
    for worker in Worker.made:
        worker.answers = False
    Worker.made[0].ends(exitcode)
    workers.keep_subprocess_alive()
    assert workers.should_exit.is_set() is not goes_on
    assert pids(workers) == ([2, 1] if goes_on else [0, 1])


def test_worker_readiness_is_read_from_its_newest_answer(workers: Workers) -> None:
    """A worker counts as ready if the newest of its queued answers says so, whatever the older ones say."""
    workers.served = False
    for worker in Worker.made:
        worker.answers = False
    Worker.made[0].later = [False, True]
    workers.keep_subprocess_alive()
    assert workers.served
