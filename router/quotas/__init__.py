"""What callers may use, and what they have used: requests, tokens, money, answers at one time.

    quota = Quota("chat-model", declared, store)
    admission = await quota.admit(subject)      # TooMany where that is too much
    …
    admission.settle(usage, cost)               # when the answer is over, however it ended

A subject is whoever is counted together: an address, a caller, a whole route. Counts live in a store, and outlive an edit that declares
the quota as before.
"""

from router.quotas.local import Local
from router.quotas.quota import Admission, Quota
from router.quotas.redis import RedisCounts
from router.quotas.store import Spent, Store, Taken, Window

__all__ = ["Admission", "Local", "Quota", "RedisCounts", "Spent", "Store", "Taken", "Window"]
