"""The chat endpoints: one request in a straight line, and finding or stopping the answer of an earlier one."""

import asyncio
import dataclasses
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from urllib.parse import parse_qs

from starlette.types import Send

from router.access.gate import Gate
from router.answering import embeddings, response
from router.answering.admissions import Admissions
from router.answering.exchange import Exchange, ServedTask
from router.answering.kept import LAST_WORDS, KeptAnswers
from router.answering.prompts import check_choices, in_turn
from router.answering.recording import Key, Recording
from router.answering.reply import Collected, Presence, Reply, Streamed, deliver
from router.callers import Caller, from_body, from_headers
from router.chat import CacheControl, InducedFault, Json, JsonObject
from router.config.server import Resume
from router.errors import (
    Crowded,
    Stopping,
    Unauthorized,
    WrongMethod,
)
from router.generation import Compiled, Generation
from router.intake import Asked, Intake, KeptResponse, Request, estimate, permitted
from router.journal.entry import Entry, GuardedObservers, Observer
from router.lifecycle import Holdings
from router.reload import Live
from router.shared import Away
from router.value import replace
from router.wire import WIRES, Heading, compact, responses
from router.wire.responses import response_id

UNSHARED = CacheControl(max_age=0.0, store=False)
"""Cache wishes of a request whose provider is broken: its answer is for its caller alone."""
log = logging.getLogger("router.server")


