"""A change as a sentence; and values of a description in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from router.chat import Json, JsonObject
from router.description.canonical import STARS, listing, shown

About = Literal["route", "alias", "target", "pipeline", "tools", "server", "network", "drill"]

UNSAID = {
    "slow": "never",
    "after": "learned",
    "api_base": "the provider's own",
    "context_window": "as LiteLLM's table says",
}
"""What it means that a key is not there, where that is not just `unset`."""
LONG = 60
"""Characters of a value that are still said."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is another now. `what`: its key, with dots; empty where the whole thing came or went, and the words name it.
    `then`: what else follows.
    """

    about: About
    name: str
    what: str
    before: Json
    after: Json
    words: str
    then: str = ""

    @property
    def said(self) -> str:
        """All but what it is about."""
        return f"{self.words}; {self.then}" if self.then else self.words

    def sentence(self, *others: str) -> str:
        """The change in words. `others`: what else of this kind changes in the same way."""
        if not self.what:
            return self.said
        kind = "" if self.about == "route" else self.about
        return f"{' '.join(filter(None, [kind, listed([self.name, *others])]))}: {self.said}"

    def as_json(self) -> JsonObject:
        """The same as a JSON object."""
        told: JsonObject = {"about": self.about, "name": self.name, "what": self.what}
        return {**told, "before": shown(self.before), "after": shown(self.after), "sentence": self.sentence()}


def sentences(changes: Sequence[Change]) -> list[str]:
    """One for each change; one for all routes that change in the same way."""
    alike: dict[tuple[str, ...], list[Change]] = {}
    for change in changes:
        alone = () if change.about == "route" and change.what else (change.about, change.name)
        alike.setdefault((change.said, *alone), []).append(change)
    return [first.sentence(*(other.name for other in others)) for first, *others in alike.values()]


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names as one says them: `a, b and c`; `a, b, c, d and 96 more`."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def worded(value: Json, key: str = "") -> str:
    """A value of a description as words. `key`: whose it is."""
    match shown(value):
        case None:
            return UNSAID.get(key.rpartition(".")[2], "unset")
        case bool(truth):
            return str(truth).lower()
        case int(number) | float(number):
            return f"{number:.10g}"
        case str(text):
            kind = "an address" if key.rpartition(".")[2] == "proxy" else "a key"
            return f"{kind} that is written out" if text == STARS else text
        case Mapping() as pairs:
            return ", ".join(f"{name} {worded(one, name)}" for name, one in pairs.items() if one is not None or name in UNSAID)
        case other:
            return f"[{', '.join(worded(one) for one in listing(other))}]"


def brief(value: Json) -> str:
    """The same, where it is a line of moderate length; else nothing."""
    text = worded(value)
    return text if len(text) <= LONG and text.isprintable() else ""
