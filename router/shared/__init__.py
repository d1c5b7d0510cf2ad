"""State that replicas share through a Redis, where one is declared. While Redis is away each replica is on its own."""

from router.shared.follower import LogEnd
from router.shared.hints import Hints
from router.shared.logs import Deleted, Found, Logs, new_id
from router.shared.redis import Away, Mismatch, Redis, RedisTiming, Unsent
from router.shared.store import RedisStore
from router.shared.written_log import Batch

__all__ = [
    "Away",
    "Batch",
    "Deleted",
    "Found",
    "Hints",
    "LogEnd",
    "Logs",
    "Mismatch",
    "Redis",
    "RedisStore",
    "RedisTiming",
    "Unsent",
    "new_id",
]
