"""Several targets as one Answer: the answer of the first target that starts.

The commit rule: an attempt that fails before its first event may be retried or made at another target. After the first event, another
target continues the text, or the answer ends with one Failure. Retry, fallback, rescue and the deadlines live in this folder only.
"""

from router.failover.answer import failover
from router.failover.breaker import NO_HINT, Breaker, Clock, Hint
from router.failover.candidate import Candidate, Pool, Position, Switches, TargetHealth
from router.failover.chain import PASSED_OVER, FailureRules
from router.failover.load import Load
from router.failover.refusals import Listener, Reason, RefusalChange, RefusingTarget, TargetRefusals
from router.failover.whole import embedding

__all__ = [
    "NO_HINT", "PASSED_OVER", "Breaker", "Candidate", "Clock", "FailureRules", "Hint", "Listener", "Load", "Pool", "Position", "Reason",
    "RefusalChange", "RefusingTarget", "Switches", "TargetHealth", "TargetRefusals", "embedding", "failover",
]  # fmt: skip
