"""LiteLLM's config.yaml as it is read: the file and those that it includes, as one mapping."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from router.config.complaints import Complaints
from router.config.document import UnreadableYaml
from router.config.foreign import Located, understood
from router.errors import ConfigError, Place
from router.migration.account import Account, apart
from router.value import Mutable, Value, field

MAX_FILES = 100
"""Files that a config may include in all."""


class SourceConfig(Value, frozen=True):
    """A LiteLLM config as read, its `include`s merged in: its sections, complaints about it, and the outcomes of its values."""

    root: Path  # the folder of the config
    sections: Mapping[str, Located]
    complaints: Complaints
    account: Account = field(default_factory=Account)  # the outcome of each value

    def section(self, name: str) -> Mapping[str, Located]:
        """Return a section as a mapping; empty if it is missing, or is not a mapping (then a complaint is added)."""
        said = self.sections.get(name)
        if said is not None and said.value is not None and not isinstance(said.value, Mapping):
            self.complaints.add(said.place, f"`{name}` takes a mapping")
        return said.table if said else {}

    def number(self, said: Located | None, name: str, least: float = 0) -> float | None:
        """Return a value as a number, also from a text; None if it is missing, in the environment, or wrong (then a complaint is added).

        name: the setting's name, for the complaint
        least: the least value that is accepted; all must be below 1e12
        """
        if said is None or said.value is None or in_environment(said):
            return None
        value = -1.0
        with suppress(ValueError):
            value = float(said.value) if isinstance(said.value, int | float | str) and not isinstance(said.value, bool) else -1.0
        if not least <= value < 1e12:
            bound = "not less than zero" if least == 0 else f"at least {least:g}"
            self.complaints.add(said.place, f"`{name}` takes a number, {bound}")
            return None
        return value

    def truth(self, said: Located | None) -> bool:
        """Return whether a value is true, or the text `true` in upper or lower case; False if it is missing or anything else."""
        return said is not None and (said.value is True or str(said.value).lower() == "true")

    def texts(self, said: Located | None, name: str) -> tuple[Located, ...]:
        """Return a value as a list of texts: a single text is a list of one, a missing value an empty list.
        Entries that are not texts are left out, and add a complaint. `name`: the setting's name, for the complaint.
        """
        found = (said.items if isinstance(said.value, tuple) else (said,)) if said is not None and said.value is not None else ()
        for one in found:
            if not isinstance(one.value, str):
                self.complaints.add(one.place, f"`{name}` takes a list of names")
        return tuple(one for one in found if isinstance(one.value, str))


def in_environment(said: Located | None) -> bool:
    """Return whether a value is a text of the form `os.environ/NAME`: an environment variable holds the actual value."""
    return said is not None and isinstance(said.value, str) and said.value.startswith("os.environ/")


def read(path: Path) -> SourceConfig:
    """Read a LiteLLM config with all files that it includes. Raises ConfigError if a file is not readable or not such a config."""
    texts: dict[str, str] = {}
    complaints = Complaints(texts)
    sections = _SourceReader(complaints, texts).merged(path)
    if not complaints.found and sections.get("model_list") is None:
        why = "this is no LiteLLM config: it has no `model_list` (models kept in a database are not in it)"
        complaints.add(Place(str(path), 1, 1), why)
    if complaints.found:
        raise ConfigError(complaints.in_order())
    source = SourceConfig(path.parent, {name: _apart(name, said) for name, said in sections.items()}, complaints)
    for name, said in source.sections.items():  # models.py registers those of the models and credentials
        if name in SETTINGS:
            for key, one in said.table.items():
                source.account.enter(f"{name}.{key}", one, one.table if key == PARTS.get(name) else None)
        elif name not in ("model_list", "credential_list"):
            source.account.enter(name, said)
    return source


SETTINGS = ("router_settings", "litellm_settings", "general_settings")
PARTS = {"litellm_settings": "cache_params"}
"""Section → its key whose values have an outcome each."""


def _apart(name: str, said: Located) -> Located:
    made = apart(said)
    inner = made.table.get(PARTS[name]) if name in PARTS else None
    return made if inner is None else Located(made.place, {**made.table, PARTS[name]: apart(inner)})


class _SourceReader(Mutable):
    complaints: Complaints
    texts: dict[str, str]
    seen: set[Path] = field(default_factory=set[Path])

    def merged(self, path: Path) -> Mapping[str, Located]:
        """Return a file's sections merged with all its includes. Lists are joined; of other values the included file's counts."""
        sections = self._one(path, partial(self.complaints.add, Place(str(path), 1, 1)))
        pending = [(one, path) for one in self._includes(sections)]
        self.seen.add(path.resolve())
        while pending:
            entry, declared_in = pending.pop(0)
            beside, root = declared_in.parent / str(entry.value), path.parent / str(entry.value)
            included = root if root.exists() and not beside.exists() else beside
            if included.resolve() in self.seen:
                continue
            self.seen.add(included.resolve())
            if len(self.seen) > MAX_FILES:
                self.complaints.add(entry.place, f"more than {MAX_FILES} files are included")
                break
            more = self._one(included, partial(self.complaints.add, entry.place))
            pending += [(one, included) for one in self._includes(more)]
            lists = [name for name in sections.keys() & more.keys() if all(isinstance(one[name].value, tuple) for one in (sections, more))]
            joined = {name: Located(sections[name].place, (*sections[name].items, *more[name].items)) for name in lists}
            sections = {**sections, **more, **joined}
        return sections

    def _one(self, path: Path, unread: Callable[[str], None]) -> Mapping[str, Located]:
        """Return the sections of one file; empty if it is malformed (a complaint) or unreadable (`unread` is called with the reason)."""
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            unread(f"{path} cannot be read: {error.strerror}" if isinstance(error, OSError) else f"{path} is not UTF-8")
            return {}
        self.texts[str(path)] = text
        try:
            said = understood(text, str(path))
        except UnreadableYaml as unreadable:
            self.complaints.add(unreadable.complaint.place, unreadable.complaint.message)
            return {}
        if said is None or not isinstance(said.value, Mapping):
            why = "the file is empty" if said is None else "a config is a mapping: `model_list:` and so on"
            self.complaints.add(Place(str(path), 1, 1), why)
            return {}
        return said.value

    def _includes(self, sections: Mapping[str, Located]) -> tuple[Located, ...]:
        if (said := sections.get("include")) is None:
            return ()
        if not isinstance(said.value, tuple) or not all(isinstance(one.value, str) for one in said.value):
            self.complaints.add(said.place, "`include` takes a list of files")
            return ()
        return said.value
