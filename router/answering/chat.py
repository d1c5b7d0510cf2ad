"""The chat endpoints: one request in a straight line, and finding or stopping the answer of an earlier one."""

import asyncio
import logging
import re
import secrets
import time
import uuid
from collections.abc import AsyncGenerator, Collection, Coroutine, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from types import TracebackType
from typing import Self, cast, get_args
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from router.access.address import Address, client_address, counted
from router.access.gate import Gate
from router.answering import embeddings
from router.answering.recording import Key, Recording, Recordings
from router.answering.replica import Replicas
from router.answering.reply import Collected, Headers, Presence, Reply, Streamed, conclude, deliver
from router.callers import Caller, from_body, from_headers
from router.chat import Ask, CacheControl, Circumstances, InducedFault, Json
from router.embed import Embed
from router.errors import (
    BadAsk,
    Crowded,
    RouterError,
    Stopping,
    TooMany,
    Unauthorized,
    Undeleted,
    UnknownAddress,
    UnknownResponse,
    WrongMethod,
)
from router.events import Failure
from router.generation import OTHER_KIND, Compiled, Generation
from router.intake import anthropic_api, body, protocol, question, responses_api
from router.intake.body import ClientLeft
from router.intake.cache_control import cache_control
from router.intake.output import admit
from router.intake.question import Asked, Surface
from router.intake.scope import path_below
from router.journal.entry import Entry, Guarded, Observer
from router.journal.log import problems
from router.quotas import Admission, Quota
from router.reload import Live
from router.shared import Away
from router.wire import WIRES, Heading, compact, responses
from router.wire.responses import response_id

FAULTS: tuple[str, ...] = get_args(InducedFault)
UNSHARED = CacheControl(max_age=0.0, store=False)
"""What a request whose provider is broken lets a cache do: nobody else is to get its answer."""
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
        self.scope = scope
        self.path = path_below(scope)
        self.method: str = scope["method"]
        self.query: bytes = scope.get("query_string", b"")
        self.receive = receive
        self.model = model
        self.surface: Surface = surface
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._cache_control = b",".join(value for name, value in scope["headers"] if name == b"cache-control")
        self._peer = (scope.get("client") or ("", 0))[0]
        self._forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]

    @property
    def id(self) -> str:
        """The caller's own id for it, if it is one; else ours."""
        given = self._headers.get(b"x-request-id", b"")
        return given.decode() if REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"

    def address(self, proxies: Sequence[IPv4Network | IPv6Network]) -> Address | None:
        """The client's address: the peer's, or what our proxies say. None where the peer has none."""
        return client_address(self._peer, self._forwarded, proxies)

    def undeclared(self, proxies: Sequence[IPv4Network | IPv6Network]) -> str:
        """The peer, where it says for whom it asks and is none of our proxies: nobody believes it. Empty where there is no such thing."""
        peer = client_address(self._peer, (), proxies)
        if not self._forwarded or (peer is not None and any(peer in network for network in proxies)):
            return ""
        return str(peer or "unknown")

    def values(self, names: Collection[str]) -> dict[str, tuple[str, ...]]:
        """The values of these headers, of each in the order in which it was sent. `names`: in small letters."""
        found: dict[str, tuple[str, ...]] = {}
        for name, value in self.scope["headers"] if names else ():
            if (known := name.decode("latin-1").lower()) in names:
                found[known] = (*found.get(known, ()), value.decode("latin-1").strip(" \t"))
        return found

    @property
    def length(self) -> bytes | None:
        """How long its body is said to be."""
        return self._headers.get(b"content-length")

    @property
    def announced(self) -> bool:
        """Whether its body is sent only once it is asked for."""
        return self._headers.get(b"expect", b"").lower() == b"100-continue"

    @property
    def traceparent(self) -> str:
        """The trace it belongs to, if it names one."""
        given = self._headers.get(b"traceparent", b"")
        return given.decode() if TRACEPARENT.fullmatch(given) else ""

    def cache(self, fields: Mapping[str, Json]) -> CacheControl:
        """What it lets a cache do. `fields`: its body's."""
        return cache_control(self._cache_control, fields)

    @property
    def fault(self) -> InducedFault | None:
        """How it wants its provider broken; None where it does not. BadAsk where there is no such fault."""
        given = self._headers.get(b"x-router-fault", b"").decode("latin-1").strip()
        if given and given not in FAULTS:
            raise BadAsk(f"X-Router-Fault: one of {', '.join(FAULTS)} is needed.")
        return cast("InducedFault", given) if given else None

    def protocol(self) -> str | None:
        """The dialect it names; None where it names none."""
        return protocol.requested(self.query, self._headers.get(b"x-stream-protocol", b""))


