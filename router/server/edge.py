"""The HTTP edge: one plain ASGI application. The chat endpoints are served here, everything else by the FastAPI pages.

Plain, because each layer around a streaming `send` costs (FastAPI's StreamingResponse half the throughput) and some
hide the client's leaving.
"""

import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.config.declaration import Cors
from router.errors import RouterError, UnknownAddress
from router.server import protocol
from router.server.admin import Admin
from router.server.chat import Request, borne
from router.server.cors import DeclaredOrigins, RefusedOrigins
from router.server.entry import Entry
from router.server.gate import enter, guarded
from router.server.handover import handing_over
from router.server.head import as_get
from router.server.protocol import OPENAI
from router.server.reply import PRIVATE, Headers, Reply
from router.server.shutdown import Shutdown

CHAT = "/api/chat"
COMPLETIONS = f"{OPENAI}chat/completions"
MODELS = f"{OPENAI}models"
STREAM, STOP = "/stream", "/stop"
POLICY, NOTHING = b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"
"""What a page may load: nothing, unless it says what. Also where a browser shows JSON as a page."""
HEALTH = ("/healthz", "/readyz")
"""Pages that say nothing of anybody: nobody has to say who asks for them."""


class Edge:
    """The application uvicorn runs."""

    def __init__(self, admin: Admin, pages: ASGIApp) -> None:
        self.live = admin.live
        self.admin = admin
        self._pages = pages
        self._chat = admin.chat
        self._shutdown = Shutdown(admin.chat.drain, admin.chat.end)
        self._refused_origins = RefusedOrigins()
        self._cors: tuple[Cors, ASGIApp] = (Cors(), DeclaredOrigins(self._serve, Cors(), self._refused_origins))

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
        declared = self.live.generation.server.cors
        if declared != self._cors[0]:
            self._cors = (declared, DeclaredOrigins(self._serve, declared, self._refused_origins))
        return self._cors[1]

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if self._chat.stopping:  # what it refuses from now on no model has heard
            send = handing_over(scope, send)
        if path == COMPLETIONS:
            await self._chat.ask(Request(scope, receive, surface="completions"), send)
        elif path == CHAT and scope["method"] == "GET" and b"chatId=" in scope.get("query_string", b""):
            await self._chat.resume(Request(scope, receive), send, None)
        elif path == CHAT:
            await self._chat.ask(Request(scope, receive), send)
        elif path.startswith(CHAT + "/"):
            await self._below(Request(scope, receive, path.removeprefix(CHAT + "/")), send)
        else:
            await self._page(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope, send = as_get(scope, send)
        generation = self.live.generation
        path: str = scope["path"]
        try:
            if guarded(path):
                enter(scope, generation.server.admin.key)
            elif path not in HEALTH:
                scope.setdefault("state", {})["caller"] = await generation.callers.caller(borne(scope))
            if path.startswith(OPENAI) and (scope["method"], path) != ("GET", MODELS):
                raise UnknownAddress  # in the form that OpenAI's clients read; the pages have one of their own
        except RouterError as error:
            request = Request(scope, receive)
            wire = protocol.chosen(None, path, generation.server.protocol, {})
            await Reply(send, Entry(request.id, generation.digest), wire).refuse(error)
            return
        more = [(b"x-request-id", Request(scope, receive).id.encode())] if path == MODELS else []  # OpenAI's clients look for it
        await self._pages(scope, receive, _careful(send, more))

    async def _below(self, request: Request, send: Send) -> None:
        """What stands below /api/chat: a route's own address, or that of a chat's answer."""
        name = request.model or ""
        if request.method == "GET" and name.endswith(STREAM):
            await self._chat.resume(request, send, name.removesuffix(STREAM))
        elif request.method == "POST" and name.endswith(STOP) and name not in self.live.generation.routes:
            await self._chat.stop(request, send, name.removesuffix(STOP))
        else:
            await self._chat.ask(request, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        async with contextlib.AsyncExitStack() as following:
            while True:
                message = await receive()
                if message["type"] == "lifespan.startup":
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
                    await send({"type": "lifespan.startup.complete"})
                elif message["type"] == "lifespan.shutdown":
                    await following.aclose()
                    await self._chat.close()
                    await self.admin.traces.close()
                    await self.live.close()
                    await send({"type": "lifespan.shutdown.complete"})
                    return


def _careful(send: Send, more: Headers) -> Send:
    """Has a page say that nobody but its reader is to keep it, that nobody is to guess what it is, and that it loads nothing unless it
    says what; and what else is given.
    """

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = any(name == POLICY for name, _ in message["headers"])
            policy: Headers = [] if own else [(POLICY, NOTHING)]
            message = {**message, "headers": [*message["headers"], *policy, *PRIVATE, *more]}
        await send(message)

    return sent
