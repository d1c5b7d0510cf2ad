"""Test a target (a rehearsal), or, without TARGET, serve the routes for a first look.

With TARGET, the command asks the target's provider fourteen small questions, in at most 19 calls. It first prints the highest cost.
Then it prints what works, which parameters are left out, how long the answers take, what they cost, and the facts to write into the
target.

Without TARGET, the command makes a key for this run, and the server accepts only this key, whatever `server.auth` says. It is for the
container image: requests through a published port count as those of another machine, so they need a key.
In the image: docker run --rm -it -p 127.0.0.1:8000:8000 pointsman try

examples:
  router try gpt-new                              test the target gpt-new, which need not be in a route yet
  router try gpt-new --yes --json                 the same in a script
  router try gpt-new --beside chat-model          compare its cost with that of the first model of chat-model
  router try                                      serve ./routes.yaml at all addresses, port 8000
  router try --host 127.0.0.1 --port 9000         serve only for this machine

exit codes:
  0 the target answers, with or without findings; without TARGET: the server was stopped
  1 the target does not answer, you did not type y, the configuration is invalid, or the server could not start
  2 the command line is wrong, or the input is not a terminal and --yes is not given
"""

import argparse
import sys

from router.callers.keys import new
from router.commands import address, rehearse, serve
from router.config.values import Secret

EVERYWHERE = "0.0.0.0"  # noqa: S104 - no request is answered without the key


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    rehearse.options(parser)
    address.options(parser, f"{EVERYWHERE}, all addresses: every question needs the key of this run")


def run(given: argparse.Namespace) -> int:
    """Rehearse the named target, or without one serve for a first look, and return the exit code; 2 for options of the other."""
    if given.target is not None:
        return rehearse.run(given)
    if given.yes or given.json or given.beside is not None:
        print("error: --yes, --json and --beside belong to a rehearsal: name a target.", file=sys.stderr)
        return 2
    address.settle(given, EVERYWHERE)
    given.workers, given.reload = 1, None
    return serve.serve(given, Secret(new()))