class Chat:
    """The chat endpoints: /api/chat, AG-UI, and the addresses of OpenAI's and Anthropic's APIs and of the AI SDK's gateway."""

    def __init__(self, live: Live, gate: Gate, observers: Sequence[Observer] = (), began: Sequence[Observer] = ()) -> None:
        self._live = live
        self._gate = gate
        self._began = GuardedObservers(began)
        """Observers that are shown each request when it comes."""
        self._observers = (GuardedObservers(observers),)
        self._kept = KeptAnswers()
        self.intake = Intake()
        self._asking: set[asyncio.Task[object]] = set()
        """Tasks of callers that asked, and wait for the answer."""
        self._viewing: set[asyncio.Task[object]] = set()
        """Tasks of callers that found an answer again: it is made all the same."""
        self._alone: set[asyncio.Task[None]] = set()
        """Answers that go on although whoever asked has left."""
        self._counting: set[asyncio.Task[None]] = set()
        """Requests that are over but for the count of their tokens."""
        self.stopping = False
        """True while the server is about to end: new questions are refused."""
        self._warned_of_proxy = False

    @property
    def running(self) -> int:
        """Answers that are being given now, or made although nobody is given them just now."""
        return len(self._asking) + len(self._viewing) + len(self._alone)

    async def close(self) -> None:
        """The server ends: every answer that still runs is told so."""
        await self._kept.fail()
        await self._all_alone()
        await self._all_counted()
        await self._kept.end()
        await self._kept.close()

    async def drain(self) -> None:
        """The server is about to end: nothing new is taken, and what runs may finish, for as long as is declared."""
        self.stopping = True
        until = time.monotonic() + self._live.generation.server.drain
        log.info("stopping", extra={"fields": {"open": self.running}})
        while (running := self._asking | self._viewing | self._kept.recordings.tasks) and (left := until - time.monotonic()) > 0:
            await asyncio.wait(running, timeout=left)

    async def end(self) -> None:
        """End the answers that still run: the server ends."""
        await self._kept.fail()
        await self._all_alone()
        await self._kept.end()
        if tasks := self._asking | self._viewing:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=LAST_WORDS)
        await self._all_counted()

    def _welcome(self, most: int | None) -> None:
        """Stopping where the server ends, Crowded where so many answers are made already: at once, nobody waits in a line."""
        if self.stopping:
            raise Stopping
        if most is not None and len(self._asking) + len(self._alone) > most:
            raise Crowded

    def _goes_on(self, recording: Recording, entry: Entry, held: Holdings) -> None:
        """Keep what the request held (its place among its limits) until the end of an answer whose client has left, then log it."""
        task = asyncio.create_task(self._ended(recording, entry, held))
        self._alone.add(task)
        task.add_done_callback(self._alone.discard)

    async def _ended(self, recording: Recording, entry: Entry, held: Holdings) -> None:
        """Wait for the end of an answer whose client has left: log the request, and let go of what it held."""
        with held:
            try:
                await recording.ended()
            finally:
                self._ends(entry)

    def _ends(self, entry: Entry) -> None:
        """Close the request's entry: at once, or when the counts have come that its providers still owe. Nothing else waits for those."""
        entry.tally()
        if not entry.pending:
            entry.conclude()
            return
        task = asyncio.create_task(entry.counted())
        self._counting.add(task)

        def counted(_: object) -> None:
            self._counting.discard(task)
            entry.conclude()

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
        self._began(entry)
        return entry

    async def ask(self, request: Request, send: Send) -> None:
        """Answer one question."""
        with ServedTask(self._asking) as held:
            generation = self._live.enter()
            held.add(leave := partial(self._live.leave, generation))
            entry = self._entry(request, generation)
            reply = Reply(send, entry, request.wire)
            recording: Recording | None = None
            server = generation.server
            try:
                async with Exchange(reply, request):
                    request.speaks(server.protocol)
                    self._welcome(server.max_streams)
                    caller = await _known(request, generation, entry, self._gate)
                    if request.method != "POST":
                        raise WrongMethod
                    admissions = Admissions(request, generation, caller, entry, held=held)
                    reply.limits = await admissions.of_caller()
                    if request.model is not None:  # the path names the route: its limits need no body, either
                        reply.limits = await admissions.of_route(request.model)
                    wanted = await self.intake.read(
                        request, server, generation.usual, partial(self._earlier, caller, generation), held=held
                    )
                    reply.wire = wanted.wire
                    if wanted.prompts:
                        check_choices(wanted.wire)
                    reply.limits = await admissions.of_body(wanted.ask, wanted.prompts)
                    caller = admissions.caller
                    route = generation.route(wanted.ask.model)
                    answer = in_turn(route.answer, wanted.prompts) if wanted.prompts else route.answer
                    fault = await self._fault(request, route, entry)
                    entry.stream, entry.requested = wanted.stream, wanted.ask.model
                    heading = _heading(wanted, entry.request_id, request.min_client or server.ui.min_client)
                    total = route.declared.timeout.total
                    ask = replace(
                        permitted(wanted.ask, route.declared.refuse),
                        model=route.name,
                        caller=caller.id,
                        user=caller.user,
                        circumstances=admissions.circumstances(route),
                        cache=wanted.cache if fault is None else UNSHARED,
                        fault=fault,
                        approvable=wanted.wire.approvals and heading.min_client != "5.0",
                        until=time.monotonic() + total,
                        tried=entry.tried,
                    )
                    sink = Streamed(reply, heading, server.keep_alive) if wanted.stream else Collected(reply, heading)
                    async with Presence(request.receive) as presence:
                        if (kept_as := _kept_as(wanted, heading)) is not None:
                            recording = _recording(wanted, heading, reply, server.resume, total)
                            delivery = deliver(answer, ask, total, entry, recording, background=wanted.background)
                            self._kept.record((caller.owner, kept_as), recording, delivery, total, generation)
                            recording.holds(leave)
                            held.withdraw(leave)
                            await presence.apart(_first_view(recording, wanted, reply, sink))
                        else:
                            await presence.apart(deliver(answer, ask, total, entry, sink))
            finally:
                if recording is None or recording.over:
                    self._ends(entry)
                else:
                    self._goes_on(recording, entry, held.handed_over())

    async def embed(self, request: Request, send: Send) -> None:
        """Answer one question for embeddings, as clients of the OpenAI API or of the AI SDK's gateway ask it."""
        with ServedTask(self._asking) as held:
            generation = self._live.enter()
            held.add(partial(self._live.leave, generation))
            entry = self._entry(request, generation)
            entry.operation = "embeddings"
            reply = Reply(send, entry, request.speaks_as_addressed("openai"))
            try:
                async with Exchange(reply, request):
                    self._welcome(generation.server.max_streams)
                    caller = await _known(request, generation, entry, self._gate)
                    if request.method != "POST":
                        raise WrongMethod
                    admissions = Admissions(request, generation, caller, entry, held=held, kind="embeddings")
                    reply.limits = await admissions.of_caller()
                    wanted = await self.intake.read_inputs(request, generation.server, held=held)
                    reply.limits = await admissions.of_body(wanted.embed)
                    entry.stream, entry.requested = False, wanted.embed.model
                    async with Presence(request.receive):
                        await embeddings.deliver(reply, generation.route(wanted.embed.model), wanted, admissions.caller)
            finally:
                self._ends(entry)

    async def _fault(self, request: Request, route: Compiled, entry: Entry) -> InducedFault | None:
        """Return the induced fault, if the client may induce it: no stranger breaks a real provider."""
        fault = request.fault
        if fault is not None:
            if not route.scripted:
                await self._gate.enter_fault(request.scope)
            entry.fault = fault
        return fault

    async def _earlier(self, caller: Caller, generation: Generation, fields: Mapping[str, Json], name: str) -> KeptResponse:
        """Return the response of this caller from which a question with these fields goes on."""
        key = (from_body(caller, fields).owner, name)
        return await self._kept.earlier(key, generation, asked=name == fields.get("previous_response_id"))

    async def response(self, request: Request, send: Send, name: str, part: response.Part = "response") -> None:
        """Retrieve, follow, cancel or delete a response that is kept, or list the items that it answers."""
        with ServedTask(self._viewing), self._live.pinned() as generation, closing(self._entry(request, generation)) as entry:
            reply = Reply(send, entry, request.speaks_as_addressed())
            async with Exchange(reply, request, outcome=False):
                response.check_address(part, request.method, name)
                if (most := generation.server.max_streams) is not None and len(self._viewing) > most:
                    raise Crowded
                key: Key = ((await _known(request, generation, entry, self._gate)).owner, name)
                await response.answer(part, request, reply, key, kept=self._kept, generation=generation, intake=self.intake)

    async def count(self, request: Request, send: Send) -> None:
        """Estimate the input tokens of a question, which is not asked. What the route adds to it is not counted."""
        with self._live.pinned() as generation, closing(self._entry(request, generation)) as entry:
            reply = Reply(send, entry, request.speaks_as_addressed())
            async with Exchange(reply, request):
                caller = await _known(request, generation, entry, self._gate)
                if request.method != "POST":
                    raise WrongMethod
                with Holdings() as held:
                    admissions = Admissions(request, generation, caller, entry, held=held)
                    reply.limits = await admissions.of_caller()
                    wanted = await self.intake.read(
                        request, generation.server, generation.usual, partial(self._earlier, caller, generation), held=held
                    )
                    reply.limits = await admissions.of_route(wanted.ask.model)
                    tokens = estimate(wanted.ask.messages, wanted.ask.tools)
                    entry.outcome = "counted"
                    kind: JsonObject = {"object": "response.input_tokens"} if request.surface == "responses" else {}
                    await reply.complete(200, compact({**kind, "input_tokens": tokens}).encode())

    async def resume(self, request: Request, send: Send, chat: str | None) -> None:
        """Write the answer of a chat, from its start and going on.

        Where there is none: 204 with the chat's id in the path, and an empty 200 with `?chatId=`, where AI SDK 4 asks and takes a 204 for
        an error.
        """
        wanted = chat if chat is not None else parse_qs(request.query.decode("latin-1")).get("chatId", [""])[0]
        with ServedTask(self._viewing), self._live.pinned() as generation, closing(self._entry(request, generation)) as entry:
            reply = Reply(send, entry, request.wire)
            async with Exchange(reply, request, outcome=False):
                request.speaks(generation.server.protocol)
                if (most := generation.server.max_streams) is not None and len(self._viewing) > most:
                    raise Crowded
                caller = await _known(request, generation, entry, self._gate)
                recording = await self._kept.found((caller.owner, wanted), generation)
                if recording is None:
                    entry.outcome = "nothing_to_resume"
                    await reply.empty(200 if chat is None else 204)
                    return
                reply.wire = request.wire = WIRES[request.named] if request.named else recording.wire
                reply.resumed = recording.heading.request_id
                entry.route, entry.stream, entry.outcome = recording.entry.route, True, "resumed"
                sink = Streamed(reply, recording.heading, generation.server.keep_alive)
                async with Presence(request.receive) as presence:
                    try:
                        await presence.apart(recording.write_to(sink))
                    except Away:  # Redis went between its being found and its being read
                        if reply.begun:
                            raise
                        entry.outcome = "nothing_to_resume"
                        await reply.empty(200 if chat is None else 204)

    async def stop(self, request: Request, send: Send, chat: str) -> None:
        """Stop the answer of a chat. 204 whether there was one or not."""
        with self._live.pinned() as generation, closing(self._entry(request, generation)) as entry:
            reply = Reply(send, entry, request.wire)
            async with Exchange(reply, request):
                request.speaks(generation.server.protocol)
                caller = await _known(request, generation, entry, self._gate)
                await self._kept.stop((caller.owner, chat), generation)
                entry.outcome = "stop_asked"
                await reply.empty(204)


