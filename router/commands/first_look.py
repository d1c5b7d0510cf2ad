"""A first look: serve the routes to clients with a key that is made for this run and printed (`router try` without a target).

It is for the container image: its ports are published, so no request comes from the machine that it runs on.
"""

import argparse

from router.callers.keys import new
from router.commands import address, serve
from router.config.values import Secret

EVERYWHERE = "0.0.0.0"  # noqa: S104 - no request is answered without the key


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    address.options(parser, f"{EVERYWHERE}, all addresses: every question needs the key of this run")


def run(given: argparse.Namespace) -> int:
    """Make a key and serve the routes to its bearer, in this process, until the process is told to end. Return the exit code."""
    address.settle(given, EVERYWHERE)
    given.workers, given.reload = 1, None
    return serve.serve(given, Secret(new()))
