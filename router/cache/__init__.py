"""Parts of the answer cache (keys, stores, shared answers in progress), stored client-side tool rounds, and approvals of tool calls."""

from router.cache.approvals import Approvals
from router.cache.flight import MAX_FLIGHT_BYTES, Flight
from router.cache.key import key
from router.cache.shared import Elsewhere, Lead, PickupTiming, Shared
from router.cache.states import ConversationHash, LocalStates, Memory, ModelCall, Recollection, conversation_hash
from router.cache.store import LocalStore

__all__ = [
    "MAX_FLIGHT_BYTES", "Approvals", "ConversationHash", "Elsewhere", "Flight", "Lead", "LocalStates", "LocalStore", "Memory", "ModelCall",
    "PickupTiming", "Recollection", "Shared", "conversation_hash", "key",
]  # fmt: skip
