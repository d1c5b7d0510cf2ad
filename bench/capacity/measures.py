"""The measures: each varies one cause from small to large and returns its costs as rows, in CPU time and counts.

Other work on the machine adds to CPU time, more in one minute than in the next. So the sizes of a cause take turns where a turn is short,
all measures run in several passes (`bench.capacity.__main__`), and the smallest value counts.
"""

import asyncio
import http.client
import json
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import machine, wire
from bench.load import Found, Job
from bench.run import Bench, Running
from bench.subjects import ROOT, Place, Subject, environment
from router.cache import LocalStore

Row = dict[str, float]
"""One measurement: `at`, the size of the cause, and the costs by names with units."""
STREAMS = (100, 500, 1000, 2000, 4000)
MESSAGES = (1, 20, 100, 200, 400, 500)
ROUTES = (10, 100, 1000, 10_000)
REPLICAS = (1, 2, 4, 8)
WORKERS = (1, 2)
TOOLS = (1, 10, 50, 100, 200)
ANSWERS = (250, 500, 1000, 2000, 4000)
TARGETS = (100, 1000, 10_000)
EDITS, EDITED = 10, 10_000
"""Edits whose CPU is averaged, since it is measured in steps of 10 ms: at most EDITS, and with many routes EDITED / routes, but two."""
QUESTIONS, TURNS = 100, 6
"""Questions whose CPU is measured together, and how often each size takes its turn in a pass."""
CHECKS, CHECKED = 4, 10_000
"""How often a configuration is checked in a pass: at most CHECKS times, and with many routes CHECKED / routes."""
WINDOW = 3.0
"""Seconds in which open streams, or an idle Redis, are measured."""
ANSWER, BOUND = 16 * 1024, 16 * 1024 * 1024
"""Bytes of a cached answer, and of the cache, which is full after about a thousand answers."""
PIPELINE = "steps:\n  - history: {keep: 1000}\n"


def subject(routes: Callable[[Place], str], *options: str, tools: str = "") -> Subject:
    """Return this router as a subject with a configuration. `tools`: the text of tools/many.py."""

    def command(place: Place) -> Sequence[str]:
        _written(place.folder, routes(place), tools)
        return [
            sys.executable,
            "-m",
            "router",
            "serve",
            "--routes",
            str(place.folder / "routes.yaml"),
            "--port",
            str(place.port),
            *options,
        ]

    return Subject("pointsman", "Pointsman, direct lane", command, ready="/readyz", path=lambda model: f"/api/chat/{model}")


def _written(folder: Path, routes: str, tools: str = "") -> None:
    (folder / "pipelines").mkdir(exist_ok=True)
    (folder / "pipelines/chat.yaml").write_text(PIPELINE, encoding="utf-8")
    if tools:
        (folder / "tools").mkdir(exist_ok=True)
        (folder / "tools/many.py").write_text(tools, encoding="utf-8")
    (folder / "routes.yaml").write_text(routes, encoding="utf-8")


def configured(upstream: int, count: int = 1, route: str = "", server: str = "") -> str:
    """Return a configuration with this many routes, each with its own target, and a route `slow` with endless answers."""
    address = f"'http://127.0.0.1:{upstream}/v1'"
    targets = "".join(f"  t{index}: {{model: openai/m{index}/short, api_base: {address}, api_key: sk-bench}}\n" for index in range(count))
    routes = "".join(f"  r{index}: {{pipeline: chat, targets: [t{index}]{route}}}\n" for index in range(count))
    slow = f"  slow: {{model: openai/slow, api_base: {address}, api_key: sk-bench}}\n"
    return f"targets:\n{targets}{slow}routes:\n{routes}  slow: {{pipeline: chat, targets: [slow], timeout: {{connect: 60s, first_token: 60s, idle: 60s}}}}\n{server}"


