"""Logs of other replicas: a log that was found, its entries, and the state of its reader here."""

import asyncio
from collections import deque

from router.shared.written_log import Batch
from router.value import Mutable, Value, field


class Deleted(Exception):
    """The log under this name was deleted on request of the caller that it belongs to."""


class Found(Value, frozen=True):
    """A log that can be read. `replica`: the id of the replica that writes it. `count`: events that it held when it was found.
    head: the data that its source had before the first event; empty for a log that is only offered, and perhaps not written yet
    """

    name: str
    id: str
    replica: str
    head: bytes = b""
    count: int = 0


class LogEnd(Value, frozen=True):
    """The end of an answer without a final event. `code`: made by `ending` in router/relay.py, such as `stopped` or `overloaded 30.0`."""

    code: str


class Follower(Mutable):
    """The state of one reader, on this replica, of a log that `replica` writes.

    last: the number of the entry that was read last, in its two parts
    waiting: entries that were read from Redis and not yet taken by the reader
    news: set when an entry was added, or the log is lost
    lost: true once nothing more will come, although the log has no end
    """

    stream: str
    replica: str
    last: tuple[int, int]
    patience: float  # seconds that the reader waits for a Redis that is away
    waiting: deque[Batch | LogEnd] = field(default_factory=deque[Batch | LogEnd])
    news: asyncio.Event = field(default_factory=asyncio.Event)
    doomed: bool = False  # true once the writer or the stream is gone: no more events will come to Redis
    missed: int = 0  # checks in a row at which its stream was missing
    lost: bool = False
    looked: bool = False  # true once Redis has been read for this log, with or without an entry


def entry(after: int, fields: dict[bytes, bytes]) -> Batch | LogEnd:
    """Return an entry of a log's stream as a Batch; as a LogEnd if it marks the end; as an empty Batch if it is the head.
    after: the number of events up to the entry's end, from its id
    An unreadable entry becomes a Batch that begins at `after` + 1, so that its reader sees a gap and raises ReplicaLost.
    """
    if (code := fields.get(b"x")) is not None:
        return LogEnd(code.decode("ascii", "replace"))
    if b"h" in fields:
        return Batch(0, 0, b"")
    first, data = fields.get(b"f", b""), fields.get(b"e", b"")
    return Batch(int(first) if first.isdigit() and len(first) < 12 else after + 1, after, data, fields.get(b"z", b""))
