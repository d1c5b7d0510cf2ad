"""Supervision of worker processes: start them, pass signals on, and replace those that end or hang."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from socket import socket
from weakref import WeakKeyDictionary

import uvicorn
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

SILENCE = 30.0
"""Seconds without a sign of life after which a worker is taken to hang."""


class Workers(Multiprocess):
    """The supervisor of the worker processes: it passes SIGHUP on to them, and replaces those that end or hang.
    If a worker fails before any has served, it ends all instead. `asked_to_end`: True once an operator has ended the server.
    uvicorn itself would replace all workers on SIGHUP, and each that is silent for five seconds, also while it starts: on a busy machine
    none ever served. Here the limit is SILENCE.
    """

    asked_to_end = served = False

    def __init__(self, config: uvicorn.Config, sockets: list[socket], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(config, sockets)
        self._clock = clock
        self._heard: WeakKeyDictionary[Process, float] = WeakKeyDictionary()

    def handle_signals(self) -> None:
        """Handle the signals that have arrived, and a SIGHUP that is pending because it is blocked."""
        super().handle_signals()
        if signal.SIGHUP in signal.sigpending():
            signal.sigwait({signal.SIGHUP})
            self.handle_hup()

    def handle_hup(self) -> None:
        """Send SIGHUP to every worker: each reloads the configuration files. Returns at once."""
        for process in self.processes:
            if process.pid is not None:
                os.kill(process.pid, signal.SIGHUP)

    def handle_int(self) -> None:
        """Begin to end all workers at Ctrl-C, and set `asked_to_end`."""
        self.asked_to_end = True
        super().handle_int()

    def handle_term(self) -> None:
        """Begin to end all workers at SIGTERM, and set `asked_to_end`."""
        self.asked_to_end = True
        super().handle_term()

    def keep_subprocess_alive(self) -> None:
        """Replace workers that have ended or hang. If one fails (exit code above 0) before any has served, begin to end all instead.
        The supervisor calls this again and again. A worker that fails so early could not start, and neither could its successor.
        """
        if not self.served:
            self.served = any(_ready(process) for process in self.processes if process.process.is_alive())
            if not self.served and any((process.exitcode or 0) > 0 for process in self.processes):
                self.should_exit.set()
                return
        now, workers = self._clock(), self.processes
        for index, process in enumerate(workers):
            if process.ping(timeout=0):  # to an earlier one, as a rule
                self._heard[process] = now
            if process.process.is_alive() and now - self._heard.setdefault(process, now) < SILENCE:
                continue
            self.processes = [process]
            super().keep_subprocess_alive()
            workers[index] = self.processes[0]
        self.processes = workers


def _ready(process: Process) -> bool:
    """Return True if a worker reports that it has started. Waits up to half a second, and reads older reports in the pipe, too."""
    ready = process.is_ready(timeout=0.5)
    with suppress(OSError, EOFError):
        while not ready and process.parent_conn.poll(0):
            ready = process.parent_conn.recv() is True
    return ready
