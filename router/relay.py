"""An answer on its way to another replica: its events as the batches of a shared log, and back."""

from collections.abc import AsyncGenerator, Sequence

from router import errors
from router.codec import UnreadableEvents, decode, encode
from router.errors import Busy, ReplicaLost, RouterError, Unanswered
from router.events import Event, Failure, Finish
from router.shared import Batch, LogEnd

BATCH = 32
"""Maximum events of a batch."""
REFUSALS: dict[str, type[RouterError]] = {
    one.code: one
    for one in (
        Unanswered, ReplicaLost, errors.Overlong, errors.Filtered, errors.FileAddress, errors.UnsupportedParameter, errors.UnreadFile,
        errors.NoTarget, errors.TimedOut, errors.Stopping, errors.Stopped, errors.Overtaken,
    )
}  # fmt: skip
"""Code → error that may end an answer without an event. A reader elsewhere gets Unanswered for any other code but Busy's."""


def batches(first: int, events: Sequence[Event]) -> Sequence[Batch]:
    """Return events as encoded batches of a log, at most 32 events each. `first`: the number of the first event."""
    return [
        Batch(first + at, first + at + len(some), encode(some)) for at in range(0, len(events), BATCH) if (some := events[at : at + BATCH])
    ]


def ending(error: RouterError) -> str:
    """Return the text that a log stores for an error: its code, for Busy with its Retry-After in seconds, if known: `overloaded 30.0`."""
    seconds = error.retry_after if isinstance(error, Busy) else None
    return error.code if seconds is None else f"{error.code} {seconds}"


def refusal(written: str) -> RouterError:
    """Return the error whose text `ending` made. A code that this release does not know becomes Unanswered."""
    code, _, seconds = written.partition(" ")
    if code != Busy.code:
        return REFUSALS.get(code, Unanswered)()
    try:
        return Busy(retry_after=float(seconds) if seconds else None)
    except ValueError:
        return Busy()


async def events_of(log: AsyncGenerator[Batch | LogEnd, None]) -> AsyncGenerator[Sequence[Event], None]:
    """Stream the events of a log, whose first batch has events, in batches, each event once, up to its end.

    Raises the error that ended the answer without an event, or ReplicaLost if another release wrote the log.
    """
    count = 0
    async for batch in log:
        if not isinstance(batch, Batch):
            raise refusal(batch.code)
        try:
            events = decode(batch.data)[count - batch.first :]
        except UnreadableEvents:
            raise ReplicaLost from None
        count = max(count, batch.after)
        yield events
        if events and isinstance(events[-1], Finish | Failure):
            return
