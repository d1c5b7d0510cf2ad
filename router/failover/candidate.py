"""A target of a route with its health, its limits and an operator's switch; and pools, which share requests between targets."""

import hashlib
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Literal

from router.chat import FileSort
from router.config.declaration import BreakerConfig as BreakerDeclared
from router.config.declaration import Retry
from router.events import Answer
from router.failover.allowance import Allowance
from router.failover.breaker import NO_HINT, Breaker, Clock, Hint, Permit
from router.failover.load import Load, Pace
from router.failover.prefixes import Prefixes
from router.failover.refusals import TargetRefusals
from router.value import Value, field, replace

SKIPPED: dict[FileSort, str] = {"image": "skipped_vision", "document": "skipped_documents", "audio": "skipped_audio"}
"""Sort of a file → the outcome of a target that was not asked because it does not read such files."""
RESERVE = 10
"""Tokens in the retry budget of a target at the beginning, and at most."""


async def unknown() -> int | None:
    """Return None: the size of the target's context window is not known."""
    return None


NEVER_SLOW = Pace(BreakerDeclared())
"""The pace of every target whose `breaker` declares no time after which a first token is late."""


class TargetHealth:
    """The breaker, pace, load, retry budget and refusals of a target. Routes with equal `breaker` and `retry` settings share it.
    `load` and `refusals` may be shared with other healths: they belong to the target, whichever route asks it.
    """

    def __init__(
        self,
        breaker: BreakerDeclared | None = None,
        retry: Retry | None = None,
        load: Load | None = None,
        clock: Clock = time.monotonic,
        hint: Hint = NO_HINT,
        *,
        refusals: TargetRefusals | None = None,
    ) -> None:
        declared = breaker or BreakerDeclared()
        self.clock = clock
        self.breaker = Breaker(declared, clock, hint)
        self._paced = declared.slow is not None
        self.pace = Pace(declared, clock) if self._paced else NEVER_SLOW
        self.load = load or Load(clock)
        self.retries = Allowance((retry or Retry()).budget, reserve=RESERVE, most=RESERVE)
        self.refusals = refusals or TargetRefusals(clock=clock)
        self.prefixes = Prefixes(clock)

    def started(self, permit: Permit, asked: float) -> float:
        """Record the first word of an answer to a question that was asked at this time, and return its time to first token."""
        clock = self.clock
        now = clock()
        seconds = now - asked
        if permit.probes:
            self.breaker.began(permit)
        refusals = self.refusals
        if refusals.counting:
            refusals.answers(asked)
        elif asked > refusals.answered:
            refusals.answered = asked
        self.load.started(seconds, now)
        if self._paced:
            self.pace.started(seconds)
        return seconds


Position = Literal["auto", "drain", "open"]
"""The position in which an operator has put a target.
auto: its breaker decides
drain: it gets no new question
open: it gets no new question, as with an open breaker; back in `auto` one request at a time probes it first
"""


class Switches:
    """The positions of targets that operators set while the router serves, by the target's name: they survive its removal and return."""

    def __init__(self) -> None:
        self.moved: dict[str, Position] = {}
        """Name → position, for the targets that are not in position `auto`."""

    def of(self, name: str) -> Position:
        """Return the position of this target; `auto` if no operator has set one."""
        return self.moved.get(name, "auto")

    def put(self, name: str, position: Position) -> None:
        """Put the target into this position."""
        if position == "auto":
            self.moved.pop(name, None)
        else:
            self.moved[name] = position

    @property
    def positions(self) -> Mapping[str, Position]:
        """A copy of name → position, for the targets that are not in position `auto`."""
        return dict(self.moved)


class Candidate(Value, frozen=True):
    """A target of a route: its answer function, its health, the operator's switches, and which files it reads. Its Pool has its weight."""

    name: str
    answer: Answer
    window: Callable[[], Awaitable[int | None]] = unknown
    """Looks up how many tokens the target can read; None where that is unknown."""
    prefill: bool = False
    """True if the model accepts a prefill: it continues an assistant message at the end of the question."""
    health: TargetHealth = field(default_factory=TargetHealth)
    switches: Switches = field(default_factory=Switches)
    ready: Callable[[], Awaitable[None]] | None = None
    """Waits until the target can be asked: until its library is imported. That time does not count as the target's."""
    takes: Callable[[FileSort], bool | None] = lambda _: True
    """Returns whether the target reads files of a sort; None where that is unknown."""
    refused: Callable[[FileSort], None] = lambda _: None
    """Remembers that the target refused a file of this sort."""
    stand_in: bool = False
    """True for a script behind models of its route: it answers while they fail, and reads no files."""

    def lacks(self, shows: Iterable[FileSort]) -> str:
        """Return the outcome to record, e.g. `skipped_vision`, if the target is known not to read one of these sorts of files; else ""."""
        return next((SKIPPED[sort] for sort in sorted(shows, reverse=True) if self.takes(sort) is False), "")

    def doubt(self, shows: Iterable[FileSort]) -> int:
        """Return the rank for files of these sorts: 1 if it is unknown of a sort whether the target reads it, 2 for a stand-in, else 0."""
        return 2 if self.stand_in else int(any(self.takes(sort) is None for sort in shows))

    @property
    def off(self) -> bool:
        """True while an operator has drained the target or opened its breaker."""
        return self.name in self.switches.moved

    @property
    def left_alone(self) -> bool:
        """True while the target may not be asked: an operator's switch is set, its breaker is open, or its `Retry-After` is not over."""
        return self.off or self.health.breaker.wait() > 0


