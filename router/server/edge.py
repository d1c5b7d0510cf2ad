"""The HTTP edge: one plain ASGI application. The chat endpoints are served here, everything else by the FastAPI pages.

Plain, because each layer around a streaming `send` costs (FastAPI's StreamingResponse half the throughput) and some
hide the client's leaving.
"""

import asyncio
import re
import secrets
import time
import uuid
from dataclasses import replace

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from router.config.declaration import Cors
from router.errors import RouterError, Stopping, WrongMethod
from router.events import Failure
from router.reload import Live
from router.server import body, protocol
from router.server.body import ClientLeft
from router.server.log import Entry, problems
from router.server.reply import Collected, Presence, Reply, Streamed, deliver
from router.wire import WIRES, Heading

CHAT = "/api/chat"
COMPLETIONS = f"{protocol.OPENAI}chat/completions"
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
CLIENT_LEFT = 499
"""What the log gives as status where nobody was left to get one (nginx's own number for it)."""


def _check_method(scope: Scope) -> None:
    if scope["method"] != "POST":
        raise WrongMethod


async def _stop(reply: Reply, sink: Streamed | Collected | None) -> None:
    if sink is not None and sink.begun:
        sink.put(Failure(Stopping.code, Stopping.sentence, reply.entry.attempts))
        await sink.close()
    elif not reply.begun:
        await reply.refuse(Stopping(attempts=reply.entry.attempts))


class Edge:
    """The application uvicorn runs."""

    def __init__(self, live: Live, pages: ASGIApp) -> None:
        self._live = live
        self._pages = pages
        self._cors: tuple[Cors, ASGIApp] = (Cors(), self._serve)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._with_cors()(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _with_cors(self) -> ASGIApp:
        """The application behind the live generation's `server.cors`; made anew when that changes."""
        declared = self._live.generation.server.cors
        if declared != self._cors[0]:
            wrapped = CORSMiddleware(
                self._serve,
                allow_origins=declared.origins,
                allow_credentials=True,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=["x-request-id", "x-router-generation", "x-router-target"],
            )
            self._cors = (declared, wrapped)
        return self._cors[1]

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path in (CHAT, COMPLETIONS):
            await self._chat(scope, receive, send, None)
        elif path.startswith(CHAT + "/"):
            await self._chat(scope, receive, send, path.removeprefix(CHAT + "/"))
        else:
            await self._pages(scope, receive, send)

    async def _chat(self, scope: Scope, receive: Receive, send: Send, model: str | None) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        with self._live.pinned() as generation:
            entry = Entry(request_id, generation.digest)
            reply = Reply(send, entry, WIRES["line"])
            sink: Streamed | Collected | None = None
            try:
                server = generation.server
                named = protocol.requested(scope.get("query_string", b""), headers.get(b"x-stream-protocol", b""))
                reply.wire = protocol.chosen(named, scope["path"], server.protocol, {})
                _check_method(scope)
                data = await body.read(receive, headers.get(b"content-length"), server.request)
                fields = body.parsed(data, server.request.depth)
                reply.wire = protocol.chosen(named, scope["path"], server.protocol, fields)
                if scope["path"] == COMPLETIONS and fields.get("stream") is None:
                    fields["stream"] = False  # as that API has it; everywhere else a stream is what is asked for
                wanted = body.asked(fields, model, server.request)
                route = generation.route(wanted.ask.model)
                entry.route, entry.stream = route.name, wanted.stream
                heading = Heading(
                    request_id=request_id,
                    message_id=str(uuid.uuid4()),
                    model=wanted.ask.model,
                    created=int(time.time()),
                    wants_usage=protocol.wants_usage(fields),
                    min_client=server.ui.min_client,
                )
                sink = Streamed(reply, heading, server.keep_alive) if wanted.stream else Collected(reply, heading)
                ask = replace(wanted.ask, model=route.name)
                async with Presence(receive):
                    await deliver(route.answer, ask, route.declared.timeout.total, sink)
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
                problems.exception("a request failed", extra={"fields": {"request_id": request_id}})
                if reply.begun:
                    raise  # the connection is reset: a stream that breaks must not look finished
                await reply.refuse(RouterError())
            finally:
                entry.write()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._live.generation.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._live.close()
                await send({"type": "lifespan.shutdown.complete"})
                return
