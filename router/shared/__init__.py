"""What replicas share through a Redis, where one is declared; each thing here has a local twin for when it is away."""

from router.shared.lease import Lease, Leases, LocalLeases, RedisLeases
from router.shared.logs import Batch, Ending, Found, Logs, Source, Written
from router.shared.redis import Away, Mismatch, Redis
from router.shared.store import LocalStore, RedisStore, Store

__all__ = [
    "Away",
    "Batch",
    "Ending",
    "Found",
    "Lease",
    "Leases",
    "LocalLeases",
    "LocalStore",
    "Logs",
    "Mismatch",
    "Redis",
    "RedisLeases",
    "RedisStore",
    "Source",
    "Store",
    "Written",
]