CROWDED = 1.5
"""Multiple of its share of the pool's requests in flight above which a target loses chats with affinity to others."""
SPARE = 4
"""Requests in flight that a target may have beyond that multiple, so that a few concurrent questions do not move a chat."""


class Pool(Value, frozen=True):
    """Targets that share the requests (load balancing).
    weights: the shares by weight, as many as members, if there are any; else `balance` decides
    balance: `least_busy` for the fewest requests in flight, `latency` for the shorter expected wait of two random members
    affinity: `chat` if the requests of a chat go to the same target
    """

    members: tuple[Candidate, ...]
    weights: tuple[float, ...] = ()
    balance: Literal["least_busy", "latency"] = "least_busy"
    places: tuple[int, ...] = ()
    """The position of each member among all targets of the route; `Ask.held` has the positions whose condition holds."""
    affinity: Literal["chat", "off"] = "chat"

    def among(self, held: frozenset[int], taken: set[str]) -> "Pool":
        """Return the pool of those members whose condition holds and whose names are not in `taken`; it may be empty.
        held: the positions (`places`) of the targets whose condition holds, as in `Ask.held`
        taken: names of targets in earlier pools; the names of the returned members are added to it
        """
        kept: list[int] = []
        for at, (member, place) in enumerate(zip(self.members, self.places, strict=True)):
            if place in held and member.name not in taken:
                taken.add(member.name)
                kept.append(at)
        weights = tuple(self.weights[at] for at in kept) if self.weights else ()
        return replace(self, members=tuple(self.members[at] for at in kept), weights=weights, places=tuple(self.places[at] for at in kept))

    def order(self, chance: random.Random, session: str = "") -> Sequence[Candidate]:
        """Return the members in the order in which this request, of this `Ask.session`, asks them; those that may not be asked, last."""
        if len(self.members) == 1:
            return self.members
        if session and self.affinity == "chat":
            return sorted(self._of(session), key=lambda one: (one.left_alone, self._crowded(one)))
        return sorted(self._chosen(chance), key=lambda one: one.left_alone)

    def _of(self, session: str) -> list[Candidate]:
        """Return the members in the order of this session, the same in every replica and worker, by weighted rendezvous hashing.
        A target is first for the share of the sessions that its weight says. If it comes or goes, only its own sessions move.
        Schindelhauer and Schomaker, Weighted Distributed Hash Tables, 2005.
        """
        weights = self.weights or (1.0,) * len(self.members)
        ranked = [(-weight / math.log(_drawn(session, one.name)), one) for weight, one in zip(weights, self.members, strict=True)]
        return [one for _, one in sorted(ranked, key=lambda pair: -pair[0])]

    def _crowded(self, member: Candidate) -> bool:
        """Return whether a member has more requests in flight than CROWDED × its share of the pool's + SPARE.
        A chat is then answered faster elsewhere, without its prompt cache.
        Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with Bounded Loads, 2018.
        """
        weights = self.weights or (1.0,) * len(self.members)
        share = weights[self.members.index(member)] / sum(weights)
        total = sum(one.health.load.busy for one in self.members)
        return member.health.load.busy > CROWDED * share * total + SPARE

    def _chosen(self, chance: random.Random) -> list[Candidate]:
        shuffled = chance.sample(self.members, len(self.members))
        if self.weights:
            # Efraimidis and Spirakis: each first as often as its weight says, and then each second among the rest.
            drawn = [(chance.random() ** (1 / weight), member) for weight, member in zip(self.weights, self.members, strict=True)]
            return [member for _, member in sorted(drawn, key=lambda pair: -pair[0])]
        if self.balance == "least_busy":
            return sorted(shuffled, key=lambda one: one.health.load.busy)
        # The better of two at random: always the best of all would send every request to the same target at once.
        first = min(shuffled[:2], key=lambda one: one.health.load.cost)
        return [first, *(one for one in shuffled if one is not first)]


def _drawn(session: str, name: str) -> float:
    """Return a number between 0 and 1 (both excluded) that depends on these two alone."""
    digest = hashlib.blake2b(f"{session}\n{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 11) + 0.5) / 2**53
