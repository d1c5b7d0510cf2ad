"""Find every mistake in the configuration. Takes the same path as serving; asks no provider.

examples:
  router check                         every mistake in ./routes.yaml, pipelines/ and tools/
  router check --routes new.yaml && mv new.yaml routes.yaml
"""

import argparse
import asyncio

from router.commands.words import counted, expired
from router.config import load
from router.generation import build


def options(_: argparse.ArgumentParser) -> None:
    """What it takes: nothing of its own."""


def run(given: argparse.Namespace) -> int:
    """Check, and say that all is well; a ConfigError where it is not."""
    generation = build(load(given.routes))
    asyncio.run(generation.close())
    for name, why in generation.skipped.items():
        print(f"skipped: target {name}: {why}")
    for line in expired(generation.server):
        print(line)
    print(f"{given.routes}: all is well. {counted(generation)}, generation {generation.digest}.")
    return 0
