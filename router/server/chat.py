"""The chat endpoints: one request in a straight line, and finding or stopping the answer of an earlier one."""

import asyncio
import hashlib
import logging
import re
import secrets
import time
import uuid
from collections.abc import Coroutine, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from router.chat import CacheControl, Json
from router.errors import RouterError, Stopping, WrongMethod
from router.events import Failure
from router.generation import Generation
from router.reload import Live
from router.server import body, protocol, question
from router.server.body import ClientLeft
from router.server.cache_control import cache_control
from router.server.entry import Entry, Observer
from router.server.log import problems
from router.server.question import Asked, Surface
from router.server.recording import Key, Recording, Recordings
from router.server.reply import Collected, Presence, Reply, Streamed, deliver
from router.wire import WIRES, Heading

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
log = logging.getLogger("router.server")

LAST_WORDS = 5.0
"""Seconds in which a stream that is ended must have written its end."""
CLIENT_LEFT = 499
"""What the log gives as status where nobody was left to get one (nginx's own number for it)."""


class Request:
    """An HTTP request, as far as it says something before its body. `model`: the route that the path names."""

    def __init__(self, scope: Scope, receive: Receive, model: str | None = None, surface: Surface = "chat") -> None:
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.query: bytes = scope.get("query_string", b"")
        self.receive = receive
        self.model = model
        self.surface: Surface = surface
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._cache_control = b",".join(value for name, value in scope["headers"] if name == b"cache-control")

    @property
    def id(self) -> str:
        """The caller's own id for it, if it is one; else ours."""
        given = self._headers.get(b"x-request-id", b"")
        return given.decode() if REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"

    @property
    def length(self) -> bytes | None:
        """How long its body is said to be."""
        return self._headers.get(b"content-length")

    @property
    def traceparent(self) -> str:
        """The trace it belongs to, if it names one."""
        given = self._headers.get(b"traceparent", b"")
        return given.decode() if TRACEPARENT.fullmatch(given) else ""

    def cache(self, fields: Mapping[str, Json]) -> CacheControl:
        """What it lets a cache do. `fields`: its body's."""
        return cache_control(self._cache_control, fields)

    def protocol(self) -> str | None:
        """The dialect it names; None where it names none."""
        return protocol.requested(self.query, self._headers.get(b"x-stream-protocol", b""))

    def key(self, chat: str) -> Key:
        """Under what an answer is found again: who asks, by the credential the request bears, and the chat's id."""
        return hashlib.sha256(self._headers.get(b"authorization", b"")).hexdigest(), chat