class Chat:
    """What is asked below /api/chat, and at OpenAI's address."""

    def __init__(self, live: Live, gate: Gate, observers: Sequence[Observer] = (), began: Sequence[Observer] = ()) -> None:
        self._live = live
        self._gate = gate
        self._began = tuple(Guarded(observer) for observer in began)
        """Are shown each request when it comes."""
        self._observers = tuple(Guarded(observer) for observer in observers)
        self._recordings = Recordings()
        self._replicas = Replicas()
        self._bodies = body.Bodies()
        self._reading = body.Reading()
        self._asking: set[asyncio.Task[object]] = set()
        """Whoever asked, and waits for its answer."""
        self._viewing: set[asyncio.Task[object]] = set()
        """Whoever found one again: it is made all the same."""
        self._alone: set[asyncio.Task[None]] = set()
        """Answers that go on although whoever asked has left."""
        self._counting: set[asyncio.Task[None]] = set()
        """Requests that are over but for the count of their tokens."""
        self.stopping = False
        """Whether the server is about to end: new questions are refused."""
        self._warned_of_proxy = False

    @property
    def running(self) -> int:
        """Answers that are being given now, or made although nobody is given them just now."""
        return len(self._asking) + len(self._viewing) + len(self._alone)

    async def close(self) -> None:
        """The server ends: every answer that still runs is told so."""
        await self._recordings.close()
        await self._all_alone()
        await self._all_counted()
        await self._replicas.end()
        await self._replicas.close()

    async def drain(self) -> None:
        """The server is about to end: nothing new is taken, and what runs may finish, for as long as is declared."""
        self.stopping = True
        until = time.monotonic() + self._live.generation.server.drain
        log.info("stopping", extra={"fields": {"open": self.running}})
        while (running := self._asking | self._viewing | self._recordings.tasks) and (left := until - time.monotonic()) > 0:
            await asyncio.wait(running, timeout=left)

    async def end(self) -> None:
        """What still runs is told that the server ends."""
        await self._recordings.close()
        await self._all_alone()
        await self._replicas.end()
        if tasks := self._asking | self._viewing:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=LAST_WORDS)
        await self._all_counted()

    @contextmanager
    def _among(self, those: set[asyncio.Task[object]]) -> Generator[None, None, None]:
        task = asyncio.current_task()
        assert task is not None
        those.add(task)
        try:
            yield
        finally:
            those.discard(task)

    @asynccontextmanager
    async def _asker(self, those: set[asyncio.Task[object]]) -> AsyncGenerator[AsyncExitStack, None]:
        """Count this task among those that wait for an answer, and hold for it what the block enters."""
        with self._among(those):
            async with AsyncExitStack() as held:
                yield held

    def _welcome(self, most: int | None) -> None:
        """Stopping where the server ends, Crowded where so many answers are made already: at once, nobody waits in a line."""
        if self.stopping:
            raise Stopping
        if most is not None and len(self._asking) + len(self._alone) > most:
            raise Crowded

    def _goes_on(self, recording: Recording, entry: Entry, held: AsyncExitStack) -> None:
        """Keep what the request held (its place among its limits) until the end of an answer whose client has left, then log it."""
        task = asyncio.create_task(self._ended(recording, entry, held))
        self._alone.add(task)
        task.add_done_callback(self._alone.discard)

    async def _ended(self, recording: Recording, entry: Entry, held: AsyncExitStack) -> None:
        """Wait for the end of an answer whose client has left: log the request, and let go of what it held."""
        async with held:
            try:
                await recording.ended()
            finally:
                self._ends(entry)

    def _ends(self, entry: Entry) -> None:
        """Close the request's entry: at once, or when the counts have come that its providers still owe. Nothing else waits for those."""
        entry.tally()
        if not entry.pending:
            entry.close()
            return
        task = asyncio.create_task(entry.counted())
        self._counting.add(task)

        def counted(_: object) -> None:
            self._counting.discard(task)
            entry.close()

        task.add_done_callback(counted)  # also where it is cancelled before it has begun

    async def _all_alone(self) -> None:
        """Wait until the answers that went on without their client are logged: they have ended."""
        if self._alone:
            await asyncio.wait(self._alone, timeout=LAST_WORDS)

    async def _all_counted(self) -> None:
        """Close the entries whose counts have not come: they come too late."""
        for task in self._counting:
            task.cancel()
        if self._counting:
            await asyncio.wait(self._counting)

    def _warn_of_proxy(self, request: Request, generation: Generation) -> None:
        """Log once that X-Forwarded-For came from a peer that `server.proxies` does not name: `per: ip` counts that peer's address."""
        if not self._warned_of_proxy and (peer := request.undeclared(generation.server.proxies)):
            self._warned_of_proxy = True
            log.warning(
                "undeclared_proxy", extra={"fields": {"peer": peer, "advice": "if it is a proxy of yours, add it to server.proxies"}}
            )

    def _entry(self, request: Request, generation: Generation) -> Entry:
        self._warn_of_proxy(request, generation)
        entry = Entry(request.id, generation.digest, traceparent=request.traceparent, observers=self._observers)
        for began in self._began:
            began(entry)
        return entry

    def _record(
        self, key: Key, recording: Recording, delivery: Coroutine[object, object, None], total: float, generation: Generation
    ) -> None:
        """Run an answer that can be found again, here and at other replicas."""
        keep = generation.server.resume.keep
        self._recordings.start(key, recording, delivery, keep)
        if replica := self._replicas.on(generation.kept.logs):
            replica.publish(key, recording, total, keep)

    async def ask(self, request: Request, send: Send) -> None:
        """Answer one question."""
        async with self._asker(self._asking) as held:
            pins = held.enter_context(ExitStack())
            generation = pins.enter_context(self._live.pinned())
            entry = self._entry(request, generation)
            reply = Reply(send, entry, WIRES["line"])
            sink: Streamed | Collected | None = None
            recording: Recording | None = None
            try:
                async with _telling(reply):
                    named = _dialect(request, generation, reply)
                    self._welcome(generation.server.max_streams)
                    caller = await _known(request, generation, entry, self._gate)
                    if request.method != "POST":
                        raise WrongMethod
                    admissions = await held.enter_async_context(_Admissions(request, generation, caller, entry))
                    reply.limits = await admissions.of_caller()
                    if request.model is not None:  # the path names the route: its limits need no body, either
                        reply.limits = await admissions.of_route(request.model)
                    wanted = await self._read(request, generation, reply, named, caller, held=held)
                    reply.limits = await admissions.of_body(wanted.ask)
                    caller = admissions.caller
                    route = generation.route(wanted.ask.model)
                    fault = await self._fault(request, route, entry)
                    entry.stream = wanted.stream
                    entry.requested = wanted.ask.model
                    server = generation.server
                    heading = Heading(
                        request_id=entry.request_id,
                        message_id=wanted.continues or str(uuid.uuid4()),
                        model=wanted.ask.model,
                        created=int(time.time()),
                        wants_usage=wanted.wants_usage,
                        min_client=server.ui.min_client,
                        asked=wanted.repeated,
                    )
                    total = route.declared.timeout.total
                    ask = replace(
                        wanted.ask,
                        model=route.name,
                        caller=caller.id,
                        user=caller.user,
                        circumstances=admissions.circumstances(route),
                        cache=request.cache(wanted.ask.fields) if fault is None else UNSHARED,
                        fault=fault,
                        until=time.monotonic() + total,
                        tried=entry.tried,
                    )
                    sink = Streamed(reply, heading, server.keep_alive) if wanted.stream else Collected(reply, heading)
                    async with Presence(request.receive):
                        if (kept_as := _kept_as(wanted, heading)) is not None:
                            recording = Recording(entry, heading, reply.wire, server.resume, wanted.conversation)
                            delivery = _recorded(pins.pop_all(), deliver(route.answer, ask, total, entry, recording))
                            self._record((caller.owner, kept_as), recording, delivery, total, generation)
                            await recording.follow(sink)
                        else:
                            await deliver(route.answer, ask, total, entry, sink)
            except ClientLeft:
                entry.status, entry.outcome = entry.status or CLIENT_LEFT, "client_left"
            except asyncio.CancelledError:
                # The server ends and will wait no longer: a stream that has begun gets its error and its finish.
                await _stop(reply, sink)
            finally:
                if recording is None or recording.over:
                    self._ends(entry)
                else:
                    self._goes_on(recording, entry, held.pop_all())

    async def _body(self, request: Request, generation: Generation, reply: Reply, held: AsyncExitStack) -> tuple[bytes, dict[str, Json]]:
        """Read a body: its bytes, which count until the end of `held`, and its fields. An error is written in the dialect that the body gives
        away, as far as it was read.
        """
        server, data = generation.server, b""
        incoming = held.enter_context(self._bodies.incoming(request.receive, request.length, server.request, announced=request.announced))
        try:
            data = await incoming.read()
            return data, await self._reading.of(data, lambda: body.parsed(data, server.request))
        except RouterError:
            if reply.wire is protocol.UNDECIDED:
                reply.wire = protocol.guessed(data[: body.BEGINNING_BYTES] or await incoming.beginning())
            raise

    async def _read(
        self, request: Request, generation: Generation, reply: Reply, named: str | None, caller: Caller, *, held: AsyncExitStack
    ) -> Asked:
        """What the body asks for; from here on an error is written in the dialect that it gives away."""
        server, of = generation.server, self._reading.of
        data, fields = await self._body(request, generation, reply, held)
        reply.wire = protocol.chosen(named, request.path, server.protocol, fields)
        usual = generation.usual
        if request.surface == "responses" and (names := responses_api.referred(fields)):
            kept = {name: self._kept(from_body(caller, fields).owner, name) for name in names}
            more = b"".join(one.asked for one in kept.values())
            fields = await of(data + more, lambda: responses_api.continued(fields, kept))
        wanted = await of(data, lambda: question.asked(fields, request.model, request.surface, usual, server.request))
        await admit(wanted.ask.output)
        return wanted

    async def embed(self, request: Request, send: Send) -> None:
        """Answer one question for embeddings, as clients of the OpenAI API ask it."""
        async with self._asker(self._asking) as held:
            generation = held.enter_context(self._live.pinned())
            entry = self._entry(request, generation)
            entry.operation = "embeddings"
            reply = Reply(send, entry, WIRES["openai"])
            try:
                async with _telling(reply):
                    self._welcome(generation.server.max_streams)
                    caller = await _known(request, generation, entry, self._gate)
                    if request.method != "POST":
                        raise WrongMethod
                    admissions = await held.enter_async_context(_Admissions(request, generation, caller, entry, "embeddings"))
                    reply.limits = await admissions.of_caller()
                    _, fields = await self._body(request, generation, reply, held)
                    wanted = embeddings.asked(fields)
                    reply.limits = await admissions.of_body(wanted.embed)
                    entry.stream, entry.requested = False, wanted.embed.model
                    async with Presence(request.receive):
                        await embeddings.deliver(reply, generation.route(wanted.embed.model), wanted, admissions.caller)
            except ClientLeft:
                entry.status, entry.outcome = entry.status or CLIENT_LEFT, "client_left"
            except asyncio.CancelledError:
                await _stop(reply, None)
            finally:
                self._ends(entry)

    async def _fault(self, request: Request, route: Compiled, entry: Entry) -> InducedFault | None:
        """How the request's provider is to be broken, where it may be: no stranger breaks a real one."""
        fault = request.fault
        if fault is not None:
            if not route.scripted:
                await self._gate.enter_fault(request.scope)
            entry.fault = fault
        return fault

    def _kept(self, owner: str, name: str) -> responses_api.Kept:
        """A response from which a question goes on. UnknownResponse where this replica has it not."""
        found = self._recordings.find((owner, name))
        if found is None or found.asked is None or not found.finished:
            raise UnknownResponse
        return responses_api.Kept(found.asked, found.heading, found.since(0)[1])

    async def response(self, request: Request, send: Send, name: str, *, cancel: bool = False) -> None:
        """Retrieve, follow, cancel or delete a response that is kept."""
        with self._among(self._viewing), self._live.pinned() as generation:
            entry = self._entry(request, generation)
            reply = Reply(send, entry, WIRES["responses"])
            sink: Streamed | None = None
            try:
                async with _telling(reply):
                    if request.method not in (("POST",) if cancel else ("GET", "DELETE")):
                        raise UnknownAddress
                    if (most := generation.server.max_streams) is not None and len(self._viewing) > most:
                        raise Crowded
                    key: Key = ((await _known(request, generation, entry, self._gate)).owner, name)
                    recording = await self._found(key, generation)
                    if recording is None or not name.startswith("resp_"):
                        raise UnknownResponse
                    entry.route = recording.entry.route
                    if cancel:
                        entry.outcome = "stop_asked"
                        await self._cancel(key, recording, generation)
                    elif request.method == "DELETE":
                        await self._delete(key, generation)
                        entry.outcome = "deleted"
                        await reply.whole(200, compact({"id": name, "object": "response", "deleted": True}).encode())
                        return
                    elif (after := _after(request)) is not None:
                        entry.stream, entry.outcome = True, "resumed"
                        sink = Streamed(reply, replace(recording.heading, after=after), generation.server.keep_alive)
                        async with Presence(request.receive):
                            await recording.follow(sink)
                        return
                    else:
                        entry.outcome = "resumed"
                    await reply.whole(200, responses.standing(recording.heading, recording.since(0)[1]))
            except ClientLeft:
                entry.status = entry.status or CLIENT_LEFT
            except asyncio.CancelledError:
                await _stop(reply, sink)
            finally:
                entry.close()

    async def _found(self, key: Key, generation: Generation) -> Recording | None:
        """The recording of this name, here or at another replica, if all of it is there."""
        found = self._recordings.find(key)
        if replica := self._replicas.on(generation.kept.logs):
            found = await replica.find(key, found, generation.server.resume)
        return found if found is not None and found.findable else None

    async def _cancel(self, key: Key, recording: Recording, generation: Generation) -> None:
        """Stop an answer, and wait until it has ended."""
        replica = self._replicas.on(generation.kept.logs)
        if replica is None or not await replica.stop(key, self._recordings.find(key)):
            self._recordings.stop(key)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await recording.ended()

    async def _delete(self, key: Key, generation: Generation) -> None:
        """Forget an answer, here and at the other replicas."""
        self._recordings.delete(key)
        if replica := self._replicas.on(generation.kept.logs):
            try:
                await replica.delete(key, generation.server.resume.keep + LAST_WORDS)
            except Away:
                raise Undeleted from None

    async def count(self, request: Request, send: Send) -> None:
        """Estimate the input tokens of a question of Anthropic's API, which is not asked. What the route adds to it is not counted."""
        with self._live.pinned() as generation:
            entry = self._entry(request, generation)
            reply = Reply(send, entry, WIRES["anthropic"])
            try:
                async with _telling(reply):
                    caller = await _known(request, generation, entry, self._gate)
                    if request.method != "POST":
                        raise WrongMethod
                    async with _Admissions(request, generation, caller, entry) as admissions, AsyncExitStack() as held:
                        reply.limits = await admissions.of_caller()
                        wanted = await self._read(request, generation, reply, "anthropic", caller, held=held)
                        reply.limits = await admissions.of_route(wanted.ask.model)
                        tokens = anthropic_api.estimate(wanted.ask.messages, wanted.ask.tools)
                        entry.outcome = "counted"
                        await reply.whole(200, compact({"input_tokens": tokens}).encode())
            except ClientLeft:
                entry.status, entry.outcome = entry.status or CLIENT_LEFT, "client_left"
            finally:
                entry.close()

    async def resume(self, request: Request, send: Send, chat: str | None) -> None:
        """Write the answer of a chat, from its start and going on. Where there is none: 204 with the chat's id in the path, and an
        empty 200 with `?chatId=`, where AI SDK 4 asks and takes a 204 for an error.
        """
        wanted = chat if chat is not None else parse_qs(request.query.decode("latin-1")).get("chatId", [""])[0]
        with self._among(self._viewing), self._live.pinned() as generation:
            entry = self._entry(request, generation)
            reply = Reply(send, entry, WIRES["line"])
            sink: Streamed | None = None
            try:
                async with _telling(reply):
                    named = _dialect(request, generation, reply)
                    if (most := generation.server.max_streams) is not None and len(self._viewing) > most:
                        raise Crowded
                    caller = await _known(request, generation, entry, self._gate)
                    key: Key = (caller.owner, wanted)
                    recording = self._recordings.find(key)
                    if replica := self._replicas.on(generation.kept.logs):
                        recording = await replica.find(key, recording, generation.server.resume)
                    if recording is None or not recording.findable:  # it may have outgrown its bound while Redis was asked
                        entry.outcome = "nothing_to_resume"
                        await reply.empty(200 if chat is None else 204)
                        return
                    reply.wire = WIRES[named] if named else recording.wire
                    entry.route, entry.stream, entry.outcome = recording.entry.route, True, "resumed"
                    sink = Streamed(reply, recording.heading, generation.server.keep_alive)
                    async with Presence(request.receive):
                        try:
                            await recording.follow(sink)
                        except Away:  # Redis went between its being found and its being read
                            if reply.begun:
                                raise
                            entry.outcome = "nothing_to_resume"
                            await reply.empty(200 if chat is None else 204)
            except ClientLeft:
                entry.status = entry.status or CLIENT_LEFT
            except asyncio.CancelledError:
                await _stop(reply, sink)
            finally:
                entry.close()

    async def stop(self, request: Request, send: Send, chat: str) -> None:
        """Stop the answer of a chat. 204 whether there was one or not."""
        with self._live.pinned() as generation:
            entry = self._entry(request, generation)
            reply = Reply(send, entry, WIRES["line"])
            try:
                async with _telling(reply):
                    _dialect(request, generation, reply)
                    caller = await _known(request, generation, entry, self._gate)
                    key: Key = (caller.owner, chat)
                    replica = self._replicas.on(generation.kept.logs)
                    if replica is None or not await replica.stop(key, self._recordings.find(key)):
                        self._recordings.stop(key)
                    entry.outcome = "stop_asked"
                    await reply.empty(204)
            finally:
                entry.close()


