"""The chat endpoints: answer one request, and resume or stop the answer of an earlier one."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import parse_qs

from starlette.types import Send

from router.access.gate import Gate
from router.answering import embeddings, response
from router.answering.admissions import Admissions
from router.answering.delivery import deliver
from router.answering.exchange import Exchange
from router.answering.kept import LAST_WORDS, KeptAnswers
from router.answering.prompts import check_choices, in_turn
from router.answering.recording import Key, Recording
from router.answering.reply import Collected, Reply, Streamed
from router.callers import Caller, from_body, from_headers
from router.chat import NOWHERE, CacheControl, InducedFault, Json, JsonObject
from router.config.server import Resume
from router.errors import Crowded, Stopping, Unauthorized, WrongMethod
from router.generation import Compiled, Generation
from router.intake import Asked, Intake, KeptResponse, Request, estimate, permitted
from router.journal.entry import Entry, GuardedObservers, Observer
from router.lifecycle import Deadline, Holdings
from router.random_ids import random_uuid
from router.reload import Live
from router.shared import Away
from router.steps.session import Session, chat_hash, session
from router.value import replace
from router.wire import WIRES, Heading, Wire, compact, responses
from router.wire.responses import response_id

UNSHARED = CacheControl(max_age=0.0, store=False)
"""Cache wishes of a request with an induced fault: its answer is neither cached nor shared."""
log = logging.getLogger("router.server")


class Chat:
    """The chat endpoints: /api/chat, AG-UI, and the paths of OpenAI's and Anthropic's APIs and of the AI SDK's gateway."""

    def __init__(self, live: Live, gate: Gate, observers: Sequence[Observer] = (), began: Sequence[Observer] = ()) -> None:
        self._live = live
        self._gate = gate
        self._began = GuardedObservers(began).__call__  # a bound method is called in a third of the time of an object
        """Calls observers with the entry of each request at its start."""
        self._observers = (GuardedObservers(observers).__call__,)
        self._kept = KeptAnswers()
        self.intake = Intake()
        self._asking: set[asyncio.Task[object]] = set()
        """Tasks of requests that ask a question or for embeddings, until their response is over."""
        self._viewing: set[asyncio.Task[object]] = set()
        """Tasks of requests that resume an answer or retrieve a response."""
        self._brief: set[asyncio.Task[object]] = set()
        """Tasks of requests that a shutdown need not wait for."""
        self._alone: set[asyncio.Task[None]] = set()
        """Tasks that wait for answers that go on without their client."""
        self._counting: set[asyncio.Task[None]] = set()
        """Tasks of requests that are over but for pending token counts."""
        self.stopping = False
        """True during a graceful shutdown: new questions are refused."""
        self._warned_of_proxy = False

    @property
    def running(self) -> int:
        """Number of requests in progress, embeddings and resumed answers included, plus answers that go on without a client."""
        return len(self._asking) + len(self._viewing) + len(self._alone)

    async def close(self) -> None:
        """End every running answer that is recorded, and close the log entries that wait for token counts: the server is shutting down.

        Clients that read such an answer, also one that another replica makes, get an error. At the end the recordings are written to Redis.
        Requests whose answer is not recorded are left alone: `end` cancels those.
        """
        await self._end_recorded()
        await self._all_counted()
        await self._kept.replicas.end()
        await self._kept.replicas.close()

    async def drain(self) -> None:
        """Refuse new questions, and wait until running answers have finished, `server.drain` seconds at most; `end` ends the others."""
        self.stopping = True
        until = time.monotonic() + self._live.generation.server.drain
        log.info("stopping", extra={"fields": {"open": self.running}})
        while (running := self._asking | self._viewing | self._kept.recordings.tasks) and (left := until - time.monotonic()) > 0:
            await asyncio.wait(running, timeout=left)

    async def end(self) -> None:
        """End the answers that still run with an error for their clients, and wait for that: the server is shutting down.

        Recorded answers come first. Requests that are still served then are cancelled, and have LAST_WORDS seconds to write their end.
        """
        await self._end_recorded()
        await self._kept.replicas.end()
        if tasks := self._asking | self._viewing:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=LAST_WORDS)
        await self._all_counted()

    def _exchange(self, request: Request, send: Send, wire: Wire, tasks: set[asyncio.Task[object]], *, outcome: bool = True) -> Exchange:
        """Return the context of a request, in the generation that serves now, with its entry, which has begun.

        tasks: where its task stands meanwhile
        outcome: whether a disconnect is its outcome
        """
        generation = self._live.generation
        if request.forwarded and not self._warned_of_proxy and (peer := request.undeclared(generation.server.proxies)):
            # If it is a proxy, limits `per: ip` count its own address in place of its clients'.
            self._warned_of_proxy = True
            log.warning(
                "undeclared_proxy", extra={"fields": {"peer": peer, "advice": "if it is a proxy of yours, add it to server.proxies"}}
            )
        entry = Entry(request.id, generation.digest, traceparent=request.traceparent, observers=self._observers)
        self._began(entry)
        reply = Reply(send, entry, wire, client=request.client)
        generation.requests += 1
        held = Holdings((generation.leave,))
        task = asyncio.current_task(asyncio.get_running_loop())
        assert task is not None
        tasks.add(task)
        return Exchange(request, reply, generation, held, task, tasks, self._close, self._goes_on, outcome)

    def _goes_on(self, exchange: Exchange) -> None:
        """Have a task wait for the end of an answer that goes on without its client, close the request's entry then, and release all."""
        assert exchange.recording is not None
        task = asyncio.create_task(self._ended(exchange.recording, exchange.reply.entry, exchange.held.handed_over()))
        self._alone.add(task)
        task.add_done_callback(self._alone.discard)

    async def _ended(self, recording: Recording, entry: Entry, held: Holdings) -> None:
        with held:
            try:
                await recording.ended()
            finally:
                self._close(entry)

    def _close(self, entry: Entry) -> None:
        """Close the request's entry at once, or, if token counts of its providers are still pending, when they have come."""
        if entry.close():
            return
        task = asyncio.create_task(entry.counted())
        self._counting.add(task)
        task.add_done_callback(self._counting.discard)
        task.add_done_callback(lambda _: entry.close(counted=True))  # also where it is cancelled before it has begun

    async def _end_recorded(self) -> None:
        """End the recorded answers of this process with an error, and wait until they are logged: LAST_WORDS seconds at most."""
        await self._kept.recordings.close()
        if self._alone:
            await asyncio.wait(self._alone, timeout=LAST_WORDS)

    async def _all_counted(self) -> None:
        """Close the entries whose token counts are still pending, without those counts."""
        for task in self._counting:
            task.cancel()
        if self._counting:
            await asyncio.wait(self._counting)

    async def _admissions(self, exchange: Exchange, kind: str = "") -> Admissions:
        """Authenticate a request, and count one with a question for its caller's limit; its body is not read.

        kind: the kind of route that the question needs; empty for a request without a question
        Raises as `Gate.caller` and `from_headers`; with a question, also WrongMethod and TooMany.
        """
        scope, entry = exchange.request.scope, exchange.reply.entry
        try:
            caller = self._gate.caller(scope, exchange.generation)
            if not isinstance(caller, Caller):
                caller = await caller
        except Unauthorized as error:
            entry.caller = error.caller
            raise
        entry.caller = caller.name
        if caller.users is not None:
            caller = from_headers(caller, scope["headers"])
        entry.user, entry.owner = caller.user, caller.owner
        admissions = Admissions(exchange, caller, kind)
        if kind:
            if exchange.request.method != "POST":
                raise WrongMethod
            if caller.limit is not None:
                await admissions.of_caller(caller.limit)
        return admissions

    def _welcome(self, most: int | None) -> None:
        """Raise Stopping during a shutdown, or Crowded if more than `most` (`server.max_streams`) run, this request included.

        Answers that go on without their client count; requests that resume an answer do not. No request is queued.
        """
        if self.stopping:
            raise Stopping
        if most is not None and len(self._asking) + len(self._alone) > most:
            raise Crowded

    async def ask(self, request: Request, send: Send) -> None:
        """Answer one chat request, as a stream or as one body. Errors are sent to the client (see Exchange)."""
        async with self._exchange(request, send, request.wire, self._asking) as exchange:
            generation, reply, entry = exchange.generation, exchange.reply, exchange.reply.entry
            server = generation.server
            request.speaks(server.protocol)
            if self.stopping or server.max_streams is not None:
                self._welcome(server.max_streams)
            admissions = await self._admissions(exchange, "chat")
            if request.model is not None:  # the path names the route: its limits need no body, either
                await admissions.of_route(request.model)
            earlier = partial(self._earlier, admissions.caller, generation)
            wanted = await self.intake.read(request, server, generation.usual, earlier, held=exchange.held)
            question, reply.wire = wanted.ask, wanted.wire
            if wanted.prompts:
                check_choices(wanted.wire)
            route = (admissions.route or admissions.takes(question.model)) if admissions.caller.free else None
            if route is None or route.quota is not None:
                route = await admissions.of_body(question, wanted.prompts)
            answer = in_turn(session()(route.answer), wanted.prompts) if wanted.prompts else route.answer
            fault = await self._induced(request, route, entry) if request.steers else None
            entry.stream, entry.requested = wanted.stream, question.model
            min_client = (request.min_client if request.steers else None) or server.ui.min_client
            heading = Heading(
                request_id=entry.request_id,
                message_id=wanted.continues or random_uuid(),
                model=question.model,
                created=int(time.time()),
                wants_usage=wanted.wants_usage,
                min_client=min_client,
                asked=wanted.repeated,
            )
            caller, total, refused = admissions.caller, route.declared.timeout.total, route.declared.refuse
            ask = replace(
                permitted(question, refused) if refused else question,
                model=route.name,
                caller=caller.id,
                user=caller.user,
                session=Session(question, caller.id, caller.user),
                chat_hash=chat_hash(question, caller.id, caller.user),
                circumstances=admissions.circumstances(route) if route.conditional else NOWHERE,
                cache=wanted.cache if fault is None else UNSHARED,
                fault=fault,
                approvable=wanted.wire.approvals and min_client != "5.0",
                until=time.monotonic() + total,
                trail=entry.trail,
            )
            await exchange.cancel_if_left()  # before anything begins that it would not end
            sink = Streamed(reply, heading, server.keep_alive) if wanted.stream else Collected(reply, heading)
            kept_as = response_id(heading) if wanted.conversation is not None else wanted.chat_id if wanted.stream else None
            if kept_as is None:
                work = deliver(answer, ask, Deadline(total, exchange.task), entry, sink)
            else:
                exchange.recording = recording = _recording(wanted, heading, reply, server.resume, total)
                delivery = deliver(answer, ask, Deadline(total), entry, recording, background=wanted.background)
                self._kept.record((caller.owner, kept_as), recording, delivery, total, generation)
                recording.holds(exchange.held.pop(0))  # the generation: the answer may outlive its request
                work = _first_view(recording, wanted, reply, sink)
            await work

    async def _induced(self, request: Request, route: Compiled, entry: Entry) -> InducedFault | None:
        """Return and record the fault that the request induces at its provider; None without one.

        Unless the route is scripted, it needs the admin key.
        """
        if (fault := request.fault) is not None:
            if not route.scripted:
                await self._gate.enter_fault(request.scope)
            entry.fault = fault
        return fault

    async def embed(self, request: Request, send: Send) -> None:
        """Answer one request for embeddings, in the form of OpenAI's API or of the AI SDK's gateway."""
        async with self._exchange(request, send, request.speaks_as_addressed("openai"), self._asking) as exchange:
            reply, server = exchange.reply, exchange.generation.server
            reply.entry.operation = "embeddings"
            self._welcome(server.max_streams)
            admissions = await self._admissions(exchange, "embeddings")
            wanted = await self.intake.read_inputs(request, server, held=exchange.held)
            route = await admissions.of_body(wanted.embed)
            reply.entry.stream, reply.entry.requested = False, wanted.embed.model
            await exchange.cancel_if_left()
            await embeddings.deliver(reply, route, wanted, admissions.caller)

    async def _earlier(self, caller: Caller, generation: Generation, fields: Mapping[str, Json], name: str) -> KeptResponse:
        """Return the stored response of this name, caller and user, which a question continues. Raises as `KeptAnswers.earlier`."""
        key = (from_body(caller, fields).owner, name)
        return await self._kept.earlier(key, generation, asked=name == fields.get("previous_response_id"))

    async def response(self, request: Request, send: Send, name: str, part: response.Part = "response") -> None:
        """Retrieve, stream, cancel or delete a stored response, or list its input items."""
        async with self._exchange(request, send, request.speaks_as_addressed(), self._viewing, outcome=False) as exchange:
            response.check_address(part, request.method, name)
            if (most := exchange.generation.server.max_streams) is not None and len(self._viewing) > most:
                raise Crowded
            key: Key = ((await self._admissions(exchange)).caller.owner, name)
            await response.answer(part, exchange, key, self._kept, self.intake)

    async def count(self, request: Request, send: Send) -> None:
        """Send an estimate of a question's input tokens, without what its route adds. It counts for the limits of caller and route."""
        async with self._exchange(request, send, request.speaks_as_addressed(), self._brief) as exchange:
            generation, reply = exchange.generation, exchange.reply
            admissions = await self._admissions(exchange, "chat")
            earlier = partial(self._earlier, admissions.caller, generation)
            wanted = await self.intake.read(request, generation.server, generation.usual, earlier, held=exchange.held)
            await admissions.of_route(wanted.ask.model)
            reply.entry.outcome = "counted"
            kind: JsonObject = {"object": "response.input_tokens"} if request.surface == "responses" else {}
            await reply.complete(200, compact({**kind, "input_tokens": estimate(wanted.ask.messages, wanted.ask.tools)}).encode())

    async def resume(self, request: Request, send: Send, chat: str | None) -> None:
        """Send the answer of a chat from its beginning, and live while it is running.

        If there is no answer to send: 204 if the path has the chat's id; an empty 200 with `?chatId=` (AI SDK 4 takes a 204 for an error).
        The same if Redis goes away before the first byte of another replica's answer.
        """
        wanted = chat if chat is not None else parse_qs(request.query.decode("latin-1")).get("chatId", [""])[0]
        async with self._exchange(request, send, request.wire, self._viewing, outcome=False) as exchange:
            generation, reply = exchange.generation, exchange.reply
            request.speaks(generation.server.protocol)
            if (most := generation.server.max_streams) is not None and len(self._viewing) > most:
                raise Crowded
            caller = (await self._admissions(exchange)).caller
            if (recording := await self._kept.found((caller.owner, wanted), generation)) is not None:
                reply.wire = request.wire = WIRES[request.named] if request.named else recording.wire
                reply.resumed, reply.entry.outcome = recording.heading.request_id, "resumed"
                reply.entry.route, reply.entry.stream = recording.entry.route, True
                sink = Streamed(reply, recording.heading, generation.server.keep_alive)
                await exchange.cancel_if_left()
                try:
                    await recording.write_to(sink)
                except Away:  # Redis went between its being found and its being read
                    if reply.begun:
                        raise
                    recording = None
            if recording is None:
                reply.entry.outcome = "nothing_to_resume"
                await reply.empty(200 if chat is None else 204)

    async def stop(self, request: Request, send: Send, chat: str) -> None:
        """Have the running answer of a chat stopped, if there is one. Send a 204 in either case, without waiting for the answer's end."""
        async with self._exchange(request, send, request.wire, self._brief) as exchange:
            request.speaks(exchange.generation.server.protocol)
            await self._kept.stop(((await self._admissions(exchange)).caller.owner, chat), exchange.generation)
            exchange.reply.entry.outcome = "stop_asked"
            await exchange.reply.empty(204)


def _recording(wanted: Asked, heading: Heading, reply: Reply, resume: Resume, total: float) -> Recording:
    """Return a new recording. A background one goes on without a client for `total`, its route's timeout, or a longer `resume.grace`."""
    if wanted.background:
        resume = replace(resume, grace=max(total, resume.grace or 0.0))
    return Recording(reply.entry, heading, reply.wire, resume, wanted.conversation, background=wanted.background)


async def _first_view(recording: Recording, wanted: Asked, reply: Reply, sink: Streamed | Collected) -> None:
    """Write an answer to its client. A background response without streaming gets only its object, once other replicas can find it."""
    if wanted.background and not wanted.stream:
        await recording.found_elsewhere()
        await reply.complete(200, responses.standing(recording.heading, ()))
    else:
        await recording.write_to(sink)
