"""Recordings shared between replicas: an answer that one records can be resumed at all others.

Another replica's answer is a Recording here, too (an echo): its events come from the log in Redis, and its readers follow it as any other.
"""

import hashlib
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from router import relay
from router.answering.recording import Key, Recording
from router.chat import JsonObject
from router.codec import UnreadableEvents, packed
from router.config.server import Resume
from router.errors import RouterError
from router.events import Failure
from router.journal.entry import Entry
from router.shared import Away, Batch, Deleted, Found, LogEnd, Logs
from router.value import replace
from router.wire import WIRES, Heading

VERSION = 1
LOG_DELAY_S = 10.0
"""Seconds to wait at most for events that another replica has but has not yet written to Redis."""
SHARED = {"request_id": str, "message_id": str, "model": str, "created": int, "wants_usage": bool, "min_client": str, "asked": dict}
"""Fields of a heading that are shared with other replicas, and their types. Earlier releases share no `asked`."""


class Replica:
    """A replica's access to the recordings shared in a Redis: publishes its own and finds those of the others."""

    def __init__(self, logs: Logs) -> None:
        self.logs = logs
        self._echoes: dict[str, Recording] = {}
        """Copies of other replicas' recordings that are read here, by log id."""

    def publish(self, key: Key, recording: Recording, lasts: float, keep: float) -> None:
        """Have a recording written to Redis as it grows, for the other replicas, and return at once.

        lasts: seconds that the answer runs at most
        keep: seconds after its end until which it can be found
        """
        shared_fields: JsonObject = {name: getattr(recording.heading, name) for name in SHARED}
        recording.head = packed([VERSION, recording.wire.name, recording.entry.route, recording.entry.generation, shared_fields])
        written = self.logs.write(_name(key), recording, lasts=lasts + keep, keep=keep, attachment=recording.asked or b"")
        recording.log, recording.news = written.id, written.news
        if recording.asked is not None:
            recording.posted = written.posted

    async def find(self, key: Key, own: Recording | None, resume: Resume) -> Recording | None:
        """Return the latest recording of this key at any replica: `own`, or a local copy of another replica's, which is started if needed.

        `own` also if Redis has none, or only one that another release wrote. None if it was deleted. Away if Redis is away.
        """
        try:
            found = await self.logs.find(_name(key))
        except Deleted:
            return None
        if found is None or (own is not None and own.log == found.id):
            return own
        if (echo := self._echoes.get(found.id)) is None or not echo.complete:
            try:
                self._echoes[found.id] = echo = _recorded(found, resume)
            except UnreadableEvents:
                return own
            echo.run(self._echo(found, echo), self._ended)
        echo.shared = found.count
        return echo

    def _ended(self, echo: Recording) -> None:
        if self._echoes.get(echo.log) is echo:
            del self._echoes[echo.log]

    async def asked(self, key: Key, echo: Recording) -> bytes | None:
        """Return the input items (JSON) of another replica's answer, copied in `echo`; None if they are not stored. Away without Redis."""
        return await self.logs.attachment(Found(_name(key), echo.log, ""))

    async def stop(self, key: Key, own: Recording | None) -> bool:
        """Ask the replica that makes the answer of this key to stop it. False if it is this process's own, not found, or Redis is away."""
        try:
            found = await self.logs.find(_name(key))
            if found is None or (own is not None and own.log == found.id):
                return False
            await self.logs.stop(found)
        except (Away, Deleted):
            return False
        return True

    async def delete(self, key: Key, keep: float) -> None:
        """Delete the recording of this key for all replicas, and stop it; Redis notes that for `keep` seconds. Away if it is not certain."""
        try:
            found = await self.logs.find(_name(key))
        except Deleted:
            return
        if found is not None:
            await self.logs.stop(found)
        await self.logs.delete(_name(key), found, keep)

    async def _echo(self, found: Found, echo: Recording) -> None:
        """Copy another replica's events from its log into the echo until the log ends. An error before the first event is raised."""
        try:
            async with aclosing(_noted(self.logs.read(found), echo.heading)) as log, aclosing(relay.events_of(log)) as batches:
                async for events in batches:
                    for event in events:
                        echo.put(event)
                    await echo.flush()
        except RouterError as error:
            if not echo.begun:
                raise
            echo.put(Failure(error.code, error.public))
            await echo.flush()

    async def end(self) -> None:
        """End the local copies of other replicas' answers with an error for their readers, and wait for it: the server shuts down."""
        for echo in (echoes := list(self._echoes.values())):
            echo.fail()
        for echo in echoes:
            await echo.ended()


async def _noted(log: AsyncGenerator[Batch | LogEnd, None], heading: Heading) -> AsyncGenerator[Batch | LogEnd, None]:
    """Yield the batches of a log, and copy each note (time of the end, whether the client stopped it) into `heading.ending`."""
    async with aclosing(log):
        async for batch in log:
            if isinstance(batch, Batch) and batch.note:
                heading.ending.take(batch.note)
            yield batch


def _name(key: Key) -> str:
    """Return the name of a chat or response in Redis: a hash, from which neither owner nor id can be read. No owner contains a NUL."""
    owner, chat = key
    return hashlib.sha256(f"{owner}\0{chat}".encode()).hexdigest()[:40]


def _recorded(found: Found, resume: Resume) -> Recording:
    """Return an empty copy of another replica's answer, which ends with its last reader. UnreadableEvents if another release wrote it."""
    try:
        shared_fields = json.loads(found.head)
    except (ValueError, RecursionError) as error:
        raise UnreadableEvents from error
    match shared_fields:
        case [int(version), str(wire), str(route), str(generation), {**given}] if version == VERSION and wire in WIRES:
            made: dict[str, Any] = {name: given.get(name, {} if name == "asked" else None) for name in SHARED}
        case _:
            raise UnreadableEvents
    if not all(isinstance(made[name], kind) for name, kind in SHARED.items()):
        raise UnreadableEvents
    heading = Heading(**made)
    echo = Recording(Entry(heading.request_id, generation, route=route), heading, WIRES[wire], replace(resume, grace=None))
    echo.log = found.id
    return echo


class Replicas:
    """The Replica of this process at each Redis in use: usually one; two after a reload that changes `server.redis`."""

    def __init__(self) -> None:
        self._replicas: list[Replica] = []

    def on(self, logs: Logs | None) -> Replica | None:
        """Return the Replica at the Redis of these logs; None without a Redis."""
        if logs is None:
            return None
        if not self._replicas or self._replicas[-1].logs is not logs:
            self._replicas = [one for one in self._replicas if not one.logs.closed]
            self._replicas.append(Replica(logs))
        return self._replicas[-1]

    async def end(self) -> None:
        """End the local copies of other replicas' answers, at each Redis, with an error for their readers: the server is shutting down."""
        for one in self._replicas:
            await one.end()

    async def close(self) -> None:
        """Write the rest of this process's recordings to each Redis in use."""
        for one in self._replicas:
            await one.logs.close()
