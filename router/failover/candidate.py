"""A target as the chain sees it: what it can do, how it has fared, and the pool it stands in."""

import hashlib
import math
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


CROWDED = 1.5
"""Times its share of a pool's questions in flight that one target may have before a chat that is its own goes elsewhere."""
SPARE = 4
"""Questions in flight that it may have besides, so that a few at once move no chat."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Targets that share the questions. `weights`: by these, where there are any; else by how the targets fare. `affinity`: whether a chat
    stays with one of them.
    """

    members: tuple[Candidate, ...]
    weights: tuple[float, ...] = ()
    balance: Balance = "least_busy"
    places: tuple[int, ...] = ()
    """Where each stands among all targets of the route, by which a question names those whose condition holds."""
    affinity: Literal["chat", "off"] = "chat"

    def among(self, held: frozenset[int], taken: set[str]) -> "Pool":
        """The pool of those whose condition holds, without what is `taken` by an entry before; these are taken from now on."""
        kept: list[int] = []
        for at, (member, place) in enumerate(zip(self.members, self.places, strict=True)):
            if place in held and member.name not in taken:
                taken.add(member.name)
                kept.append(at)
        weights = tuple(self.weights[at] for at in kept) if self.weights else ()
        return replace(self, members=tuple(self.members[at] for at in kept), weights=weights, places=tuple(self.places[at] for at in kept))

    def order(self, chance: random.Random, session: str = "") -> Sequence[Candidate]:
        """Who is asked first this time, and who after that. One that is left alone comes last. `session`: what all questions of a chat
        share, see `Ask.session`; empty for a question that is of none.
        """
        if len(self.members) == 1:
            return self.members
        if session and self.affinity == "chat":
            return sorted(self._of(session), key=lambda one: (one.left_alone, self._crowded(one)))
        return sorted(self._chosen(chance), key=lambda one: one.left_alone)

    def _of(self, session: str) -> list[Candidate]:
        """Return the members in the order of this session, by weighted rendezvous hashing.

        Each session has an order of its own, the same in every replica and worker. A target is first for a share of the sessions
        that its weight says. A target that comes or goes moves only the sessions that become, or were, its own (Schindelhauer and
        Schomaker, Weighted Distributed Hash Tables, 2005).
        """
        weights = self.weights or (1.0,) * len(self.members)
        ranked = [(-weight / math.log(_drawn(session, one.name)), one) for weight, one in zip(weights, self.members, strict=True)]
        return [one for _, one in sorted(ranked, key=lambda pair: -pair[0])]

    def _crowded(self, member: Candidate) -> bool:
        """Return whether a member has too many questions in flight for its share, so that a chat fares better without its cache
        (Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with Bounded Loads, 2018).
        """
        weights = self.weights or (1.0,) * len(self.members)
        share = weights[self.members.index(member)] / sum(weights)
        total = sum(one.standing.load.busy for one in self.members)
        return member.standing.load.busy > CROWDED * share * total + SPARE

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


def _drawn(session: str, name: str) -> float:
    """Return a number between 0 and 1 (both excluded) that depends on these two alone."""
    digest = hashlib.blake2b(f"{session}\n{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 11) + 0.5) / 2**53
