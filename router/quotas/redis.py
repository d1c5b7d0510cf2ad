"""Counts that all replicas share in a Redis; while Redis is away, each process limits by its own counts.

Each operation is one script, so that it is atomic: of a thousand concurrent requests, at any number of replicas, exactly the limit passes.
The scripts use the clock of Redis, which is the same for all.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Coroutine
from contextlib import suppress
from itertools import islice

from router.quotas.local import Local
from router.quotas.store import Crowd, Spent, Taken, Window, crowd_of
from router.shared import Away, Redis, Unsent
from router.shared.redis import key as named
from router.shared.redis import milliseconds
from router.value import Value, replace


def _timed(script: str) -> str:
    return "local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000); " + script


TAKE = _timed("""
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
""")
SPENT = _timed("""
local window = tonumber(ARGV[1])
local number = math.floor(now / window)
local before = redis.call('HGET', KEYS[1], tostring(number - 1)) or '0'
local current = redis.call('HGET', KEYS[1], tostring(number)) or '0'
return {current, before, window - now % window}
""")
SPEND = _timed("""
local window = tonumber(ARGV[1])
local number = math.floor(now / window)
redis.call('HINCRBYFLOAT', KEYS[1], tostring(number), ARGV[2])
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if tonumber(field) < number - 1 then redis.call('HDEL', KEYS[1], field) end
end
redis.call('PEXPIRE', KEYS[1], 2 * window)
return 1
""")
ENTER = _timed("""
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
""")
STAY = _timed("""
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
""")
"""The script that renews a concurrent place. A place that Redis does not know, because it was restarted, is taken again."""
LASTS = 1.5
"""Seconds after which Redis frees a concurrent place that was not renewed, because its replica must be lost."""
PLACES_INTERVAL_S = 0.5
"""Seconds between two renewals of the concurrent places of this process."""
OWED = _timed("""
local window, at = tonumber(ARGV[1]), now - tonumber(ARGV[3])
if at + window > now then
  redis.call('ZADD', KEYS[1], at, ARGV[2])
  redis.call('PEXPIRE', KEYS[1], window)
end
return 1
""")
"""The script that counts a request which was admitted without Redis. Its last argument: how many milliseconds ago that was."""
MAX_OWED = 100_000
"""Requests, and as many keys of amounts, that are remembered while Redis is away. Beyond it the oldest requests are never reported, and
amounts of further keys count in this process alone."""
BATCH = 500
"""Requests, or amounts, that are reported in one batch."""


class Owed(Value, frozen=True):
    """A request that was admitted without Redis, to be reported later. `at`: when it was admitted, by the event loop's clock."""

    key: str
    seconds: float
    token: str
    at: float

    def report(self, now: float) -> tuple[str | int, ...]:
        """Return the Redis command that counts this request at the time of its admission. `now`: the event loop's clock."""
        return ("EVAL", OWED, 1, _key(self.key), milliseconds(self.seconds), self.token, milliseconds(now - self.at))


