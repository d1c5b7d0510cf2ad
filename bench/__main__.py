"""Compare Pointsman with other gateways in one run.

python -m bench                        the short form: ten minutes, three of them for the held streams of three subjects
python -m bench --long                 also: held streams of all subjects, memory after 10,000 streams, every start three times
python -m bench --only relay pointsman
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import machine, report
from bench.run import Bench, Broken, Running
from bench.subjects import SUBJECTS, Subject

ROUNDS = 3
SLICES = 4
"""Slices of a round's measures at saturation. The subjects take turns in each: where the machine's speed changes, it does so for all."""
RESULTS = Path(__file__).parent / "results"
MOST_HELD = 2000
HOLDERS = frozenset({"relay", "pointsman", "tensorzero"})
"""Subjects whose held streams are measured in the short form, too."""
LATE = 50.0
"""Milliseconds of p99 lag above which a stream does not count as held."""
SLOW = 3.0
"""Seconds of start time above which a subject is started only once in the short form."""

Numbers = dict[str, dict[str, list[float]]]
Slice = Mapping[str, tuple[float, float]]
"""Measure → an amount, and the number of units that it is divided by. The value of a round is that of the sums over its slices."""


def main() -> int:
    """Run the measures, print the report and write it to bench/results."""
    options = argparse.ArgumentParser("python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", nargs="+", metavar="SUBJECT", help=", ".join(subject.name for subject in SUBJECTS))
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--long", action="store_true")
    options.add_argument("--dry", action="store_true", help="write nothing to bench/results")
    chosen = options.parse_args()
    began = time.monotonic()
    wanted = [subject for subject in SUBJECTS if not chosen.only or subject.name in chosen.only]
    skipped = {subject.name: subject.lacks for subject in wanted if subject.lacks}
    numbers: Numbers = {}
    late: list[float] = []
    with Bench() as bench:
        running: list[Running] = []
        for subject in wanted:
            if subject.lacks:
                continue
            try:
                running.append(started(bench, subject, numbers, long=chosen.long))
            except (Broken, OSError) as broken:
                skipped[subject.name] = str(broken)
        for count in range(chosen.rounds):
            one_round(running, numbers, skipped, f"round {count + 1}/{chosen.rounds}")
            late.append(bench.pulse.beat())
        at_length(running, numbers, skipped, long=chosen.long)
    made = written(numbers, skipped, late, time.monotonic() - began)
    print(made)
    if not chosen.dry:
        RESULTS.mkdir(exist_ok=True)
        day = time.strftime("%Y-%m-%d")
        (RESULTS / f"{day}.md").write_text(made, encoding="utf-8")
        (RESULTS / f"{day}.json").write_text(json.dumps({"numbers": numbers, "skipped": skipped}, indent=1), encoding="utf-8")
    return 0


def told(words: str) -> None:
    """Print progress to stderr."""
    print(words, file=sys.stderr, flush=True)


def started(bench: Bench, subject: Subject, numbers: Numbers, *, long: bool) -> Running:
    """Start a subject, measure its start and memory, and check its answers; long: always start it three times."""
    told(f"starting {subject.name}")
    found = numbers.setdefault(subject.name, {})
    running = bench.start(subject)
    seconds, rest = [running.seconds], [running.rest]
    for _ in range(2):
        if running.seconds < SLOW or long:
            bench.stop(running)
            running = bench.start(subject)
            seconds.append(running.seconds)
            rest.append(running.rest)
    running.check()
    if not subject.loop:
        found["start"], found["rest"] = seconds, rest
    if not subject.loop and subject.name != "direct":
        running.closed("short", stream=True, seconds=0.5, clients=subject.clients)
        found["open"] = [max(0.0, running.held_open(200).memory) * 1000 / 200]
    return running


def burst(running: Running) -> Slice:
    """Measure streamed answers at saturation: answers per second, and CPU ms per answer."""
    found = running.closed("long", stream=True, seconds=0.4, clients=running.subject.clients, least=4)
    return {"burst": (found.count, found.seconds), "burst_cpu": (found.cpu * 1000, found.count)}


def nons(running: Running) -> Slice:
    """Measure answers without streaming at saturation, short and long: answers per second, and CPU ms per short answer."""
    short = running.closed("short", stream=False, seconds=0.35, clients=running.subject.clients, least=4)
    long = running.closed("long", stream=False, seconds=0.2, clients=running.subject.clients, least=4)
    made = {"nons": (short.count, short.seconds), "nons_cpu": (short.cpu * 1000, short.count)}
    return {**made, "nons_long": (long.count, long.seconds)}


def first(running: Running) -> Slice:
    """Measure the median time to the first byte with a single client, in ms."""
    found = running.closed("first", stream=True, seconds=0.3, clients=1, least=30)
    return {"first": (sorted(found.first)[len(found.first) // 2], 1)}


def paced(running: Running) -> Slice:
    """Measure streams of 25 chunks a second: CPU µs per chunk, and p99 lag in ms."""
    found = running.paced(running.subject.streams)
    made = {"paced": (found.cpu * 1e6, found.count)} if running.subject.name != "direct" else {}
    return made if running.subject.loop else {**made, "lag": (found.lag99, 1)}


@dataclass(frozen=True)
class Measured:
    """A measure of the rounds, how many slices of it a round has, and whether it needs a server."""

    measure: Callable[[Running], Slice]
    slices: int = 1
    server: bool = False


IN_ROUNDS = (Measured(burst, SLICES), Measured(nons, SLICES, server=True), Measured(first, server=True), Measured(paced, 2))


def one_round(running: Sequence[Running], numbers: Numbers, skipped: dict[str, str], title: str) -> None:
    """Run each measure for all subjects that support it, in turn, so that compared values are close in time; every second slice backwards."""
    for measured in IN_ROUNDS:
        told(f"{title}: {measured.measure.__name__}")
        able = [one for one in running if not (one.subject.loop and measured.server)]
        slices: dict[str, list[Slice]] = {one.subject.name: [] for one in able}
        for count in range(measured.slices):
            for one in able[::-1] if count % 2 else able:
                attempted(one, measured.measure, slices[one.subject.name], skipped)
        for name, found in slices.items():
            for measure, value in values(found).items():
                numbers[name].setdefault(measure, []).append(value)


def values(slices: Sequence[Slice]) -> dict[str, float]:
    """Return measure → the sum of its amounts divided by that of its units."""
    sums: dict[str, tuple[float, float]] = {}
    for found in slices:
        for measure, (amount, units) in found.items():
            before = sums.get(measure, (0.0, 0.0))
            sums[measure] = before[0] + amount, before[1] + units
    return {measure: amount / units for measure, (amount, units) in sums.items()}


def attempted(one: Running, measure: Callable[[Running], Slice], slices: list[Slice], skipped: dict[str, str]) -> None:
    """Run one measure and append its slice, or record its failure in `skipped`."""
    try:
        found = measure(one)
        trouble = "" if all(units for _, units in found.values()) else "nothing was answered"
    except Broken as broken:
        found, trouble = dict[str, tuple[float, float]](), str(broken)
    if trouble:
        skipped[f"{one.subject.name}, {measure.__name__}"] = trouble
    else:
        slices.append(found)


def at_length(running: Sequence[Running], numbers: Numbers, skipped: dict[str, str], *, long: bool) -> None:
    """Run the long measures: held streams of three subjects; with `long`, held streams and memory growth of all subjects."""
    for one in running:
        if not one.subject.loop and (long or one.subject.name in HOLDERS):
            told(f"held: {one.subject.name}")
            alone(one, held, numbers, skipped)
    for one in running if long else ():
        if not one.subject.loop:
            told(f"10,000 streams: {one.subject.name}")
            alone(one, grown, numbers, skipped)


def alone(one: Running, measure: Callable[[Running], Slice], numbers: Numbers, skipped: dict[str, str]) -> None:
    """Run a measure of one slice, outside the rounds."""
    slices: list[Slice] = []
    attempted(one, measure, slices, skipped)
    for name, value in values(slices).items():
        numbers[one.subject.name].setdefault(name, []).append(value)


def held(running: Running) -> Slice:
    """Return under `held` how many paced streams the subject holds at a p99 lag below 50 ms (MOST_HELD at most), by bisection."""
    good, bad = 0, 0
    count = 10 if running.subject.streams < 100 else 100
    while not bad and count <= MOST_HELD:
        good, bad = (count, bad) if in_time(running, count) else (good, count)
        count *= 2
    while bad and bad - good > max(2, good // 8):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if in_time(running, middle) else (good, middle)
    return {"held": (good, 1)}


def in_time(running: Running, streams: int) -> bool:
    """Return whether this many streams have a p99 lag below 50 ms, in one of two tries."""
    return any(running.paced(streams).lag99 < LATE for _ in range(2))


def grown(running: Running) -> Slice:
    """Measure memory growth over 10,000 streams, or 1,000 for slow subjects, in MB."""
    count = 10_000 if running.subject.streams >= 50 else 1_000
    running.closed("short", stream=True, seconds=0, clients=running.subject.clients, least=count // 10, most=count // 10)
    before = machine.rss(machine.family(running.process.pid))
    running.closed("short", stream=True, seconds=0, clients=running.subject.clients, least=count, most=count)
    return {"grown": (machine.rss(machine.family(running.process.pid)) - before, 1)}


def written(numbers: Numbers, skipped: dict[str, str], late: Sequence[float], seconds: float) -> str:
    """Return the report as Markdown."""
    cores = f"subjects on core {sorted(machine.SUBJECT)}, provider and load on {sorted(machine.OTHERS)}"
    about = f"{time.strftime('%Y-%m-%d %H:%M')}, {machine.python()}, {os.cpu_count()} cores ({cores}), {seconds:.0f} s"
    late_of = ", ".join(f"{one:.0f}" for one in late)
    load = (
        f"The subjects' core was this late in each round (p99, ms): {late_of}. On a machine of one's own it is 1 or 2 beside busy subjects."
    )
    lines = ["# Pointsman beside its peers", "", about + ".", load, "", *report.table(numbers), "", *report.legend(numbers), ""]
    lines += [
        "`~`: the rounds lay more than a quarter apart. The machine was too noisy to tell.",
        "",
        *report.yardstick(numbers),
        *report.goals(numbers),
        "",
    ]
    lines += [f"Skipped: {name}: {why}" for name, why in skipped.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
