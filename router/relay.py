"""An answer on its way to another replica: its events as the batches of a log, and back."""

from collections.abc import AsyncGenerator, Sequence

from router.codec import Unreadable, decode, encode
from router.errors import (
    Busy,
    FileAddress,
    Filtered,
    NoTarget,
    Overlong,
    Overtaken,
    ReplicaLost,
    RouterError,
    Stopped,
    Stopping,
    TimedOut,
    Unanswered,
    UnreadFile,
    UnsupportedParameter,
)
from router.events import Event, Failure, Finish
from router.shared import Batch, Ending

BATCH = 32
"""Events that are written together."""
REFUSALS: dict[str, type[RouterError]] = {
    one.code: one
    for one in (
        Unanswered,
        Overlong,
        Filtered,
        FileAddress,
        UnsupportedParameter,
        UnreadFile,
        NoTarget,
        TimedOut,
        Stopping,
        Stopped,
        ReplicaLost,
        Overtaken,
    )
}
"""What may end an answer where no event does, by its code. Of anything else a reader elsewhere hears that nobody answered."""


def batches(first: int, events: Sequence[Event]) -> Sequence[Batch]:
    """These events as a log has them. `first`: the number of the first of them."""
    return [
        Batch(first + at, first + at + len(some), encode(some)) for at in range(0, len(events), BATCH) if (some := events[at : at + BATCH])
    ]


def ending(error: RouterError) -> str:
    """An end that no event tells, as a log has it: its code; and in how many seconds to ask again, where that was told."""
    seconds = error.retry_after if isinstance(error, Busy) else None
    return error.code if seconds is None else f"{error.code} {seconds}"


def refusal(told: str) -> RouterError:
    """What `ending` told of, whichever release did."""
    code, _, seconds = told.partition(" ")
    if code != Busy.code:
        return REFUSALS.get(code, Unanswered)()
    try:
        return Busy(retry_after=float(seconds) if seconds else None)
    except ValueError:
        return Busy()


async def told(log: AsyncGenerator[Batch | Ending, None]) -> AsyncGenerator[Sequence[Event], None]:
    """The events of a log as they come, each once, to the one that ends them. Raises what ended it where none does; ReplicaLost where
    another release wrote it.
    """
    count = 0
    async for batch in log:
        if not isinstance(batch, Batch):
            raise refusal(batch.code)
        try:
            events = decode(batch.data)[count - batch.first :]
        except Unreadable:
            raise ReplicaLost from None
        count = max(count, batch.after)
        yield events
        if events and isinstance(events[-1], Finish | Failure):
            return
