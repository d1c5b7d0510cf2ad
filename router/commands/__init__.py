"""The command line: one file per command, one row each.

A command is a module. Its docstring is its help: the first paragraph describes it, the rest is examples. `options` declares its
arguments; `run` runs it and returns the exit code.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from router import __version__
from router.commands import chat, check, completion, diff, drill, imports, init, keys, schema, serve, show, trial
from router.commands.paths import is_file
from router.config import routes_from_environment
from router.errors import ConfigError, RouterError

__all__ = ["COMMANDS", "main", "parser"]


class Command(Protocol):
    """The members of a command's module."""

    __doc__: str | None

    def options(self, parser: argparse.ArgumentParser, /) -> None:
        """Declare the command's options."""
        ...

    def run(self, given: argparse.Namespace, /) -> int:
        """Run the command, and return its exit code."""
        ...


COMMANDS: dict[str, Command] = {
    "serve": serve,
    "check": check,
    "show": show,
    "diff": diff,
    "drill": drill,
    "schema": schema,
    "chat": chat,
    "keys": keys,
    "init": init,
    "import": imports,
    "try": trial,
    "completion": completion,
}
ROUTELESS = {"schema", "diff", "keys", "init", "import", "completion"}
"""Commands that read no routes file of their own."""

EXAMPLES = """examples:
  router serve --port 8000            serve ./routes.yaml on http://127.0.0.1:8000
  router check                        every mistake in ./routes.yaml, pipelines/ and tools/; exit code 1 if there is one
  router show chat-model              what a request to chat-model goes through
  router drill                        run the drills: faults, and what must come of them
  router schema > routes.schema.json  the JSON schema that editors complete and check routes.yaml with
  router chat chat-model "Hello"      ask from the terminal
  router diff old/routes.yaml         what an edit means
  router keys new alice               make an API key for a caller
  router init gateway                 a fresh workspace, to begin with
  router import litellm config.yaml   a routes.yaml from LiteLLM's configuration
  router try gpt-new                  rehearse a swap: what a target's model takes, before users ask it
  router completion bash              complete commands and options in the shell
  router try                          serve ./routes.yaml for a first look, to the bearer of a key that is printed

exit codes: 0 all is well, 1 the configuration is wrong or it could not be done, 2 the command line is wrong, 130 interrupted.
`router COMMAND --help` says what each of them means there.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        return COMMANDS[options.command].run(options)
    except ConfigError as error:
        for complaint in error.complaints:
            print(complaint, file=sys.stderr)
        count = len(error.complaints)
        print(f"\n{count} mistake{'s' if count > 1 else ''} in the configuration.", file=sys.stderr)
        return 1
    except RouterError as error:
        print(f"error: {error.public} [{error.code}]", file=sys.stderr)
        for attempt in error.attempts:
            print(f"  {attempt.target}: {attempt.outcome} after {attempt.seconds:.2f} s", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the output has gone (`router chat … | head -1`): nothing is left to print, not at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands and their options."""
    root = argparse.ArgumentParser("router", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    root.description = "The router behind a chat UI: routes.yaml says which model answers for each model id."
    root.add_argument("--version", action="version", version=f"pointsman {__version__}")
    root.set_defaults(root=root)  # `completion` prints what a shell has to know of it
    commands = root.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for name, command in COMMANDS.items():
        words, _, more = (command.__doc__ or "").strip().partition("\n\n")
        raw = argparse.RawDescriptionHelpFormatter
        made = commands.add_parser(name, help=re.split(r"[.:]\s", f"{words} ")[0], description=words, epilog=more, formatter_class=raw)
        if name not in ROUTELESS:
            help_ = "default: the variable ROUTER_ROUTES, else ./routes.yaml"
            is_file(made.add_argument("--routes", type=Path, default=routes_from_environment(), metavar="FILE", help=help_))
        command.options(made)
    return root
