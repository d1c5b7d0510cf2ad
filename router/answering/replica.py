"""Recordings shared between replicas: an answer that one records is found at all others.

A recording of another replica is one here, too: what delivers it is the log, and its viewers follow it as they do any other.
"""

import hashlib
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import cast

from router import relay
from router.answering.recording import Key, Recording
from router.chat import JsonObject
from router.codec import UnreadableEvents, packed
from router.config.server import Resume
from router.errors import RouterError
from router.events import Failure
from router.journal.entry import Entry
from router.shared import Away, Batch, Deleted, Found, LogEnd, Logs
from router.wire import WIRES, Heading

VERSION = 1
LOG_DELAY_S = 10.0
"""Seconds that a reader here waits for events which another replica has, and has yet to write."""
SHARED = ("request_id", "message_id", "model", "created", "wants_usage", "min_client", "asked")
"""Fields of a heading that other replicas are told."""


class Replica:
    """The recordings of all replicas that share a Redis."""

    def __init__(self, logs: Logs) -> None:
        self.logs = logs
        self._echoes: dict[str, Recording] = {}
        """Recordings of others that are viewed here, by their ids."""

    def publish(self, key: Key, recording: Recording, lasts: float, keep: float) -> None:
        """Have it found by the others as well, until so many seconds after its end. It takes `lasts` at most."""
        recording.head = _head(recording)
        written = self.logs.write(_name(key), recording, lasts=lasts + keep, keep=keep, attachment=recording.asked or b"")
        recording.log, recording.news = written.id, written.news
        if recording.asked is not None:
            recording.posted = written.posted

    async def find(self, key: Key, own: Recording | None, resume: Resume) -> Recording | None:
        """The recording of a chat, whoever gave the last answer; `own` is what there is here. Raises Away where Redis is away."""
        try:
            found = await self.logs.find(_name(key))
        except Deleted:
            return None
        if found is None or (own is not None and own.log == found.id):
            return own
        if (echo := self._echoes.get(found.id)) is not None and echo.complete:
            echo.shared = found.count
            return echo
        try:
            echo = _recorded(found, resume)
        except UnreadableEvents:
            return own
        self._echoes[found.id] = echo
        echo.shared = found.count
        echo.run(self._echo(found, echo), self._ended)
        return echo

    def _ended(self, echo: Recording) -> None:
        if self._echoes.get(echo.log) is echo:
            del self._echoes[echo.log]

    async def asked(self, key: Key, echo: Recording) -> bytes | None:
        """Return the request that another replica's answer answers, as JSON; None where it is not kept. Raises Away where Redis is away."""
        return await self.logs.attachment(Found(_name(key), echo.log, ""))

    async def stop(self, key: Key, own: Recording | None) -> bool:
        """End the answer of a chat, if it is another replica's. Whether it is."""
        try:
            found = await self.logs.find(_name(key))
            if found is None or (own is not None and own.log == found.id):
                return False
            await self.logs.stop(found)
        except (Away, Deleted):
            return False
        return True

    async def delete(self, key: Key, keep: float) -> None:
        """Have it found by no replica any more, and end it. Away where that is not sure."""
        try:
            found = await self.logs.find(_name(key))
        except Deleted:
            return
        if found is not None:
            await self.logs.stop(found)
        await self.logs.delete(_name(key), found, keep)

    async def _echo(self, found: Found, echo: Recording) -> None:
        """Deliver what another replica records."""
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
        """The server ends: whoever views another's answer here is told so."""
        echoes = list(self._echoes.values())
        for echo in echoes:
            echo.fail()
        for echo in echoes:
            await echo.ended()


async def _noted(log: AsyncGenerator[Batch | LogEnd, None], heading: Heading) -> AsyncGenerator[Batch | LogEnd, None]:
    """Pass the batches of a log on, and note in the heading what they say of the end."""
    async with aclosing(log):
        async for batch in log:
            if isinstance(batch, Batch) and batch.note:
                heading.ending.take(batch.note)
            yield batch


def _name(key: Key) -> str:
    """A chat of one owner, as Redis is told: neither can be read from it. No owner has a NUL in it."""
    owner, chat = key
    return hashlib.sha256(f"{owner}\0{chat}".encode()).hexdigest()[:40]


def _head(recording: Recording) -> bytes:
    heading = recording.heading
    shared_fields: JsonObject = {name: getattr(heading, name) for name in SHARED}
    return packed([VERSION, recording.wire.name, recording.entry.route, recording.entry.generation, shared_fields])


def _recorded(found: Found, resume: Resume) -> Recording:
    """A recording that is another replica's, before its first event. Unreadable where another release wrote it."""
    try:
        shared_fields = json.loads(found.head)
    except (ValueError, RecursionError) as error:
        raise UnreadableEvents from error
    match shared_fields:
        case [
            int(version),
            str(wire),
            str(route),
            str(generation),
            {
                "request_id": str(request_id),
                "message_id": str(message_id),
                "model": str(model),
                "created": int(created),
                "wants_usage": bool(wants_usage),
                "min_client": str(min_client),
                **more,
            },
        ] if version == VERSION and wire in WIRES:
            heading = Heading(
                request_id=request_id,
                message_id=message_id,
                model=model,
                created=created,
                wants_usage=wants_usage,
                min_client=min_client,
                asked=cast("JsonObject", asked) if isinstance(asked := cast("object", more.get("asked")), dict) else {},
            )
        case _:
            raise UnreadableEvents
    echo = Recording(Entry(request_id, generation, route=route), heading, WIRES[wire], replace(resume, grace=None))
    echo.log = found.id
    return echo


class Replicas:
    """The replica that this process is at each declared Redis: one, as a rule, and another after an edit that names another."""

    def __init__(self) -> None:
        self._replicas: list[Replica] = []

    def on(self, logs: Logs | None) -> Replica | None:
        """Return this process as a replica; None where nothing is shared."""
        if logs is None:
            return None
        if not self._replicas or self._replicas[-1].logs is not logs:
            self._replicas = [one for one in self._replicas if not one.logs.closed]
            self._replicas.append(Replica(logs))
        return self._replicas[-1]

    async def end(self) -> None:
        """The server ends: viewers are told so."""
        for one in self._replicas:
            await one.end()

    async def close(self) -> None:
        """Write the recordings to their end."""
        for one in self._replicas:
            await one.logs.close()