def _kept_as(wanted: Asked, heading: Heading) -> str | None:
    """The name by which an answer is found again: its chat's, or a response's own; None where it is not kept."""
    if wanted.conversation is not None:
        return response_id(heading)
    return wanted.chat_id if wanted.stream else None


def _after(request: Request) -> int | None:
    """The number of the last event that a client has which follows a response, -1 for none; None where it does not follow it."""
    query = parse_qs(request.query.decode("latin-1"))
    stream, after = query.get("stream", ["false"])[0], query.get("starting_after", [""])[0]
    if stream not in ("true", "false"):
        raise BadAsk("stream: true or false is needed.")
    if after and not (after.isascii() and after.isdigit() and len(after) < 10):
        raise BadAsk("starting_after: the number of an event is needed.")
    if stream == "false":
        if after:
            raise BadAsk("starting_after: this needs stream=true.")
        return None
    return int(after) if after else -1


class _Admissions:
    """The limits that a request is held against, each as soon as it is known which: the caller's before the body, the route's as well
    where the path names it. What a limit refuses costs no more than its headers. The places are held until the block ends; the limits are
    charged for what the request used when its entry is closed, which may be later.
    """

    def __init__(self, request: Request, generation: Generation, caller: Caller, entry: Entry, kind: str = "chat") -> None:
        self._request = request
        self._kind = kind
        """The kind of route that answers such a request."""
        self._generation = generation
        self.caller = caller
        """Who asks; with the end user, once that is known."""
        self._entry = entry
        self._held: list[Admission] = []
        self._user_known = not caller.user_in_body
        self._later: list[Quota] = []
        """Limits of the end user, until the body names them."""

    async def __aenter__(self) -> Self:
        self._entry.observers = (self._charge, *self._entry.observers)
        return self

    def _charge(self, entry: Entry) -> None:
        for admission in self._held:
            admission.settle(entry.used, entry.cost)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for admission in self._held:
            admission.leave()

    async def of_caller(self) -> Headers:
        """Hold the request against its caller's own limit: a caller over its own limit takes nothing of the others'. Return what is left,
        as headers.
        """
        caller = self.caller
        if caller.limit is not None:
            await self._count(Quota(f"caller:{caller.id}", caller.limit, self._generation.kept.counts))
        return self._headers()

    async def of_route(self, model: str) -> Headers:
        """Hold the request against the limit of the route with this id. UnknownModel where there is no such route, NotAllowed where the
        caller may not ask it. Return what the tightest limit leaves, as headers.
        """
        generation, caller = self._generation, self.caller
        route = generation.route(model)
        self._entry.takes(route.name, route.toolbox, route.models, generation.prices, stand_ins=route.stand_ins)
        caller.asks(route.name)
        if route.declared.kind != self._kind:
            raise BadAsk(OTHER_KIND[route.declared.kind])
        if route.quota is not None:
            await self._count(route.quota)
        return self._headers()

    async def of_body(self, ask: Ask | Embed) -> Headers:
        """Hold the request against the limits that had to wait for the body: those of the end user and of the route that it names. BadAsk
        where it must name a user and does not. Return what the tightest limit leaves, as headers.
        """
        if not self._user_known:
            self.caller, self._user_known = from_body(self.caller, ask.fields), True
            self._entry.user, self._entry.owner = self.caller.user, self.caller.owner
            for quota in self._later:
                await self._count(quota)
        return await self.of_route(ask.model) if self._request.model is None else self._headers()

    async def _count(self, quota: Quota) -> None:
        """Hold the request against one limit; later, where that is the end user's and the body has yet to name them."""
        if quota.declared.per == "user" and not self._user_known:
            self._later.append(quota)
            return
        for held, subject in _subjects(quota, self._request, self.caller, self._generation):
            await self._take(held, subject)

    def circumstances(self, route: Compiled) -> Circumstances:
        """What the conditions of a route may look at: who asks with which headers, and how much is used of the tightest limit."""
        used = max((one.used for one in self._held), default=0.0)
        return Circumstances(self.caller.name, self.caller.claims, self._request.values(route.headers), used)

    async def _take(self, quota: Quota, subject: str) -> None:
        try:
            self._held.append(await quota.admit(subject))
        except TooMany:
            for admission in self._held:
                admission.withdraw()
            self._held.clear()
            raise

    def _headers(self) -> Headers:
        return min(self._held, key=lambda one: one.left).headers if self._held else []


