"""Failover for results without a stream, such as embeddings: one target makes the whole result.
Candidates, breakers, retries and time limits are those of a chat. There is no rescue: if a target fails at a part, another makes all parts.
"""

import asyncio
import random
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain, count
from typing import Generic, TypeVar

from router.attempt import LET_GO, Attempt
from router.embed import Embed, EmbedCall, Embedder, Embeddings, Split
from router.errors import ContentFiltered, TargetDown, TargetError, TargetSilent
from router.failover.attempt import TAKEN_UP, left_alone, report, tried
from router.failover.candidate import Candidate, Pool
from router.failover.chain import PASSED_OVER, FailureRules, delay, pause, unanswered, worth_retrying
from router.usage import Usage
from router.value import Mutable, replace

R = TypeVar("R")
OVERLONG = "An input is too long for the model. Please send shorter texts."


class Progress(Mutable, Generic[R]):
    """The state of one attempt: the results so far, with the tokens that were counted (`used`) and those that were estimated.
    part: the call under way; None before the first call and after each
    """

    results: list[R]
    used: Usage | None = None
    estimate: Usage | None = None
    part: EmbedCall[R] | None = None

    def came(self, result: R, counted: Usage | None) -> None:
        """Record the result of the part under way, with the usage that the provider counted or an estimate."""
        if counted is None:
            self.lost()
        else:
            self.used = counted + self.used if self.used else counted
        self.results.append(result)
        self.part = None

    def lost(self) -> None:
        """Add an estimate for the call under way: its result is lost, but its provider may charge for it."""
        if self.part is not None:
            guess = Usage(self.part.tokens())
            self.estimate = guess + self.estimate if self.estimate else guess


def embedding(pools: Sequence[Pool], splits: Mapping[str, Split], policy: FailureRules, chance: random.Random) -> Embedder:
    """Return a function that makes embeddings by the first target that can; it raises Unanswered, or a subclass, if none does.
    splits: target → the function that splits a question into its calls
    """

    async def embedder(embed: Embed) -> Embeddings:
        attempts: list[Attempt] = []
        embed.trail.calls.append(attempts)
        order = [candidate for pool in pools for candidate in pool.order(chance)]
        errand = Errand(order, policy, chance, embed, attempts)
        target, made = await errand.run({name: partial(split, embed) for name, split in splits.items()})
        last = attempts[-1]
        counted = [one for one in (last.usage, last.estimate) if one is not None]
        return Embeddings(tuple(chain.from_iterable(made)), target, sum(counted, Usage()))

    return embedder


class Errand:
    """The course of one embeddings request: `run` asks the targets in turn, with retries, until one has answered every part.
    It holds the targets not asked yet and the errors so far. `attempts`: a list to which each attempt is appended.
    """

    def __init__(
        self, order: Sequence[Candidate], policy: FailureRules, chance: random.Random, question: Embed, attempts: list[Attempt]
    ) -> None:
        self._waiting = deque(sorted(order, key=lambda one: (one.left_alone, one.health.pace.slow or one.health.breaker.hint.warned)))
        self._policy = policy
        self._chance = chance
        self._question = question
        self._attempts = attempts
        self._failed: list[TargetError] = []

    async def run(self, parts: Mapping[str, partial[Sequence[EmbedCall[R]]]]) -> tuple[str, list[R]]:
        """Return the name of the target that answered, and the results of its parts. Unanswered, or a subclass of it, if none does.
        parts: target → the function that returns the calls, one for each part, that it needs
        """
        while self._waiting:
            candidate = self._waiting.popleft()
            for tries in count(1):
                try:
                    return candidate.name, await self._once(candidate, parts[candidate.name])
                except TargetError as error:
                    if isinstance(error, TargetDown) and self._may_retry(candidate, error, tries):
                        await pause(delay(self._policy.retry, error, tries, self._chance), candidate.health.clock)
                        continue
                    self._failed.append(error)
                    if isinstance(error, ContentFiltered):
                        self._waiting.clear()
                    break
        raise unanswered(self._failed, OVERLONG)

    def _may_retry(self, candidate: Candidate, error: TargetDown, tries: int) -> bool:
        others = any(not one.left_alone for one in self._waiting)
        worth_it = worth_retrying(candidate, error, tries, self._policy, others=others, until=self._question.until)
        return worth_it and (error.outcome in PASSED_OVER or candidate.health.retries.spend())

    async def _once(self, candidate: Candidate, parts: partial[Sequence[EmbedCall[R]]]) -> list[R]:
        """Ask a candidate for every part in turn, each within the route's first-token timeout, and return the results.
        Raises the TargetError of the first part that fails, or of a candidate that may not be asked. The try is recorded in any case.
        """
        health, breaker = candidate.health, candidate.health.breaker
        began = health.clock()
        progress = Progress[R]([])

        def ended(outcome: str, wait: float | None = None) -> Attempt:
            return replace(tried(candidate, began, outcome, wait), usage=progress.used, estimate=progress.estimate)

        permit = None if candidate.off else breaker.admit()
        if permit is None:
            raise left_alone(candidate, began, self._attempts)
        health.load.busy += 1
        try:
            for part in parts():
                progress.part = part
                try:
                    async with asyncio.timeout(min(self._policy.timeout.first_token, permit.patience)):
                        result, counted = await part.call()
                except TimeoutError:
                    raise TargetSilent(candidate.name, "timeout_first_token") from None
                if not progress.results:
                    health.started(permit, began)
                progress.came(result, counted)
        except TargetError as error:
            if isinstance(error, TargetSilent) or error.outcome in TAKEN_UP:
                progress.lost()
            self._attempts.append(ended(error.outcome, error.retry_after))
            report(candidate, permit, began, error, self._question.owner)
            raise
        except asyncio.CancelledError:
            progress.lost()
            self._attempts.append(ended(LET_GO))
            raise
        else:
            made = ended("ok")
            self._attempts.append(replace(made, first=made.seconds))
            breaker.succeeded(permit)
            health.retries.earn()
            return progress.results
        finally:
            health.load.busy -= 1
            breaker.rest(permit)
