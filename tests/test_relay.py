"""Events on their way to another replica: each once, in order, with the end that they had."""

from collections.abc import AsyncGenerator, Sequence

import pytest

from router import relay
from router.errors import Busy, Filtered, Overtaken, ReplicaLost, RouterError, Stopping, TargetDown, Unanswered
from router.events import Event, Failure, Finish, Start, Text
from router.shared import Batch, LogEnd

WORDS: Sequence[Event] = [Start("a", "x/a"), *(Text(f"{number} ") for number in range(100)), Finish("stop")]


async def log(*entries: Batch | LogEnd) -> AsyncGenerator[Batch | LogEnd, None]:
    """A log of these."""
    for entry in entries:
        yield entry


async def read(*entries: Batch | LogEnd) -> list[Event]:
    """The events of a log."""
    return [event async for events in relay.events_of(log(*entries)) for event in events]


async def test_events_come_as_they_were_told() -> None:
    """In batches; one that begins with what came before has nothing twice, and what comes after the end is not read."""
    assert await read(*relay.batches(0, WORDS)) == WORDS
    again = [*relay.batches(0, WORDS[:50]), *relay.batches(30, WORDS[30:]), LogEnd("stopping")]
    assert await read(*again) == WORDS
    failed = [*WORDS[:3], Failure("no_answer", "It broke off.")]
    assert await read(*relay.batches(0, failed)) == failed


@pytest.mark.parametrize("error", [Busy(), Busy(retry_after=7.5), Filtered(), Overtaken(), ReplicaLost(), Stopping(), Unanswered()])
async def test_an_end_that_no_event_tells_is_the_same_elsewhere(error: RouterError) -> None:
    """Its code, its sentence, its status; and when to ask again."""
    with pytest.raises(type(error)) as caught:
        await read(*relay.batches(0, WORDS[:3]), LogEnd(relay.ending(error)))
    assert (caught.value.code, caught.value.public, caught.value.status) == (error.code, error.public, error.status)
    assert getattr(caught.value, "retry_after", None) == getattr(error, "retry_after", None)


@pytest.mark.parametrize("told", [relay.ending(TargetDown("a", "cut")), "another release's", "", "overloaded x"])
async def test_an_end_that_is_not_known_is_an_error_all_the_same(told: str) -> None:
    """That nobody answered, or nobody could."""
    with pytest.raises(Unanswered):
        await read(LogEnd(told))


async def test_stream_of_another_release_counts_as_a_lost_replica() -> None:
    """From there on."""
    with pytest.raises(ReplicaLost):
        await read(Batch(0, 1, b"[99]"))