def _heading(wanted: Asked, request_id: str, min_client: str) -> Heading:
    return Heading(
        request_id=request_id,
        message_id=wanted.continues or str(uuid.uuid4()),
        model=wanted.ask.model,
        created=int(time.time()),
        wants_usage=wanted.wants_usage,
        min_client=min_client,
        asked=wanted.repeated,
    )


def _recording(wanted: Asked, heading: Heading, reply: Reply, resume: Resume, total: float) -> Recording:
    """Return the recording of an answer. One in the background goes on without a viewer for as long as the route may take."""
    if wanted.background:
        resume = dataclasses.replace(resume, grace=max(total, resume.grace or 0.0))
    return Recording(reply.entry, heading, reply.wire, resume, wanted.conversation, background=wanted.background)


async def _first_view(recording: Recording, wanted: Asked, reply: Reply, sink: Streamed | Collected) -> None:
    """Write an answer to the client that asked for it; of one in the background that is not streamed, that it has been taken."""
    if wanted.background and not wanted.stream:
        await recording.found_elsewhere()
        await reply.complete(200, responses.standing(recording.heading, ()))
    else:
        await recording.write_to(sink)


def _kept_as(wanted: Asked, heading: Heading) -> str | None:
    """The name by which an answer is found again: its chat's, or a response's own; None where it is not kept."""
    if wanted.conversation is not None:
        return response_id(heading)
    return wanted.chat_id if wanted.stream else None


async def _known(request: Request, generation: Generation, entry: Entry, gate: Gate) -> Caller:
    """Return the caller and its end user, as far as headers name them, before anything is read of the request's body, or looked up for it."""
    try:
        caller = await gate.caller(request.scope, generation)
    except Unauthorized as error:
        entry.caller = error.caller
        raise
    entry.caller = caller.name
    caller = from_headers(caller, request.scope["headers"])
    entry.user, entry.owner = caller.user, caller.owner
    return caller
