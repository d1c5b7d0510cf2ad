"""A reader of a log that another replica writes."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from router.shared.written_log import Batch


@dataclass(frozen=True, slots=True)
class LogEnd:
    """The end of a log that no event describes. `code`: the text of `ending` in router/relay.py, such as `stopped` or `overloaded 30.0`."""

    code: str


@dataclass(slots=True, eq=False)
class Follower:
    """A reader, on this replica, of a log that another replica writes.

    stream: the key of the log's stream
    replica: the id of the replica that writes it
    last: the number of the entry that was read last, in its two parts
    waiting: batches that were read from Redis and not yet taken
    news: set when a batch was added, or the log is lost
    lost: true once nothing more will come, although the log has no end
    """

    stream: str
    replica: str
    last: tuple[int, int]
    patience: float
    """Seconds that the reader waits for a Redis that is away."""
    waiting: deque[Batch | LogEnd] = field(default_factory=deque[Batch | LogEnd])
    news: asyncio.Event = field(default_factory=asyncio.Event)
    doomed: bool = False
    """True once the writer is gone: Redis gets no more events of this log."""
    missed: int = 0
    """Checks in a row at which its stream was missing."""
    lost: bool = False
    looked: bool = False
    """True once Redis has answered what the stream holds, even if it is empty."""


def entry(after: int, fields: dict[bytes, bytes]) -> Batch | LogEnd:
    """Return the content of a stream's entry. An unreadable entry becomes a batch behind a gap, for which its reader raises ReplicaLost.

    after: the number of events up to the entry's end, from its id
    The head of a log becomes an empty batch.
    """
    if (code := fields.get(b"x")) is not None:
        return LogEnd(code.decode("ascii", "replace"))
    if b"h" in fields:
        return Batch(0, 0, b"")
    first, data = fields.get(b"f", b""), fields.get(b"e", b"")
    return Batch(int(first) if first.isdigit() and len(first) < 12 else after + 1, after, data, fields.get(b"z", b""))
