"""Measure how costs grow, write docs/capacity/results.json, the charts beside it, and the tables of docs/capacity.md.

    python -m bench.capacity                   everything: about seven minutes
    python -m bench.capacity --only streams    these measures; the others stay as they are written
    python -m bench.capacity --draw            the charts and the tables alone

Exit code 1 where a cost grows faster than linearly with its cause, or is above its bound.
"""

import argparse
import json
import os
import platform
import sys
import time

from bench.capacity import results
from bench.capacity.charts import drawn
from bench.capacity.growth import LINEAR
from bench.capacity.measures import MEASURES, Rig
from bench.run import Bench

PASSES = 3
"""How often all measures run: a core of a shared machine may be slow for minutes."""


def main() -> int:
    """Run the measures, write results, charts and tables; return 1 if a cost grows too fast or is too large."""
    options = argparse.ArgumentParser("python -m bench.capacity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", nargs="+", choices=[*MEASURES], default=[*MEASURES])
    options.add_argument("--draw", action="store_true", help="measure nothing")
    chosen = options.parse_args()
    if not chosen.draw:
        measured(chosen.only)
    made = results.read()
    for name, chart in results.charts(made).items():
        (results.FOLDER / f"{name}.svg").write_text(drawn(chart), encoding="utf-8")
    if results.PAGE.exists():
        results.PAGE.write_text(results.filled(results.PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")
    for bound in results.BOUNDS:
        value = bound.value(made)
        print(f"{bound.words}: {value:.3g} {bound.unit}, at most {bound.most:g}{'' if value <= bound.most else ': MISSED'}")
    grown = results.faster(made)
    for words, power in grown.items():
        print(f"grows faster than linearly: {words}: exponent {power:.2f}, at most {LINEAR:g}")
    return 1 if grown or any(bound.value(made) > bound.most for bound in results.BOUNDS) else 0


def measured(names: list[str]) -> None:
    """Run these measures in PASSES passes and write their results; results of other measures are kept."""
    found = {**results.read()} if results.FILE.exists() else {}
    passes: list[results.Results] = []
    with Bench() as bench:
        rig = Rig(bench)
        for number in range(1, PASSES + 1):
            began = time.monotonic()
            passes.append({name: MEASURES[name](rig) for name in names})
            print(f"pass {number} of {PASSES}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    found.update(results.least(passes))
    about = {"day": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "cores": os.cpu_count()}
    rounded = {
        name: [{cost: float(f"{value:.4g}") for cost, value in row.items()} for row in found[name]] for name in MEASURES if name in found
    }
    results.FOLDER.mkdir(exist_ok=True)
    results.FILE.write_text(json.dumps({**about, "measures": rounded}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
