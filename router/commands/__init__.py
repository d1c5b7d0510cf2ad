"""The command line: one module for each command, listed in COMMANDS.

A command is a module. Its docstring is its help: the first paragraph describes it, the rest is examples. `options` declares its
arguments; `run` runs it and returns the exit code.
"""

import argparse
import importlib
import re
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from types import ModuleType

from router import __version__
from router.commands.paths import is_file
from router.garbage import uncollected

FIRST_STEPS = """usage: router [-h] [--version] COMMAND ...

The router behind a chat UI: routes.yaml says which model answers for each model id.

  router init gateway                 make a workspace that answers offline, without a key
  router check                        find every mistake in ./routes.yaml
  router serve                        serve it on http://127.0.0.1:8000
  router chat chat-model "Hello"      ask from the terminal

`router --help` lists all commands, `router COMMAND --help` explains one.
"""
"""The text that a bare `router`, without a command, prints on stderr."""

COMMANDS = ("serve", "check", "show", "diff", "drill", "schema", "chat", "keys", "init", "import", "try", "completion")
MODULES = {"import": "imports", "try": "trial"}
"""Command → its module, where the name is a word of Python's."""
ROUTELESS = {"schema", "diff", "keys", "init", "import", "completion"}
"""Commands without the option `--routes`; all others have it."""

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


def command(name: str) -> ModuleType:
    """Import a command's module, and return it."""
    with uncollected():  # what is imported stays
        return importlib.import_module(f"{__name__}.{MODULES.get(name, name)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code. Without a command, print the first commands to try on stderr and return 2.
    A wrong command line, `--help` and `--version` raise SystemExit. `arguments`: the words after `router`; None for those of the process.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        sys.stderr.write(FIRST_STEPS)
        return 2
    # A command needs no parser but its own; `completion`, and the help, need those of all.
    own = () if given[0] == "--version" else given[:1] if given[0] in COMMANDS and given[0] != "completion" else COMMANDS
    options = parser(own).parse_args(given)
    # Imported here: `router --version` has ended before.
    from router.commands.outcome import exit_code  # noqa: PLC0415

    return exit_code(lambda: command(options.command).run(options))


def parser(loaded: Collection[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the command line's parser. `loaded`: the commands that it knows, by default all: each takes argparse 1 ms of a start."""
    root = argparse.ArgumentParser("router", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    root.description = "The router behind a chat UI: routes.yaml says which model answers for each model id."
    root.add_argument("--version", action="version", version=f"pointsman {__version__}")
    root.set_defaults(root=root)  # `completion` prints what a shell has to know of it
    commands = root.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for name in loaded:
        module = command(name)
        words, _, more = (module.__doc__ or "").strip().partition("\n\n")
        raw = argparse.RawDescriptionHelpFormatter
        made = commands.add_parser(name, help=re.split(r"[.:]\s", f"{words} ")[0], description=words, epilog=more, formatter_class=raw)
        if name not in ROUTELESS:
            from router.config import routes_from_environment  # noqa: PLC0415 - each of these commands imports it

            help_ = "the routes file; default: the one that the variable ROUTER_ROUTES names, else ./routes.yaml"
            is_file(made.add_argument("--routes", type=Path, default=routes_from_environment(), metavar="FILE", help=help_))
        module.options(made)
    return root
