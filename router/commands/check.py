"""Report the mistakes in the configuration. The command loads the files as `router serve` does, and asks no provider.

If the variable ROUTER_ENV is production, `server.auth` must be declared.

examples:
  router check                         the mistakes in ./routes.yaml, drills.yaml, pipelines/ and tools/
  router check --drills                also the drills that fail
  router check --without-env           if no variables are set, as in CI: missing ones are listed, and are no mistakes
  router check --routes new.yaml && mv new.yaml routes.yaml
  router check --workers 4             also warnings of what several processes do not share
  router check --json                  for a script: {"complaints": [{"file", "line", "column", "message"}], …}

exit codes:
  0 there are no mistakes
  1 there are mistakes
  2 the command line is wrong
"""

import argparse
import json

from router.commands.address import number
from router.commands.words import counted, expired, missing, omissions, stand_ins, unpriced, warned
from router.config import load, production, without_environment
from router.config.checks import require_auth
from router.drill import drilled
from router.errors import ConfigError
from router.garbage import uncollected
from router.generation import Generation, build


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--drills", action="store_true", help="also run the drills: a drill that fails is a mistake")
    parser.add_argument("--without-env", action="store_true", help="list missing variables and secret files, which then are no mistakes")
    help_ = "number of processes that will serve it: warn of what they do not share; default: 1"
    parser.add_argument("--workers", type=number(1, 1024), default=1, help=help_)
    parser.add_argument("--json", action="store_true", help="print the result as a JSON object")


def run(given: argparse.Namespace) -> int:
    """Check the configuration, and print the result. Returns 0, or with --json 1 for mistakes; without it they raise ConfigError."""
    try:
        with uncollected():
            generation = _checked(given)
    except ConfigError as error:
        if not given.json:
            raise
        print(json.dumps({"complaints": [complaint.as_json() for complaint in error.complaints]}, ensure_ascii=False, indent=2))
        return 1
    lacking, warnings = missing(generation), warned(generation, given.workers)
    if given.json:
        found: dict[str, object] = {
            "complaints": [],
            "skipped": dict(generation.skipped),
            "unpriced": unpriced(generation),
            "omitted": omissions(generation),
            "stand_ins": stand_ins(generation),
            "expired": expired(generation.server),
            "warnings": [warning.as_json() for warning in warnings],
            "env_file": list(generation.declaration.env_file.names),
            "missing": [lack.as_json() for lack in lacking],
            "routes": len(generation.routes),
            "generation": generation.digest,
        }
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return 0
    lines = [
        *([f"from .env: {', '.join(names)}"] if (names := generation.declaration.env_file.names) else ()),
        *(f"skipped: target {name}: {why}" for name, why in generation.skipped.items()),
        *(f"unpriced: target {name}: {why}" for name, why in unpriced(generation).items()),
        *(f"{name}: {sentence}" for name, sentences in omissions(generation).items() for sentence in sentences),
        *(f"warning: route {name}: {why}" for name, why in stand_ins(generation).items()),
        *(f"expired: the key of {name}, {when}" for name, when in expired(generation.server).items()),
        *(f"warning: {warning}" for warning in warnings),
        *(f"missing: {lack.place}: {lack.message}" for lack in lacking),
    ]
    well = "nothing else is wrong" if lacking else "all is well"
    print(*lines, f"{given.routes}: {well}. {counted(generation)}, generation {generation.digest}.", sep="\n")
    return 0


def _checked(given: argparse.Namespace) -> Generation:
    """Build the configuration, run drills with --drills, return the discarded generation. ConfigError for mistakes and failed drills."""
    declaration = without_environment(given.routes) if given.without_env else load(given.routes)
    if production(declaration):
        require_auth(declaration)
    generation = build(declaration)
    generation.discard()
    if given.drills and (failed := [one.complaint(given.routes.name) for one in drilled(declaration) if one.faults]):
        raise ConfigError(tuple(failed))
    return generation
