"""Changes of a configuration as sentences, and its values in words."""

from collections.abc import Mapping, Sequence
from typing import Literal

from router.chat import Json, JsonObject
from router.description.canonical import STARS, listing, shown
from router.value import Value

About = Literal["route", "alias", "target", "pipeline", "tools", "server", "network", "drill"]

UNSAID = {"slow": "never", "after": "learned", "api_base": "the provider's own", "context_window": "as LiteLLM's table says"}
"""Key → the words for None as its value; `unset` for all other keys."""


class Change(Value, frozen=True):
    """A change of one part of a configuration.

    about, name: the kind of the part and its name; the name is empty for `server` and `network`
    what: its key, with dots; empty for a change of the whole part, which the words name
    before, after: the old and the new value; None for none
    words: the change as a clause
    then: a further effect; empty without one
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
        """The change and its further effect, without the name of the changed part."""
        return f"{self.words}; {self.then}" if self.then else self.words

    def sentence(self, *others: str) -> str:
        """Return the change as a sentence with the name of its part. `others`: names of the same kind that change in the same way."""
        if not self.what:
            return self.said
        kind = "" if self.about == "route" else self.about
        return f"{' '.join(filter(None, [kind, listed([self.name, *others])]))}: {self.said}"

    def as_json(self) -> JsonObject:
        """Return the change as a JSON object with its sentence; secrets in it are `***`."""
        record: JsonObject = {"about": self.about, "name": self.name, "what": self.what}
        return {**record, "before": shown(self.before), "after": shown(self.after), "sentence": self.sentence()}


def sentences(changes: Sequence[Change]) -> list[str]:
    """Return the changes as sentences. Routes that change in the same way share one."""
    alike: dict[tuple[str, ...], list[Change]] = {}
    for change in changes:
        alone = () if change.about == "route" and change.what else (change.about, change.name)
        alike.setdefault((change.said, *alone), []).append(change)
    return [first.sentence(*(other.name for other in others)) for first, *others in alike.values()]


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return names as a phrase: `a, b and c`. Of more than `most`, only `most` - 1 are named: `a, b, c, d and 96 more`."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def worded(value: Json, key: str = "") -> str:
    """Return a value of a description in words. None is `unset`, or the word of UNSAID for its `key`.

    A secret that stands in the file is only `a key that is written out`, or `an address …` under the key `proxy`.
    """
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
