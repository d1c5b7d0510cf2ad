"""Relay of an answer to another replica: each event arrives once and in order, and the answer ends there in the same way."""

from collections.abc import AsyncGenerator, Sequence

import pytest

from router import relay
from router.errors import Busy, Filtered, Overtaken, ReplicaLost, RouterError, Stopping, TargetDown, Unanswered
from router.events import Event, Failure, Finish, Start, Text
from router.shared import Batch, LogEnd

WORDS: Sequence[Event] = [Start("a", "x/a"), *(Text(f"{number} ") for number in range(100)), Finish("stop")]


async def log(*entries: Batch | LogEnd) -> AsyncGenerator[Batch | LogEnd, None]:
    """Yield these entries, as a log of an answer does."""
    for entry in entries:
        yield entry


async def read(*entries: Batch | LogEnd) -> list[Event]:
    """Return the events that a reader gets from these entries of a log."""
    return [event async for events in relay.events_of(log(*entries)) for event in events]


async def test_relayed_events_arrive_once_and_in_order() -> None:
    """Relayed events arrive once each and in order, even if a batch repeats earlier ones; entries after the last event are not read."""
    assert await read(*relay.batches(0, WORDS)) == WORDS
    again = [*relay.batches(0, WORDS[:50]), *relay.batches(30, WORDS[30:]), LogEnd("stopping")]
    assert await read(*again) == WORDS
    failed = [*WORDS[:3], Failure("no_answer", "It broke off.")]
    assert await read(*relay.batches(0, failed)) == failed


@pytest.mark.parametrize("error", [Busy(), Busy(retry_after=7.5), Filtered(), Overtaken(), ReplicaLost(), Stopping(), Unanswered()])
async def test_relayed_error_keeps_its_class_code_and_status(error: RouterError) -> None:
    """An error that ended the answer is raised at the other replica with the same class, code, sentence, status and `retry_after`."""
    with pytest.raises(type(error)) as caught:
        await read(*relay.batches(0, WORDS[:3]), LogEnd(relay.ending(error)))
    assert (caught.value.code, caught.value.public, caught.value.status) == (error.code, error.public, error.status)
    assert getattr(caught.value, "retry_after", None) == getattr(error, "retry_after", None)


@pytest.mark.parametrize("told", [relay.ending(TargetDown("a", "cut")), "another release's", "", "overloaded x"])
async def test_unknown_end_code_of_a_relayed_answer_raises_unanswered(told: str) -> None:
    """An unknown end code, such as another release's, raises Unanswered, as does `overloaded` with unreadable seconds."""
    with pytest.raises(Unanswered):
        await read(LogEnd(told))


async def test_undecodable_batch_raises_replica_lost() -> None:
    """A batch that cannot be decoded, such as another release's, raises ReplicaLost."""
    with pytest.raises(ReplicaLost):
        await read(Batch(0, 1, b"[99]"))
