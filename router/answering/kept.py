"""Look-up of recorded answers, in this process and at other replicas that share its Redis."""

from collections.abc import Coroutine
from contextlib import suppress

from router.answering.recording import Key, Recording, Recordings
from router.answering.replica import LOG_DELAY_S, Replica, Replicas
from router.errors import BadAsk, ReplicaLost, RouterError, Undeleted, Unfindable, UnknownResponse
from router.events import Failure
from router.generation import Generation
from router.intake import KeptResponse
from router.shared import Away

LAST_WORDS = 5.0
"""Seconds that a shutdown, or a request to cancel a response, waits at most for the answer's end."""
UNFINISHED = "previous_response_id: this response is still being made. Wait for its end."


def _missing(recording: Recording) -> RouterError:
    """Return the error for a recording whose events are missing here, by the code with which the copy of another replica's answer ended."""
    return {"": Unfindable, ReplicaLost.code: ReplicaLost}.get(recording.refused, UnknownResponse)()


class KeptAnswers:
    """The recordings of this process, and the access to those of other replicas."""

    def __init__(self) -> None:
        self.recordings = Recordings()
        self.replicas = Replicas()

    def _replica(self, generation: Generation) -> Replica | None:
        return self.replicas.on(generation.kept.logs)

    def record(
        self, key: Key, recording: Recording, delivery: Coroutine[object, object, None], total: float, generation: Generation
    ) -> None:
        """Start an answer in a task of its own and record it under this key, here and for other replicas; return at once.

        delivery: the coroutine that writes the answer into the recording
        total: seconds that it can take at most
        """
        keep = generation.server.resume.keep
        self.recordings.start(key, recording, delivery, keep)
        if replica := self._replica(generation):
            replica.publish(key, recording, total, keep)

    async def found(self, key: Key, generation: Generation) -> Recording | None:
        """Return the recording of this key if it can be read from its first event, else None. Without Redis, only this process is asked."""
        with suppress(Away):
            return await self._found(key, generation)
        return self.recordings.find(key)

    async def response(self, key: Key, generation: Generation) -> Recording:
        """Return the recording of a stored response, which may still be running.

        UnknownResponse if it is not stored, Unfindable if Redis, which may have it, is away, ReplicaLost if its replica was lost.
        A recording of another replica has at least the events that were in Redis at the time, unless they take longer than LOG_DELAY_S.
        """
        if not key[1].startswith("resp_"):
            raise UnknownResponse
        try:
            recording = await self._found(key, generation)
        except Away:
            if (recording := self.recordings.find(key)) is None:
                raise Unfindable from None
        if recording is None:
            raise UnknownResponse
        await recording.caught_up(LOG_DELAY_S)
        if not recording.findable:
            raise _missing(recording)
        return recording

    async def _found(self, key: Key, generation: Generation) -> Recording | None:
        found = self.recordings.find(key)
        if replica := self._replica(generation):
            found = await replica.find(key, found, generation.server.resume)
        return found if found is not None and found.findable else None  # it may have outgrown its bound while Redis was asked

    async def earlier(self, key: Key, generation: Generation, *, asked: bool) -> KeptResponse:
        """Return a finished response that a question continues. `asked`: whether its input items are wanted, too (else an empty list).

        Raises as `response` and `items`; BadAsk while it is running, ReplicaLost if its replica ended before all of it was shared.
        """
        recording = await self.response(key, generation)
        if not recording.finished and recording.log and recording.asked is None:
            await recording.ended(LOG_DELAY_S)  # its client has the end of it: the log follows
        events = recording.since(0)[1]
        if not recording.finished:
            raise _missing(recording) if recording.over else BadAsk(UNFINISHED)
        if isinstance(last := events[-1], Failure) and last.code == ReplicaLost.code:
            raise ReplicaLost
        items = await self.items(key, recording, generation) if asked else b"[]"
        return KeptResponse(items, recording.heading, events)

    async def items(self, key: Key, recording: Recording, generation: Generation) -> bytes:
        """Return the input items of a response, as JSON. UnknownResponse if they are not stored, Unfindable if Redis is away."""
        asked = recording.asked
        try:
            if asked is None and (replica := self._replica(generation)):
                asked = await replica.asked(key, recording)
        except Away:
            raise Unfindable from None
        if asked is None:
            raise UnknownResponse
        return asked

    async def stop(self, key: Key, generation: Generation) -> None:
        """Have the running answer of this key stopped, and do not wait for its end: at any replica; while Redis is away, only here."""
        replica = self._replica(generation)
        if replica is None or not await replica.stop(key, self.recordings.find(key)):
            self.recordings.stop(key)

    async def cancel(self, key: Key, recording: Recording, generation: Generation) -> None:
        """Stop an answer, and wait until it has ended, for LAST_WORDS seconds at most; it may still be running then."""
        await self.stop(key, generation)
        await recording.ended(LAST_WORDS)

    async def delete(self, key: Key, generation: Generation) -> None:
        """Delete the recording of this key, here and at other replicas, and stop it if it is running.

        Undeleted if Redis is away, so that another replica may still have it; this process has deleted its own then.
        """
        self.recordings.delete(key)
        if replica := self._replica(generation):
            try:
                await replica.delete(key, generation.server.resume.keep + LAST_WORDS)
            except Away:
                raise Undeleted from None
