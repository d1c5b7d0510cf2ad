"""Whether a target refuses every question: its key was revoked, its model is gone, its certificate is not trusted, or all it says is 400.

    answers ──one refusal that holds for every question──▶ refuses ──an answer to a question that was asked later──▶ answers
            ──RUN refusals of single questions in a row,
              the last of them LASTING seconds after the first──▶ refuses

Timeouts, rate limits and failures of the provider say nothing of this, nor do conversations that are too long and content filters.
An answer is one from its first event on. Memory is constant; times are those of the clock that is given.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from router.errors import ContentFiltered, ContextTooLong, TargetDenied, TargetRefused
from router.failover.breaker import Clock

Reason = Literal["unauthorized", "payment_required", "forbidden", "not_found", "proxy", "tls", "no_library", "bad_request"]
"""Why a target refuses. `bad_request`: it refused many questions in a row, and a status says no more."""

REASONS: dict[str, Reason] = {
    "status_401": "unauthorized",
    "status_402": "payment_required",
    "status_403": "forbidden",
    "status_404": "not_found",
    "status_407": "proxy",
    "proxy_login": "proxy",
    "proxy_denied": "proxy",
    "proxy_tls": "proxy",
    "tls": "tls",
    "no_library": "no_library",
}
"""Outcome of a try → what it says of the target; every other one of a target that denies us is about the key."""
OURS = frozenset({"file_address", "no_tools", "unsupported_parameter"})
"""Outcomes by which the router itself refused a question, before the target saw it."""
RUN = 10
"""Refusals in a row after which the questions are not to blame."""
LASTING = 60.0
"""Seconds between the first and the last of them: one client that tries the same bad question again and again is quicker."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A target that refuses every question. Times by the target's clock, in seconds.

    since: when the first question was asked that it refused
    as_of: an answer to a question that was asked at this time or later ends it
    """

    reason: Reason
    since: float
    as_of: float


@dataclass(frozen=True, slots=True)
class Turn:
    """A target began to refuse, refuses for another reason, or answers again (`refusal` is then the one that is over).
    `lasted`: seconds since the refusals began.
    """

    target: str
    refusal: Refusal
    refuses: bool
    lasted: float


Listener = Callable[[Turn], None]
"""Is shown each turn. It must neither fail nor wait."""


class Refusals:
    """What a target refused lately, over every route that asks it. `listeners` are shown each change of `now`."""

    def __init__(self, target: str = "", clock: Clock = time.monotonic, listeners: Sequence[Listener] = ()) -> None:
        self.now: Refusal | None = None
        """How it refuses; None while it answers, or nothing is known."""
        self.answered = -math.inf
        """When the newest question was asked of which an answer began."""
        self._target = target
        self.clock = clock
        self._listeners = listeners
        self._run = 0
        """Single questions refused since the last answer."""
        self._first = 0.0
        """When the first of them was asked."""

    def answers(self, asked: float) -> None:
        """An answer to the question of this time has begun."""
        self.answered = max(self.answered, asked)
        if asked >= self._first:
            self._run = 0
        if self.now is not None and asked >= self.now.as_of:
            over, self.now = self.now, None
            self._turned(over, refuses=False)

    def refused(self, asked: float, error: TargetRefused) -> None:
        """The question of this time was refused. A refusal that an answer has overtaken says nothing."""
        if asked < self.answered or error.outcome in OURS or isinstance(error, ContextTooLong | ContentFiltered):
            return
        if isinstance(error, TargetDenied) and error.certain:
            self._run = 0
            self._refuses(REASONS.get(error.outcome, "unauthorized"), asked, asked)
            return
        if not self._run:
            self._first = asked
        self._run += 1
        if self._run >= RUN and asked - self._first >= LASTING:
            self._refuses(REASONS.get(error.outcome, "bad_request"), self._first, self._first)

    def _refuses(self, reason: Reason, since: float, as_of: float) -> None:
        before = self.now
        if before is None:
            self.now = Refusal(reason, since, as_of)
        else:
            self.now = replace(before, reason=reason, as_of=max(before.as_of, as_of))
        if before is None or before.reason != reason:
            self._turned(self.now, refuses=True)

    def _turned(self, refusal: Refusal, *, refuses: bool) -> None:
        turn = Turn(self._target, refusal, refuses, max(0.0, self.clock() - refusal.since))
        for listener in self._listeners:
            listener(turn)
