"""Routes with an access check of their own: a request that may not enter is refused before its body is read.

A guard belongs to a route and not to an address, so it holds below a root path, in a mount and under any spelling of the path.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from router.answering.reply import Reply
from router.errors import RouterError, UnknownAddress
from router.intake import protocol
from router.intake.protocol import GATEWAY, OPENAI, below_gateway, below_openai
from router.intake.request import Request
from router.intake.scope import path_below
from router.journal.entry import Entry
from router.reload import Live

FOR_CALLERS = ("/api/", "/v1/", "/v4/")
"""Prefixes of the addresses that callers may be told of: the others are operators'."""
BORNE: list[dict[str, list[str]]] = [{"bearer": []}, {"x-api-key": []}, {}]
"""Security requirement of an operation: the key, or nothing where no caller is declared."""
Enter = Callable[[Scope], Awaitable[None]]
"""Lets a request in. RouterError where it may not."""
Answer = Callable[[Request, Send], Awaitable[None]]
"""Answers a request. Who asks is its own to find out: it knows the dialect of a refusal, and the log has a line for it."""


class AnswerRoute(Route):
    """A chat address. Nothing stands between its answer and the server: each layer around a stream's `send` would be paid for by the piece.

    `methods`: None for all, whose answer refuses those that are none of its own. `operations`: method → operation in `openapi.py`.
    """

    def __init__(self, path: str, answer: Answer, methods: list[str] | None = None, **operations: str) -> None:
        super().__init__(path, answer, methods=methods, include_in_schema=False)
        self.methods = None if methods is None else set(methods)  # Route adds HEAD to GET: that is not an answer's
        # An id may hold a line break, which Starlette's pattern stops at.
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z", re.DOTALL)
        self.app = _plain(answer)
        self.operations = operations


def _plain(answer: Answer) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(Request(scope, receive), send)

    return app


class DialectErrors:
    """Writes errors in the form of the dialect that is known before a body is read."""

    def __init__(self, live: Live) -> None:
        self._live = live

    async def send(self, error: RouterError, scope: Scope, receive: Receive, send: Send) -> None:
        """Send an error in the dialect of the request."""
        generation = self._live.generation
        request = Request(scope, receive)
        named = "anthropic" if of_anthropic(scope) else None
        wire = protocol.chosen(named, request.path, generation.server.protocol)
        await Reply(send, Entry(request.id, generation.digest), wire).refuse(error)

    def guarded(self, enter: Enter) -> type[APIRoute]:
        """Return the class of routes that a request enters through this guard, whatever its method."""
        refuse = self.send

        class GuardedRoute(APIRoute):
            async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
                try:
                    await enter(scope)
                    if self.methods and scope["method"] not in self.methods and _neighbours(scope) != FOR_CALLERS:
                        raise _unknown(scope)
                    await super().handle(scope, receive, send)
                except RouterError as error:
                    await refuse(error, scope, receive, send)

        return GuardedRoute

    def nothing(self, enter: Enter) -> ASGIApp:
        """Answer an address without a route: 404 for callers that may enter."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await enter(scope)
                raise _unknown(scope)
            except RouterError as error:
                await self.send(error, scope, receive, send)

        return app


def of_anthropic(scope: Scope) -> bool:
    """Return whether an Anthropic client's request has an address below OpenAI's `/v1`, or one that is not served."""
    return below_openai(path_below(scope)) and any(name == b"anthropic-version" for name, _ in scope["headers"])


def _unknown(scope: Scope) -> UnknownAddress:
    """The error of an address that is not served, or not with this method: it names those that are."""
    below = _neighbours(scope)
    return UnknownAddress(", ".join(address for address in _served(scope["app"].routes) if address.partition(" ")[2].startswith(below)))


def _neighbours(scope: Scope) -> tuple[str, ...]:
    """Return what the addresses begin with that a refusal names: below /v1/ and /v4/ai those below it alone."""
    path = path_below(scope)
    return (OPENAI,) if below_openai(path) else (f"{GATEWAY}/",) if below_gateway(path) else FOR_CALLERS


def _served(routes: Sequence[BaseRoute]) -> Iterator[str]:
    """Each address with its method, as the documentation has it: `POST /api/chat`."""
    for route in routes:
        match route:
            case AnswerRoute():
                yield from (f"{method.upper()} {route.path_format}" for method in route.operations)
            case APIRoute():
                yield from (f"{method} {route.path_format}" for method in sorted(route.methods or ()))
            case _:
                pass
