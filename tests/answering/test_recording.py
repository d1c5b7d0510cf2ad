"""Recordings pass words on to the readers that wait for them, in the call that brought the words."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest

from router.answering.recording import Recording
from router.config.server import Resume
from router.events import Event, Finish, Source, Start, Text, Words
from router.journal.entry import Entry
from router.wire import WIRES, Heading

END = Finish("stop")


class Reader:
    """A sink that writes what it is given: at once, or at the next flush while its client is slow."""

    full = False

    def __init__(self) -> None:
        self.written: list[Event] = []
        self.slow = False
        self.error: Exception | None = None
        self.passed = 0
        """Words that were written without a flush."""
        self._collected: list[Event] = []

    @property
    def begun(self) -> bool:
        """True once an event came."""
        return bool(self.written or self._collected)

    @property
    def finished(self) -> bool:
        """True if the last event was a Finish."""
        return isinstance([None, *self.written, *self._collected][-1], Finish)

    def put(self, event: Event) -> None:
        """Collect an event."""
        self._collected.append(event)

    async def flush(self) -> None:
        """Write what was collected."""
        self.written += self._collected
        self._collected.clear()

    def pass_on(self, words: Sequence[Words]) -> bool:
        """Write the words at once, or collect them for a flush; raise `error` if there is one."""
        if self.error is not None:
            raise self.error
        if self.slow or self._collected:
            self._collected += words
            return False
        self.written += words
        self.passed += len(words)
        return True

    async def close(self) -> None:
        """Write the rest."""
        await self.flush()

    def hush(self) -> None:
        """Do nothing: there are no keep-alives."""


@asynccontextmanager
async def read_by(*readers: Reader, size: int = 10_000) -> AsyncGenerator[tuple[Recording, list[asyncio.Task[None]]]]:
    """Yield a recording that has begun, with the tasks of its readers, which have read everything and wait for more."""
    heading = Heading(request_id="r", message_id="m", model="chat-model", created=1)
    recording = Recording(Entry("r", "g"), heading, WIRES["line"], Resume(size=size))
    recording.run(_unending(), lambda _: None)
    recording.put(Start("a", "m"))
    recording.put(Text("One "))
    tasks = [asyncio.create_task(recording.write_to(reader)) for reader in readers]
    await _settled()
    assert all(reader.written == [Start("a", "m"), Text("One ")] for reader in readers)
    try:
        yield recording, tasks
    finally:
        recording.fail()
        await recording.ended()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _unending() -> None:
    await asyncio.Event().wait()


async def _settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_words_are_written_to_waiting_readers_within_the_call() -> None:
    """Readers that wait have the words when `pass_on` returns, and the end when they are woken for it; the recording has all of it."""
    readers = Reader(), Reader()
    async with read_by(*readers) as (recording, tasks):
        for word in ("two ", "three "):
            assert recording.pass_on([Text(word)])
            assert all(reader.written[-1] == Text(word) for reader in readers)
        recording.put(END)
        await recording.flush()
        recording.stop()
        await asyncio.gather(*tasks)
        events = [Start("a", "m"), Text("One "), Text("two "), Text("three "), END]
        assert recording.events == readers[0].written == readers[1].written == events
        assert [reader.passed for reader in readers] == [2, 2]


async def test_slow_reader_gets_the_words_in_order_by_a_flush() -> None:
    """A reader whose client is slow gets its words from its own task, in order, and holds up no other reader."""
    slow, quick = Reader(), Reader()
    async with read_by(slow, quick) as (recording, _):
        slow.slow = True
        recording.pass_on([Text("two ")])
        recording.pass_on([Text("three ")])
        slow.slow = False
        recording.pass_on([Text("four ")])
        assert (slow.passed, quick.passed) == (0, 3)
        await _settled()
        assert slow.written == quick.written == recording.events
        recording.pass_on([Text("five ")])
        assert (slow.passed, quick.passed) == (1, 4)


async def test_words_after_an_event_that_was_not_read_yet_wait_for_it() -> None:
    """Words that follow an event that no reader was woken for are not written before it."""
    reader = Reader()
    async with read_by(reader) as (recording, _):
        recording.put(Source("https://example.com", "A page"))
        recording.pass_on([Text("two ")])
        assert not reader.passed
        await _settled()
        assert reader.written == recording.events


async def test_error_of_one_reader_ends_that_reader_alone() -> None:
    """An exception in a reader's sink is raised by that reader's task; the answer goes on for the others."""
    broken, sound = Reader(), Reader()
    async with read_by(broken, sound) as (recording, (breaking, other)):
        broken.error = ValueError("no such bytes")
        assert recording.pass_on([Text("two ")])
        with pytest.raises(ValueError, match="no such bytes"):
            await breaking
        recording.pass_on([Text("three ")])
        assert sound.written == recording.events
        assert recording.followers == 1
        assert not other.done()


async def test_reader_that_left_gets_nothing_more() -> None:
    """A reader that was cancelled while it waited is not written to, and the answer goes on."""
    leaving, staying = Reader(), Reader()
    async with read_by(leaving, staying) as (recording, (task, _)):
        task.cancel()
        recording.pass_on([Text("two ")])
        await asyncio.wait([task])
        recording.pass_on([Text("three ")])
        assert leaving.written == [Start("a", "m"), Text("One ")]
        assert staying.written == recording.events


async def test_words_beyond_the_bound_ask_for_a_flush_that_makes_room() -> None:
    """Words that exceed the bound are written, and `pass_on` returns False; the flush then drops what all readers have read."""
    reader = Reader()
    async with read_by(reader, size=2000) as (recording, _):
        assert not recording.pass_on([Text("x" * 1000)])
        assert reader.passed == 1
        await recording.flush()
        assert recording.events == []
        assert not recording.findable
