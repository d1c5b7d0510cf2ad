"""Enforcement of a declared limit: admission of an answer, and settlement of what it used."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from router.config.limits import Limit
from router.config.rates import Rate, written_rate, written_spend
from router.errors import TooMany
from router.quotas.store import ADDRESS, USER, CountStore, Crowd, Taken, crowd_of
from router.usage import Usage

Headers = list[tuple[bytes, bytes]]
BUDGETS = {"tokens": written_rate, "spend": written_spend}
"""Fields of a limit that are charged once an answer is over → the function that writes their rate."""
AGAIN = 1.0
"""Seconds until a client at its limit of concurrent answers may retry: the length of an answer is not known."""


@dataclass(slots=True)
class Admission:
    """Permission for one answer, which its holder settles. `headers`: the RateLimit headers (draft-ietf-httpapi-ratelimit-headers)."""

    quota: "Quota"
    key: str
    headers: Headers = field(default_factory=Headers)
    left: float = math.inf
    """Requests that are left now; infinite where they are not limited."""
    used: float = 0.0
    """The larger used share of its limits on tokens and on money at admission, from 0 to 1."""
    entered: bool = False
    taken: list[Taken] = field(default_factory=list[Taken])

    async def more(self, count: int) -> None:
        """Count `count` further requests, where requests are limited. TooMany if the limit is reached."""
        for _ in range(count):
            await self.quota.take(self)

    def withdraw(self) -> None:
        """Cancel the admission: the requests are given back, and no tokens or dollars are counted."""
        while self.taken:
            self.quota.store.give_back(f"{self.key}:requests", self.taken.pop())
        self.settle(None, None)

    def leave(self) -> None:
        """Free the concurrent place of a finished answer."""
        if self.entered:
            self.entered = False
            self.quota.store.leave(f"{self.key}:concurrent")

    def settle(self, usage: Usage | None, cost: float | None) -> None:
        """Count the tokens and dollars of the answer, as far as they are known, and free its place."""
        self.leave()
        declared, store = self.quota.declared, self.quota.store
        if declared.tokens is not None and usage is not None:
            store.spend(f"{self.key}:tokens", usage.total_tokens, declared.tokens.seconds)
        if declared.spend is not None and cost is not None:
            store.spend(f"{self.key}:spend", cost, declared.spend.seconds)


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """The use of a limit on tokens or money.

    most: as it is written, e.g. 5USD/day
    used: the used share, from 0 on; None where each user, address or caller is counted by itself
    subjects: the number of users or addresses that have used some of it; None where it is not known
    largest: the largest share that one of them has used; None as above
    """

    limit: str
    most: str
    used: float | None = None
    subjects: int | None = None
    largest: float | None = None


class Quota:
    """A limit and its store. `name`: the route or caller that the limit belongs to."""

    def __init__(self, name: str, declared: Limit, store: CountStore) -> None:
        self.name = name
        self.declared = declared
        self.store = store
        kind = {"ip": ADDRESS, "user": USER}.get(declared.per, "")
        self._of = f"{name}\n{declared.spelled}\n"
        self._prefix = f"{kind}{hashlib.sha256(self._of.encode()).hexdigest()[:16]}-" if kind else ""

    def times(self, factor: int) -> "Quota":
        """Return the same limit multiplied by `factor`, counted separately."""
        return self if factor == 1 else Quota(self.name, self.declared.times(factor), self.store)

    def per_caller(self) -> "Quota":
        """Return this limit counted by caller, for requests that name no end user."""
        return Quota(self.name, replace(self.declared, per="key"), self.store)

    async def admit(self, subject: str) -> Admission:
        """Admit one answer for this subject. TooMany where a limit is reached."""
        admission = Admission(self, self._key(subject))
        await self._spendable(admission)
        entered = False
        try:
            await self._enter(admission)
            entered = True
        finally:
            if not entered:  # also where the request is cancelled in between
                admission.withdraw()
        return admission

    async def uses(self, subject: str) -> list[BudgetUse]:
        """Return how much of each limit on tokens and money this subject has used; no entry for limits on requests."""
        key = self._key(subject)
        shares = [
            (name, rate, (await self.store.spent(f"{key}:{name}", rate.seconds)).after() / rate.count) for name, rate in self._budgets
        ]
        return [BudgetUse(name, BUDGETS[name](rate), share) for name, rate, share in shares]

    async def uses_of_each(self, crowds: Mapping[str, Crowd]) -> list[BudgetUse]:
        """Return the number of users or addresses that have used some of each limit on tokens and money, and the largest share of one.

        `crowds`: as the store returns them. Where the limit does not count users or addresses, both are None.
        """
        if not self._prefix:
            return [BudgetUse(name, BUDGETS[name](rate)) for name, rate in self._budgets]
        found: list[BudgetUse] = []
        for name, rate in self._budgets:
            crowd = crowds.get(crowd_of(f"{self._prefix}:{name}"), Crowd())
            spent = [(await self.store.spent(key, rate.seconds)).after() for key in crowd.fullest]
            found.append(BudgetUse(name, BUDGETS[name](rate), None, crowd.count, max(spent, default=0.0) / rate.count))
        return found

    @property
    def _budgets(self) -> list[tuple[str, Rate]]:
        return [(name, rate) for name in BUDGETS if (rate := getattr(self.declared, name)) is not None]

    def _key(self, subject: str) -> str:
        """Return the key of a subject: a hash, without the subject's own text (an address, a name). A changed limit has other keys."""
        return self._prefix + hashlib.sha256((self._of + subject).encode()).hexdigest()[:32]

    async def _enter(self, admission: Admission) -> None:
        """Take a concurrent place and one request, where these are limited."""
        if self.declared.concurrent is not None:
            admission.entered = await self.store.enter(f"{admission.key}:concurrent", self.declared.concurrent)
            if not admission.entered:
                raise TooMany("concurrent", AGAIN)
        await self.take(admission)

    async def take(self, admission: Admission) -> None:
        """Take one request for an admission, where requests are limited. TooMany if none is left."""
        if (rate := self.declared.requests) is None:
            return
        taken = await self.store.take(f"{admission.key}:requests", int(rate.count), rate.seconds)
        admission.headers, admission.left = _headers("requests", rate.count, rate.seconds, taken.left, taken.reset), taken.left
        if not taken.allowed:
            raise TooMany("requests", math.ceil(taken.reset), headers=admission.headers)
        admission.taken.append(taken)

    async def _spendable(self, admission: Admission) -> None:
        """Raise TooMany if earlier answers have used up a limit on tokens or money. The answer that exceeds it is not cut off."""
        for name, rate in (("tokens", self.declared.tokens), ("spend", self.declared.spend)):
            if rate is None:
                continue
            spent = await self.store.spent(f"{admission.key}:{name}", rate.seconds)
            counts = spent.after()
            if counts >= rate.count:
                wait = math.floor(spent.until(rate.count)) + 1  # just then all of it is used, a moment later not quite
                raise TooMany(name, wait, headers=_headers(name, rate.count, rate.seconds, 0, wait))
            admission.used = max(admission.used, counts / rate.count)


def _headers(name: str, quota: float, seconds: float, left: float, reset: float) -> Headers:
    policy = f'"{name}";q={math.floor(quota)};w={math.ceil(seconds)}'
    now = f'"{name}";r={max(0, math.floor(left))};t={max(0, math.ceil(reset))}'
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", now.encode())]
