"""Routes of chat addresses, and errors in the dialect of a request, without FastAPI. `guarded.py` has those of pages."""

import re
from collections.abc import Awaitable, Callable

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from router.answering.reply import Reply
from router.errors import RouterError
from router.intake import protocol
from router.intake.protocol import below_openai
from router.intake.question import Surface
from router.intake.request import Request
from router.intake.scope import path_below
from router.journal.entry import Entry
from router.reload import Live

Enter = Callable[[Scope], Awaitable[None]]
"""Admits a request, or raises a RouterError."""
Answer = Callable[[Request, Send], Awaitable[None]]
"""Answers a request. It authenticates the caller itself: it knows the dialect of a refusal, and logs it."""


class AnswerRoute(Route):
    """The route of a chat address, with no layer between its answer and the server: each would cost time for every piece of a stream.

    methods: None for all; the answer then refuses those that it does not support
    surface: the API of the path
    operations: method → operation in `openapi.py`
    """

    def __init__(
        self, path: str, answer: Answer, methods: list[str] | None = None, *, surface: Surface = "chat", **operations: str
    ) -> None:
        super().__init__(path, answer, methods=methods, include_in_schema=False)
        self.methods = None if methods is None else set(methods)  # Route adds HEAD to GET: that is not an answer's
        # An id may hold a line break, which Starlette's pattern stops at.
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z", re.DOTALL)
        self.app: ASGIApp = lambda scope, receive, send: answer(Request(scope, receive, surface), send)
        self.operations = operations


class DialectErrors:
    """A sender of errors, in the dialect that is known before a request's body is read."""

    def __init__(self, live: Live) -> None:
        self._live = live

    async def send(self, error: RouterError, scope: Scope, receive: Receive, send: Send) -> None:
        """Send an error as the response to a request, in its dialect."""
        generation = self._live.generation
        request = Request(scope, receive)
        named = "anthropic" if of_anthropic(scope) else None
        wire = protocol.chosen(named, request.path, generation.server.protocol)
        await Reply(send, Entry(request.id, generation.digest), wire).refuse(error)


def of_anthropic(scope: Scope) -> bool:
    """Return whether a request below `/v1` has an Anthropic client's header, `anthropic-version`."""
    return below_openai(path_below(scope)) and any(name == b"anthropic-version" for name, _ in scope["headers"])