class Rig:
    """The benchmark, started by the caller, on which the measures run and load this router."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    @contextmanager
    def running(self, made: Subject) -> Generator[Running]:
        """Run a subject during the block."""
        running = self.bench.start(made)
        try:
            yield running
        finally:
            self.bench.stop(running)

    @contextmanager
    def all_running(self, made: Sequence[Subject]) -> Generator[list[Running]]:
        """Run these subjects side by side during the block."""
        with ExitStack() as opened:
            yield [opened.enter_context(self.running(one)) for one in made]

    def asked(self, running: Running, request: bytes, count: int = QUESTIONS) -> Found:
        """Send a request `count` times, from four clients."""
        return self._do(running, "closed", request, clients=4, seconds=0.0, least=count, most=count)

    def standing(self, running: Running, streams: int, request: bytes = b"", seconds: float = WINDOW) -> Found:
        """Open this many streams, by default of one chunk a second, and measure them for `seconds`."""
        return self._do(running, "standing", request or question("slow"), streams=streams, seconds=seconds)

    def costs(self, asked: Sequence[tuple[Running, bytes]]) -> list[float]:
        """Return the CPU of each request in microseconds. CPU of threads that ended is not counted."""
        for running, request in asked:
            self.asked(running, request, 50)
        turns = [[self.asked(running, request).cpu * 1e6 / QUESTIONS for running, request in asked] for _ in range(TURNS)]
        return [min(each) for each in zip(*turns, strict=True)]

    def _do(self, running: Running, job: str, request: bytes, **more: float) -> Found:
        pids = machine.family(running.process.pid)
        return self.bench.load.do(Job(job, running.place.port, request.decode(), pids=pids, **more))  # type: ignore[arg-type]


def question(route: str, messages: int = 1) -> bytes:
    """Return a request of messages of 200 characters whose last is `Hi`, user and assistant by turns; an even number begins with a system's."""
    turns = ["user", "assistant"] * (messages // 2)
    roles = [*([] if messages % 2 else ["system"]), *turns[: messages - 2 + messages % 2]]
    said = [{"role": role, "content": "word " * 40} for role in roles]
    return wire.request(f"/api/chat/{route}", {"messages": [*said, {"role": "user", "content": "Hi"}]}, {})


def streams(rig: Rig) -> list[Row]:
    """Measure memory and CPU per chunk by the number of open streams."""
    rows: list[Row] = []
    with rig.running(subject(lambda place: configured(place.upstream))) as running:
        rig.asked(running, question("r0"), 200)
        for count in STREAMS:
            found = rig.standing(running, count)
            rows.append({"at": count, "memory_mb": found.memory + running.rest, "chunk_us": found.cpu * 1e6 / max(found.count, 1)})
    return rows


def history(rig: Rig) -> list[Row]:
    """Measure CPU per question by the number of its messages."""
    with rig.running(subject(lambda place: configured(place.upstream))) as running:
        costs = rig.costs([(running, question("r0", count)) for count in MESSAGES])
    return _rows(MESSAGES, question_us=costs)


def _rows(sizes: Sequence[int], **costs: Sequence[float]) -> list[Row]:
    """Return the rows of a measure. `costs`: name → the cost at each size."""
    return [{"at": size, **{name: values[index] for name, values in costs.items()}} for index, size in enumerate(sizes)]


def routes(rig: Rig) -> list[Row]:
    """Measure check, start, reload, memory and CPU per question by the number of routes."""
    checks = [min(_checked(count) for _ in range(min(CHECKS, CHECKED // count))) for count in ROUTES]
    with rig.all_running([subject(lambda place, count=count: configured(place.upstream, count)) for count in ROUTES]) as running:
        return _rows(
            ROUTES,
            check_s=[cpu for cpu, _ in checks],
            check_mb=[memory for _, memory in checks],
            start_s=[_used(one) for one in running],
            rest_mb=[one.rest for one in running],
            reload_s=[_reloaded(one, count) for one, count in zip(running, ROUTES, strict=True)],
            question_us=rig.costs([(one, question(f"r{count // 2}")) for one, count in zip(running, ROUTES, strict=True)]),
        )


def _checked(count: int) -> tuple[float, float]:
    """Return the CPU seconds and megabytes of `router check` over this many routes, its start included."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        _written(Path(folder), configured(9, count))
        command = [machine.interpreter(), "-m", "router", "check", "--routes", str(Path(folder, "routes.yaml"))]
        made = subprocess.Popen(command, cwd=ROOT, env=environment(subject(lambda _: "")), stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(made.pid, 0)
    made.returncode = os.waitstatus_to_exitcode(status)
    assert made.returncode == 0
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1000


def _used(running: Running) -> float:
    """Return the CPU seconds of a running subject, in steps of 10 ms."""
    return machine.cpu_of_ended(machine.family(running.process.pid))


def _reloaded(running: Running, count: int) -> float:
    """Return the CPU seconds of an edit that goes live in a router over this many routes, a mean."""
    edits, before = min(EDITS, max(2, EDITED // count)), _used(running)
    for edit in range(edits):
        _edit(running, ("hide", "show")[edit % 2])
    return (_used(running) - before) / edits


def _edit(running: Running, reasoning: str) -> None:
    """Edit one route of a running router, and wait until the edit is live."""
    before, routes = _ready(running), running.place.folder / "routes.yaml"
    text = re.sub(r"r0: \{(reasoning: \w+, )?", f"r0: {{reasoning: {reasoning}, ", routes.read_text(encoding="utf-8"), count=1)
    routes.write_text(text, encoding="utf-8")
    ends = time.monotonic() + 120
    while _ready(running) == before:
        assert time.monotonic() < ends, "the edit did not go live"
        time.sleep(0.2)


def _ready(running: Running) -> bytes:
    """Return the body of /readyz, which contains the generation's digest."""
    return _got(running.place.port, "GET", "/readyz")


def _got(port: int, method: str, path: str, body: Mapping[str, object] | None = None) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        given = None if body is None else json.dumps(body).encode()
        connection.request(method, path, given, {"content-type": "application/json"} if given else {})
        return connection.getresponse().read()
    finally:
        connection.close()


SHARED = ", cache: {ttl: 1h}, limit: {requests: 1000000/hour, per: ip}"
"""The options of a route that shares cached answers, limits and running calls through Redis."""


def replicas(rig: Rig) -> list[Row]:
    """Measure Redis commands and traffic per request, and while idle, by the number of replicas; no rows without redis-server."""
    if (found := shutil.which("redis-server")) is None:
        return []
    port = machine.free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        command = [found, "--port", str(port), "--save", "", "--appendonly", "no", "--dir", folder, "--bind", "127.0.0.1"]
        redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            return _replicated(rig, port)
        finally:
            redis.terminate()
            redis.wait()


def _replicated(rig: Rig, redis: int) -> list[Row]:
    server = f"server: {{redis: 'redis://127.0.0.1:{redis}/0', resume: {{keep: 1m}}}}\n"
    made = subject(lambda place: configured(place.upstream, 1, SHARED, server))
    running: list[Running] = []
    rows: list[Row] = []
    asked = 0
    try:
        for count in REPLICAS:
            while len(running) < count:
                running.append(rig.bench.start(made))
            time.sleep(0.5)
            idle = _traffic(redis, lambda: time.sleep(WINDOW))
            began = time.monotonic()

            def questions() -> None:
                nonlocal asked
                for index in range(80):
                    asked += 1
                    body = {"id": f"chat-{asked}", "messages": [{"role": "user", "content": f"Question {asked}"}]}
                    assert b"word9" in _got(running[index % len(running)].place.port, "POST", "/api/chat/r0", body)

            busy = _traffic(redis, questions)
            seconds = time.monotonic() - began
            each = [(most - quiet / WINDOW * seconds) / 80 for most, quiet in zip(busy, idle, strict=True)]
            rows.append(
                {
                    "at": count,
                    "commands": each[0],
                    "request_kb": each[1] / 1000,
                    "idle_commands_s": idle[0] / WINDOW,
                    "idle_kb_s": idle[1] / 1000 / WINDOW,
                }
            )
    finally:
        for one in running:
            rig.bench.stop(one)
    return rows


def _traffic(port: int, during: Callable[[], None]) -> tuple[float, float]:
    """Return the number of commands and bytes that Redis counts while `during` runs."""
    before = _counted(port)
    during()
    after = _counted(port)
    return after[0] - before[0] - 2, after[1] - before[1]


def _counted(port: int) -> tuple[float, float]:
    """Return Redis's counters: commands, and bytes in both directions."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b"INFO stats\r\n")
        text = b""
        while b"total_net_output_bytes" not in text or not text.endswith(b"\r\n"):
            text += connection.recv(65536)
    said = dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
    return float(said["total_commands_processed"]), float(said["total_net_input_bytes"]) + float(said["total_net_output_bytes"])


def workers(rig: Rig) -> list[Row]:
    """Measure memory and CPU per question by the number of workers."""
    with rig.all_running([subject(lambda place: configured(place.upstream), "--workers", str(count)) for count in WORKERS]) as running:
        costs = rig.costs([(one, question("r0")) for one in running])
        return _rows(WORKERS, rest_mb=[one.rest for one in running], question_us=costs)


TOOL = '''
def look_up_{0}(city: str, days: int = 3) -> str:
    """Return the forecast number {0} of a city.

    city: its name
    days: how many
    """
    return city
'''


def tools(rig: Rig) -> list[Row]:
    """Measure CPU per question by the number of tools that the route grants; the model calls none of them."""
    texts = ["".join(TOOL.format(index) for index in range(count)) for count in TOOLS]
    subjects = [subject(lambda place: configured(place.upstream, 1, ", tools: [many]"), tools=text) for text in texts]
    with rig.all_running(subjects) as running:
        return _rows(TOOLS, question_us=rig.costs([(one, question("r0")) for one in running]))


def cached(_: Rig) -> list[Row]:
    """Measure the memory of a cache and the CPU per stored answer by the number of answers put, up to and beyond its size limit."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:  # a process whose memory grows with the cache alone
        return fresh.submit(_filled).result()


def _filled() -> list[Row]:
    """Fill a cache in this process."""

    async def filled() -> list[Row]:
        rows: list[Row] = []
        store, kept = LocalStore(BOUND), 0
        before = machine.rss([os.getpid()])
        for count in ANSWERS:
            used, first = time.process_time(), kept
            while kept < count:
                await store.put(f"answer {kept}", bytes(ANSWER), 3600)
                kept += 1
            put = time.process_time() - used
            memory = machine.rss([os.getpid()]) - before
            rows.append({"at": count, "held_mb": max(memory, 0.1), "put_us": put * 1e6 / (kept - first)})
        return rows

    return asyncio.run(filled())


def pages(_: Rig) -> list[Row]:
    """Measure the CPU of the admin and metrics pages by the number of targets."""
    rows: list[Row] = []
    for count in TARGETS:
        command = [sys.executable, "-m", "bench.capacity.pages", str(count)]
        made = subprocess.run(command, cwd=ROOT, env=environment(subject(lambda _: "")), capture_output=True, check=True, timeout=300)
        rows.append({"at": count, **json.loads(made.stdout)})
    return rows


MEASURES: Mapping[str, Callable[[Rig], list[Row]]] = {
    one.__name__: one for one in (streams, history, routes, replicas, workers, tools, cached, pages)
}
