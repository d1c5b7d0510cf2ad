"""What a cache is made of: the key of a question, and where answers are kept. The step that uses both is `steps/cache.py`."""

from router.cache.key import key
from router.cache.store import LocalStore, SharedStore, Store

__all__ = ["LocalStore", "SharedStore", "Store", "key"]
