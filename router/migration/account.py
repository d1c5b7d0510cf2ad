"""The record of what happened to each value of a LiteLLM config, so that none is dropped in silence.

Every value is entered when it is read. Code that carries a value over, or mentions it in a comment, records that here. A value without
an outcome at the end gets a comment. So code that forgets a value leaves a comment too many, never one too few.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

from router.config.foreign import Located
from router.value import Mutable, field

Outcome = Literal["carried", "told", "alike"]
"""carried: the value is in the new file; told: a comment says that it is not; alike: the router does the same, or it does nothing."""


class Account(Mutable):
    """The values of a LiteLLM config by their paths, e.g. `model_list[0].litellm_params.rpm`, each with its outcome."""

    _entered: dict[str, Located] = field(default_factory=dict[str, Located])
    _outcomes: dict[int, tuple[Outcome, Located]] = field(default_factory=dict[int, tuple[Outcome, Located]])
    """id() of a value → its outcome, and the value itself, kept so that no other object gets the same id. See `apart`."""

    def enter(self, path: str, said: Located, parts: Mapping[str, Located] | None = None) -> None:
        """Register a value at its path, as yet without an outcome; an empty value gets the outcome `alike` at once.
        parts: the values in it, if it has any: they are registered in its place
        """
        if parts:
            for name, part in parts.items():
                self.enter(f"{path}.{name}", part)
            return
        self._entered[path] = said
        if said.value is None or said.value in ("", ()) or said.value == {}:
            self.agree(said)

    def carry(self, *said: Located | None) -> None:
        """Set the outcome of these values to `carried`, in place of any other. None is ignored."""
        self._outcomes |= {id(one): ("carried", one) for one in said if one is not None}

    def mention(self, *said: Located | None) -> None:
        """Set the outcome of these values to `told`: a comment mentions them. Values that are `carried` stay so. None is ignored."""
        given = [one for one in said if one is not None and self._outcomes.get(id(one), ("", one))[0] != "carried"]
        self._outcomes |= {id(one): ("told", one) for one in given}

    def agree(self, *said: Located | None) -> None:
        """Set the outcome of those of these values that have none to `alike`: they need no comment. None is ignored."""
        for one in said:
            if one is not None:
                self._outcomes.setdefault(id(one), ("alike", one))

    def settled(self, said: Located) -> bool:
        """Return whether a value has an outcome."""
        return id(said) in self._outcomes

    def open(self) -> Iterator[tuple[str, Located]]:
        """Yield (path, value) for each registered value without an outcome."""
        return ((path, said) for path, said in self._entered.items() if not self.settled(said))

    def outcomes(self) -> Mapping[str, Outcome]:
        """Return path → outcome of all registered values. Raises KeyError if one has none."""
        return {path: self._outcomes[id(said)][0] for path, said in self._entered.items()}


def apart(said: Located) -> Located:
    """Return a mapping with copies of its values, which an anchor may share with other mappings; any other value as it is."""
    if not isinstance(said.value, Mapping):
        return said
    return Located(said.place, {key: Located(one.place, one.value) for key, one in said.table.items()})
