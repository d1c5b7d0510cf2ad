"""Delays for refused admin requests: each refusal of a peer delays that peer's next one more, and no other peer's."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

FIRST_S, LONGEST_S = 0.02, 1.0
"""Seconds by which a peer's first refusal is delayed, and the longest delay. Each refusal doubles it."""
FORGOTTEN_S = 300.0
"""A peer's refusals are forgotten after so long without another one."""
MAX_PEERS = 1000
"""Peers that are remembered; beyond it the one that was refused longest ago is forgotten."""
MAX_WAITING = 256
"""Refusals that are delayed at one time, over all peers; beyond it they are sent at once, to free their connections."""


class Slowdown:
    """The delays of refused admin requests. `clock`: seconds, as time.monotonic; `sleep`: waits for so many seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._refused: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Peer → how often it was refused, and when last; the one refused last at the end."""
        self._waiting = 0

    def __len__(self) -> int:
        """Return the number of peers whose refusals are remembered."""
        return len(self._refused)

    async def refused(self, peer: str) -> None:
        """Record a refusal of this peer, and wait for its delay: doubled with each, up to LONGEST_S. No wait if MAX_WAITING others do."""
        now = self._clock()
        times, last = self._refused.pop(peer, (0, now))
        times = 1 if now - last >= FORGOTTEN_S else times + 1
        self._refused[peer] = (times, now)
        if len(self._refused) > MAX_PEERS:
            self._refused.popitem(last=False)
        if self._waiting >= MAX_WAITING:
            return
        self._waiting += 1
        try:
            await self._sleep(min(LONGEST_S, FIRST_S * 2 ** min(times - 1, 16)))
        finally:
            self._waiting -= 1
