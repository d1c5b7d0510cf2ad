"""Several targets as one Answer: the first that starts to speak.

    failover(candidates, timeout, retry) -> Answer

The commit rule: an attempt that fails before its first event may be tried again or elsewhere; after it, the answer
ends with one Failure. Retry, fallback and the deadlines live in this folder and nowhere else.
"""

from router.failover.chain import Candidate, failover

__all__ = ["Candidate", "failover"]
