"""The fast path of failover: text goes from the answering target's stream to the client without waking a generator for each piece.
The text is recorded here as the generator would: for the cost of the answer, and for a rescue. The target's idle limit applies here, too.
"""

import asyncio
from collections.abc import Sequence

from router.events import FastPath, Onward, Text, Words, fast_path, spoken
from router.failover.attempt import Opened
from router.failover.rescue import Transcript
from router.failover.watch import Watch


class Relay(FastPath):
    """The fast path of one answer, over all targets that give it. `idle`: seconds that a target may be silent."""

    watch: Watch
    """The timer of the answer, set before its first event."""
    opened: Opened | None = None
    """The stream whose text may take the fast path; None while the generator runs."""
    _thoughts = True
    """False if the reader gets no thoughts."""

    def __init__(self, idle: float) -> None:
        self.transcript = Transcript()
        self._idle = idle

    def fast(self) -> "Relay | None":
        """Return the relay if the generator is only waiting for the target; None otherwise."""
        if self.opened is None or (path := fast_path(self.opened.stream)) is None:
            return None
        self._take, self._arrival = path.take, path.wait
        self._timed = False
        """True once the idle limit of this way runs: from then on `take` moves it on, and bytes without words do not."""
        self._written, self._said = self.opened.said.append, self.transcript.said.append
        return self

    def without_thoughts(self) -> "Relay":
        """Return this path without the thoughts. They are recorded all the same."""
        self._thoughts = False
        return self

    def wait(self, onward: Onward) -> asyncio.Future[None] | None:
        """Return the future that the target's stream waits for, done after the idle limit at the latest; None if text is there already."""
        arrival = self._arrival(onward)
        if arrival is not None:
            if self._timed:
                self.watch.wait_on(arrival)
            else:
                self.watch.wait(self._idle, arrival)
                self._timed = True
        return arrival

    def take(self, piece: bytes = b"") -> Sequence[Words] | None:
        """Return the pieces of text and thought that one read brought; an empty sequence if it had none.
        None if the generator has to continue, as for another event, or after a timeout of the target.
        """
        watch = self.watch
        words = self._take(piece) if piece or not watch.overdue else None
        if not words:
            if words is None:
                watch.waiting = False
            return words
        watch.due = watch.now() + self._idle  # the wait may go on, if they are passed on without its end
        passed = True
        for word in words:
            text = word.text
            self._written(text)
            if word.__class__ is Text:
                self._said(text)
            else:
                passed = self._thoughts
        return words if passed else spoken(words)
