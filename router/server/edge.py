"""The ASGI application. Chat addresses and probes are answered here, all other addresses by FastAPI.

The chat's routes are in FastAPI's table too, for /openapi.json, but are served without it: each layer around a streaming `send` costs time
(FastAPI's StreamingResponse half of the throughput), and some hide the client's disconnect.
"""

import contextlib
import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.access.cors import DeclaredOrigins, RefusedOrigins
from router.access.gate import Gate
from router.access.headers import BY_NAME, by_name
from router.access.local import bad_host
from router.admin.operations import Operations
from router.admin.probes import Probes
from router.admin.routed import Answer, AnswerRoute, DialectErrors
from router.answering.chat import Chat
from router.answering.reply import PRIVATE, Headers
from router.answering.response import Part
from router.config.server import Cors
from router.errors import BadAsk
from router.intake import gateway_api
from router.intake.protocol import AG_UI, COMPLETIONS, GATEWAY, MESSAGES, OPENAI, RESPONSES
from router.intake.request import Request
from router.reload import Live
from router.server.handover import handing_over
from router.server.head import as_get
from router.server.shutdown import Shutdown

if TYPE_CHECKING:
    from router.admin.pages import Pages

POLICY, NOTHING = b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"
"""Default Content-Security-Policy: a page may load nothing, unless it sends its own policy. It also holds where a browser shows JSON."""
log = logging.getLogger("router.server")


