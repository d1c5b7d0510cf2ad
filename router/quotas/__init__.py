"""Limits of callers and the counts that they are checked against: requests, tokens, money, concurrent answers.

    quota = Quota("chat-model", declared, store)
    admission = await quota.admit(subject)      # raises TooMany where a limit is reached
    …
    admission.settle(usage, cost)               # when the answer is over, however it ended

A subject is what a limit counts together: an address, a caller, an end user, or all requests of a route. Counts live in a store, and
survive an edit of the configuration that leaves the limit unchanged.
"""

from router.quotas.local import Local
from router.quotas.quota import Admission, BudgetUse, Quota
from router.quotas.redis import RedisCounts
from router.quotas.store import CountStore, Crowd, Spent, Taken, Window

__all__ = ["Admission", "BudgetUse", "CountStore", "Crowd", "Local", "Quota", "RedisCounts", "Spent", "Taken", "Window"]
