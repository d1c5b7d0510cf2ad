"""Explain a change of the configuration, route by route. Values are compared, not lines. It needs no variables, and runs no code.

A is the configuration before the change, B the one after it. Each is a routes file, or a folder with a routes.yaml; `-` is standard
input. By default B is the file that ROUTER_ROUTES names, else ./routes.yaml. With --live, A is the configuration of a running server.
A routes file without pipelines/ and tools/ beside it is read with those of the other side. If it has no drills of its own, it is also
read with the other side's drills.yaml.

examples:
  router diff old/routes.yaml                     what changed from that file to ./routes.yaml
  git show HEAD:routes.yaml | router diff -       what an edit that is not committed yet changes
  router diff staging production --json           compares two folders, and prints JSON
  router diff --live http://127.0.0.1:8000        what ./routes.yaml would change on a running server
  router diff --exit-code old.yaml new.yaml       ends with exit code 3 if there are changes

exit codes:
  0 the changes were printed (with --exit-code: there are none)
  1 a file is invalid or cannot be read, or the server cannot be asked
  2 the command line is wrong
  3 there are changes, and --exit-code was given
"""

import argparse
import json
import sys

from router.commands import running, sides
from router.commands.paths import is_file
from router.commands.running import Running
from router.config import routes_from_environment
from router.description import changes, sentences


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.usage = "router diff [options] A [B]\n       router diff [options] --live URL [B]"
    help_ = "the configuration before and after the change; with --live only B"
    is_file(parser.add_argument("paths", nargs="*", metavar="A [B]", help=help_))
    running.options(parser, "A is the configuration of this server")
    parser.add_argument("--exit-code", action="store_true", help="exit with 3 if there are changes")
    parser.add_argument("--json", action="store_true", help="print the changes as a JSON object")


def run(given: argparse.Namespace) -> int:
    """Compare two configurations, and print the changes. Returns 0; 3 for changes with --exit-code; 2 for a wrong command line."""
    least, most = (0, 1) if given.live else (1, 2)
    if not least <= len(given.paths) <= most or given.paths.count(sides.STDIN) > 1:
        wanted = "with --live one path at most, what is after" if given.live else "one path or two, before and after; `-` once at most"
        print(f"router diff: error: {wanted} are compared", file=sys.stderr)
        return 2
    if given.live:
        served = Running(given).served()
        before, after, same = served.declared, sides.file((given.paths or [str(routes_from_environment())])[0]), False
        for complaint in served.refused:
            print(f"note: the server does not serve the newest edit: {complaint}", file=sys.stderr)
    else:
        old, new = [*given.paths, str(routes_from_environment())][:2]
        before, after, same = sides.files(old, new)
    found = changes(before, after)
    if given.json:
        print(json.dumps({"changes": [change.as_json() for change in found]}, ensure_ascii=False, indent=2))
    elif found:
        print("\n".join(sentences(found)))
    else:
        print("no change: every file is the same" if same else "no change in meaning (at most comments or layout)")
    return 3 if found and given.exit_code else 0
