"""An issuer's public keys, as its address has them: fetched when they are needed, kept, and looked at again now and then.

An issuer that does not answer harms nobody whose key is known: what was fetched last goes on to count for a day.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from router.config.values import key_set
from router.errors import Misfit

log = logging.getLogger("router.callers")

FRESH = 600.0
"""Seconds after which the keys are fetched anew."""
AGAIN = 30.0
"""Seconds between two fetches, whatever tokens ask for: who makes up key ids must not make us ask the issuer for each."""
SOON = 2.0
"""The same, while there are none at all and nobody can be answered."""
STALE = 86_400.0
"""Seconds after which keys that could not be fetched anew count no more."""
WITHIN = 5.0
"""Seconds that a fetch may take."""
MOST = 256 * 1024
"""Bytes of a set of keys."""

Listed = tuple[Mapping[str, object], ...]
Fetch = Callable[[str, int], Awaitable[bytes]]
"""An address, and the bytes there may be → what stands there. OSError where it cannot be had."""


class Jwks:
    """The keys at an address. `clock`: seconds, as time.monotonic."""

    def __init__(self, url: str, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self._fetch = fetch
        self._clock = clock
        self._one = asyncio.Lock()
        self._listed: Listed = ()
        self._got: float | None = None
        self._tried: float | None = None

    def over(self, fetch: Fetch) -> "Jwks":
        """Return the same keys, fetched in another way from now on."""
        made = Jwks(self.url, fetch, self._clock)
        made._listed, made._got = self._listed, self._got
        return made

    async def listed(self) -> Listed:
        """The keys as they are known; none where they could not be fetched for too long."""
        if not self._younger(STALE) or (not self._younger(FRESH) and not self._one.locked()):  # others do with what there is meanwhile
            await self._refresh()
        return self._listed if self._younger(STALE) else ()

    def _younger(self, age: float) -> bool:
        return self._got is not None and self._clock() - self._got <= age

    def now(self) -> float:
        """Seconds, by the clock that `newer` goes by."""
        return self._clock()

    async def newer(self, than: Listed, came: float) -> tuple[Listed, float]:
        """Return the keys, after a token that came at `came` named one that is not among these: fetched anew, if that was not tried a
        moment ago.

        Also return the seconds after which they may be fetched again, where the issuer has not given them since the token came: it may
        have made the key meanwhile. 0 where it has.
        """
        if self._listed is than and not self._given_since(came):
            await self._refresh()
        given = self._given_since(came)
        return self._listed, 0.0 if given else max(SOON, self._pause())

    def _given_since(self, moment: float) -> bool:
        return self._got is not None and self._got >= moment

    def _pause(self) -> float:
        """Seconds until the keys may be fetched again; 0 or less where they may be now."""
        pause = AGAIN if self._younger(STALE) else SOON
        return 0.0 if self._tried is None else self._tried + pause - self._clock()

    async def _refresh(self) -> None:
        before = self._tried
        async with self._one:
            if self._tried != before or self._pause() > 0:
                return  # another request has just done it, or it is too soon
            self._tried = self._clock()
            try:
                async with asyncio.timeout(WITHIN):
                    found = key_set(await self._fetch(self.url, MOST))
            except (OSError, Misfit) as error:
                log.warning("keys not fetched", extra={"fields": {"why": type(error).__name__}})
                return
            self._listed, self._got = found, self._clock()


class Fixed:
    """Keys that stand in a file: an edit of it makes another generation."""

    def __init__(self, listed: Listed) -> None:
        self._listed = listed

    async def listed(self) -> Listed:
        """All of them."""
        return self._listed

    def now(self) -> float:
        """Time does not matter to them."""
        return 0.0

    async def newer(self, than: Listed, came: float) -> tuple[Listed, float]:  # noqa: ARG002 - see Jwks
        """There are no newer ones."""
        return than, 0.0


Source = Jwks | Fixed
