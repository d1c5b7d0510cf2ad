"""Print the JSON schema of routes.yaml or drills.yaml. An editor uses it to complete and check these files.

examples:
  router schema > routes.schema.json
  router schema drills > drills.schema.json

exit codes:
  0 the schema was printed
  2 the command line is wrong
"""

import argparse
import json

from router.config.schema import drills_schema, routes_schema

SCHEMAS = {"routes": routes_schema, "drills": drills_schema}
"""File without its ending → the function that makes its schema."""


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    help_ = "the file whose schema is printed; default: routes"
    parser.add_argument("file", nargs="?", choices=tuple(SCHEMAS), default="routes", help=help_)


def run(given: argparse.Namespace) -> int:
    """Print the JSON schema of the chosen file, and return 0."""
    print(json.dumps(SCHEMAS[given.file](), indent=2, ensure_ascii=False))
    return 0
