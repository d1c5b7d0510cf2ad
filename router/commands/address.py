"""The address that a server listens at: from the command line, else from the environment or `.env`."""

import argparse
import re
from collections.abc import Callable

from router.config import HOST_VARIABLE, PORT_VARIABLES, env_file_of, variable
from router.errors import RouterError

LOCAL = "127.0.0.1"
PORT = 8000


class WrongVariable(RouterError, code="wrong_variable"):
    """The error of an environment variable in place of an option whose value the option would refuse."""


def number(least: int, most: int) -> Callable[[str], int]:
    """Return an argparse type for a whole number from `least` to `most`; it raises ArgumentTypeError for any other text."""

    def read(text: str) -> int:
        if not re.fullmatch("[0-9]{1,6}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be from {least} to {most}")
        return int(text)

    return read


port = number(0, 65_535)
"""An argparse type: a port from 0 to 65,535."""


def options(parser: argparse.ArgumentParser, default: str) -> None:
    """Declare `--host` and `--port` for a command that serves. `default`: the default address in words, for the help."""
    parser.add_argument("--host", help=f"the address to listen at; default: the variable {HOST_VARIABLE}, else {default}")
    parser.add_argument("--port", type=port, help=f"the port; default: the variable {', else '.join(PORT_VARIABLES)}, else {PORT}")


def settle(given: argparse.Namespace, host: str) -> None:
    """Set the host and port that the command line lacks: from variables, else `host` and 8000. Raises WrongVariable for an invalid port."""
    env_file = env_file_of(given.routes)
    if given.host is None:
        given.host = variable(HOST_VARIABLE, env_file) or host
    if given.port is None:
        said = ((name, variable(name, env_file)) for name in PORT_VARIABLES)
        name, text = next((one for one in said if one[1]), ("", str(PORT)))
        try:
            given.port = port(text)
        except argparse.ArgumentTypeError as wrong:
            raise WrongVariable(f"the variable {name} is no port: it {wrong}") from None
