"""Enforcement of a declared limit: admission before an answer, and counting of what the answer used once it is over."""

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache

from router.config.limits import Limit, Rate, written_rate, written_spend
from router.errors import TooMany
from router.quotas.store import ADDRESS, USER, CountStore, Crowd, Taken, crowd_of
from router.usage import Usage
from router.value import Mutable, Value, field, replace

Headers = list[tuple[bytes, bytes]]
BUDGETS = {"tokens": written_rate, "spend": written_spend}
"""Fields of a limit that are charged once an answer is over → the function that writes their rate."""
AGAIN = 1.0
"""Seconds that a client at its limit of concurrent answers is asked to wait: when a place becomes free is not known."""


class Admission(Mutable):
    """Permission for one answer. Its holder calls `settle` once when the answer is over, or `withdraw` if there is none.

    key: the subject's key in the store
    headers: the RateLimit headers (draft-ietf-httpapi-ratelimit-headers); empty where requests are not limited
    entered: true while it holds a concurrent place
    taken: the requests that it has taken
    """

    quota: "Quota"
    key: str
    headers: Headers = field(default_factory=Headers)
    left: float = math.inf
    """Requests that are left now; infinite where requests are not limited."""
    used: float = 0.0
    """The larger used share of the limits on tokens and on money at admission, from 0 to less than 1; 0 without such limits."""
    entered: bool = False
    taken: list[Taken] = field(default_factory=list[Taken])

    async def more(self, count: int) -> None:
        """Take `count` further requests, where they are limited. Raises TooMany at the limit; those taken before it count until `withdraw`."""
        for _ in range(count):
            await self.quota.take(self)

    def withdraw(self) -> None:
        """Cancel the admission: give back all its requests, and free its concurrent place. No tokens or dollars are counted."""
        while self.taken:
            self.quota.store.give_back(f"{self.key}:requests", self.taken.pop())
        self.settle(None, None)

    def leave(self) -> None:
        """Free the concurrent place, if this admission holds one; tokens and dollars are not counted here."""
        if self.entered:
            self.entered = False
            self.quota.store.leave(f"{self.key}:concurrent")

    def settle(self, usage: Usage | None, cost: float | None) -> None:
        """Free the concurrent place, and count the tokens and the `cost` (dollars) of the answer, where they are limited and not None."""
        self.leave()
        used = {"tokens": None if usage is None else usage.total_tokens, "spend": cost}
        for name, rate in self.quota.budgets:
            if (amount := used[name]) is not None:
                self.quota.store.spend(f"{self.key}:{name}", amount, rate.seconds)


class BudgetUse(Value, frozen=True):
    """The use of one limit on tokens or money, either of one count or of all its users or addresses together.

    limit: `tokens` or `spend`
    most: the limit as it is written, e.g. 5USD/day
    used: the share used by all requests or by one declared caller, 1 for all of it, more if it was exceeded;
        None where each user, address or unknown caller is counted by itself
    subjects: the number of users or addresses that have used some of it; None where the limit does not count users or addresses
    largest: the largest share that one of them has used; None where `subjects` is
    """

    limit: str
    most: str
    used: float | None = None
    subjects: int | None = None
    largest: float | None = None


