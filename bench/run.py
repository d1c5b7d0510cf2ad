"""Processes of the benchmark: a running subject, the load generator, and their start and stop."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from bench import machine, wire
from bench.load import Found, Job
from bench.subjects import ROOT, Place, Subject, environment

START = 90.0
"""Seconds within which a subject must be ready."""


class Broken(Exception):
    """A subject or worker that failed: did not start, ended, or answered wrongly."""


def _pinned(cores: set[int]) -> None:
    os.sched_setaffinity(0, cores)


class Worker:
    """A process that takes jobs on stdin and writes their results to stdout."""

    def __init__(self, command: Sequence[str], cores: set[int], given: dict[str, str], log: IO[bytes] | int) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            env=given,
            preexec_fn=lambda: _pinned(cores),  # noqa: PLW1509 - no threads here
        )

    def line(self) -> bytes:
        """Return the next line of its output; empty once the process has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def do(self, job: Job) -> Found:
        """Run one job and return its result. Raises Broken if it failed."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
        self.process.stdin.flush()
        line = self.line()
        if not line:
            raise Broken("it ended")
        found = Found(**json.loads(line))
        if found.wrong:
            raise Broken(found.wrong)
        return found


class Pulse:
    """A process that measures the delay of the subject's core, caused by other load."""

    def __init__(self) -> None:
        given = {**os.environ, "PYTHONPATH": str(ROOT)}
        core = str(min(machine.SUBJECT))
        self.worker = Worker([sys.executable, "-m", "bench.pulse", core], machine.SUBJECT, given, subprocess.DEVNULL)

    def beat(self) -> float:
        """Return the p99 delay in milliseconds since the last call."""
        assert self.worker.process.stdin is not None
        self.worker.process.stdin.write(b"\n")
        self.worker.process.stdin.flush()
        return float(self.worker.line())


class Running:
    """A subject on its core, started and awaited by its constructor. `seconds`: from start to ready; `rest`: MB of memory then."""

    def __init__(self, subject: Subject, upstream: int, load: Worker) -> None:
        self.subject = subject
        self._load = load
        self._folder = tempfile.TemporaryDirectory(prefix="bench-")
        configuration = Path(self._folder.name, "configuration")  # without the log: a subject that watches its files would see each line
        configuration.mkdir()
        self.place = Place(machine.free_port(), upstream, configuration)
        self._log = self._logged.open("wb")
        command = subject.command(self.place)
        began = time.monotonic()
        if subject.loop:
            self._worker: Worker | None = Worker(command, machine.SUBJECT, environment(subject), self._log)
            self.process = self._worker.process
            self._worker.line()
        else:
            self._worker = None
            self.process = subprocess.Popen(
                command,
                stdout=self._log,
                stderr=self._log,
                cwd=ROOT if "bench." in " ".join(command) else self.place.folder,
                env=environment(subject),
                preexec_fn=lambda: _pinned(machine.SUBJECT),  # noqa: PLW1509 - no threads here
            )
            self._until_ready(began)
        self.seconds = time.monotonic() - began
        time.sleep(1)
        self.pids = machine.family(self.process.pid)
        self.rest = machine.rss(self.pids)

    def _until_ready(self, began: float) -> None:
        """Poll its ready path until it answers anything but 503. Raises Broken after 90 s or if the process ends."""
        while time.monotonic() < began + START:
            if self.process.poll() is not None:
                break
            try:
                address = f"http://127.0.0.1:{self.place.listening()}{self.subject.ready}"
                with urllib.request.urlopen(address, timeout=1):
                    return
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    return
            except (OSError, ValueError):
                pass
            time.sleep(0.01)
        raise Broken(f"not ready: {self.said()}")

    def said(self) -> str:
        """Return the last 600 characters of its log."""
        return self._logged.read_text(encoding="utf-8", errors="replace")[-600:]

    @property
    def _logged(self) -> Path:
        return Path(self._folder.name, "log")

    def check(self) -> None:
        """Raise Broken if its answers are incomplete, so that no wrong answers are measured; a subject without a server is not checked."""
        if self._worker is not None:
            return
        for model, stream in (("long", True), ("long", False), ("short", False)):
            found = self._load.do(self._job("once", model, stream=stream))
            count = sum(found.text.count(word) for word in wire.words(wire.MODELS[model]))
            if count != wire.MODELS[model]:
                raise Broken(f"of {wire.MODELS[model]} words, {count} came: {found.text[:300]}")

    def closed(self, model: str, *, stream: bool, seconds: float, clients: int, least: int = 1, most: int = 1_000_000_000) -> Found:
        """Run clients that each ask again as soon as their answer ends."""
        job = self._job("closed", model, stream=stream, seconds=seconds, clients=clients, least=least, most=most)
        return self._do(job)

    def paced(self, streams: int) -> Found:
        """Run this many paced streams."""
        return self._do(self._job("paced", "paced", stream=True, streams=streams))

    def held_open(self, streams: int) -> Found:
        """Open this many streams that pause for 3 s after one chunk."""
        return self._do(self._job("held open", "quiet", stream=True, streams=streams))

    def _job(self, job: str, model: str, *, stream: bool, **more: float) -> Job:
        request = model if self.subject.loop else self.subject.request(self.place, model, stream)
        return Job(job, self.place.listening(), request, pids=machine.family(self.process.pid), **more)  # type: ignore[arg-type]

    def _do(self, job: Job) -> Found:
        return (self._worker or self._load).do(job)

    def stop(self) -> None:
        """Stop the process and kill its children."""
        pids = machine.family(self.process.pid) if self.process.poll() is None else []
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in pids[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._log.close()
        self._folder.cleanup()


class Bench:
    """A context manager that runs the fake provider and the load generator on their own cores, and stops all subjects at its end."""

    def __enter__(self) -> Self:
        self.upstream = machine.free_port()
        given = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._provider = subprocess.Popen(
            [sys.executable, "-m", "bench.provider", str(self.upstream)],
            cwd=ROOT,
            env=given,
            preexec_fn=lambda: _pinned(machine.OTHERS),  # noqa: PLW1509 - no threads here
        )
        self.load = Worker([sys.executable, "-m", "bench.load"], machine.OTHERS, given, subprocess.DEVNULL)
        self.pulse = Pulse()
        self._running: list[Running] = []
        return self

    def start(self, subject: Subject) -> Running:
        """Start a subject and return it once it is ready."""
        running = Running(subject, self.upstream, self.load)
        self._running.append(running)
        return running

    def stop(self, running: Running) -> None:
        """Stop a subject."""
        self._running.remove(running)
        running.stop()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for running in self._running:
            running.stop()
        for process in (self._provider, self.load.process, self.pulse.worker.process):
            process.terminate()
            process.wait()
