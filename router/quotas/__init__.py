"""Limits of callers and their counts: requests, tokens, money, concurrent answers.

    quota = Quota("chat-model", declared, store)
    admission = await quota.admit(subject)      # TooMany where that is too much
    …
    admission.settle(usage, cost)               # when the answer is over, however it ended

A subject is counted as one: an address, a caller, a whole route. Counts live in a store. They outlive an edit that leaves the quota
unchanged.
"""

from router.quotas.local import Local
from router.quotas.quota import Admission, BudgetUse, Quota
from router.quotas.redis import RedisCounts
from router.quotas.store import CountStore, Crowd, Spent, Taken, Window

__all__ = ["Admission", "BudgetUse", "CountStore", "Crowd", "Local", "Quota", "RedisCounts", "Spent", "Taken", "Window"]
