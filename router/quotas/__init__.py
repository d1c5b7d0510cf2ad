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
from router.quotas.store import Store, Taken

__all__ = ["Admission", "Local", "Quota", "Store", "Taken"]
