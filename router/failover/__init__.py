"""Several targets as one Answer: the first that starts to speak.

    failover(targets, policy) -> Answer

The commit rule: an attempt that fails before its first event may be tried again or elsewhere; after it, another target
goes on from what was said, or the answer ends with one Failure. Retry, fallback, rescue and the deadlines live in this
folder and nowhere else.
"""

from router.failover.breaker import NOBODY, Breaker, Clock, Hint
from router.failover.candidate import Candidate, Pool, Position, Standing, Switches, standing
from router.failover.chain import PASSED_OVER, Policy, failover
from router.failover.load import Load
from router.failover.refusals import Listener, Reason, Refusal, Refusals, Turn
from router.failover.whole import embedding

__all__ = [
    "NOBODY",
    "PASSED_OVER",
    "Breaker",
    "Candidate",
    "Clock",
    "Hint",
    "Listener",
    "Load",
    "Policy",
    "Pool",
    "Position",
    "Reason",
    "Refusal",
    "Refusals",
    "Standing",
    "Switches",
    "Turn",
    "embedding",
    "failover",
    "standing",
]
