"""A target as the chain sees it: what it can do, how it has fared, and the pool it stands in."""

import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from router.chat import FileSort
from router.config.declaration import Breaker as BreakerDeclared
from router.config.declaration import Retry
from router.events import Answer
from router.failover.allowance import Allowance
from router.failover.breaker import NOBODY, Breaker, Clock, Hint
from router.failover.load import Load, Pace
from router.failover.prefixes import Prefixes
from router.failover.refusals import Refusals

SKIPPED: dict[FileSort, str] = {"image": "skipped_vision", "document": "skipped_documents"}
"""Sort of a file → the outcome of a target that was not asked, since it reads no such file."""
RESERVE = 10
"""Second tries that a target which answered nobody yet may have in all."""

Takes = Callable[[FileSort], bool | None]
"""Whether a target reads files of a sort; None where nobody knows."""


def everything(_: FileSort) -> bool | None:
    """What a target reads that passes over nothing: a script."""
    return True


def forgetful(_: FileSort) -> None:
    """What a target learns of which nothing is remembered."""


Window = Callable[[], Awaitable[int | None]]
"""Looks up how many tokens a target can read; None where nobody knows."""


async def unknown() -> int | None:
    """The window of a target of which nobody said."""
    return None


class Standing:
    """How a target has fared lately, shared by every request that asks it in the same way."""

    def __init__(
        self, breaker: Breaker, pace: Pace, load: Load, retries: Allowance, *, refusals: Refusals, clock: Clock = time.monotonic
    ) -> None:
        self.clock = clock
        self.breaker = breaker
        self.pace = pace
        self.load = load
        self.retries = retries
        self.refusals = refusals
        self.prefixes = Prefixes(clock)


def standing(
    breaker: BreakerDeclared | None = None,
    retry: Retry | None = None,
    load: Load | None = None,
    clock: Clock = time.monotonic,
    hint: Hint = NOBODY,
    *,
    refusals: Refusals | None = None,
) -> Standing:
    """That of a target nobody has asked yet. `load` and `refusals` may be shared with others: they are the target's, whoever asks."""
    declared = breaker or BreakerDeclared()
    retries = Allowance((retry or Retry()).budget, reserve=RESERVE, most=RESERVE)
    refusals = refusals or Refusals(clock=clock)
    return Standing(Breaker(declared, clock, hint), Pace(declared, clock), load or Load(clock), retries, refusals=refusals, clock=clock)


Position = Literal["auto", "drain", "open"]
"""Where an operator has put a target: auto leaves it to itself; drain gives it no new question; open does as if its breaker were
open, and afterwards one request at a time tries it, as after a failure.
"""


class Switches:
    """What an operator says of targets while they serve: without an edit, and over all edits until it is said otherwise, those that
    take a target away and bring it back among them. So they know names, and no targets.
    """

    def __init__(self) -> None:
        self._positions: dict[str, Position] = {}

    def of(self, name: str) -> Position:
        """Where this target is put."""
        return self._positions.get(name, "auto")

    def put(self, name: str, position: Position) -> None:
        """Put it there."""
        if position == "auto":
            self._positions.pop(name, None)
        else:
            self._positions[name] = position

    @property
    def positions(self) -> Mapping[str, Position]:
        """All that are not left to themselves."""
        return dict(self._positions)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target as the chain sees it."""

    name: str
    answer: Answer
    window: Window = unknown
    prefill: bool = False
    """Whether it goes on from the assistant's last words, if it is given any."""
    standing: Standing = field(default_factory=standing)
    switches: Switches = field(default_factory=Switches)
    ready: Callable[[], Awaitable[None]] | None = None
    """Waits until it can be asked at all, where that takes time which is not the target's: a library is imported."""
    takes: Takes = everything
    refused: Callable[[FileSort], None] = forgetful
    """Remembers that it refused a file of this sort."""
    stand_in: bool = False
    """Whether it is a script behind models of its route: it answers for them while they fail, and reads nothing."""

    def lacks(self, shows: Iterable[FileSort]) -> str:
        """The outcome of a question that shows such files: it is known not to read one of them. Empty where it may be asked."""
        return next((SKIPPED[sort] for sort in sorted(shows, reverse=True) if self.takes(sort) is False), "")

    def doubt(self, shows: Iterable[FileSort]) -> int:
        """How late it is asked what shows such files: 0 where it reads them, 1 where nobody knows, 2 for a script that stands in."""
        return 2 if self.stand_in else int(any(self.takes(sort) is None for sort in shows))

    @property
    def off(self) -> bool:
        """Whether an operator has no question go to it."""
        return self.switches.of(self.name) != "auto"

    @property
    def left_alone(self) -> bool:
        """Whether it would not be asked now."""
        return self.off or self.standing.breaker.wait() > 0


Balance = Literal["least_busy", "latency"]


@dataclass(frozen=True, slots=True)
class Pool:
    """Targets that share the questions. `weights`: by these, where there are any; else by how the targets fare."""

    members: tuple[Candidate, ...]
    weights: tuple[float, ...] = ()
    balance: Balance = "least_busy"
    places: tuple[int, ...] = ()
    """Where each stands among all targets of the route, by which a question names those whose condition holds."""

    def among(self, held: frozenset[int], taken: set[str]) -> "Pool":
        """The pool of those whose condition holds, without what is `taken` by an entry before; these are taken from now on."""
        kept: list[int] = []
        for at, (member, place) in enumerate(zip(self.members, self.places, strict=True)):
            if place in held and member.name not in taken:
                taken.add(member.name)
                kept.append(at)
        weights = tuple(self.weights[at] for at in kept) if self.weights else ()
        return replace(self, members=tuple(self.members[at] for at in kept), weights=weights, places=tuple(self.places[at] for at in kept))

    def order(self, chance: random.Random) -> Sequence[Candidate]:
        """Who is asked first this time, and who after that. One that is left alone comes last."""
        if len(self.members) == 1:
            return self.members
        return sorted(self._chosen(chance), key=lambda one: one.left_alone)

    def _chosen(self, chance: random.Random) -> list[Candidate]:
        shuffled = chance.sample(self.members, len(self.members))
        if self.weights:
            # Efraimidis and Spirakis: each first as often as its weight says, and then each second among the rest.
            drawn = [(chance.random() ** (1 / weight), member) for weight, member in zip(self.weights, self.members, strict=True)]
            return [member for _, member in sorted(drawn, key=lambda pair: -pair[0])]
        if self.balance == "least_busy":
            return sorted(shuffled, key=lambda one: one.standing.load.busy)
        # The better of two: always the best of all would send everybody to the same one at once.
        first = min(shuffled[:2], key=lambda one: one.standing.load.cost)
        return [first, *(one for one in shuffled if one is not first)]
