"""A Redis that may be away: its absence costs requests one short wait, and its return is found in the background.

All commands to Redis go through here. Redis counts as away in two cases:
- while a command is under way, nothing at all is answered for `RedisTiming.limit` seconds, not even a PING (longer while Redis is slow);
- an answer says that Redis cannot be used: full, read-only, loading, no permission.

Waiting commands then end with `Away`, and later ones fail with it at once. A probe in the background writes a key until a write succeeds.
The limit is one of silence, not of each command: a burst that takes this process long to send does not make Redis count as away.

Commands that are asked at the same time go out together, on one connection: a hundred cost as much as a few.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from router.config.values import Secret
from router.errors import Misfit
from router.lifecycle import Backoff, SharedConnection
from router.shared.timing import RedisTiming

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool
    from redis.asyncio import Redis as Driver

log = logging.getLogger("router.redis")

AT_ONCE = 128
"""Maximum commands that go out together."""
LINES = 4
"""Connections: one for commands, one for the probe, one to listen; and one that is being closed."""
FREE = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end return redis.call('DEL', KEYS[1])"
"""The Redis script that deletes a key if it still holds this value. Its text never varies, so that Redis compiles it once."""
PREFIX = "pointsman:"
"""The beginning of every key."""

T = TypeVar("T")
Argument = str | bytes | int
Command = tuple[Argument, ...]


class Away(Exception):
    """Redis cannot be asked at present: the caller continues without it."""


class Unsent(Away):
    """Redis is away, and did not receive this command; after a plain Away it may have."""


class Mismatch(Away):
    """Redis refused this one command, as for a key that holds a value of another kind. Other commands work."""


def key(*parts: str) -> str:
    """Return the Redis key of these parts, `pointsman:{<first>}:<other>…`. Keys with the same first part share a cluster slot."""
    first, *others = parts
    return ":".join((f"{PREFIX}{{{first}}}", *others))


def milliseconds(seconds: float) -> int:
    """Return seconds as the milliseconds that Redis takes, at least 1."""
    return max(1, round(seconds * 1000))


class Redis(SharedConnection):
    """A connection to Redis, opened by the first command or by `start`, that keeps track of whether Redis can be used.
    departed: functions that are called each time that Redis goes away
    timing: the times after which it counts as away; None for the usual ones
    The constructor raises Misfit if the package is missing or the address has invalid options.
    """

    def __init__(self, url: Secret, departed: Sequence[Callable[[], None]] = (), timing: RedisTiming | None = None) -> None:
        try:
            import redis.asyncio as driver  # noqa: PLC0415 - an extra; and 0.1 s for nothing where none is declared
            from redis.asyncio.retry import Retry  # noqa: PLC0415
            from redis.backoff import NoBackoff  # noqa: PLC0415
        except ImportError:
            raise Misfit("`server.redis` needs a package that is not here: pip install 'pointsman[redis]'", "redis") from None
        super().__init__()
        self.url = url
        self._timing = timing or RedisTiming()
        self._departed = departed
        self.departures = 0  # times that Redis went away
        self._driver = driver
        # The driver retries nothing, limits no wait, and uses the oldest protocol: all of that is done here.
        options: dict[str, Any] = {"max_connections": LINES, "protocol": 2, "retry": Retry(NoBackoff(), 0), "timeout": None}
        options |= {"socket_timeout": None, "socket_connect_timeout": None}
        try:
            pool = driver.BlockingConnectionPool.from_url(url.value, **options)  # pyright: ignore[reportUnknownMemberType]
        except ValueError:
            raise Misfit("the options of this Redis address cannot be read: db is a number") from None
        self._lines = cast("ConnectionPool", pool)
        self._client: Driver = driver.Redis(connection_pool=self._lines)
        self._state: Literal["new", "here", "away"] = "new"
        self._known = asyncio.Event()  # set once the first connection has succeeded or failed
        self._changed_at = 0.0
        self._backoff = Backoff(first=0.2, most=1.0, steady=10.0)  # before a probe
        self._waiting: deque[tuple[Command, asyncio.Future[object]]] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._probe: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Future[Any]] = set()  # work that waits for an answer of Redis
        self._listening: set[asyncio.Future[Any]] = set()
        self._quiet = 0.0  # seconds of silence so far
        self._limit = self._timing.limit
        self._look: asyncio.TimerHandle | None = None
        self._back: set[asyncio.Future[None]] = set()

    # State.

    @property
    def here(self) -> bool:
        """True while Redis can be asked; False also before the first connection."""
        return self._state == "here"

    @property
    def away_for(self) -> float:
        """Return the seconds since Redis went away, or since the first attempt to connect began; 0 while it can be asked."""
        return 0.0 if self.here else asyncio.get_running_loop().time() - self._changed_at

    async def looked_for(self) -> None:
        """Wait, when a process starts, until the first connection to Redis has succeeded or failed.
        If neither happens within the longest time of a probe (`RedisTiming.probe`), Redis counts as away.
        """
        self.start()
        loop, silence = asyncio.get_running_loop(), 0.0
        while not self._known.is_set() and silence < self._timing.probe:
            last = loop.time()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timing.tick):
                    await self._known.wait()
            silence += self._timing.silence(loop.time() - last)
        if self._state == "new":
            self._go_away("timeout")

    async def back(self) -> None:
        """Wait, without a time limit, until Redis can be asked. Raises Away once the connection is closed."""
        while not self.here:
            if self.closed:
                raise Away
            self.start()
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._back.add(future)
            try:
                await future
            finally:
                self._back.discard(future)

    # Lifetime.

    def start(self) -> None:
        """Begin to connect in the background, so that no request has to wait for the first connection. Returns at once."""
        if self._state == "new" and self._probe is None:
            self._changed_at = asyncio.get_running_loop().time()
            self._probe = asyncio.create_task(self._probe_until_back(paused=False))

    async def _close(self) -> None:
        self._state = "away"
        tasks = [task for task in (self._probe, self._pump) if task is not None]
        self._fail_waiting()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._lines.disconnect()

    # Commands.

    async def ask(self, *command: Argument) -> object:
        """Return the answer to a command: None, int, bytes, or lists of them. Raises Away without an answer, Mismatch if refused."""
        if isinstance(answer := (await self.ask_all([command]))[0], Mismatch):
            raise answer
        return answer

    async def ask_all(self, commands: Sequence[Command]) -> list[object]:
        """Return the answers to commands that go out in this order; a refused command's answer is a Mismatch, which is not raised.
        Raises Unsent if Redis received none of them, else Away if there are no answers: the outcome is then unknown.
        """
        await self._present()
        loop = asyncio.get_running_loop()
        turns: list[tuple[Command, asyncio.Future[object]]] = [(command, loop.create_future()) for command in commands]
        self._waiting.extend(turns)
        self._start_sending()
        return [await future for _, future in turns] if len(turns) == 1 else list(await asyncio.gather(*(one for _, one in turns)))

    def _start_sending(self) -> None:
        if self._pump is None:
            self._pump = asyncio.create_task(self._send())

    async def listen(self, streams: Mapping[str, str], wait: float) -> list[tuple[str, list[tuple[str, dict[bytes, bytes]]]]]:
        """Return new entries of streams as (stream, [(id, fields)]), at most 32 of each; waits up to `wait` seconds for a first one.
        streams: stream → id after which its entries are read
        Returns an empty list if none came. Raises Away if Redis is away, Mismatch if a key is not a stream.
        """
        await self._present()
        words: Command = ("XREAD", "COUNT", 32, "BLOCK", milliseconds(wait), "STREAMS", *streams, *streams.values())
        task = asyncio.ensure_future(cast("Awaitable[Any]", self._client.execute_command(*words)))  # pyright: ignore[reportUnknownMemberType]
        self._listening.add(task)
        task.add_done_callback(self._listening.discard)
        try:
            async with asyncio.timeout(wait + self._timing.probe):
                found = cast("list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]", await task)
        except TimeoutError:
            raise Away from None
        except asyncio.CancelledError:
            if _was_cancelled(task):
                raise Away from None
            raise
        except (self._driver.RedisError, OSError) as error:
            raise self._error_for(error) from None
        return [(name.decode(), [(number.decode(), fields) for number, fields in entries]) for name, entries in found or ()]

    async def _present(self) -> None:
        """Raise Unsent if Redis is away. The very first command waits shortly for the connection."""
        if self._state == "new":
            self.start()
            with suppress(Away):
                await self._watched(self._known.wait())
        if self._state != "here":
            raise Unsent

    async def _send(self) -> None:
        """Send the waiting commands, AT_ONCE at a time, until none waits."""
        try:
            while self._waiting:
                turns = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
                answers: list[object] = [Away()] * len(turns)
                why: str | None = None
                try:
                    with suppress(Away):
                        answers = await self._watched(self._pipeline([command for command, _ in turns]))
                    why = next((why for answer in answers if isinstance(answer, Exception) and (why := self._absence_shown(answer))), None)
                finally:  # callers are let go also where this is closed meanwhile
                    for (_, future), answer in zip(turns, answers, strict=True):
                        self._settle(future, answer, why)
                if why is not None:
                    self._go_away(why)
        finally:
            self._pump = None
            self._forget_unsent()

    def _forget_unsent(self) -> None:
        for _, future in self._waiting:
            self._settle(future, Unsent(), None)
        self._waiting.clear()

    def _settle(self, future: "asyncio.Future[object]", answer: object, why: str | None) -> None:
        if future.done():
            return  # its caller has left
        if why is not None or (isinstance(answer, Away) and not isinstance(answer, Mismatch)):
            future.set_exception(answer if isinstance(answer, Unsent) else Away())
        else:
            future.set_result(Mismatch() if isinstance(answer, Exception) else answer)

    async def _pipeline(self, commands: Sequence[Command]) -> list[object]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)  # pyright: ignore[reportUnknownMemberType]
            return await pipeline.execute(raise_on_error=False)

    # Silence.

    async def _watched(self, work: Awaitable[T]) -> T:
        """Return the result of this work. Raises Away if Redis is silent for too long, or fails; Mismatch if it refuses the command.
        The work continues if its caller is cancelled: no connection is cut in the middle of an answer.
        """
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._forget_done)
        if self._look is None:
            self._quiet = 0.0
            self._tick()
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if _was_cancelled(task):
                raise Away from None
            raise
        except (self._driver.RedisError, OSError) as error:
            raise self._error_for(error) from None

    def _forget_done(self, task: "asyncio.Future[Any]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            self._limit = self._timing.after(self._quiet, self._limit)
            self._quiet = 0.0
            task.exception()  # its caller may have left

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(self._timing.tick, self._check_silence, loop.time())

    def _check_silence(self, last: float) -> None:
        """Add up the time without an answer, send a PING at half the limit, and count Redis as away once the limit is reached."""
        self._look = None
        if not self._under_way:
            return
        before = self._quiet
        self._quiet += self._timing.silence(asyncio.get_running_loop().time() - last)
        if self._quiet >= self._limit:
            self._go_away("timeout")
            return
        if before < self._limit / 2 <= self._quiet:
            # The command may be slow, or wait for its connection. A PING shows whether Redis is there.
            nobody: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            nobody.cancel()
            self._waiting.append((("PING",), nobody))
            self._start_sending()
        self._tick()

    # Away and back.

    def _error_for(self, error: Exception) -> Away:
        """Return the error to raise for a failed command: Mismatch, or Away if the error shows that Redis is away, which is noted here."""
        if (why := self._absence_shown(error)) is None:
            return Mismatch()
        self._go_away(why)
        return Away()

    def _absence_shown(self, error: Exception) -> str | None:
        """Return the reason that Redis is away, if this error shows it (`timeout`, `full`, …); None where it concerns one command."""
        faults = self._driver
        table: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
            (faults.BusyLoadingError, "loading"),
            (faults.AuthenticationError, "denied"),
            ((TimeoutError, faults.TimeoutError), "timeout"),
            ((faults.ConnectionError, OSError, faults.InvalidResponse), "connection"),
            (faults.OutOfMemoryError, "full"),
            (faults.ReadOnlyError, "read_only"),
        )
        code = getattr(error, "status_code", None) or str(error).partition(" ")[0]
        return next((why for kinds, why in table if isinstance(error, kinds)), "unusable" if code in UNUSABLE else None)

    def _go_away(self, why: str) -> None:
        """Count Redis as away: waiting commands fail, later ones fail at once, and a probe in the background looks for its return."""
        if self._state == "away":
            return
        loop = asyncio.get_running_loop()
        self._backoff.lost(loop.time() - self._changed_at if self.here else 0.0)
        self._state, self._changed_at = "away", loop.time()
        self._known.set()
        self.departures += 1
        for tell in self._departed:
            tell()
        log.warning("redis is away: local from now on", extra={"fields": {"why": why}})
        self._fail_waiting()
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._probe_until_back(paused=True))

    def _fail_waiting(self) -> None:
        """Fail all commands that wait for an answer, and those that are not sent yet."""
        if self._look is not None:
            self._look.cancel()
        self._look = None
        for task in (*self._under_way, *self._listening):
            task.cancel()
        self._under_way.clear()
        self._forget_unsent()
        if self.closed:
            self._wake_waiters()

    async def _probe_until_back(self, *, paused: bool) -> None:
        """Write a probe key until a write succeeds, and count Redis as available then."""
        while True:
            if paused:
                await self._lines.disconnect(inuse_connections=False)
                await self._backoff.rest()
            try:
                async with asyncio.timeout(self._timing.probe):
                    await self._client.set(f"{PREFIX}probe", b"1", px=1000)  # pyright: ignore[reportUnknownMemberType]
                break
            except (self._driver.RedisError, OSError) as error:
                if self._state == "new" and not isinstance(error, TimeoutError):  # silence is judged by the commands that wait
                    self._go_away(self._absence_shown(error) or "unusable")
                paused = True
        if self._state == "away":
            log.info("redis is back: shared from now on", extra={"fields": {"seconds": round(self.away_for, 3)}})
        self._state, self._changed_at = "here", asyncio.get_running_loop().time()
        self._probe = None
        self._known.set()
        self._wake_waiters()

    def _wake_waiters(self) -> None:
        for future in self._back:
            if not future.done():
                future.set_result(None)


UNUSABLE = frozenset({"CLUSTERDOWN", "CROSSSLOT", "MASTERDOWN", "MISCONF", "MOVED", "NOPERM", "NOREPLICAS", "TRYAGAIN"})
"""Error codes that concern every command, not a single key."""


def _was_cancelled(task: "asyncio.Future[Any]") -> bool:
    """Return whether the task was cancelled, and not the coroutine that awaits it."""
    current = asyncio.current_task()
    return task.cancelled() and (current is None or not current.cancelling())
