"""The fast path of failover: text goes from the answering target's stream to the client without waking a generator for each piece.

The text is recorded here as the generator would: for the cost of the answer, and for a rescue. The target's idle limit applies here, too.
"""

import asyncio
from collections.abc import Sequence

from router.events import Event, FastPath, Text, Thought, Words, fast_path
from router.failover.attempt import Opened
from router.failover.rescue import Transcript
from router.failover.watch import Watch


class Relay:
    """The fast path of one answer, over all targets that give it. `idle`: seconds that a target may be silent."""

    def __init__(self, idle: float) -> None:
        self._idle = idle
        self._opened: Opened | None = None
        """The stream whose text may take the fast path; None while the generator runs."""
        self._quiet = False
        """True if the last read had no text: keep-alive bytes do not restart the idle limit."""

    def begin(self, watch: Watch, transcript: Transcript) -> None:
        """Set the watch and the transcript of the answer, once its first target has started."""
        self._watch, self._transcript = watch, transcript

    def gives(self, event: Event, opened: Opened, *, held: bool) -> None:
        """Open the fast path for the wait after this event, if it is text and the generator holds nothing back (`held`)."""
        self._opened = opened if isinstance(event, Text | Thought) and not held and self._transcript.joined else None

    def goes_on(self) -> None:
        """Close the fast path: the generator runs again."""
        self._opened = None

    def fast(self) -> "Relay | None":
        """Return the relay if the generator is only waiting for the target; None otherwise."""
        if self._opened is None or (path := fast_path(self._opened.stream)) is None:
            return None
        self._path: FastPath = path
        self._quiet = False
        self._written, self._said = self._opened.said, self._transcript.said
        return self

    def wait(self) -> asyncio.Future[None] | None:
        """Return the future that the target's stream waits for, done after the idle limit at the latest; None if text is there already."""
        arrival = self._path.wait()
        if arrival is not None:
            if self._quiet:
                self._watch.wait_on(arrival)
            else:
                self._watch.wait(self._idle, arrival)
        return arrival

    def take(self) -> Sequence[Words] | None:
        """Return the pieces of text and thought that one read brought; an empty sequence if it had none.
        None if the generator has to continue, as for another event, or after a timeout of the target.
        """
        watch = self._watch
        watch.waiting = False
        if watch.overdue or (words := self._path.take()) is None:
            return None
        self._quiet = not words
        for word in words:
            self._written.append(word.text)
            if word.__class__ is Text:
                self._said.append(word.text)
        return words
