"""Routes with a guard of their own: whoever may not enter one is refused before anything of the request is read.

A guard belongs to a route and not to an address, so it holds below a root path, in a mount and under any spelling of the path.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from router.answering.chat import Request
from router.answering.reply import Reply
from router.errors import RouterError, UnknownAddress
from router.intake import protocol
from router.intake.protocol import OPENAI
from router.intake.scope import path_below
from router.journal.entry import Entry
from router.reload import Live

Enter = Callable[[Scope], Awaitable[None]]
"""Lets a request in. RouterError where it may not."""
Answer = Callable[[Request, Send], Awaitable[None]]
"""Answers a request. Who asks is its own to find out: it knows the dialect of a refusal, and the log has a line for it."""


class AnswerRoute(Route):
    """A chat address. Nothing stands between its answer and the server: each layer around a stream's `send` would be paid for by the piece.

    `methods`: None for all, whose answer refuses those that are none of its own. `described`: its operations in /openapi.json.
    """

    def __init__(self, path: str, answer: Answer, methods: list[str] | None = None, described: dict[str, Any] | None = None) -> None:
        super().__init__(path, answer, methods=methods, include_in_schema=False)
        self.methods = None if methods is None else set(methods)  # Route adds HEAD to GET: that is not an answer's
        # An id may hold a line break, which Starlette's pattern stops at.
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z", re.DOTALL)
        self.app = _plain(answer)
        self.described = described or {}


def _plain(answer: Answer) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(Request(scope, receive), send)

    return app


class Refusals:
    """Writes errors in the form of the dialect that is known before a body is read."""

    def __init__(self, live: Live) -> None:
        self._live = live

    async def send(self, error: RouterError, scope: Scope, receive: Receive, send: Send) -> None:
        """Send an error."""
        generation = self._live.generation
        request = Request(scope, receive)
        wire = protocol.chosen(None, request.path, generation.server.protocol, {})
        await Reply(send, Entry(request.id, generation.digest), wire).refuse(error)

    def guarded(self, enter: Enter) -> type[APIRoute]:
        """Return the class of routes that a request enters through this guard, whatever its method."""
        refuse = self.send

        class Guarded(APIRoute):
            async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
                try:
                    await enter(scope)
                    if self.methods and scope["method"] not in self.methods:
                        _unknown_to_openai(scope)
                except RouterError as error:
                    await refuse(error, scope, receive, send)
                else:
                    await super().handle(scope, receive, send)

        return Guarded

    def nothing(self, enter: Enter) -> ASGIApp:
        """Return what answers where there is no route: 404, for those who may enter."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await enter(scope)
                _unknown_to_openai(scope)
            except RouterError as error:
                await self.send(error, scope, receive, send)
            else:
                raise HTTPException(404)

        return app


def _unknown_to_openai(scope: Scope) -> None:
    """UnknownAddress below /v1/: OpenAI's clients read an error in their own form."""
    if path_below(scope).startswith(OPENAI):
        raise UnknownAddress