class Edge:
    """The ASGI application of the server. An application that mounts it must enter `started` in its own lifespan."""

    def __init__(self, admin: Operations, gate: Gate) -> None:
        self.live = admin.live
        self.admin = admin
        self._chat = admin.chat
        self._gate = gate
        self._answers = _answers(admin.chat, self.live)
        self._router = Router(self._answers, redirect_slashes=False, default=self._page)
        self._exact, self._named = _exact(self._answers), _named(self._answers)
        self._refusals = DialectErrors(self.live)
        self._probes = Probes(admin, gate, self._refusals)
        self._shutdown = Shutdown(admin.chat.drain, admin.chat.end)
        self._refused_origins = RefusedOrigins()
        self._allowed = partial(self.serve_request, allowed=True)
        self._cors: tuple[Cors, DeclaredOrigins] = (Cors(), DeclaredOrigins(self._allowed, Cors(), self._refused_origins))
        self._started = False

    @cached_property
    def _pages(self) -> "Pages":
        """The FastAPI application of all addresses but chats and probes, made at first use: the import takes 0.2 s and 16 MB."""
        from router.admin.pages import pages  # noqa: PLC0415

        return pages(self.admin, self._gate, self._answers, self._probes)

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes of all addresses, each with its access check."""
        return self._pages.routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope: a request, or the lifespan. A WebSocket is closed with code 1008."""
        if scope["type"] == "http":
            scope.setdefault("root_path", "")
            scope[BY_NAME] = by_name(scope["headers"])
            await self.serve_request(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def serve_request(self, scope: Scope, receive: Receive, send: Send, *, allowed: bool = False) -> Awaitable[None]:
        """Return the coroutine that serves a request. `Door` calls it without the coroutine of `__call__` around it.

        allowed: whether its host and origin need no look any more
        """
        if not allowed:
            headers, kinds = scope.get(BY_NAME) or by_name(scope["headers"])
            if bad_host(scope, headers):
                return self._refusals.send(BadAsk("One Host header is needed, with a host and perhaps a port."), scope, receive, send)
            if kinds.origin:
                declared, (cors, app) = self.live.generation.server.cors, self._cors
                if declared != cors:
                    app = DeclaredOrigins(self._allowed, declared, self._refused_origins)
                    self._cors = (declared, app)
                return app.serving(scope, headers)(scope, receive, send)
        if not self._started:
            self._started = True
            fields = {"remedy": "enter Edge.started() in the lifespan of the application that mounts this one"}
            log.error("not started", extra={"fields": fields})
        if self._chat.stopping:  # what it refuses from now on no model has heard
            send = handing_over(scope, send)
        if not scope["root_path"]:
            if (app := self._exact.get(scope["path"])) is not None:
                return app(scope, receive, send)
            before, _, name = scope["path"].rpartition("/")
            if (app := self._named.get(before)) is not None:
                scope["path_params"] = {"route": name}
                return app(scope, receive, send)
        return self._router(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope, send = as_get(scope, send)
        send = _careful(send)
        if await self._probes.answered(scope, receive, send):
            return
        if "_pages" not in vars(self):  # beside the loop: running answers go on
            await self.admin.turns.take(lambda: self._pages, "pages")
        await self._pages(scope, receive, send)

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncGenerator[None, None]:
        """Follow the files, connect to Redis and sibling workers, and handle SIGTERM while entered; close everything at the end.

        Entering waits shortly for Redis. If Redis does not answer, the server starts without it.
        """
        async with contextlib.AsyncExitStack() as following:
            if self.admin.reload is not None:  # before programs are started: they would be as deaf to SIGHUP as this is till now
                await following.enter_async_context(self.admin.reload)
            self.live.generation.start()
            if (redis := self.live.generation.kept.redis) is not None:
                await redis.looked_for()
            if self.admin.siblings is not None:
                await following.enter_async_context(self.admin.siblings)
                await self.admin.join()
            following.enter_context(self.admin.watchdog)
            self._shutdown.install()
            self._started = True
            try:
                yield
            finally:
                await following.aclose()
                await self._chat.close()
                await self.admin.traces.close()
                await self.live.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        # An event loop tracks async generators to close them at its end. Here the code that loops over one closes it, and each would
        # cost two calls of a WeakSet: a short answer has seven. What is garbage all the same, the loop's finalizer closes.
        sys.set_asyncgen_hooks(firstiter=None)
        async with self.started():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


def _answers(chat: Chat, live: Live) -> list[AnswerRoute]:
    """Return the routes at which clients chat, count tokens, ask for embeddings and find answers again, in the order of matching."""

    async def ask(request: Request, send: Send) -> None:
        if request.method == "GET" and b"chatId=" in request.query:
            await chat.resume(request, send, None)
        else:
            await chat.ask(request, send)

    def of_gateway(answer: Answer) -> Answer:
        async def stated(request: Request, send: Send) -> None:
            request.stated = gateway_api.stated(request.values(gateway_api.HEADERS))
            await answer(request, send)

        return stated

    async def ask_route(request: Request, send: Send) -> None:
        request.model = request.scope["path_params"]["route"]
        await chat.ask(request, send)

    def response(part: Part) -> Answer:
        return lambda request, send: chat.response(request, send, request.scope["path_params"]["response"], part)

    async def resume(request: Request, send: Send) -> None:
        await chat.resume(request, send, request.scope["path_params"]["chat"])

    async def stop(request: Request, send: Send) -> None:
        named: str = request.scope["path_params"]["chat"]
        if (route := f"{named}/stop") in live.generation.routes:  # an id may hold a slash
            request.model = route
            await chat.ask(request, send)
        else:
            await chat.stop(request, send, named)

    return [
        AnswerRoute("/api/chat", ask, post="chat", get="stream_of_chat_id"),
        AnswerRoute(f"{OPENAI}chat/completions", chat.ask, surface="completions", post="completions"),
        AnswerRoute(COMPLETIONS, chat.ask, surface="text_completion", post="text_completion"),
        AnswerRoute(f"{OPENAI}embeddings", chat.embed, post="embeddings"),
        AnswerRoute(MESSAGES, chat.ask, surface="messages", post="messages"),
        AnswerRoute(f"{MESSAGES}/count_tokens", chat.count, surface="count_tokens", post="count_tokens"),
        AnswerRoute(RESPONSES, chat.ask, surface="responses", post="responses"),
        AnswerRoute(AG_UI, chat.ask, surface="ag_ui", post="run_agent"),
        AnswerRoute(f"{AG_UI}/{{route:path}}", ask_route, surface="ag_ui", post="run_agent_with_route"),
        AnswerRoute(f"{GATEWAY}/language-model", of_gateway(chat.ask), surface="gateway", post="language_model"),
        AnswerRoute(f"{GATEWAY}/embedding-model", of_gateway(chat.embed), surface="gateway", post="embedding_model"),
        # Before the next three: its path would else be read as the id of a response.
        AnswerRoute(f"{RESPONSES}/input_tokens", chat.count, ["POST"], surface="responses", post="count_input_tokens"),
        AnswerRoute(f"{RESPONSES}/{{response}}/cancel", response("cancel"), post="cancel_response"),
        AnswerRoute(f"{RESPONSES}/{{response}}/input_items", response("input_items"), get="input_items"),
        AnswerRoute(f"{RESPONSES}/{{response}}", response("response"), get="response", delete="delete_response"),
        AnswerRoute("/api/chat/{chat:path}/stream", resume, ["GET"], get="stream_of_chat"),
        AnswerRoute("/api/chat/{chat:path}/stop", stop, ["POST"], post="stop_chat"),
        AnswerRoute("/api/chat/{route:path}", ask_route, post="chat_with_route"),
    ]


def _exact(answers: Sequence[AnswerRoute]) -> Mapping[str, ASGIApp]:
    """Return path → application for chat routes with a fixed path that take all methods and that no earlier route matches.
    Requests to these paths are served without a search through the table of routes.
    """
    found: dict[str, ASGIApp] = {}
    for at, route in enumerate(answers):
        shadowed = any(other.path_regex.match(route.path) for other in answers[:at])
        if not (route.param_convertors or route.methods or shadowed):
            found[route.path] = route.app
    return found


def _named(answers: Sequence[AnswerRoute]) -> Mapping[str, ASGIApp]:
    """Return path → application for chat routes whose paths are this one, a slash and the name of a route, for names without a slash.
    Requests to these paths are served without a search, too, after those with a fixed path: the search takes a fifth of a short answer.
    """
    found: dict[str, ASGIApp] = {}
    for at, route in enumerate(answers):
        before, _, last = route.path.rpartition("/")
        if last == "{route:path}" and not route.methods and not any(other.path_regex.match(f"{before}/name") for other in answers[:at]):
            found[before] = route.app
    return found


def _careful(send: Send) -> Send:
    """Return a `send` that adds the missing ones of the security headers to a response: no storing, no type sniffing, no loaded content."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name for name, _ in message["headers"]}
            usual: Headers = [header for header in ((POLICY, NOTHING), *PRIVATE) if header[0] not in own]
            message = {**message, "headers": [*message["headers"], *usual]}
        await send(message)

    return sent
