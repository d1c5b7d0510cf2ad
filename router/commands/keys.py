"""Make an API key for a caller. The key is printed only once; write its hash into routes.yaml.

examples:
  router keys new alice                               the key on stdout, the lines for routes.yaml on stderr
  router keys new alice --expires 90d > alice.key     a key for ninety days
  router keys new ci --routes title-model --json      key and lines as JSON
  router keys new webui --user-header X-OpenWebUI-User-Id   for a front end that names its end users

exit codes:
  0 the key was made
  2 the command line is wrong
"""

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from router.callers.keys import hashed, new, shown
from router.config.keys import moment, user_header
from router.config.values import duration, name_of
from router.errors import Misfit

T = TypeVar("T")


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    deeds = parser.add_subparsers(title="what to do", required=True, metavar="new", dest="deed")
    made = deeds.add_parser("new", help="make a key", description="Make a key.")
    made.add_argument("name", type=_checked(name_of), help="the caller's name; the log shows it")
    help_ = "when the key expires: after a time, e.g. 90d, or on a day, e.g. 2027-01-31; default: never"
    made.add_argument("--expires", type=_checked(_expiry), metavar="WHEN", help=help_)
    names = _checked(lambda text: [name_of(one) for one in text.split(",")])
    made.add_argument("--routes", type=names, metavar="ROUTE,…", help="the only routes that the caller may ask; default: all")
    users = made.add_mutually_exclusive_group()
    help_ = "the header in which a front end names its end users"
    users.add_argument("--user-header", type=_checked(user_header), metavar="NAME", help=help_)
    help_ = "the field of the body in which a front end names its end users"
    users.add_argument("--user-field", choices=("user", "safety_identifier"), help=help_)
    made.add_argument("--json", action="store_true", help="print name, key, hash and line as one JSON object")


def run(given: argparse.Namespace) -> int:
    """Make an API key, print it on stdout and the lines that declare it on stderr; with --json, one object on stdout. Returns 0."""
    key = new()
    table = {"hash": hashed(key)}
    words = [given.name, table["hash"]]
    if given.expires is not None:
        table["expires"] = given.expires
        words.append(f"expires={given.expires}")
    if given.routes is not None:
        table["routes"] = f"[{', '.join(given.routes)}]"
        words.append(f"routes={','.join(given.routes)}")
    for kind, where in (("header", given.user_header), ("field", given.user_field)):
        if where is not None:
            table["user"] = f"{{{kind}: {where}}}"
            words.append(f"user={kind}:{where}")
    line = f"{'  '.join(words)}  # {shown(key)}"
    if given.json:
        print(json.dumps({"name": given.name, "key": key, "hash": table["hash"], "line": line}, ensure_ascii=False))
        return 0
    print(key)
    pairs = ", ".join(f"{name}: {value}" for name, value in table.items())
    print(
        f"""
This is {given.name}'s key, to be sent as `Authorization: Bearer {shown(key)}_…`. It is shown this once.
To let it in, write under `server:` in routes.yaml

  auth:
    keys:
      {given.name}: {{{pairs}}}

or this line into the file that `auth: {{keys: ${{file:…}}}}` names

  {line}""",
        file=sys.stderr,
    )
    return 0


def _checked(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return an argparse type from a function that raises Misfit for an invalid text."""

    def parse(text: str) -> T:
        try:
            return read(text)
        except Misfit as misfit:
            raise argparse.ArgumentTypeError(misfit.message) from None

    return parse


def _expiry(text: str) -> str:
    """Return an expiry as routes.yaml has it: a duration as a moment in UTC, others as given. Raises Misfit for other texts."""
    try:
        if text[:1].isdigit() and text[-1:].isalpha() and "T" not in text:
            return (datetime.now(UTC) + timedelta(seconds=duration(text))).strftime("%Y-%m-%dT%H:%M:%SZ")
        moment(text)
    except OverflowError:
        raise Misfit(f"`{text}` is beyond the calendar") from None
    return text
