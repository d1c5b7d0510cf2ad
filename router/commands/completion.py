"""Print a script with which a shell completes commands, options and file names.

examples:
  router completion bash > ~/.local/share/bash-completion/completions/router
  router completion zsh > "${fpath[1]}/_router"
  router completion fish > ~/.config/fish/completions/router.fish

exit codes:
  0 the script was printed
  2 the command line is wrong
"""

import argparse

SHELLS = ("bash", "zsh", "fish", "tcsh")


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def run(given: argparse.Namespace) -> int:
    """Print the completion script of the chosen shell, and return 0."""
    import shtab  # noqa: PLC0415 - no other command needs it

    print(shtab.complete(given.root, shell=given.shell))
    return 0
