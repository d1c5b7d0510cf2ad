"""Machine instructions of a unit of work, by function of the interpreter and its libraries: exact, where times vary with the machine.

    python -m bench.instructions [unit …] [--rows 40] [--within]

They show what no count of Python calls shows: errors that are raised and dropped, texts that are formatted, attributes that are searched.
Each unit runs a few times and many times under valgrind, and the difference is divided by the number of runs. Instructions of the
program that feeds the connections are included, a thirtieth or so. Needs valgrind (Debian's package of that name); one minute for each unit.
"""

import argparse
import asyncio
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import machine, wire
from bench.by_hand import ByHand, logged
from bench.calls import CHUNK, PIPELINE, ROUTES, WARM

UNITS = ("short", "line", "burst", "paced", "recorded")
FEW, MANY = 60, 560
"""Runs of the two measured processes. The first runs of a unit fill caches and specialise bytecode."""
TURNS = 3
"""Turns of the event loop after each read, the least in which a unit is complete."""
ROW = re.compile(r"\s*([\d,]+) \(\s*[\d.]+%\)\s+(\S.*)")
TOTAL = "PROGRAM TOTALS"


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def _chunks(hands: ByHand, count: int, path: str, **fields: object) -> None:
    """Relay one answer of so many chunks, each in a read of its own."""
    await hands.ask(wire.request(path, {"model": "chat-model", "stream": True, **fields}, {}))
    await hands.say(wire.HEAD, *[CHUNK] * WARM)
    for _ in range(count):
        hands.provider.data_received(CHUNK)
    assert hands.line.heard().count(b"word ") == count
    await hands.say(wire.tail())


async def _answers(hands: ByHand, count: int, words: int, path: str = "/v1/chat/completions", **fields: object) -> None:
    """Answer so many requests; each answer arrives in one read."""
    request = wire.request(path, fields, {})
    answer = b"".join((wire.HEAD, *map(wire.chunk, wire.words(words)), wire.tail()))
    for _ in range(count):
        hands.client.data_received(request)
        await _turns()
        hands.provider.data_received(answer)
        await _turns()
        assert hands.line.heard() and hands.asked  # noqa: PT018 - both forget what was written


async def _repeated(unit: str, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pipelines").mkdir()
        Path(folder, "pipelines/chat.yaml").write_text(PIPELINE, encoding="utf-8")
        Path(folder, "routes.yaml").write_text(ROUTES, encoding="utf-8")
        hands = ByHand(Path(folder, "routes.yaml"))
    gc.disable()  # when it runs depends on what ran before
    match unit:
        case "paced":
            await _chunks(hands, count, "/v1/chat/completions")
        case "recorded":
            await _chunks(hands, count, "/api/chat", id="chat-1")
        case "line":
            await _answers(hands, count, wire.SHORT, "/api/chat/chat-model")
        case _:
            burst = unit == "burst"
            await _answers(hands, count, wire.LONG if burst else wire.SHORT, model="chat-model", stream=burst)
    sys.stdout.flush()
    os._exit(0)  # to clean up takes instructions for each request that is still known


def counted(unit: str, *, within: bool = False) -> dict[str, float]:
    """Return function → machine instructions of one run of the unit, in itself, or with those that it calls (`within`); TOTAL has the sum.

    Raises SystemExit without valgrind.
    """
    valgrind, annotate = shutil.which("valgrind"), shutil.which("callgrind_annotate")
    if valgrind is None or annotate is None:
        raise SystemExit("valgrind is not installed: `apt-get install valgrind`")
    given = {**os.environ, "PYTHONPATH": f"{Path.cwd()}{os.pathsep}{machine.PACKAGES}", "PYTHONHASHSEED": "0"}
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (FEW, MANY):
            file = Path(folder, str(count))
            command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={file}", machine.interpreter(), "-m", "bench.instructions"]
            subprocess.run([*command, unit, "--runs", str(count)], env=given, check=True, capture_output=True)
            listed = subprocess.run(
                [annotate, "--auto=no", "--threshold=100", f"--inclusive={'yes' if within else 'no'}", str(file)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            sums: dict[str, float] = {}
            for row in filter(None, map(ROW.match, listed.splitlines())):
                name = row[2].partition(" [")[0].rpartition("/")[2].strip()
                sums[name] = sums.get(name, 0) + int(row[1].replace(",", ""))
            found.append(sums)
    few, many = found
    return {name: (sums - few.get(name, 0)) / (MANY - FEW) for name, sums in many.items()}


def main() -> int:
    """Print the instructions of the chosen units."""
    options = argparse.ArgumentParser(
        "python -m bench.instructions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("units", nargs="*", default=list(UNITS), help=", ".join(UNITS))
    options.add_argument("--rows", type=int, default=40, help="functions that are listed")
    options.add_argument("--within", action="store_true", help="of each function with those that it calls")
    options.add_argument("--runs", type=int, default=0, help="run the unit so many times, without counting")
    chosen = options.parse_args()
    if chosen.runs:
        import uvloop  # noqa: PLC0415 - not there on Windows

        with logged(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_repeated(chosen.units[0], chosen.runs))
    for unit in chosen.units if not chosen.runs else ():
        sums = counted(unit, within=chosen.within)
        print(f"{unit}: {sums.pop(TOTAL):,.0f} instructions")
        for name, count in sorted(sums.items(), key=lambda pair: -pair[1])[: chosen.rows]:
            print(f"  {count:9,.0f}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
