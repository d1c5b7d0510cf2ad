"""Worker processes of one server: started, passed signals, and replaced if one ends or falls silent."""

import os
import signal
import time
from collections.abc import Callable
from socket import socket
from weakref import WeakKeyDictionary

import uvicorn
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

SILENCE = 30.0
"""Seconds without a sign of life after which a worker is taken to hang."""


class Workers(Multiprocess):
    """The workers and their supervisor. SIGHUP is passed on to them; uvicorn itself would replace them. `told`: true after an order to end.

    A worker without a sign of life for SILENCE seconds is ended and replaced. uvicorn itself waits five seconds, even for a worker that is
    only starting: on a busy machine each took the next one's place, and none ever served.
    """

    told = served = False

    def __init__(self, config: uvicorn.Config, sockets: list[socket], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(config, sockets)
        self._clock = clock
        self._heard: WeakKeyDictionary[Process, float] = WeakKeyDictionary()

    def handle_signals(self) -> None:
        """Handle the signals that came, and a SIGHUP that was blocked."""
        super().handle_signals()
        if signal.SIGHUP in signal.sigpending():
            signal.sigwait({signal.SIGHUP})
            self.handle_hup()

    def handle_hup(self) -> None:
        """Make every worker read the files."""
        for process in self.processes:
            if process.pid is not None:
                os.kill(process.pid, signal.SIGHUP)

    def handle_int(self) -> None:
        """End on SIGINT."""
        self.told = True
        super().handle_int()

    def handle_term(self) -> None:
        """End on SIGTERM."""
        self.told = True
        super().handle_term()

    def keep_subprocess_alive(self) -> None:
        """Replace workers that have ended. If one ends before any has served, end all."""
        if self.served:
            self._replace()
            return
        alive = [process for process in self.processes if process.process.is_alive()]
        self.served = any(process.is_ready(timeout=0.5) for process in alive)
        if not self.served and len(alive) < len(self.processes):
            self.should_exit.set()  # it could not start, and neither could one in its place

    def _replace(self) -> None:
        """Replace workers that have ended or are silent. Does not wait for a healthy one."""
        now, workers = self._clock(), self.processes
        for index, process in enumerate(workers):
            if process.ping(timeout=0):  # the answer to an earlier ping, as a rule
                self._heard[process] = now
            if process.process.is_alive() and now - self._heard.setdefault(process, now) < SILENCE:
                continue
            self.processes = [process]
            super().keep_subprocess_alive()
            workers[index] = self.processes[0]
        self.processes = workers
