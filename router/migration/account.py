"""The outcome of each value of a LiteLLM config: by construction none is dropped in silence.

Every value is entered when it is read. Code that carries a value over, or mentions it in a comment, records that here. A value still
open when the page is done is mentioned there. So code that forgets a value, or carries it over only in some cases, leaves a comment
too many, never one too few.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from router.config.foreign import Located

Outcome = Literal["carried", "told", "alike"]
"""carried: the value is in the new file; told: a comment says that it is not; alike: the router does the same, or it does nothing."""


@dataclass(slots=True)
class Account:
    """The values of a config by their paths, e.g. `model_list[0].litellm_params.rpm`, each with its outcome.

    A list or mapping below such a key has the outcome of that key.
    """

    _entered: dict[str, Located] = field(default_factory=dict[str, Located])
    _outcomes: dict[int, tuple[Outcome, Located]] = field(default_factory=dict[int, tuple[Outcome, Located]])
    """id() of a value → its outcome, and the value itself, kept so that no other object gets the same id. See `apart`."""

    def enter(self, path: str, said: Located) -> None:
        """Register a value whose outcome is to be recorded; that of an empty value is `alike` at once."""
        self._entered[path] = said
        if said.value is None or said.value in ("", ()) or said.value == {}:
            self.agree(said)

    def carry(self, *said: Located | None) -> None:
        """Record that values are carried over, in place of any other outcome; None is passed over."""
        for one in said:
            if one is not None:
                self._outcomes[id(one)] = "carried", one

    def tell(self, *said: Located | None) -> None:
        """Record that a comment mentions values; those that are recorded as carried over stay so. None is passed over."""
        for one in said:
            if one is not None and self._outcomes.get(id(one), ("", one))[0] != "carried":
                self._outcomes[id(one)] = "told", one

    def agree(self, *said: Located | None) -> None:
        """Record that values without an outcome need no comment, because they hold here anyway. None is passed over."""
        for one in said:
            if one is not None:
                self._outcomes.setdefault(id(one), ("alike", one))

    def settled(self, said: Located) -> bool:
        """Return whether the outcome of a value is recorded."""
        return id(said) in self._outcomes

    def open(self) -> Iterator[tuple[str, Located]]:
        """Yield the registered values without an outcome, each with its path."""
        return ((path, said) for path, said in self._entered.items() if not self.settled(said))

    def outcomes(self) -> Mapping[str, Outcome]:
        """Return path → the outcome of its value. For use once `open` yields none: a value without an outcome raises KeyError."""
        return {path: self._outcomes[id(said)][0] for path, said in self._entered.items()}


def apart(said: Located) -> Located:
    """Return the same mapping with copies of its values: a YAML anchor's value may be in several mappings, each with its own outcome.

    A value that is no mapping is returned as it is.
    """
    return (
        Located(said.place, {key: Located(one.place, one.value) for key, one in said.table.items()})
        if isinstance(said.value, Mapping)
        else said
    )
