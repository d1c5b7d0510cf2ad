"""The fast path of failover: text goes from the answering target's stream to the client without waking a generator for each piece.
The text is recorded here as the generator would: for the cost of the answer, and for a rescue. The target's idle limit applies here, too.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import cast

from router.events import FastPath, Onward, Text, Words, spoken
from router.failover.attempt import Opened
from router.failover.rescue import Transcript
from router.failover.watch import Watch


class Relay(Transcript):
    """The text of one answer, over all targets that give it, and the FastPath by which it may come. A record cannot be its subclass."""

    idle: float = math.inf
    """Seconds that a target may be silent."""
    watch: Watch = cast("Watch", None)
    """The timer of the answer, set before its first event."""
    opened: Opened | None = None
    """The stream whose text may take the fast path; None while the generator runs."""
    _path: FastPath = cast("FastPath", None)
    """The fast path of that stream; set by `fast`, as the next is."""
    _written: list[str] | None = None
    """All that this target wrote; None while that is the text of the answer, and nothing else."""
    _timed: bool = False
    """True once the idle limit of this way runs: from then on `take` moves it on, and bytes without words do not."""
    _thoughts: bool = True
    """False if the reader gets no thoughts."""

    def see(self, words: Words, opened: Opened) -> Words | None:
        """Record a piece of text or thought, and return what the client gets of it; None if it is held back or repeats text.
        The words after it may take the fast path, unless they have to be joined to the text of another target.
        Diverged if a continuation cannot be joined to the text before.
        """
        text = words.text
        if not self.joined:
            opened.said.append(text)
            return self.joint(text) if words.__class__ is Text else words
        self.opened = opened
        if words.__class__ is not Text:
            self.apart(opened).append(text)
        else:
            self.said.append(text)
            if opened.said is not self.said:
                opened.said.append(text)
        return words

    def apart(self, opened: Opened) -> list[str]:
        """Return a stream's list of all that its target wrote, which has more than the text of the answer from now on."""
        if opened.said is self.said:
            opened.said = [*self.said]
        self._written = opened.said
        return opened.said

    def fast(self) -> "Relay | None":
        """Return the relay if the generator is only waiting for the target; None otherwise."""
        opened = self.opened
        if opened is None or (fast := opened.fast) is None or (path := fast()) is None:
            return None
        self._path, self._timed, self._written = path, False, None if opened.said is self.said else opened.said
        return self

    def without_thoughts(self) -> "Relay":
        """Return this path without the thoughts. They are recorded all the same."""
        self._thoughts = False
        return self

    def wait(self, onward: Onward) -> asyncio.Future[None] | None:
        """Return the future that the target's stream waits for, done after the idle limit at the latest; None if text is there already."""
        arrival = self._path.wait(onward)
        if arrival is not None:
            if self._timed:
                self.watch.wait_on(arrival)
            else:
                self.watch.wait(self.idle, arrival)
                self._timed = True
        return arrival

    def take(self, piece: bytes = b"") -> Sequence[Words] | None:
        """Return the pieces of text and thought that one read brought; an empty sequence if it had none.
        None if the generator has to continue, as for another event, or after a timeout of the target.
        """
        watch = self.watch
        words = self._path.take(piece) if piece or not watch.overdue else None
        if not words:
            if words is None:
                watch.waiting = False
            return words
        watch.due = watch.loop.time() + self.idle  # the wait may go on, if they are passed on without its end
        for word in words:
            if word.__class__ is Text:
                self.said.append(word.text)
                if self._written is not None:
                    self._written.append(word.text)
            else:
                self.see(word, self.opened)  # pyright: ignore[reportArgumentType] - it is there while the generator waits
                words = words if self._thoughts else spoken(words)
        return words