class Chat:
    """What is asked below /api/chat, and at OpenAI's address."""

    def __init__(self, live: Live, observers: Sequence[Observer] = ()) -> None:
        self._live = live
        self._observers = observers
        self._recordings = Recordings()
        self._tasks: set[asyncio.Task[object]] = set()
        self.stopping = False
        """Whether the server is about to end: new questions are refused."""

    @property
    def running(self) -> int:
        """Answers that are being given now."""
        return len(self._tasks)

    async def close(self) -> None:
        """The server ends: every answer that still runs is told so."""
        await self._recordings.close()

    async def drain(self) -> None:
        """The server is about to end: nothing new is taken, and what runs may finish, for as long as is declared."""
        self.stopping = True
        until = time.monotonic() + self._live.generation.server.drain
        log.info("stopping", extra={"fields": {"open": self.running}})
        while (running := self._tasks | self._recordings.tasks) and (left := until - time.monotonic()) > 0:
            await asyncio.wait(running, timeout=left)

    async def end(self) -> None:
        """What still runs is told that the server ends."""
        await self._recordings.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_WORDS)

    @contextmanager
    def _answering(self) -> Generator[None, None, None]:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    def _welcome(self) -> None:
        if self.stopping:
            raise Stopping

    def _entry(self, request: Request, generation: Generation) -> Entry:
        return Entry(request.id, generation.digest, traceparent=request.traceparent, observers=self._observers)

    async def ask(self, request: Request, send: Send) -> None:
        """Answer one question."""
        with self._answering(), ExitStack() as pins:
            generation = pins.enter_context(self._live.pinned())
            entry = self._entry(request, generation)
            reply = Reply(send, entry, WIRES["line"])
            sink: Streamed | Collected | None = None
            recording: Recording | None = None
            try:
                self._welcome()
                wanted = await _read(request, generation, reply)
                route = generation.route(wanted.ask.model)
                entry.route, entry.stream = route.name, wanted.stream
                entry.granted, entry.models = route.tool_names, route.models
                server = generation.server
                heading = Heading(
                    request_id=entry.request_id,
                    message_id=wanted.continues or str(uuid.uuid4()),
                    model=wanted.ask.model,
                    created=int(time.time()),
                    wants_usage=wanted.wants_usage,
                    min_client=server.ui.min_client,
                )
                total = route.declared.timeout.total
                ask = replace(wanted.ask, model=route.name, caller=request.key("")[0], until=time.monotonic() + total)
                ask = replace(ask, cache=request.cache(ask.fields))
                sink = Streamed(reply, heading, server.keep_alive) if wanted.stream else Collected(reply, heading)
                async with Presence(request.receive):
                    if wanted.stream and wanted.chat_id is not None:
                        recording = Recording(entry, heading, reply.wire, server.resume)
                        delivery = _recorded(pins.pop_all(), deliver(route.answer, ask, total, entry, recording))
                        self._recordings.start(request.key(wanted.chat_id), recording, delivery, server.resume.keep)
                        await recording.follow(sink)
                    else:
                        await deliver(route.answer, ask, total, entry, sink)
            except ClientLeft:
                entry.status, entry.outcome = entry.status or CLIENT_LEFT, "client_left"
            except asyncio.CancelledError:
                # The server ends and will wait no longer: a stream that has begun gets its error and its finish.
                entry.outcome = Stopping.code
                await _stop(reply, sink)
            except RouterError as error:
                await reply.refuse(error)
            except Exception:
                # The one place that catches whatever was not foreseen: the client hears a code, the log where it was.
                problems.exception("a request failed", extra={"fields": {"request_id": entry.request_id}})
                if reply.begun:
                    raise  # the connection is reset: a stream that breaks must not look finished
                await reply.refuse(RouterError())
            finally:
                if recording is None or recording.over:
                    entry.close()
                else:
                    recording.ends_alone()

    async def resume(self, request: Request, send: Send, chat: str | None) -> None:
        """Write the answer of a chat, from its start and going on. Where there is none: 204 with the chat's id in the path, and an
        empty 200 with `?chatId=`, where AI SDK 4 asks and takes a 204 for an error.
        """
        wanted = chat if chat is not None else parse_qs(request.query.decode("latin-1")).get("chatId", [""])[0]
        with self._answering(), self._live.pinned() as generation:
            entry = self._entry(request, generation)
            reply = Reply(send, entry, WIRES["line"])
            try:
                named = request.protocol()
                recording = self._recordings.find(request.key(wanted))
                if recording is None:
                    entry.outcome = "nothing_to_resume"
                    await reply.empty(200 if chat is None else 204)
                    return
                reply.wire = WIRES[named] if named else recording.wire
                entry.route, entry.stream, entry.outcome = recording.entry.route, True, "resumed"
                sink = Streamed(reply, recording.heading, generation.server.keep_alive)
                async with Presence(request.receive):
                    await recording.follow(sink)
            except ClientLeft:
                entry.status = entry.status or CLIENT_LEFT
            except RouterError as error:
                await reply.refuse(error)
            finally:
                entry.close()

    async def stop(self, request: Request, send: Send, chat: str) -> None:
        """Stop the answer of a chat. 204 whether there was one or not."""
        self._recordings.stop(request.key(chat))
        entry = self._entry(request, self._live.generation)
        entry.outcome = "stop_asked"
        await Reply(send, entry, WIRES["line"]).empty(204)
        entry.close()


async def _read(request: Request, generation: Generation, reply: Reply) -> Asked:
    """What the body asks for. The reply's wire is chosen on the way, so that an error is written in it as soon as that can be."""
    server = generation.server
    named = request.protocol()
    reply.wire = protocol.chosen(named, request.path, server.protocol, {})
    if request.method != "POST":
        raise WrongMethod
    fields = body.parsed(await body.read(request.receive, request.length, server.request), server.request.depth)
    reply.wire = protocol.chosen(named, request.path, server.protocol, fields)
    usual = next(iter(generation.routes))
    return question.asked(fields, request.model, request.surface, usual, server.request)


async def _recorded(pins: ExitStack, delivery: Coroutine[object, object, None]) -> None:
    """An answer that may outlive its request holds on to its generation by itself."""
    with pins:
        await delivery


async def _stop(reply: Reply, sink: Streamed | Collected | None) -> None:
    if sink is not None and sink.begun:
        sink.put(Failure(Stopping.code, Stopping.sentence, reply.entry.attempts))
        await sink.close()
    elif not reply.begun:
        await reply.refuse(Stopping(attempts=reply.entry.attempts))
