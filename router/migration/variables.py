"""References to environment variables in the new file, and new variables in place of literal secrets.

A literal key is never copied: it becomes `${NAME}`, and the operator gets the name of the variable to set.
"""

import re
from collections.abc import Mapping

from router.config.foreign import Located
from router.migration.source import in_environment
from router.value import Mutable, field

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET = re.compile(r"(?i)key|secret|token|password|credential|auth")
"""Names of variables whose values must not be repeated."""
PLACEHOLDERS = frozenset(
    {"", "none", "null", "no-key", "not-needed", "dummy", "fake", "fake-key", "empty", "anything", "sk-no-key-required"}
)
"""Values that are written if a server needs no key."""


class Variables(Mutable):
    """The environment variables of the new file: those that it refers to, and those that the operator must set."""

    values: Mapping[str, Located]  # `environment_variables` of the original: the variables that it sets for itself
    taken: set[str]  # variables that the original uses already: a new variable gets another name
    needed: dict[str, str] = field(default_factory=dict[str, str])  # variable to set → the reason, for the operator
    made: dict[str, str] = field(default_factory=dict[str, str])
    """Written-out key → the variable in its place. The keys of this mapping are secrets, and are never shown."""

    def key(self, said: Located, *names: str) -> tuple[str | None, str]:
        """Return (reference, remark) for an API key. The reference is None for a placeholder, and for an invalid name of a variable.

        The remark says which variable to set for a literal key, at its first occurrence; else it is empty.

        names: the names to choose from for the variable of a literal key
        """
        if in_environment(said):
            return self.reference(said), ""
        text = "" if said.value is None else str(said.value)
        if text.strip().lower() in PLACEHOLDERS:
            return None, ""
        known = text in self.made
        if not known:
            words = [re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") for name in names]
            words = [f"K_{word}" if word[:1].isdigit() else word for word in words if word]
            words += [f"{words[-1]}_{number}" for number in range(2, len(self.taken) + 3)]
            self.made[text] = next(word for word in words if word not in self.taken)
        name = self.made[text]
        reference = self.variable(name, "written out in the original")
        remark = "" if known else f"the key was written out in line {said.place.line} of {said.place.file}: set {name} to it"
        return reference, remark

    def variable(self, name: str, why: str = "LiteLLM read it by itself") -> str:
        """Return `${name}` for a variable that LiteLLM's config does not name, and record that it must be set, with the reason `why`."""
        self.needed.setdefault(name, why)
        self.taken.add(name)
        return f"${{{name}}}"

    def reference(self, said: Located) -> str | None:
        """Return the value `os.environ/NAME` as `${NAME}`, or `${NAME:-value}` if the config sets it and it is not secret; None if invalid.
        A variable without such a value is recorded as one that must be set.
        """
        name = str(said.value).removeprefix("os.environ/")
        if not NAME.fullmatch(name):
            return None
        given = self.values.get(name)
        text = given.value if isinstance(given, Located) and isinstance(given.value, str) and not in_environment(given) else ""
        if re.fullmatch(r"[^${}\s@?]+", text) and not SECRET.search(name):
            return f"${{{name}:-{text}}}"
        self.needed.setdefault(name, "as in the original")
        return f"${{{name}}}"


def written(text: str) -> str:
    """Return a text as routes.yaml needs it: `$` doubled, because it begins a reference there."""
    return text.replace("$", "$$")