class Quota:
    """A declared limit and the store of its counts. `name`: the route or caller that the limit belongs to."""

    def __init__(self, name: str, declared: Limit, store: CountStore) -> None:
        self.name = name
        self.declared = declared
        self.store = store
        kind = {"ip": ADDRESS, "user": USER}.get(declared.per, "")
        self.budgets: list[tuple[str, Rate]] = [(one, rate) for one in BUDGETS if (rate := getattr(declared, one)) is not None]
        self._of = f"{name}\n{declared.spelled}\n"
        self._prefix = f"{kind}{hashlib.sha256(self._of.encode()).hexdigest()[:16]}-" if kind else ""

    def times(self, factor: int) -> "Quota":
        """Return this limit with all numbers multiplied by `factor`, and with counts of its own; the same object for a factor of 1."""
        return self if factor == 1 else Quota(self.name, self.declared.times(factor), self.store)

    def per_caller(self) -> "Quota":
        """Return this limit counted by caller, with counts of its own, for requests that name no end user."""
        return Quota(self.name, replace(self.declared, per="key"), self.store)

    async def admit(self, subject: str) -> Admission:
        """Check tokens and money, then take a concurrent place and one request, at once. Raises TooMany, and keeps nothing, at a limit."""
        admission = Admission(self, self._key(subject))
        await self._spendable(admission)
        admitted = False
        try:
            if self.declared.concurrent is not None:
                admission.entered = await self.store.enter(f"{admission.key}:concurrent", self.declared.concurrent)
                if not admission.entered:
                    raise TooMany("concurrent", AGAIN)
            await self.take(admission)
            admitted = True
        finally:
            if not admitted:  # also where the request is cancelled in between
                admission.withdraw()
        return admission

    async def uses(self, subject: str) -> list[BudgetUse]:
        """Return the share that this subject has used of each limit on tokens and money; no entry for requests and concurrent places."""
        found: list[BudgetUse] = []
        for name, rate in self.budgets:
            spent = await self.store.spent(f"{self._key(subject)}:{name}", rate.seconds)
            found.append(BudgetUse(name, BUDGETS[name](rate), spent.after() / rate.count))
        return found

    async def uses_of_each(self, crowds: Mapping[str, Crowd]) -> list[BudgetUse]:
        """Return, for each limit on tokens and money, how many users or addresses have used some of it, and the largest share of one.

        If this limit does not count users or addresses, the entries have None for both. `crowds`: as the store's `crowds` returns them.
        """
        if not self._prefix:
            return [BudgetUse(name, BUDGETS[name](rate)) for name, rate in self.budgets]
        found: list[BudgetUse] = []
        for name, rate in self.budgets:
            crowd = crowds.get(crowd_of(f"{self._prefix}:{name}"), Crowd())
            spent = [(await self.store.spent(key, rate.seconds)).after() for key in crowd.fullest]
            found.append(BudgetUse(name, BUDGETS[name](rate), None, crowd.count, max(spent, default=0.0) / rate.count))
        return found

    def _key(self, subject: str) -> str:
        """Return the key of a subject in the store: a hash of limit and subject, so that a changed limit has other keys.

        Where the limit counts users or addresses, `user:` or `ip:` and a hash of the limit stand before it. The subject's own text (an
        address, a name) is not in it.
        """
        return self._prefix + hashlib.sha256((self._of + subject).encode()).hexdigest()[:32]

    async def take(self, admission: Admission) -> None:
        """Take one request for an admission, where requests are limited, and update its headers. Raises TooMany if none is left."""
        if (rate := self.declared.requests) is None:
            return
        taken = await self.store.take(f"{admission.key}:requests", int(rate.count), rate.seconds)
        admission.headers, admission.left = _headers("requests", rate, taken.left, taken.reset), taken.left
        if not taken.allowed:
            raise TooMany("requests", math.ceil(taken.reset), headers=admission.headers)
        admission.taken.append(taken)

    async def _spendable(self, admission: Admission) -> None:
        """Raise TooMany if earlier answers have used up a limit on tokens or money; otherwise record the used share in the admission."""
        for name, rate in self.budgets:
            spent = await self.store.spent(f"{admission.key}:{name}", rate.seconds)
            if (counts := spent.after()) >= rate.count:
                wait = math.floor(spent.until(rate.count)) + 1  # just then all of it is used, a moment later not quite
                raise TooMany(name, wait, headers=_headers(name, rate, 0, wait))
            admission.used = max(admission.used, counts / rate.count)


def _headers(name: str, rate: Rate, left: int, reset: float) -> Headers:
    return [_policy(name, rate), (b"ratelimit", f'"{name}";r={max(0, left)};t={max(0, math.ceil(reset))}'.encode())]


@lru_cache(maxsize=256)
def _policy(name: str, rate: Rate) -> tuple[bytes, bytes]:
    """Return the header that declares a rate. It is the same for every request of a limit."""
    return b"ratelimit-policy", f'"{name}";q={math.floor(rate.count)};w={math.ceil(rate.seconds)}'.encode()
