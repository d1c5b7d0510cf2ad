"""Options and arguments that are files or folders: a shell completes their names."""

from typing import Any

FILE = {"bash": "_shtab_compgen_files", "zsh": "_files", "fish": "(__fish_complete_path (commandline -ct))", "tcsh": "f"}
FOLDER = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "fish": "(__fish_complete_directories)", "tcsh": "d"}
"""Equal to shtab's own FILE and DIRECTORY, which are not imported here: reading the command line needs no package."""


def is_file(action: Any) -> None:
    """Have a shell complete file names for this option or argument."""
    action.complete = FILE


def is_folder(action: Any) -> None:
    """Have a shell complete names of folders for this option or argument."""
    action.complete = FOLDER
