"""The life of a connection that generations share: its users are counted, and it is restored after ever longer pauses.

As Caddy's UsagePool: an edit that changes nothing of a connection keeps it, and its last user closes it. `Holdings`: what a request holds.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Self


class SharedConnection:
    """A connection with several users. Made on any thread, used on one event loop.

    `hold` and `release` count the generations that declare it; `close` closes it once there is none left.
    """

    def __init__(self) -> None:
        self.closed = False
        """True once no configuration declares it any more."""
        self._holders: list[None] = []

    def hold(self) -> None:
        """Count a user, until `release`. May be called from any thread: generations are built beside the loop."""
        self._holders.append(None)

    def release(self) -> None:
        """Count a user less."""
        self._holders.pop()

    @property
    def held(self) -> bool:
        """True while a generation uses it."""
        return bool(self._holders)

    async def close(self) -> None:
        """Close it, if no generation holds it."""
        if not self.held and not self.closed:
            self.closed = True
            await self._close()

    async def _close(self) -> None:
        """Let go of what it has open. Called once."""
        raise NotImplementedError


class Backoff:
    """Pauses before attempts to connect, in seconds: `first`, then twice as long each time, and `most` at most.

    After a connection that lasted for longer than `steady` the pause is `first` again.
    """

    def __init__(self, *, first: float, most: float, steady: float) -> None:
        self._first, self._most, self._steady = first, most, steady
        self.pause = 0.0
        """Seconds; 0 while nothing was lost."""

    def lost(self, lasted: float) -> None:
        """Note that the connection is lost, or could not be made, after so many seconds."""
        again = self.pause and lasted <= self._steady
        self.pause = min(2 * self.pause, self._most) if again else self._first

    async def rest(self) -> None:
        """Wait for three quarters of the pause, up to all of it: not all processes come back at once."""
        await asyncio.sleep(self.pause * random.uniform(0.75, 1.0))  # noqa: S311 - nothing is kept secret by it


class Holdings:
    """Functions that let go of the things that a request holds: called at its end, the last first, each even if another raises.

    An ExitStack enters and leaves contexts, at ten calls for each of them.
    """

    def __init__(self) -> None:
        self._held: list[Callable[[], object]] = []
        self.add = self._held.append
        """Hold something: the function lets go of it."""
        self.withdraw = self._held.remove
        """Leave this function to somebody else."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def handed_over(self) -> "Holdings":
        """Return all that is held here, for a new holder to let go of."""
        other = Holdings()
        other._held.extend(self._held)
        self._held.clear()
        return other

    def close(self) -> None:
        """Let go of everything."""
        try:
            while self._held:
                self._held.pop()()
        finally:
            if self._held:
                self.close()
