"""Serve the routes for a first look, to whoever bears a key that is made for this run and printed. For the image: its ports are
published, so no request comes from the machine it runs on, whatever the configuration says of callers.
`router try` without a target.
"""

import argparse

from router.callers.keys import new
from router.commands import serve
from router.config.values import Secret

EVERYWHERE = "0.0.0.0"  # noqa: S104 - nobody is answered without the key


def options(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--host", default=EVERYWHERE, help=f"default: {EVERYWHERE}, every address: only the key of this run counts")
    parser.add_argument("--port", type=serve.port, default=8000, help="default: 8000")


def run(given: argparse.Namespace) -> int:
    """Make the key and serve, in one process."""
    given.workers, given.reload = 1, None
    return serve.serve(given, Secret(new()))
