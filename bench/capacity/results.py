"""The results of the measures, stored beside docs/capacity.md, and the charts, checks and tables made from them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.capacity.charts import Chart, Line, number
from bench.capacity.growth import LINEAR, Points, exponent, slope

Row = Mapping[str, float]
Results = Mapping[str, Sequence[Row]]
"""Measure → its rows."""
ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/capacity.md"
FOLDER = ROOT / "docs/capacity"
FILE = FOLDER / "results.json"


def read() -> Results:
    """Return the stored results."""
    return json.loads(FILE.read_text(encoding="utf-8"))["measures"]


def least(passes: Sequence[Results]) -> Results:
    """Return the smallest value of each cost, at each size, among passes over the same measures."""
    return {
        name: [{cost: min(row[cost] for row in rows) for cost in rows[0]} for rows in zip(*(one[name] for one in passes), strict=True)]
        for name in passes[0]
    }


def points(results: Results, measure: str, cost: str, scale: float = 1.0) -> Points:
    """Return (size of the cause, cost) for one cost of a measure."""
    return [(row["at"], row[cost] * scale) for row in results[measure]]


@dataclass(frozen=True)
class Growth:
    """A cost in the results that must not grow faster than linearly with the cause that its measure varies. `words`: its description."""

    words: str
    measure: str
    cost: str

    def exponent(self, results: Results) -> float:
        """Return the exponent of the measured growth."""
        return exponent(points(results, self.measure, self.cost))


GROWTHS = (
    Growth("memory by open streams", "streams", "memory_mb"),
    Growth("CPU of a chunk by open streams", "streams", "chunk_us"),
    Growth("CPU of a question by its messages", "history", "question_us"),
    Growth("CPU of `router check` by routes", "routes", "check_s"),
    Growth("CPU of a start by routes", "routes", "start_s"),
    Growth("CPU of a reload by routes", "routes", "reload_s"),
    Growth("memory at rest by routes", "routes", "rest_mb"),
    Growth("CPU of a question by routes", "routes", "question_us"),
    Growth("commands to Redis of a request by replicas", "replicas", "commands"),
    Growth("bytes to and from Redis of a request by replicas", "replicas", "request_kb"),
    Growth("commands to an idle Redis by replicas", "replicas", "idle_commands_s"),
    Growth("bytes to and from an idle Redis by replicas", "replicas", "idle_kb_s"),
    Growth("memory at rest by workers", "workers", "rest_mb"),
    Growth("CPU of a question by workers", "workers", "question_us"),
    Growth("CPU of a question by tools", "tools", "question_us"),
    Growth("memory of a cache by stored answers", "cached", "held_mb"),
    Growth("CPU of storing an answer by stored answers", "cached", "put_us"),
    Growth("CPU of the most expensive page by targets", "pages", "all_ms"),
    Growth("longest turn of the event loop by targets", "pages", "page_ms"),
)


def faster(results: Results) -> dict[str, float]:
    """Return description → exponent of the costs that grow faster than linearly."""
    return {one.words: power for one in GROWTHS if results[one.measure] and (power := one.exponent(results)) > LINEAR}


@dataclass(frozen=True)
class Bound:
    """A cost that must stay below a bound at one size of its cause."""

    words: str
    measure: str
    cost: str
    at: float
    most: float
    unit: str

    def value(self, results: Results) -> float:
        """Return the measured cost at that size."""
        return next(row[self.cost] for row in results[self.measure] if row["at"] == self.at)


BOUNDS = (
    Bound("a question with 400 messages", "history", "question_us", 400, 2000, "µs of CPU"),
    Bound("`router check` of 10,000 routes", "routes", "check_s", 10_000, 3, "s of CPU"),
    Bound("the longest turn of the event loop for any page over 10,000 targets", "pages", "page_ms", 10_000, 50, "ms"),
)


def charts(results: Results) -> dict[str, Chart]:
    """Return file name → chart."""

    def line(name: str, measure: str, cost: str, scale: float = 1.0) -> Line:
        return Line(name, points(results, measure, cost, scale))

    found = {
        "streams": Chart(
            "Open streams",
            "streams",
            "µs of CPU, MB",
            (line("CPU of a chunk, µs", "streams", "chunk_us"), line("memory, MB", "streams", "memory_mb")),
        ),
        "history": Chart("Length of a chat", "messages of 200 characters", "µs of CPU", (line("a question", "history", "question_us"),)),
        "routes": Chart(
            "Routes, each with a target",
            "routes",
            "s of CPU",
            (line("check", "routes", "check_s"), line("start", "routes", "start_s"), line("reload", "routes", "reload_s")),
        ),
        "memory": Chart(
            "Routes, each with a target: memory and requests",
            "routes",
            "MB, µs of CPU",
            (
                line("at rest, MB", "routes", "rest_mb"),
                line("router check, MB", "routes", "check_mb"),
                line("a question, µs", "routes", "question_us"),
            ),
        ),
        "tools": Chart("Tools of a route", "tools", "µs of CPU", (line("a question", "tools", "question_us"),)),
        "cached": Chart(
            "Answers of 16 KiB in a cache of 16 MiB",
            "answers put into it",
            "MB, µs of CPU",
            (line("memory, MB", "cached", "held_mb"), line("one more, µs", "cached", "put_us")),
        ),
        "pages": Chart(
            "Targets on the pages",
            "targets",
            "ms of CPU",
            (line("longest turn", "pages", "page_ms"), line("most expensive page", "pages", "all_ms")),
        ),
        "workers": Chart(
            "Workers",
            "workers",
            "MB, µs of CPU",
            (line("at rest, MB", "workers", "rest_mb"), line("a question, µs", "workers", "question_us")),
        ),
    }
    if results["replicas"]:
        found["replicas"] = Chart(
            "Replicas at one Redis",
            "replicas",
            "commands, KB",
            (
                line("commands of a request", "replicas", "commands"),
                line("KB of a request", "replicas", "request_kb"),
                line("idle, commands/s", "replicas", "idle_commands_s"),
                line("idle, KB/s", "replicas", "idle_kb_s"),
            ),
        )
    return found


COLUMNS: Mapping[str, Mapping[str, str]] = {
    "streams": {"at": "open streams", "memory_mb": "memory, MB", "chunk_us": "CPU of a chunk, µs"},
    "history": {"at": "messages", "question_us": "CPU of a question, µs"},
    "routes": {
        "at": "routes",
        "check_s": "CPU of `check`, s",
        "check_mb": "memory of `check`, MB",
        "start_s": "CPU of `start`, s",
        "rest_mb": "memory at rest, MB",
        "reload_s": "CPU of a reload, s",
        "question_us": "CPU of a question, µs",
    },
    "replicas": {
        "at": "replicas",
        "commands": "commands for a request",
        "request_kb": "KB for a request",
        "idle_commands_s": "commands a second without requests",
        "idle_kb_s": "KB a second without requests",
    },
    "workers": {"at": "workers", "rest_mb": "memory at rest, MB", "question_us": "CPU of a question, µs"},
    "tools": {"at": "tools", "question_us": "CPU of a question, µs"},
    "cached": {"at": "answers stored so far", "held_mb": "memory, MB", "put_us": "CPU of storing one more, µs"},
    "pages": {"at": "targets", "page_ms": "longest turn of the event loop, ms", "all_ms": "most expensive page, ms of CPU"},
}


def _table(measure: str) -> Callable[[Results], list[str]]:
    def made(results: Results) -> list[str]:
        columns = COLUMNS[measure]
        rows = [" | ".join(number(row[name]) for name in columns) for row in results[measure]]
        return [f"| {' | '.join(columns.values())} |", "|---" * len(columns) + "|", *(f"| {row} |" for row in rows)]

    return made


def _growth(results: Results) -> list[str]:
    rows = [f"| {one.words} | {one.exponent(results):.2f} |" for one in GROWTHS if results[one.measure]]
    return ["| cost | exponent |", "|---|---|", *rows]


def _bounds(results: Results) -> list[str]:
    rows = [
        f"| {one.words} | {number(one.most)} {one.unit} | {number(value)} | {'met' if value <= one.most else 'missed'} |"
        for one in BOUNDS
        for value in (one.value(results),)
    ]
    return ["| cost | at most | measured | bound |", "|---|---|---|---|", *rows]


BUSY = 0.6
"""The share of a core that is planned for; the rest is for peaks, reloads and garbage collection."""


@dataclass(frozen=True)
class Size:
    """The costs from which capacity is computed: CPU per chunk and question in µs, memory per stream in KB and per worker in MB."""

    chunk_us: float
    question_us: float
    stream_kb: float
    rest_mb: float

    def streams_of_core(self, chunks: float) -> float:
        """Return how many streams of this many chunks a second one core serves."""
        return BUSY * 1e6 / (self.chunk_us * chunks)

    @property
    def streams_of_gb(self) -> float:
        """Return how many open streams fit into 1 GB, beside one worker."""
        return (1000 - self.rest_mb) * 1000 / self.stream_kb

    @property
    def questions_of_core(self) -> float:
        """Return how many short questions per second one core answers."""
        return BUSY * 1e6 / self.question_us


def size(results: Results) -> Size:
    """Return the costs: CPU per chunk at 1,000 streams, CPU per question at 20 messages, memory per stream and of one worker."""
    thousand = next(row["chunk_us"] for row in results["streams"] if row["at"] == 1000)
    question = next(row["question_us"] for row in results["history"] if row["at"] == 20)
    return Size(thousand, question, slope(points(results, "streams", "memory_mb")) * 1000, results["workers"][0]["rest_mb"])


def _sizing(results: Results) -> list[str]:
    one = size(results)
    rows = [
        ("streams per core, each of 20 chunks a second", f"{BUSY:g} × 1,000,000 / ({number(one.chunk_us)} × 20)", one.streams_of_core(20)),
        ("streams per core, each of 50 chunks a second", f"{BUSY:g} × 1,000,000 / ({number(one.chunk_us)} × 50)", one.streams_of_core(50)),
        (
            "questions a second per core, each with a chat of 20 messages and a short answer",
            f"{BUSY:g} × 1,000,000 / {number(one.question_us)}",
            one.questions_of_core,
        ),
        ("open streams per GB of memory", f"(1,000 MB − {number(one.rest_mb)} MB) / {number(one.stream_kb)} KB", one.streams_of_gb),
    ]
    return [
        "| capacity | calculation | result |",
        "|---|---|---|",
        *(f"| {words} | {sum_} | {number(value)} |" for words, sum_, value in rows),
    ]


USERS, EACH, PEAK, SECONDS, CHUNKS = 100_000_000, 10, 3, 12, 25
"""A very large site: users per day, questions of each, peak over average, seconds of an answer, chunks per second."""


def _internet(results: Results) -> list[str]:
    one = size(results)
    asked = USERS * EACH / 86_400 * PEAK
    open_streams = asked * SECONDS
    chunks = open_streams * CHUNKS
    cores = (asked * one.question_us + chunks * one.chunk_us) / 1e6 / BUSY
    memory = (open_streams * one.stream_kb / 1e6) + cores * one.rest_mb / 1000
    rows = [
        ("questions a second at the peak", f"{USERS:,} × {EACH} / 86,400 × {PEAK}", f"{asked:,.0f}"),
        ("open streams", f"questions × {SECONDS} s", f"{open_streams:,.0f}"),
        ("chunks a second", f"streams × {CHUNKS}", f"{chunks:,.0f}"),
        (
            "cores",
            f"(questions × {number(one.question_us)} µs + chunks × {number(one.chunk_us)} µs) / {BUSY:g}",
            f"{cores:,.0f}",
        ),
        ("GB of memory", f"streams × {number(one.stream_kb)} KB + cores × {number(one.rest_mb)} MB", f"{memory:,.0f}"),
    ]
    if results["replicas"]:
        commands = results["replicas"][-1]["commands"]
        rows.append(
            ("commands to Redis a second, if all replicas share one Redis", f"questions × {number(commands)}", f"{asked * commands:,.0f}")
        )
    return ["| needed | calculation | result |", "|---|---|---|", *(f"| {words} | {sum_} | {value} |" for words, sum_, value in rows)]


BLOCKS: Mapping[str, Callable[[Results], list[str]]] = {
    **{measure: _table(measure) for measure in COLUMNS},
    "growth": _growth,
    "bounds": _bounds,
    "sizing": _sizing,
    "internet": _internet,
}


def filled(page: str, results: Results) -> str:
    """Return the page with its tables replaced, each between `<!-- name -->` and `<!-- end -->`; a missing place raises ValueError."""
    for name, make in BLOCKS.items():
        before, start, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->\n")
        if not start or not end:
            raise ValueError(f"the page has no place for {name}")
        lines = make(results) if results.get(name, True) else ["Not measured."]
        page = before + start + "\n" + "\n".join(lines) + "\n\n" + end + after
    return page
