"""What became of each value of the original: none is dropped in silence, by construction.

Every value is entered when it is read. Whoever carries one over, or tells of it in a comment, says so here; one that nobody has
settled when the page is done is told of there. So code that forgets a value, or takes it over in some cases alone, leaves a comment
too many, never one too few.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from router.config.foreign import Said

Outcome = Literal["carried", "told", "alike"]
"""carried: it stands in what is written; told: a comment says that it does not; alike: it says what is so here, or does nothing there."""


@dataclass(slots=True)
class Account:
    """The values of a config by their paths, e.g. `model_list[0].litellm_params.rpm`. A list or mapping below such a key goes with it."""

    _entered: dict[str, Said] = field(default_factory=dict[str, Said])
    _outcomes: dict[int, tuple[Outcome, Said]] = field(default_factory=dict[int, tuple[Outcome, Said]])
    """Value, by its identity: each is entered once, see `apart`. It is kept, lest another one gets its identity."""

    def enter(self, path: str, said: Said) -> None:
        """Note a value that has to be settled; one that is empty says nothing."""
        self._entered[path] = said
        if said.value is None or said.value in ("", ()) or said.value == {}:
            self.agree(said)

    def carry(self, *said: Said | None) -> None:
        """Settle values that are carried over."""
        for one in said:
            if one is not None:
                self._outcomes[id(one)] = "carried", one

    def tell(self, *said: Said | None) -> None:
        """Settle values that a comment tells of; what is carried over in another place stays so."""
        for one in said:
            if one is not None and self._outcomes.get(id(one), ("", one))[0] != "carried":
                self._outcomes[id(one)] = "told", one

    def agree(self, *said: Said | None) -> None:
        """Settle values that need no comment."""
        for one in said:
            if one is not None:
                self._outcomes.setdefault(id(one), ("alike", one))

    def settled(self, said: Said) -> bool:
        """Whether somebody has said what became of it."""
        return id(said) in self._outcomes

    def open(self) -> Iterator[tuple[str, Said]]:
        """Values that nobody has settled."""
        return ((path, said) for path, said in self._entered.items() if not self.settled(said))

    def outcomes(self) -> Mapping[str, Outcome]:
        """Path → what became of the value."""
        return {path: self._outcomes[id(said)][0] for path, said in self._entered.items()}


def apart(said: Said) -> Said:
    """The same mapping with values of its own: an anchor's value may stand in several, and be carried over in one of them alone."""
    return (
        Said(said.place, {key: Said(one.place, one.value) for key, one in said.table.items()}) if isinstance(said.value, Mapping) else said
    )
