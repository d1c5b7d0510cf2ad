"""One declared limit, held against whoever asks."""

import hashlib
import math
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from router.config.limits import Limit
from router.errors import TooMany
from router.quotas.store import ADDRESS, USER, Store, Taken
from router.usage import Usage

Headers = list[tuple[bytes, bytes]]
AGAIN = 1.0
"""Seconds after which somebody who gives one answer fewer may be welcome: nobody knows how long an answer takes."""


@dataclass(slots=True)
class Admission:
    """Leave to be answered once. Whoever has it settles it. `headers` say what is left (draft-ietf-httpapi-ratelimit-headers)."""

    quota: "Quota"
    key: str
    headers: Headers = field(default_factory=Headers)
    left: float = math.inf
    """Requests that may still come now; no end of them where they are not limited."""
    used: float = 0.0
    """The used share of its limits on tokens and money, the larger of the two, when it was given: from 0 to 1."""
    entered: bool = False
    taken: Taken | None = None

    def withdraw(self) -> None:
        """Nothing comes of it: it is as if it had not been asked for."""
        if self.taken is not None:
            self.quota.store.give_back(f"{self.key}:requests", self.taken)
            self.taken = None
        self.settle(None, None)

    def leave(self) -> None:
        """The answer is over, whatever it took: its place is free."""
        if self.entered:
            self.entered = False
            self.quota.store.leave(f"{self.key}:concurrent")

    def settle(self, usage: Usage | None, cost: float | None) -> None:
        """The answer is over: it took so many tokens and so many dollars, as far as anybody knows."""
        self.leave()
        declared, store = self.quota.declared, self.quota.store
        if declared.tokens is not None and usage is not None:
            store.spend(f"{self.key}:tokens", usage.total_tokens, declared.tokens.seconds)
        if declared.spend is not None and cost is not None:
            store.spend(f"{self.key}:spend", cost, declared.spend.seconds)


class Quota:
    """A limit, and where it is counted. `name`: of the route or caller whose it is."""

    def __init__(self, name: str, declared: Limit, store: Store) -> None:
        self.name = name
        self.declared = declared
        self.store = store

    def times(self, factor: int) -> "Quota":
        """Return the same limit with `factor` times as much of everything, counted apart."""
        return self if factor == 1 else Quota(self.name, self.declared.times(factor), self.store)

    def per_caller(self) -> "Quota":
        """Return the same limit for requests that name no end user: they count with their caller."""
        return Quota(self.name, replace(self.declared, per="key"), self.store)

    async def admit(self, subject: str) -> Admission:
        """Leave for this subject to be answered once; TooMany where that would be too much."""
        # What a subject is called (an address, a name) stands in no key; and a limit that is declared otherwise counts anew.
        digest = hashlib.sha256(f"{self.name}\n{self.declared}\n{subject}".encode()).hexdigest()[:32]
        key = {"ip": ADDRESS, "user": USER}.get(self.declared.per, "") + digest
        admission = Admission(self, key)
        await self._spendable(admission)
        with ExitStack() as undo:  # also where the request is cancelled in between
            undo.callback(admission.withdraw)
            await self._enter(admission)
            undo.pop_all()
        return admission

    async def _enter(self, admission: Admission) -> None:
        """Take a place at one time, and one request, where these are limited."""
        if self.declared.concurrent is not None:
            admission.entered = await self.store.enter(f"{admission.key}:concurrent", self.declared.concurrent)
            if not admission.entered:
                raise TooMany("concurrent", AGAIN)
        if self.declared.requests is not None:
            rate = self.declared.requests
            taken = await self.store.take(f"{admission.key}:requests", int(rate.count), rate.seconds)
            admission.headers, admission.left = _headers("requests", rate.count, rate.seconds, taken.left, taken.reset), taken.left
            if not taken.allowed:
                raise TooMany("requests", math.ceil(taken.reset), headers=admission.headers)
            admission.taken = taken

    async def _spendable(self, admission: Admission) -> None:
        """What was spent stops the next answer, not the one that spends it."""
        for name, rate in (("tokens", self.declared.tokens), ("spend", self.declared.spend)):
            if rate is None:
                continue
            spent = await self.store.spent(f"{admission.key}:{name}", rate.seconds)
            if spent.after() >= rate.count:
                wait = math.floor(spent.until(rate.count)) + 1  # just then all of it is used, a moment later not quite
                raise TooMany(name, wait, headers=_headers(name, rate.count, rate.seconds, 0, wait))
            admission.used = max(admission.used, spent.after() / rate.count)


def _headers(name: str, quota: float, seconds: float, left: float, reset: float) -> Headers:
    policy = f'"{name}";q={math.floor(quota)};w={math.ceil(seconds)}'
    now = f'"{name}";r={max(0, math.floor(left))};t={max(0, math.ceil(reset))}'
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", now.encode())]
