"""Find every mistake in the configuration. Takes the same path as serving; asks no provider.

examples:
  router check                         every mistake in ./routes.yaml, pipelines/ and tools/
  router check --routes new.yaml && mv new.yaml routes.yaml
  router check --json                  for a script: {"complaints": [{"file", "line", "column", "message"}], …}

exit codes:
  0 all is well
  1 there are mistakes
  2 the command line is wrong
"""

import argparse
import asyncio
import json

from router.commands.words import counted
from router.config import load
from router.errors import ConfigError
from router.generation import build


def options(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--json", action="store_true", help="print what was found as a JSON object")


def run(given: argparse.Namespace) -> int:
    """Check, and say that all is well; a ConfigError where it is not."""
    try:
        generation = build(load(given.routes))
    except ConfigError as error:
        if not given.json:
            raise
        print(_json({"complaints": [complaint.as_json() for complaint in error.complaints]}))
        return 1
    asyncio.run(generation.close())
    if given.json:
        found: dict[str, object] = {
            "complaints": [],
            "skipped": dict(generation.skipped),
            "routes": len(generation.routes),
            "generation": generation.digest,
        }
        print(_json(found))
        return 0
    for name, why in generation.skipped.items():
        print(f"skipped: target {name}: {why}")
    print(f"{given.routes}: all is well. {counted(generation)}, generation {generation.digest}.")
    return 0


def _json(found: object) -> str:
    return json.dumps(found, ensure_ascii=False, indent=2)
