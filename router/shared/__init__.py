"""State that replicas share through a Redis, where one is declared. While Redis is away each replica is on its own."""

from router.shared.follower import Deleted, Found, LogEnd
from router.shared.hints import Hints
from router.shared.logs import Logs, new_id
from router.shared.redis import Away, Mismatch, Redis, Unsent
from router.shared.store import RedisStore
from router.shared.timing import RedisTiming
from router.shared.written_log import Batch

__all__ = [
    "Away", "Batch", "Deleted", "Found", "Hints", "LogEnd", "Logs", "Mismatch", "Redis", "RedisStore", "RedisTiming", "Unsent",
    "new_id",
]  # fmt: skip
