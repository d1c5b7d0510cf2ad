"""Pages with an access check of their own: a request that may not enter is refused before its body is read.

A guard belongs to a route and not to an address, so it holds below a root path, in a mount and under any spelling of the path.
"""

from collections.abc import Iterator, Sequence

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from router.admin.routed import AnswerRoute, DialectErrors, Enter
from router.errors import RouterError, UnknownAddress
from router.intake.protocol import GATEWAY, OPENAI, below_gateway, below_openai
from router.intake.scope import path_below

FOR_CALLERS = ("/api/", "/v1/", "/v4/")
"""Prefixes of the addresses that callers may be told of: the others are operators'."""
BORNE: list[dict[str, list[str]]] = [{"bearer": []}, {"x-api-key": []}, {}]
"""Security requirement of an operation: the key, or nothing where no caller is declared."""


def guarded(refusals: DialectErrors, enter: Enter) -> type[APIRoute]:
    """Return the class of routes that a request enters through this guard, whatever its method."""
    refuse = refusals.send

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


def nothing(refusals: DialectErrors, enter: Enter) -> ASGIApp:
    """Answer an address without a route: 404 for callers that may enter."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await enter(scope)
            raise _unknown(scope)
        except RouterError as error:
            await refusals.send(error, scope, receive, send)

    return app


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
