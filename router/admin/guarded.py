"""Pages with an access check: a request that may not enter is refused before its body is read.

The check belongs to a route and not to an address, so that it holds below a root path, in a mount and for any spelling of the path.
"""

from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from router.admin.routed import AnswerRoute, DialectErrors, Enter
from router.errors import RouterError, UnknownAddress
from router.intake.protocol import GATEWAY, OPENAI, below_gateway, below_openai
from router.intake.scope import path_below

FOR_CALLERS = ("/api/", "/v1/", "/v4/")
"""Prefixes of the addresses that an error names to callers: all others are for operators."""
BORNE: list[dict[str, list[str]]] = [{"bearer": []}, {"x-api-key": []}, {}]
"""OpenAPI security requirement of an operation: a key, or none where no callers are declared."""


def guarded(refusals: DialectErrors, enter: Enter) -> type[APIRoute]:
    """Return a class of routes that check each request with `enter`. A RouterError of the check or the page is sent by `refusals`."""

    class GuardedRoute(APIRoute):
        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await enter(scope)
                if self.methods and scope["method"] not in self.methods and _neighbours(scope) != FOR_CALLERS:
                    raise _unknown(scope)
                await super().handle(scope, receive, send)
            except RouterError as error:
                await refusals.send(error, scope, receive, send)

    return GuardedRoute


def nothing(refusals: DialectErrors, enter: Enter) -> ASGIApp:
    """Return the application for addresses without a route: it sends the error of the check `enter`, else a 404 that lists addresses."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await enter(scope)
            raise _unknown(scope)
        except RouterError as error:
            await refusals.send(error, scope, receive, send)

    return app


def _unknown(scope: Scope) -> UnknownAddress:
    """Return the error for an address or method that is not served; it lists those that are."""
    below, served = _neighbours(scope), list[str]()
    for route in scope["app"].routes:
        if isinstance(route, AnswerRoute | APIRoute) and route.path_format.startswith(below):
            methods = map(str.upper, route.operations) if isinstance(route, AnswerRoute) else sorted(route.methods or ())
            served += [f"{method} {route.path_format}" for method in methods]
    return UnknownAddress(", ".join(served))


def _neighbours(scope: Scope) -> tuple[str, ...]:
    """Return the prefixes of the addresses that an UnknownAddress lists: of the API that was asked (/v1/, /v4/ai), else of all callers."""
    path = path_below(scope)
    return (OPENAI,) if below_openai(path) else (f"{GATEWAY}/",) if below_gateway(path) else FOR_CALLERS
