"""Run the drills of the configuration: each makes targets fail and checks the answer. No provider is asked, and waits take no time.

examples:
  router drill                                all drills
  router drill "chat survives OpenAI"         one drill
  router drill --json | jq '.[] | select(.ok | not)'

exit codes:
  0 all drills that were run passed
  1 a drill failed, there is no such drill, or the configuration is invalid
  2 the command line is wrong
"""

import argparse
import json

from router.config import load
from router.drill import Drilled, drilled
from router.errors import Complaint, ConfigError, Place
from router.generation import build


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("name", nargs="*", help="names of drills to run; default: all")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run(given: argparse.Namespace) -> int:
    """Run the drills, print their results, and return 1 if one fails, else 0. Raises ConfigError for an unknown name."""
    declaration = load(given.routes)
    build(declaration).discard()  # mistakes in it are printed first
    known = [drill.name for drill in declaration.routes.drills]
    if unknown := [name for name in given.name if name not in known]:
        raise ConfigError(tuple(Complaint(Place(str(given.routes), 1, 1), f"there is no drill `{name}`") for name in unknown))
    results = drilled(declaration, given.name)
    if given.json:
        print(json.dumps([_record(one) for one in results], indent=2, ensure_ascii=False))
    else:
        failed = sum(bool(one.faults) for one in results)
        print(*map(_line, results), f"{len(results)} drill{'' if len(results) == 1 else 's'}, {failed or 'none'} failed.", sep="\n")
    return 1 if any(one.faults for one in results) else 0


def _line(one: Drilled) -> str:
    if not one.faults:
        return f"ok    {one.name}  ({one.seconds:g} s)"
    return "\n".join([f"FAIL  {one.name}", *(f"      {fault}" for fault in one.faults), f"      tried: {', '.join(one.tried) or 'nobody'}"])


def _record(one: Drilled) -> dict[str, object]:
    return {
        "name": one.name,
        "ok": not one.faults,
        "file": one.place.file if one.place else None,
        "line": one.place.line if one.place else None,
        "faults": list(one.faults),
        "tried": list(one.tried),
        "seconds": one.seconds,
    }
