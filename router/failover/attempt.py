"""One try at one target: up to its first event, and then event by event."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

from router.chat import Ask
from router.errors import TargetDenied, TargetDown, TargetError, TargetSilent
from router.events import Event, Finish, Start
from router.failover.candidate import Candidate
from router.failover.rescue import WISH
from router.failover.watch import Watch

Note = Callable[[str, str, float], None]
"""Remembers how a try of this target ended, after so many seconds."""


class Opened:
    """A stream whose first event is here, and whose it is. Whoever has it closes it."""

    def __init__(self, candidate: Candidate, start: Start, first: Event, events: AsyncGenerator[Event, None]) -> None:
        self.candidate = candidate
        self.start = start
        self.first = first
        self.events = events
        self._closed = False

    async def close(self) -> None:
        """Let go of the stream."""
        if not self._closed:
            self._closed = True
            self.candidate.standing.load.busy -= 1
            await self.events.aclose()


async def attempt(candidate: Candidate, ask: Ask, watch: Watch, first_token: float, note: Note) -> Opened:
    """Ask one target, up to its first event (`first_token`: seconds). The stream is closed on every other way out."""
    standing = candidate.standing
    breaker = standing.breaker
    if not breaker.admit():
        note(candidate.name, "breaker_open", 0)
        raise TargetSilent(candidate.name, "breaker_open", retry_after=breaker.wait())
    began = time.monotonic()
    standing.load.busy += 1
    events: AsyncGenerator[Event, None] | None = None
    opened: Opened | None = None
    try:
        events = candidate.answer(ask)
        start: Start | None = None
        left = first_token
        while True:
            event = await following(events, watch, left, candidate.name, "timeout_first_token")
            took = time.monotonic() - began
            left = max(0.0, first_token - took)
            if isinstance(event, Start):
                start = event
                continue
            if event is None or start is None or _is_empty(event, ask):
                raise TargetDown(candidate.name, "empty")
            breaker.began()
            standing.load.started(took)
            standing.pace.started(took)
            opened = Opened(candidate, start, event, events)
            return opened
    except TargetError as error:
        note(candidate.name, error.outcome, time.monotonic() - began)
        if isinstance(error, TargetDenied):
            breaker.open()
        elif isinstance(error, TargetDown):
            breaker.failed()
        raise
    except asyncio.CancelledError:
        # Another target was quicker, or nobody waits any more.
        took = time.monotonic() - began
        note(candidate.name, "abandoned", took)
        standing.pace.abandoned(took)
        raise
    finally:
        if opened is None:
            standing.load.busy -= 1
            breaker.rest()  # where nothing else was said of it: whoever asked has gone
            if events is not None:
                await events.aclose()


def _is_empty(event: Event, ask: Ask) -> bool:
    """An answer with nothing in it is a failure; but after a tool's result, or its own words so far, a model may well have
    nothing to add.
    """
    if not isinstance(event, Finish) or event.reason in ("length", "content-filter"):
        return False
    if event.reason == "unknown":
        return True  # no word, and no reason either
    last = ask.messages[-1]
    return last.role not in ("assistant", "tool") and last.text != WISH


async def following(events: AsyncGenerator[Event, None], watch: Watch, limit: float, target: str, outcome: str) -> Event | None:
    """The next event, None at the end; TargetSilent with this outcome where it does not come within the limit (seconds)."""
    watch.wait(limit)
    try:
        return await anext(events, None)
    except asyncio.CancelledError:
        if watch.late():
            raise TargetSilent(target, outcome) from None
        raise
    finally:
        watch.rest()
