"""Counts that replicas share, in a Redis; in this process while that is away.

Each operation is one script, so that it is atomic: of a thousand that ask at once, of however many replicas, exactly as many pass as may.
The scripts go by Redis' own clock, which is the same for all.
"""

import asyncio
import secrets
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

from router.quotas.local import Local
from router.quotas.store import Spent, Taken, Window
from router.shared import Away, Redis, Unsent
from router.shared.redis import key as named
from router.shared.redis import milliseconds

NOW = "local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000); "
TAKE = (
    NOW
    + """
local key, most, window, member = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
local count, allowed = redis.call('ZCARD', key), 0
if count < most then
  redis.call('ZADD', key, now, member)
  redis.call('PEXPIRE', key, window)
  count, allowed = count + 1, 1
end
local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
return {allowed, most - count, first[2] + window - now}
"""
)
SPENT = (
    NOW
    + """
local window = tonumber(ARGV[1])
local number = math.floor(now / window)
local before = redis.call('HGET', KEYS[1], tostring(number - 1)) or '0'
local current = redis.call('HGET', KEYS[1], tostring(number)) or '0'
return {current, before, window - now % window}
"""
)
SPEND = (
    NOW
    + """
local window = tonumber(ARGV[1])
local number = math.floor(now / window)
redis.call('HINCRBYFLOAT', KEYS[1], tostring(number), ARGV[2])
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if tonumber(field) < number - 1 then redis.call('HDEL', KEYS[1], field) end
end
redis.call('PEXPIRE', KEYS[1], 2 * window)
return 1
"""
)
ENTER = (
    NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
)
STAY = (
    NOW
    + """
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
)
"""A place that is not known there, since Redis was away or began anew, is taken again."""
LASTS = 1.5
"""Seconds after which the place of a replica that is gone is free."""
EVERY = 0.5
"""Seconds between two words that its places are still taken."""


OWED = (
    NOW
    + """
local window, at = tonumber(ARGV[1]), now - tonumber(ARGV[3])
if at + window > now then
  redis.call('ZADD', KEYS[1], at, ARGV[2])
  redis.call('PEXPIRE', KEYS[1], window)
end
return 1
"""
)
"""A request that was let through without Redis, so many milliseconds ago."""
MAX_OWED = 100_000
"""Requests, and keys of what was spent, that are remembered while Redis is away. Beyond them the oldest requests are forgotten, and what
is spent under further keys counts in this process alone."""
BATCH = 500
"""Requests that are reported at once."""


@dataclass(frozen=True, slots=True)
class Owed:
    """One request that was let through without Redis. `at`: when, by the loop's clock."""

    key: str
    seconds: float
    token: str
    at: float

    def report(self, now: float) -> tuple[str | int, ...]:
        """Return the command that reports it, by the loop's clock of now."""
        return ("EVAL", OWED, 1, _key(self.key), milliseconds(self.seconds), self.token, milliseconds(now - self.at))


class RedisCounts:
    """A store that all replicas see; `local` counts while it is away."""

    def __init__(self, redis: Redis, local: Local) -> None:
        self._redis = redis
        self._local = local
        self._places: dict[str, list[str]] = {}
        """Whoever is at it, from this process: key → tokens."""
        self._staying: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self._owed: dict[str, Owed] = {}
        """What was let through while Redis was away, by token."""
        self._unsent = Local()
        """What was spent while Redis was away, and was not sent to it."""
        self._spenders: dict[str, float] = {}
        """The keys of that, and the seconds of their windows."""
        self._reporting: asyncio.Task[None] | None = None

    async def take(self, key: str, most: int, seconds: float) -> Taken:
        """One of so many in any so many seconds."""
        token = secrets.token_hex(8)
        with suppress(Away):
            answer = await self._redis.ask("EVAL", TAKE, 1, _key(key), most, milliseconds(seconds), token)
            match answer:
                case [int(allowed), int(left), int(reset)]:
                    if allowed:
                        await self._local.take(key, most, seconds)  # should it go away, what was let through here is known here
                    return Taken(allowed == 1, left, reset / 1000, token)
                case _:
                    pass
        taken = replace(await self._local.take(key, most, seconds), token=token)
        if taken.allowed:
            self._owe(Owed(key, seconds, token, asyncio.get_running_loop().time()))
        return taken

    def _owe(self, owed: Owed) -> None:
        """Remember what was let through without Redis, and report it once Redis is back."""
        self._owed[owed.token] = owed
        while len(self._owed) > MAX_OWED:
            del self._owed[next(iter(self._owed))]
        self._report_later()

    def _report_later(self) -> None:
        if self._reporting is None:
            self._reporting = asyncio.create_task(self._report())

    async def _report(self) -> None:
        """Report to Redis what was let through and spent while it was away, once it is back."""
        try:
            while self._owed or self._spenders:
                await self._redis.back()
                await self._report_taken()
                await self._report_spent()
        except Away:
            pass  # it is of the past
        finally:
            self._reporting = None

    async def _report_taken(self) -> None:
        """A token never counts twice: what is not known to have been heard is reported again."""
        now = asyncio.get_running_loop().time()
        batch = list(islice(self._owed.values(), BATCH))
        with suppress(Away):
            await self._redis.ask_all([one.report(now) for one in batch])
            for one in batch:
                self._owed.pop(one.token, None)

    async def _report_spent(self) -> None:
        """What was spent while Redis was away counts there from now on, and no longer here."""
        for key in list(islice(self._spenders, BATCH)):
            seconds = self._spenders.pop(key)
            await self._spend(key, self._unsent.collect(key), seconds)

    def give_back(self, key: str, taken: Taken) -> None:
        """One that was taken was not used."""
        self._local.give_back(key, taken)
        self._owed.pop(taken.token, None)
        if taken.token:
            self._tell(self._removed(key, taken.token))

    async def spent(self, key: str, seconds: float) -> Spent:
        """What was spent in the last so many seconds, there and here: what was spent while Redis was away counts too."""
        here, unsent = await self._local.spent(key, seconds), await self._unsent.spent(key, seconds)
        spent = Spent((*here.windows, *unsent.windows))
        with suppress(Away):
            match await self._redis.ask("EVAL", SPENT, 1, _key(key), milliseconds(seconds)):
                case [bytes(current), bytes(before), int(turns)]:
                    return Spent((*spent.windows, Window(seconds, turns / 1000, float(current), float(before))))
                case _:
                    pass
        return spent

    def spend(self, key: str, amount: float, seconds: float) -> None:
        """So much was spent now."""
        self._tell(self._spend(key, amount, seconds))

    async def _spend(self, key: str, amount: float, seconds: float) -> None:
        try:
            await self._redis.ask("EVAL", SPEND, 1, _key(key), milliseconds(seconds), repr(amount))
        except Unsent:
            if len(self._spenders) >= MAX_OWED:
                self._local.spend(key, amount, seconds)
                return
            self._unsent.spend(key, amount, seconds)
            self._spenders[key] = seconds
            self._report_later()
        except Away:
            # Whether Redis heard of it is not known: it counts here as well, rather twice for a while than not at all.
            self._local.spend(key, amount, seconds)

    async def enter(self, key: str, most: int) -> bool:
        """Whether one more may be at it. Whoever is at it from this process is counted here in any case, should Redis go away."""
        if not await self._local.enter(key, most):
            return False
        token, entered = secrets.token_hex(8), False
        try:
            entered = await self._entered(key, most, token)
        finally:
            if not entered:
                self._local.leave(key)
        if entered:
            self._places.setdefault(key, []).append(token)
            if self._staying is None:
                self._staying = asyncio.create_task(self._stay())
        return entered

    async def _entered(self, key: str, most: int, token: str) -> bool:
        with suppress(Away):
            return await self._redis.ask("EVAL", ENTER, 1, _key(key), most, token, milliseconds(LASTS)) == 1
        return True

    def leave(self, key: str) -> None:
        """Whoever entered has left."""
        if not (places := self._places.get(key)):
            return
        token = places.pop()
        if not places:
            del self._places[key]
        self._local.leave(key)
        self._tell(self._removed(key, token))

    async def _removed(self, key: str, token: str) -> None:
        with suppress(Away):
            await self._redis.ask("ZREM", _key(key), token)

    async def _stay(self) -> None:
        """Say that the places of this process are still taken, for as long as there are any; when Redis comes back, at once."""
        try:
            await asyncio.sleep(EVERY)
            while self._places:
                held = [(key, token) for key, tokens in self._places.items() for token in tokens]
                try:
                    await self._redis.ask_all([("EVAL", STAY, 1, _key(key), token, milliseconds(LASTS)) for key, token in held])
                    await asyncio.sleep(EVERY)
                except Away:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(EVERY):
                            await self._redis.back()
        except Away:
            pass  # it is of the past
        finally:
            self._staying = None

    def _tell(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


def _key(key: str) -> str:
    return named(key, "quota")
