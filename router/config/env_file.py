"""`.env` beside the routes file: variables that the environment of the process lacks. Read with python-dotenv."""

import io
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dotenv.main import resolve_variables
from dotenv.parser import parse_stream

from router.config.environment import ENV_FILE, secret
from router.errors import Complaint, Place


@dataclass(frozen=True, slots=True)
class EnvFile:
    """The content of `.env`.

    variables: name → value, of its variables that are not empty and that the process's environment does not set, not even to an empty text
    text: the whole file; None if there is none, or if it cannot be read
    warnings: that it cannot be read, lines that are no variable, and that every user of the machine can read it
    """

    variables: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    text: str | None = field(default=None, repr=False)
    warnings: tuple[Complaint, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its variables, sorted."""
        return tuple(sorted(self.variables))


def read_env_file(root: Path, environment: Mapping[str, str]) -> EnvFile:
    """Return what the `.env` in a folder adds to an environment. A missing file adds nothing; an unreadable one adds a warning.

    A value may refer to variables, as `${HOST}`: of the process first, then of the lines above it.
    """
    path = root / ENV_FILE
    if not os.path.lexists(path):
        return EnvFile()
    text, why = secret(path)
    if text is None:
        return EnvFile(warnings=(Complaint(Place(ENV_FILE, 1, 1), f"the variables of this file are not known: it {why}"),))
    bindings = list(parse_stream(io.StringIO(text.removeprefix("\ufeff"))))
    resolved = resolve_variables(((one.key, one.value) for one in bindings if one.key and not one.error), override=False)
    variables = {name: value for name, value in resolved.items() if value and name not in environment}
    # A line that is not a variable is not quoted: a key may stand in it.
    wrong = [(one.original.line, "this line is left out: write NAME=value") for one in bindings if one.error]
    with suppress(OSError):  # removed meanwhile
        if path.stat().st_mode & stat.S_IROTH and os.name == "posix":
            wrong.append((1, "every user of this machine can read this file: write `chmod 600 .env`"))
    return EnvFile(variables, text, tuple(Complaint(Place(ENV_FILE, line, 1), message) for line, message in wrong))
