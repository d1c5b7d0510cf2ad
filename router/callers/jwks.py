"""The key set (JWKS) of a token issuer: fetched when it is needed, kept, and refreshed after a while.

While the issuer does not answer, its known keys stay valid for a day (stale).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from router.config.values import key_set
from router.errors import Misfit

log = logging.getLogger("router.callers")

FRESH = 600.0
"""Seconds after which known keys are fetched again."""
AGAIN = 30.0
"""Seconds between two fetches at least, so that made-up key ids do not cause a fetch each."""
SOON = 2.0
"""Seconds between two fetches while no keys are known and no token can be verified."""
STALE = 86_400.0
"""Seconds since the last successful fetch after which the known keys are not used any more."""
FETCH_S = 5.0
"""Seconds that a fetch may take."""
MAX_KEY_SET_BYTES = 256 * 1024
"""Bytes of a key set at most."""

Listed = tuple[Mapping[str, object], ...]
Fetch = Callable[[str, int], Awaitable[bytes]]
"""Fetches an address: (address, most bytes) → its content. OSError where it cannot be fetched."""


class Jwks:
    """The key set at an address. `clock`: seconds, as time.monotonic; `within`: seconds that a fetch may take."""

    def __init__(self, url: str, fetch: Fetch, clock: Callable[[], float] = time.monotonic, within: float = FETCH_S) -> None:
        self._within = within
        self.url = url
        self._fetch = fetch
        self.now = clock
        """Returns the time in seconds, for `came` of `newer`."""
        self._one = asyncio.Lock()
        self._listed: Listed = ()
        self._got: float | None = None
        self._tried: float | None = None

    def over(self, fetch: Fetch) -> "Jwks":
        """Return a copy with the keys known so far, which fetches them by another function."""
        made = Jwks(self.url, fetch, self.now, self._within)
        made._listed, made._got = self._listed, self._got
        return made

    async def listed(self) -> Listed:
        """Return the issuer's keys, fetched again if older than FRESH seconds; empty if none were fetched in the last STALE seconds."""
        if not self._younger(STALE) or (not self._younger(FRESH) and not self._one.locked()):  # other requests use the known keys meanwhile
            await self._refresh()
        return self._listed if self._younger(STALE) else ()

    def _younger(self, age: float) -> bool:
        return self._got is not None and self.now() - self._got <= age

    async def newer(self, than: Listed, came: float) -> tuple[Listed, float]:
        """Fetch the keys again for a token whose key id is unknown, if that is allowed. Return (keys, seconds until the next fetch).
        than: the keys that lack the token's key; came: when the token arrived, by `now`
        The seconds are 0 if a fetch has succeeded since the token came: its key then does not exist. Else they are at least SOON.
        """
        if self._listed is than and not self._given_since(came):
            await self._refresh()
        given = self._given_since(came)
        return self._listed, 0.0 if given else max(SOON, self._pause())

    def _given_since(self, moment: float) -> bool:
        return self._got is not None and self._got >= moment

    def _pause(self) -> float:
        """Return the seconds until the keys may be fetched again; 0 or less if they may be now."""
        pause = AGAIN if self._younger(STALE) else SOON
        return 0.0 if self._tried is None else self._tried + pause - self.now()

    async def _refresh(self) -> None:
        before = self._tried
        async with self._one:
            if self._tried != before or self._pause() > 0:
                return  # another request has just done it, or it is too soon
            self._tried = self.now()
            try:
                async with asyncio.timeout(self._within):
                    found = key_set(await self._fetch(self.url, MAX_KEY_SET_BYTES))
            except (OSError, Misfit) as error:
                log.warning("keys not fetched", extra={"fields": {"why": type(error).__name__}})
                return
            self._listed, self._got = found, self.now()


class Fixed:
    """A key set (JWKS) from a file. An edit of the file makes another generation."""

    def __init__(self, listed: Listed) -> None:
        self._listed = listed

    async def listed(self) -> Listed:
        """Return all keys."""
        return self._listed

    def now(self) -> float:
        """Return 0: these keys do not depend on time."""
        return 0.0

    async def newer(self, than: Listed, came: float) -> tuple[Listed, float]:  # noqa: ARG002 - see Jwks
        """Return the same keys, and 0 seconds: a file has no newer ones."""
        return than, 0.0


Source = Jwks | Fixed