class RedisCounts:
    """A store of counts that all replicas share in Redis. `local`: counts of this process, which decide alone while Redis is away."""

    def __init__(self, redis: Redis, local: Local, max_owed: int = MAX_OWED) -> None:
        self._redis, self._local, self._max_owed = redis, local, max_owed
        self._places: dict[str, list[str]] = {}
        """Concurrent places that this process holds: key → the ids of these places in Redis."""
        self._staying: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._owed: OrderedDict[str, Owed] = OrderedDict()
        """Requests that were admitted without Redis and not reported to it yet: `token` of the request → request."""
        self._unsent = Local()
        """Amounts that were spent without Redis and not reported to it yet."""
        self._spenders: dict[str, float] = {}
        """The keys in `_unsent` → the seconds of their windows."""
        self._reporting: asyncio.Task[None] | None = None
        self._seen = Local()
        """The amounts that users and addresses spent through this process, for `crowds`: Redis cannot list its keys by limit."""

    async def take(self, key: str, most: int, seconds: float) -> Taken:
        """Take one of `most` requests in any `seconds` seconds, a sliding window. Return whether it is allowed and how many are left.

        While Redis is away, the count of this process alone decides. Requests allowed by it are reported once Redis is back.
        """
        token = secrets.token_hex(8)
        with suppress(Away):
            match await self._redis.ask("EVAL", TAKE, 1, _key(key), most, milliseconds(seconds), token):
                case [int(allowed), int(left), int(reset)]:
                    if allowed:
                        await self._local.take(key, most, seconds)  # so that it counts here if Redis goes away
                    return Taken(allowed == 1, left, reset / 1000, token)
                case _:
                    pass
        taken = replace(await self._local.take(key, most, seconds), token=token)
        if taken.allowed:
            self._owed[token] = Owed(key, seconds, token, asyncio.get_running_loop().time())
            while len(self._owed) > self._max_owed:
                self._owed.popitem(last=False)
            self._report_later()
        return taken

    def _report_later(self) -> None:
        if self._reporting is None:
            self._reporting = asyncio.create_task(self._report())

    async def _report(self) -> None:
        """Wait for Redis, and report the requests and amounts from the time without it, until none is left or Redis is closed."""
        try:
            while self._owed or self._spenders:
                await self._redis.back()
                now = asyncio.get_running_loop().time()
                batch = list(islice(self._owed.values(), BATCH))
                with suppress(Away):  # then they stay remembered; each has a token, so that a repeated report counts once
                    await self._redis.ask_all([one.report(now) for one in batch])
                    for one in batch:
                        self._owed.pop(one.token, None)
                for key in list(islice(self._spenders, BATCH)):
                    seconds = self._spenders.pop(key)
                    await self._spend(key, self._unsent.collect(key), seconds)
        except Away:
            pass  # this Redis is closed
        finally:
            self._reporting = None

    def give_back(self, key: str, taken: Taken) -> None:
        """Give back a request that was taken but not used: here at once, in Redis in the background, unless Redis is away."""
        self._local.give_back(key, taken)
        self._owed.pop(taken.token, None)
        if taken.token:
            self._send(self._removed(key, taken.token))

    async def spent(self, key: str, seconds: float) -> Spent:
        """Return the amounts spent under this key in the current window of `seconds` seconds and in the one before, in Redis and here.

        Those here are what Redis did not, or perhaps did not, receive from this process. While Redis is away, they are all that is known.
        """
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
        """Add an amount (tokens or dollars) that was spent now, in the background. `seconds`: length of the limit's window.

        While Redis is away, an amount counts in this process until it is reported. One that Redis may have received is never reported.
        """
        if crowd_of(key):
            self._seen.spend(key, amount, seconds)
        self._send(self._spend(key, amount, seconds))

    async def _spend(self, key: str, amount: float, seconds: float) -> None:
        try:
            await self._redis.ask("EVAL", SPEND, 1, _key(key), milliseconds(seconds), repr(amount))
        except Unsent:
            if len(self._spenders) >= self._max_owed:
                self._local.spend(key, amount, seconds)
                return
            self._unsent.spend(key, amount, seconds)
            self._spenders[key] = seconds
            self._report_later()
        except Away:
            # Redis may have counted it or not: it counts here as well, rather twice for a while than not at all.
            self._local.spend(key, amount, seconds)

    async def crowds(self) -> dict[str, Crowd]:
        """Return limit → Crowd: how many of its users or addresses have spent some of it through this process, and the largest of them."""
        return await self._seen.crowds()

    async def enter(self, key: str, most: int) -> bool:
        """Take one of `most` concurrent places, here and in Redis, and return whether one was free. While Redis is away, those here count."""
        if not await self._local.enter(key, most):
            return False
        token, entered = secrets.token_hex(8), False
        try:
            entered = await self._redis.ask("EVAL", ENTER, 1, _key(key), most, token, milliseconds(LASTS)) == 1
        except Away:
            entered = True
        finally:
            if not entered:
                self._local.leave(key)
        if entered:
            self._places.setdefault(key, []).append(token)
            if self._staying is None:
                self._staying = asyncio.create_task(self._stay())
        return entered

    def leave(self, key: str) -> None:
        """Free one concurrent place that this process holds, in Redis in the background; does nothing if it holds none under this key."""
        if places := self._places.get(key):
            token = places.pop()
            if not places:
                del self._places[key]
            self._local.leave(key)
            self._send(self._removed(key, token))

    async def _removed(self, key: str, token: str) -> None:
        with suppress(Away):
            await self._redis.ask("ZREM", _key(key), token)

    async def _stay(self) -> None:
        """Renew the places of this process in Redis every PLACES_INTERVAL_S and at once when Redis comes back; end when none is held."""
        try:
            await asyncio.sleep(PLACES_INTERVAL_S)
            while self._places:
                held = [(key, token) for key, tokens in self._places.items() for token in tokens]
                try:
                    await self._redis.ask_all([("EVAL", STAY, 1, _key(key), token, milliseconds(LASTS)) for key, token in held])
                    await asyncio.sleep(PLACES_INTERVAL_S)
                except Away:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(PLACES_INTERVAL_S):
                            await self._redis.back()
        except Away:
            pass  # this Redis is closed
        finally:
            self._staying = None

    def _send(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)


def _key(key: str) -> str:
    return named(key, "quota")
