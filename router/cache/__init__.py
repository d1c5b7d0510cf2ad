"""What a cache is made of: the key of a question, where answers are kept, and those that are being made, here and at other replicas. The
step that uses them is `steps/cache.py`.
"""

from router.cache.flight import MOST, Flight
from router.cache.key import key
from router.cache.shared import Elsewhere, Lead, Shared
from router.cache.states import LocalStates, Memory, States, Trail, trail
from router.cache.store import LocalStore, Store

__all__ = [
    "MOST",
    "Elsewhere",
    "Flight",
    "Lead",
    "LocalStates",
    "LocalStore",
    "Memory",
    "Shared",
    "States",
    "Store",
    "Trail",
    "key",
    "trail",
]
