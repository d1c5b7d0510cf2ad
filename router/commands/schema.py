"""Print the JSON schema of routes.yaml, for editors to complete and check it with.

examples:
  router schema > routes.schema.json

exit codes:
  0 it was printed
  2 the command line is wrong
"""

import argparse
import json

from router.config.schema import routes_schema


def options(_: argparse.ArgumentParser) -> None:
    """What it takes: nothing of its own."""


def run(_: argparse.Namespace) -> int:
    """Print it."""
    print(json.dumps(routes_schema(), indent=2, ensure_ascii=False))
    return 0