def _subjects(quota: Quota, request: Request, caller: Caller, generation: Generation) -> list[tuple[Quota, str]]:
    """Whom a limit counts this request with. Of IPv6 it is two networks, and the wider one has a wider limit. A request that names no end
    user counts with its caller.
    """
    match quota.declared.per:
        case "ip":
            return [(quota.times(times), network) for network, times in counted(request.address(generation.server.proxies))]
        case "key":
            return [(quota, caller.id)]
        case "user":
            return [(quota, caller.owner)] if caller.user else [(quota.per_caller(), caller.id)]
        case "route":
            return [(quota, "")]


async def _known(request: Request, generation: Generation, entry: Entry, gate: Gate) -> Caller:
    """Who asks, and for which end user, as far as headers tell: before anything is read of the request's body, or looked up for it."""
    try:
        caller = await gate.caller(request.scope, generation)
    except Unauthorized as error:
        entry.caller = error.caller
        raise
    entry.caller = caller.name
    caller = from_headers(caller, request.scope["headers"])
    entry.user, entry.owner = caller.user, caller.owner
    return caller


def _dialect(request: Request, generation: Generation, reply: Reply) -> str | None:
    """The dialect that the request names, if it does. An error is written in it, or in what else is known before the body is read."""
    named = request.protocol()
    reply.wire = protocol.chosen(named, request.path, generation.server.protocol)
    return named


async def _recorded(pins: ExitStack, delivery: Coroutine[object, object, None]) -> None:
    """An answer that may outlive its request holds on to its generation by itself."""
    with pins:
        await delivery


@asynccontextmanager
async def _telling(reply: Reply) -> AsyncGenerator[None, None]:
    """Tell the client what goes wrong in the block before its answer began."""
    try:
        yield
    except ClientLeft:
        raise  # nobody is left to be told
    except RouterError as error:
        await reply.refuse(error)
    except Exception:
        # The one place that catches whatever was not foreseen: the client hears a code, the log where it was.
        problems.exception("a request failed", extra={"fields": {"request_id": reply.entry.request_id}})
        if reply.begun:
            raise  # the connection is reset: a stream that breaks must not look finished
        await reply.refuse(RouterError())


async def _stop(reply: Reply, sink: Streamed | Collected | None) -> None:
    if sink is not None and sink.begun:
        if conclude(sink, Failure(Stopping.code, Stopping.sentence, reply.entry.attempts)):
            reply.entry.outcome = Stopping.code
        await sink.close()
    elif not reply.begun:
        await reply.refuse(Stopping(attempts=reply.entry.attempts))
