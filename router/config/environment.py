"""References such as `${VAR}`, resolved on scalars after parsing, so that a value cannot inject YAML.

${VAR}            the variable, of the process or of `.env`; an error while it is unset
${VAR:-default}   or the default, while it is unset or empty
${VAR:?message}   or an error with this message
${file:/path}     the content of a file, without its last line break
$$                a dollar sign
"""

import io
import os
import re
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from router.config.document import Node, Scalar, with_scalars
from router.config.remedies import dollar
from router.errors import Complaint, Place
from router.value import PartlyShown, field, replace

REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<body>[^{}]*)\}|(?P<stray>))")
BODY = re.compile(r"file:(?P<file>.+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<mode>:-|:\?)(?P<rest>.*))?")
ENV_FILE = ".env"
"""The file beside the routes file with variables that the environment of the process lacks. Read with python-dotenv."""
OWN = ("ROUTER_ENV",)
"""Variables that the router reads without a `${…}` that names them; from `.env` they count in the digest."""
MAX_SECRET = 1024 * 1024
"""Most characters of a file named by `${file:…}`: the CA bundle of a whole system has 250,000."""

UNKNOWN = "nobody asked what it holds"

PASSED_ON = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
"""Variables passed on to the programs that the router starts, such as the command of an MCP server: none holds a key."""


def passed_on() -> dict[str, str]:
    """Return name → value of those variables of `PASSED_ON` that are set."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


class Environment:
    """The resolver of `${…}` in one load, and a record of the values that it read.

    variables: the environment; None resolves nothing: each scalar with a reference is `forgiven`
    beside: the variables of `.env` that the environment lacks
    used: values read from `.env` and secret files, for the generation's digest
    files: each secret file that was named → its text; None if it could not be read
    """

    def __init__(
        self, variables: Mapping[str, str] | None, root: Path, complain: Callable[[Place, str], None], beside: Mapping[str, str]
    ) -> None:
        self._variables = variables
        self._beside = beside
        self._root = root
        self._complain = complain
        self.used: dict[str, str] = {f"{ENV_FILE}:{name}": beside[name] for name in OWN if name in beside}
        self.files: dict[str, str | None] = {}

    def resolve(self, node: Node) -> Node:
        """Return the tree with the references in its values resolved. `unset` says which are missing; malformed ones are complained of."""
        return with_scalars(node, lambda scalar: self._scalar(scalar) if "$" in scalar.text else scalar)

    def _scalar(self, node: Scalar) -> Scalar:
        lacks: list[str] = []
        malformed = False

        def value(hit: re.Match[str]) -> str:
            nonlocal malformed
            if hit["dollar"]:
                return "$"
            if (body := BODY.fullmatch(hit["body"] or "")) is None:
                malformed = True
                return ""
            found, lack = ("", UNKNOWN) if self._variables is None else self._file(body["file"]) if body["file"] else self._variable(body)
            if lack:
                lacks.append(lack)
            return found

        text = REFERENCE.sub(value, node.text)
        if malformed:
            self._complain(node.place, dollar(node.text))  # for an optional target too; the scalar is not checked further
        return replace(node, text=text, unset="" if malformed else "; ".join(lacks), forgiven=malformed or UNKNOWN in lacks)

    def _variable(self, body: re.Match[str]) -> tuple[str, str]:
        name = body["name"]
        value = (self._variables or {}).get(name)
        if value is None and (value := self._beside.get(name)):
            self.used[f"{ENV_FILE}:{name}"] = value
        if value or body["mode"] == ":-":
            return value or body["rest"], ""
        needed = f"{name} is not set: {body['rest'] or 'it is needed'}" if body["mode"] else f"the environment variable {name} is not set"
        return "", needed

    def _file(self, path: str) -> tuple[str, str]:
        text, why = secret(self._root / path)
        self.files[path] = text
        if text is None:
            return "", f"the secret file {path} {why}"
        self.used[path] = text
        return text.removesuffix("\n").removesuffix("\r"), ""


def secret(path: Path) -> tuple[str | None, str]:
    """Return (text, "") of a secret file, or (None, reason) if it cannot be read, is not UTF-8, or is larger than 1 MiB.

    The reason follows the file's name in a sentence: `cannot be read: …`. The text keeps its last line break.
    """
    try:
        if stat.S_IFMT(path.stat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):  # reading a pipe would wait for its writer
            return None, "cannot be read: it is no file"
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_SECRET + 1)
    except UnicodeDecodeError:
        return None, "cannot be read: it is not UTF-8"
    except (OSError, ValueError) as error:
        return None, f"cannot be read: {error.strerror if isinstance(error, OSError) else 'no file has such a name'}"
    return (None, f"is larger than {MAX_SECRET // 1024 // 1024} MiB") if len(text) > MAX_SECRET else (text, "")


class EnvFile(PartlyShown, frozen=True):
    """The content of `.env`.

    variables: name → value, of its variables that are not empty and that the process's environment does not set, not even to an empty text
    text: the whole file; None if there is none, or if it cannot be read
    warnings: that it cannot be read, lines that are no variable, and that every user of the machine can read it
    """

    HIDDEN: ClassVar = frozenset({"variables", "text"})

    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    text: str | None = None
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
    # Imported here: most configurations have no such file.
    from dotenv.main import resolve_variables  # noqa: PLC0415
    from dotenv.parser import parse_stream  # noqa: PLC0415

    bindings = list(parse_stream(io.StringIO(text.removeprefix("\ufeff"))))
    resolved = resolve_variables(((one.key, one.value) for one in bindings if one.key and not one.error), override=False)
    variables = {name: value for name, value in resolved.items() if value and name not in environment}
    # A line that is not a variable is not quoted: a key may stand in it.
    wrong = [(one.original.line, "this line is left out: write NAME=value") for one in bindings if one.error]
    with suppress(OSError):  # removed meanwhile
        if path.stat().st_mode & stat.S_IROTH and os.name == "posix":
            wrong.append((1, "every user of this machine can read this file: write `chmod 600 .env`"))
    return EnvFile(variables, text, tuple(Complaint(Place(ENV_FILE, line, 1), message) for line, message in wrong))
