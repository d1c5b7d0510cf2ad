"""Targets that refuse every question: the key was revoked, the model is gone, the certificate is not trusted, or each status is 400.

    answers ──one refusal that holds for every question──▶ refuses ──an answer to a question that was asked later──▶ answers
            ──RUN refusals of single questions in a row,
              the last of them LASTING seconds after the first──▶ refuses

Timeouts, rate limits, failures of the provider, conversations that are too long and content filters do not count here. An answer counts
from its first event. Memory is constant; times are those of the clock that is given.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Literal

from router.errors import ContentFiltered, ContextTooLong, TargetDenied, TargetRefused
from router.failover.breaker import Clock
from router.value import Value, replace

Reason = Literal["unauthorized", "payment_required", "forbidden", "not_found", "proxy", "tls", "no_library", "bad_request"]
"""The reason of a refusal. `bad_request`: the target refused many questions in a row, and the status says no more."""

REASONS: dict[str, Reason] = {
    "status_401": "unauthorized",
    "status_402": "payment_required",
    "status_403": "forbidden",
    "status_404": "not_found",
    **dict.fromkeys(("status_407", "proxy_login", "proxy_denied", "proxy_tls"), "proxy"),
    "tls": "tls",
    "no_library": "no_library",
}
"""Outcome of an attempt → why the target refuses; every other outcome of a TargetDenied concerns the key."""
OURS = frozenset({"file_address", "no_tools", "unsupported_parameter"})
"""Outcomes of questions that the router refused itself, without asking the target."""
RUN = 10
"""Refusals of single questions in a row after which the target counts as refusing every question."""
LASTING = 60.0
"""Seconds that must lie between the first and the last of RUN refusals: a client that repeats one bad question takes less."""


class RefusingTarget(Value, frozen=True):
    """A target that refuses every question. Times are seconds by the target's clock.
    since: when the first of the refused questions was asked
    as_of: an answer to a question that was asked at this time or later ends the state
    """

    reason: Reason
    since: float
    as_of: float


class RefusalChange(Value, frozen=True):
    """A target began to refuse, refuses for another reason, or answers again.
    refusal: the present state of refusal, or the one that has just ended
    refuses: False if the target answers again
    lasted: seconds since the refusals began
    """

    target: str
    refusal: RefusingTarget
    refuses: bool
    lasted: float


Listener = Callable[[RefusalChange], None]
"""Receives each change. It must neither fail nor wait."""


class TargetRefusals:
    """The recent refusals of a target, over every route that asks it.
    `listeners` are called when it begins to refuse every question, when the reason changes, and when it answers again.
    """

    def __init__(self, target: str = "", clock: Clock = time.monotonic, listeners: Sequence[Listener] = ()) -> None:
        self.now: RefusingTarget | None = None
        """The refusal of the target; None while it answers, or nothing is known."""
        self.answered = -math.inf
        """Time at which the newest answered question was asked."""
        self._target = target
        self.clock = clock
        self._listeners = listeners
        self._run = 0
        """Single questions refused since the last answer."""
        self._first = 0.0
        """Time at which the first of them was asked."""
        self.counting = False
        """True from a refusal until an answer that ends it: otherwise an answer does no more than set `answered`."""

    def answers(self, asked: float) -> None:
        """Record that the answer to a question that was asked at this time has begun. It ends a refusal whose `as_of` is not later."""
        if asked < self.answered:
            return  # the answer to a later question has ended what this one could end
        self.answered = asked
        if self._run and asked >= self._first:
            self._run = 0
        if self.now is not None and asked >= self.now.as_of:
            over, self.now = self.now, None
            self._turned(over, refuses=False)
        self.counting = self._run > 0 or self.now is not None

    def refused(self, asked: float, error: TargetRefused) -> None:
        """Record that a question asked at this time was refused, unless a question asked later was answered.
        Ignored are refusals by the router itself (OURS), too long conversations and filtered content.
        """
        if asked < self.answered or error.outcome in OURS or isinstance(error, ContextTooLong | ContentFiltered):
            return
        self.counting = True
        if isinstance(error, TargetDenied) and error.certain:
            self._run = 0
            self._refuses(REASONS.get(error.outcome, "unauthorized"), asked)
            return
        if not self._run:
            self._first = asked
        self._run += 1
        if self._run >= RUN and asked - self._first >= LASTING:
            self._refuses(REASONS.get(error.outcome, "bad_request"), self._first)

    def _refuses(self, reason: Reason, since: float) -> None:
        before = self.now
        self.now = replace(before, reason=reason, as_of=max(before.as_of, since)) if before else RefusingTarget(reason, since, since)
        if before is None or before.reason != reason:
            self._turned(self.now, refuses=True)

    def _turned(self, refusal: RefusingTarget, *, refuses: bool) -> None:
        change = RefusalChange(self._target, refusal, refuses, max(0.0, self.clock() - refusal.since))
        for listener in self._listeners:
            listener(change)
