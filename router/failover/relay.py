"""The fast path of failover: the words of the target that answers, from its stream to the client.

They are recorded here as the generator would: for the cost of the answer, and for a rescue. The idle limit of the target holds here, too.
"""

import asyncio
from collections.abc import Sequence

from router.events import Event, FastPath, Text, Thought, Words, fast_path
from router.failover.attempt import Opened
from router.failover.rescue import Transcript
from router.failover.watch import Watch


class Relay:
    """The words of one answer, over all targets that give it. `idle`: seconds that a target may be silent."""

    def __init__(self, idle: float) -> None:
        self._idle = idle
        self._opened: Opened | None = None
        """The target whose words may be taken; None while the generator has something of its own to do."""
        self._quiet = False
        """True if the last read had no words: a sign of life does not end a silence."""

    def begin(self, watch: Watch, transcript: Transcript) -> None:
        """Begin with the first target that has started."""
        self._watch, self._transcript = watch, transcript

    def gives(self, event: Event, opened: Opened, *, held: bool) -> None:
        """Record that the generator gives an event of a target. `held`: whether it holds back anything of this answer."""
        self._opened = opened if isinstance(event, Text | Thought) and not held and self._transcript.joined else None

    def goes_on(self) -> None:
        """Record that the generator goes on."""
        self._opened = None

    def fast(self) -> "Relay | None":
        """Return this, if the generator has nothing to do but to wait for the target."""
        if self._opened is None or (path := fast_path(self._opened.stream)) is None:
            return None
        self._path: FastPath = path
        self._quiet = False
        self._written, self._said = self._opened.said, self._transcript.said
        return self

    def wait(self) -> asyncio.Future[None] | None:
        """Return what the target's stream waits for. It is done after the idle limit at the latest."""
        arrival = self._path.wait()
        if arrival is not None:
            if self._quiet:
                self._watch.wait_on(arrival)
            else:
                self._watch.wait(self._idle, arrival)
        return arrival

    def take(self) -> Sequence[Words] | None:
        """Return the words that came; None if the generator has to go on: also for a target that is silent for too long."""
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
