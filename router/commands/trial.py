"""Try it out: with TARGET, rehearse that target; without, serve the routes for a first look, to clients with a key made for this run.

With TARGET its provider is asked fourteen small questions, in at most 19 calls. The most that they can cost is announced first.
Printed are what works, what is left out, how long it takes, what it costs, and the facts to write into the target.

Without TARGET it is for the container image. Requests through a published port count as those of another machine, which need a key:
only the key of this run is accepted, whatever the configuration says of callers.
In the image: docker run --rm -it -p 127.0.0.1:8000:8000 pointsman try

examples:
  router try gpt-new                              rehearse the target gpt-new, which need not be in a route yet
  router try gpt-new --yes --json                 for a script
  router try gpt-new --beside chat-model          with the price of the first target of chat-model beside it
  router try                                      ./routes.yaml at every address, port 8000
  router try --host 127.0.0.1 --port 9000         on this machine alone

exit codes:
  0 the target answers, whatever facts are to be written; without TARGET: the server was asked to end, and did
  1 the target does not answer, the rehearsal was declined, the configuration is wrong, or the server could not start
  2 the command line is wrong, or nobody can agree: the input is no terminal, and --yes is not given
"""

import argparse
import sys

from router.commands import first_look, rehearse


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    rehearse.options(parser)
    first_look.options(parser)


def run(given: argparse.Namespace) -> int:
    """Rehearse the named target, or without one serve for a first look, and return the exit code; 2 for options of the other."""
    if given.target is not None:
        return rehearse.run(given)
    if given.yes or given.json or given.beside is not None:
        print("error: --yes, --json and --beside belong to a rehearsal: name a target.", file=sys.stderr)
        return 2
    return first_look.run(given)
