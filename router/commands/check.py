"""Find every mistake in the configuration. Takes the same path as serving; asks no provider.

examples:
  router check                         every mistake in ./routes.yaml, pipelines/ and tools/
  router check --drills                that, and every drill that fails
  router check --routes new.yaml && mv new.yaml routes.yaml
"""

import argparse
import asyncio

from router.commands.words import counted
from router.config import load
from router.drill import drilled
from router.errors import ConfigError
from router.generation import build


def options(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--drills", action="store_true", help="run the drills too")


def run(given: argparse.Namespace) -> int:
    """Check, and say that all is well; a ConfigError where it is not."""
    declaration = load(given.routes)
    generation = build(declaration)
    asyncio.run(generation.close())
    for name, why in generation.skipped.items():
        print(f"skipped: target {name}: {why}")
    if given.drills and (failed := [one.complaint(given.routes.name) for one in drilled(declaration) if one.faults]):
        raise ConfigError(tuple(failed))
    print(f"{given.routes}: all is well. {counted(generation)}, generation {generation.digest}.")
    return 0
